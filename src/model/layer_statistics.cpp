#include "pleiad/model/layer_statistics.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "pleiad/comm/collectives.hpp"

namespace pleiad::model {

namespace {

/// Up to so many experts their lists travel with the other counts.
constexpr i64 k_few_experts = 4096;

/// Everything that is summed over ranks but the lists of experts, in one order.
std::vector<std::span<i64>> counts_of(LayerStatistics& s) {
  return {s.k_tokens, s.position_tokens, s.position_kept, s.position_importance, {&s.selected, 1}, {&s.dropped_first, 1}, {&s.tokens_emptied, 1}, {&s.tokens_unchosen, 1}};
}

void sum_over_ranks(const comm::Communicator& world, const std::vector<std::span<i64>>& parts) {
  std::vector<i64> all;
  for (const std::span<i64> part : parts) all.insert(all.end(), part.begin(), part.end());
  comm::all_reduce_sum<i64>(world, all);
  auto from = all.begin();
  for (const std::span<i64> part : parts) {
    std::copy_n(from, part.size(), part.begin());
    from += static_cast<std::ptrdiff_t>(part.size());
  }
}

/// The lists of experts, where they are much longer than the batch has entries: only experts that some rank used travel.
void sum_used_over_ranks(const comm::Communicator& world, const routing::Assignment& a, LayerStatistics& s) {
  std::vector<std::int32_t> used = a.expert;
  std::ranges::sort(used);
  used.erase(std::unique(used.begin(), used.end()), used.end());
  std::vector<i64> mine;
  for (const std::int32_t e : used) {
    mine.insert(mine.end(), {e, s.expert_tokens[e], s.expert_weight[e]});
    s.expert_tokens[e] = s.expert_weight[e] = 0;
  }
  const std::vector<i64> all = comm::all_gather_v<i64>(world, mine);
  for (std::size_t i = 0; i < all.size(); i += 3) {
    s.expert_tokens[all[i]] += all[i + 1];
    s.expert_weight[all[i]] += all[i + 2];
  }
}

void add_lists(std::vector<i64>& to, const std::vector<i64>& more) {
  to.resize(std::max(to.size(), more.size()), 0);
  for (std::size_t i = 0; i < more.size(); ++i) to[i] += more[i];
}

}  // namespace

i64 to_fixed(double value) {
  if (!std::isfinite(value)) return 0;
  constexpr double most = 1 << 20;
  return std::llround(std::clamp(value, -most, most) / k_fixed_unit);
}

i64 k_bins(i64 experts, bool repeats) { return (repeats ? 64 : std::min<i64>(experts, 64)) + 1; }
i64 position_places(i64 seq_len) { return std::min<i64>(seq_len, 32); }

i64 LayerStatistics::kept() const { return std::accumulate(expert_tokens.begin(), expert_tokens.end(), i64{0}); }

void LayerStatistics::add(const LayerStatistics& o) {
  const double mine = static_cast<double>(tokens), others = static_cast<double>(o.tokens);
  if (mine + others > 0) router_entropy = (router_entropy * mine + o.router_entropy * others) / (mine + others);
  add_lists(expert_tokens, o.expert_tokens);
  add_lists(expert_weight, o.expert_weight);
  add_lists(k_tokens, o.k_tokens);
  add_lists(position_tokens, o.position_tokens);
  add_lists(position_kept, o.position_kept);
  add_lists(position_importance, o.position_importance);
  tokens += o.tokens;
  padding += o.padding;
  selected += o.selected;
  dropped_first += o.dropped_first;
  tokens_emptied += o.tokens_emptied;
  tokens_unchosen += o.tokens_unchosen;
  generated_experts += o.generated_experts;
}

LayerStatistics gather_statistics(const routing::RouterTrace& router, const routing::RoutingContext& context, i64 bins) {
  const routing::Assignment& a = router.assignment;
  const i64 length = context.lanes.seq_len(), places = position_places(length);
  LayerStatistics s;
  for (auto* list : {&s.expert_tokens, &s.expert_weight}) list->assign(static_cast<std::size_t>(a.experts), 0);
  for (auto* list : {&s.position_tokens, &s.position_kept, &s.position_importance}) list->assign(static_cast<std::size_t>(places), 0);
  s.k_tokens.assign(static_cast<std::size_t>(bins), 0);
  s.selected = a.entries();
  for (i64 t = 0; t < a.tokens(); ++t) {
    if (!context.is_real(t)) continue;
    const i64 begin = a.offset[t], end = a.offset[t + 1];
    i64 k = 0;
    for (i64 i = begin; i < end; ++i) {
      if (!a.kept[i]) continue;
      ++k;
      ++s.expert_tokens[a.expert[i]];
      s.expert_weight[a.expert[i]] += to_fixed(static_cast<double>(a.weight[i]));
    }
    ++s.k_tokens[std::min(k, bins - 1)];
    s.dropped_first += end > begin && !a.kept[begin];
    s.tokens_emptied += end > begin && k == 0;
    s.tokens_unchosen += end == begin;
    const i64 place = t % length * places / length;  // a rank holds whole sequences
    ++s.position_tokens[place];
    s.position_kept[place] += k;
    if (!router.importance.empty()) s.position_importance[place] += to_fixed(router.importance[t]);
  }
  const std::vector<std::span<i64>> per_expert = {s.expert_tokens, s.expert_weight};
  std::vector<std::span<i64>> counts = counts_of(s);
  const bool few = a.experts <= k_few_experts;
  if (few) counts.insert(counts.end(), per_expert.begin(), per_expert.end());
  sum_over_ranks(context.world, counts);
  if (!few && 4 * s.selected < a.experts) {
    sum_used_over_ranks(context.world, a, s);
  } else if (!few) {
    sum_over_ranks(context.world, per_expert);
  }
  s.tokens = context.counted_tokens();
  s.padding = context.lanes.tokens() - s.tokens;
  s.router_entropy = router.mean_entropy;
  return s;
}

}  // namespace pleiad::model
