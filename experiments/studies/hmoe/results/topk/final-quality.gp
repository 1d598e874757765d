# Final quality by configuration
# "gnuplot final-quality.gp" makes final-quality.svg; "gnuplot -e 'pdf=1' final-quality.gp" makes final-quality.pdf. The numbers are in final-quality.dat.
reset
set encoding utf8
if (exists("pdf")) {
  set terminal pdfcairo noenhanced rounded size 16.0cm,7.0cm font 'Helvetica,10'
  set output 'final-quality.pdf'
} else {
  set terminal svg noenhanced rounded size 640,278 font 'Helvetica,14' background '#ffffff'
  set output 'final-quality.svg'
}
data = 'final-quality.dat'
set border 3 lw 1 lc rgb '#444444'
set tics nomirror out scale 0.5
set grid lt 1 lc rgb '#dddddd' lw 0.7 dt 1
set style fill solid 1 noborder
set bars 0.5
set pointintervalbox 0
set key off
set tics font ',13'
set ytics ('layers=all router=topk width_distribution=geometric balance_loss=0 penalty_loss=0.1 entropy_loss=0 k=2' 0, 'layers=all router=topk width_distribution=hybrid balance_loss=0 penalty_loss=0.1 entropy_loss=0 k=2' 1, 'layers=all router=topk width_distribution=arithmetic balance_loss=0 penalty_loss=0.1 entropy_loss=0 k=2' 2, 'layers=all router=topk width_distribution=arithmetic balance_loss=0.01 penalty_loss=0 entropy_loss=0 k=2' 3, 'layers=all router=topk width_distribution=arithmetic balance_loss=0 penalty_loss=0 entropy_loss=0 k=2' 4, 'layers=all router=topk width_distribution=homogeneous balance_loss=0.01 penalty_loss=0 entropy_loss=0 k=2' 5, 'layers=none' 6)
set yrange [-0.6:6.6]
set offsets graph 0.05, graph 0.05, 0, 0
set xlabel 'held-out loss [nat]' offset 0,0.5
set ylabel ''
plot data index 0 using 2:1:3 with xerrorbars lc rgb '#0072B2' lw 1.5 pt 7 ps 0.8 notitle, \
     data index 1 using 2:1 with points lc rgb '#D55E00' pt 6 ps 0.8 notitle
unset output
