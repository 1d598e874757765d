// Gradients summed across ranks and their norm: the same bits on any number of ranks, every expert counted once.
#include "pleiad/train/grad_sync.hpp"

#include <functional>

#include "pleiad/comm/collectives.hpp"
#include "model/tiny_classifier.hpp"

namespace pleiad::train {
namespace {

/// Two replicated parameters, five experts and two times a hundred experts of one row, of which this rank has its share; gradients are
/// functions of names and global lanes. Of the rows of "r0" every third one has a gradient, of "r1" those that `touches` picks.
struct Gradients {
  Gradients(comm::ProcessGrid over, i64 first_size, std::function<bool(i64)> touches = [](i64 row) { return row > 90; }) : grid(std::move(over)), lanes(8, 8, 1, grid.world().size(), grid.world().rank()) {
    params.add({.name = "a", .shape = {first_size, 3}, .init = {}});
    params.add({.name = "frozen", .shape = {5}, .init = {}, .trainable = false});
    for (i64 e = 0; e < 5; ++e) {
      const i64 owner = e % grid.expert_group().size();
      if (owner != grid.expert_group().rank()) continue;
      params.add({.name = fmt::format("e{}", e), .shape = {4, 2 + e}, .owner = Owner::expert, .init = {}, .expert = e, .slot = e});
    }
    const Range own = share(k_rows, grid.expert_group().size(), grid.expert_group().rank());
    for (const char* name : {"r0", "r1"}) {
      params.add({.name = name, .shape = {k_rows, 5}, .owner = Owner::expert, .init = {}, .first_row = own.begin, .own_rows = own.count, .family = name});
    }
    params.allocate();
    params.allocate_grads(lanes.my_lanes().count);
    for (i64 row = own.begin; row < own.end(); ++row) {
      for (const char* name : {"r0", "r1"}) {
        if (name == std::string("r0") ? row % 3 != 0 : !touches(row)) continue;
        real* g = params.row_grads({params.find(name)->index}).touch(row - own.begin);
        const Stream draw = Stream::named(1, Purpose::test, name);
        for (i64 j = 0; j < 5; ++j) g[j] = static_cast<real>(draw.normal(static_cast<std::uint64_t>(5 * row + j)));
      }
    }
    for (const ParamInfo& p : params.infos()) {
      if (p.row_block()) continue;
      const i64 blocks = p.owner == Owner::replicated ? lanes.my_lanes().count : 1;
      for (i64 lane = 0; lane < blocks; ++lane) {
        const i64 global = p.owner == Owner::replicated ? lanes.my_lanes().begin + lane : 0;
        const Stream draw = Stream::named(1, Purpose::test, fmt::format("{}{}", p.name, global));
        const auto g = params.grads(p.owner).subspan(static_cast<std::size_t>(lane * params.size(p.owner)));
        for (i64 i = 0; i < p.size(); ++i) g[static_cast<std::size_t>(p.offset + i)] = static_cast<real>(draw.normal(static_cast<std::uint64_t>(i)));
      }
    }
  }

