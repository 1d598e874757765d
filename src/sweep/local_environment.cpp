// The environment of runs that share one machine: what experiments/env.sh sets, for the same reasons.
#include <unistd.h>

#include <algorithm>
#include <sstream>

#include "pleiad/io/small_file.hpp"
#include "pleiad/sweep/local_runner.hpp"

extern char** environ;

namespace pleiad::sweep {

namespace {

bool has(const std::vector<std::string>& environment, const std::string& name) {
  return std::ranges::any_of(environment, [&](const std::string& v) { return v.starts_with(name + "="); });
}

}  // namespace

std::vector<std::string> first_environment() {
  std::vector<std::string> variables;
  std::string text;
  if (io::read_whole("/proc/self/environ", text)) {
    std::istringstream in(text);
    for (std::string one; std::getline(in, one, '\0');) variables.push_back(one);
  } else {
    for (char** one = environ; *one; ++one) variables.emplace_back(*one);
  }
  return variables;
}

std::vector<std::string> local_environment() {
  std::vector<std::string> all = first_environment();
  // A point of one rank is no part of a SLURM step.
  std::erase_if(all, [](const std::string& v) {
    return v.starts_with("TMPDIR=") || v.starts_with("SLURM_NTASKS=") || v.starts_with("SLURM_NPROCS=") || v.starts_with("SLURM_STEP_NUM_TASKS=");
  });
  const auto set_default = [&](const std::string& name, const std::string& value) {
    if (!has(all, name)) all.push_back(name + "=" + value);
  };
  set_default("OPENBLAS_NUM_THREADS", "1");
  set_default("OMP_NUM_THREADS", "1");
  set_default("OMPI_MCA_ess_singleton_isolated", "1");
  if (geteuid() == 0) {
    set_default("OMPI_ALLOW_RUN_AS_ROOT", "1");
    set_default("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
  }
  if (has(all, "SLURM_JOB_ID") || has(all, "PBS_JOBID") || has(all, "LSB_JOBID")) return all;
  set_default("OMPI_MCA_rmaps_base_oversubscribe", "1");
  // Several runs side by side: bound, all of them would sit on the first cores.
  set_default("OMPI_MCA_hwloc_base_binding_policy", "none");
  set_default("OMPI_MCA_mpi_yield_when_idle", "1");
  set_default("OMPI_MCA_pml", "ob1");
  set_default("OMPI_MCA_btl", "self,vader");
  set_default("OMPI_MCA_btl_vader_single_copy_mechanism", "none");
  set_default("OMPI_MCA_btl_base_warn_component_unused", "0");
  set_default("OMPI_MCA_orte_execute_quiet", "1");
  return all;
}

}  // namespace pleiad::sweep
