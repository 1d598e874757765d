#include "pleiad/ops/top_k.hpp"

#include "pleiad/core/error.hpp"
#include "pleiad/ops/wide.hpp"

#include <limits>

namespace pleiad::ops {

namespace {

constexpr real k_infinity = std::numeric_limits<real>::infinity();

/// Candidates in whole vectors; what lies behind the last one is never looked at but as a vector's rest.
struct Candidates {
  alignas(64) real score[k_most_candidates + k_wide];
  alignas(64) WidePlace number[k_most_candidates + k_wide];
  i64 count = 0;

  /// place[r] = the candidate that r others are better than, for r < k.
  void rank(i64 k, std::int32_t* place) const {
    std::int32_t by_rank[k_most_candidates];
    for (i64 r = 0; r < k; ++r) by_rank[r] = static_cast<std::int32_t>(r);  // where NaN leaves ranks out
    for (i64 j = 0; j < count; j += k_wide) {
      const Wide mine = wide::load(score + j);
      WidePlaces my_number, better = {};
      std::memcpy(&my_number, number + j, sizeof(my_number));
      for (i64 i = 0; i < count; ++i) {
        const Wide other = wide::all(score[i]);
        better -= (other > mine) | ((other == mine) & (WidePlaces{} + number[i] < my_number));
      }
      alignas(64) WidePlace ranks[k_wide];
      std::memcpy(ranks, &better, sizeof(better));
      for (i64 i = 0; i < std::min(k_wide, count - j); ++i) by_rank[ranks[i]] = static_cast<std::int32_t>(j + i);
    }
    std::copy_n(by_rank, k, place);
  }
};

/// Insertion into the sorted list of the best so far: the definition, and the way for rows with NaN and for large k.
void insert_all(const real* score, i64 n, i64 k, std::int32_t* best) {
  i64 found = 0;
  for (i64 e = 0; e < n; ++e) {
    if (found == k && !(score[e] > score[best[k - 1]])) continue;
    i64 at = found < k ? found++ : k - 1;
    for (; at > 0 && score[e] > score[best[at - 1]]; --at) best[at] = best[at - 1];
    best[at] = static_cast<std::int32_t>(e);
  }
}

template <class F>
inline void for_each_wide(const real* score, i64 n, F f) {
  wide::for_each(n, [&](i64 e, i64 count) { f(e, wide::load_up_to(score + e, count, wide::all(-k_infinity))); });
}

/// A number that at least k scores reach, if none is NaN: the k-th largest of the maxima of V * k_wide groups.
template <int V>
real bound(const real* score, i64 n, i64 k) {
  Wide most[V];
  for (Wide& m : most) m = wide::all(-k_infinity);
  i64 e = 0;
  for (; e + V * k_wide <= n; e += V * k_wide) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
      most[v] = wide::larger(most[v], wide::load(score + e + v * k_wide));
    }
  }
  int v = 0;
  for_each_wide(score + e, n - e, [&](i64, Wide s) {
    most[v] = wide::larger(most[v], s);
    ++v;
  });
  alignas(64) real all[V * k_wide];
  for (int i = 0; i < V; ++i) wide::store(most[i], all + i * k_wide);
  WidePlaces larger[V] = {};
  for (i64 i = 0; i < V * k_wide; ++i) {
    const Wide other = wide::all(all[i]);
#pragma GCC unroll 8
    for (int j = 0; j < V; ++j) larger[j] -= other > most[j];
  }
  Wide least = wide::all(k_infinity);
  for (int j = 0; j < V; ++j) {
    const Wide among = larger[j] < WidePlaces{} + static_cast<WidePlace>(k) ? most[j] : wide::all(k_infinity);
    least = among < least ? among : least;
  }
  return wide::fold(least, [](auto a, auto b) { return b < a ? b : a; });
}

}  // namespace

void best_of(const real* score, const std::int32_t* number, i64 n, i64 k, std::int32_t* place) {
  PLEIAD_CHECK(1 <= k && k <= n && n <= k_most_candidates, "best {} of {} candidates", k, n);
  Candidates c;
  c.count = n;
  std::copy_n(score, n, c.score);
  std::copy_n(number, n, c.number);
  c.rank(k, place);
}

void top_k(const real* score, i64 n, i64 k, std::int32_t* best) {
  PLEIAD_CHECK(1 <= k && k <= n, "top {} of {}", k, n);
  // All scores are candidates where there are few, or no bound would leave out many of them; else there must be enough groups for the k-th
  // largest of their maxima to be a good bound.
  const bool all = n <= 2 * k_wide || (n <= 2 * k && n < k_most_candidates);
  if (!all && k > 4 * k_wide) return insert_all(score, n, k, best);
  const Wide least = wide::all(all ? -k_infinity : k <= k_wide ? bound<2>(score, n, k) : k <= 2 * k_wide ? bound<4>(score, n, k) : bound<8>(score, n, k));
  Candidates c;
  i64 e = 0;
  for (; e < n && c.count < k_most_candidates; e += k_wide) {
    const i64 some = std::min(k_wide, n - e);
    const Wide s = wide::load_up_to(score + e, some);
    // What is not a number is a candidate too, so that it is seen.
    const std::uint32_t below = wide::bits(s < least), here = static_cast<std::uint32_t>((std::uint64_t{1} << some) - 1);
    c.count += wide::list_bits(~below & here, e, c.number + c.count);
  }
  bool numbers = true;
  for (i64 i = 0; i < c.count; ++i) {
    c.score[i] = score[c.number[i]];
    numbers = numbers && c.score[i] == c.score[i];
  }
  // Not numbers, or nearly all scores the same.
  if (!numbers || c.count >= k_most_candidates) return insert_all(score, n, k, best);
  c.rank(k, best);
  for (i64 r = 0; r < k; ++r) best[r] = static_cast<std::int32_t>(c.number[best[r]]);
}

}  // namespace pleiad::ops
