# Loss against training FLOPs
# "gnuplot loss-flops.gp" makes loss-flops.svg; "gnuplot -e 'pdf=1' loss-flops.gp" makes loss-flops.pdf. The numbers are in loss-flops.dat.
reset
set encoding utf8
if (exists("pdf")) {
  set terminal pdfcairo noenhanced rounded size 16.0cm,13.3cm font 'Helvetica,10'
  set output 'loss-flops.pdf'
} else {
  set terminal svg noenhanced rounded size 640,532 font 'Helvetica,14' background '#ffffff'
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
set bmargin at screen 0.3609
set key at screen 0.5,0.0075 center bottom horizontal Left reverse samplen 3 spacing 1.1 maxcols 1 font ',13'
set yrange [4.43246:4.69856]
set logscale x
set xrange [0.3996:8.809]
set xtics (0.5, 1, 2, 5)
set xlabel 'training FLOPs [Tflop]' offset 0,0.5
set ylabel 'loss [nat/token]'
plot data index 0 using ($1>0 ? $1/1e+12 : NaN):($2-$3):($2+$3) with filledcurves fs transparent solid 0.12 noborder lc rgb '#0072B2' notitle, \
     data index 0 using ($1>0 ? $1/1e+12 : NaN):2 with lines lc rgb '#900072B2' lw 1 dt 1 notitle, \
     data index 1 using ($1>0 ? $1/1e+12 : NaN):($2-$3):(0):(2*$3) with vectors nohead lc rgb '#0072B2' lw 1.5 notitle, \
     data index 1 using ($1>0 ? $1/1e+12 : NaN):2 with linespoints lc rgb '#0072B2' dt 1 lw 2 pt 7 ps 0.6 title 'preset=dense steps=452', \
     data index 2 using ($1>0 ? $1/1e+12 : NaN):($2-$3):($2+$3) with filledcurves fs transparent solid 0.12 noborder lc rgb '#D55E00' notitle, \
     data index 2 using ($1>0 ? $1/1e+12 : NaN):2 with lines lc rgb '#90D55E00' lw 1 dt 1 notitle, \
     data index 3 using ($1>0 ? $1/1e+12 : NaN):($2-$3):(0):(2*$3) with vectors nohead lc rgb '#D55E00' lw 1.5 notitle, \
     data index 3 using ($1>0 ? $1/1e+12 : NaN):2 with linespoints lc rgb '#D55E00' dt 2 lw 2 pt 5 ps 0.6 title 'router=expert_choice layers=2 experts=16 expert_width=512 choices=1 choice_group=position steps=451', \
     data index 4 using ($1>0 ? $1/1e+12 : NaN):($2-$3):($2+$3) with filledcurves fs transparent solid 0.12 noborder lc rgb '#009E73' notitle, \
     data index 4 using ($1>0 ? $1/1e+12 : NaN):2 with lines lc rgb '#90009E73' lw 1 dt 1 notitle, \
     data index 5 using ($1>0 ? $1/1e+12 : NaN):($2-$3):(0):(2*$3) with vectors nohead lc rgb '#009E73' lw 1.5 notitle, \
     data index 5 using ($1>0 ? $1/1e+12 : NaN):2 with linespoints lc rgb '#009E73' dt 3 lw 2 pt 9 ps 0.6 title 'router=topk layers=2 experts=16 expert_width=512 balance_loss=0.01 k=1 steps=451', \
     data index 6 using ($1>0 ? $1/1e+12 : NaN):($2-$3):($2+$3) with filledcurves fs transparent solid 0.12 noborder lc rgb '#E69F00' notitle, \
     data index 6 using ($1>0 ? $1/1e+12 : NaN):2 with lines lc rgb '#90E69F00' lw 1 dt 1 notitle, \
     data index 7 using ($1>0 ? $1/1e+12 : NaN):($2-$3):(0):(2*$3) with vectors nohead lc rgb '#E69F00' lw 1.5 notitle, \
     data index 7 using ($1>0 ? $1/1e+12 : NaN):2 with linespoints lc rgb '#E69F00' dt 4 lw 2 pt 13 ps 0.6 title 'preset=pkm layers=2 heads=4 k=16 query_dim=64 sub_keys=128 steps=470', \
     data index 8 using ($1>0 ? $1/1e+12 : NaN):($2-$3):($2+$3) with filledcurves fs transparent solid 0.12 noborder lc rgb '#CC79A7' notitle, \
     data index 8 using ($1>0 ? $1/1e+12 : NaN):2 with lines lc rgb '#90CC79A7' lw 1 dt 1 notitle, \
     data index 9 using ($1>0 ? $1/1e+12 : NaN):($2-$3):(0):(2*$3) with vectors nohead lc rgb '#CC79A7' lw 1.5 notitle, \
     data index 9 using ($1>0 ? $1/1e+12 : NaN):2 with linespoints lc rgb '#CC79A7' dt 1 lw 2 pt 11 ps 0.6 title 'preset=peer layers=2 heads=4 k=8 query_dim=64 sub_keys=91 steps=473', \
     data index 10 using ($1>0 ? $1/1e+12 : NaN):($2-$3):($2+$3) with filledcurves fs transparent solid 0.12 noborder lc rgb '#56B4E9' notitle, \
     data index 10 using ($1>0 ? $1/1e+12 : NaN):2 with lines lc rgb '#9056B4E9' lw 1 dt 1 notitle, \
     data index 11 using ($1>0 ? $1/1e+12 : NaN):($2-$3):(0):(2*$3) with vectors nohead lc rgb '#56B4E9' lw 1.5 notitle, \
     data index 11 using ($1>0 ? $1/1e+12 : NaN):2 with linespoints lc rgb '#56B4E9' dt 2 lw 2 pt 6 ps 0.6 title 'preset=peer layers=2 heads=4 k=8 query_dim=64 sub_keys=128 steps=470'
unset output
