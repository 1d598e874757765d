// A job that moves, and a rank that computes for ever. That one ends the whole job, so cli_watchdog runs it by itself (with
// --gtest_also_run_disabled_tests).
#include "pleiad/comm/watchdog.hpp"

#include <gtest/gtest.h>

#include <atomic>

#include "pleiad/comm/collectives.hpp"
#include "pleiad/core/clock.hpp"
#include "pleiad/core/whereabouts.hpp"

namespace pleiad::comm {
namespace {

/// For the thread sanitizer: both threads are busy while the job goes on, and the watchdog's ends when it is told to.
TEST(Watchdog, LetsAJobThatMovesGoOn) {
  const Communicator world = Communicator::world();
  for (const double seconds : {1.2, 0.0}) {
    const Watchdog watchdog(world, 10, 76, "");  // looks at once and then every second
    EXPECT_EQ(watchdog.problem(), "");
    const Stopwatch watch;
    i64 step = 0;
    do {
      whereabouts().begin_step(++step);
      for (i64 block = 0; block < 4; ++block) whereabouts().move_to(static_cast<int>(Phase::expert), block);
      barrier(world);
    } while (max_over<i64>(world, watch.seconds() < seconds) > 0);
  }
}

TEST(Watchdog, DISABLED_ARankThatLoopsForEver) {
  const Communicator world = Communicator::world();
  const Watchdog watchdog(world, 3, 76, "");
  whereabouts().begin_step(7);
  whereabouts().move_to(static_cast<int>(Phase::expert), 1);
  std::atomic<bool> never{false};
  while (world.rank() == 1 && !never.load()) continue;
  barrier(world);
  FAIL() << "nobody ended it";
}

}  // namespace
}  // namespace pleiad::comm
