# Quality against FLOPs per token
# "gnuplot pareto.gp" makes pareto.svg; "gnuplot -e 'pdf=1' pareto.gp" makes pareto.pdf. The numbers are in pareto.dat.
reset
set encoding utf8
if (exists("pdf")) {
  set terminal pdfcairo noenhanced rounded size 16.0cm,13.8cm font 'Helvetica,10'
  set output 'pareto.pdf'
} else {
  set terminal svg noenhanced rounded size 640,554 font 'Helvetica,14' background '#ffffff'
  set output 'pareto.svg'
}
data = 'pareto.dat'
set border 3 lw 1 lc rgb '#444444'
set tics nomirror out scale 0.5
set grid lt 1 lc rgb '#dddddd' lw 0.7 dt 1
set style fill solid 1 noborder
set bars 0.5
set pointintervalbox 0
set key off
set tics font ',13'
set bmargin at screen 0.3863
set key at screen 0.5,0.0072 center bottom horizontal Left reverse samplen 3 spacing 1.1 maxcols 1 font ',13'
set offsets graph 0.07, graph 0.05, graph 0.05, graph 0.08
set xlabel 'forward FLOPs per token, kept assignments [Mflop/token]' offset 0,0.5
set ylabel 'held-out loss [nat]'
set label '1' at 2.040955087,4.670111502 offset -0.8,-0.6 right font ',13' front
set label '2' at 2.97463808,4.554957521 offset -0.8,-0.6 right font ',13' front
set label '3' at 3.269469653,4.549567913 offset -0.8,-0.6 right font ',13' front
set label '4' at 3.276861653,4.547986735 offset -0.8,-0.6 right font ',13' front
set label '5' at 3.416064,4.538781025 offset -0.8,-0.6 right font ',13' front
set label '6' at 3.44270656,4.535514449 offset -0.8,-0.6 right font ',13' front
plot data index 0 using ($1/1e+06):2:3 with yerrorbars lc rgb '#888888' lw 1 pt 6 ps 0.7 notitle, \
     data index 1 using ($1/1e+06):2 with linespoints lc rgb '#0072B2' lw 2 dt 1 pt 7 ps 0.9 title 'Pareto front', \
     keyentry with points pt 7 ps 0.9 lc rgb '#0072B2' title '1  layers=all router=topk width_distribution=geometric balance_loss=0 penalty_loss=0.1 entropy_loss=0 k=2', \
     keyentry with points pt 7 ps 0.9 lc rgb '#0072B2' title '2  layers=all router=topk width_distribution=hybrid balance_loss=0 penalty_loss=0.1 entropy_loss=0 k=2', \
     keyentry with points pt 7 ps 0.9 lc rgb '#0072B2' title '3  layers=all router=topk width_distribution=arithmetic balance_loss=0 penalty_loss=0.1 entropy_loss=0 k=2', \
     keyentry with points pt 7 ps 0.9 lc rgb '#0072B2' title '4  layers=all router=topk width_distribution=arithmetic balance_loss=0.01 penalty_loss=0 entropy_loss=0 k=2', \
     keyentry with points pt 7 ps 0.9 lc rgb '#0072B2' title '5  layers=all router=topk width_distribution=homogeneous balance_loss=0.01 penalty_loss=0 entropy_loss=0 k=2', \
     keyentry with points pt 7 ps 0.9 lc rgb '#0072B2' title '6  layers=all router=topk width_distribution=arithmetic balance_loss=0 penalty_loss=0 entropy_loss=0 k=2'
unset output
