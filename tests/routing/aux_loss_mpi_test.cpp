// Auxiliary losses against their formulas, by hand for three tokens and by plain loops for more, on any number of ranks.
#include "pleiad/routing/aux_loss.hpp"

#include "pleiad/routing/select.hpp"
#include "support/alone.hpp"
#include "support/sample.hpp"

namespace pleiad::routing {
namespace {

double value_of(const std::vector<AuxLoss>& losses, const std::string& name) {
  for (const AuxLoss& loss : losses) {
    if (loss.name == name) return loss.value;
  }
  ADD_FAILURE() << "no loss " << name;
  return -1;
}

struct Global {
  Matrix logits, p;
  std::vector<real> lse;
  Assignment assignment;
};

/// The losses of this rank's share.
std::unique_ptr<RouterTrace> losses_of(const Global& g, const LaneLayout& lanes, const comm::Communicator& world, Spec& spec,
                                       const std::vector<i64>& widths) {
  ParamSet params;
  const AuxLosses losses({params, "", 1, widths}, spec);
  auto trace = std::make_unique<RouterTrace>();
  trace->assignment = test::tokens_of(g.assignment, lanes.first_token(), lanes.my_tokens());
  trace->logits = test::my_rows(g.logits, lanes);
  const std::vector<real> lse(g.lse.begin() + lanes.first_token(), g.lse.begin() + lanes.first_token() + lanes.my_tokens());
  AuxTrace aux;
  losses.forward(test::my_rows(g.p, lanes), lse, {world, lanes}, *trace, aux);
  return trace;
}

// Three tokens, two experts, p = (3/4, 1/4), (1/2, 1/2), (1/4, 3/4) from logits (ln 3, 0), (0, 0), (0, ln 3).
// Token 0 takes expert 0, token 1 both, token 2 expert 1 and then 0; the last choice was dropped, which no loss may notice.
TEST(AuxLosses, OfThreeTokensAreWhatTheHandFinds) {
  const comm::Communicator world = comm::Communicator::world();
  const LaneLayout lanes(4, 3, 1, world.size(), world.rank());
  Global g{Matrix(3, 2), Matrix(3, 2), {}, {}};
  const real ln3 = std::log(real{3}), ln2 = std::log(real{2});
  const real z[] = {ln3, 0, 0, 0, 0, ln3}, p[] = {0.75f, 0.25f, 0.5f, 0.5f, 0.25f, 0.75f};
  std::copy_n(z, 6, g.logits.data());
  std::copy_n(p, 6, g.p.data());
  g.lse = {2 * ln2, ln2, 2 * ln2};
  g.assignment.experts = 2;
  g.assignment.offset = {0, 1, 3, 5};
  g.assignment.expert = {0, 0, 1, 1, 0};
  g.assignment.weight = {1, 0.5f, 0.5f, 0.75f, 0.25f};
  g.assignment.kept = {1, 1, 1, 1, 0};
  const auto run = [&](const char* mode) {
    Spec spec("moe", {{"balance_loss", "1"}, {"balance_mode", mode}, {"penalty_loss", "2"}, {"entropy_loss", "3"}, {"z_loss", "4"},
                      {"importance_loss", "5"}});
    return losses_of(g, lanes, world, spec, {1, 3});
  };
  // P = (1/2, 1/2). First choices: 2/3, 1/3. Tokens with e: 3/3, 2/3. Assignments: 3/5, 2/5.
  EXPECT_NEAR(value_of(run("first")->losses, "balance"), 2 * (2.0 / 3 + 1.0 / 3) / 2, 1e-6);
  EXPECT_NEAR(value_of(run("tokens")->losses, "balance"), 2 * (1 + 2.0 / 3) / 2, 1e-6);
  EXPECT_NEAR(value_of(run("assignments")->losses, "balance"), 1, 1e-6);
  const auto trace = run("first");
  EXPECT_NEAR(value_of(trace->losses, "penalty"), 2 * (1 * 0.5 + 2.0 / 3 * 1.5) / 2, 1e-6) << "widths 1 and 3, mean 2";
  const double h = std::log(4.0) - 0.75 * std::log(3.0);  // of (3/4, 1/4)
  EXPECT_NEAR(value_of(trace->losses, "entropy"), (2 * h + std::log(2.0)) / 3, 1e-6);
  EXPECT_NEAR(trace->mean_entropy, (2 * h + std::log(2.0)) / 3, 1e-6);
  EXPECT_NEAR(value_of(trace->losses, "z"), (4 + 1 + 4) * std::log(2.0) * std::log(2.0) / 3, 1e-6);
  // Summed weights 1.75 and 1.25: mean 1.5, variance 1/16.
  EXPECT_NEAR(value_of(trace->losses, "importance"), 0.0625 / 2.25, 1e-6);
  ASSERT_EQ(trace->losses.size(), 5u);
  for (const AuxLoss& loss : trace->losses) {
    const double expected = loss.name == "balance" ? 1 : loss.name == "penalty" ? 2 : loss.name == "entropy" ? 3 : loss.name == "z" ? 4 : 5;
    EXPECT_EQ(loss.coefficient, expected) << loss.name;
  }
}

TEST(AuxLosses, AreLeftOutWhereTheirCoefficientIsZero) {
  const comm::Communicator world = comm::Communicator::world();
  const LaneLayout lanes(2, 1, 1, world.size(), world.rank());
  Global g{Matrix(1, 2), Matrix(1, 2), {0}, {}};
  g.assignment = select_top_k(g.p, 1);
  Spec spec("moe");
  EXPECT_TRUE(losses_of(g, lanes, world, spec, {1, 1})->losses.empty());
}

TEST(AuxLosses, EqualTheirFormulasOverTheWholeBatchOnAnyNumberOfRanks) {
  const comm::Communicator world = comm::Communicator::world();
  const LaneLayout lanes(8, 11, 3, world.size(), world.rank());
  const i64 tokens = lanes.tokens(), experts = 5;
  const std::vector<i64> widths{1, 2, 3, 4, 10};
  Global g{test::normal_matrix(tokens, experts, 3, 2), Matrix(tokens, experts), {}, {}};
  for (i64 t = 0; t < tokens; ++t) {
    double sum = 0;
    for (i64 e = 0; e < experts; ++e) sum += std::exp(static_cast<double>(g.logits(t, e)));
    for (i64 e = 0; e < experts; ++e) g.p(t, e) = static_cast<real>(std::exp(static_cast<double>(g.logits(t, e))) / sum);
    g.lse.push_back(static_cast<real>(std::log(sum)));
  }
  g.assignment = select_top_k(g.p, 2);
  weigh_by_probability(g.assignment, g.p, WeightRule::renormalized);
  std::vector<double> mean(experts, 0), first(experts, 0), chosen(experts, 0), weight(experts, 0);
  double entropy = 0, z = 0;
  for (i64 t = 0; t < tokens; ++t) {
    for (i64 e = 0; e < experts; ++e) {
      mean[e] += static_cast<double>(g.p(t, e)) / tokens;
      entropy -= static_cast<double>(g.p(t, e)) * std::log(static_cast<double>(g.p(t, e))) / tokens;
    }
    z += static_cast<double>(g.lse[t]) * static_cast<double>(g.lse[t]) / tokens;
    ++first[g.assignment.expert[2 * t]];
    for (i64 i = 2 * t; i < 2 * t + 2; ++i) ++chosen[g.assignment.expert[i]], weight[g.assignment.expert[i]] += g.assignment.weight[i];
  }
  double by_first = 0, by_tokens = 0, by_assignments = 0, penalty = 0, average = 0, variance = 0;
  for (i64 e = 0; e < experts; ++e) {
    by_first += experts * first[e] / tokens * mean[e];
    by_tokens += experts * chosen[e] / tokens * mean[e];
    by_assignments += experts * chosen[e] / (2 * tokens) * mean[e];
    penalty += experts * chosen[e] / tokens * static_cast<double>(widths[e]) / 4 * mean[e];
    average += weight[e] / experts;
  }
  for (i64 e = 0; e < experts; ++e) variance += (weight[e] - average) * (weight[e] - average) / experts;

  const std::pair<const char*, double> modes[] = {{"first", by_first}, {"tokens", by_tokens}, {"assignments", by_assignments}};
  for (const auto& [mode, expected] : modes) {
    Spec spec("moe", {{"balance_loss", "1"}, {"balance_mode", mode}, {"penalty_loss", "1"}, {"entropy_loss", "1"}, {"z_loss", "1"},
                      {"importance_loss", "1"}});
    const auto trace = losses_of(g, lanes, world, spec, widths);
    EXPECT_NEAR(value_of(trace->losses, "balance"), expected, 1e-5) << mode;
    EXPECT_NEAR(value_of(trace->losses, "penalty"), penalty, 1e-5);
    EXPECT_NEAR(value_of(trace->losses, "entropy"), entropy, 1e-5);
    EXPECT_NEAR(value_of(trace->losses, "z"), z, 1e-5);
    EXPECT_NEAR(value_of(trace->losses, "importance"), variance / (average * average), 1e-5);
  }
}

TEST(SquaredCv, IsVarianceOverSquaredMean) {
  const double v[] = {1, 2, 3, 6};
  double slope[4];
  EXPECT_DOUBLE_EQ(squared_cv(v, slope), 3.5 / 9);
  const double same[] = {5, 5};
  EXPECT_EQ(squared_cv(same, std::span(slope, 2)), 0);
  EXPECT_EQ(slope[0], 0);
}

}  // namespace
}  // namespace pleiad::routing
