// Statistics of a hand-made assignment, every number by hand, spread over the ranks in any way; with padding, drops, tokens chosen by
// nobody, an expert that a token has twice, and more experts than any list should hold.
#include "pleiad/model/layer_statistics.hpp"

#include <limits>
#include <numeric>

#include "model/tiny_classifier.hpp"

namespace pleiad::model {
namespace {

struct Entry {
  std::int32_t expert;
  real weight;
  std::uint8_t kept;
};
using Tokens = std::vector<std::vector<Entry>>;

// Two sequences of four tokens; the last token is padding.
const Tokens k_tokens = {
    {{0, 0.5, 1}, {1, 0.25, 1}},                // K = 2
    {{0, 0.5, 0}, {2, 0.5, 1}},                 // first choice over the capacity, second kept: K = 1
    {{0, 0.75, 0}},                             // emptied
    {},                                         // chosen by nobody
    {{1, 0.5, 1}, {1, 0.25, 1}, {0, 0.25, 0}},  // twice the same expert (heads): K = 2, the third choice dropped
    {{3, 0.125, 1}},
    {{3, 1, 1}, {0, 0.5, 1}, {2, 0.5, 1}},      // K = 3, in the last bin of "2 or more"
    {},                                         // padding
};
const std::vector<double> k_importance = {0.5, 0.25, 0, 1, 0.5, 0.75, 1, 0};

LayerStatistics statistics_of(const comm::Communicator& world, const Tokens& all, i64 experts, bool padding) {
  const LaneLayout lanes(8, 2, 4, world.size(), world.rank());
  routing::RouterTrace trace;
  trace.assignment.experts = experts;
  trace.mean_entropy = 0.75;
  std::vector<std::uint8_t> real_tokens;
  for (i64 t = lanes.first_token(); t < lanes.first_token() + lanes.my_tokens(); ++t) {
    for (const Entry& e : all[t]) {
      trace.assignment.expert.push_back(e.expert);
      trace.assignment.weight.push_back(e.weight);
      trace.assignment.kept.push_back(e.kept);
    }
    trace.assignment.offset.push_back(trace.assignment.entries());
    trace.importance.push_back(k_importance[t]);
    real_tokens.push_back(t != 7);
  }
  routing::RoutingContext context{.world = world, .lanes = lanes};
  if (padding) {
    context.real_tokens = real_tokens;
    context.real_in_batch = 7;
  }
  LayerStatistics s;
  // What an earlier batch left must not show.
  s.expert_tokens.assign(static_cast<std::size_t>(experts), 0);
  s.expert_weight = s.expert_tokens;
  s.used = {1};
  s.expert_tokens[1] = s.expert_weight[1] = s.dropped_first = s.tokens_emptied = s.tokens_unchosen = s.generated_experts = 77;
  count_statistics(trace, context, 3, s);
  LayerStatistics twin = s;  // another layer in the same message
  LayerStatistics* const both[] = {&s, &twin};
  sum_statistics(world, both);
  EXPECT_EQ(s.expert_tokens, twin.expert_tokens);
  EXPECT_EQ(s.used, twin.used);
  return s;
}

i64 fixed(double x) { return static_cast<i64>(x / k_fixed_unit); }

TEST(LayerStatistics, AreWhatTheHandCounts) {
  const LayerStatistics s = statistics_of(comm::Communicator::world(), k_tokens, 4, true);
  EXPECT_EQ(s.expert_tokens, (std::vector<i64>{2, 3, 2, 2}));
  EXPECT_EQ(s.expert_weight, (std::vector<i64>{fixed(1), fixed(1), fixed(1), fixed(1.125)}));
  EXPECT_EQ(s.used, (std::vector<i64>{0, 1, 2, 3}));
  EXPECT_EQ(s.k_tokens, (std::vector<i64>{2, 2, 3}));
  EXPECT_EQ(s.position_tokens, (std::vector<i64>{2, 2, 2, 1}));
  EXPECT_EQ(s.position_kept, (std::vector<i64>{4, 2, 3, 0}));
  EXPECT_EQ(s.position_importance, (std::vector<i64>{fixed(1), fixed(1), fixed(1), fixed(1)}));
  EXPECT_EQ(s.tokens, 7);
  EXPECT_EQ(s.padding, 1);
  EXPECT_EQ(s.selected, 12);
  EXPECT_EQ(s.kept(), 9);
  EXPECT_EQ(s.dropped(), 3);
  EXPECT_EQ(s.dropped_first, 2);
  EXPECT_EQ(s.tokens_emptied, 1);
  EXPECT_EQ(s.tokens_unchosen, 1);
  EXPECT_EQ(s.router_entropy, 0.75);
}

TEST(LayerStatistics, WithoutPaddingCountEveryToken) {
  const LayerStatistics s = statistics_of(comm::Communicator::world(), k_tokens, 4, false);
  EXPECT_EQ(s.tokens, 8);
  EXPECT_EQ(s.padding, 0);
  EXPECT_EQ(s.k_tokens, (std::vector<i64>{3, 2, 3}));
  EXPECT_EQ(s.tokens_unchosen, 2);
  EXPECT_EQ(s.position_tokens, (std::vector<i64>{2, 2, 2, 2}));
}

// Three ways for the lists of experts to travel: with the rest, on their own, and only what was used.
TEST(LayerStatistics, AreTheSameForAnyNumberOfExperts) {
  Tokens many = k_tokens;
  for (std::int32_t i = 0; i < 2000; ++i) many[4].push_back({i % 3, 0.25, 1});
  for (const i64 experts : {4, 4096, 4097, 100000}) {
    for (const Tokens& tokens : {k_tokens, many}) {
      const LayerStatistics here = statistics_of(comm::Communicator::world(), tokens, experts, true), truth = statistics_of(test::just_me(), tokens, experts, true);
      EXPECT_EQ(static_cast<i64>(here.expert_tokens.size()), experts);
      EXPECT_EQ(here.expert_tokens, truth.expert_tokens);
      EXPECT_EQ(here.expert_weight, truth.expert_weight);
      EXPECT_EQ(here.used, (std::vector<i64>{0, 1, 2, 3}));
      EXPECT_EQ(here.kept(), tokens[4].size() == 3 ? 9 : 2009);
      EXPECT_EQ(here.expert_tokens[3], 2);
      EXPECT_EQ(here.expert_weight[3], fixed(1.125));
    }
  }
}

TEST(LayerStatistics, OfTwoBatchesAddUp) {
  LayerStatistics sum;
  const LayerStatistics one = statistics_of(comm::Communicator::world(), k_tokens, 4, true);
  LayerStatistics other = one;
  other.tokens = 21;
  other.router_entropy = 0.25;
  sum.add(one);
  EXPECT_EQ(sum.router_entropy, 0.75);
  sum.add(other);
  EXPECT_EQ(sum.expert_tokens, (std::vector<i64>{4, 6, 4, 4}));
  EXPECT_EQ(sum.k_tokens, (std::vector<i64>{4, 4, 6}));
  EXPECT_EQ(sum.position_kept, (std::vector<i64>{8, 4, 6, 0}));
  EXPECT_EQ(sum.tokens, 28);
  EXPECT_EQ(sum.padding, 2);
  EXPECT_EQ(sum.dropped(), 6);
  EXPECT_EQ(sum.dropped_first, 4);
  EXPECT_EQ(sum.tokens_emptied, 2);
  EXPECT_EQ(sum.tokens_unchosen, 2);
  EXPECT_NEAR(sum.router_entropy, (7 * 0.75 + 21 * 0.25) / 28, 1e-15);
}

TEST(LayerStatistics, FixedPointKeepsWhatIsNotFiniteOut) {
  EXPECT_EQ(to_fixed(std::numeric_limits<double>::quiet_NaN()), 0);
  EXPECT_EQ(to_fixed(std::numeric_limits<double>::infinity()), 0);
  EXPECT_EQ(to_fixed(1e300), i64{1} << 50);
  EXPECT_EQ(to_fixed(-0.5), -(i64{1} << 29));
  EXPECT_EQ(k_bins(5, false), 6);
  EXPECT_EQ(k_bins(1000, false), 65);
  EXPECT_EQ(k_bins(16, true), 65) << "sixteen experts, but any number of heads";
  EXPECT_EQ(position_places(8), 8);
  EXPECT_EQ(position_places(100), 32);
}

// A classifier has padding: nothing of it may show, and all ranks agree.
TEST(LayerStatistics, OfAClassifierLeavePaddingOut) {
  const Keys moe = with(k_tiny_moe, {{"layers", "all"}, {"router", "damoe"}, {"importance", "received"}, {"k_rule", "budget"}, {"capacity_factor", "1"}});
  TinyClassifier here(test::grid_of_all(), k_tiny_model, moe), truth(test::grid_of_me(), k_tiny_model, moe);
  const auto run = [](TinyClassifier& c) {
    const LaneLayout lanes = c.lanes(8, 6, 4);
    const StepContext context{c.grid, lanes, c.times, 1, 0, true};
    auto trace = std::make_unique<ModelTrace>();
    c.model->forward(c.params, TinyClassifier::batch(lanes, 3), context, *trace);
    return trace;
  };
  const auto a = run(here), b = run(truth);
  i64 real_tokens = 0;
  for (const i64 length : TinyClassifier::batch(truth.lanes(8, 6, 4), 3).length) real_tokens += length;
  for (const std::size_t block : {0u, 1u}) {
    const LayerStatistics &s = a->blocks[block].moe.statistics, &t = b->blocks[block].moe.statistics;
    EXPECT_EQ(s.tokens, real_tokens);
    EXPECT_EQ(s.padding, 24 - real_tokens);
    EXPECT_EQ(s.position_tokens.back(), 0) << "no sequence is that long";
    EXPECT_EQ(s.tokens_unchosen, 0);
    EXPECT_EQ(std::accumulate(s.k_tokens.begin(), s.k_tokens.end(), i64{0}), real_tokens);
    for (const auto list : {&LayerStatistics::expert_tokens, &LayerStatistics::expert_weight, &LayerStatistics::k_tokens, &LayerStatistics::position_kept,
                            &LayerStatistics::position_importance}) {
      EXPECT_EQ(s.*list, t.*list);
    }
    EXPECT_GT(s.position_importance[0], 0);
    EXPECT_EQ(s.dropped_first, t.dropped_first);
    EXPECT_EQ(s.tokens_emptied, t.tokens_emptied);
  }
}

}  // namespace
}  // namespace pleiad::model
