# Final quality by configuration
# "gnuplot final-quality.gp" makes final-quality.svg; "gnuplot -e 'pdf=1' final-quality.gp" makes final-quality.pdf. The numbers are in final-quality.dat.
reset
set encoding utf8
if (exists("pdf")) {
  set terminal pdfcairo noenhanced rounded size 16.0cm,6.3cm font 'Helvetica,10'
  set output 'final-quality.pdf'
} else {
  set terminal svg noenhanced rounded size 640,254 font 'Helvetica,14' background '#ffffff'
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
set ytics ('k=32 expert_width=16' 0, 'k=16 expert_width=32' 1, 'k=8 expert_width=64' 2, 'k=4 expert_width=128' 3, 'k=2 expert_width=256' 4, 'k=1 expert_width=512' 5)
set yrange [-0.6:5.6]
set offsets graph 0.05, graph 0.05, 0, 0
set xlabel 'held-out loss [nat]' offset 0,0.5
set ylabel ''
plot data index 0 using 2:1:3 with xerrorbars lc rgb '#0072B2' lw 1.5 pt 7 ps 0.8 notitle, \
     data index 1 using 2:1 with points lc rgb '#D55E00' pt 6 ps 0.8 notitle
unset output
