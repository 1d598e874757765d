#include "pleiad/ops/top_k.hpp"

#include "ops/samples.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace pleiad::ops {
namespace {

using test::random_matrix;
using Places = std::vector<std::int32_t>;

Places found(const std::vector<real>& score, i64 k) {
  Places best(static_cast<std::size_t>(k));
  top_k(score.data(), static_cast<i64>(score.size()), k, best.data());
  return best;
}

/// The definition, word by word.
Places expected(const std::vector<real>& score, i64 k) {
  Places list;
  for (std::size_t e = 0; e < score.size(); ++e) {
    auto at = list.end();
    while (at != list.begin() && score[e] > score[std::size_t(*(at - 1))]) --at;
    list.insert(at, static_cast<std::int32_t>(e));
    if (static_cast<i64>(list.size()) > k) list.pop_back();
  }
  return list;
}

TEST(TopK, EqualsTheDefinitionForAnySizeAlsoWithTies) {
  for (const i64 n : {1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 40, 64, 65, 100, 127, 256, 300, 1024, 1500}) {
    for (const double steps : {0.0, 1.0, 4.0, 30.0}) {
      const Matrix m = random_matrix(3, n, static_cast<std::uint64_t>(n));
      for (i64 t = 0; t < 3; ++t) {
        std::vector<real> score(m.row(t), m.row(t) + n);
        // Few different values, and the same falling and rising.
        for (real& s : score) s = steps > 0 ? static_cast<real>(std::round(static_cast<double>(s) * steps)) : s;
        if (t == 1) std::ranges::sort(score);
        if (t == 2) std::ranges::sort(score, std::greater<>());
        for (const i64 k : {1, 2, 3, 8, 15, 16, 17, 32, 33, 64, 65, 130, 1024}) {
          const i64 some = std::min(k, n);
          ASSERT_EQ(found(score, some), expected(score, some)) << some << " of " << n;
        }
        ASSERT_EQ(found(score, n), expected(score, n));
      }
    }
  }
}

TEST(TopK, TakesNaNAndInfiniteScoresAsTheDefinitionDoes) {
  const real nan = std::numeric_limits<real>::quiet_NaN(), infinity = std::numeric_limits<real>::infinity();
  for (const i64 n : {5, 20, 70, 500}) {
    for (const real odd : {nan, infinity, -infinity}) {
      for (i64 at = 0; at < n; at += 3) {
        const Matrix m = random_matrix(1, n, static_cast<std::uint64_t>(at));
        std::vector<real> score(m.data(), m.data() + n);
        score[std::size_t(at)] = score[std::size_t(n / 2)] = odd;
        for (const i64 k : {1, 3, 5}) ASSERT_EQ(found(score, k), expected(score, k));
      }
    }
    EXPECT_EQ(found(std::vector<real>(std::size_t(n), -infinity), 2), (Places{0, 1}));
    EXPECT_EQ(found(std::vector<real>(std::size_t(n), nan), 2), (Places{0, 1}));
  }
}

TEST(BestOf, SortsByScoreThenNumber) {
  for (const i64 n : {1, 5, 16, 17, 50, 128}) {
    const Matrix m = random_matrix(1, n, 3, 2);
    std::vector<real> score(m.data(), m.data() + n);
    for (real& s : score) s = std::round(s);
    Places number(std::size_t(n), 0), order(std::size_t(n), 0);
    std::iota(order.begin(), order.end(), 0);
    for (i64 i = 0; i < n; ++i) number[std::size_t(i)] = static_cast<std::int32_t>(i * 7919 % 1009);
    std::ranges::sort(order, [&](std::int32_t a, std::int32_t b) {
      const auto i = std::size_t(a), j = std::size_t(b);
      return score[i] != score[j] ? score[i] > score[j] : number[i] < number[j];
    });
    for (const i64 k : {i64{1}, (n + 1) / 2, n}) {
      Places place(std::size_t(k), 0);
      best_of(score.data(), number.data(), n, k, place.data());
      EXPECT_EQ(place, Places(order.begin(), order.begin() + k));
    }
  }
}

}  // namespace
}  // namespace pleiad::ops
