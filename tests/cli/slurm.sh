#!/usr/bin/env bash
# A real SLURM of our own: the commands of docs/cluster.md as they stand there, then what a page cannot show: where ranks land, signals and
# limits, requeue with exact resume, failed and killed elements, scratch folders.
# PROCESSORS 2
# TIMEOUT 600
# shellcheck disable=SC2317  # functions are called by check
if [[ -z ${CLUSTER_KIND:-} ]]; then
    export CLUSTER_MAX_ARRAY=4  # so that a sweep of six points needs two arrays
    exec bash "$PLEIAD_SOURCE/tests/support/slurm_cluster.sh" run "$TEST_TMP/cluster" -n 2 -c 2 ${CLUSTER_PLAIN:+--plain} -- bash "$0"
fi
unset "${!OMPI_MCA_@}"  # from ctest; what a user's shell has comes from experiments/env.sh
# shellcheck source=tests/cli/_common.sh
source "$PLEIAD_SOURCE/tests/cli/_common.sh"
require_python
PATH=$(dirname "$PLEIAD"):$PATH
export SCRATCH=$CLUSTER_SCRATCH
# More ranks than cores, so waiting ranks must give way here; on a real node they need not.
export PLEIAD_ONE_MACHINE=${PLEIAD_ONE_MACHINE/OMPI_MCA_mpi_yield_when_idle/}
if [[ $CLUSTER_KIND == plain ]]; then
    # Nodes that share a host name and /dev/shm would take each other's shared memory for their own.
    export PLEIAD_ONE_MACHINE=${PLEIAD_ONE_MACHINE/OMPI_MCA_btl /} OMPI_MCA_btl=self,tcp
fi
ln -s "$PLEIAD_SOURCE/slurm" slurm

# wait_until SECONDS WHAT COMMAND...
wait_until() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || { echo "waited in vain: $what"; squeue --array; return 1; }
        sleep 0.1
    done
}
queue_is_empty() { [[ -z $(squeue --noheader) ]]; }
all_done() { wait_until "$1" "an empty queue" queue_is_empty; }
job_state() { scontrol --oneliner show job "$1" 2>/dev/null | grep -o 'JobState=[A-Z_]*' | head -n 1; }
is_state() { [[ $(job_state "$1") == "JobState=$2" ]]; }
finished() { [[ -e $1/finished.json ]]; }
codes() { sed -n 's/^end .* code=//p' "$1/attempts.txt" | paste -sd ' '; }
on_node() { bash "$PLEIAD_SOURCE/tests/support/slurm_cluster.sh" on "$@"; }

