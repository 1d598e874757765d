#!/usr/bin/env bash
# Writes that fail: a disk that fills up, a file at its size limit (ulimit -f), a folder that is read-only, forbidden or gone. One sentence, from all ranks
# together, with the file and what the system said; exit code 2; no half-written file; what was saved before loads, and goes on to the same bits.
# PROCESSORS 2
# TIMEOUT 300
# shellcheck disable=SC2317  # functions are called by check
# The disks are mounted in a namespace of its own, which ends with the test. Without root they are left out.
if [[ -z ${PLEIAD_OWN_MOUNTS:-} ]] && unshare -m true 2>/dev/null; then PLEIAD_OWN_MOUNTS=1 exec unshare -m "$0" "$@"; fi
# shellcheck source=tests/cli/_common.sh
source "$PLEIAD_SOURCE/tests/cli/_common.sh"
require_python

check "a small corpus" pleiad_on 1 data synth --out corpus.h5 --tokens 30000 --document 64 --seed 5
tiny_config 400
sed -i 's/^width = .*/width = 16/; s/^seq_len = .*/seq_len = 16/; s/^every = 700/every = 50\nkeep = 0/' tiny.ini  # run.h5 comes to be larger than a checkpoint
# The launcher and its shared memory have files of their own, which are not the point.
pleiad_limited() { # KIB RANKS ARGUMENTS...
    local kib=$1 ranks=$2
    shift 2
    if [[ $ranks == 1 ]]; then (ulimit -f "$kib" && pleiad_on 1 "$@"); else OMPI_MCA_btl=self,tcp timeout -k 5 60 "$MPIRUN" -n "$ranks" bash -c "ulimit -f $kib && exec \"\$@\"" limited "$PLEIAD" "$@"; fi
}
train() { pleiad_on "$1" train --config tiny.ini "${@:2}" >last.txt 2>last.err; }
# refused PATTERN COMMAND...: exit code 2, and the one line on standard error fits.
refused() {
    local pattern=$1
    shift
    local begin=$SECONDS
    exits 2 "$@" || { cat last.err; return 1; }
    [[ $(wc -l <last.err) == 1 ]] || { echo "not one line:"; cat last.err; return 1; }
    says last.err "^pleiad: $pattern\$" || return 1
    ((SECONDS - begin < 30)) || { echo "took $((SECONDS - begin)) s"; return 1; }
}
# loads FOLDER: every checkpoint does, and every part belongs to one.
loads() {
    local file
    while read -r -u 3 file; do
        if [[ $file == *.part-* ]]; then test -e "${file%%.*}.h5"; else pleiad_on 1 inspect "$file"; fi || { echo "$file"; return 1; }
    done 3< <(find -L "$1" -name 'step-*.h5')
}
# whole FOLDER: that, and nothing is half-written.
whole() { [[ -z $(find -L "$1" -name '*.partial') ]] && loads "$1"; }
goes_on() { pleiad_on 2 train --resume "$1" >last.txt 2>last.err || { cat last.err; return 1; }; }
full='No space left on device'
limit='File too large'

check "a run that nothing disturbs" train 2 --out undisturbed
check "... and its routing" train 2 --out undisturbed-routing --set metrics.record_routing=full
ends_alike() { # RUN [UNDISTURBED]: after there is room again
    check "... nothing is half-written" whole "$1"
    check "... it goes on" goes_on "$1"
    check "... to the same bits" runs continued "${2:-undisturbed}" "$1"
}

# ---- a limit on the size of files ----
limited() { pleiad_limited "$1" "$2" train --config tiny.ini "${@:3}" >last.txt 2>last.err; }
for ranks in 1 2; do
    run=limit-$ranks
    check "run.h5 at its size limit, $ranks ranks" refused "cannot .*'$run/run.h5': $limit" limited 420 "$ranks" --out "$run"
    check "... after a checkpoint" test -e "$run/checkpoints/step-0000000050.h5"
    ends_alike "$run"
    check "a checkpoint at its size limit, $ranks ranks" refused "cannot .*'one-$ranks/checkpoints/step-0000000002.h5': $limit" limited 200 "$ranks" --out "one-$ranks" --set checkpoint.every=2
    check "... leaves nothing" whole "one-$ranks"
    check "a part of a checkpoint at its size limit, $ranks ranks" refused "cannot .*'part-$ranks/checkpoints/step-0000000002\..*part-0.h5': $limit.*" \
        limited 120 "$ranks" --out "part-$ranks" --set checkpoint.every=2 --set checkpoint.files=per_node
    check "... leaves nothing" whole "part-$ranks"
