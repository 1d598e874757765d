// Counter-based random numbers: every draw is a function of (seed, purpose, layer, step, index) and of nothing else,
// so results depend neither on rank nor on draw order, and there is no generator state to save.
// Generator: Philox4x32-10 (Salmon et al. 2011, doi:10.1145/2063384.2063405) from Random123.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>

namespace pleiad {

/// What a draw is for. The numbers are part of the reproducibility contract: never renumber, only append.
enum class Purpose : std::uint8_t {
  init = 1,         ///< initial weights; index = element, layer/step = hash of the parameter name
  batch = 2,        ///< which windows make a batch; index = global sequence number
  input_noise = 3,  ///< router input jitter; index = global token * width + feature
  gate_noise = 4,   ///< noise on router logits; index = global token * experts + expert
  sampling = 5,     ///< text generation; index = position
  corpus = 6,       ///< synthetic corpora; index = token
  capacity = 7,     ///< random token order under a capacity
  random_expert = 8,  ///< random routing; index = global token
  hash_expert = 9,    ///< hash routing; index = token number
  shuffle = 10,       ///< order of examples in an epoch (in place of step); index = place
  expert_count = 11,  ///< random number of experts; index = global token
  sweep = 12,         ///< random samples of a sweep, by the name of the key; index = sample
  bench = 13,         ///< input of benchmarks; index = element
  simulation = 14,    ///< made-up routing of a predicted step, by a name; index = expert or sequence
  masking = 15,       ///< tokens that are hidden; index = global token
  test = 255,
};

class Stream {
 public:
  Stream(std::uint64_t seed, Purpose purpose, std::uint32_t layer = 0, std::uint64_t step = 0);
  /// The stream of a named thing (initialisation): the name takes the place of layer and step.
  static Stream named(std::uint64_t seed, Purpose purpose, std::string_view name);

  /// Four independent 32-bit words.
  std::array<std::uint32_t, 4> words(std::uint64_t index) const;
  /// Uniform in the open interval (0, 1), 53 bits.
  double uniform(std::uint64_t index) const;
  /// Standard normal (Box-Muller).
  double normal(std::uint64_t index) const;
  /// Uniform integer in [0, n); pre: n > 0.
  std::uint64_t below(std::uint64_t index, std::uint64_t n) const;

 private:
  std::array<std::uint32_t, 2> key_;
  std::uint32_t high_;  // purpose and layer
  std::uint32_t step_;
};

}  // namespace pleiad
