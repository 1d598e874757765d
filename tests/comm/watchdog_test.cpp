// What the watchdog makes of what it knows of the ranks.
#include "pleiad/comm/watchdog.hpp"

#include "pleiad/core/clock.hpp"
#include "support/problem.hpp"

namespace pleiad::comm {
namespace {

const std::vector<std::string> k_host = {"a", "b", "c", "d"};

RankState at(i64 step, i64 moves, Phase phase, const char* wait = "", double idle = 0) {
  RankState s;
  s.step = step, s.moves = moves, s.phase = static_cast<int>(phase), s.block = 2, s.wait = wait, s.idle = idle;
  return s;
}

TEST(Watchdog, SaysNothingWhileAnyRankMoves) {
  std::vector<RankState> ranks(4, at(7, 5, Phase::expert, "MPI_Waitall", 100));
  ranks[3] = at(7, 4, Phase::router, "", 9);
  EXPECT_EQ(judge(ranks, k_host, 10), "");
}

TEST(Watchdog, NamesARankThatIsNotHeardOf) {
  std::vector<RankState> ranks(4, at(7, 5, Phase::expert, "MPI_Waitall", 100));
  ranks[2].silent = 12;
  const std::string text = judge(ranks, k_host, 10);
  EXPECT_MENTIONS(text, "rank 2 (host c) was last heard of 12 s ago, last in step 7, block 2, phase expert");
  EXPECT_MENTIONS(text, "waiting: rank 0 in step 7, block 2, phase expert (MPI_Waitall), rank 1");
  EXPECT_EQ(text.find("rank 2 in step"), std::string::npos);
  EXPECT_EQ(text.find("perhaps"), std::string::npos);
  ranks[2].step = 5;  // it did some more before it stopped, which nobody heard of
  EXPECT_MENTIONS(judge(ranks, k_host, 10), "last in step 5, block 2, phase expert (and perhaps on, up to step 7); waiting: rank 0");
  ranks[2].silent = 9.5;
  ranks[0].idle = 0;
  EXPECT_EQ(judge(ranks, k_host, 10), "");
}

TEST(Watchdog, NamesARankThatHasDiedAtOnce) {
  std::vector<RankState> ranks(4, at(7, 5, Phase::expert));
  ranks[0].wait = "MPI_Waitall";
  EXPECT_EQ(judge(ranks, k_host, 600), "");
  ranks[1].gone = true;
  EXPECT_MENTIONS(judge(ranks, k_host, 600), "rank 1 (host b) has died, last in step 7, block 2, phase expert; waiting: rank 0 in step 7, block 2, phase expert (MPI_Waitall)");
  ranks[3].done = true;
  EXPECT_EQ(judge(ranks, k_host, 600), "") << "the run is over";
}

TEST(Watchdog, NamesARankByItsNumberWhereOthersAreNotKnown) {
  std::vector<RankState> ranks(2, at(7, 5, Phase::expert, "MPI_Waitall", 100));
  ranks[0].silent = 12;
  ranks[1].rank = 3;
  EXPECT_MENTIONS(judge(ranks, {"a", "d"}, 10), "rank 0 (host a) was last heard of 12 s ago");
  EXPECT_MENTIONS(judge(ranks, {"a", "d"}, 10), "waiting: rank 3 in step 7");
}

TEST(Watchdog, SaysThatARunHasNotBegun) {
  std::vector<RankState> ranks(2);
  ranks[1].silent = 12;
  ranks[1].phase = static_cast<int>(Phase::expert);
  EXPECT_MENTIONS(judge(ranks, k_host, 10), "last in its start, before any step, phase expert");
}

TEST(Watchdog, NamesTheRankThatComputesWhileOthersWait) {
  std::vector<RankState> ranks(4, at(7, 9, Phase::exchange, "MPI_Waitall", 31));
  ranks[1] = at(7, 9, Phase::expert, "", 33);
  const std::string text = judge(ranks, k_host, 30);
  EXPECT_MENTIONS(text, "rank 1 (host b) has been in step 7, block 2, phase expert for 33 s; waiting: rank 0 in");
}

TEST(Watchdog, NamesTheRankThatIsBehindIfAllWait) {
  std::vector<RankState> ranks(4, at(7, 9, Phase::exchange, "MPI_Waitall", 31));
  ranks[3] = at(7, 8, Phase::plan, "MPI_Allreduce", 31);
  EXPECT_MENTIONS(judge(ranks, k_host, 30), "rank 3 (host d) has been in step 7, block 2, phase plan for 31 s (MPI_Allreduce); waiting: rank 0 in");
  ranks[3].step = 6;
  ranks[3].moves = 100;
  EXPECT_MENTIONS(judge(ranks, k_host, 30), "rank 3 (host d) has been in step 6");
}

TEST(Watchdog, SaysThatAllWaitIfNobodyIsBehind) {
  const std::vector<RankState> ranks(4, at(7, 9, Phase::exchange, "MPI_Waitall", 31));
  EXPECT_MENTIONS(judge(ranks, k_host, 30), "nothing has moved for 31 s: all ranks wait; waiting: rank 0 in step 7");
  const std::vector<RankState> loops(4, at(7, 9, Phase::exchange, "", 31));
  EXPECT_MENTIONS(judge(loops, k_host, 30), "all ranks compute, rank 0 (host a) in step 7");
}

TEST(Watchdog, DoesNotMindARankThatHasFinished) {
  std::vector<RankState> ranks(2, at(7, 5, Phase::expert, "", 100));
  ranks[1].done = true;
  EXPECT_EQ(judge(ranks, k_host, 10), "");
}

}  // namespace
}  // namespace pleiad::comm
