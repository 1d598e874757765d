#include "pleiad/bench/roofs.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "pleiad/core/random.hpp"

namespace pleiad::bench {

namespace {

constexpr real k_factor = 3;         // of the triad
constexpr i64 k_row_values = 251;    // row r of the table holds r mod 251, so that any sum of rows is a whole number
constexpr std::size_t k_rows_ahead = 16;
constexpr std::size_t k_exact_rows = 1024;  // summed up in single precision without rounding, up to a width of 4,096
constexpr std::uintptr_t k_page = 4096;

/// Cheap numbers between -1 and 1 for large matrices: what they are does not matter, that they differ does.
void fill(std::span<real> values, std::uint64_t seed) {
  std::uint64_t state = 0x9E3779B97F4A7C15ull * (seed + 1);
  for (real& v : values) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    v = static_cast<real>(static_cast<double>(state >> 11) * 0x1p-52 - 1);
  }
}

/// The i-th of matrices that lie one below the other.
template <class M>
auto part(M& all, i64 i, i64 count) {
  const i64 rows = all.rows() / count;
  return all.view().row_range(i * rows, rows);
}

/// Rounds the values and keeps them in both forms, so that a check sees the very factors.
void round_to_bf16(std::span<real> values, Buffer<bf16>& into) {
  into.reserve_uninitialised(static_cast<i64>(values.size()));
  for (std::size_t i = 0; i < values.size(); ++i) {
    into[static_cast<i64>(i)] = to_bf16(static_cast<float>(values[i]));
    values[i] = static_cast<real>(to_float(into[static_cast<i64>(i)]));
  }
}

double at(ConstMatrixView m, ops::Trans t, i64 i, i64 j) { return static_cast<double>(t == ops::Trans::no ? m(i, j) : m(j, i)); }

}  // namespace

std::vector<Arithmetic> arithmetics() {
  std::vector<Arithmetic> all;
  for (const ops::Library library : {ops::Library::openblas, ops::Library::onednn}) {
    if (ops::library_available(library)) all.push_back({library});
  }
  if (ops::bf16_missing().empty()) all.push_back({ops::Library::onednn, true});
  return all;
}

Products::Products(const Arithmetic& arithmetic, const ProductShape& s, std::uint64_t seed)
    : arithmetic_(arithmetic),
      shape_(s),
      a_(s.count * (s.ta == ops::Trans::no ? s.m : s.k), s.ta == ops::Trans::no ? s.k : s.m),
      b_(s.count * (s.tb == ops::Trans::no ? s.k : s.n), s.tb == ops::Trans::no ? s.n : s.k),
      c_(s.count * s.m, s.n) {
  fill(a_.flat(), 2 * seed);
  fill(b_.flat(), 2 * seed + 1);
  if (!arithmetic.bf16) return;
  round_to_bf16(a_.flat(), short_a_);
  round_to_bf16(b_.flat(), short_b_);
}

void Products::run() {
  for (i64 i = 0; i < shape_.count; ++i) {
    const MatrixView a = part(a_, i, shape_.count), b = part(b_, i, shape_.count), c = part(c_, i, shape_.count);
    if (arithmetic_.bf16) {
      const View<const bf16> short_a(short_a_.data() + i * a.size(), a.rows, a.cols), short_b(short_b_.data() + i * b.size(), b.rows, b.cols);
      ops::gemm_bf16(shape_.ta, shape_.tb, short_a, short_b, false, c);
    } else {
      ops::gemm(arithmetic_.library, shape_.ta, shape_.tb, real{1}, a, b, real{0}, c);
    }
  }
}

double Products::flops() const {
  return 2.0 * static_cast<double>(shape_.m) * static_cast<double>(shape_.n) * static_cast<double>(shape_.k) * static_cast<double>(shape_.count);
}

Check Products::check() const {
  const Stream draw(1, Purpose::bench);
  double worst = 0;
  for (std::uint64_t sample = 0; sample < 64; ++sample) {
    const auto pick = [&](std::uint64_t which, i64 n) { return static_cast<i64>(draw.below(3 * sample + which, static_cast<std::uint64_t>(n))); };
    const i64 product = pick(0, shape_.count), row = pick(1, shape_.m), column = pick(2, shape_.n);
    const ConstMatrixView a = part(a_, product, shape_.count), b = part(b_, product, shape_.count), c = part(c_, product, shape_.count);
    double exact = 0, size = 0;
    for (i64 l = 0; l < shape_.k; ++l) {
      const double term = at(a, shape_.ta, row, l) * at(b, shape_.tb, l, column);
      exact += term;
      size += std::abs(term);
    }
    const double error = std::abs(static_cast<double>(c(row, column)) - exact) / size;
    if (!(error <= worst)) worst = error;  // NaN stays
  }
  return {"64 entries against a plain sum in double", worst, sizeof(real) == 4 ? 1e-5 : 1e-13};
}

