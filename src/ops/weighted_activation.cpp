#include "pleiad/ops/weighted_activation.hpp"

#include "pleiad/core/error.hpp"
#include "pleiad/ops/vec.hpp"

namespace pleiad::ops {

namespace {

/// Value and derivative of an activation, together.
struct Point {
  real value, slope;
};

struct Relu {
  static Point at(real a) { return {a < 0 ? real(0) : a, a > 0 ? real(1) : real(0)}; }
};
struct Gelu {
  static Point at(real a) {
    const real cdf = vec::normal_cdf(a);
    return {a * cdf, vec::mul_add(a, vec::normal_density(a), cdf)};
  }
};
struct Silu {
  static Point at(real a) {
    const real s = vec::sigmoid(a);
    return {a * s, s * vec::mul_add(a, real(1) - s, real(1))};
  }
};

real weight_of(std::span<const real> weight, i64 row) { return weight.empty() ? real(1) : weight[static_cast<std::size_t>(row)]; }

template <class F, class N>
void rows_backward(ConstMatrixView pre, std::span<const real> weight, ConstMatrixView d_h, View<N> d_pre, View<N> h, std::span<real> d_weight) {
  for (i64 r = 0; r < pre.rows; ++r) {
    const real w = weight_of(weight, r);
    const real *a = pre.row(r), *d = d_h.row(r);
    N *d_a = d_pre.row(r), *out = h.row(r);
    const real along = vec::sum_of(pre.cols, [=](i64 j) {
      const Point p = F::at(a[j]);
      const real product = d[j] * p.value, weighted = w * d[j];
      d_a[j] = factor_of<N>(weighted * p.slope);
      out[j] = factor_of<N>(w * p.value);
      return product;
    });
    if (!d_weight.empty()) d_weight[static_cast<std::size_t>(r)] = along;
  }
}

template <class N>
void check_rows(ConstMatrixView all, View<N> one, std::span<const real> weight) {
  PLEIAD_CHECK(all.rows == one.rows && all.cols == one.cols, "activation of {}x{} with {}x{}", all.rows, all.cols, one.rows, one.cols);
  PLEIAD_CHECK(weight.empty() || static_cast<i64>(weight.size()) == all.rows, "{} weights of {} rows", weight.size(), all.rows);
}

}  // namespace

template <class N>
void weighted_activation_backward(Activation f, ConstMatrixView pre, std::span<const real> weight, ConstMatrixView d_h, View<N> d_pre, View<N> h,
                                  std::span<real> d_weight) {
  check_rows(pre, d_h, weight);
  check_rows(pre, d_pre, weight);
  check_rows(pre, h, d_weight);
  switch (f) {
    case Activation::relu: return rows_backward<Relu>(pre, weight, d_h, d_pre, h, d_weight);
    case Activation::gelu: return rows_backward<Gelu>(pre, weight, d_h, d_pre, h, d_weight);
    case Activation::silu: return rows_backward<Silu>(pre, weight, d_h, d_pre, h, d_weight);
  }
}

template <class N>
void weighted_swiglu_backward(ConstMatrixView gate, ConstMatrixView up, std::span<const real> weight, ConstMatrixView d_h, View<N> d_gate, View<N> d_up,
                              View<N> h, std::span<real> d_weight) {
  check_rows(gate, d_h, weight);
  check_rows(gate, d_gate, weight);
  check_rows(gate, h, d_weight);
  check_rows(up, d_up, weight);
  for (i64 r = 0; r < gate.rows; ++r) {
    const real w = weight_of(weight, r);
    const real *g = gate.row(r), *u = up.row(r), *d = d_h.row(r);
    N *d_g = d_gate.row(r), *d_u = d_up.row(r), *out = h.row(r);
    const real along = vec::sum_of(gate.cols, [=](i64 j) {
      const Point p = Silu::at(g[j]);
      const real value = p.value * u[j], product = d[j] * value, weighted = w * d[j];
      d_u[j] = factor_of<N>(weighted * p.value);
      d_g[j] = factor_of<N>(weighted * u[j] * p.slope);
      out[j] = factor_of<N>(w * value);
      return product;
    });
    if (!d_weight.empty()) d_weight[static_cast<std::size_t>(r)] = along;
  }
}

#define PLEIAD_WEIGHTED_ACTIVATION(N)                                                                                                           \
  template void weighted_activation_backward<N>(Activation, ConstMatrixView, std::span<const real>, ConstMatrixView, View<N>, View<N>,          \
                                                std::span<real>);                                                                              \
  template void weighted_swiglu_backward<N>(ConstMatrixView, ConstMatrixView, std::span<const real>, ConstMatrixView, View<N>, View<N>, View<N>, \
                                            std::span<real>);
PLEIAD_WEIGHTED_ACTIVATION(real)
PLEIAD_WEIGHTED_ACTIVATION(bf16)
#undef PLEIAD_WEIGHTED_ACTIVATION

}  // namespace pleiad::ops
