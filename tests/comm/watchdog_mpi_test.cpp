// A rank that computes for ever. It ends the whole job, so cli_watchdog runs it by itself (with --gtest_also_run_disabled_tests).
#include "pleiad/comm/watchdog.hpp"

#include <gtest/gtest.h>

#include <atomic>

#include "pleiad/comm/collectives.hpp"
#include "pleiad/core/clock.hpp"
#include "pleiad/core/whereabouts.hpp"

namespace pleiad::comm {
namespace {

TEST(Watchdog, DISABLED_ARankThatLoopsForEver) {
  const Communicator world = Communicator::world();
  const Watchdog watchdog(world, 3, 76);
  whereabouts().begin_step(7);
  whereabouts().move_to(static_cast<int>(Phase::expert), 1);
  std::atomic<bool> never{false};
  while (world.rank() == 1 && !never.load()) continue;
  barrier(world);
  FAIL() << "nobody ended it";
}

}  // namespace
}  // namespace pleiad::comm
