// Whether the layer that was timed computes what it should: outputs against a plain evaluation in double, gradients against differences.
// In evaluation mode, so without noise and capacity, which tie tokens together; auxiliary losses are left out.
#pragma once
#include "pleiad/bench/layer.hpp"

namespace pleiad::bench {

/// Up to three checks, each a root mean square error relative to that of what is compared:
///   y       of a few tokens of every rank, each the weighted sum of its own experts, evaluated one by one in double (left out where
///           something stands beside the experts);
///   d_x     along a random direction for every token, against the central difference of <y, d_y> of that token; tokens that have other
///           experts at one of the two ends are left out;
///   experts their gradient along one random direction, against the central difference of <y, d_y> of the batch.
/// Zeroes the gradients. collective.
std::vector<Check> check_layer(LayerBench& bench);

/// Kept experts of a token in ascending order.
std::vector<std::int32_t> kept_experts(const routing::Assignment& a, i64 token);

/// How far the last passes of two layers with the same weights and input differ: y, d_x and the gradients of the experts. collective.
std::vector<Check> compare_layers(LayerBench& subject, LayerBench& reference, double allowed);

}  // namespace pleiad::bench
