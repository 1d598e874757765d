// pleiad report RUN...|SWEEP: what runs measured, side by side; the room `report` does it.
#include <iostream>

#include "pleiad/app/arguments.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/report/report.hpp"

namespace pleiad::app {

int run_report(const comm::Communicator& world, const Arguments& arguments) {
  namespace options = boost::program_options;
  options::options_description description("options");
  description.add_options()("run", options::value<std::vector<std::string>>(), "run and sweep directories, also without --run")(
      "runs", options::bool_switch(), "one row per run, also of a sweep and of runs that differ in their seed only")(
      "csv", options::value<std::string>(), "write the table to this file as well, with all digits");
  Values values;
  const std::string usage =
      "usage: pleiad report RUN...|SWEEP...\nRuns side by side: held-out loss, parameters, forward flops per token (kept assignments), load, bytes sent per token.";
  if (!parse_arguments(world, arguments, usage, description, "run", values)) return k_exit_ok;
  report::ReportRequest request;
  request.paths = value_or<std::vector<std::string>>(values, "run", {});
  request.csv = value_or<std::string>(values, "csv", "");
  request.single_runs = values["runs"].as<bool>();
  if (request.paths.empty()) user_error("report: no run given; usage: pleiad report RUN...|SWEEP...");
  std::cout << report::make_report(request);
  return k_exit_ok;
}

}  // namespace pleiad::app
