# Final quality by configuration
# "gnuplot final-quality.gp" makes final-quality.svg; "gnuplot -e 'pdf=1' final-quality.gp" makes final-quality.pdf. The numbers are in final-quality.dat.
reset
set encoding utf8
if (exists("pdf")) {
  set terminal pdfcairo noenhanced rounded size 16.0cm,10.6cm font 'Helvetica,10'
  set output 'final-quality.pdf'
} else {
  set terminal svg noenhanced rounded size 640,422 font 'Helvetica,14' background '#ffffff'
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
set ytics ('layers=1,3 router=threshold split=8 capacity_factor=1 threshold=1 entropy_loss=0' 0, 'layers=1,3 router=threshold split=8 capacity_factor=1 threshold=0.9 entropy_loss=0.02' 1, 'layers=1,3 router=threshold split=8 capacity_factor=1 threshold=0.7 entropy_loss=0' 2, 'layers=1,3 router=threshold split=4 capacity_factor=1 threshold=0.9 entropy_loss=0' 3, 'layers=1,3 router=threshold split=2 capacity_factor=1 threshold=0.9 entropy_loss=0' 4, 'layers=1,3 router=topk split=4 k=4 capacity_factor=0.25 entropy_loss=0' 5, 'layers=1,3 router=topk split=2 k=2 capacity_factor=0.5 entropy_loss=0' 6, 'layers=1,3 router=threshold split=8 capacity_factor=1 threshold=0.5 entropy_loss=0' 7, 'layers=1,3 router=threshold split=8 capacity_factor=1 threshold=0.3 entropy_loss=0' 8, 'layers=1,3 router=threshold split=8 capacity_factor=1 threshold=0.9 entropy_loss=0' 9, 'layers=1,3 router=topk split=8 k=8 capacity_factor=0.125 entropy_loss=0' 10, 'layers=1,3 router=topk split=1 k=1 capacity_factor=1 entropy_loss=0' 11, 'layers=none' 12)
set yrange [-0.6:12.6]
set offsets graph 0.05, graph 0.05, 0, 0
set xlabel 'held-out loss [nat]' offset 0,0.5
set ylabel ''
plot data index 0 using 2:1:3 with xerrorbars lc rgb '#0072B2' lw 1.5 pt 7 ps 0.8 notitle, \
     data index 1 using 2:1 with points lc rgb '#D55E00' pt 6 ps 0.8 notitle
unset output
