// pleiad verify FILE.h5... [--out DIR]: computes what verification files hold and compares.
#include <filesystem>
#include <iostream>

#include "pleiad/app/arguments.hpp"
#include "pleiad/app/verify.hpp"
#include "pleiad/comm/agree.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/core/error.hpp"

namespace pleiad::app {

namespace {

bool print_table(const std::string& path, const std::vector<io::GoldenComparison>& rows) {
  bool ok = true;
  std::cout << path << "\n";
  for (const auto& row : rows) {
    ok = ok && row.ok();
    const std::string error = row.exact ? (row.error == 0 ? "exact" : "differs") : fmt::format("{:.2e}", row.error);
    const std::string allowed = row.exact ? "exact" : fmt::format("{:.0e}", row.tolerance);
    std::cout << fmt::format("  {:<64} {:>9}  allowed {:>6}  {}\n", row.quantity, error, allowed, row.ok() ? "ok" : "FAILED");
  }
  return ok;
}

}  // namespace

int run_verify(const comm::Communicator& world, const Arguments& arguments) {
  namespace options = boost::program_options;
  options::options_description description("options");
  description.add_options()("file", options::value<std::vector<std::string>>(), "verification files (also without --file)")(
      "out", options::value<std::string>(), "folder for what was computed, in the layout of the files");
  Values values;
  const std::string usage = "usage: pleiad verify FILE.h5... [--out DIR]\nRuns layer and model files through the real code and compares; exit code 1 where an error is above its tolerance.";
  if (!parse_arguments(world, arguments, usage, description, "file", values)) return k_exit_ok;
  const auto files = value_or<std::vector<std::string>>(values, "file", {});
  if (files.empty()) user_error("verify: no file given; usage: pleiad verify FILE.h5... [--out DIR]");
  const std::string out = value_or<std::string>(values, "out", "");
  std::string problem;
  if (world.root() && !out.empty()) {
    std::error_code error;
    std::filesystem::create_directories(out, error);
    if (error) problem = fmt::format("--out {}: cannot be created ({})", out, error.message());
  }
  comm::agree(world, comm::broadcast(world, problem));

  i64 failed = 0;
  for (const std::string& path : files) {
    const io::GoldenFile golden(world, path);
    const io::GoldenResults results = golden.is_layer() ? verify_layer(world, golden) : verify_model(world, golden);
    if (world.root()) {
      problem.clear();
      try {
        const bool ok = print_table(path, io::compare(golden, results));
        const std::vector<std::string> others = io::not_compared(golden, results);
        if (!others.empty()) std::cout << fmt::format("  note: not computed, so not compared: {}\n", fmt::join(others, ", "));
        failed += !ok;
        if (!out.empty()) golden.write_results((std::filesystem::path(out) / std::filesystem::path(path).filename()).string(), results);
      } catch (const UserError& e) {
        problem = e.what();
      }
    }
    comm::agree(world, comm::broadcast(world, problem));
  }
  failed = comm::max_over<i64>(world, failed);
  if (world.root()) {
    std::cout << fmt::format("{} of {} files within tolerance, {} on {} rank{}\n", static_cast<i64>(files.size()) - failed, files.size(),
                             k_real_name, world.size(), world.size() == 1 ? "" : "s");
  }
  return failed ? k_exit_mismatch : k_exit_ok;
}

}  // namespace pleiad::app