  static constexpr i64 k_rows = 100;
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
      const std::vector<real> a = here.params.whole_grad({p.index}), whole = truth.params.whole_grad({same.index});
      const std::vector<real> b(whole.begin() + p.first_element(), whole.begin() + p.first_element() + p.size());
      EXPECT_TRUE(test::same_bits(a, b)) << p.name;
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
    for (const real v : g.params.whole_grad({p.index})) {
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
  for (const ParamInfo& p : alone.params.infos()) {
    if (!p.row_block()) continue;
    const std::vector<real> sum = groups.params.whole_grad({p.index}), one = alone.params.whole_grad({p.index});
    for (std::size_t i = 0; i < one.size(); ++i) EXPECT_NEAR(sum[i], static_cast<real>(ranks) * one[i], 1e-4) << p.name;
    for (const real v : one) squares += static_cast<double>(v) * static_cast<double>(v);
  }
  const double whole = gradient_norm(alone.params, alone.grid), expected = whole * whole + squares * static_cast<double>(ranks * ranks - 1);
  EXPECT_NEAR(gradient_norm(groups.params, groups.grid), std::sqrt(expected), 1e-3);
}

// Every rank of a data group brings other rows; all end with the union, in the same bits.
TEST(GradSync, DataGroupsUniteTheRowsThatTheirRanksTouched) {
  const i64 ranks = comm::Communicator::world().size(), me = comm::Communicator::world().rank();
  Gradients g(test::grid_of_all(ranks), 2, [&](i64 row) { return row % ranks == me || row == 50; });
  sync_gradients(g.params, g.lanes, g.grid);
  const SparseRows& rows = g.params.row_grads({g.params.find("r1")->index});
  EXPECT_EQ(rows.count(), Gradients::k_rows);
  const Stream draw = Stream::named(1, Purpose::test, "r1");
  for (i64 row = 0; row < Gradients::k_rows; ++row) {
    for (i64 j = 0; j < 5 && rows.slot(row) >= 0; ++j) {
      const double times = row == 50 ? static_cast<double>(ranks) : 1;
      EXPECT_NEAR(rows.at(rows.slot(row))[j], times * draw.normal(static_cast<std::uint64_t>(5 * row + j)), 1e-5) << row;
    }
  }
  std::vector<real> first = rows.expanded();
  const std::vector<real> mine = first;
  comm::broadcast<real>(g.grid.world(), first);
  EXPECT_TRUE(test::same_bits(mine, first));
  g.params.zero_grads();
  sync_gradients(g.params, g.lanes, g.grid);
  EXPECT_EQ(rows.count(), 0) << "nobody touched a row";
  EXPECT_EQ(gradient_norm(g.params, g.grid), 0);
}

/// Gradients of a step of `tiny`, as backward leaves them, or summed meanwhile in buckets of that size.
template <class Tiny>
std::vector<real> step_gradients(Tiny& tiny, const LaneLayout& lanes, const model::Batch& batch, i64 bucket) {
  tiny.params.allocate_grads(lanes.my_lanes().count);
  model::StepContext context{tiny.grid, lanes, tiny.times, 11, 2, true};
  GradientSum sum(tiny.grid, lanes, tiny.times, bucket);
  std::vector<real> all;
  for (int step = 0; step < 2; ++step) {
    tiny.params.zero_grads();
    model::ModelTrace trace;
    tiny.model->forward(tiny.params, batch, context, trace);
    if (bucket) {
      sum.begin(tiny.params);
      context.listener = &sum;
    }
    tiny.model->backward(tiny.params, batch, context, trace);
    bucket ? sum.finish() : sync_gradients(tiny.params, lanes, tiny.grid);
    for (const ParamInfo& p : tiny.params.infos()) {
      const std::vector<real> grad = tiny.params.whole_grad({p.index});
      all.insert(all.end(), grad.begin(), grad.end());
    }
  }
  return all;
}

// Buckets within a parameter, over several, over blocks, and one for all.
TEST(GradientSum, WhileBackwardGoesOnHasTheBitsOfTheSumAfterwards) {
  using namespace model;
  const Keys all = with(k_tiny_moe, {{"layers", "all"}, {"k", "2"}}), hyper = with(with(all, k_small_hyper), {{"preset", "hypermoe"}});
  const std::pair<Keys, Keys> cases[] = {{{}, all}, {{{"tied_head", "true"}}, k_tiny_moe}, {{}, hyper}, {{}, with(all, {{"adapter", "per_expert"}})}, {{}, {{"preset", "dense"}}}};
  for (const auto& [model_keys, moe_keys] : cases) {
    TinyModel tiny(test::grid_of_all(), with(k_tiny_model, model_keys), moe_keys);
    const LaneLayout lanes = tiny.lanes(8, 11);
    const Batch batch = TinyModel::batch(lanes, true);
    const std::vector<real> truth = step_gradients(tiny, lanes, batch, 0);
    for (const i64 bucket : {7, 64, 500, 1 << 20}) EXPECT_TRUE(test::same_bits(step_gradients(tiny, lanes, batch, bucket), truth)) << name_of(moe_keys) << bucket;
  }
}

TEST(GradientSum, AlsoOfAClassifierAndOverDataGroups) {
  using namespace model;
  const i64 ranks = comm::Communicator::world().size();
  for (const i64 groups : {i64{1}, ranks}) {
    TinyClassifier tiny(test::grid_of_all(groups), k_tiny_model, k_tiny_moe);
    const LaneLayout lanes = tiny.lanes(8, 9, 4);
    const Batch batch = TinyClassifier::batch(lanes, 4);
    EXPECT_TRUE(test::same_bits(step_gradients(tiny, lanes, batch, 100), step_gradients(tiny, lanes, batch, 0))) << groups << " data groups";
  }
}

TEST(GradSync, ClipScaleLimitsTheNormAndZeroIsNoLimit) {
  EXPECT_EQ(clip_scale(0.5, 1), 1);
  EXPECT_EQ(clip_scale(1, 1), 1);
  EXPECT_EQ(clip_scale(4, 1), 0.25);
  EXPECT_EQ(clip_scale(4, 0), 1);
}

}  // namespace
}  // namespace pleiad::train