Triad::Triad(i64 elements) : a_(elements), b_(elements), c_(elements) {
  std::ranges::fill(b_, real{1});
  std::ranges::fill(c_, real{2});
}

void Triad::run() {
  real* a = a_.data();
  const real *b = b_.data(), *c = c_.data();
  const i64 n = a_.size();
#pragma omp simd
  for (i64 i = 0; i < n; ++i) a[i] = b[i] + k_factor * c[i];
}

double Triad::bytes() const { return 3.0 * static_cast<double>(a_.size()) * sizeof(real); }

Check Triad::check() const {
  const i64 wrong = std::ranges::count_if(a_, [](real x) { return x != 1 + 2 * k_factor; });
  return {"elements with another value than b + s c", static_cast<double>(wrong), 0};
}

i64 table_rows_for(double bytes, i64 width, i64 rows_per_run) {
  const double rows = bytes / (static_cast<double>(width) * sizeof(real));
  return std::clamp(static_cast<i64>(rows), rows_per_run, i64{1} << 30);
}

RandomRows::RandomRows(i64 table_rows, i64 width, i64 rows_per_run, std::uint64_t seed)
    : width_(width), rows_per_run_(std::min(rows_per_run, table_rows)), order_(static_cast<std::size_t>(table_rows)) {
  storage_.reserve_uninitialised(table_rows * width + static_cast<i64>(k_page / sizeof(real)));
  const std::uintptr_t start = reinterpret_cast<std::uintptr_t>(storage_.data());
  table_ = {storage_.data() + (k_page - start % k_page) % k_page / sizeof(real), table_rows, width};
  for (i64 r = 0; r < table_rows; ++r) std::fill_n(table_.row(r), width, static_cast<real>(r % k_row_values));
  std::iota(order_.begin(), order_.end(), std::int32_t{0});
  const Stream draw(seed, Purpose::bench, 1);
  for (std::size_t i = order_.size() - 1; i > 0; --i) std::swap(order_[i], order_[draw.below(i, i + 1)]);
}

std::span<const std::int32_t> RandomRows::next_rows() {
  if (at_ + rows_per_run_ > static_cast<i64>(order_.size())) at_ = 0;
  const std::span<const std::int32_t> rows(order_.data() + at_, static_cast<std::size_t>(rows_per_run_));
  at_ += rows_per_run_;
  return rows;
}

// The inner loop is short and of fixed length, so that the processor sees as many rows at once as it can.
void RandomRows::run() {
  const std::span<const std::int32_t> rows = next_rows();
  constexpr i64 line = 64 / sizeof(real), block = 4 * line;
  const i64 n = width_, whole = n / block * block;
  sum_ = 0;
  for (std::size_t begin = 0; begin < rows.size(); begin += k_exact_rows) {
    real sum[block] = {};
    for (std::size_t i = begin; i < std::min(begin + k_exact_rows, rows.size()); ++i) {
      const real* row = table_.row(rows[i]);
      const real* ahead = table_.row(rows[std::min(i + k_rows_ahead, rows.size() - 1)]);
      for (i64 j = 0; j < whole; j += block) {
        for (i64 l = 0; l < block; l += line) __builtin_prefetch(ahead + j + l);
#pragma omp simd
        for (i64 l = 0; l < block; ++l) sum[l] += row[j + l];
      }
      for (i64 j = whole; j < n; ++j) sum_ += static_cast<double>(row[j]);
    }
    sum_ = std::accumulate(sum, sum + block, sum_);
  }
}

double RandomRows::bytes() const { return static_cast<double>(rows_per_run_ * width_) * sizeof(real); }

Check RandomRows::check() {
  run();
  at_ -= rows_per_run_;
  double exact = 0;
  for (const std::int32_t r : next_rows()) exact += static_cast<double>((r % k_row_values) * width_);
  return {"sum of the rows that were read against their numbers", std::abs(sum_ - exact), 0};
}

}  // namespace pleiad::bench
