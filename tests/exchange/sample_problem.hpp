// A whole exchange problem that every rank can make: tokens, variable-length expert lists with drops, and stand-ins for what
// experts do to rows; with the truth from LocalExchanger. Read next: all_to_all_mpi_test.cpp.
#pragma once
#include <algorithm>
#include <ostream>

#include "pleiad/exchange/all_to_all.hpp"
#include "pleiad/exchange/local.hpp"
#include "support/alone.hpp"
#include "support/sample.hpp"

namespace pleiad::exchange {

struct Case {
  const char* name;
  i64 lanes, sequences, seq_len, experts, width;
  i64 most = 3;          ///< experts per token, 0 .. most
  double dropped = 0.2;  ///< share of assignments
  i64 only_expert = -1;  ///< where all tokens go
};

inline std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.name; }

inline const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {"typical", 8, 10, 3, 6, 5},
      {"more_ranks_than_experts", 8, 9, 2, 2, 4, 2},
      {"one_expert", 8, 8, 2, 1, 3, 1},
      {"ranks_without_tokens", 8, 3, 4, 5, 4},
      {"fewer_lanes_than_ranks", 2, 6, 3, 7, 4},
      {"every_token_to_one_expert", 8, 8, 3, 5, 4, 1, 0.0, 3},
      {"everything_dropped", 4, 5, 2, 4, 3, 2, 1.0},
      {"no_tokens_at_all", 4, 0, 2, 4, 3},
      {"many_experts_per_token", 4, 6, 2, 9, 17, 9, 0.1},
      {"width_one", 8, 16, 1, 4, 1, 2, 0.0},
  };
  return all;
}

inline routing::Assignment sample_assignment(const Case& c, std::uint64_t seed) {
  const Stream draw(seed, Purpose::test);
  routing::Assignment a;
  a.experts = c.experts;
  std::uint64_t next = 0;
  for (i64 t = 0; t < c.sequences * c.seq_len; ++t) {
    std::vector<std::int32_t> all(static_cast<std::size_t>(c.experts));
    for (std::size_t e = 0; e < all.size(); ++e) std::swap(all[e] = static_cast<std::int32_t>(e), all[draw.below(next++, e + 1)]);
    i64 count = static_cast<i64>(draw.below(next++, static_cast<std::uint64_t>(c.most) + 1));
    if (c.only_expert >= 0) {
      all[0] = static_cast<std::int32_t>(c.only_expert);
      count = 1;
    }
    for (i64 i = 0; i < count; ++i) {
      a.expert.push_back(all[i]);
      a.weight.push_back(static_cast<real>(draw.normal(next++)));
      a.kept.push_back(draw.uniform(next++) >= c.dropped);
    }
    a.offset.push_back(a.entries());
  }
  return a;
}

/// Stands for expert e: scales and shifts a row. Element by element, so it does not care how rows are batched.
inline void pretend_expert(MatrixView rows, i64 begin, i64 end, i64 expert) {
  const real factor = static_cast<real>(0.5 + 0.25 * static_cast<double>(expert)), shift = static_cast<real>(expert);
  for (i64 r = begin; r < end; ++r) {
    for (i64 j = 0; j < rows.cols; ++j) rows(r, j) = rows(r, j) * factor + shift;
  }
}

/// Stands for the weight gradient of a row: its sum times the expert's number.
inline std::vector<real> pretend_weight_gradient(ConstMatrixView rows, std::span<const i64> offset, const std::vector<i64>& experts) {
  std::vector<real> d(static_cast<std::size_t>(rows.rows), 0);
  for (std::size_t l = 0; l < experts.size(); ++l) {
    for (i64 r = offset[l]; r < offset[l + 1]; ++r) {
      for (i64 j = 0; j < rows.cols; ++j) d[r] += rows(r, j) * static_cast<real>(1 + experts[l]);
    }
  }
  return d;
}

/// One forward and backward pass through an exchanger.
struct Pass {
  ExchangePlan plan;
  Matrix rows, y, d_out, d_x;
  std::vector<real> d_weight;
};

inline Pass run(const Exchanger& exchanger, const routing::Assignment& a, const ExpertMap& map, i64 owner, const LaneLayout& lanes,
                ConstMatrixView x, ConstMatrixView d_y, ConstMatrixView d_x_before) {
  Pass p;
  p.plan = exchanger.make_plan(a, map, lanes, x.cols);
  exchanger.dispatch(x, p.plan, p.rows);
  Matrix out = test::rows_of(p.rows, 0, p.rows.rows());
  const std::vector<i64>& experts = map.owned_by(owner);
  for (std::size_t l = 0; l < experts.size(); ++l) pretend_expert(out, p.plan.expert_offset[l], p.plan.expert_offset[l + 1], experts[l]);
  p.y = Matrix(x.rows, x.cols);
  for (real& v : p.y.flat()) v = 1e30f;  // combine must overwrite
  exchanger.combine(out, a, p.plan, p.y);

  exchanger.combine_adjoint(d_y, p.plan, p.d_out);
  Matrix d_rows = test::rows_of(p.d_out, 0, p.d_out.rows());
  for (std::size_t l = 0; l < experts.size(); ++l) pretend_expert(d_rows, p.plan.expert_offset[l], p.plan.expert_offset[l + 1], experts[l]);
  const std::vector<real> d_row_weight = pretend_weight_gradient(d_rows, p.plan.expert_offset, experts);
  p.d_x = test::rows_of(d_x_before, 0, d_x_before.rows);
  p.d_weight.assign(a.expert.size(), 1e30f);
  exchanger.dispatch_adjoint(d_rows, d_row_weight, a, p.plan, p.d_x, p.d_weight);
  return p;
}

}  // namespace pleiad::exchange
