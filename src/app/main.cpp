// Start here: finds the command, runs it, and turns every error into one message and an exit code.
#include <malloc.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <iostream>
#include <optional>
#include <thread>

#include "pleiad/app/commands.hpp"
#include "pleiad/app/stop_signal.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/comm/error.hpp"
#include "pleiad/core/clock.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/core/host.hpp"
#include "pleiad/core/memory.hpp"
#include "pleiad/io/h5.hpp"
#include "pleiad/ops/gemm.hpp"

namespace {

using namespace pleiad;

std::string usage() {
  std::string text = "usage: pleiad COMMAND [OPTIONS]     (mpirun -n RANKS pleiad COMMAND ... for several ranks)\n\n";
  for (const app::Command& c : app::commands()) text += fmt::format("  {:<9} {}\n", c.name, c.summary);
  return text + "\n  pleiad COMMAND --help     options of a command\n  pleiad --version          version, libraries, optional parts\n";
}

/// Whether every rank arrives here within a few seconds: then all of them have the same error and one message will do.
bool all_ranks_here(const comm::Communicator& world) {
  MPI_Request request = MPI_REQUEST_NULL;
  PLEIAD_MPI(MPI_Ibarrier, world.native(), &request);
  const Stopwatch watch;
  int done = 0;
  while (watch.seconds() < 5) {
    PLEIAD_MPI(MPI_Test, &request, &done, MPI_STATUS_IGNORE);
    if (done) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

/// What a file system would not do.
std::string in_words(const std::filesystem::filesystem_error& e) { return fmt::format("{}: {}", e.path1().string(), e.code().message()); }

int user_mistake(const comm::Communicator& errors, const std::string& what) {
  const bool together = all_ranks_here(errors);
  if (!together || errors.root()) {
    std::cerr << "pleiad: " << what << (together ? "" : fmt::format(" (rank {} of {})", errors.rank(), errors.size())) << std::endl;
  }
  if (!together) comm::abort_all(app::k_exit_user);
  return app::k_exit_user;
}

/// A serial command works on rank 0; the others wait for its exit code.
int run_on_root(const comm::Communicator& world, const app::Command& command, const app::Arguments& arguments) {
  std::int32_t code = app::k_exit_ok;
  if (world.root()) {
    try {
      code = command.run(world, arguments);
    } catch (const UserError& e) {
      std::cerr << "pleiad: " << e.what() << std::endl;
      code = app::k_exit_user;
    } catch (const std::filesystem::filesystem_error& e) {
      std::cerr << "pleiad: " << in_words(e) << std::endl;
      code = app::k_exit_user;
    }
  }
  comm::broadcast<std::int32_t>(world, std::span(&code, 1));
  return code;
}

int run(const comm::Communicator& world, const comm::Communicator& errors, const app::Arguments& arguments) {
  try {
    if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h" || arguments[0] == "help") {
      if (world.root()) std::cout << usage();
      return arguments.empty() ? app::k_exit_user : app::k_exit_ok;
    }
    if (arguments[0] == "--version" || arguments[0] == "version") {
      if (world.root()) std::cout << app::version_text();
      return app::k_exit_ok;
    }
    for (const app::Command& c : app::commands()) {
      if (c.name != arguments[0]) continue;
      const app::Arguments rest(arguments.begin() + 1, arguments.end());
      if (!c.parallel) return run_on_root(world, c, rest);
      comm::refuse_lonely_slurm_task(world.size());
      return c.run(world, rest);
    }
    std::vector<std::string> names;
    for (const app::Command& c : app::commands()) names.push_back(c.name);
    user_error("'{}' is not a command; the commands are {} (see pleiad --help)", arguments[0], fmt::join(names, ", "));
  } catch (const UserError& e) {
    return user_mistake(errors, e.what());
  } catch (const std::filesystem::filesystem_error& e) {
    return user_mistake(errors, in_words(e));
  }
}

/// Libraries that get no memory any more end the process by a signal.
void require_address_space() {
  constexpr i64 k_least = i64{96} << 20;
  const MemoryRoom room = process_room();
  if (room.bytes < k_least) user_error("a process may have {} MiB of memory beyond what it has now ({}): at least {} MiB are needed for the libraries alone", room.bytes >> 20, room.limit, k_least >> 20);
}

/// What a step frees comes back in the next one and is kept. Large blocks, which the program holds on to by itself, get pages of their own:
/// among small ones they would leave holes when they grow, and nobody could say how much memory a run will take.
void keep_freed_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 1 << 20);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
}

}  // namespace

int main(int argc, char** argv) {
  int code = app::k_exit_internal;
  keep_freed_memory();
  try {
    std::signal(SIGXFSZ, SIG_IGN);  // a file at its size limit is an error of the call that writes it, which says so
    std::optional<app::StopSignal> signals;
    if (argc > 1 && std::string_view(argv[1]) == "train") signals.emplace();  // from the first moment: MPI may take seconds to start
    io::start_h5();
    comm::Environment environment(argc, argv);
    require_address_space();
    const comm::Communicator world = comm::Communicator::world();
    // A communicator of their own for errors: its barrier cannot be confused with what other ranks are doing.
    const comm::Communicator errors = comm::Communicator::world();
    try {
      ops::set_product_threads(1);
      io::exit_on_broken_files(app::k_exit_user, world.rank());
      code = run(world, errors, app::Arguments(argv + 1, argv + argc));
    } catch (const std::exception& e) {
      std::cerr << fmt::format("pleiad: internal error on rank {} ({}): {}", world.rank(), host_name(), e.what()) << std::endl;
      comm::abort_all(app::k_exit_internal);
    }
  } catch (const UserError& e) {
    comm::wait_for_rank_0_to_speak();
    std::cerr << "pleiad: " << e.what() << std::endl;
    code = app::k_exit_user;
  } catch (const std::exception& e) {
    std::cerr << "pleiad: cannot start: " << e.what() << std::endl;
  }
  return code;
}
