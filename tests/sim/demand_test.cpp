#include "pleiad/sim/demand.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "pleiad/core/error.hpp"

namespace pleiad::sim {
namespace {

double sum(const std::vector<double>& v) { return std::accumulate(v.begin(), v.end(), 0.0); }

TEST(ZipfShares, AreInProportionToThePowers) {
  // 1 + 1/2 + 1/3 + 1/4 = 25/12
  const std::vector<double> share = zipf_shares(4, 1, 1);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(share[i], 12.0 / 25 / static_cast<double>(i + 1), 1e-12);
  EXPECT_EQ(zipf_shares(4, 2, 0), std::vector<double>(4, 0.5));
}

TEST(ZipfShares, GiveNoExpertMoreThanEveryToken) {
  // Of 2 the first would get 12/11: it gets 1, and 1/2 and 1/3 share the other 1.
  const std::vector<double> share = zipf_shares(3, 2, 1);
  EXPECT_DOUBLE_EQ(share[0], 1);
  EXPECT_DOUBLE_EQ(share[1], 0.6);
  EXPECT_DOUBLE_EQ(share[2], 0.4);
  for (const double s : zipf_shares(3, 3, 2)) EXPECT_NEAR(s, 1, 1e-12);
}

TEST(ChanceOfPlace, IsHypergeometricForExpertsThatAreAlike) {
  const std::vector<double> share(8, 0.25);
  const std::vector<std::int32_t> halves = {0, 0, 0, 0, 1, 1, 1, 1}, uneven = {0, 1, 1, 1, 1, 1, 2, 2};
  // 2 of 8: none of 4 in 6 of 28 pairs; none of 1 in 21; none of 5 in 3; none of 2 in 15.
  for (const double c : chance_of_place(share, 2, halves, 2)) EXPECT_NEAR(c, 22.0 / 28, 1e-12);
  const std::vector<double> chance = chance_of_place(share, 2, uneven, 4);
  EXPECT_NEAR(chance[0], 7.0 / 28, 1e-12);
  EXPECT_NEAR(chance[1], 25.0 / 28, 1e-12);
  EXPECT_NEAR(chance[2], 13.0 / 28, 1e-12);
  EXPECT_NEAR(chance[3], 0, 1e-12);  // no expert there
}

TEST(ChanceOfPlace, MixesNumbersOfExperts) {
  // Half the tokens take 1 of 8, half take 2: (1/2 + 22/28) / 2.
  const std::vector<double> chance = chance_of_place(std::vector<double>(8, 1.5 / 8), 1.5, std::vector<std::int32_t>{0, 0, 0, 0, 1, 1, 1, 1}, 2);
  EXPECT_NEAR(chance[0], 9.0 / 14, 1e-12);
  // Half take none.
  EXPECT_NEAR(chance_of_place(std::vector<double>(8, 0.5 / 8), 0.5, std::vector<std::int32_t>{0, 0, 0, 0, 1, 1, 1, 1}, 2)[0], 0.25, 1e-12);
}

TEST(ChanceOfPlace, TakesExpertsByTheirOdds) {
  // Shares 1/2, 1/3, 1/6 have odds 1, 1/2, 1/5; one of them is taken: 10/17, 5/17, 2/17.
  const std::vector<double> chance = chance_of_place(std::vector<double>{0.5, 1.0 / 3, 1.0 / 6}, 1, std::vector<std::int32_t>{0, 1, 2}, 3);
  EXPECT_NEAR(chance[0], 10.0 / 17, 1e-12);
  EXPECT_NEAR(chance[1], 5.0 / 17, 1e-12);
  EXPECT_NEAR(chance[2], 2.0 / 17, 1e-12);
  // One that every token takes.
  EXPECT_NEAR(chance_of_place(std::vector<double>{1, 0.5, 0.5}, 2, std::vector<std::int32_t>{0, 1, 1}, 2)[0], 1, 1e-12);
}

TEST(MadeUp, GivesEveryTokenItsExperts) {
  for (const char* skew : {"uniform", "zipf:1.1", "hot:0.4", "drift:1,10", "domains:1.3,4"}) {
    const auto demand = make_up(Skew::parse(skew, "--skew"), {.experts = 24, .seq_len = 50, .choices = 2, .seed = 5});
    std::vector<i64> sequences(static_cast<std::size_t>(demand->profiles()), 3);
    const std::vector<double> rows = demand->expert_rows({1, 7, 0}, sequences);
    EXPECT_NEAR(sum(rows), static_cast<double>(3 * demand->profiles() * 50 * 2), 1e-6) << skew;
    EXPECT_EQ(rows, demand->expert_rows({1, 7, 0}, sequences)) << skew;
    EXPECT_NE(rows, demand->expert_rows({2, 7, 0}, sequences)) << skew;
    EXPECT_NE(rows, demand->expert_rows({1, 8, 0}, sequences)) << skew;
    std::vector<std::int32_t> place(24);
    for (std::size_t e = 0; e < 24; ++e) place[e] = static_cast<std::int32_t>(e % 3);
    const Reach reach = demand->reach({1, 7, 0}, place, 3);
    for (i64 p = 0; p < demand->profiles(); ++p) {
      double entries = 0;
      for (i64 j = 0; j < 3; ++j) {
        entries += reach.entries_of(p, j);
        EXPECT_LE(reach.rows_of(p, j), 50.001);
        EXPECT_LE(reach.rows_of(p, j), reach.entries_of(p, j) + 1e-3);
      }
      EXPECT_NEAR(entries, 100, 1e-3) << skew;
    }
  }
}

TEST(MadeUp, FluctuatesAsIndependentTokensDo) {
  // 1,000 tokens, 1 of 10 experts: 100 rows each with a variance of 90.
  const auto demand = make_up({}, {.experts = 10, .seq_len = 1000, .choices = 1, .seed = 3});
  double mean = 0, square = 0;
  const int draws = 400;
  for (int step = 0; step < draws; ++step) {
    const double rows = demand->expert_rows({0, step, 0}, std::vector<i64>{1})[4];
    mean += rows / draws;
    square += rows * rows / draws;
  }
  EXPECT_NEAR(mean, 100, 2.5);
  EXPECT_NEAR(square - mean * mean, 90, 25);
}

TEST(MadeUp, HasOneHotExpert) {
  const auto demand = make_up(Skew::parse("hot:0.3", ""), {.experts = 16, .seq_len = 10000, .choices = 2, .seed = 1});
  std::vector<double> rows = demand->expert_rows({0, 0, 0}, std::vector<i64>{1});
  std::ranges::sort(rows);
  EXPECT_NEAR(rows.back(), 6000, 200);  // 0.3 of 20,000
  EXPECT_NEAR(rows.front(), 14000.0 / 15, 150);
}

TEST(MadeUp, DropsWhatIsOverTheCapacity) {
  // An expert takes at most a fifth of the tokens; the hot one would have 0.6 of them, the others have 0.2 / 15 each.
  const auto demand = make_up(Skew::parse("hot:0.6", ""), {.experts = 16, .seq_len = 10000, .choices = 1, .capacity = 0.2, .seed = 1});
  const std::vector<double> rows = demand->expert_rows({0, 0, 0}, std::vector<i64>{1});
  EXPECT_DOUBLE_EQ(std::ranges::max(rows), 2000);
  EXPECT_NEAR(sum(rows), 2000 + 4000, 150);
}

// Experts that are alike in the mean have more or fewer tokens by chance; what is too many is dropped, and does not go to the others.
TEST(MadeUp, DropsWhatChanceBringsOverTheCapacity) {
  const auto demand = make_up(Skew::parse("uniform", ""), {.experts = 16, .seq_len = 1600, .choices = 1, .capacity = 1.0 / 16, .seed = 1});
  const std::vector<double> rows = demand->expert_rows({0, 0, 0}, std::vector<i64>{1});
  EXPECT_DOUBLE_EQ(std::ranges::max(rows), 100);
  EXPECT_LT(sum(rows), 1590);
  EXPECT_GT(sum(rows), 1480);
}

TEST(MadeUp, DriftsFromOneOrderToAnother) {
  const auto demand = make_up(Skew::parse("drift:2,10", ""), {.experts = 64, .seq_len = 100000, .choices = 1, .seed = 2});
  const auto busiest = [&](i64 step) {
    const std::vector<double> rows = demand->expert_rows({0, step, 0}, std::vector<i64>{1});
    return std::pair(std::ranges::max_element(rows) - rows.begin(), *std::ranges::max_element(rows));
  };
  EXPECT_EQ(busiest(0).first, busiest(1).first);
  EXPECT_NE(busiest(0).first, busiest(10).first);
  EXPECT_LT(busiest(5).second, 0.8 * busiest(0).second);  // between two orders nobody has all of it
}

TEST(MadeUp, CountsWhatSeveralHeadsAskForTogether) {
  // 2 heads with 1 of 4 experts each: none of a half in 1/4 of the tokens.
  const auto demand = make_up({}, {.experts = 4, .seq_len = 8, .choices = 1, .heads = 2, .seed = 1});
  const Reach reach = demand->reach({}, std::vector<std::int32_t>{0, 0, 1, 1}, 2);
  EXPECT_NEAR(reach.rows_of(0, 0), 6, 1e-5);
  EXPECT_NEAR(reach.entries_of(0, 0), 8, 1e-5);
  EXPECT_NEAR(sum(demand->expert_rows({}, std::vector<i64>{2})), 32, 1e-9);
}

TEST(Replay, CountsWhatWasRecorded) {
  Recording r{.experts = 4, .seq_len = 2, .sequences = 2, .layers = {}, .what = "test"};
  r.layers.push_back({{0, 2, 4, 5, 5}, {0, 1, 1, 3, 2}});  // {0,1} {1,3} | {2} {}
  const auto demand = replay(r);
  EXPECT_EQ(demand->profiles(), 2);
  EXPECT_EQ(demand->profile_of(5, 0), 1);
  EXPECT_EQ(demand->expert_rows({}, std::vector<i64>{1, 3}), (std::vector<double>{1, 2, 3, 1}));
  const Reach reach = demand->reach({3, 0, 0}, std::vector<std::int32_t>{0, 0, 1, 1}, 2);
  EXPECT_EQ(reach.rows, (std::vector<float>{2, 1, 0, 1}));
  EXPECT_EQ(reach.entries, (std::vector<float>{3, 1, 0, 1}));
}

TEST(Skew, SaysWhatIsAllowed) {
  EXPECT_EQ(Skew::parse("domains:1.5,3", "").count, 3);
  for (const char* bad : {"", "even", "zipf", "zipf:", "zipf:a", "zipf:1,2", "zipf:-1", "hot:0", "hot:1.5", "drift:1", "drift:1,0.5", "domains:1,5000", "zipf:inf", "uniform:1", "zipf:1 "}) {
    try {
      Skew::parse(bad, "--skew");
      ADD_FAILURE() << bad;
    } catch (const UserError& e) {
      EXPECT_TRUE(std::string(e.what()).starts_with(fmt::format("--skew {}: must be uniform, zipf:EXPONENT", bad))) << e.what();
    }
  }
}

}  // namespace
}  // namespace pleiad::sim
