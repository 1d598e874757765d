// Verification files: one layer or one small model with weights, inputs and expected results (docs/file_format.md).
// Reading them into our configuration, and writing computed results in the same layout.
#pragma once
#include <map>

#include "pleiad/core/param.hpp"
#include "pleiad/core/spec.hpp"
#include "pleiad/io/h5.hpp"

namespace pleiad::io {

/// A computed quantity as it stands in such a file; integers are exact in double here.
struct GoldenArray {
  Shape shape;
  std::vector<double> values;
  bool whole_numbers = false;
};
using GoldenResults = std::map<std::string, GoldenArray>;  // by path: output/y, grads/router/w, ...; capacity is an attribute

class GoldenFile {
 public:
  /// UserError on all ranks if any rank cannot open it or it is not of a known format. collective.
  GoldenFile(const comm::Communicator& comm, const std::string& path);

  const H5File& file() const { return file_; }
  bool is_layer() const { return layer_; }

  /// Attributes of the root. What is not used may be 0 or the text none, whatever its kind; flags may be bool, whole numbers any number.
  /// UserError if missing, of another kind or out of range.
  i64 integer(const std::string& attribute, i64 low, i64 high) const;
  double number(const std::string& attribute) const;
  std::string text(const std::string& attribute) const;
  std::vector<i64> integers(const std::string& attribute) const;
  /// For options a file may leave out: then not used.
  i64 integer_or_0(const std::string& attribute, i64 low, i64 high) const;
  double number_or_0(const std::string& attribute) const;
  std::string text_or_none(const std::string& attribute) const;

  /// Section [moe] out of the attributes that start with `prefix`. UserError for a router or an option that we do not have.
  Spec moe_section(const std::string& prefix) const;
  /// Reads every parameter this rank owns from /params/<name>, with its attributes trainable and decay. UserError if one is missing,
  /// of another shape, or if the file holds one that the model does not know. collective.
  void load_parameters(const comm::Communicator& comm, ParamSet& params) const;
  /// Names below a group, relative to it, depth first.
  std::vector<std::string> names_below(const std::string& group) const;

  /// Writes attributes, inputs and parameters of this file together with `results`. One rank only.
  void write_results(const std::string& path, const GoldenResults& results) const;

 private:
  void read_hyper_sizes(const std::string& prefix, Spec& moe) const;

  H5File file_;
  bool layer_ = false;
};

/// One line of the comparison.
struct GoldenComparison {
  std::string quantity;  ///< a dataset, or a group of them with the worst one named
  double error = 0, tolerance = 0;
  bool exact = false;
  bool ok() const { return error <= tolerance; }
};

/// Compares what the file holds with what was computed, by the error measure and tolerance of each quantity (float32 or float64
/// as this build computes). UserError if they have no quantity in common.
std::vector<GoldenComparison> compare(const GoldenFile& golden, const GoldenResults& results);
/// Expected datasets of the file that were not computed: their names.
std::vector<std::string> not_compared(const GoldenFile& golden, const GoldenResults& results);

}  // namespace pleiad::io
