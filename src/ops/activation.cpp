#include "pleiad/ops/activation.hpp"

#include "pleiad/core/error.hpp"
#include "pleiad/ops/vec.hpp"

namespace pleiad::ops {

namespace {

void check_lengths(std::size_t expected, std::size_t length) {
  PLEIAD_CHECK(expected == length, "activation over {} and {} numbers", expected, length);
}

template <class N, class F>
void map(std::span<const real> in, std::span<N> out, F f) {
  const real* a = in.data();
  N* y = out.data();
  const i64 n = static_cast<i64>(in.size());
#pragma omp simd
  for (i64 i = 0; i < n; ++i) y[i] = factor_of<N>(f(a[i]));
}

template <class F>
void map(std::span<const real> in, std::span<const real> d_out, std::span<real> d_in, F f) {
  const real* a = in.data();
  const real* d_y = d_out.data();
  real* d_a = d_in.data();
  const i64 n = static_cast<i64>(in.size());
#pragma omp simd
  for (i64 i = 0; i < n; ++i) d_a[i] = f(a[i], d_y[i]);
}

template <class N>
void activate_into(Activation f, std::span<const real> in, std::span<N> out) {
  check_lengths(in.size(), out.size());
  switch (f) {
    // The comparison is written so that NaN stays NaN.
    case Activation::relu:
      return map(in, out, [](real a) { return a < 0 ? real(0) : a; });
    case Activation::gelu:
      return map(in, out, [](real a) { return a * vec::normal_cdf(a); });
    case Activation::silu:
      return map(in, out, [](real a) { return a * vec::sigmoid(a); });
  }
}

template <class N>
void swiglu_into(std::span<const real> gate, std::span<const real> up, std::span<N> out) {
  check_lengths(gate.size(), up.size());
  check_lengths(gate.size(), out.size());
  const real* g = gate.data();
  const real* u = up.data();
  N* y = out.data();
  const i64 n = static_cast<i64>(gate.size());
#pragma omp simd
  for (i64 i = 0; i < n; ++i) y[i] = factor_of<N>(g[i] * vec::sigmoid(g[i]) * u[i]);
}

}  // namespace

Activation activation_from(std::string_view word) {
  for (const Activation f : {Activation::relu, Activation::gelu, Activation::silu}) {
    if (word == name_of(f)) return f;
  }
  user_error("activation is \"{}\", allowed are relu, gelu, silu", word);
}

std::string_view name_of(Activation f) {
  switch (f) {
    case Activation::relu:
      return "relu";
    case Activation::gelu:
      return "gelu";
    case Activation::silu:
      return "silu";
  }
  return "?";
}

void activate(Activation f, std::span<const real> in, std::span<real> out) { activate_into(f, in, out); }
void activate(Activation f, std::span<const real> in, std::span<bf16> out) { activate_into(f, in, out); }

void activate_backward(Activation f, std::span<const real> in, std::span<const real> d_out, std::span<real> d_in) {
  check_lengths(in.size(), d_out.size());
  check_lengths(in.size(), d_in.size());
  switch (f) {
    case Activation::relu:
      return map(in, d_out, d_in, [](real a, real d) { return a > 0 ? d : real(0); });
    case Activation::gelu:
      return map(in, d_out, d_in,
                 [](real a, real d) { return d * vec::mul_add(a, vec::normal_density(a), vec::normal_cdf(a)); });
    case Activation::silu:
      return map(in, d_out, d_in, [](real a, real d) {
        const real s = vec::sigmoid(a);
        return d * s * vec::mul_add(a, real(1) - s, real(1));
      });
  }
}

void swiglu_forward(std::span<const real> gate, std::span<const real> up, std::span<real> out) { swiglu_into(gate, up, out); }
void swiglu_forward(std::span<const real> gate, std::span<const real> up, std::span<bf16> out) { swiglu_into(gate, up, out); }

void swiglu_backward(std::span<const real> gate, std::span<const real> up, std::span<const real> d_out,
                     std::span<real> d_gate, std::span<real> d_up) {
  for (const std::size_t length : {up.size(), d_out.size(), d_gate.size(), d_up.size()})
    check_lengths(gate.size(), length);
  const real* g = gate.data();
  const real* u = up.data();
  const real* d_y = d_out.data();
  real* d_g = d_gate.data();
  real* d_u = d_up.data();
  const i64 n = static_cast<i64>(gate.size());
#pragma omp simd
  for (i64 i = 0; i < n; ++i) {
    const real a = g[i], b = u[i], d = d_y[i];
    const real s = vec::sigmoid(a);
    d_g[i] = d * b * s * vec::mul_add(a, real(1) - s, real(1));
    d_u[i] = d * (a * s);
  }
}

}  // namespace pleiad::ops
