#include "pleiad/bench/record.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

#include "pleiad/core/build_info.hpp"
#include "pleiad/io/identity.hpp"

namespace pleiad::bench {

namespace {

using Json = nlohmann::ordered_json;

std::string shape_in_words(const Record& r) {
  std::vector<std::string> parts;
  for (const auto& [name, value] : r.shape) parts.push_back(fmt::format("{} {}", name, value));
  return fmt::format("{}", fmt::join(parts, ", "));
}

/// The check that is nearest to failing, or has.
const Check* worst_check(const Record& r) {
  const auto strain = [](const Check& c) { return c.passed() ? c.error / std::max(c.allowed, 1e-300) : HUGE_VAL; };
  const auto it = std::ranges::max_element(r.checks, {}, strain);
  return it == r.checks.end() ? nullptr : &*it;
}

Json json_of(const Spread& s) {
  return {{"median", s.median}, {"lower_quartile", s.lower}, {"upper_quartile", s.upper}, {"least", s.least}, {"samples", s.samples}};
}

}  // namespace

bool Record::passed() const { return std::ranges::all_of(checks, &Check::passed); }

std::string rate_in_words(double value, const std::string& unit) {
  if (unit == "1") return fmt::format("{:.3f}", value);
  const char* prefix = "";
  for (const char* next : {"k", "M", "G", "T", "P"}) {
    if (!unit.ends_with("/s") || !(std::abs(value) >= 1000)) break;
    value /= 1000;
    prefix = next;
  }
  return fmt::format("{:.{}f} {}{}", value, value < 10 ? 2 : value < 100 ? 1 : 0, prefix, unit);
}

std::string in_words(const Record& r) {
  const Spread time = r.times.subject_seconds(), ratio = r.ratio();
  std::string line = fmt::format("{} {}: {}; {}; {} rank{} x {} thread{}, {}", r.bench, r.name, r.what, shape_in_words(r), r.ranks,
                                 r.ranks == 1 ? "" : "s", r.threads, r.threads == 1 ? "" : "s", r.library);
  if (!r.exchange.empty()) line += ", exchange " + r.exchange.substr(0, r.exchange.find(','));
  line += fmt::format("; median of {}: {:.4g} ms (quartiles {:.4g} to {:.4g}); {} of {} ({}): ratio {:.3f} (quartiles {:.3f} to {:.3f})", time.samples,
                      1e3 * time.median, 1e3 * time.lower, 1e3 * time.upper, rate_in_words(r.value(), r.subject.unit),
                      rate_in_words(r.roof_value(), r.roof.unit), r.roof.what, ratio.median, ratio.lower, ratio.upper);
  if (const Check* c = worst_check(r)) line += fmt::format("; check {}: {:.1e} of {:.0e}, {}", c->what, c->error, c->allowed, c->passed() ? "ok" : "FAILED");
  for (const Figure& f : r.figures) line += fmt::format("\n    {:<24} {:>16}  {}", f.name, rate_in_words(f.value, f.unit), f.description);
  return line;
}

std::string to_json(const Record& r, const Facts& facts) {
  Json shape = Json::object(), figures = Json::object(), checks = Json::array(), about = Json::object();
  for (const auto& [name, value] : r.shape) shape[name] = value;
  for (const Figure& f : r.figures) figures[f.name] = {{"value", f.value}, {"unit", f.unit}, {"description", f.description}};
  for (const Check& c : r.checks) checks.push_back({{"what", c.what}, {"error", c.error}, {"allowed", c.allowed}, {"passed", c.passed()}});
  for (const auto& [name, value] : facts) about[name] = value;
  const core::BuildInfo build = core::build_info();
  const Json j = {{"format", k_bench_format}, {"bench", r.bench}, {"case", r.name}, {"what", r.what}, {"ranks", r.ranks}, {"threads", r.threads},
                  {"library", r.library}, {"exchange", r.exchange}, {"numbers", k_real_name}, {"shape", shape}, {"seconds", json_of(r.times.subject_seconds())}, {"value", r.value()},
                  {"unit", r.subject.unit}, {"value_is", r.subject.what}, {"work", r.subject.work},
                  {"roof", {{"what", r.roof.what}, {"value", r.roof_value()}, {"unit", r.roof.unit}, {"work", r.roof.work}, {"seconds", json_of(r.times.roof_seconds())}}},
                  {"ratio", json_of(r.ratio())}, {"checks", checks}, {"passed", r.passed()}, {"figures", figures}, {"seed", r.seed},
                  {"pleiad_version", build.version}, {"git_commit", build.git_commit}, {"facts", about}, {"config", r.config}};
  return j.dump(-1, ' ', false, Json::error_handler_t::replace);
}

namespace {

/// Columns of a table with one row per record, or per part of one.
class Table {
 public:
  Table(io::H5File& file, std::string group) : file_(file), group_(std::move(group)) {}

  void texts(const std::string& name, const std::vector<std::string>& values, const std::string& description) {
    file_.write_texts(group_ + name, values, description);
  }
  template <class T>
  void numbers(const std::string& name, const std::vector<T>& values, const std::string& units, const std::string& description) {
    file_.write<T>(group_ + name, values, {static_cast<i64>(values.size())}, {units, description});
  }