# Process of the only rank of a run, known by the absolute path of its folder.
rank_of() {
    local process
    for process in $(pgrep -x pleiad); do
        if grep -qzxF -- "$1" "/proc/$process/cmdline" 2>/dev/null; then echo "$process"; return; fi
    done
    return 1
}
# freeze RUN: stops time for its rank as soon as there is a checkpoint; it keeps its place and needs no core.
has_checkpoint() { compgen -G "$1/checkpoints/step-*.h5" && rank_of "$1"; }
freeze() { wait_until 60 "a checkpoint of $1" has_checkpoint "$1" && kill -STOP "$(rank_of "$1")" && echo "frozen" && ! finished "$1"; }
# signal_waits RUN SIGNAL: a frozen rank was sent the signal.
signal_waits() {
    local bit pending
    bit=$((1 << ($(kill -l "$2") - 1)))
    while read -r pending; do
        if (((16#$pending & bit) != 0)); then return 0; fi
    done < <(sed -n 's/^S[hi][dg]Pnd:[[:space:]]*//p' "/proc/$(rank_of "$1")/status")
    return 1
}
# thaw_at SIGNAL RUN SECONDS: lets it go on when the signal has arrived.
thaw_at() { wait_until "$3" "signal $1 for $2" signal_waits "$2" "$1" && kill -CONT "$(rank_of "$2")"; }

# ---- the page ----
awk '/^```sh$/ { inside = 1; print "echo \"==== line " NR "\" >&2"; next } /^```$/ { inside = 0 } inside' "$PLEIAD_SOURCE/docs/cluster.md" >page.sh
the_page() { timeout 240 bash -euo pipefail page.sh >page.out 2>page.err || { cat page.out page.err; squeue; return 1; }; }
check "the commands of docs/cluster.md" the_page
check "a run on 2 nodes is finished" finished runs/first
check "... which is noted" says runs/first/attempts.txt "^start [0-9]+ host=$(on_node n1 hostname) ranks=4 slurm=[0-9]+\$" '^end [0-9]+ code=0$'
check "... and the page saw it" says page.out 'run record: runs/first/run.h5' 'code 0' '4 points: 4 finished'
check "a dry run printed the scripts" says scripts.txt '==> .*/slurm/1/array-2.sbatch <==' '#SBATCH --array=0-3%2' '==> .*/slurm/1/points-2.txt <==' 'sweep collect'
check "the sweep is collected by the job that waited for it" says sweeps/widths/slurm/1/collect.out 'results of 4 points'
check "a run was stopped by hand and saved" says runs/stopped/attempts.txt 'code=75$'
check "nothing is submitted twice" says page.out 'nothing to submit; left out: 4 finished'
check "the undisturbed run" pleiad_on 1 train --config tiny.ini --out whole
check "mpirun on 2 nodes gives the same bits" runs same whole runs/mpirun
check "... so do ranks bound to NUMA domains" runs same whole runs/numa
check "... and data read from scratch folders" runs same whole runs/scratch
no_copies() { for node in n1 n2; do on_node "$node" find "$SCRATCH" -name '*.h5' | grep . && return 1; done; return 0; }
check "... which are clean again" no_copies

# ---- where ranks land: a program that says it ----
cat >where <<'END'
#!/bin/bash
echo "rank=${OMPI_COMM_WORLD_RANK:-$SLURM_PROCID} node=${SLURMD_NODENAME:-?} host=$(hostname) cores=$(taskset -cp $$ | sed 's/.*: //') threads=$OPENBLAS_NUM_THREADS"
END
chmod +x where
# lands RUN EXPECTED OPTION...: "host:cores" of each rank, in their order.
lands() {
    local run=$1 expected=$2 found
    shift 2
    PLEIAD=./where sbatch --wait-all-nodes=1 --time=10 --output="$run.out" "$@" slurm/train.sbatch tiny.ini "$run" >"$run.job" || return 1
    all_done 60 || return 1
    found=$(grep '^rank=' "$run/output.txt" | sort -t= -k2n | sed 's/.*host=\([^ ]*\) cores=\([^ ]*\) .*/\1:\2/' | paste -sd ' ')
    [[ $found == "$expected" ]] || { echo "found $found, expected $expected"; cat "$run/output.txt" "$run.out"; return 1; }
}
if [[ $CLUSTER_KIND == namespaces ]]; then
    export HWLOC_SYNTHETIC="pack:2 [numa] core:1 pu:1" HWLOC_THISSYSTEM=1  # the nodes as slurmd sees them
    check "srun: a core for each rank" lands where1 "n1:0 n1:1 n2:0 n2:1" --nodes=2 --ntasks-per-node=2
    check "mpirun: a core for each rank" env PLEIAD_LAUNCHER=mpirun bash -c "$(declare -f lands all_done wait_until queue_is_empty); lands where2 'n1:0 n1:1 n2:0 n2:1' --nodes=2 --ntasks-per-node=2"
    PLEIAD_BINDING=none check "srun: not bound" lands where3 "n1:0,1 n1:0,1" --ntasks-per-node=2
    PLEIAD_BINDING=numa PLEIAD_LAUNCHER=mpirun PLEIAD_RANKS_PER_NUMA=1 check "mpirun: a rank on each NUMA domain" lands where4 "n1:0 n1:1 n2:0 n2:1" --nodes=2 --ntasks-per-node=2
    check "srun: two cores for a rank" lands where5 "n1:0,1 n2:0,1" --nodes=2 --ntasks-per-node=1 --cpus-per-task=2
    check "... and as many threads" says where5/output.txt 'threads=2'
    PLEIAD_LAUNCHER=mpirun check "mpirun: two cores for a rank" lands where6 "n1:0,1 n2:0,1" --nodes=2 --ntasks-per-node=1 --cpus-per-task=2
    unset HWLOC_SYNTHETIC HWLOC_THISSYSTEM
    # Proof that every node copies: the folder is on one of them only.
    on_node n1 mkdir "$SCRATCH/one"
    PLEIAD_SCRATCH=$SCRATCH/one check "a scratch folder that a node lacks" sbatch --output=lacks.out --nodes=2 --ntasks-per-node=1 slurm/train.sbatch tiny.ini runs/lacks
    all_done 60
    check "... is one clear error" says runs/lacks/output.txt 'pleiad: --scratch .*/one: there is no such folder on this node'
    check "... and a failed job with the code of pleiad" says lacks.out 'code 2$'
fi

# ---- two runs that meet their limit, on one core of each node; SLURM takes its time, so other things are done meanwhile ----
steps=(--set train.steps=900)
check "the longer undisturbed run" pleiad_on 1 train --config tiny.ini --out long "${steps[@]}"
limit=$PWD/runs/limit
# The signal may come a minute early: half a minute is left for the first checkpoint.
check "a run with a limit of two minutes and a signal before it" sbatch --job-name=limit --output=limit.out --nodelist=n1 --ntasks-per-node=1 --time=2 --signal=B:USR1@30 slurm/train.sbatch tiny.ini "$limit" "${steps[@]}"
check "... is slow" freeze "$limit"
cat >hard.ini <<'END'
[sweep]
base = tiny.ini
[set]
train.steps = 900
[grid]
moe.experts = 4
END
check "a sweep with a limit of a minute and no signal" pleiad sweep plan hard.ini --out hard
check "... is submitted" pleiad sweep submit hard --time 1 --signal 0 --no-requeue --sbatch=--nodelist=n2
hard=$(echo "$PWD"/hard/points/*)
check "... is slow too" freeze "$hard"

# ---- a sweep in which things go wrong ----
cat >six.ini <<'END'
[sweep]
base = tiny.ini
[set]
train.steps = 900
[grid]
moe.expert_width = 16 | 24
moe.experts = 2 | 4 | 8
END
check "a sweep of six points" pleiad sweep plan six.ini --out six
mapfile -t points < <("$PYTHON" -c 'import json; [print(p["name"]) for p in json.load(open("six/sweep.json"))["points"]]')
echo "not HDF5" >"six/points/${points[5]}/run.h5"
pleiad sweep submit six --throttle 2 --time 10 >six.txt 2>&1
check "... becomes two arrays, since this SLURM allows elements 0 to 3" says six.txt 'job [0-9]+: 4 points of 1 rank$' 'job [0-9]+: 2 points of 1 rank$' 'job [0-9]+: collects'
check "... with their throttle" says six/slurm/1/array-1-1.sbatch '#SBATCH --array=0-3%2'
mapfile -t jobs < <(sed -n 's/^job \([0-9]*\):.*/\1/p' six.txt)
twice() { pleiad sweep submit six >twice.txt 2>&1 && says twice.txt 'nothing to submit; left out: 6 running or in the queue'; }
check "... is not submitted twice" twice
first=$PWD/six/points/${points[0]}
second=$PWD/six/points/${points[1]}
check "its first point is caught" freeze "$first"
check "... and the second" freeze "$second"
check "... and shown as running" bash -c 'pleiad sweep status six | grep -E "running .*job '"${jobs[0]}"'_0"'
not_here() { timeout 20 pleiad sweep run six --cores 1 >here.txt 2>&1; says here.txt 'running 0 of them'; }
check "... and nothing is run here as well" not_here
check "the second is killed" bash -c "kill -9 $(rank_of "$second")"
check "the first is put back in the queue, for which SLURM wakes and ends it" scontrol requeue "${jobs[0]}_0"

# ---- the limits meanwhile ----
check "the signal comes before the limit" thaw_at USR1 "$limit" 120
limit_done() { [[ -z $(squeue --noheader --name=limit) ]] && finished "$limit"; }
check "... the run is saved, goes back to the queue and is finished in the end" wait_until 60 "the end of $limit" limit_done
check "... in two lives at least" bash -c "[[ '$(codes "$limit")' =~ ^75\ .*0$ ]]"
check "... and so says its script" says limit.out 'saved before the time limit; back in the queue' 'life 2' 'code 0'
check "... with the same bits" runs same long "$limit"

# ---- the sweep ends ----
check "the sweep is collected when all elements have ended" wait_until 100 "collected.csv" test -s six/collected.csv
pleiad sweep status six >status.txt 2>&1
check "four points are finished, two are not" says status.txt '6 points: 4 finished, 2 failed'
check "... one shows why in its own words" says status.txt "${points[5]} +failed .*exit code 2: pleiad: .*run.h5"
check "... the other that it was killed" says status.txt "${points[1]} +failed .*exit code 137"
both_failed() { is_state "${jobs[0]}_1" FAILED && is_state "${jobs[1]}_1" FAILED; }
check "... and SLURM knows it of both" both_failed
check "the point that was put back had two lives" bash -c "[[ '$(codes "$first")' == '75 0' ]]"
same_as_local() { pleiad_on 1 train --config "$1/point.ini" --out "$2" && runs same "$2" "$1"; }
check "... and the bits of an undisturbed run" same_as_local "$first" first
rm "six/points/${points[5]}/run.h5"
pleiad sweep submit six --time 10 --partition other >again.txt 2>&1
check "the failed points are submitted again, the others not" says again.txt 'job [0-9]+: 2 points' 'left out: 4 finished'
six_done() { pleiad sweep status six | grep -q '6 points: 6 finished'; }
check "... and finished" wait_until 60 "six finished points" six_done
check "... the killed one with the bits of an undisturbed run" same_as_local "$second" second

# ---- the hard limit ----
budget=$PWD/runs/budget
check "meanwhile a run with a time budget of its own" sbatch --job-name=budget --output=budget.out --nodelist=n1 --ntasks-per-node=1 --time=10 slurm/train.sbatch tiny.ini "$budget" "${steps[@]}" --set checkpoint.time_budget=0:01
timeout_job=$(sed -n 's/.*"job": "\([0-9]*\)".*/\1/p' hard/slurm/1/jobs.json)
check "without a signal the limit ends the job" wait_until 120 "TIMEOUT of job $timeout_job" is_state "${timeout_job}_0" TIMEOUT
budget_done() { [[ -z $(squeue --noheader --name=budget) ]] && finished "$budget"; }
check "the other went back to the queue when its budget was spent, and is finished" wait_until 180 "the end of $budget" budget_done
check "... in two lives at least" bash -c "[[ '$(codes "$budget")' =~ ^75\ .*0$ ]]"
check "... with the same bits" runs continued long "$budget"
hard_left() { pleiad sweep status hard | grep -E '1 point: 1 (stopped|failed)'; }
check "... and the point is not finished" wait_until 30 "the end of the point" hard_left
check "... submitted again" pleiad sweep submit hard --time 10
check "... it goes on where its checkpoint was" wait_until 60 "the end of $hard" finished "$hard"
check "... with the same bits" runs same long "$hard"
all_done 60
check "the second collection has all six" says six/slurm/2/collect.out 'results of 6 points'

# ---- what is refused ----
threads() {
    pleiad sweep plan hard.ini --out threads --set parallel.blas_threads=2 || return 1
    exits 2 pleiad sweep submit threads --dry-run >threads.txt 2>&1
    says threads.txt '^pleiad: --cpus-per-rank 1: point .* has parallel.blas_threads = 2; must be at least that$' && pleiad sweep submit threads --dry-run --cpus-per-rank 2
}
check "fewer cores than threads" threads
refused() { exits 2 pleiad sweep submit refused --partition nosuch >refused.txt 2>&1 && says refused.txt '^pleiad: SLURM refuses .sbatch .*: invalid partition' && [[ $(wc -l <refused.txt) == 1 ]]; }
pleiad sweep plan hard.ini --out refused --set train.steps=10 >/dev/null
check "sbatch's own error in one sentence" refused
check "... and nothing counts as submitted" bash -c 'pleiad sweep status refused | grep "1 point: 1 waiting"'
finish
