#include "pleiad/routing/select.hpp"

#include <algorithm>

#include "pleiad/ops/top_k.hpp"

namespace pleiad::routing {

Assignment select_top_counts(ConstMatrixView scores, std::span<const i64> count) {
  Assignment a;
  a.experts = scores.cols;
  a.offset.resize(static_cast<std::size_t>(scores.rows) + 1);
  for (i64 t = 0; t < scores.rows; ++t) {
    PLEIAD_CHECK(count[t] >= 0 && count[t] <= scores.cols, "top {} of {}", count[t], scores.cols);
    a.offset[t + 1] = a.offset[t] + count[t];
  }
  a.expert.resize(static_cast<std::size_t>(a.offset.back()));
  a.weight.assign(a.expert.size(), 0);
  a.kept.assign(a.expert.size(), 1);
  for (i64 t = 0; t < scores.rows; ++t) {
    if (count[t] > 0) ops::top_k(scores.row(t), scores.cols, count[t], a.expert.data() + a.offset[t]);
  }
  return a;
}

Assignment select_top_k(ConstMatrixView scores, i64 k, std::span<const std::uint8_t> real_tokens) {
  PLEIAD_CHECK(k >= 1 && k <= scores.cols, "top {} of {}", k, scores.cols);
  std::vector<i64> count(static_cast<std::size_t>(scores.rows), k);
  for (std::size_t t = 0; t < real_tokens.size(); ++t) count[t] = real_tokens[t] ? k : 0;
  return select_top_counts(scores, count);
}

namespace {

/// How many of `order`, best first, are taken: those with less than `mass` before them, and the first. All of them if that is not enough.
i64 taken(const real* p, const std::vector<std::int32_t>& order, i64 sorted, double mass) {
  double before = 0;
  i64 i = 0;
  for (; i < sorted && (i == 0 || before < mass || mass >= 1); ++i) before += static_cast<double>(p[order[i]]);
  return i;
}

void sort_all(const real* p, std::vector<std::int32_t>& order) {
  const i64 experts = static_cast<i64>(order.size());
  if (experts < ops::k_most_candidates) return ops::top_k(p, experts, experts, order.data());
  for (i64 e = 0; e < experts; ++e) order[e] = static_cast<std::int32_t>(e);
  std::ranges::sort(order, [&](std::int32_t x, std::int32_t y) { return p[x] != p[y] ? p[x] > p[y] : x < y; });
}

}  // namespace

Assignment select_mass(ConstMatrixView p, double mass, std::span<const std::uint8_t> real_tokens) {
  Assignment a;
  a.experts = p.cols;
  std::vector<std::int32_t> order(static_cast<std::size_t>(p.cols));
  constexpr i64 k_few = 8;  // reach the mass for most tokens
  for (i64 t = 0; t < p.rows; ++t) {
    if (real_tokens.empty() || real_tokens[t]) {
      const real* row = p.row(t);
      const i64 sorted = std::min(p.cols, k_few);
      ops::top_k(row, p.cols, sorted, order.data());
      i64 count = taken(row, order, sorted, mass);
      if (count == sorted && sorted < p.cols) {
        sort_all(row, order);
        count = taken(row, order, p.cols, mass);
      }
      a.expert.insert(a.expert.end(), order.begin(), order.begin() + count);
    }
    a.offset.push_back(static_cast<i64>(a.expert.size()));
  }
  a.weight.assign(a.expert.size(), 0);
  a.kept.assign(a.expert.size(), 1);
  return a;
}

Assignment draw_experts(i64 tokens, i64 experts, i64 k, const Stream& stream, const std::function<std::uint64_t(i64)>& draw_of,
                        std::span<const std::uint8_t> real_tokens) {
  Assignment a;
  a.experts = experts;
  std::vector<std::int32_t> deck(static_cast<std::size_t>(experts));
  for (i64 t = 0; t < tokens; ++t) {
    if (real_tokens.empty() || real_tokens[t]) {
      // The first k cards of a shuffled deck.
      for (i64 e = 0; e < experts; ++e) deck[e] = static_cast<std::int32_t>(e);
      for (i64 i = 0; i < k; ++i) {
        const std::uint64_t draw = draw_of(t) * static_cast<std::uint64_t>(experts) + static_cast<std::uint64_t>(i);
        std::swap(deck[i], deck[i + static_cast<i64>(stream.below(draw, static_cast<std::uint64_t>(experts - i)))]);
        a.expert.push_back(deck[i]);
      }
    }
    a.offset.push_back(static_cast<i64>(a.expert.size()));
  }
  a.weight.assign(a.expert.size(), real{1} / static_cast<real>(k));
  a.kept.assign(a.expert.size(), 1);
  return a;
}

namespace {

bool renormalizes(WeightRule rule, i64 entries) { return rule == WeightRule::renormalized || (rule == WeightRule::raw_if_single && entries > 1); }

}  // namespace

void weigh_by_probability(Assignment& a, ConstMatrixView p, WeightRule rule) {
  for (i64 t = 0; t < a.tokens(); ++t) {
    const i64 begin = a.offset[t], end = a.offset[t + 1];
    const bool over_mass = renormalizes(rule, end - begin);
    real mass = 0;
    for (i64 i = begin; i < end; ++i) mass += p(t, a.expert[i]);
    for (i64 i = begin; i < end; ++i) {
      const real raw = p(t, a.expert[i]);
      a.weight[i] = rule == WeightRule::equal ? real{1} / static_cast<real>(end - begin) : over_mass ? raw / mass : raw;
    }
  }
}

bool goes_to_z(const Assignment& a, WeightRule rule, i64 token) {
  return rule == WeightRule::equal || renormalizes(rule, a.offset[token + 1] - a.offset[token]);
}

void weigh_by_softmax_backward(const Assignment& a, WeightRule rule, Range tokens, std::span<const real> d_weight, std::span<real> d) {
  for (i64 t = tokens.begin; t < tokens.end(); ++t) {
    const i64 begin = a.offset[t], end = a.offset[t + 1];
    const bool over_mass = renormalizes(rule, end - begin);
    real mean = 0;
    for (i64 i = begin; i < end; ++i) mean += a.weight[i] * d_weight[i];
    // g = softmax of the chosen z: dL/dz_i = g_i (d_g_i - sum_j g_j d_g_j).
    for (i64 i = begin; i < end; ++i) d[i] = rule == WeightRule::equal ? 0 : over_mass ? a.weight[i] * (d_weight[i] - mean) : d_weight[i];
  }
}

}  // namespace pleiad::routing