done
# Open MPI's shared memory is a file too, and MPI_Init would wait for it for ever.
too_small() { (ulimit -f 3000 && timeout -k 5 60 "$MPIRUN" -n 2 "$PLEIAD" train --config tiny.ini --out none) >last.txt 2>last.err; }
check "a limit below the shared memory of ranks" exits 2 too_small
once_named() { [[ $(grep -c 'pleiad: files may have 3000 KiB at most here (ulimit -f)' last.err) == 1 ]]; }
check "... is named once" once_named
# Whoever starts first: the launcher ends the others as soon as one leaves.
late() { (ulimit -f 3000 && timeout -k 5 60 "$MPIRUN" -n 2 bash -c "((OMPI_COMM_WORLD_RANK != $1)) || sleep 1; exec \"\$@\"" late "$PLEIAD" train --config tiny.ini --out none) >last.txt 2>last.err; }
for rank in 0 1; do
    check "... where rank $rank starts late" exits 2 late $rank
    check "... too, once" once_named
done
few() { (ulimit "$1" "$2" && exec timeout -k 5 60 "$PLEIAD" "${@:3}") >last.txt 2>last.err; }
for kib in 150000 250000 300000; do
    check "an address space of $kib KiB" exits 2 few -v "$kib" train --config tiny.ini --out none
    check "... is too small, in one sentence" says last.err '^pleiad: .*(ulimit -v|RLIMIT_AS)'
    check "... once" test "$(wc -l <last.err)" == 1
done
small() { # WHAT KIB THE_FILE ARGUMENTS...: does not write its result, and leaves nothing of it
    check "$1 at its size limit" refused ".*$3.*$limit.?" alone_limited "$2" "${@:4}"
    check "... leaves nothing" test ! -e "$3" -a ! -e "$3.partial"
}
alone() { pleiad_on 1 "$@" >last.txt 2>last.err; }
alone_limited() { pleiad_limited "$1" 1 "${@:2}" >last.txt 2>last.err; }
check "a dense run" train 1 --out dense --set moe.preset=dense --set train.steps=2
small "data synth" 4 x.h5 data synth --out x.h5 --tokens 30000
small "data build" 4 x.h5 data build --out x.h5 "$PLEIAD_SOURCE/README.md"
small "split" 60 x.h5 split dense --experts 4 --out x.h5
if command -v gnuplot >/dev/null; then small "report --html" 250 x.html report limit-1 --html x.html; fi

# ---- what a run can do without ----
without() {
    mkdir without && ln -s /dev/full without/log.txt
    train 2 --out without --set train.steps=20 && [[ $(grep -c "note: without/log.txt: cannot be written ($full)" last.txt) == 1 ]]
}
[[ ! -e /dev/full ]] || check "a run whose log.txt is full goes on, with a note" without

# ---- a folder that is gone ----
# meanwhile RUN COMMAND...: a run that goes on until the command, after its first checkpoint, ends it.
meanwhile() {
    train 2 --out "$1" --set train.steps=100000 &
    local process=$! tries
    for ((tries = 0; tries < 200; ++tries)); do
        if [[ -e $1/checkpoints/step-0000000050.h5 ]] && "${@:2}"; then break; fi
        sleep 0.05
    done
    wait "$process"
}
vanish() { mv gone away && : >gone; }
check "the folder of a run goes" refused ".*gone/checkpoints.*: (Not a directory|No such file or directory)" meanwhile gone vanish
check "... what was saved before loads" loads away

