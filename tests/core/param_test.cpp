// Parameters in flat blocks: alignment, views, lanes, initial values; and the matrices underneath.
#include "pleiad/core/param.hpp"

#include "support/sample.hpp"

namespace pleiad {
namespace {

ParamId add(ParamSet& set, const std::string& name, std::vector<i64> shape, Owner owner = Owner::replicated, Init init = Init::normal(0.5)) {
  return set.add({.name = name, .shape = std::move(shape), .owner = owner, .init = init});
}

bool aligned(const real* p) { return reinterpret_cast<std::uintptr_t>(p) % 64 == 0; }

TEST(ParamSet, ViewsAreAlignedApartAndWritable) {
  ParamSet set;
  std::vector<ParamId> ids;
  for (i64 i = 1; i <= 6; ++i) ids.push_back(add(set, fmt::format("p{}", i), {i, 7}, i % 2 ? Owner::replicated : Owner::expert));
  const ParamId line = add(set, "line", {3});
  set.allocate();
  EXPECT_EQ(set.value(line).rows, 1);
  EXPECT_EQ(set.value(line).cols, 3);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const MatrixView v = set.value(ids[i]);
    EXPECT_EQ(v.rows, static_cast<i64>(i) + 1);
    EXPECT_EQ(v.cols, 7);
    EXPECT_TRUE(aligned(v.data));
    for (real& x : v.flat()) {
      EXPECT_EQ(x, 0) << "values overlap or are not zero at first";
      x = static_cast<real>(i) + 1;
    }
  }
  const ParamSet& constant = set;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    for (const real x : constant.value(ids[i]).flat()) EXPECT_EQ(x, static_cast<real>(i) + 1);
  }
}

TEST(ParamSet, KeepsOneGradientPerLaneOfReplicatedParametersAndOneOfExperts) {
  ParamSet set;
  const ParamId dense = add(set, "dense", {3, 5}), expert = add(set, "expert", {2, 2}, Owner::expert);
  set.allocate();
  set.allocate_grads(3);
  EXPECT_EQ(set.grad_lanes(), 3);
  EXPECT_EQ(static_cast<i64>(set.grads(Owner::replicated).size()), 3 * set.size(Owner::replicated));
  EXPECT_EQ(static_cast<i64>(set.grads(Owner::expert).size()), set.size(Owner::expert));
  for (i64 lane = 0; lane < 3; ++lane) {
    EXPECT_TRUE(aligned(set.grad(dense, lane).data));
    EXPECT_EQ(set.grad(dense, lane).data - set.grad(dense, 0).data, lane * set.size(Owner::replicated));
    EXPECT_EQ(set.grad(expert, lane).data, set.grad(expert, 0).data);
  }
  EXPECT_THROW(set.grad(dense, 3), LogicError);
  set.grad(dense, 2)(1, 1) = 5;
  set.grad(expert)(1, 1) = 5;
  set.zero_grads();
  EXPECT_EQ(set.grad(dense, 2)(1, 1), 0);
  EXPECT_EQ(set.grad(expert)(1, 1), 0);
  set.allocate_grads(0);
  EXPECT_EQ(set.grad_lanes(), 1) << "a rank without lanes takes part in sums";
}

TEST(ParamSet, KeepsTouchedRowsOfParametersWithOneRowPerExpert) {
  ParamSet set;
  const ParamId rows = set.add({.name = "rows", .shape = {100, 4}, .owner = Owner::expert, .init = Init::ones(), .first_row = 30, .own_rows = 20, .family = "rows"});
  const ParamId expert = add(set, "expert", {2, 3}, Owner::expert), dense = add(set, "dense", {5});
  set.allocate();
  EXPECT_THROW(set.row_grads(rows), LogicError) << "gradients come later";
  set.allocate_grads(1);
  EXPECT_EQ(set.value(rows).rows, 20);
  EXPECT_TRUE(aligned(set.value(rows).data) && aligned(set.value(expert).data));
  EXPECT_EQ(static_cast<i64>(set.grads(Owner::expert).size()), set.grad_size(Owner::expert));
  EXPECT_LT(set.grad_size(Owner::expert), 80) << "no flat gradient for the rows";
  EXPECT_GE(set.size(Owner::expert), set.grad_size(Owner::expert) + 80);
  EXPECT_EQ(set.grad_size(Owner::replicated), set.size(Owner::replicated));
  EXPECT_THROW(set.grad(rows), LogicError);
  EXPECT_THROW(set.row_grads(expert), LogicError);
  EXPECT_THROW(set.row_grads(dense), LogicError);
  for (int pass = 1; pass <= 2; ++pass) {  // two backward passes add up
    set.row_grads(rows).touch(19)[2] += 3;
    set.grad(expert)(1, 1) += 3;
    std::vector<real> whole(80, 0);
    whole[19 * 4 + 2] = static_cast<real>(3 * pass);
    EXPECT_EQ(set.whole_grad(rows), whole);
    EXPECT_EQ(set.whole_grad(expert), (std::vector<real>{0, 0, 0, 0, static_cast<real>(3 * pass), 0}));
  }
  for (const real x : set.value(rows).flat()) EXPECT_EQ(x, 0) << "gradient in the values";
  set.zero_grads();
  EXPECT_EQ(set.row_grads(rows).count(), 0);
  EXPECT_EQ(set.whole_grad(rows), std::vector<real>(80, 0));
}

