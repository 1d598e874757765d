#include "pleiad/sweep/collect.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <limits>

#include "pleiad/core/error.hpp"
#include "pleiad/core/text.hpp"
#include "pleiad/io/h5.hpp"
#include "pleiad/io/identity.hpp"
#include "pleiad/io/run_summary.hpp"
#include "pleiad/io/small_file.hpp"

namespace pleiad::sweep {

namespace {

constexpr double k_nothing = std::numeric_limits<double>::quiet_NaN();

/// A column of the table: numbers, or words where not all of its values are numbers.
struct Column {
  std::string name, units, description;
  std::vector<double> numbers;
  std::vector<std::string> words;
  bool whole = false;  ///< numbers that are counted
};

std::optional<double> as_number(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

Column setting_column(const io::SweepIndex& index, const std::string& key) {
  Column c{key, "1", "setting of the point", {}, {}};
  for (const io::SweepPoint& p : index.points) c.words.push_back(p.settings.count(key) ? p.settings.at(key) : "");
  if (std::ranges::all_of(c.words, [](const std::string& w) { return as_number(w).has_value(); })) {
    for (const std::string& w : c.words) c.numbers.push_back(*as_number(w));
    c.words.clear();
  }
  return c;
}

/// Loss of every evaluation of one point.
struct Curve {
  std::vector<i64> step;
  std::vector<double> loss;
};

struct Results {
  std::vector<std::optional<io::RunSummary>> summary;
  std::vector<Curve> curve;
};

Results read_results(const io::SweepIndex& index, std::vector<PointStatus>& status) {
  Results r;
  r.summary.resize(index.points.size());
  r.curve.resize(index.points.size());
  for (std::size_t i = 0; i < index.points.size(); ++i) {
    if (status[i].state != State::finished) continue;
    const std::string folder = index.path_of(index.points[i]);
    try {
      r.summary[i] = io::read_run_summary(folder);
      const io::H5File file = io::H5File::open(folder + "/run.h5");
      r.curve[i] = {file.read<i64>("/evaluation/step"), file.read<double>("/evaluation/loss")};
    } catch (const UserError& e) {
      status[i].state = State::damaged;
      status[i].note = e.what();
      r.summary[i].reset();
    }
  }
  return r;
}

std::vector<Column> columns_of(const io::SweepIndex& index, const std::vector<PointStatus>& status, const Results& results) {
  Column name{"point", "1", "folder of the point below points/", {}, {}}, state{"state", "1", "waiting, running, stopped, finished, failed or damaged", {}, {}};
  Column seed{"seed", "1", "train.seed", {}, {}, true}, ranks{"ranks", "1", "MPI ranks", {}, {}, true}, steps{"steps", "1", "updates done", {}, {}, true};
  for (std::size_t i = 0; i < index.points.size(); ++i) {
    name.words.push_back(index.points[i].name);
    state.words.push_back(state_name(status[i].state));
    seed.numbers.push_back(static_cast<double>(index.points[i].seed));
    ranks.numbers.push_back(static_cast<double>(index.points[i].ranks));
    steps.numbers.push_back(static_cast<double>(results.summary[i] ? results.summary[i]->steps : status[i].step));
  }
  std::vector<Column> all = {name, state};
  for (const std::string& key : index.keys) {
    if (key != "ranks") all.push_back(setting_column(index, key));
  }
  all.insert(all.end(), {seed, ranks, steps});
  for (const io::SummaryFigure& f : io::summary_figures()) {
    Column c{f.name, f.units, f.description, {}, {}};
    for (const auto& s : results.summary) c.numbers.push_back(s ? f.value(*s).value_or(k_nothing) : k_nothing);
    if (std::ranges::any_of(c.numbers, [](double x) { return !std::isnan(x); })) all.push_back(c);
  }
  return all;
}

std::string csv_of(const std::vector<Column>& columns, std::size_t rows) {
  std::string csv;
  for (std::size_t c = 0; c < columns.size(); ++c) csv += (c ? "," : "") + csv_field(columns[c].name);
  csv += "\n";
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t c = 0; c < columns.size(); ++c) {
      if (c) csv += ",";
      if (!columns[c].words.empty()) csv += csv_field(columns[c].words[i]);
      else if (!std::isnan(columns[c].numbers[i])) csv += fmt::format("{}", columns[c].numbers[i]);
    }
    csv += "\n";
  }
  return csv;
}

/// Evaluations of all points, one row each; shorter ones end with -1 and NaN.
void write_curves(io::H5File& file, const std::vector<Curve>& curves) {
  std::size_t longest = 0;
  for (const Curve& c : curves) longest = std::max(longest, c.step.size());
  std::vector<i64> step;
  std::vector<double> loss;
  for (const Curve& c : curves) {
    step.insert(step.end(), c.step.begin(), c.step.end());
    step.resize(step.size() + longest - c.step.size(), -1);
    loss.insert(loss.end(), c.loss.begin(), c.loss.end());
    loss.resize(loss.size() + longest - c.loss.size(), k_nothing);
  }
  const io::Shape shape = {static_cast<i64>(curves.size()), static_cast<i64>(longest)};
  file.write<i64>("/curves/step", step, shape, {"1", "updates done at each evaluation of each point; -1: no more"});
  file.write<double>("/curves/loss", loss, shape, {"nat", "held-out loss there"});
}

void write_h5(const io::SweepIndex& index, const std::vector<Column>& columns, const std::vector<Curve>& curves) {
  const std::string path = index.folder + "/collected.h5", partial = io::temporary_name(path);
  io::H5File file = io::H5File::create(partial);
  io::set_identity(file, k_collected_format, "Pleiad sweep: settings and results of every point");
  file.set_attribute("/", "name", index.name);
  file.write_text("/definition", index.definition, "the sweep file");
  file.write_text("/config", index.config, "the base configuration");
  file.write_texts("/keys", index.keys, "keys in which points differ, beside the seed");
  std::vector<std::string> order;
  for (const Column& c : columns) {
    order.push_back(c.name);
    const std::string name = "/points/" + c.name;
    const io::Shape rows = {static_cast<i64>(index.points.size())};
    if (!c.words.empty()) {
      file.write_texts(name, c.words, c.description);
    } else if (c.whole) {
      const std::vector<i64> numbers(c.numbers.begin(), c.numbers.end());
      file.write<i64>(name, numbers, rows, {c.units, c.description});
    } else {
      file.write<double>(name, c.numbers, rows, {c.units, c.description});
    }
  }
  file.write_texts("/columns", order, "names of the datasets of /points, in the order of the table");
  write_curves(file, curves);
  file.close();
  io::publish(partial, path);
}

}  // namespace

i64 collect(const io::SweepIndex& index, std::vector<PointStatus>& status) {
  const Results results = read_results(index, status);
  const std::vector<Column> columns = columns_of(index, status, results);
  write_h5(index, columns, results.curve);
  io::replace_whole(index.folder + "/collected.csv", csv_of(columns, index.points.size()), true);
  return std::ranges::count_if(results.summary, [](const auto& s) { return s.has_value(); });
}

}  // namespace pleiad::sweep
