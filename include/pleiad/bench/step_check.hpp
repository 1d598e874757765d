// Whether a training step follows the gradient of the loss that it reports. Read next: layer_check.hpp, which looks at one layer closely.
#pragma once
#include "pleiad/bench/record.hpp"
#include "pleiad/model/model.hpp"

namespace pleiad::bench {

/// The loss of the whole model along a direction, by central differences, against the gradient. Of the direction each kind of parameters
/// (embedding, attention, norms, other dense ones, experts, routers, head) has an equal part of the change, so that a mistake in one of them
/// shows. Where a token takes other experts at one of the two ends the loss jumps: targets from there to the end of the sequence (all of the
/// sequence, if later tokens are seen) are not counted, neither in the loss nor in the gradient. In evaluation mode, so without noise and
/// capacity, and without auxiliary losses. Values come back to within rounding; gradients are zero afterwards. collective.
Check check_gradient(const model::Model& model, ParamSet& params, const comm::ProcessGrid& grid, const LaneLayout& lanes, model::Batch batch,
                     std::uint64_t seed);

}  // namespace pleiad::bench
