// Experts lent to other ranks: outputs and gradients are those of the exchange, and lending is decided by bytes alone.
#include "pleiad/comm/collectives.hpp"
#include "model/tiny_model.hpp"

namespace pleiad::model {
namespace {

using exchange::Combine;

struct Pass {
  ModelTrace trace;
  std::vector<real> grads;  // of all parameters of this rank, replicated ones as far as its own lanes go
};

Pass run(TinyModel& tiny, const LaneLayout& lanes, bool training = true) {
  const Batch batch = TinyModel::batch(lanes, true);
  Pass pass;
  tiny.params.allocate_grads(lanes.my_lanes().count);
  const StepContext context{tiny.grid, lanes, tiny.times, 11, 2, training};
  tiny.model->forward(tiny.params, batch, context, pass.trace);
  if (training) tiny.model->backward(tiny.params, batch, context, pass.trace);
  for (const ParamInfo& p : tiny.params.infos()) {
    for (i64 lane = 0; lane < (p.owner == Owner::replicated ? tiny.params.grad_lanes() : 1); ++lane) {
      const std::vector<real> grad = tiny.params.whole_grad({p.index}, lane);
      pass.grads.insert(pass.grads.end(), grad.begin(), grad.end());
    }
  }
  return pass;
}

i64 shadows(const Pass& pass) {
  i64 n = 0;
  for (const BlockTrace& block : pass.trace.blocks) n += static_cast<i64>(block.moe.shadow.borrowed.size());
  return comm::sum_over<i64>(comm::Communicator::world(), n);
}

void expect_near(std::span<const real> a, std::span<const real> b, const std::string& what) {
  ASSERT_EQ(a.size(), b.size());
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])) / (1e-3 + std::abs(static_cast<double>(b[i]))));
  EXPECT_LT(worst, 2e-3) << what;
}

const Keys k_many = with(k_tiny_moe, {{"layers", "all"}, {"k", "2"}, {"expert_widths", "2,1,3,1"}});

TEST(ShadowExperts, GiveTheOutputsAndGradientsOfTheExchange) {
  const i64 ranks = comm::Communicator::world().size();
  for (const Combine combine : {Combine::home, Combine::owner}) {
    for (const Keys& keys : {k_many, with(k_many, {{"activation", "swiglu"}}), with(k_many, {{"preset", "gshard"}, {"capacity_factor", "1"}}),
                             with(with(k_many, k_small_hyper), {{"preset", "hypermoe"}})}) {
      TinyModel lends(test::grid_of_all(), k_tiny_model, keys, combine, 2), truth(test::grid_of_all(), k_tiny_model, keys, combine);
      const LaneLayout lanes = lends.lanes(8, 160);
      const Pass here = run(lends, lanes), there = run(truth, lanes);
      EXPECT_EQ(shadows(here) > 0, ranks > 1) << name_of(keys);
      EXPECT_EQ(shadows(there), 0);
      expect_near(here.trace.log_p.view().flat(), there.trace.log_p.view().flat(), "log_p of " + name_of(keys));
      expect_near(here.grads, there.grads, "gradients of " + name_of(keys));
    }
  }
}

TEST(ShadowExperts, AreAtMostSoManyAndNoneInEvaluationOrWhereTheyWouldCostMore) {
  const i64 ranks = comm::Communicator::world().size();
  TinyModel one(test::grid_of_all(), k_tiny_model, k_many, Combine::home, 1);
  const Pass pass = run(one, one.lanes(8, 160));
  for (const BlockTrace& block : pass.trace.blocks) {
    const ShadowTrace& t = block.moe.shadow;
    EXPECT_EQ(t.lent.size() + t.borrowed.size(), ranks > 1 ? 1u : 0u);
    EXPECT_EQ(t.bytes > 0, ranks > 1);
  }
  EXPECT_EQ(shadows(run(one, one.lanes(8, 160), false)), 0);
  TinyModel wide(test::grid_of_all(), k_tiny_model, with(k_many, {{"expert_widths", "40,50,60,70"}}), Combine::home, 4);
  EXPECT_EQ(shadows(run(wide, wide.lanes(8, 1))), 0) << "few tokens";
}

TEST(ShadowExperts, AreNotLentInsideANodeWhereOnlyBytesBetweenNodesCount) {
  const comm::Communicator world = comm::Communicator::world();
  const ExpertMap map(ExpertPlacement::block, {1, 1, 1, 1}, world.size());
  ParamSet params;
  const experts::FeedForwardKind kind = experts::FeedForwardKind::from("relu", false);
  const experts::FfnBank bank(params, "", kind, 8, {1, 1, 1, 1}, map, world.rank(), 0, 1);
  const LaneLayout lanes(8, 1000, 1, world.size(), world.rank());
  routing::Assignment a;
  a.experts = 4;
  for (i64 t = 0; t < lanes.my_tokens(); ++t) {
    a.expert.push_back(static_cast<std::int32_t>(t % 4));
    a.offset.push_back(a.entries());
  }
  a.weight.assign(a.expert.size(), 1);
  a.kept.assign(a.expert.size(), 1);
  for (const bool by_node : {false, true}) {
    ShadowTrace trace;
    ShadowExperts({4, Combine::home, by_node}, bank, kind, 8, {1, 1, 1, 1}, map, world, 0).choose(a, lanes, trace);
    EXPECT_EQ(trace.lent.size() + trace.borrowed.size(), by_node || world.size() == 1 ? 0u : 4u);
  }
}

TEST(ShadowExperts, StayInTheirExpertGroup) {
  if (comm::Communicator::world().size() % 2 != 0) return;
  TinyModel lends(test::grid_of_all(2), k_tiny_model, k_many, Combine::home, 3), truth(test::grid_of_all(2), k_tiny_model, k_many);
  const LaneLayout lanes = lends.lanes(8, 320);
  const Pass here = run(lends, lanes), there = run(truth, lanes);
  EXPECT_EQ(shadows(here) > 0, lends.grid.expert_group().size() > 1);
  expect_near(here.grads, there.grads, "gradients");
}

}  // namespace
}  // namespace pleiad::model
