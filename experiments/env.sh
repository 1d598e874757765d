# Source this before mpirun on one machine: settings for Open MPI in a container, as root, with more ranks than cores.
# What the user has set already stays; inside a batch allocation the launcher and the network are left to the site.
# shellcheck shell=bash

pleiad_default() {
    if [[ -z ${!1+set} ]]; then export "$1=$2"; fi
}

pleiad_default OPENBLAS_NUM_THREADS 1
pleiad_default OMP_NUM_THREADS 1
# A program started without mpirun needs no helper daemon, which would outlive it by a moment and tidy up under the next mpirun.
pleiad_default OMPI_MCA_ess_singleton_isolated 1
if [[ $(id -u) -eq 0 ]]; then
    pleiad_default OMPI_ALLOW_RUN_AS_ROOT 1
    pleiad_default OMPI_ALLOW_RUN_AS_ROOT_CONFIRM 1
fi
if [[ -z ${SLURM_JOB_ID:-}${PBS_JOBID:-}${LSB_JOBID:-} ]]; then
    # What is set from here on, so that a batch job which inherits it can take it back (slurm/job.sh).
    pleiad_default() {
        if [[ -z ${!1+set} ]]; then export "$1=$2" "PLEIAD_ONE_MACHINE=${PLEIAD_ONE_MACHINE:-} $1"; fi
    }
    pleiad_default OMPI_MCA_rmaps_base_oversubscribe 1
    pleiad_default OMPI_MCA_hwloc_base_binding_policy none
    # Waiting ranks give up their core; without it more ranks than cores are slower by orders of magnitude.
    pleiad_default OMPI_MCA_mpi_yield_when_idle 1
    # One machine: shared memory only, and no warnings about networks and ptrace that a container does not have.
    pleiad_default OMPI_MCA_pml ob1
    pleiad_default OMPI_MCA_btl self,vader
    pleiad_default OMPI_MCA_btl_vader_single_copy_mechanism none
    pleiad_default OMPI_MCA_btl_base_warn_component_unused 0
    # mpirun adds nothing to our own one-line error messages
    pleiad_default OMPI_MCA_orte_execute_quiet 1
fi
unset -f pleiad_default
