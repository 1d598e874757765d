// Adam on row-sparse parameters: dense mode against a plain dense AdamW, lazy mode against what it promises.
#include "pleiad/train/optimizer.hpp"
#include "support/sample.hpp"

namespace pleiad::train {
namespace {

constexpr i64 k_rows = 12, k_cols = 5;
const AdamConfig k_config{.beta1 = 0.8, .beta2 = 0.95, .eps = 1e-6, .weight_decay = 0.3};

/// One row-sparse parameter and, beside it, a flat one to make sure that they do not meet.
struct Table {
  explicit Table(SparseAdam mode, bool decay = false) {
    id = params.add({.name = "rows", .shape = {k_rows, k_cols}, .owner = Owner::expert, .init = {}, .decay = decay, .first_row = 0, .own_rows = k_rows, .family = "rows"});
    flat = params.add({.name = "flat", .shape = {3, 3}, .owner = Owner::expert, .init = {}, .expert = 0, .slot = 0});
    params.allocate();
    params.allocate_grads(1);
    test::fill_normal(params.value(id).flat(), 7);
    AdamConfig config = k_config;
    config.sparse = mode;
    adam.emplace(config, params);
  }
  /// The gradient of row r in update s, a function of both.
  static std::vector<real> gradient(i64 row, i64 update) {
    std::vector<real> g(k_cols);
    test::fill_normal(g, static_cast<std::uint64_t>(1000 * update + row));
    return g;
  }
  void update(i64 number, const std::vector<i64>& rows) {
    params.zero_grads();
    for (const i64 r : rows) std::ranges::copy(gradient(r, number), params.row_grads(id).touch(r));
    adam->step(params, rate(number), k_scale, number);
  }
  RowMoments& moments() { return adam->row_moments(id); }
  std::vector<real> values() {
    const auto v = params.value(id).flat();
    return {v.begin(), v.end()};
  }
  static double rate(i64 update) { return 0.1 / static_cast<double>(update); }
  static constexpr double k_scale = 0.5;

