#include "pleiad/bench/machine_probes.hpp"

#include <algorithm>
#include <array>

#include "pleiad/bench/roofs.hpp"
#include "pleiad/core/random.hpp"
#include "pleiad/ops/activation.hpp"
#include "pleiad/ops/attention.hpp"
#include "pleiad/ops/softmax.hpp"
#include "pleiad/ops/top_k.hpp"

namespace pleiad::bench {

namespace {

using ops::Trans;

// The extent of a product that is neither rows nor width: a few times the width, as of experts and of the layers around them.
i64 other_extent(i64 width) { return std::max(width, std::clamp<i64>(4 * width, 128, 1024)); }
// Different weights one after the other, as experts and layers have them, whose gradients and moments come in between: together more than the caches of a processor hold, as far as they are small.
constexpr i64 k_weights = i64{1} << 22;
i64 matrices(i64 width) { return std::clamp<i64>(k_weights / (width * other_extent(width)), 1, 64); }

constexpr i64 k_map_rows = 256, k_map_width = 128, k_chosen = 4;  // of what goes through softmax, activation and selection

/// Numbers between 0 and 1 that differ.
void draw_numbers(std::span<real> values, std::uint64_t seed) {
  const Stream draw(seed, Purpose::bench, 30);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<real>(draw.uniform(i));
}

// Sequences of one probe of attention: backward should find what forward wrote as far away as after a whole layer.
constexpr i64 k_attention_width = 128, k_attention_weights = i64{1} << 21, k_most_sequences = 16;

/// Forward of some sequences and then backward, from turning queries and keys to turning their gradients back.
class AttentionWork {
 public:
  AttentionWork(i64 length, i64 head)
      : length_(length),
        heads_(std::max<i64>(1, k_attention_width / head)),
        sequences_(std::clamp<i64>(k_attention_weights / (heads_ * length * length), 1, k_most_sequences)),
        rotary_(length, head, 10000),
        weights_(sequences_ * heads_ * length, length) {
    for (Matrix& m : rows_) m = Matrix(sequences_ * length, heads_ * head);
    for (int i = 0; i < 4; ++i) draw_numbers(rows_[static_cast<std::size_t>(i)].flat(), static_cast<std::uint64_t>(5 + i));
  }
  /// Operations of scores and mixing, under the causal mask (sim/workload.hpp).
  double flops() const { return 3.0 * 4 * static_cast<double>(rows_[0].rows() * rows_[0].cols()) * static_cast<double>(length_ + 1) / 2; }
  void run() {
    const ops::Mask mask = ops::Mask::causal(length_);
    const auto part = [&](Part p, i64 s) { return rows_[p].view().row_range(s * length_, length_); };
    for (i64 s = 0; s < sequences_; ++s) {
      for (const Part p : {q, k}) ops::rotate(part(p, s), rotary_, heads_);
      ops::attention_forward(part(q, s), part(k, s), part(v, s), mask, heads_, weights_of(s), part(out, s));
    }
    for (i64 s = 0; s < sequences_; ++s) {
      ops::attention_backward(part(q, s), part(k, s), part(v, s), weights_of(s), mask, heads_, part(d_out, s), part(d_q, s), part(d_k, s), part(d_v, s), scratch_);
      for (const Part p : {d_q, d_k}) ops::rotate_back(part(p, s), rotary_, heads_);
    }
  }

 private:
  enum Part { q, k, v, d_out, out, d_q, d_k, d_v, parts };
  MatrixView weights_of(i64 s) { return weights_.view().row_range(s * heads_ * length_, heads_ * length_); }

  i64 length_, heads_, sequences_;
  ops::RotaryTable rotary_;
  Matrix weights_;
  std::array<Matrix, parts> rows_;
  Buffer<real> scratch_;
};

void round_all(std::span<const real> from, Buffer<bf16>& to) {
  to.reserve_uninitialised(static_cast<i64>(from.size()));
  for (std::size_t i = 0; i < from.size(); ++i) to[static_cast<i64>(i)] = to_bf16(static_cast<float>(from[i]));
}

void add_in_place(std::span<const real> from, std::span<real> to) {
  const real* f = from.data();
  real* t = to.data();
  const std::size_t n = from.size();
#pragma omp simd
  for (std::size_t i = 0; i < n; ++i) t[i] += f[i];
}

}  // namespace

CalibrationSizes CalibrationSizes::quick() {
  CalibrationSizes s;
  s.rows = {1, 16};
  s.widths = {8, 32};
  s.lengths = {4, 16};
  s.heads = {4, 8};
  s.memory_bytes = i64{1} << 20;
  s.cached_bytes = {1 << 16, 1 << 18};
  s.row_bytes = {64, 1024};
  s.messages = {8, 4096};
  return s;
}

std::vector<double> CalibrationSizes::tables() const {
  std::vector<double> all;
  for (const double bytes : cached_bytes) {
    if (bytes < static_cast<double>(memory_bytes)) all.push_back(bytes);
  }
  all.push_back(static_cast<double>(memory_bytes));
  return all;
}

struct MachineProbes::Arrays {
  Buffer<real> narrow, wide, weights, out, gradient;  // rows x width, rows x other extent, matrices of both
  Buffer<bf16> short_narrow, short_wide, short_weights;
  Matrix map, map_out;
  std::vector<std::int32_t> chosen = std::vector<std::int32_t>(k_chosen);
  Buffer<real> from, to;
  std::vector<std::unique_ptr<RandomRows>> random;
  std::vector<std::unique_ptr<AttentionWork>> attention;

