// The MoE layer on any number of ranks against the same layer on one rank: outputs, gradients and statistics, bit by bit.
#include "pleiad/comm/collectives.hpp"
#include "pleiad/comm/lane_sum.hpp"
#include "pleiad/model/moe_layer.hpp"
#include "model/tiny_model.hpp"

namespace pleiad::model {
namespace {

/// One MoE layer over a grid, run forward and backward on this rank's part of a fixed problem of eight lanes.
struct Layer {
  Layer(comm::ProcessGrid over, const Keys& keys, exchange::Combine combine, i64 sequences, i64 width = 12, i64 seq_len = 3)
      : grid(std::move(over)), spec(spec_of("moe", keys)), exchanger(exchange::make_exchanger({"auto", combine, 0}, grid.expert_group())) {
    const MoeConfig config = MoeConfig::read(spec, 3);
    if (config.hyper.on) hyper = std::make_unique<HyperNetwork>(params, "shared/", config.hyper, width);
    layer = std::make_unique<MoeLayer>(params, spec, config, "l/", width, 1, 3, grid, *exchanger, hyper.get());
    params.allocate();
    params.initialise(8);
    lanes = {8, sequences, seq_len, grid.world().size(), grid.world().rank()};
    const i64 tokens = lanes.tokens();
    x = test::my_rows(test::normal_matrix(tokens, width, 41), lanes);
    d_y = test::my_rows(test::normal_matrix(tokens, width, 42), lanes);
    y = Matrix(x.rows(), width);
    d_x = Matrix(x.rows(), width);
    params.allocate_grads(lanes.my_lanes().count);
    PhaseTimes times;
    const StepContext context{grid, lanes, times, 9, 4, true};
    layer->forward(params, x, {}, context, trace, y);
    // Once more, in the memory of the first time.
    layer->forward(params, x, {}, context, trace, y);
    LayerStatistics* const counted[] = {&trace.statistics};
    sum_statistics(this->grid.world(), counted);
    layer->backward(params, x, d_y, context, trace, 0.5, d_x);
    const auto size = static_cast<std::size_t>(params.size(Owner::replicated));
    comm::lane_sum<real>(grid.world(), lanes, params.grads(Owner::replicated).data(), params.size(Owner::replicated),
                         params.grads(Owner::replicated).first(size));
  }

  std::vector<real> gradient(const ParamInfo& p) { return params.whole_grad({p.index}); }
  /// The part that `theirs`, the same parameter elsewhere, has. pre: this rank has all of it.
  std::vector<real> gradient_of(const ParamInfo& theirs) {
    const std::vector<real> whole = gradient(*params.find(theirs.name));
    return {whole.begin() + theirs.first_element(), whole.begin() + theirs.first_element() + theirs.size()};
  }

