// The exchange on one rank, on a problem small enough to write down, and the dry run that counts for more ranks.
#include <numeric>

#include "exchange/sample_problem.hpp"
#include "pleiad/exchange/dry_run.hpp"

namespace pleiad::exchange {
namespace {

// Token 0: experts 2 and 0; token 1: nothing; token 2: expert 2, dropped, then 0.
routing::Assignment three_tokens() {
  routing::Assignment a;
  a.experts = 3;
  a.offset = {0, 2, 2, 4};
  a.expert = {2, 0, 2, 0};
  a.weight = {0.5f, 2, 8, 4};
  a.kept = {1, 1, 0, 1};
  return a;
}

const ExpertMap k_three(ExpertPlacement::block, {1, 1, 1}, 1);
const LaneLayout k_lanes(1, 3, 1, 1, 0);

Matrix column(std::vector<real> numbers) {
  Matrix m(static_cast<i64>(numbers.size()), 1);
  std::copy(numbers.begin(), numbers.end(), m.data());
  return m;
}

TEST(LocalExchanger, SortsRowsByExpertAndKeepsTokenOrder) {
  const ExchangePlan plan = LocalExchanger().make_plan(three_tokens(), k_three, k_lanes, 1);
  EXPECT_EQ(plan.at_experts.runs, (std::vector<experts::ExpertRun>{{0, 0, 2}, {2, 2, 3}}));
  EXPECT_EQ(plan.at_experts.token, (std::vector<std::int32_t>{0, 2, 0}));
  EXPECT_EQ(plan.at_experts.weight, (std::vector<real>{2, 4, 0.5f}));
  EXPECT_EQ(plan.row_entry, (std::vector<std::int32_t>{1, 2, 0}));
  EXPECT_EQ(plan.return_slot, (std::vector<i64>{0, 1, -1, 2}));
}

/// Gives `results` (and the gradients of the weights) to a trip as if experts had made them.
void finish_with(RoundTrip& trip, const ExchangePlan& plan, ConstMatrixView results, bool forward, std::span<const real> d_row_weight) {
  pretend_experts(plan.at_experts, {0, 1, 2}, trip.arrive(), trip.landing(), forward, [&](i64 r, real* row, i64) { row[0] = results(r, 0); });
  trip.leave(d_row_weight);
  trip.finish();
}

TEST(LocalExchanger, CombinesWeightedRowsAndGivesZeroToATokenWithoutExperts) {
  const LocalExchanger exchanger;
  const routing::Assignment a = three_tokens();
  const ExchangePlan plan = exchanger.make_plan(a, k_three, k_lanes, 1);
  Matrix x = column({10, 20, 30}), y = column({7, 7, 7});
  Kept kept;
  finish_with(*exchanger.start_forward(x, a, plan, kept, y), plan, column({100, 1000, 10}), true, {});
  EXPECT_TRUE(test::same_bits(y, column({205, 0, 4000})));
}

TEST(LocalExchanger, AdjointAddsRowsAndGivesDroppedAssignmentsNoWeightGradient) {
  const LocalExchanger exchanger;
  const routing::Assignment a = three_tokens();
  const ExchangePlan plan = exchanger.make_plan(a, k_three, k_lanes, 1);
  Matrix d_y = column({10, 20, 30}), d_x = column({1, 2, 3});
  std::vector<real> d_weight(4, 99);
  finish_with(*exchanger.start_backward(d_y, a, plan, d_x, d_weight), plan, column({100, 1000, 10}), false, std::vector<real>{5, 6, 7});
  EXPECT_TRUE(test::same_bits(d_x, column({111, 2, 1003})));
  EXPECT_EQ(d_weight, (std::vector<real>{7, 5, 0, 6}));
}

TEST(LocalExchanger, TakesTheSameExpertTwiceInOneToken) {
  routing::Assignment a;
  a.experts = 1;
  a.offset = {0, 2};
  a.expert = {0, 0};
  a.weight = {2, 3};
  a.kept = {1, 1};
  const LocalExchanger exchanger;
  const ExchangePlan plan = exchanger.make_plan(a, ExpertMap(ExpertPlacement::block, {1}, 1), LaneLayout(1, 1, 1, 1, 0), 1);
  Matrix x(1, 1), y(1, 1);
  Kept kept;
  finish_with(*exchanger.start_forward(x, a, plan, kept, y), plan, column({10, 100}), true, {});
  EXPECT_EQ(y(0, 0), 320);
}

TEST(LocalExchanger, SendsNothing) {
  const ExchangePlan plan = LocalExchanger().make_plan(three_tokens(), k_three, k_lanes, 1);
  EXPECT_EQ(plan.traffic.bytes() + plan.traffic.messages(), 0);
  EXPECT_TRUE(plan.bytes_to.empty());
}

TEST(ExpertOrder, RefusesAnExpertThatIsNotThere) {
  ExchangePlan plan;
  Arrivals arrivals(1);
  arrivals.set(0, 0, 2, 1);
  EXPECT_THROW(order_by_expert(plan, arrivals, 2), LogicError);
}

TEST(DryRun, PlansAndComputesLikeOneRank) {
  for (const Case& c : cases()) {
    const routing::Assignment a = sample_assignment(c, 5);
    const LaneLayout lanes(c.lanes, c.sequences, c.seq_len, 1, 0);
    const ExpertMap map(ExpertPlacement::block, std::vector<i64>(static_cast<std::size_t>(c.experts), 1), 1);
    const Matrix x = test::normal_matrix(lanes.tokens(), c.width, 1), d_y = test::normal_matrix(lanes.tokens(), c.width, 2);
    const Pass local = run(LocalExchanger(), a, map, 0, lanes, x, d_y, x);
    const Pass dry = run(DryRunExchanger(NodeLayout::of_size(16, 4), Combine::home, Kind::hierarchical), a, map, 0, lanes, x, d_y, x);
    EXPECT_TRUE(test::same_bits(dry.y, local.y)) << c;
    EXPECT_TRUE(test::same_bits(dry.d_x, local.d_x)) << c;
    EXPECT_TRUE(test::same_bits(dry.d_weight, local.d_weight)) << c;
  }
}

TEST(DryRun, PlanHoldsTheSumOverPretendedRanks) {
  const Case& c = cases().front();
  const routing::Assignment a = sample_assignment(c, 5);
  const LaneLayout alone(c.lanes, c.sequences, c.seq_len, 1, 0), three(c.lanes, c.sequences, c.seq_len, 3, 0);
  const DryRunExchanger dry(NodeLayout::of_size(3, 1), Combine::owner, Kind::all_to_all);
  const ExpertMap map(ExpertPlacement::block, std::vector<i64>(static_cast<std::size_t>(c.experts), 1), 1);
  Traffic sum;
  for (const Traffic& t : dry.traffic_per_rank(a, map, three, c.width)) {
    sum.forward_bytes += t.forward_bytes;
    sum.backward_messages += t.backward_messages;
  }
  const ExchangePlan plan = dry.make_plan(a, map, alone, c.width);
  const Traffic& total = plan.traffic;
  EXPECT_EQ(plan.bytes_to.size(), 9u) << "three ranks, pair by pair";
  EXPECT_EQ(std::accumulate(plan.bytes_to.begin(), plan.bytes_to.end(), i64{0}), total.bytes());
  for (std::size_t r = 0; r < 3; ++r) EXPECT_EQ(plan.bytes_to[4 * r], 0) << "nothing to itself";
  EXPECT_TRUE(DryRunExchanger(NodeLayout::of_size(k_most_paired_ranks + 1, 1), Combine::owner, Kind::all_to_all).make_plan(a, map, alone, c.width).bytes_to.empty());
  EXPECT_GT(total.forward_bytes, 0);
  EXPECT_EQ(total.forward_bytes, sum.forward_bytes);
  EXPECT_EQ(total.backward_messages, sum.backward_messages);
}

TEST(ExchangeConfig, ReadsItsSectionAndNamesWhatIsAllowed) {
  Spec spec("exchange", {{"kind", "dry_run"}, {"combine", "owner"}, {"pretend_ranks", "64"}});
  const ExchangeConfig config = ExchangeConfig::read(spec);
  EXPECT_EQ(config.kind, "dry_run");
  EXPECT_EQ(config.combine, Combine::owner);
  EXPECT_EQ(config.pretend_ranks, 64);
  Spec wrong("exchange", {{"combine", "away"}});
  const std::string message = test::message_of<UserError>([&] { ExchangeConfig::read(wrong); });
  EXPECT_TRUE(test::contains(message, "exchange.combine = away")) << message;
  EXPECT_TRUE(test::contains(message, "home, owner")) << message;
}

}  // namespace
}  // namespace pleiad::exchange
