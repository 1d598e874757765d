// Which experts the tokens of a batch ask for: made up from a described skew, or replayed from a recording that `train` made. Sequences of the batch fall into
// profiles; tokens of one profile are alike. Memory grows with profiles x places and with experts, never with ranks x ranks.
// Letters: N experts, K experts of a token (of each of its H heads), L tokens of a sequence, Q profiles.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "pleiad/core/real.hpp"

namespace pleiad::sim {

/// A layer (counted among those with experts) of a step, as a group of ranks sees it that has a copy of all experts.
struct Occasion {
  i64 layer = 0, step = 0, group = 0;
};

/// What a sequence of each profile sends to places (ranks or nodes) that share out the experts, on average; [Q x places].
struct Reach {
  i64 places = 0;
  std::vector<float> rows;     ///< tokens of which at least one expert is there
  std::vector<float> entries;  ///< assignments to experts that are there
  double rows_of(i64 profile, i64 place) const { return static_cast<double>(rows[static_cast<std::size_t>(profile * places + place)]); }
  double entries_of(i64 profile, i64 place) const { return static_cast<double>(entries[static_cast<std::size_t>(profile * places + place)]); }
};

class Demand {
 public:
  virtual ~Demand() = default;
  /// In words, for people.
  virtual std::string what() const = 0;
  virtual i64 profiles() const = 0;
  /// Of a sequence of the global batch.
  virtual i64 profile_of(i64 sequence, i64 step) const = 0;
  /// Rows of each expert [N] from `sequences[p]` sequences of each profile.
  virtual std::vector<double> expert_rows(const Occasion& at, std::span<const i64> sequences) const = 0;
  /// place_of_expert [N], each below `places`.
  virtual Reach reach(const Occasion& at, std::span<const std::int32_t> place_of_expert, i64 places) const = 0;
};

/// How experts differ in what they are asked for.
struct Skew {
  enum class Kind { uniform, zipf, hot, drift, domains } kind = Kind::uniform;
  double exponent = 0;  ///< zipf, drift, domains: the i-th busiest expert gets 1/i^exponent of what the busiest gets
  double share = 0;     ///< hot: of all assignments, those to one expert, the others alike
  i64 count = 0;        ///< drift: steps in which one order of the experts turns into another; domains: number of domains, each with an order of its own

  /// uniform, zipf:EXPONENT, hot:SHARE, drift:EXPONENT,STEPS or domains:EXPONENT,COUNT. UserError naming `where` for anything else.
  static Skew parse(const std::string& text, const std::string& where);
};

/// Sizes of what is made up.
struct DemandShape {
  i64 experts = 0, seq_len = 0;
  double choices = 0;     ///< K, perhaps not whole: the mean
  i64 heads = 1;
  double capacity = 0;    ///< most of the tokens that an expert takes, as a share of all; 0: no limit
  std::uint64_t seed = 1;
};

/// Tokens that select K different experts (in each head), independently of each other, an expert e with probability p_e. No expert has more than all tokens: what a skew
/// would give it beyond that goes to the others. Which expert is the busiest is drawn for each layer.
std::unique_ptr<Demand> make_up(const Skew& skew, const DemandShape& shape);

/// The same with the shares of experts that were counted: share[layer][e] of the tokens (in each head).
std::unique_ptr<Demand> as_often(std::vector<std::vector<double>> share, const DemandShape& shape);

/// Kept assignments of recorded sequences, those of one after the other.
struct Recording {
  i64 experts = 0, seq_len = 0, sequences = 0;
  struct Layer {
    std::vector<i64> offset{0};        ///< [sequences L + 1]
    std::vector<std::int32_t> expert;  ///< entries of token t: offset[t] .. offset[t+1]-1
  };
  std::vector<Layer> layers;
  std::string what;  ///< for people
};

/// Sequence s of a batch is recorded sequence s modulo their number, and layer l recorded layer l modulo theirs. pre: at least one of each.
std::unique_ptr<Demand> replay(Recording recording);

/// Shares p_e of the tokens, [N], the busiest first, that sum up to K: 1/i^exponent of the first, none above 1. pre: 0 < K <= N.
std::vector<double> zipf_shares(i64 experts, double choices, double exponent);

/// For each place the probability that a token has an expert there, where a token takes K different experts, expert e with odds p_e / (1 - p_e) (conditional Poisson
/// sampling, Hajek 1964): exact for equal p_e, where it is hypergeometric. K not whole: floor(K) or one more, in proportion.
std::vector<double> chance_of_place(std::span<const double> share, double choices, std::span<const std::int32_t> place_of_expert, i64 places);

}  // namespace pleiad::sim
