// The commands of the program: each parses its own arguments and returns the exit code. Exit codes: 0 done; 1 a comparison failed
// (verify, bench); 2 the user can mend it; 3 an internal error; 4 training gave numbers that are not finite; 75 stopped by a signal or its time
// budget after saving, start it again; 76 ended by the watchdog because nothing moved any more.
#pragma once
#include <string>
#include <vector>

#include "pleiad/comm/communicator.hpp"

namespace pleiad::app {

using Arguments = std::vector<std::string>;

inline constexpr int k_exit_ok = 0, k_exit_mismatch = 1, k_exit_user = 2, k_exit_internal = 3, k_exit_bad_numbers = 4, k_exit_stopped = 75, k_exit_stalled = 76;

struct Command {
  std::string name, summary;
  bool parallel = false;  ///< runs on every rank; otherwise on rank 0 alone
  int (*run)(const comm::Communicator& world, const Arguments& arguments) = nullptr;
};

int run_train(const comm::Communicator& world, const Arguments& arguments);
int run_eval(const comm::Communicator& world, const Arguments& arguments);
int run_split(const comm::Communicator& world, const Arguments& arguments);
int run_sample(const comm::Communicator& world, const Arguments& arguments);
int run_score(const comm::Communicator& world, const Arguments& arguments);
int run_verify(const comm::Communicator& world, const Arguments& arguments);
int run_data(const comm::Communicator& world, const Arguments& arguments);
int run_inspect(const comm::Communicator& world, const Arguments& arguments);
int run_sweep(const comm::Communicator& world, const Arguments& arguments);
int run_watch(const comm::Communicator& world, const Arguments& arguments);
int run_bench(const comm::Communicator& world, const Arguments& arguments);
int run_report(const comm::Communicator& world, const Arguments& arguments);
int run_simulate(const comm::Communicator& world, const Arguments& arguments);
/// simulate search; one process.
void search_settings(const Arguments& arguments);
/// simulate calibrate.
int run_calibrate(const comm::Communicator& world, const Arguments& arguments);

const std::vector<Command>& commands();
/// What --version prints.
std::string version_text();

}  // namespace pleiad::app
