// Numbers that are none (NaN) or infinite: where in a step they appeared first.
#pragma once
#include <string>

#include "pleiad/core/param.hpp"
#include "pleiad/train/optimizer.hpp"
#include "pleiad/model/model.hpp"

namespace pleiad::train {

/// What to do about a step that has any: end the run in the state before it; leave the weights as they are and go on with the next batch; go back to the newest
/// checkpoint and on from there with the batches that follow that of the step.
enum class BadNumberPolicy { stop, skip, roll_back };

struct BadNumbers {
  i64 step = 0;             ///< counted from 1, like StepRecord::step
  std::string where;        ///< tensor, block, expert: what came first in the order of computation, of all ranks
  i64 rank = 0;             ///< where that is
};

/// After forward and backward of a step whose loss or gradient norm is not finite. Looks in the order in which things were computed: weights; block by block
/// attention, router, each expert (computed once more, alone), the block; the head; gradients from the last block to the first. collective over the world.
BadNumbers find_bad_numbers(ParamSet& params, const model::Model& model, const model::ModelTrace& trace, const comm::ProcessGrid& grid);

/// The first weight or moment of this state that is not finite, of the lowest rank that has any; `where` is empty if there is none. collective.
BadNumbers find_bad_state(ParamSet& params, Adam& adam, const comm::Communicator& world);

}  // namespace pleiad::train
