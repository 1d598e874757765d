// pleiad report RUN...|SWEEP...|PREDICTED.h5...: what runs measured, or steps were predicted to take, side by side; the room `report` does it.
#include <iostream>

#include "pleiad/app/arguments.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/report/compare.hpp"
#include "pleiad/report/report.hpp"

namespace pleiad::app {

int run_report(const comm::Communicator& world, const Arguments& arguments) {
  namespace options = boost::program_options;
  options::options_description description("options");
  description.add_options()("run", options::value<std::vector<std::string>>(), "run and sweep directories, or files of pleiad simulate, also without --run")(
      "runs", options::bool_switch(), "one row per run, also of a sweep and of runs that differ in their seed only")(
      "csv", options::value<std::string>(), "write the table to this file as well, with all digits")(
      "html", options::value<std::string>(), "write one self-contained page with tables and plots to this new file (needs gnuplot)")(
      "keep", options::value<std::string>(), "with --html: keep script (.gp) and numbers (.dat) of each plot in this folder")(
      "details", options::value<i64>(), "with --html: runs or files drawn one by one; if not given, all of up to 12 and 4 of more")(
      "gnuplot", options::value<std::string>()->default_value("gnuplot"), "the gnuplot program")(
      "confidence", options::value<double>()->default_value(0.95, "0.95"), "of the intervals")("force", options::bool_switch(),
                                                                                               "replace files that exist")(
      "compare", options::bool_switch(), "two arguments A and B: paired difference of every figure, and what differs in the configuration");
  Values values;
  const std::string usage =
      "usage: pleiad report RUN...|SWEEP...|PREDICTED.h5... [--html F.html] [--csv F.csv]\n       pleiad report --compare A B [--html F.html] [--csv F.csv]   each a "
      "run, a sweep, 'a pattern*', or SWEEP:key=value[,key=value...]\nRuns side by side: held-out loss, parameters, forward flops per token (kept "
      "assignments), load, bytes sent per token. Files of pleiad simulate --out: step time, efficiency, where the time goes, load of the ranks.";
  if (!parse_arguments(world, arguments, usage, description, "run", values)) return k_exit_ok;
  report::ReportRequest request;
  request.paths = value_or<std::vector<std::string>>(values, "run", {});
  request.csv = value_or<std::string>(values, "csv", "");
  request.single_runs = values["runs"].as<bool>();
  request.html = value_or<std::string>(values, "html", "");
  request.keep = value_or<std::string>(values, "keep", "");
  request.details = value_or<i64>(values, "details", -1);
  request.gnuplot = values["gnuplot"].as<std::string>();
  request.confidence = values["confidence"].as<double>();
  request.force = values["force"].as<bool>();
  request.command = "pleiad report";
  for (const std::string& a : arguments) request.command += " " + a;
  if (values.count("details") && request.details < 0) user_error("--details {}: must be at least 0", request.details);
  if (!(request.confidence > 0 && request.confidence < 1)) user_error("--confidence {}: must be between 0 and 1", request.confidence);
  for (const char* output : {"html", "keep", "csv"}) {
    if (values.count(output) && values[output].as<std::string>().empty()) user_error("report: --{}: the name is empty", output);
  }
  if (values["compare"].as<bool>()) {
    if (request.paths.size() != 2)
      user_error("report --compare: two sides are needed, A and B; there are {} (a pattern of names stands in quotes)", request.paths.size());
    std::cout << report::compare(request);
    return k_exit_ok;
  }
  if (request.paths.empty()) user_error("report: no run given; usage: pleiad report RUN...|SWEEP...");
  std::cout << report::make_report(request);
  return k_exit_ok;
}

}  // namespace pleiad::app
