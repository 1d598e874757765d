#include "pleiad/comm/communicator.hpp"

#include <sys/resource.h>

#include <chrono>
#include <cstdlib>
#include <exception>
#include <optional>
#include <thread>
#include <utility>

#include "pleiad/comm/error.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/core/temporary_folder.hpp"

namespace pleiad::comm {

namespace {

std::string error_text(const char* call, int code) {
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, text, &length);
  return fmt::format("{} failed: {}", call, std::string_view(text, static_cast<std::size_t>(length)));
}

/// What Open MPI's launcher says about this process; empty without it.
std::string launcher_says(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

/// Of a process that no launcher started; goes when the process ends.
std::optional<TemporaryFolder> folder_of_a_single;

/// Ranks of a node share a file of 4 MiB and some each. Where files may not be so large MPI_Init never returns.
void require_room_for_shared_files() {
  constexpr rlim_t k_needed = (rlim_t{4} << 20) + (rlim_t{64} << 10);
  rlimit limit = {};
  const bool several = std::atoll(launcher_says("OMPI_COMM_WORLD_LOCAL_SIZE").c_str()) > 1;
  const std::string ways = launcher_says("OMPI_MCA_btl");
  const bool shared = ways.empty() || ways.find("vader") != std::string::npos || ways.find("sm") != std::string::npos;
  if (!several || !shared || getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur >= k_needed) return;
  user_error("files may have {} KiB at most here (ulimit -f), and the memory that ranks of a node share is a file of {} KiB: raise the limit", limit.rlim_cur / 1024, k_needed / 1024);
}

}  // namespace

void wait_for_rank_0_to_speak() {
  if (std::atoll(launcher_says("OMPI_COMM_WORLD_RANK").c_str()) == 0) return;
  const bool first_of_node = std::atoll(launcher_says("OMPI_COMM_WORLD_LOCAL_RANK").c_str()) == 0;
  std::this_thread::sleep_for(std::chrono::seconds(first_of_node ? 2 : 4));
}

MpiError::MpiError(const char* call, int code) : std::runtime_error(error_text(call, code)) {}

Environment::Environment(int& argc, char**& argv) : exceptions_at_start_(std::uncaught_exceptions()) {
  require_room_for_shared_files();
  // Single processes have one folder of Open MPI's for them all, and one that ends removes it while another one starts there: each gets a place of its own.
  constexpr const char* k_place = "OMPI_MCA_orte_tmpdir_base";
  const bool single = launcher_says("OMPI_COMM_WORLD_SIZE").empty() && launcher_says("PMIX_RANK").empty() && launcher_says(k_place).empty();
  if (single) setenv(k_place, folder_of_a_single.emplace().path().c_str(), 1);
  int provided = 0, running = 0;
  PLEIAD_MPI(MPI_Initialized, &running);
  PLEIAD_CHECK(!running, "MPI is started twice");
  PLEIAD_MPI(MPI_Init_thread, &argc, &argv, MPI_THREAD_FUNNELED, &provided);
  if (single) unsetenv(k_place);  // not for what this process starts, a job on other nodes for instance
  PLEIAD_MPI(MPI_Comm_set_errhandler, MPI_COMM_WORLD, MPI_ERRORS_RETURN);
}

Environment::~Environment() {
  if (std::uncaught_exceptions() > exceptions_at_start_) return;
  MPI_Finalize();
}

void abort_all(int exit_code) {
  MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

std::string mpi_description() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  int length = 0, major = 0, minor = 0;
  PLEIAD_MPI(MPI_Get_library_version, text, &length);
  PLEIAD_MPI(MPI_Get_version, &major, &minor);
  const std::string_view all(text, static_cast<std::size_t>(length));
  return fmt::format("{} (MPI {}.{})", all.substr(0, std::min(all.find(','), all.find('\n'))), major, minor);
}

void refuse_lonely_slurm_task(i64 world_size) {
  if (world_size > 1) return;
  for (const char* name : {"SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "SLURM_NPROCS"}) {
    const char* value = std::getenv(name);
    if (!value || std::atoll(value) <= 1) continue;
    user_error(
        "SLURM has {} tasks ({}) but MPI sees a world of 1, so every task would run the whole job: start with "
        "'srun --mpi=pmix' (see 'srun --mpi=list') or 'mpirun', or ask for one task with 'srun -n 1'",
        value, name);
  }
}

Communicator::Communicator(MPI_Comm owned) : handle_(owned) {
  int rank = 0, size = 1;
  PLEIAD_MPI(MPI_Comm_rank, handle_, &rank);
  PLEIAD_MPI(MPI_Comm_size, handle_, &size);
  PLEIAD_MPI(MPI_Comm_set_errhandler, handle_, MPI_ERRORS_RETURN);
  rank_ = rank;
  size_ = size;
}

Communicator Communicator::world() {
  MPI_Comm copy = MPI_COMM_NULL;
  PLEIAD_MPI(MPI_Comm_dup, MPI_COMM_WORLD, &copy);
  return Communicator(copy);
}

Communicator Communicator::alone() {
  MPI_Comm copy = MPI_COMM_NULL;
  PLEIAD_MPI(MPI_Comm_dup, MPI_COMM_SELF, &copy);
  return Communicator(copy);
}

Communicator Communicator::split(i64 colour, i64 key) const {
  MPI_Comm part = MPI_COMM_NULL;
  PLEIAD_MPI(MPI_Comm_split, handle_, static_cast<int>(colour), static_cast<int>(key), &part);
  return Communicator(part);
}

Communicator Communicator::node() const {
  MPI_Comm part = MPI_COMM_NULL;
  PLEIAD_MPI(MPI_Comm_split_type, handle_, MPI_COMM_TYPE_SHARED, static_cast<int>(rank_), MPI_INFO_NULL, &part);
  return Communicator(part);
}

Communicator::Communicator(Communicator&& other) noexcept
    : handle_(std::exchange(other.handle_, MPI_COMM_NULL)), rank_(other.rank_), size_(other.size_) {}

Communicator& Communicator::operator=(Communicator&& other) noexcept {
  std::swap(handle_, other.handle_);
  std::swap(rank_, other.rank_);
  std::swap(size_, other.size_);
  return *this;
}

// MPI_Comm_free is collective on paper but does not communicate in practice; while an exception unwinds, leaking is the safe way.
Communicator::~Communicator() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (handle_ != MPI_COMM_NULL && !finalized && std::uncaught_exceptions() == 0) MPI_Comm_free(&handle_);
}

}  // namespace pleiad::comm
