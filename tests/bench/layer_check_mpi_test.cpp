// Layers of every kind pass the checks of the benchmark, on any number of ranks; what is wrong does not.
#include <gtest/gtest.h>

#include "model/tiny_model.hpp"
#include "pleiad/bench/exchange.hpp"
#include "pleiad/bench/layer_check.hpp"
#include "support/alone.hpp"

namespace pleiad::bench {
namespace {

using model::Keys;

const Keys k_shape = {{"width", "32"}, {"layers", "1"}, {"heads", "2"}, {"seq_len", "8"}};
const Keys k_layers[] = {
    {{"experts", "1"}, {"expert_width", "24"}, {"k", "1"}},
    {{"experts", "6"}, {"expert_width", "16"}, {"k", "2"}, {"activation", "relu"}, {"expert_bias", "true"}},
    {{"experts", "5"}, {"expert_width", "24"}, {"k", "3"}, {"activation", "swiglu"}, {"capacity_factor", "0.5"}},
    {{"experts", "8"}, {"expert_width", "20"}, {"k", "2"}, {"width_distribution", "geometric"}, {"width_ratio", "9"}},
    {{"router", "noisy_topk"}, {"experts", "4"}, {"expert_width", "16"}, {"k", "2"}},
    {{"preset", "damoe"}, {"experts", "4"}, {"expert_width", "16"}},
    {{"preset", "hypermoe"}, {"experts", "4"}, {"expert_width", "16"}},
    {{"router", "hash"}, {"experts", "4"}, {"expert_width", "16"}},
    {{"preset", "peer"}, {"sub_keys", "9"}, {"heads", "2"}, {"k", "4"}},
    {{"preset", "pkm"}, {"sub_keys", "9"}, {"heads", "2"}, {"k", "4"}},
};

struct Bench {
  Bench(const Keys& moe, std::uint64_t seed = 3) : tiny(test::grid_of_all(), k_shape, moe), bench(*tiny.model, tiny.params, tiny.grid, 8, 24, seed) {}
  model::TinyModel tiny;
  LayerBench bench;
};

TEST(CheckLayer, PassesLayersOfEveryKind) {
  for (const Keys& keys : k_layers) {
    Bench b(keys);
    for (const Check& c : check_layer(b.bench)) EXPECT_TRUE(c.passed()) << model::name_of(keys) << c.what << ": " << c.error;
  }
}

/// An exchange that makes one mistake.
enum class Mistake { none, result_lost, result_moved, gradient_scaled, weight_gradient_lost, rows_swapped };

class MistakenTrip : public exchange::RoundTrip {
 public:
  MistakenTrip(std::unique_ptr<exchange::RoundTrip> trip, Mistake mistake, MatrixView home, std::span<real> d_weight)
      : trip_(std::move(trip)), mistake_(mistake), home_(home), d_weight_(d_weight) {}

  ConstMatrixView arrive() override {
    const ConstMatrixView rows = trip_->arrive();
    if (mistake_ != Mistake::rows_swapped) return rows;
    swapped_.resize(rows.rows, rows.cols);
    for (i64 r = 0; r < rows.rows; ++r) std::copy_n(rows.row(std::min(r ^ 1, rows.rows - 1)), rows.cols, swapped_.row(r));
    return swapped_;
  }
  experts::Landing landing() override { return trip_->landing(); }
  void leave(std::span<const real> d_row_weight) override { trip_->leave(d_row_weight); }
  void finish() override {
    trip_->finish();
    const bool backward = !d_weight_.empty();
    for (i64 t = 0; t < home_.rows; ++t) {
      for (i64 j = 0; j < home_.cols; ++j) {
        if (mistake_ == Mistake::result_lost && !backward && j == 5) home_(t, j) = 0;
        if (mistake_ == Mistake::result_moved && !backward) home_(t, j) += real(1e-3);
        if (mistake_ == Mistake::gradient_scaled && backward) home_(t, j) *= real(1.1);
      }
    }
    for (real& d : d_weight_) d = mistake_ == Mistake::weight_gradient_lost ? 0 : d;
  }

 private:
  std::unique_ptr<exchange::RoundTrip> trip_;
  Mistake mistake_;
  MatrixView home_;
  std::span<real> d_weight_;
  Matrix swapped_;
};

class MistakenExchanger : public exchange::Exchanger {
 public:
  MistakenExchanger(const comm::Communicator& group, Mistake mistake) : right_(exchange::make_exchanger({"auto", exchange::Combine::home, 0}, group)), mistake_(mistake) {}
  exchange::ExchangePlan make_plan(const routing::Assignment& a, const ExpertMap& map, const LaneLayout& lanes, i64 width) const override {
    return right_->make_plan(a, map, lanes, width);
  }
  std::unique_ptr<exchange::RoundTrip> start_forward(ConstMatrixView x, const routing::Assignment& a, const exchange::ExchangePlan& plan, exchange::Kept& kept,
                                                     MatrixView y) const override {
    return std::make_unique<MistakenTrip>(right_->start_forward(x, a, plan, kept, y), mistake_, y, std::span<real>{});
  }
  std::unique_ptr<exchange::RoundTrip> start_backward(ConstMatrixView d_y, const routing::Assignment& a, const exchange::ExchangePlan& plan, MatrixView d_x,
                                                      std::span<real> d_weight) const override {
    return std::make_unique<MistakenTrip>(right_->start_backward(d_y, a, plan, d_x, d_weight), mistake_, d_x, d_weight);
  }

