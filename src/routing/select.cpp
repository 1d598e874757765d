#include "pleiad/routing/select.hpp"

#include <algorithm>

namespace pleiad::routing {

Assignment select_top_k(ConstMatrixView scores, i64 k) {
  PLEIAD_CHECK(k >= 1 && k <= scores.cols, "top {} of {}", k, scores.cols);
  Assignment a;
  a.experts = scores.cols;
  const std::size_t entries = static_cast<std::size_t>(scores.rows * k);
  a.offset.resize(static_cast<std::size_t>(scores.rows) + 1);
  a.expert.resize(entries);
  a.weight.assign(entries, 0);
  a.kept.assign(entries, 1);
  for (i64 t = 0; t < scores.rows; ++t) {
    a.offset[t + 1] = (t + 1) * k;
    const real* score = scores.row(t);
    std::int32_t* best = a.expert.data() + t * k;
    // Insertion into the sorted list of the best so far: for small k nearly every candidate fails the first comparison.
    i64 found = 0;
    for (i64 e = 0; e < scores.cols; ++e) {
      if (found == k && !(score[e] > score[best[k - 1]])) continue;
      i64 at = found < k ? found++ : k - 1;
      for (; at > 0 && score[e] > score[best[at - 1]]; --at) best[at] = best[at - 1];
      best[at] = static_cast<std::int32_t>(e);
    }
  }
  return a;
}

void weigh_by_probability(Assignment& a, ConstMatrixView p, bool renormalize) {
  for (i64 t = 0; t < a.tokens(); ++t) {
    const i64 begin = a.offset[t], end = a.offset[t + 1];
    real mass = 0;
    for (i64 i = begin; i < end; ++i) mass += p(t, a.expert[i]);
    for (i64 i = begin; i < end; ++i) {
      const real raw = p(t, a.expert[i]);
      a.weight[i] = renormalize ? raw / mass : raw;
    }
  }
}

void weigh_by_probability_backward(const Assignment& a, ConstMatrixView p, bool renormalize, std::span<const real> d_weight,
                                   MatrixView d_p) {
  for (i64 t = 0; t < a.tokens(); ++t) {
    const i64 begin = a.offset[t], end = a.offset[t + 1];
    real mass = 0, mean = 0;
    for (i64 i = begin; i < end; ++i) {
      mass += p(t, a.expert[i]);
      mean += a.weight[i] * d_weight[i];
    }
    // g_i = p_i / mass: dL/dp_i = (d_g_i - sum_j g_j d_g_j) / mass.
    for (i64 i = begin; i < end; ++i) {
      const real d_g = d_weight[i];
      d_p(t, a.expert[i]) += renormalize ? (d_g - mean) / mass : d_g;
    }
  }
}

}  // namespace pleiad::routing