# ---- somebody else's folder ----
if [[ $(id -u) == 0 ]] && command -v setpriv >/dev/null; then
    mkdir -m 755 theirs
    mkdir -m 777 ours
    cp corpus.h5 tiny.ini ours && chmod 644 ours/*
    chmod 755 . "$TMPDIR" 2>/dev/null
    nobody() { (cd ours && HOME=$PWD TMPDIR=$PWD exec timeout 60 setpriv --reuid 65534 --regid 65534 --clear-groups "$@") >last.txt 2>last.err; }
    if nobody "$PLEIAD" --version; then
        check "a folder of somebody else" refused "--out ../theirs/run: cannot be created \(Permission denied\)" nobody "$PLEIAD" train --config tiny.ini --out ../theirs/run
        check "... for data" refused "cannot create '../theirs/x.h5': Permission denied" nobody "$PLEIAD" data synth --out ../theirs/x.h5 --tokens 3000
        chmod -R go-w undisturbed
        check "a run of somebody else" refused "'?../undisturbed/log.txt.*Permission denied\)?" nobody "$PLEIAD" train --resume ../undisturbed --set train.steps=500
        cp -r undisturbed closed && chown -R 65534 closed && chown 0 closed/checkpoints && chmod 755 closed/checkpoints
        check "checkpoints of somebody else" refused "cannot .*'../closed/checkpoints/step-0000000450.h5': Permission denied" nobody "$PLEIAD" train --resume ../closed --set train.steps=500 --set data.corpus=corpus.h5
        check "... on two ranks" refused "cannot .*'../closed/checkpoints/step-0000000450.h5': Permission denied" nobody "$MPIRUN" -n 2 "$PLEIAD" train --resume ../closed --set train.steps=500 --set data.corpus=corpus.h5
    else
        echo "skipped: another user cannot start programs here"
    fi
else
    echo "skipped: permissions (needs root and setpriv)"
fi

# ---- disks ----
mkdir -p disk
if [[ -z ${PLEIAD_OWN_MOUNTS:-} ]] || ! mount -t tmpfs -o size=64k none disk 2>/dev/null; then
    echo "skipped: disks (no mounts here)"
    finish
fi
umount disk
disk() { umount -q disk; mount -t tmpfs -o size="$1" none disk; }
more_room() { mount -o remount,size=64m disk; }
# until WHAT SIZE FILE ARGUMENTS...: a run on a disk that fills up after a checkpoint, on 1 and 2 ranks. `place` makes its folder, part of which is the disk.
until_full() {
    for ranks in 1 2; do
        check "a disk of $2" place "$2"
        check "$1 fills the disk, $ranks ranks" refused "cannot .*'run/$3': $full" train "$ranks" --out run "${@:4}"
        check "... after a checkpoint" test -e run/checkpoints/step-0000000050.h5
        more_room
        ends_alike run "$undisturbed"
    done
}
undisturbed=undisturbed
place() { rm -rf run && mkdir run && disk "$1" && ln -s ../disk run/checkpoints; }
until_full "a checkpoint" 1150k 'checkpoints/step-0000000250.h5'
until_full "a checkpoint in parts" 1280k 'checkpoints/step-0000000250.h5' --set checkpoint.files=per_node
place() { rm -rf run elsewhere && mkdir elsewhere && disk "$1" && ln -s disk run && ln -s ../elsewhere disk/checkpoints; }
until_full run.h5 450k run.h5
undisturbed="undisturbed-routing"
until_full routing.h5 700k '(run|routing).h5' --set metrics.record_routing=full
rm run
disk 64k
check "a run that finds no room at all" refused "cannot .*'disk/run/run.h5': $full" train 2 --out disk/run
check "... leaves nothing" whole disk
disk 64k && head -c 100k /dev/zero >disk/filler 2>last.err
check "... not even of one byte" refused "cannot .*'disk/run/run.h5': $full" train 2 --out disk/run
check "... leaves nothing" whole disk
check "data find no room" refused "cannot .*'disk/x.h5': $full" alone data synth --out disk/x.h5 --tokens 30000
check "... and leave nothing" whole disk
disk 200k && printf '[sweep]\nbase = tiny.ini\nrepeats = 2\n' >two.sweep.ini
check "a sweep finds no room" refused "cannot .*'disk/points/collected.h5': $full" alone sweep run two.sweep.ini --out disk/points
check "... for its points neither" says last.txt "failed .* pleiad: cannot .*'disk/points/.*': $full"
check "... leaves nothing" whole disk
more_room
check "... goes on" pleiad_on 1 sweep rerun disk/points
place() { rm -rf run && mkdir run && disk "$1" && ln -s ../disk run/checkpoints; }
place 64m
no_writing() { mount -o remount,ro disk 2>/dev/null; }  # as soon as nobody writes
check "the disk of checkpoints becomes read-only" refused "cannot create 'run/checkpoints/step-.*': Read-only file system" meanwhile run no_writing
check "... what was saved before is whole" whole run
disk 8m && mount -o remount,ro disk
check "a read-only disk" refused "--out disk/run: cannot be created \(Read-only file system\)" train 2 --out disk/run
check "... for data" refused "cannot create 'disk/x.h5': Read-only file system" alone data synth --out disk/x.h5 --tokens 3000
disk 8m
cp -r undisturbed disk/run && mount -o remount,ro disk
check "a run on a read-only disk" refused ".*disk/run/log.txt.*Read-only file system\)?" alone train --resume disk/run --set train.steps=500
umount disk
finish
