// Expert capacity against a serial judge that sees the whole batch, on any number of ranks, with uneven lanes and empty ranks.
#include "pleiad/routing/capacity.hpp"

#include <algorithm>
#include <tuple>

#include "support/alone.hpp"
#include "support/sample.hpp"

namespace pleiad::routing {
namespace {

// Variable-length lists; probabilities on a coarse grid, so that the order by probability has ties.
Assignment random_lists(i64 tokens, i64 experts, Matrix& p, std::uint64_t seed) {
  const Stream draw(seed, Purpose::test);
  std::uint64_t next = 0;
  Assignment a;
  a.experts = experts;
  p.resize(tokens, experts);
  for (i64 t = 0; t < tokens; ++t) {
    for (i64 e = 0; e < experts; ++e) p(t, e) = static_cast<real>(draw.below(next++, 8)) / 8;
    const i64 most = static_cast<i64>(draw.below(next++, static_cast<std::uint64_t>(experts) + 1));
    const i64 first = static_cast<i64>(draw.below(next++, 2));  // crowds the first experts
    for (i64 i = 0; i < most; ++i) a.expert.push_back(static_cast<std::int32_t>((first + i) % experts));
    a.offset.push_back(a.entries());
  }
  a.weight.assign(a.expert.size(), 1);
  a.kept.assign(a.expert.size(), 1);
  return a;
}

std::vector<std::uint8_t> judged_serially(const Assignment& a, ConstMatrixView p, i64 limit, bool by_probability) {
  std::vector<std::uint8_t> kept(a.expert.size(), 1);
  for (i64 e = 0; e < a.experts; ++e) {
    std::vector<std::tuple<i64, double, i64, i64>> queue;  // choice, -p or 0, token, entry
    for (i64 t = 0; t < a.tokens(); ++t) {
      for (i64 i = a.offset[t]; i < a.offset[t + 1]; ++i) {
        if (a.expert[i] == e) queue.emplace_back(i - a.offset[t], by_probability ? -static_cast<double>(p(t, e)) : 0, t, i);
      }
    }
    std::sort(queue.begin(), queue.end());
    for (std::size_t i = static_cast<std::size_t>(limit); i < queue.size(); ++i) kept[std::get<3>(queue[i])] = 0;
  }
  return kept;
}

TEST(Capacity, EqualsASerialJudgeOnAnyNumberOfRanks) {
  const comm::Communicator world = comm::Communicator::world();
  struct Shape {
    i64 lanes, sequences, seq_len, experts;
    const char* factor;
  };
  i64 dropped = 0;
  std::uint64_t seed = 0;
  for (const Shape& s : {Shape{8, 13, 3, 5, "0.3"}, Shape{4, 1, 6, 3, "1"}, Shape{2, 7, 2, 1, "0.5"}, Shape{8, 3, 5, 7, "0.9"},
                         Shape{8, 24, 2, 4, "2"}, Shape{1, 5, 4, 6, "0.01"}, Shape{4, 0, 3, 2, "1"}}) {
    for (const char* order : {"position", "probability"}) {
      Matrix p;
      const Assignment all = random_lists(s.sequences * s.seq_len, s.experts, p, ++seed);
      Spec spec("moe", {{"capacity_factor", s.factor}, {"capacity_order", order}});
      const Capacity capacity(spec, 1);
      const LaneLayout lanes(s.lanes, s.sequences, s.seq_len, world.size(), world.rank());
      Assignment mine = test::tokens_of(all, lanes.first_token(), lanes.my_tokens());
      capacity.apply(mine, test::my_rows(p, lanes), {world, lanes, 0, 0, 0, true});

      const i64 limit = capacity.limit(lanes.tokens(), s.experts, true);
      const auto kept = judged_serially(all, p, limit, std::string(order) == "probability");
      dropped += std::count(kept.begin(), kept.end(), 0);
      const i64 begin = all.offset[lanes.first_token()];
      EXPECT_EQ(mine.kept, std::vector<std::uint8_t>(kept.begin() + begin, kept.begin() + begin + mine.entries()))
          << order << ", limit " << limit << ", " << s.experts << " experts, " << s.sequences << " sequences";
    }
  }
  EXPECT_GT(dropped, 50) << "the cases are too easy";
}

TEST(Capacity, LimitIsTheRoundedUpFairShareAndAtLeastTheMinimum) {
  const auto limit = [](const char* factor, const char* minimum, i64 choices, i64 tokens, i64 experts, bool training = true) {
    Spec spec("moe", {{"capacity_factor", factor}, {"min_capacity", minimum}});
    return Capacity(spec, choices).limit(tokens, experts, training);
  };
  EXPECT_EQ(limit("1", "0", 1, 64, 8), 8);
  EXPECT_EQ(limit("1.25", "0", 2, 64, 8), 20);
  EXPECT_EQ(limit("1", "0", 1, 65, 8), 9) << "rounded up";
  EXPECT_EQ(limit("1.1", "0", 1, 10, 1), 11) << "1.1 * 10 is a little more than 11 in binary";
  EXPECT_EQ(limit("1.1", "0", 1, 1000000, 1), 1100000);
  EXPECT_EQ(limit("1", "4", 1, 8, 8), 4) << "the minimum";
  EXPECT_EQ(limit("0", "4", 1, 8, 8), 0) << "dropless";
  EXPECT_EQ(limit("1", "0", 1, 64, 8, false), 0) << "dropless in evaluation";
}

TEST(Capacity, HoldsInEvaluationIfAskedFor) {
  Spec spec("moe", {{"capacity_factor", "1"}, {"eval_capacity", "train"}});
  EXPECT_EQ(Capacity(spec, 1).limit(64, 8, false), 8);
}

}  // namespace
}  // namespace pleiad::routing
