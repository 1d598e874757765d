# ---- slurm/job.sh: what every batch script of Pleiad does. The same text ends slurm/train.sbatch and the scripts of 'pleiad sweep submit'.
# It places ranks, starts pleiad, and sees to it that a run which must stop has saved first. No setting of a run is made here.
# The lines above have set:
#   run              folder of the run
#   command          array: pleiad and its arguments
#   launcher, mpi    srun (with this --mpi=) or mpirun (of Open MPI)
#   ranks_per_numa   ranks on each NUMA domain, or empty
#   cpus_per_rank    cores of a rank, and the most threads its BLAS may have (parallel.blas_threads is how many it takes)
#   binding          none, cores (each rank has its own) or numa (each rank may use the cores of one NUMA domain)
#   requeue          yes: when the time limit comes, save and put the job back in the queue
#   scratch          node-local folder that data are copied to first, or empty
set -euo pipefail
: "${SLURM_JOB_ID:?this script is for sbatch}"
ranks=${SLURM_NTASKS:-1} nodes=${SLURM_JOB_NUM_NODES:-1}
ranks_per_node=${SLURM_NTASKS_PER_NODE:-}
job=$SLURM_JOB_ID
if [[ -n ${SLURM_ARRAY_JOB_ID:-} ]]; then job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID; fi
# experiments/env.sh prepares a shell for mpirun on one machine; sbatch hands that on to here, where it would be wrong.
# shellcheck disable=SC2086  # names
unset ${PLEIAD_ONE_MACHINE:-}
export OPENBLAS_NUM_THREADS=$cpus_per_rank OMP_NUM_THREADS=$cpus_per_rank

# ---- how the ranks are started ----
case $launcher in
    srun)
        # A rank that dies ends the others at once (PMIx) or, before MPI knows it, after --wait. --kill-on-bad-exit would also end ranks that
        # have saved and are about to leave with 75, and what srun reports is then 137.
        start=(srun "--mpi=$mpi" "--ntasks=$ranks" "--cpus-per-task=$cpus_per_rank" --kill-on-bad-exit=0 --wait=60)
        case $binding in
            none) start+=(--cpu-bind=none) ;;
            cores) start+=(--cpu-bind=cores) ;;
            numa) start+=(--cpu-bind=ldoms) ;;
        esac
        # One after the other over the domains of a node, so that each gets its share.
        if [[ -n $ranks_per_numa ]]; then start+=(--distribution=block:cyclic); fi
        ;;
    mpirun)
        start=(mpirun -n "$ranks" --mca orte_execute_quiet 1)
        place=slot
        if [[ -n $ranks_per_node ]]; then place=ppr:$ranks_per_node:node; fi
        if [[ -n $ranks_per_numa ]]; then place=ppr:$ranks_per_numa:numa; fi
        case $binding in
            none) start+=(--map-by "$place" --bind-to none) ;;
            cores) start+=(--map-by "$place:PE=$cpus_per_rank" --bind-to core) ;;
            numa) start+=(--map-by "$place" --bind-to numa) ;;
        esac
        ;;
esac

# ---- a temporary folder for this job's mpirun ----
# Jobs of mpirun that start and end together in one temporary folder remove each other's files. (srun has a folder for each step.) The name is
# short: sockets are made below it. The helpers of mpirun make it on the other nodes; SLURM takes no step of a job that was cancelled, so
# there it may stay behind, empty.
remove_temporary_folder() {
    if [[ $launcher != mpirun ]]; then return; fi
    rm -rf -- "$TMPDIR"
    if ((nodes > 1)); then srun --mpi=none --nodes="$nodes" --ntasks="$nodes" --ntasks-per-node=1 --cpus-per-task=1 rm -rf -- "$TMPDIR" </dev/null 2>/dev/null || true; fi
}
if [[ $launcher == mpirun ]]; then
    if [[ ! -d ${TMPDIR:-} || ! -w ${TMPDIR:-} ]]; then TMPDIR=/tmp; fi
    export TMPDIR=${TMPDIR%/}/pleiad.$SLURM_JOB_ID
    mkdir -p -- "$TMPDIR"
    trap remove_temporary_folder EXIT