  ParamSet params;
  ParamId id, flat;
  std::optional<Adam> adam;
};

/// AdamW as it would be if all gradients and moments were there, in the same numbers.
struct DenseReference {
  explicit DenseReference(bool with_decay) : decay(with_decay), w(k_rows * k_cols), m(w.size(), 0), v(w.size(), 0) { test::fill_normal(w, 7); }
  void update(i64 number, const std::vector<i64>& rows) {
    const real b1 = static_cast<real>(k_config.beta1), b2 = static_cast<real>(k_config.beta2), r1 = static_cast<real>(1 - k_config.beta1), r2 = static_cast<real>(1 - k_config.beta2);
    const real c1 = static_cast<real>(1 / (1 - std::pow(k_config.beta1, number))), c2 = static_cast<real>(1 / (1 - std::pow(k_config.beta2, number)));
    const real rate = static_cast<real>(Table::rate(number)), eps = static_cast<real>(k_config.eps), keep = static_cast<real>(decay ? 1 - Table::rate(number) * k_config.weight_decay : 1);
    std::vector<real> g(w.size(), 0);
    for (const i64 r : rows) std::ranges::copy(Table::gradient(r, number), g.begin() + r * k_cols);
    for (std::size_t i = 0; i < w.size(); ++i) {
      const real gi = g[i] * static_cast<real>(Table::k_scale);
      m[i] = b1 * m[i] + r1 * gi;
      v[i] = b2 * v[i] + r2 * gi * gi;
      w[i] = w[i] * keep - rate * (m[i] * c1) / (std::sqrt(v[i] * c2) + eps);
    }
  }
  bool decay;
  std::vector<real> w, m, v;
};

const std::vector<i64> k_all{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
/// Rows of each update: 2 and 9 come back after some, 5 later, 7 never.
const std::vector<std::vector<i64>> k_some{{9, 2}, {0, 2}, {}, {3, 9}, {2, 11}, {5}, {9, 5}};

TEST(SparseAdam, DenseModeHasTheBitsOfAPlainDenseAdam) {
  for (const bool decay : {false, true}) {
    Table table(SparseAdam::dense, decay);
    DenseReference reference(decay);
    for (std::size_t s = 0; s < k_some.size(); ++s) {
      const i64 number = static_cast<i64>(s) + 1;
      table.update(number, k_some[s]);
      reference.update(number, k_some[s]);
      EXPECT_TRUE(test::same_bits(table.values(), reference.w)) << "update " << number << (decay ? " with decay" : "");
      const std::vector<real> state = table.moments().rows.expanded();
      for (i64 i = 0; i < k_rows * k_cols; ++i) {
        const i64 row = i / k_cols, j = i % k_cols;
        EXPECT_EQ(state[row * 2 * k_cols + j], reference.m[i]);
        EXPECT_EQ(state[row * 2 * k_cols + k_cols + j], reference.v[i]);
      }
      for (const i64 update : table.moments().update) EXPECT_EQ(update, number);
    }
    EXPECT_EQ(table.moments().rows.count(), 6) << "rows that never had a gradient have no state";
  }
}

TEST(SparseAdam, LazyModeHasTheBitsOfDenseModeIfEveryRowHasAGradientEachTime) {
  for (const bool decay : {false, true}) {
    Table lazy(SparseAdam::lazy, decay), dense(SparseAdam::dense, decay);
    for (i64 s = 1; s <= 6; ++s) {
      lazy.update(s, k_all);
      dense.update(s, k_all);
    }
    EXPECT_TRUE(test::same_bits(lazy.values(), dense.values()));
    EXPECT_TRUE(test::same_bits(lazy.moments().rows.expanded(), dense.moments().rows.expanded()));
  }
}

TEST(SparseAdam, LazyMomentsAreThoseOfDenseAdamWhereverThereIsAGradient) {
  Table lazy(SparseAdam::lazy);
  DenseReference reference(false);
  for (std::size_t s = 0; s < k_some.size(); ++s) {
    lazy.update(static_cast<i64>(s) + 1, k_some[s]);
    reference.update(static_cast<i64>(s) + 1, k_some[s]);
    const std::vector<real> state = lazy.moments().rows.expanded();
    for (const i64 row : k_some[s]) {
      for (i64 j = 0; j < k_cols; ++j) {
        const double m = static_cast<double>(reference.m[row * k_cols + j]), v = static_cast<double>(reference.v[row * k_cols + j]);
        EXPECT_NEAR(state[row * 2 * k_cols + j], m, 1e-6 * std::abs(m)) << "row " << row << ", update " << s + 1;
        EXPECT_NEAR(state[row * 2 * k_cols + k_cols + j], v, 1e-6 * v) << "row " << row << ", update " << s + 1;
      }
      EXPECT_EQ(lazy.moments().update[lazy.moments().rows.slot(row)], static_cast<i64>(s) + 1);
    }
  }
}

// What an update does to a row: the step of Adam with these moments and the bias correction of all updates, decay once.
TEST(SparseAdam, LazyModeMovesRowsWithAGradientOnlyAndByTheStepOfAdam) {
  Table lazy(SparseAdam::lazy, true);
  for (std::size_t s = 0; s < k_some.size(); ++s) {
    const i64 number = static_cast<i64>(s) + 1;
    const std::vector<real> before = lazy.values();
    lazy.update(number, k_some[s]);
    const std::vector<real> after = lazy.values(), state = lazy.moments().rows.expanded();
    for (i64 row = 0; row < k_rows; ++row) {
      const bool touched = std::ranges::find(k_some[s], row) != k_some[s].end();
      for (i64 j = 0; j < k_cols; ++j) {
        const std::size_t i = static_cast<std::size_t>(row * k_cols + j);
        if (!touched) {
          EXPECT_EQ(after[i], before[i]) << "row " << row << ", update " << number;
          continue;
        }
        const double m = state[row * 2 * k_cols + j] / (1 - std::pow(k_config.beta1, number)), v = state[row * 2 * k_cols + k_cols + j] / (1 - std::pow(k_config.beta2, number));
        const double expected = before[i] * (1 - Table::rate(number) * k_config.weight_decay) - Table::rate(number) * m / (std::sqrt(v) + k_config.eps);
        EXPECT_NEAR(after[i], expected, 1e-6) << "row " << row << ", update " << number;
      }
    }
  }
  EXPECT_EQ(lazy.moments().rows.touched(), (std::vector<i64>{9, 2, 0, 3, 11, 5}));
  EXPECT_EQ(lazy.moments().update, (std::vector<i64>{7, 5, 2, 4, 5, 7}));
  for (const real x : lazy.params.value(lazy.flat).flat()) EXPECT_EQ(x, 0) << "another parameter was hit";
}

TEST(SparseAdam, LeavesAFrozenTableAlone) {
  Table table(SparseAdam::dense);
  table.params.set_options(table.id, false, true);
  const std::vector<real> before = table.values();
  table.update(1, k_all);
  EXPECT_TRUE(test::same_bits(table.values(), before));
  EXPECT_EQ(table.moments().rows.count(), 0);
}

TEST(SparseAdam, IsAnOptionOfTheTrainSection) {
  Spec none("train"), dense("train", {{"sparse_adam", "dense"}}), wrong("train", {{"sparse_adam", "eager"}});
  EXPECT_EQ(AdamConfig::read(none).sparse, SparseAdam::lazy);
  EXPECT_EQ(AdamConfig::read(dense).sparse, SparseAdam::dense);
  const std::string message = test::message_of<UserError>([&] { AdamConfig::read(wrong); });
  EXPECT_TRUE(test::contains(message, "train.sparse_adam = eager") && test::contains(message, "lazy")) << message;
}

}  // namespace
}  // namespace pleiad::train
