#include "pleiad/ops/scattered.hpp"

#include "gemm_detail.hpp"
#include "pleiad/core/clock.hpp"
#include "pleiad/ops/tile.hpp"

namespace pleiad::ops {

namespace {

struct Plain {
  const real* const* row;
  real operator()(i64 i, i64 p) const { return row[i][p]; }
};
struct Transposed {
  const real* const* row;
  real operator()(i64 i, i64 p) const { return row[p][i]; }
};

/// Where sums go: `begin` is called long before `end`.
struct Write {
  real* const* row;
  i64 at;
  static Wide begin(i64, int) { return Wide{}; }
  void end(i64 i, int v, Wide sum) const { wide::store(sum, row[i] + at + v * k_wide); }
};
struct Add {
  real* const* row;
  i64 at;
  const real* factor;
  Wide begin(i64 i, int v) const {
    __builtin_prefetch(row[i] + at + v * k_wide, 1);
    return Wide{};
  }
  void end(i64 i, int v, Wide sum) const {
    real* c = row[i] + at + v * k_wide;
    wide::store(wide::mul_add(wide::all(factor ? factor[i] : real(1)), sum, wide::load(c)), c);
  }
};

/// Rows that are needed soon, into the second cache.
struct Fetch {
  static constexpr bool far = true;
  RowsAt<const real> rows;
  i64 m;
  void fetch(i64 i, i64 p) const {
    for (i64 r = i; r < static_cast<i64>(rows.size()); r += m) __builtin_prefetch(rows[static_cast<std::size_t>(r)] + p, 0, 2);
  }
};

template <class A>
void multiply(A a, RowsAt<const real> b, i64 n, RowsAt<real> c, Sums sums) {
  const i64 m = static_cast<i64>(c.size()), k = static_cast<i64>(b.size());
  const auto b_at = [row = b.data()](i64 j) { return [=](i64 p) { return row[p] + j; }; };
  if (!sums.meanwhile.empty()) {
    tile::multiply_as(m, n, k, a, b_at, [&](i64 j) { return Write{c.data(), j}; }, Fetch{sums.meanwhile, m});
  } else if (sums.add) {
    tile::multiply_as(m, n, k, a, b_at, [&](i64 j) { return Add{c.data(), j, sums.factor}; });
  } else {
    tile::multiply_as(m, n, k, a, b_at, [&](i64 j) { return Write{c.data(), j}; });
  }
}

}  // namespace

void multiply_scattered(Trans ta, RowsAt<const real> a, RowsAt<const real> b, i64 n, RowsAt<real> c, Sums sums) {
  const i64 m = static_cast<i64>(c.size()), k = static_cast<i64>(b.size());
  PLEIAD_CHECK(n % k_wide == 0, "{} columns are no whole vectors of {}", n, k_wide);
  PLEIAD_CHECK(a.size() == (ta == Trans::no ? c.size() : b.size()), "product of {} rows by {} rows into {}", a.size(), b.size(), c.size());
  PLEIAD_CHECK(sums.meanwhile.empty() || (!sums.add && m > 0 && static_cast<i64>(sums.meanwhile.size()) % m == 0), "{} rows to fetch for {}", sums.meanwhile.size(), m);
  const Stopwatch watch;
  if (ta == Trans::no) {
    multiply(Plain{a.data()}, b, n, c, sums);
  } else {
    multiply(Transposed{a.data()}, b, n, c, sums);
  }
  detail::charge({m, n, k}, watch.seconds());
}

}  // namespace pleiad::ops
