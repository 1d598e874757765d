// pleiad report RUN...: runs side by side in one table.
#include <algorithm>
#include <cstring>
#include <fstream>
#include <functional>
#include <iostream>

#include "pleiad/app/arguments.hpp"
#include "pleiad/app/terminal.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/io/run_summary.hpp"

namespace pleiad::app {

namespace {

using io::RunSummary;

/// A column of the table and of the CSV file: its cell may be empty.
struct Column {
  std::string title, csv;
  std::function<std::string(const RunSummary&)> cell, plain;  // for people; for programs
};

Column number(const std::string& title, const std::string& csv, double unit, int digits, std::function<std::optional<double>(const RunSummary&)> value) {
  return {title, csv, [=](const RunSummary& s) { return value(s) ? fmt::format("{:.{}f}", *value(s) / unit, digits) : "-"; },
          [=](const RunSummary& s) { return value(s) ? fmt::format("{}", *value(s)) : ""; }};
}

Column words(const std::string& title, const std::string& csv, std::function<std::string(const RunSummary&)> value) { return {title, csv, value, value}; }

std::vector<Column> columns_for(const std::vector<RunSummary>& runs) {
  const auto any = [&](auto member) { return std::ranges::any_of(runs, [&](const RunSummary& s) { return (s.*member).has_value(); }); };
  std::vector<Column> c = {
      words("run", "run", [](const RunSummary& s) { return s.name; }),
      words("router", "router", [](const RunSummary& s) { return (s.router.empty() ? "none" : s.router) + std::string(s.causal || s.accuracy ? "" : " *"); }),
      words("steps", "steps", [](const RunSummary& s) { return fmt::format("{}{}", s.steps, s.finished ? "" : "..."); }),
      number("loss", "loss_nats", 1, 4, [](const RunSummary& s) { return s.loss; })};
  if (any(&RunSummary::above_floor)) c.push_back(number("above floor", "above_floor_nats", 1, 4, [](const RunSummary& s) { return s.above_floor; }));
  if (any(&RunSummary::accuracy)) c.push_back(number("accuracy %", "accuracy", 0.01, 2, [](const RunSummary& s) { return s.accuracy; }));
  c.push_back(number("params M", "parameters", 1e6, 3, [](const RunSummary& s) { return std::optional(s.parameters); }));
  c.push_back(number("active M", "active_parameters", 1e6, 3, [](const RunSummary& s) { return s.active_parameters; }));
  c.push_back(number("Mflop/token", "flops_per_token", 1e6, 3, [](const RunSummary& s) { return s.flops_per_token; }));
  c.push_back(number("mean K", "mean_k", 1, 2, [](const RunSummary& s) { return s.mean_k; }));
  c.push_back(number("flops imbalance", "flops_imbalance", 1, 2, [](const RunSummary& s) { return s.flops_imbalance; }));
  c.push_back(number("bytes/token", "bytes_per_token", 1, 0, [](const RunSummary& s) { return s.bytes_per_token; }));
  c.push_back({"time", "seconds", [](const RunSummary& s) { return duration(s.seconds); }, [](const RunSummary& s) { return fmt::format("{}", s.seconds); }});
  return c;
}

void print_table(const std::vector<Column>& columns, const std::vector<RunSummary>& runs) {
  std::vector<std::vector<std::string>> rows(1);
  for (const Column& c : columns) rows.front().push_back(c.title);
  for (const RunSummary& s : runs) {
    rows.emplace_back();
    for (const Column& c : columns) rows.back().push_back(c.cell(s));
  }
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      const auto width = std::ranges::max(rows, {}, [&](const auto& r) { return r[i].size(); })[i].size();
      std::cout << (i < 2 ? fmt::format("{:<{}}", row[i], width) : fmt::format("{:>{}}", row[i], width)) << (i + 1 < row.size() ? "  " : "\n");
    }
  }
  if (std::ranges::any_of(runs, [](const RunSummary& s) { return !s.causal && !s.accuracy; })) {
    std::cout << "* looks at later tokens: its loss is not that of a language model\n";
  }
}

void write_csv(const std::string& path, const std::vector<Column>& columns, const std::vector<RunSummary>& runs) {
  std::ofstream out(path);
  for (std::size_t i = 0; i < columns.size(); ++i) out << columns[i].csv << (i + 1 < columns.size() ? "," : "\n");
  for (const RunSummary& s : runs) {
    for (std::size_t i = 0; i < columns.size(); ++i) out << columns[i].plain(s) << (i + 1 < columns.size() ? "," : "\n");
  }
  out.flush();
  if (!out) user_error("--csv {}: cannot be written ({})", path, std::strerror(errno));
}

}  // namespace

int run_report(const comm::Communicator& world, const Arguments& arguments) {
  namespace options = boost::program_options;
  options::options_description description("options");
  description.add_options()("run", options::value<std::vector<std::string>>(), "run directories, also without --run")(
      "csv", options::value<std::string>(), "write the table to this file as well, with all digits");
  Values values;
  const std::string usage =
      "usage: pleiad report RUN...\nRuns side by side: held-out loss, parameters, forward flops per token (kept assignments), load, bytes sent per token.";
  if (!parse_arguments(world, arguments, usage, description, "run", values)) return k_exit_ok;
  const auto paths = value_or<std::vector<std::string>>(values, "run", {});
  if (paths.empty()) user_error("report: no run given; usage: pleiad report RUN...");
  std::vector<RunSummary> runs;
  for (const std::string& path : paths) runs.push_back(io::read_run_summary(path));
  const std::vector<Column> columns = columns_for(runs);
  if (values.count("csv")) write_csv(values["csv"].as<std::string>(), columns, runs);
  print_table(columns, runs);
  return k_exit_ok;
}

}  // namespace pleiad::app