fi
if [[ -n $scratch ]]; then command+=(--scratch "$scratch"); fi

# ---- signals ----
# USR1 comes some time before the limit (#SBATCH --signal=B:USR1@seconds), TERM with scancel, scontrol requeue and preemption. Both reach
# this shell; the ranks are told by USR1 through the launcher, because TERM makes srun and mpirun end them. They save and end with 75.
why="" signalled="" launched="" reminder=""
# Told again while they are there: a launcher that has not started its ranks yet forgets it.
tell_ranks() {
    why=${why:-$1} signalled=1
    if [[ -z $launched ]]; then return; fi
    kill -USR1 "$launched" 2>/dev/null || true
    if [[ -z $reminder ]]; then
        while sleep 2; do kill -USR1 "$launched" 2>/dev/null || break; done &
        reminder=$!
    fi
}
trap 'tell_ranks limit' USR1
trap 'tell_ranks stop' TERM

# When the job ends, in seconds since 1970: newer SLURMs say so by themselves. The run leaves in time (checkpoint.time_budget).
if [[ -z ${SLURM_JOB_END_TIME:-} ]] && end=$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%e 2>/dev/null) && end=$(date --date="$end" +%s 2>/dev/null); then
    export SLURM_JOB_END_TIME=$end
fi

newest_checkpoint() { find "$run/checkpoints" -name 'step-*.h5' 2>/dev/null | sort | tail -n 1 || true; }

# ---- the run ----
mkdir -p "$run"
before=$(newest_checkpoint)
echo "$(date '+%F %T') job $job on ${SLURM_JOB_NODELIST:-?}: $ranks ranks, life $((${SLURM_RESTART_COUNT:-0} + 1)); output in $run/output.txt"
echo "start $(date +%s) host=$(hostname) ranks=$ranks slurm=$job" >>"$run/attempts.txt"
"${start[@]}" "${command[@]}" </dev/null >>"$run/output.txt" 2>&1 &
launched=$!
if [[ -n $why ]]; then tell_ranks "$why"; fi
# A signal ends `wait` early; the launcher is still there then.
while :; do
    signalled="" code=0
    wait "$launched" || code=$?
    if [[ -z $signalled ]]; then break; fi
done
launched=""
if [[ -n $reminder ]]; then kill "$reminder" 2>/dev/null || true; fi
# The run looks at the clock, too (checkpoint.time_budget), and may have left before the signal.
if [[ -z $why && $code == 75 ]] && grep -q 'stopped by its time budget' <(tail -n 20 "$run/output.txt"); then why=limit; fi
# 138: the signal came before anybody was there to hear it. The run is as it was.
if [[ -n $why && $code == 138 ]]; then code=75; fi
echo "end $(date +%s) code=$code" >>"$run/attempts.txt"
echo "$(date '+%F %T') job $job: code $code"

if [[ $code == 0 ]]; then exit 0; fi
if [[ $code != 75 ]]; then
    echo "the last lines of $run/output.txt:"
    tail -n 5 "$run/output.txt"
elif [[ $why == limit && $requeue == yes ]]; then
    # SLURM may send the signal a minute early, even before there was time for a step; but not again and again.
    if [[ $(newest_checkpoint) == "$before" ]] && ((${SLURM_RESTART_COUNT:-0} >= 3)); then
        echo "the time limit is too short for one step: not put back in the queue"
    else
        echo "saved before the time limit; back in the queue"
        # SLURM ends this script now, so the folder goes first.
        trap - EXIT
        remove_temporary_folder
        scontrol requeue "$SLURM_JOB_ID" || echo "not put back in the queue: submit it again and it goes on"
    fi
fi
exit "$code"
