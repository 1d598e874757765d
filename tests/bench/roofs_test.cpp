#include "pleiad/bench/roofs.hpp"

#include <gtest/gtest.h>

#include "pleiad/bench/bytes.hpp"
#include "pleiad/bench/cases.hpp"
#include "support/problem.hpp"

namespace pleiad::bench {
namespace {

TEST(Products, OfEveryOrientationAndArithmeticPassTheirCheck) {
  using enum ops::Trans;
  for (const Arithmetic& arithmetic : arithmetics()) {
    for (const ops::Trans ta : {no, yes}) {
      for (const ops::Trans tb : {no, yes}) {
        Products p(arithmetic, {7, 20, 33, ta, tb, 3}, 5);
        EXPECT_FALSE(p.check().passed()) << "nothing was computed yet";
        p.run();
        EXPECT_TRUE(p.check().passed()) << arithmetic.name() << ": " << p.check().error;
        EXPECT_EQ(p.flops(), 2.0 * 7 * 20 * 33 * 3);
      }
    }
  }
}

TEST(Triad, ComputesAndCountsThreeArrays) {
  Triad t(1000);
  EXPECT_FALSE(t.check().passed());
  t.run();
  EXPECT_TRUE(t.check().passed());
  EXPECT_EQ(t.bytes(), 3.0 * 1000 * sizeof(real));
}

TEST(RandomRows, AreSummedUpExactly) {
  for (const i64 width : {1, 64, 100, 256}) {
    RandomRows r(3000, width, 1300, 1);
    for (int run = 0; run < 4; ++run) {
      r.run();
      EXPECT_TRUE(r.check().passed()) << width << ": " << r.check().error;
    }
    EXPECT_EQ(r.bytes(), 1300.0 * static_cast<double>(width) * sizeof(real));
  }
}

TEST(RandomRows, OfATableOfSomeSize) {
  EXPECT_EQ(table_rows_for(1 << 20, 256, 10), (1 << 20) / 256 / static_cast<i64>(sizeof(real)));
  EXPECT_EQ(table_rows_for(1, 256, 10), 10);
}

// By hand, for 10 rows of 256 floats: 10 * 256 * 4 = 10240 bytes each time they pass.
TEST(Bytes, OfRowsThatMustMove) {
  EXPECT_EQ(neuron_bytes(10, 256), 6 * 10240);  // u and v read, read again, two gradients written
  EXPECT_EQ(value_bytes(10, 256), 3 * 10240);
}

TEST(Cases, AreChosenByName) {
  EXPECT_EQ(chosen_cases("layer", layer_cases(), {}).size(), layer_cases().size());
  const std::vector<ModelCase> two = chosen_cases("layer", layer_cases(), {"64x256", "dense"});
  ASSERT_EQ(two.size(), 2u);
  EXPECT_EQ(two[0].name, "dense");
  EXPECT_EQ(two[1].name, "64x256");
  for (const char* part : {"--case 9x9", "step", "8x1024", "small"}) EXPECT_MENTIONS(test::problem_of([] { chosen_cases("step", step_cases(), {"8x1024", "9x9"}); }), part);
}

// The rows of a case are those of the layer of the same name: 4,096 tokens, k experts each, shared out evenly.
TEST(Cases, OfProductsHaveTheShapesOfTheirLayer) {
  const std::vector<ProductCase> all = chosen_cases("gemm", product_cases(), {"64x256/in", "64x256/d_w"});
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].shape.m, 4096 * 8 / 64);
  EXPECT_EQ(all[0].shape.n, 256);
  EXPECT_EQ(all[0].shape.k, 256);
  EXPECT_EQ(all[0].shape.count, 64);
  EXPECT_EQ(all[1].shape.k, 512);
}

}  // namespace
}  // namespace pleiad::bench
