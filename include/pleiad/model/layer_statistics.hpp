// What one MoE layer did with a batch, in whole numbers: sums over ranks, batches and steps are exact in any order, so every figure made
// of them (train/layer_figures.hpp) has the same bits on any number of ranks. Padding is in none of them but `padding`.
#pragma once
#include <span>
#include <vector>

#include "pleiad/exchange/plan.hpp"
#include "pleiad/routing/router.hpp"

namespace pleiad::model {

/// Weights and importance are summed in units of 2^-30.
inline constexpr double k_fixed_unit = 1.0 / (1 << 30);
/// Rounded to a whole number of units; what is not finite counts 0, what is beyond 2^20 as 2^20.
i64 to_fixed(double value);

/// Counts over the whole global batch, the same on every rank, except traffic.
struct LayerStatistics {
  std::vector<i64> expert_tokens;  ///< [N] assignments kept
  std::vector<i64> expert_weight;  ///< [N] sum of their weights, fixed point
  std::vector<i64> used;           ///< experts with an entry in either list that is not 0, ascending: of a million few are
  std::vector<i64> k_tokens;       ///< [bins] tokens with K = 0, 1, ... kept entries; the last bin is that or more
  std::vector<i64> position_tokens, position_kept, position_importance;  ///< [places]: tokens, sum of K, sum of importance (fixed point)
  i64 tokens = 0;                  ///< real tokens
  i64 padding = 0;                 ///< others
  i64 selected = 0;                ///< assignments before the capacity
  i64 dropped_first = 0;           ///< first choices among those over the capacity
  i64 tokens_emptied = 0;          ///< tokens that the capacity left without any expert
  i64 tokens_unchosen = 0;         ///< tokens that were given no expert in the first place
  double router_entropy = 0;       ///< mean, nats
  i64 generated_experts = 0;       ///< distinct selections, each of which a hypernetwork made one expert for
  exchange::Traffic traffic;       ///< sent by this rank

  i64 kept() const;
  /// Fills `used` from the two lists.
  void find_used();
  i64 dropped() const { return selected - kept(); }
  /// Takes in another batch of the same layer (evaluation): counts add up, the entropy is weighted by tokens; traffic is left alone.
  void add(const LayerStatistics& other);
};

/// Bins of k_tokens for `experts`; `repeats`: a token may have an expert more than once (heads).
i64 k_bins(i64 experts, bool repeats);
/// Places of the position statistics: equal parts of a sequence.
i64 position_places(i64 seq_len);

/// Counts the assignment of this rank into `s`, whose old content is forgotten and whose memory is used again; `bins` as by k_bins. Local.
void count_statistics(const routing::RouterTrace& router, const routing::RoutingContext& context, i64 bins, LayerStatistics& s);
/// Sums what count_statistics() found over the ranks, all layers in one all-reduce; lists of experts that are much longer than the batch has
/// entries in one all-gather of what was used. collective over the world.
void sum_statistics(const comm::Communicator& world, std::span<LayerStatistics* const> layers);

}  // namespace pleiad::model
