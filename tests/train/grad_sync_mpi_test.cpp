// Gradients summed across ranks and their norm: the same bits on any number of ranks, every expert counted once.
#include "pleiad/train/grad_sync.hpp"

#include "support/alone.hpp"
#include "support/sample.hpp"

namespace pleiad::train {
namespace {

/// Two replicated parameters and five experts of which this rank has its share; gradients are functions of names and global lanes.
struct Gradients {
  Gradients(comm::ProcessGrid over, i64 first_size) : grid(std::move(over)), lanes(8, 8, 1, grid.world().size(), grid.world().rank()) {
    params.add({.name = "a", .shape = {first_size, 3}, .init = {}});
    params.add({.name = "frozen", .shape = {5}, .init = {}, .trainable = false});
    for (i64 e = 0; e < 5; ++e) {
      const i64 owner = e % grid.expert_group().size();
      if (owner != grid.expert_group().rank()) continue;
      params.add({.name = fmt::format("e{}", e), .shape = {4, 2 + e}, .owner = Owner::expert, .init = {}, .expert = e, .slot = e});
    }
    params.allocate();
    params.allocate_grads(lanes.my_lanes().count);
    for (const ParamInfo& p : params.infos()) {
      const i64 blocks = p.owner == Owner::replicated ? lanes.my_lanes().count : 1;
      for (i64 lane = 0; lane < blocks; ++lane) {
        const i64 global = p.owner == Owner::replicated ? lanes.my_lanes().begin + lane : 0;
        const Stream draw = Stream::named(1, Purpose::test, fmt::format("{}{}", p.name, global));
        const auto g = params.grads(p.owner).subspan(static_cast<std::size_t>(lane * params.size(p.owner)));
        for (i64 i = 0; i < p.size(); ++i) g[static_cast<std::size_t>(p.offset + i)] = static_cast<real>(draw.normal(static_cast<std::uint64_t>(i)));
      }
    }
  }

  comm::ProcessGrid grid;
  LaneLayout lanes;
  ParamSet params;
};

TEST(GradSync, SumAndNormHaveTheBitsOfOneRank) {
  for (const i64 size : {2, 3000}) {
    Gradients here(test::grid_of_all(), size), truth(test::grid_of_me(), size);
    for (Gradients* g : {&here, &truth}) sync_gradients(g->params, g->lanes, g->grid);
    for (const ParamInfo& p : here.params.infos()) {
      const ParamInfo& same = *truth.params.find(p.name);
      const auto a = here.params.slice(p, here.params.grads(p.owner).first(static_cast<std::size_t>(here.params.size(p.owner))));
      const auto b = truth.params.slice(same, truth.params.grads(p.owner).first(static_cast<std::size_t>(truth.params.size(p.owner))));
      EXPECT_TRUE(test::same_bits<real>(std::span<const real>(a), std::span<const real>(b))) << p.name;
    }
    EXPECT_EQ(gradient_norm(here.params, here.grid), gradient_norm(truth.params, truth.grid));
  }
}

TEST(GradSync, NormIsThatOfAllTrainableParameters) {
  Gradients g(test::grid_of_me(), 2);
  sync_gradients(g.params, g.lanes, g.grid);
  double squares = 0;
  for (const ParamInfo& p : g.params.infos()) {
    if (!p.trainable) continue;
    for (const real v : g.params.slice(p, g.params.grads(p.owner).first(static_cast<std::size_t>(g.params.size(p.owner))))) {
      squares += static_cast<double>(v) * static_cast<double>(v);
    }
  }
  EXPECT_NEAR(gradient_norm(g.params, g.grid), std::sqrt(squares), 1e-9 * squares);
}

TEST(GradSync, DataGroupsAddTheirExpertGradientsAndCountThemOnce) {
  const i64 ranks = comm::Communicator::world().size();
  Gradients groups(test::grid_of_all(ranks), 2), alone(test::grid_of_me(), 2);
  for (Gradients* g : {&groups, &alone}) sync_gradients(g->params, g->lanes, g->grid);
  const auto together = groups.params.grads(Owner::expert), single = alone.params.grads(Owner::expert);
  for (std::size_t i = 0; i < single.size(); ++i) EXPECT_NEAR(together[i], static_cast<real>(ranks) * single[i], 1e-4);
  double squares = 0;
  for (const real v : single) squares += static_cast<double>(v) * static_cast<double>(v);
  const double whole = gradient_norm(alone.params, alone.grid), expected = whole * whole + squares * static_cast<double>(ranks * ranks - 1);
  EXPECT_NEAR(gradient_norm(groups.params, groups.grid), std::sqrt(expected), 1e-3);
}

TEST(GradSync, ClipScaleLimitsTheNormAndZeroIsNoLimit) {
  EXPECT_EQ(clip_scale(0.5, 1), 1);
  EXPECT_EQ(clip_scale(1, 1), 1);
  EXPECT_EQ(clip_scale(4, 1), 0.25);
  EXPECT_EQ(clip_scale(4, 0), 1);
}

}  // namespace
}  // namespace pleiad::train