TEST(ParamSet, InitialValuesDoNotDependOnWhatElseIsThere) {
  ParamSet alone, among;
  const ParamId a = add(alone, "blocks/1/w", {4, 6}, Owner::expert);
  add(among, "other", {9, 9}, Owner::expert);
  add(among, "dense", {5});
  const ParamId b = add(among, "blocks/1/w", {4, 6}, Owner::replicated);
  for (ParamSet* set : {&alone, &among}) set->allocate(), set->initialise(3);
  EXPECT_TRUE(test::same_bits(test::rows_of(alone.value(a), 0, 4), test::rows_of(among.value(b), 0, 4)));
  among.initialise(4);
  EXPECT_FALSE(test::same_bits(test::rows_of(alone.value(a), 0, 4), test::rows_of(among.value(b), 0, 4)));
}

TEST(ParamSet, InitialValuesHaveTheirDistribution) {
  ParamSet set;
  const ParamId normal = add(set, "n", {100, 100}), uniform = add(set, "u", {100, 100}, Owner::replicated, Init::uniform(3)),
                ones = add(set, "o", {5}, Owner::replicated, Init::ones()), zeros = add(set, "z", {5}, Owner::replicated, Init::zeros());
  set.allocate();
  set.initialise(1);
  double square = 0, most = 0, mean = 0;
  for (const real x : set.value(normal).flat()) square += static_cast<double>(x) * static_cast<double>(x) / 10000;
  EXPECT_NEAR(square, 0.25, 0.02);
  for (const real x : set.value(uniform).flat()) most = std::max(most, std::abs(static_cast<double>(x))), mean += static_cast<double>(x) / 10000;
  EXPECT_LE(most, 3);
  EXPECT_GT(most, 2.9);
  EXPECT_NEAR(mean, 0, 0.1);
  for (const real x : set.value(ones).flat()) EXPECT_EQ(x, 1);
  for (const real x : set.value(zeros).flat()) EXPECT_EQ(x, 0);
}

TEST(ParamSet, FindsByNameAndRefusesLateOrShapelessParameters) {
  ParamSet set;
  const ParamId id = add(set, "here", {2});
  EXPECT_EQ(set.find("here")->name, "here");
  EXPECT_EQ(set.find("there"), nullptr);
  EXPECT_THROW(add(set, "bad", {}), LogicError);
  EXPECT_THROW(add(set, "bad", {1, 2, 3, 4}), LogicError);
  set.set_options(id, false, false);
  EXPECT_FALSE(set.info(id).trainable || set.info(id).decay);
  EXPECT_THROW(set.allocate_grads(1), LogicError) << "before the values";
  set.allocate();
  EXPECT_THROW(add(set, "late", {2}), LogicError);
}

TEST(Buffer, IsAlignedZeroedAndKeepsItsRoom) {
  Buffer<real> buffer(5);
  EXPECT_TRUE(aligned(buffer.data()));
  for (real& x : buffer) x = 3;
  real* first = buffer.data();
  buffer.resize(3);
  EXPECT_EQ(buffer.data(), first);
  EXPECT_EQ(buffer.size(), 3);
  for (const real x : buffer) EXPECT_EQ(x, 0);
  buffer.resize(100);
  EXPECT_TRUE(aligned(buffer.data()));
  for (const real x : buffer) EXPECT_EQ(x, 0);
  buffer.resize(0);
  EXPECT_TRUE(buffer.span().empty());
  EXPECT_THROW(buffer.resize(-1), LogicError);
}

TEST(Matrix, ViewsSeeRowsColumnsAndStrides) {
  Matrix m(4, 6);
  for (i64 i = 0; i < 4; ++i) {
    for (i64 j = 0; j < 6; ++j) m(i, j) = static_cast<real>(10 * i + j);
  }
  const MatrixView part = m.view().row_range(1, 2).col_range(2, 3);
  EXPECT_EQ(part(0, 0), 12);
  EXPECT_EQ(part(1, 2), 24);
  EXPECT_FALSE(part.contiguous());
  EXPECT_THROW(part.flat(), LogicError);
  EXPECT_TRUE(m.view().row_range(2, 2).contiguous());
  Matrix copy(2, 3), wrong(3, 3);
  copy_rows(part, copy);
  EXPECT_EQ(copy(1, 0), 22);
  EXPECT_THROW(copy_rows(part, wrong), LogicError);
}

}  // namespace
}  // namespace pleiad
