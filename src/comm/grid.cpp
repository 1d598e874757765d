#include "pleiad/comm/grid.hpp"

#include "pleiad/core/error.hpp"

namespace pleiad::comm {

namespace {

i64 checked_group_size(const Communicator& world, i64 data_groups) {
  if (data_groups < 1 || world.size() % data_groups != 0) {
    user_error("parallel.data_groups = {}: must divide the number of ranks, {}", data_groups, world.size());
  }
  return world.size() / data_groups;
}

}  // namespace

ProcessGrid::ProcessGrid(Communicator world, i64 data_groups)
    : world_(std::move(world)),
      expert_group_(world_.split(world_.rank() / checked_group_size(world_, data_groups), world_.rank())),
      data_group_(world_.split(world_.rank() % checked_group_size(world_, data_groups), world_.rank())) {}

}  // namespace pleiad::comm
