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
set ytics ('preset=peer layers=2 heads=4 k=8 query_dim=64 sub_keys=128 steps=470' 0, 'preset=peer layers=2 heads=4 k=8 query_dim=64 sub_keys=91 steps=473' 1, 'preset=pkm layers=2 heads=4 k=16 query_dim=64 sub_keys=128 steps=470' 2, 'router=topk layers=2 experts=16 expert_width=512 balance_loss=0.01 k=1 steps=451' 3, 'router=expert_choice layers=2 experts=16 expert_width=512 choices=1 choice_group=position steps=451' 4, 'preset=dense steps=452' 5)
set yrange [-0.6:5.6]
set offsets graph 0.05, graph 0.05, 0, 0
set xlabel 'held-out loss [nat]' offset 0,0.5
set ylabel ''
plot data index 0 using 2:1:3 with xerrorbars lc rgb '#0072B2' lw 1.5 pt 7 ps 0.8 notitle, \
     data index 1 using 2:1 with points lc rgb '#D55E00' pt 6 ps 0.8 notitle
unset output
