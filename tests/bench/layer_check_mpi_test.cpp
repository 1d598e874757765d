// Layers of every kind pass the checks of the benchmark, on any number of ranks; what is wrong does not.
#include <gtest/gtest.h>

#include "model/tiny_model.hpp"
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
