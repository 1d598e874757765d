// Where batches come from. The interface is ours; io implements it over a corpus.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "pleiad/core/lanes.hpp"
#include "pleiad/model/model.hpp"

namespace pleiad::train {

/// What a corpus may know about the tokens to be predicted; empty where it does not.
struct Truth {
  std::vector<float> entropy;          ///< [T] true conditional entropy of each target, nats
  std::vector<std::uint8_t> domain;    ///< [T] latent domain of each target
};

class BatchSource {
 public:
  virtual ~BatchSource() = default;
  /// This rank's part of the training batch of a step: a function of the seed, the step and global sequence numbers only.
  virtual model::Batch training(i64 step, const LaneLayout& lanes) = 0;
  /// Number of whole evaluation windows.
  virtual i64 evaluation_windows() const = 0;
  /// This rank's part of a batch of consecutive evaluation windows that starts at `first`.
  virtual model::Batch evaluation(i64 first, const LaneLayout& lanes, Truth& truth) = 0;
  /// Names of the latent domains; empty if the corpus knows none.
  virtual std::vector<std::string> domains() const = 0;
};

}  // namespace pleiad::train
