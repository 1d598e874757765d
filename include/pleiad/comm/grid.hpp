// World = data groups x expert groups (DESIGN: the expert-parallel layout). Ranks of one expert group share out the experts of
// every layer; ranks at the same place in different groups hold copies of the same experts and sum their gradients.
#pragma once
#include "pleiad/comm/communicator.hpp"

namespace pleiad::comm {

class ProcessGrid {
 public:
  /// UserError unless data_groups divides the number of ranks. Consecutive ranks form an expert group. collective.
  ProcessGrid(Communicator world, i64 data_groups);

  const Communicator& world() const { return world_; }
  /// The ranks among which the experts are dealt out, and among which tokens travel.
  const Communicator& expert_group() const { return expert_group_; }
  /// The ranks that hold the same experts.
  const Communicator& data_group() const { return data_group_; }
  i64 data_groups() const { return data_group_.size(); }

 private:
  Communicator world_, expert_group_, data_group_;
};

}  // namespace pleiad::comm
