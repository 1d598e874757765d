#include "pleiad/model/layer_statistics.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>

#include "pleiad/comm/collectives.hpp"

namespace pleiad::model {

namespace {

/// Up to so many experts their lists travel with the other counts.
constexpr i64 k_few_experts = 4096;
/// So many assignments before its turn the counts of an expert are fetched.
constexpr i64 k_ahead = 24;

/// Everything that is summed over ranks but the lists of experts, in one order.
std::vector<std::span<i64>> counts_of(LayerStatistics& s) {
  return {s.k_tokens, s.position_tokens, s.position_kept, s.position_importance, {&s.selected, 1}, {&s.dropped_first, 1}, {&s.tokens_emptied, 1}, {&s.tokens_unchosen, 1}};
}

void sum_over_ranks(const comm::Communicator& world, const std::vector<std::span<i64>>& parts) {
  std::vector<i64> all;
  for (const std::span<i64> part : parts) all.insert(all.end(), part.begin(), part.end());
  if (!all.empty()) comm::all_reduce_sum<i64>(world, all);
  auto from = all.begin();
  for (const std::span<i64> part : parts) {
    std::copy_n(from, part.size(), part.begin());
    from += static_cast<std::ptrdiff_t>(part.size());
  }
}

/// A set of experts, as bits: what was put in comes out in order without sorting.
class Marks {
 public:
  explicit Marks(i64 experts) : words_(static_cast<std::size_t>((experts + 63) / 64), 0) {}
  void add(i64 expert) { words_[static_cast<std::size_t>(expert / 64)] |= std::uint64_t{1} << (expert % 64); }
  void list(std::vector<i64>& experts) const {
    experts.clear();
    for (std::size_t w = 0; w < words_.size(); ++w) {
      for (std::uint64_t rest = words_[w]; rest != 0; rest &= rest - 1) experts.push_back(static_cast<i64>(w) * 64 + std::countr_zero(rest));
    }
  }

 private:
  std::vector<std::uint64_t> words_;
};

/// The lists of experts of layers that used few of them.
void sum_used_over_ranks(const comm::Communicator& world, const std::vector<LayerStatistics*>& layers) {
  std::vector<i64> mine;
  for (std::size_t l = 0; l < layers.size(); ++l) {
    LayerStatistics& s = *layers[l];
    for (const i64 e : s.used) {
      mine.insert(mine.end(), {static_cast<i64>(l), e, s.expert_tokens[e], s.expert_weight[e]});
      s.expert_tokens[e] = s.expert_weight[e] = 0;
    }
  }
  const std::vector<i64> all = comm::all_gather_v<i64>(world, mine);
  std::vector<Marks> marks;
  for (const LayerStatistics* s : layers) marks.emplace_back(static_cast<i64>(s->expert_tokens.size()));
  for (std::size_t i = 0; i < all.size(); i += 4) {
    LayerStatistics& s = *layers[all[i]];
    s.expert_tokens[all[i + 1]] += all[i + 2];
    s.expert_weight[all[i + 1]] += all[i + 3];
    marks[all[i]].add(all[i + 1]);
  }
  for (std::size_t l = 0; l < layers.size(); ++l) marks[l].list(layers[l]->used);
}

/// All zeros, `experts` of them, of which only those in `used` were not.
void clear(std::vector<i64>& list, i64 experts, const std::vector<i64>& used) {
  if (static_cast<i64>(list.size()) != experts) return list.assign(static_cast<std::size_t>(experts), 0);
  for (const i64 e : used) list[e] = 0;
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

i64 LayerStatistics::kept() const {
  i64 sum = 0;
  for (const i64 e : used) sum += expert_tokens[e];
  return sum;
}

void LayerStatistics::find_used() {
  used.clear();
  for (std::size_t e = 0; e < expert_tokens.size(); ++e) {
    if (expert_tokens[e] != 0 || expert_weight[e] != 0) used.push_back(static_cast<i64>(e));
  }
}

void LayerStatistics::add(const LayerStatistics& o) {
  const double mine = static_cast<double>(tokens), others = static_cast<double>(o.tokens);
  if (mine + others > 0) router_entropy = (router_entropy * mine + o.router_entropy * others) / (mine + others);
  add_lists(expert_tokens, o.expert_tokens);
  add_lists(expert_weight, o.expert_weight);
  std::vector<i64> both;
  std::ranges::set_union(used, o.used, std::back_inserter(both));
  used = std::move(both);
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

void count_statistics(const routing::RouterTrace& router, const routing::RoutingContext& context, i64 bins, LayerStatistics& s) {
  const routing::Assignment& a = router.assignment;
  const i64 length = context.lanes.seq_len(), places = position_places(length);
  for (auto* list : {&s.expert_tokens, &s.expert_weight}) clear(*list, a.experts, s.used);
  for (auto* list : {&s.position_tokens, &s.position_kept, &s.position_importance}) list->assign(static_cast<std::size_t>(places), 0);
  s.k_tokens.assign(static_cast<std::size_t>(bins), 0);
  s.selected = a.entries();
  s.dropped_first = s.tokens_emptied = s.tokens_unchosen = s.generated_experts = 0;
  Marks marks(a.experts);
  for (i64 t = 0; t < a.tokens(); ++t) {
    if (!context.is_real(t)) continue;
    const i64 begin = a.offset[t], end = a.offset[t + 1];
    i64 k = 0;
    for (i64 i = begin; i < end; ++i) {
      if (i + k_ahead < a.entries()) {  // of a million experts each is somewhere else
        __builtin_prefetch(&s.expert_tokens[a.expert[i + k_ahead]], 1);
        __builtin_prefetch(&s.expert_weight[a.expert[i + k_ahead]], 1);
      }
      if (!a.kept[i]) continue;
      ++k;
      ++s.expert_tokens[a.expert[i]];
      s.expert_weight[a.expert[i]] += to_fixed(static_cast<double>(a.weight[i]));
      marks.add(a.expert[i]);
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
  marks.list(s.used);
  s.tokens = context.counted_tokens();
  s.padding = context.lanes.tokens() - s.tokens;
  s.router_entropy = router.mean_entropy;
}

void sum_statistics(const comm::Communicator& world, std::span<LayerStatistics* const> layers) {
  if (world.size() == 1) return;
  const auto few = [](const LayerStatistics& s) { return static_cast<i64>(s.expert_tokens.size()) <= k_few_experts; };
  std::vector<std::span<i64>> counts, lists;
  for (LayerStatistics* s : layers) {
    const std::vector<std::span<i64>> of_layer = counts_of(*s);
    counts.insert(counts.end(), of_layer.begin(), of_layer.end());
    if (few(*s)) counts.insert(counts.end(), {s->expert_tokens, s->expert_weight});
  }
  sum_over_ranks(world, counts);
  std::vector<LayerStatistics*> sparse;
  for (LayerStatistics* s : layers) {
    if (few(*s)) continue;
    if (4 * s->selected < static_cast<i64>(s->expert_tokens.size())) {
      sparse.push_back(s);
    } else {
      lists.insert(lists.end(), {s->expert_tokens, s->expert_weight});
    }
  }
  sum_over_ranks(world, lists);
  if (!sparse.empty()) sum_used_over_ranks(world, sparse);
  for (LayerStatistics* s : layers) {
    if (std::ranges::find(sparse, s) == sparse.end()) s->find_used();
  }
}

}  // namespace pleiad::model
