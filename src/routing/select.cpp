#include "pleiad/routing/select.hpp"

#include <algorithm>

namespace pleiad::routing {

namespace {

/// The k best of one row, best first. Insertion into the sorted list of the best so far: for small k nearly every candidate fails
/// the first comparison.
void best_of_row(const real* score, i64 experts, i64 k, std::int32_t* best) {
  i64 found = 0;
  for (i64 e = 0; e < experts; ++e) {
    if (found == k && !(score[e] > score[best[k - 1]])) continue;
    i64 at = found < k ? found++ : k - 1;
    for (; at > 0 && score[e] > score[best[at - 1]]; --at) best[at] = best[at - 1];
    best[at] = static_cast<std::int32_t>(e);
  }
}

}  // namespace

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
    if (count[t] > 0) best_of_row(scores.row(t), scores.cols, count[t], a.expert.data() + a.offset[t]);
  }
  return a;
}

Assignment select_top_k(ConstMatrixView scores, i64 k, std::span<const std::uint8_t> real_tokens) {
  PLEIAD_CHECK(k >= 1 && k <= scores.cols, "top {} of {}", k, scores.cols);
  std::vector<i64> count(static_cast<std::size_t>(scores.rows), k);
  for (std::size_t t = 0; t < real_tokens.size(); ++t) count[t] = real_tokens[t] ? k : 0;
  return select_top_counts(scores, count);
}

Assignment select_mass(ConstMatrixView p, double mass, std::span<const std::uint8_t> real_tokens) {
  Assignment a;
  a.experts = p.cols;
  std::vector<std::int32_t> order(static_cast<std::size_t>(p.cols));
  for (i64 t = 0; t < p.rows; ++t) {
    if (real_tokens.empty() || real_tokens[t]) {
      for (i64 e = 0; e < p.cols; ++e) order[e] = static_cast<std::int32_t>(e);
      std::ranges::sort(order, [&](std::int32_t x, std::int32_t y) { return p(t, x) != p(t, y) ? p(t, x) > p(t, y) : x < y; });
      double before = 0;
      for (i64 i = 0; i < p.cols && (i == 0 || before < mass || mass >= 1); ++i) {
        a.expert.push_back(order[i]);
        before += static_cast<double>(p(t, order[i]));
      }
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

void weigh_by_probability_backward(const Assignment& a, ConstMatrixView p, WeightRule rule, std::span<const real> d_weight,
                                   MatrixView d_p) {
  if (rule == WeightRule::equal) return;
  for (i64 t = 0; t < a.tokens(); ++t) {
    const i64 begin = a.offset[t], end = a.offset[t + 1];
    const bool over_mass = renormalizes(rule, end - begin);
    real mass = 0, mean = 0;
    for (i64 i = begin; i < end; ++i) {
      mass += p(t, a.expert[i]);
      mean += a.weight[i] * d_weight[i];
    }
    // g_i = p_i / mass: dL/dp_i = (d_g_i - sum_j g_j d_g_j) / mass.
    for (i64 i = begin; i < end; ++i) d_p(t, a.expert[i]) += over_mass ? (d_weight[i] - mean) / mass : d_weight[i];
  }
}

void weigh_by_softmax_backward(const Assignment& a, WeightRule rule, std::span<const real> d_weight, MatrixView d_p, MatrixView d_z) {
  if (rule == WeightRule::equal) return;
  for (i64 t = 0; t < a.tokens(); ++t) {
    const i64 begin = a.offset[t], end = a.offset[t + 1];
    if (!renormalizes(rule, end - begin)) {
      for (i64 i = begin; i < end; ++i) d_p(t, a.expert[i]) += d_weight[i];
      continue;
    }
    real mean = 0;
    for (i64 i = begin; i < end; ++i) mean += a.weight[i] * d_weight[i];
    // g = softmax of the chosen z: dL/dz_i = g_i (d_g_i - sum_j g_j d_g_j).
    for (i64 i = begin; i < end; ++i) d_z(t, a.expert[i]) += a.weight[i] * (d_weight[i] - mean);
  }
}

}  // namespace pleiad::routing