 private:
  std::unique_ptr<exchange::Exchanger> right_;
  Mistake mistake_;
};

/// The checks of a layer with a mistake in its exchange, and of that exchange, that did not pass.
std::vector<std::string> caught(Mistake mistake) {
  const comm::ProcessGrid grid = test::grid_of_all();
  const MistakenExchanger exchanger(grid.expert_group(), mistake);
  Spec model_spec = model::spec_of("model", k_shape), moe_spec = model::spec_of("moe", k_layers[1]);
  ParamSet params;
  const model::ModelConfig config = model::ModelConfig::read(model_spec, model::k_tiny_vocab);
  const model::MoeConfig moe = model::MoeConfig::read(moe_spec, config.layers);
  const model::LanguageModel model(params, config, moe_spec, moe, grid, exchanger);
  params.allocate();
  LayerBench bench(model, params, grid, 8, 24, 3);
  std::vector<Check> checks = check_layer(bench);
  for (const Check& c : ExchangeBench(bench, exchanger, exchange::Combine::home).check()) checks.push_back(c);
  std::vector<std::string> failed;
  for (const Check& c : checks) {
    if (!c.passed()) failed.push_back(c.what.substr(0, c.what.find(' ')));
  }
  return failed;
}

TEST(CheckLayer, CatchesMistakes) {
  using Names = std::vector<std::string>;
  EXPECT_EQ(caught(Mistake::none), Names{});
  EXPECT_EQ(caught(Mistake::result_moved), (Names{"y", "results"}));
  EXPECT_EQ(caught(Mistake::gradient_scaled), (Names{"d_x"}));
  EXPECT_EQ(caught(Mistake::weight_gradient_lost), (Names{"d_x"}));
  EXPECT_EQ(caught(Mistake::result_lost), (Names{"y", "d_x", "gradient", "results"}));
  const Names swapped = caught(Mistake::rows_swapped);
  for (const char* check : {"y", "d_x", "rows", "results"}) EXPECT_EQ(std::ranges::count(swapped, check), 1) << check;
}

TEST(CompareLayers, TellsEqualFromUnequalOnes) {
  const comm::Communicator world = comm::Communicator::world();
  Bench a(k_layers[1]), same(k_layers[1]), other(k_layers[1], 4);
  for (Bench* b : {&a, &same, &other}) time_once(world, b->bench.timed());
  for (const Check& c : compare_layers(a.bench, same.bench, 0)) EXPECT_TRUE(c.passed()) << c.what << ": " << c.error;
  for (const Check& c : compare_layers(a.bench, other.bench, 0.5)) EXPECT_FALSE(c.passed()) << c.what << ": " << c.error;
}

// 192 tokens of width 32, two experts of width 16 each: 12 T k D h.
TEST(LayerBench, CountsUsefulOperationsOfTheWholeBatch) {
  const comm::Communicator world = comm::Communicator::world();
  Bench b(k_layers[1]), gated({{"experts", "5"}, {"expert_width", "24"}, {"k", "3"}, {"activation", "swiglu"}});
  time_once(world, b.bench.timed());
  EXPECT_EQ(b.bench.flops(), 12.0 * 192 * 2 * 32 * 16);
  EXPECT_EQ(b.bench.row_bytes(), 0);
  time_once(world, gated.bench.timed());
  EXPECT_EQ(gated.bench.flops(), 18.0 * 192 * 3 * 32 * 24);
}

// Each of 81 neurons that has a token moves six rows of 32 numbers.
TEST(LayerBench, CountsBytesOfRowsThatWereUsed) {
  Bench b(k_layers[8]);
  time_once(comm::Communicator::world(), b.bench.timed());
  const std::vector<i64>& tokens = b.bench.last().trace.statistics.expert_tokens;
  ASSERT_EQ(tokens.size(), 81u);
  const i64 used = std::ranges::count_if(tokens, [](i64 n) { return n > 0; });
  EXPECT_GT(used, 20);
  EXPECT_EQ(b.bench.row_bytes(), static_cast<double>(used * 6 * 32 * static_cast<i64>(sizeof(real))));
}

}  // namespace
}  // namespace pleiad::bench
