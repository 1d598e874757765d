// Element-wise functions of the feed-forward experts and their derivatives, over flat runs of numbers.
//   relu(a) = max(a, 0), derivative 0 at 0;   gelu(a) = a Phi(a), the exact one (Hendrycks and Gimpel 2016, eq. 1);
//   silu(a) = a / (1 + exp(-a));              swiglu(gate, up) = silu(gate) up (Shazeer 2020, eq. 5).
#pragma once
#include "pleiad/core/bf16.hpp"

#include <span>
#include <string_view>

namespace pleiad::ops {

enum class Activation { relu, gelu, silu };

/// The activation of that name. errors: UserError for a word that is none of relu, gelu, silu.
Activation activation_from(std::string_view word);
std::string_view name_of(Activation f);

/// out[i] = f(in[i]). out may be in. pre: equal lengths. NaN in gives NaN out.
void activate(Activation f, std::span<const real> in, std::span<real> out);
/// The same, rounded.
void activate(Activation f, std::span<const real> in, std::span<bf16> out);

/// d_in[i] = f'(in[i]) d_out[i]; `in` is the pre-activation. Overwrites d_in, which may be d_out or in.
/// pre: equal lengths.
void activate_backward(Activation f, std::span<const real> in, std::span<const real> d_out, std::span<real> d_in);

/// out[i] = silu(gate[i]) up[i]. out may be gate or up. pre: equal lengths.
void swiglu_forward(std::span<const real> gate, std::span<const real> up, std::span<real> out);
/// The same, rounded.
void swiglu_forward(std::span<const real> gate, std::span<const real> up, std::span<bf16> out);

/// Overwrites d_gate and d_up, which may each be any one of the inputs, but not each other. pre: equal lengths.
void swiglu_backward(std::span<const real> gate, std::span<const real> up, std::span<const real> d_out,
                     std::span<real> d_gate, std::span<real> d_up);

}  // namespace pleiad::ops
