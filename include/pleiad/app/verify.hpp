// Runs the content of verification files through the real layer, model and optimizer code, on however many ranks there are.
#pragma once
#include "pleiad/comm/grid.hpp"
#include "pleiad/core/lanes.hpp"
#include "pleiad/io/golden.hpp"
#include "pleiad/routing/router.hpp"

namespace pleiad::app {

/// Everything the layer file asks for, computed; complete on rank 0. UserError for what is not supported. collective.
io::GoldenResults verify_layer(const comm::Communicator& world, const io::GoldenFile& golden);
/// The same for a model file: gradients, losses and parameters over its steps. collective.
io::GoldenResults verify_model(const comm::Communicator& world, const io::GoldenFile& golden);

// Shared by both. Each is collective and its result stands on rank 0.

/// Rows of all ranks, in rank order, as one array of the given shape.
io::GoldenArray gather_rows(const comm::Communicator& world, ConstMatrixView rows, io::Shape shape);
/// Routing lists of all ranks, without what a capacity dropped: <prefix>offset, expert, weight, dropped.
void gather_routing(const comm::Communicator& world, const routing::Assignment& a, const std::string& prefix, io::GoldenResults& results);
/// Per parameter of the whole model, <prefix><name>: values, or gradients (of trainable ones; pre: synced).
void gather_parameters(const comm::ProcessGrid& grid, ParamSet& params, const std::vector<std::string>& names, bool gradients,
                       const std::string& prefix, io::GoldenResults& results);

/// Lanes for verification: fixed, so that the result does not depend on the number of ranks.
inline constexpr i64 k_verify_lanes = 8;

}  // namespace pleiad::app