  explicit Arrays(i64 memory_bytes) : map(k_map_rows, k_map_width), map_out(k_map_rows, k_map_width), from(memory_bytes / 2 / static_cast<i64>(sizeof(real))), to(from.size()) {}
};

MachineProbes::~MachineProbes() = default;

MachineProbes::MachineProbes(const CalibrationSizes& sizes, bool bf16) : sizes_(sizes), bf16_(bf16), arrays_(std::make_unique<Arrays>(sizes.memory_bytes)) {
  Arrays& a = *arrays_;
  const i64 rows = static_cast<i64>(sizes.rows.back()), width = static_cast<i64>(sizes.widths.back());
  i64 weights = 0;
  for (const double w : sizes.widths) weights = std::max(weights, matrices(static_cast<i64>(w)) * static_cast<i64>(w) * other_extent(static_cast<i64>(w)));
  a.narrow.resize(rows * width);
  a.wide.resize(rows * other_extent(width));
  a.weights.resize(weights);
  a.out.resize(rows * other_extent(width));
  a.gradient.resize(weights);
  draw_numbers(a.narrow.span(), 1);
  draw_numbers(a.wide.span(), 2);
  draw_numbers(a.weights.span(), 3);
  draw_numbers(a.map.flat(), 4);
  if (bf16) {
    round_all(a.narrow.span(), a.short_narrow);
    round_all(a.wide.span(), a.short_wide);
    round_all(a.weights.span(), a.short_weights);
  }
  for (const double length : sizes.lengths) {
    for (const double head : sizes.heads) a.attention.push_back(std::make_unique<AttentionWork>(static_cast<i64>(length), static_cast<i64>(head)));
  }
  constexpr i64 rows_per_run = 1 << 14;
  for (const double bytes : sizes.row_bytes) {
    const i64 numbers = static_cast<i64>(bytes) / static_cast<i64>(sizeof(real));
    for (const double table : sizes.tables()) {
      a.random.push_back(std::make_unique<RandomRows>(table_rows_for(table, numbers, std::min(rows_per_run, static_cast<i64>(table / bytes))), numbers, rows_per_run, 1));
    }
  }
}

// Forward and gradient of the rows in one probe, into the wider extent and out of it, as a network of two matrices has them (ops/linear.hpp); gradients of weights are added.
void MachineProbes::add_products(std::vector<Probe>& probes, i64 rows, i64 width) {
  Arrays& a = *arrays_;
  const i64 other = other_extent(width), count = matrices(width);
  const double flops = 2.0 * static_cast<double>(rows * width * other * count);
  const auto for_each = [count, width, other](auto* weights, const auto& work) {
    for (i64 i = 0; i < count; ++i) work(weights + i * width * other);
  };
  probes.push_back({"gemm", 4 * flops, [&a, rows, width, other, for_each] {
    const ConstMatrixView narrow(a.narrow.data(), rows, width), wide(a.wide.data(), rows, other);
    const MatrixView into_wide(a.out.data(), rows, other), into_narrow(a.out.data(), rows, width);
    for_each(a.weights.data(), [&](const real* w) {
      const ConstMatrixView up(w, other, width), down(w, width, other);
      ops::gemm(Trans::no, Trans::yes, 1, narrow, up, 0, into_wide);
      ops::gemm(Trans::no, Trans::yes, 1, wide, down, 0, into_narrow);
      ops::gemm(Trans::no, Trans::no, 1, wide, up, 0, into_narrow);
      ops::gemm(Trans::no, Trans::no, 1, narrow, down, 0, into_wide);
    });
  }});
  probes.push_back({"gradient", 2 * flops, [&a, rows, width, other, for_each] {
    const ConstMatrixView narrow(a.narrow.data(), rows, width), wide(a.wide.data(), rows, other);
    for_each(a.gradient.data(), [&](real* w) {
      ops::gemm(Trans::yes, Trans::no, 1, wide, narrow, 1, MatrixView(w, other, width));
      ops::gemm(Trans::yes, Trans::no, 1, narrow, wide, 1, MatrixView(w, width, other));
    });
  }});
  if (!bf16_) return;
  probes.push_back({"bf16", 4 * flops, [&a, rows, width, other, for_each] {
    using Short = View<const bf16>;
    const Short narrow(a.short_narrow.data(), rows, width), wide(a.short_wide.data(), rows, other);
    const MatrixView into_wide(a.out.data(), rows, other), into_narrow(a.out.data(), rows, width);
    for_each(a.short_weights.data(), [&](const bf16* w) {
      const Short up(w, other, width), down(w, width, other);
      ops::gemm_bf16(Trans::no, Trans::yes, narrow, up, false, into_wide);
      ops::gemm_bf16(Trans::no, Trans::yes, wide, down, false, into_narrow);
      ops::gemm_bf16(Trans::no, Trans::no, wide, up, false, into_narrow);
      ops::gemm_bf16(Trans::no, Trans::no, narrow, down, false, into_wide);
    });
  }});
}

void MachineProbes::add_attention(std::vector<Probe>& probes) {
  for (const auto& work : arrays_->attention) probes.push_back({"attention", work->flops(), [w = work.get()] { w->run(); }});
}

void MachineProbes::add_to(std::vector<Probe>& probes) {
  Arrays& a = *arrays_;
  for (const double rows : sizes_.rows) {
    for (const double width : sizes_.widths) add_products(probes, static_cast<i64>(rows), static_cast<i64>(width));
  }
  add_attention(probes);
  // Softmax, activation (each with its gradient) and selection, equally many numbers through each.
  probes.push_back({"elements", 5.0 * k_map_rows * k_map_width, [&a] {
    ops::softmax_rows(a.map.view(), a.map_out.view(), {});
    ops::softmax_backward_rows(a.map_out.view(), a.map.view(), a.map_out.view());
    ops::activate(ops::Activation::gelu, a.map.flat(), a.map_out.flat());
    ops::activate_backward(ops::Activation::gelu, a.map.flat(), a.map.flat(), a.map_out.flat());
    for (i64 r = 0; r < k_map_rows; ++r) ops::top_k(a.map.view().row(r), k_map_width, k_chosen, a.chosen.data());
  }});
  // Changed where it is, as gradients, moments, weights and the stream between blocks are: a write elsewhere would also read what it replaces.
  const double bytes = static_cast<double>(a.from.size()) * sizeof(real);
  probes.push_back({"stream", 3 * bytes, [&a] { add_in_place(a.from.span(), a.to.span()); }});
  for (const double set : sizes_.cached_bytes) {  // two arrays, as often as the longest takes
    const std::size_t all = static_cast<std::size_t>(a.from.size()), half = static_cast<std::size_t>(set / 2 / sizeof(real)), times = std::max<std::size_t>(1, all / half);
    if (half > all) continue;
    probes.push_back({"cached", 3.0 * static_cast<double>(times * half * sizeof(real)), [&a, half, times] {
      for (std::size_t i = 0; i < times; ++i) add_in_place(a.from.span().first(half), a.to.span().first(half));
    }});
  }
  probes.push_back({"copy", bytes, [&a] { std::ranges::copy(a.from, a.to.begin()); }});
  for (const auto& rows : a.random) probes.push_back({"random", rows->bytes(), [r = rows.get()] { r->run(); }});
}

void set_machine_rates(const CalibrationSizes& sizes, const std::vector<Probe>& probes, sim::Cluster& c) {
  const auto table = [&](const std::string& group) {
    const std::vector<double> rates = rates_of(probes, group);
    return rates.empty() ? sim::RateTable() : sim::RateTable(sizes.rows, sizes.widths, rates);
  };
  c.compute.gemm = table("gemm");
  c.compute.gradient = table("gradient");
  c.compute.bf16 = table("bf16");
  c.compute.attention = sim::RateTable(sizes.lengths, sizes.heads, rates_of(probes, "attention"));
  c.compute.elements = rates_of(probes, "elements").at(0);
  c.memory.stream = rates_of(probes, "stream").at(0);
  const std::vector<double> cached = rates_of(probes, "cached");
  if (!cached.empty()) c.memory.cached = sim::RateTable({sizes.cached_bytes.begin(), sizes.cached_bytes.begin() + static_cast<std::ptrdiff_t>(cached.size())}, {1}, cached);
  c.memory.copy = rates_of(probes, "copy").at(0);
  c.memory.random = sim::RateTable(sizes.row_bytes, sizes.tables(), rates_of(probes, "random"));
}

}  // namespace pleiad::bench