 private:
  io::H5File& file_;
  std::string group_;
};

/// f(record) of all records.
template <class F>
auto each(const std::vector<Record>& records, F f) {
  std::vector<std::decay_t<std::invoke_result_t<F, const Record&>>> values;
  for (const Record& r : records) values.push_back(std::invoke(f, r));
  return values;
}

void write_cases(io::H5File& file, const std::vector<Record>& all) {
  Table cases(file, "/cases/");
  cases.texts("bench", each(all, &Record::bench), "gemm, layer, exchange, overlap or step");
  cases.texts("name", each(all, &Record::name), "name of the case");
  cases.texts("what", each(all, &Record::what), "what was measured");
  cases.texts("shape", each(all, shape_in_words), "sizes");
  cases.texts("library", each(all, &Record::library), "library that multiplied the matrices");
  cases.texts("exchange", each(all, &Record::exchange), "how tokens travelled and why so, empty where none do");
  cases.texts("config", each(all, &Record::config), "resolved configuration, empty where there is none");
  cases.numbers<i64>("ranks", each(all, &Record::ranks), "1", "MPI ranks");
  cases.numbers<i64>("threads", each(all, &Record::threads), "1", "threads of a matrix product of each rank");
  cases.numbers<i64>("seed", each(all, &Record::seed), "1", "seed of weights and input");
  cases.numbers<double>("seconds", each(all, [](const Record& r) { return r.times.subject_seconds().median; }), "s", "median time of a run, longest of all ranks");
  cases.numbers<double>("seconds_lower", each(all, [](const Record& r) { return r.times.subject_seconds().lower; }), "s", "lower quartile of that time");
  cases.numbers<double>("seconds_upper", each(all, [](const Record& r) { return r.times.subject_seconds().upper; }), "s", "upper quartile of that time");
  cases.numbers<double>("work", each(all, [](const Record& r) { return r.subject.work; }), "1", "work of a run in the unit of value, times second");
  cases.numbers<double>("value", each(all, &Record::value), "1", "work per second, unit in value_unit");
  cases.texts("value_is", each(all, [](const Record& r) { return r.subject.what; }), "what the value counts");
  cases.texts("value_unit", each(all, [](const Record& r) { return r.subject.unit; }), "unit of the value");
  cases.texts("roof_is", each(all, [](const Record& r) { return r.roof.what; }), "what the roof is");
  cases.texts("roof_unit", each(all, [](const Record& r) { return r.roof.unit; }), "unit of the roof");
  cases.numbers<double>("roof_work", each(all, [](const Record& r) { return r.roof.work; }), "1", "work of a run of the roof");
  cases.numbers<double>("roof_value", each(all, &Record::roof_value), "1", "the roof measured in the same run, unit in roof_unit");
  cases.numbers<double>("ratio", each(all, [](const Record& r) { return r.ratio().median; }), "1", "value over roof, median over the samples");
  cases.numbers<double>("ratio_lower", each(all, [](const Record& r) { return r.ratio().lower; }), "1", "lower quartile of the ratio");
  cases.numbers<double>("ratio_upper", each(all, [](const Record& r) { return r.ratio().upper; }), "1", "upper quartile of the ratio");
  cases.numbers<std::uint8_t>("passed", each(all, [](const Record& r) { return static_cast<std::uint8_t>(r.passed()); }), "1", "1: every check was passed");
}

void write_details(io::H5File& file, const std::vector<Record>& all) {
  std::vector<i64> sample_case, figure_case, check_case;
  std::vector<double> seconds, before, after, value, error, allowed;
  std::vector<std::string> name, unit, description, what;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Record& r = all[i];
    for (std::size_t s = 0; s < r.times.subject.size(); ++s) {
      sample_case.push_back(static_cast<i64>(i));
      seconds.push_back(r.times.subject[s]);
      before.push_back(r.times.roof[s]);
      after.push_back(r.times.roof[s + 1]);
    }
    for (const Figure& f : r.figures) {
      figure_case.push_back(static_cast<i64>(i));
      name.push_back(f.name);
      unit.push_back(f.unit);
      description.push_back(f.description);
      value.push_back(f.value);
    }
    for (const Check& c : r.checks) {
      check_case.push_back(static_cast<i64>(i));
      what.push_back(c.what);
      error.push_back(c.error);
      allowed.push_back(c.allowed);
    }
  }
  Table samples(file, "/samples/"), figures(file, "/figures/"), checks(file, "/checks/");
  samples.numbers("case", sample_case, "1", "row of /cases");
  samples.numbers("seconds", seconds, "s", "time of one run");
  samples.numbers("roof_seconds_before", before, "s", "time of the roof just before it");
  samples.numbers("roof_seconds_after", after, "s", "time of the roof just after it");
  checks.numbers("case", check_case, "1", "row of /cases");
  checks.texts("what", what, "what was compared");
  checks.numbers("error", error, "1", "how far off it was");
  checks.numbers("allowed", allowed, "1", "how far off it may be");
  if (name.empty()) return;
  figures.numbers("case", figure_case, "1", "row of /cases");
  figures.texts("name", name, "name of the figure");
  figures.texts("unit", unit, "unit of the figure");
  figures.texts("description", description, "what the figure says");
  figures.numbers("value", value, "1", "the figure, unit in unit");
}

}  // namespace

void write_h5(const std::string& path, const std::vector<Record>& records, const Facts& facts) {
  const std::string partial = io::temporary_name(path);
  io::H5File file = io::H5File::create(partial);
  io::set_identity(file, k_bench_format, "Pleiad benchmarks: rates over roofs measured in the same run");
  file.set_attribute("/", "numbers", k_real_name);
  for (const auto& [name, value] : facts) file.set_attribute("/", name, value);
  write_cases(file, records);
  write_details(file, records);
  file.close();
  io::publish(partial, path);
}

}  // namespace pleiad::bench
