// What one case of a benchmark found, and how it is written down: a line for people, a line of JSON, a row of an HDF5 file
// (format pleiad-bench/1, docs/file_format.md).
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "pleiad/bench/measurement.hpp"

namespace pleiad::bench {

inline constexpr const char* k_bench_format = "pleiad-bench/1";

/// Something that was compared, and how far off it may be.
struct Check {
  std::string what;
  double error = 0, allowed = 0;
  bool passed() const { return error <= allowed; }  // NaN does not pass
};

/// A rate: work per second and its unit.
struct Rate {
  std::string what, unit;  ///< what the work counts, or what the roof is; "FLOP/s", "byte/s"
  double work = 0;         ///< of one run, all ranks together
};

/// One more number worth knowing.
struct Figure {
  std::string name, unit, description;
  double value = 0;
};

struct Record {
  std::string bench, name, what;      ///< gemm, 8x1024/in, what is measured
  std::string library;                ///< that multiplied the matrices
  std::string exchange;               ///< how tokens travelled and why so; empty where none do
  i64 ranks = 1, threads = 1, seed = 0;
  std::vector<std::pair<std::string, i64>> shape;
  Contest times;
  Rate subject, roof;
  std::vector<Check> checks;
  std::vector<Figure> figures;
  std::string config;                 ///< resolved, INI form; empty where there is none

  double value() const { return subject.work / times.subject_seconds().median; }
  double roof_value() const { return roof.work / times.roof_seconds().median; }
  Spread ratio() const { return times.ratio(subject.work, roof.work); }
  bool passed() const;
};

/// Who measured, where and when: name and value (version, cpu, started, ...).
using Facts = std::vector<std::pair<std::string, std::string>>;

/// 1.23 TFLOP/s, 45.6 Gbyte/s, 789 ms; a unit of 1 is left out.
std::string rate_in_words(double value, const std::string& unit);
/// One line for people.
std::string in_words(const Record& record);
/// One line of JSON, without the line end.
std::string to_json(const Record& record, const Facts& facts);
/// The file with these records, replacing what is there. UserError if it cannot be written. One rank only.
void write_h5(const std::string& path, const std::vector<Record>& records, const Facts& facts);

}  // namespace pleiad::bench
