// Mutual information of experts and labels whose meetings are spread over the ranks in any way.
#include "pleiad/train/pair_counts.hpp"

#include "support/alone.hpp"
#include "support/sample.hpp"

namespace pleiad::train {
namespace {

/// table [labels x experts], its meetings dealt out to the ranks one by one.
double information_of(const comm::Communicator& world, const std::vector<i64>& table, i64 labels, i64 experts) {
  PairCounts pairs(labels);
  i64 dealt = 0;
  for (i64 i = 0; i < labels * experts; ++i) {
    for (i64 n = 0; n < table[i]; ++n) {
      if (dealt++ % world.size() == world.rank()) pairs.add(i % experts, i / experts);
    }
  }
  EXPECT_EQ(pairs.table(world, experts), table);
  return pairs.information(world);
}

TEST(PairCounts, InformationIsZeroForIndependentAndOneForIdentical) {
  const comm::Communicator world = comm::Communicator::world();
  EXPECT_NEAR(information_of(world, {2, 4, 6, 3, 6, 9}, 2, 3), 0, 1e-12);
  EXPECT_NEAR(information_of(world, {5, 0, 0, 0, 0, 7, 0, 3, 0}, 3, 3), 1, 1e-12);
  // Two experts share a domain: knowing the expert tells the domain, so all of its entropy is known.
  EXPECT_NEAR(information_of(world, {4, 4, 0, 0, 0, 8}, 2, 3), 1, 1e-12);
  // One expert for two domains tells nothing.
  EXPECT_EQ(information_of(world, {4, 4}, 2, 1), 0);
  EXPECT_EQ(information_of(world, {3, 4}, 1, 2), 0) << "one domain has no entropy";
  EXPECT_EQ(information_of(world, {0, 0, 0, 0}, 2, 2), 0) << "no tokens";
}

TEST(PairCounts, InformationIsWhatTheHandFinds) {
  // P = 3/8, 1/8; 1/8, 3/8: information ln 2 - H(1/4), over ln 2.
  const double h = -(0.25 * std::log(0.25) + 0.75 * std::log(0.75));
  EXPECT_NEAR(information_of(comm::Communicator::world(), {3, 1, 1, 3}, 2, 2), (std::log(2.0) - h) / std::log(2.0), 1e-12);
}

TEST(PairCounts, GiveTheBitsOfOneRankAtAMillionExperts) {
  const comm::Communicator world = comm::Communicator::world(), me = test::just_me();
  const i64 labels = 5000;
  PairCounts dealt(labels), whole(labels);
  const Stream draw(3, Purpose::test);
  for (i64 i = 0; i < 40000; ++i) {
    const i64 label = static_cast<i64>(draw.below(static_cast<std::uint64_t>(2 * i), 70)) * 71;
    const i64 expert = label % 142 + static_cast<i64>(draw.below(static_cast<std::uint64_t>(2 * i + 1), 300)) * 3495;
    whole.add(expert, label);
    if (i / 7 % world.size() == world.rank()) dealt.add(expert, label);
  }
  // The expert tells one of two halves of the labels.
  const double truth = whole.information(me);
  EXPECT_EQ(dealt.information(world), truth);
  EXPECT_NEAR(truth, std::log(2.0) / std::log(70.0), 0.1);
}

// More meetings than are counted at once.
TEST(PairCounts, CountManyMeetings) {
  const comm::Communicator me = test::just_me();
  PairCounts pairs(2);
  for (i64 i = 0; i < (i64{1} << 20) + 5; ++i) pairs.add(i % 3, i % 2);
  // i mod 6 = 0, 4, 2 is label 0 with experts 0, 1, 2; 3, 1, 5 is label 1. 2^20 + 5 = 6 * 174763 + 3.
  EXPECT_EQ(pairs.table(me, 3), (std::vector<i64>{174764, 174763, 174764, 174763, 174764, 174763}));
}

}  // namespace
}  // namespace pleiad::train