  comm::ProcessGrid grid;
  Spec spec;
  ParamSet params;
  std::unique_ptr<exchange::Exchanger> exchanger;
  std::unique_ptr<HyperNetwork> hyper;
  std::unique_ptr<MoeLayer> layer;
  LaneLayout lanes;
  Matrix x, d_y, y, d_x;
  MoeTrace trace;
};

const Keys k_variants[] = {
    {{"preset", "switch"}, {"experts", "5"}, {"expert_width", "7"}, {"placement", "round_robin"}},
    {{"preset", "gshard"}, {"experts", "6"}, {"expert_widths", "1,20,3,9,9,2"}, {"placement", "balanced"}, {"expert_bias", "true"}},
    {{"preset", "mixtral"}, {"experts", "3"}, {"expert_width", "10"}},
    {{"router", "noisy_topk"}, {"k", "2"}, {"experts", "9"}, {"expert_width", "4"}, {"load_loss", "0.2"}, {"importance_loss", "0.1"}},
    {{"router", "dense"}, {"experts", "1"}, {"expert_width", "30"}},
    {{"k", "3"}, {"experts", "4"}, {"expert_width", "65"}, {"capacity_factor", "0.4"}, {"capacity_order", "probability"}},
    {{"preset", "hypermoe"}, {"experts", "5"}, {"expert_width", "7"}, {"capacity_factor", "0.7"}},
    {{"preset", "hypermoe"}, {"experts", "4"}, {"k", "2"}, {"expert_width", "6"}, {"hyper_input", "selected"}},
    {{"preset", "hypermoe"}, {"experts", "4"}, {"expert_width", "6"}, {"hyper_layer_embedding", "0"}},
    {{"preset", "moe_shared_adapter"}, {"experts", "5"}, {"expert_width", "7"}, {"adapter_width", "3"}, {"capacity_factor", "0.7"}},
    {{"preset", "moe_expert_adapter"}, {"experts", "4"}, {"expert_width", "6"}, {"capacity_factor", "0.7"}},
    {{"router", "random_k"}, {"k_histogram", "1,2,1"}, {"adapter", "per_expert"}, {"experts", "5"}, {"expert_width", "6"}},
    {{"preset", "xmoe"}, {"experts", "3"}, {"expert_width", "12"}, {"split", "4"}, {"capacity_factor", "1"}, {"adapter", "shared"}},
    {{"preset", "hmoe"}, {"experts", "6"}, {"expert_width", "9"}, {"width_distribution", "geometric"}},
    {{"preset", "deepseek"}, {"experts", "6"}, {"expert_width", "5"}},
    {{"router", "expert_choice"}, {"experts", "4"}, {"expert_width", "6"}, {"allow_noncausal", "true"}},
    {{"preset", "peer"}, {"sub_keys", "5"}, {"heads", "3"}, {"k", "2"}, {"query_dim", "4"}},
    {{"preset", "pkm"}, {"sub_keys", "4"}, {"heads", "2"}, {"k", "3"}, {"query_dim", "6"}, {"batch_norm", "false"}, {"shared_keys", "false"}},
};

TEST(MoeLayer, WithSumsAtHomeGivesTheBitsOfOneRank) {
  for (const Keys& keys : k_variants) {
    for (const i64 sequences : {16, 5}) {
      Layer all(test::grid_of_all(), keys, exchange::Combine::home, sequences), truth(test::grid_of_me(), keys, exchange::Combine::home, sequences);
      SCOPED_TRACE(all.trace.router->assignment.experts);
      EXPECT_TRUE(test::same_bits(all.y, test::my_rows(truth.y, all.lanes)));
      EXPECT_TRUE(test::same_bits(all.d_x, test::my_rows(truth.d_x, all.lanes)));
      for (const ParamInfo& p : all.params.infos()) {
        EXPECT_TRUE(test::same_bits(all.gradient(p), truth.gradient_of(p))) << p.name;
      }
    }
  }
}

// Large enough for the blocked matrix products of a BLAS, whose order of summation is another one than that of small products.
TEST(MoeLayer, WithSumsAtHomeGivesTheBitsOfOneRankInLargeProducts) {
  const Keys keys = {{"preset", "mixtral"}, {"experts", "5"}, {"expert_widths", "96,200,64,33,129"}, {"balance_loss", "0.1"}};
  Layer all(test::grid_of_all(), keys, exchange::Combine::home, 16, 160, 24), truth(test::grid_of_me(), keys, exchange::Combine::home, 16, 160, 24);
  EXPECT_TRUE(test::same_bits(all.y, test::my_rows(truth.y, all.lanes)));
  EXPECT_TRUE(test::same_bits(all.d_x, test::my_rows(truth.d_x, all.lanes)));
  for (const ParamInfo& p : all.params.infos()) {
    EXPECT_TRUE(test::same_bits(all.gradient(p), truth.gradient(*truth.params.find(p.name)))) << p.name;
  }
}

TEST(MoeLayer, WithSumsAtTheOwnerDiffersByRoundingOnly) {
  for (const Keys& keys : k_variants) {
    Layer all(test::grid_of_all(), keys, exchange::Combine::owner, 11), truth(test::grid_of_me(), keys, exchange::Combine::home, 11);
    EXPECT_TRUE(test::all_near(all.y.flat(), test::my_rows(truth.y, all.lanes).flat(), 1e-5));
    EXPECT_TRUE(test::all_near(all.d_x.flat(), test::my_rows(truth.d_x, all.lanes).flat(), 1e-5));
    for (const ParamInfo& p : all.params.infos()) {
      EXPECT_TRUE(test::all_near(all.gradient(p), truth.gradient_of(p), 1e-5)) << p.name;
    }
  }
}

TEST(MoeLayer, InDataGroupsGivesTheSameTokensAndTheSumOfExpertGradients) {
  const i64 ranks = comm::Communicator::world().size();
  if (ranks % 2 != 0) GTEST_SKIP() << "needs an even number of ranks";
  Layer all(test::grid_of_all(2), k_variants[0], exchange::Combine::home, 16), truth(test::grid_of_me(), k_variants[0], exchange::Combine::home, 16);
  EXPECT_TRUE(test::same_but_for_rounding(all.y, test::my_rows(truth.y, all.lanes)));
  EXPECT_TRUE(test::same_but_for_rounding(all.d_x, test::my_rows(truth.d_x, all.lanes)));
  comm::all_reduce_sum<real>(all.grid.data_group(), all.params.grads(Owner::expert));
  for (const ParamInfo& p : all.params.infos()) {
    EXPECT_TRUE(test::all_near(all.gradient(p), truth.gradient(*truth.params.find(p.name)), 1e-5)) << p.name;
  }
}

TEST(MoeLayer, StatisticsCountTheWholeBatch) {
  for (const Keys& keys : k_variants) {
    Layer all(test::grid_of_all(), keys, exchange::Combine::home, 13), truth(test::grid_of_me(), keys, exchange::Combine::home, 13);
    const LayerStatistics &s = all.trace.statistics, &t = truth.trace.statistics;
    EXPECT_EQ(s.expert_tokens, t.expert_tokens);
    EXPECT_EQ(s.selected, t.selected);
    EXPECT_EQ(s.router_entropy, t.router_entropy);
    const routing::Assignment& a = truth.trace.router->assignment;
    EXPECT_EQ(t.selected, a.entries());
    EXPECT_EQ(t.expert_tokens, routing::count_per_expert(a, true));
    EXPECT_EQ(t.dropped(), std::count(a.kept.begin(), a.kept.end(), 0));
  }
}

}  // namespace
}  // namespace pleiad::model
