// Two runs on different grids compared.
#pragma once
#include <gtest/gtest.h>

#include "train/tiny_run.hpp"

namespace pleiad::train {

/// Of experts of one row each `here` holds some, `truth` the same or all.
inline void expect_same_rows(TinyRun& here, const ParamInfo& p, TinyRun& truth, const ParamInfo& same) {
  const auto part = [&](const std::vector<real>& whole, i64 width) {
    const auto first = whole.begin() + (p.first_row - same.first_row) * width;
    return std::vector<real>(first, first + p.rows * width);
  };
  const auto mine = here.tiny.params.value(ParamId{p.index}).flat(), all = truth.tiny.params.value(ParamId{same.index}).flat();
  EXPECT_TRUE(test::same_bits(std::vector<real>(mine.begin(), mine.end()), part({all.begin(), all.end()}, p.cols))) << p.name;
  RowMoments &a = here.adam->row_moments({p.index}), &b = truth.adam->row_moments({same.index});
  EXPECT_TRUE(test::same_bits(a.rows.expanded(), part(b.rows.expanded(), 2 * p.cols))) << "moments of " << p.name;
  i64 with_moments = 0;
  for (i64 row = 0; row < p.rows; ++row) {
    const i64 i = a.rows.slot(row), j = b.rows.slot(row + p.first_row - same.first_row);
    EXPECT_EQ(i < 0, j < 0) << p.name << ", row " << row;
    if (i < 0 || j < 0) continue;
    ++with_moments;
    EXPECT_EQ(a.update[i], b.update[j]) << p.name << ", row " << row;
  }
  EXPECT_EQ(static_cast<i64>(a.update.size()), with_moments);
}

/// Weights and moments of this rank in `here` are those that `truth` has for the same rows and experts, bit for bit.
inline void expect_same_parameters(TinyRun& here, TinyRun& truth) {
  for (const ParamInfo& p : here.tiny.params.infos()) {
    const ParamInfo& same = *truth.tiny.params.find(p.name);
    const auto compare = [&](std::span<real> a, std::span<real> b, const char* what) {
      const auto x = here.tiny.params.slice(p, a);
      // Of a parameter with a row per expert a rank has only its rows.
      const auto y = truth.tiny.params.slice(same, b).subspan(static_cast<std::size_t>(p.first_element()), x.size());
      EXPECT_TRUE(test::same_bits<real>(std::span<const real>(x), std::span<const real>(y))) << what << " of " << p.name;
    };
    if (p.row_block()) {
      expect_same_rows(here, p, truth, same);
      continue;
    }
    compare(here.tiny.params.values(p.owner), truth.tiny.params.values(p.owner), "values");
    compare(here.adam->first(p.owner), truth.adam->first(p.owner), "first moment");
    compare(here.adam->second(p.owner), truth.adam->second(p.owner), "second moment");
  }
}

}  // namespace pleiad::train
