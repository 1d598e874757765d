// Batches out of an example file: implements the interface of the training loop. Training goes through the examples in epochs, each in an
// order of its own; evaluation takes them in order.
#pragma once
#include <map>

#include "pleiad/io/examples.hpp"
#include "pleiad/train/batch_source.hpp"

namespace pleiad::io {

class ExampleSource : public train::BatchSource {
 public:
  /// Texts are cut to seq_len tokens; pairs longer than that (source, separator, target) are left out. UserError if none is left. The examples
  /// must outlive this.
  ExampleSource(const Examples& examples, i64 seq_len, std::uint64_t seed, Split split = Split::validation);

  model::Batch training(i64 step, const LaneLayout& lanes) override;
  i64 evaluation_windows() const override { return static_cast<i64>(evaluated_.size()); }
  model::Batch evaluation(i64 first, const LaneLayout& lanes, train::Truth& truth) override;
  std::vector<std::string> domains() const override { return {}; }
  /// What the length of the sequence does to the examples, in words; empty if nothing.
  std::string note() const { return note_; }

 private:
  std::vector<i64> usable(Split split);
  void add(Split split, i64 example, i64 seq_len, model::Batch& batch) const;
  const std::vector<i64>& order_of(i64 epoch);

  const Examples& examples_;
  i64 seq_len_;
  std::uint64_t seed_;
  Split split_;
  std::string note_;
  std::vector<i64> trained_, evaluated_;
  std::map<i64, std::vector<i64>> orders_;  // of the epochs a batch touches
};

}  // namespace pleiad::io
