# Loss against training FLOPs
# "gnuplot loss-flops.gp" makes loss-flops.svg; "gnuplot -e 'pdf=1' loss-flops.gp" makes loss-flops.pdf. The numbers are in loss-flops.dat.
reset
set encoding utf8
if (exists("pdf")) {
  set terminal pdfcairo noenhanced rounded size 16.0cm,13.8cm font 'Helvetica,10'
  set output 'loss-flops.pdf'
} else {
  set terminal svg noenhanced rounded size 640,554 font 'Helvetica,14' background '#ffffff'
  set output 'loss-flops.svg'
}
data = 'loss-flops.dat'
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
set yrange [4.29408:5.6601]
set logscale x
set xrange [0.3893:14.04]
set xtics (0.5, 1, 2, 5, 10)
set xlabel 'training FLOPs [Tflop]' offset 0,0.5
set ylabel 'loss [nat/token]'
plot data index 0 using ($1>0 ? $1/1e+12 : NaN):($2-$3):($2+$3) with filledcurves fs transparent solid 0.12 noborder lc rgb '#0072B2' notitle, \
     data index 0 using ($1>0 ? $1/1e+12 : NaN):2 with lines lc rgb '#900072B2' lw 1 dt 1 notitle, \
     data index 1 using ($1>0 ? $1/1e+12 : NaN):($2-$3):(0):(2*$3) with vectors nohead lc rgb '#0072B2' lw 1.5 notitle, \
     data index 1 using ($1>0 ? $1/1e+12 : NaN):2 with linespoints lc rgb '#0072B2' dt 1 lw 2 pt 7 ps 0.6 title 'layers=none', \
     data index 2 using ($1>0 ? $1/1e+12 : NaN):($2-$3):($2+$3) with filledcurves fs transparent solid 0.12 noborder lc rgb '#D55E00' notitle, \
     data index 2 using ($1>0 ? $1/1e+12 : NaN):2 with lines lc rgb '#90D55E00' lw 1 dt 1 notitle, \
     data index 3 using ($1>0 ? $1/1e+12 : NaN):($2-$3):(0):(2*$3) with vectors nohead lc rgb '#D55E00' lw 1.5 notitle, \
     data index 3 using ($1>0 ? $1/1e+12 : NaN):2 with linespoints lc rgb '#D55E00' dt 2 lw 2 pt 5 ps 0.6 title 'layers=all router=topk width_distribution=homogeneous balance_loss=0.01 penalty_loss=0 entropy_loss=0 k=2', \
     data index 4 using ($1>0 ? $1/1e+12 : NaN):($2-$3):($2+$3) with filledcurves fs transparent solid 0.12 noborder lc rgb '#009E73' notitle, \
     data index 4 using ($1>0 ? $1/1e+12 : NaN):2 with lines lc rgb '#90009E73' lw 1 dt 1 notitle, \
     data index 5 using ($1>0 ? $1/1e+12 : NaN):($2-$3):(0):(2*$3) with vectors nohead lc rgb '#009E73' lw 1.5 notitle, \
     data index 5 using ($1>0 ? $1/1e+12 : NaN):2 with linespoints lc rgb '#009E73' dt 3 lw 2 pt 9 ps 0.6 title 'layers=all router=topk width_distribution=arithmetic balance_loss=0 penalty_loss=0 entropy_loss=0 k=2', \
     data index 6 using ($1>0 ? $1/1e+12 : NaN):($2-$3):($2+$3) with filledcurves fs transparent solid 0.12 noborder lc rgb '#E69F00' notitle, \
     data index 6 using ($1>0 ? $1/1e+12 : NaN):2 with lines lc rgb '#90E69F00' lw 1 dt 1 notitle, \
     data index 7 using ($1>0 ? $1/1e+12 : NaN):($2-$3):(0):(2*$3) with vectors nohead lc rgb '#E69F00' lw 1.5 notitle, \
     data index 7 using ($1>0 ? $1/1e+12 : NaN):2 with linespoints lc rgb '#E69F00' dt 4 lw 2 pt 13 ps 0.6 title 'layers=all router=topk width_distribution=arithmetic balance_loss=0.01 penalty_loss=0 entropy_loss=0 k=2', \
     data index 8 using ($1>0 ? $1/1e+12 : NaN):($2-$3):($2+$3) with filledcurves fs transparent solid 0.12 noborder lc rgb '#CC79A7' notitle, \
     data index 8 using ($1>0 ? $1/1e+12 : NaN):2 with lines lc rgb '#90CC79A7' lw 1 dt 1 notitle, \
     data index 9 using ($1>0 ? $1/1e+12 : NaN):($2-$3):(0):(2*$3) with vectors nohead lc rgb '#CC79A7' lw 1.5 notitle, \
     data index 9 using ($1>0 ? $1/1e+12 : NaN):2 with linespoints lc rgb '#CC79A7' dt 1 lw 2 pt 11 ps 0.6 title 'layers=all router=topk width_distribution=arithmetic balance_loss=0 penalty_loss=0.1 entropy_loss=0 k=2', \
     data index 10 using ($1>0 ? $1/1e+12 : NaN):($2-$3):($2+$3) with filledcurves fs transparent solid 0.12 noborder lc rgb '#56B4E9' notitle, \
     data index 10 using ($1>0 ? $1/1e+12 : NaN):2 with lines lc rgb '#9056B4E9' lw 1 dt 1 notitle, \
     data index 11 using ($1>0 ? $1/1e+12 : NaN):($2-$3):(0):(2*$3) with vectors nohead lc rgb '#56B4E9' lw 1.5 notitle, \
     data index 11 using ($1>0 ? $1/1e+12 : NaN):2 with linespoints lc rgb '#56B4E9' dt 2 lw 2 pt 6 ps 0.6 title 'layers=all router=topk width_distribution=hybrid balance_loss=0 penalty_loss=0.1 entropy_loss=0 k=2', \
     data index 12 using ($1>0 ? $1/1e+12 : NaN):($2-$3):($2+$3) with filledcurves fs transparent solid 0.12 noborder lc rgb '#000000' notitle, \
     data index 12 using ($1>0 ? $1/1e+12 : NaN):2 with lines lc rgb '#90000000' lw 1 dt 1 notitle, \
     data index 13 using ($1>0 ? $1/1e+12 : NaN):($2-$3):(0):(2*$3) with vectors nohead lc rgb '#000000' lw 1.5 notitle, \
     data index 13 using ($1>0 ? $1/1e+12 : NaN):2 with linespoints lc rgb '#000000' dt 3 lw 2 pt 4 ps 0.6 title 'layers=all router=topk width_distribution=geometric balance_loss=0 penalty_loss=0.1 entropy_loss=0 k=2'
unset output
