// A whole exchange problem that every rank can make: tokens, variable-length expert lists with drops, and stand-ins for what
// experts do to rows; with the truth from LocalExchanger. Read next: exchanger_mpi_test.cpp.
#pragma once
#include <algorithm>
#include <ostream>

#include "pleiad/exchange/all_to_all.hpp"
#include "pleiad/exchange/hierarchical.hpp"
#include "pleiad/exchange/local.hpp"
#include "pleiad/ops/vec.hpp"
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

/// Ways in which the ranks may be spread over nodes: all together, each alone, two by two, in turn, and unevenly.
inline std::vector<NodeLayout> node_layouts(i64 ranks) {
  std::vector<i64> in_turn, uneven;
  for (i64 r = 0; r < ranks; ++r) {
    in_turn.push_back(5 - r % 3);
    uneven.push_back(r == 0 ? 0 : r < 4 ? 1 : 2);
  }
  return {NodeLayout::of_size(ranks, ranks), NodeLayout::of_size(ranks, 1), NodeLayout::of_size(ranks, 2), NodeLayout(in_turn), NodeLayout(uneven)};
}

/// Stands for expert e: scales and shifts a row. Element by element, so it does not care how rows are batched.
inline void pretend_expert(real* row, i64 width, i64 expert) {
  const real factor = static_cast<real>(0.5 + 0.25 * static_cast<double>(expert)), shift = static_cast<real>(expert);
  for (i64 j = 0; j < width; ++j) row[j] = row[j] * factor + shift;
}

/// The experts' part of a round trip, row by row: `work(row, expert)` changes a copy of the row that arrived, which then goes to its landing,
/// weighted in a forward sum. At a pace they work expert by expert or token by token. Returns the rows as they arrived.
template <class Work>
Matrix pretend_experts(const experts::ExpertRows& rows, const std::vector<i64>& experts, ConstMatrixView tokens, const experts::Landing& landing, bool forward,
                       Work work, ChunksOf chunks_of = ChunksOf::experts) {
  Matrix seen(rows.rows(), tokens.cols);
  std::vector<real> row(static_cast<std::size_t>(tokens.cols));
  const auto work_on = [&](i64 r, i64 expert) {
    std::copy_n(tokens.row(rows.token[r]), tokens.cols, seen.row(r));
    std::copy_n(seen.row(r), tokens.cols, row.begin());
    work(r, row.data(), expert);
    real* to = landing.into.row(landing.place[r]);
    if (!landing.add) {
      std::ranges::copy(row, to);
    } else {
      ops::vec::axpy(forward ? rows.weight[r] : real{1}, row.data(), to, tokens.cols);
    }
  };
  const auto for_each_row = [&](auto visit) {
    for (const experts::ExpertRun& run : rows.runs) {
      for (i64 r = run.begin; r < run.end; ++r) visit(r, experts[run.expert]);
    }
  };
  if (landing.pace && chunks_of == ChunksOf::tokens) {
    for (Range some = landing.pace->next(); some.count > 0; some = landing.pace->next()) {
      for_each_row([&](i64 r, i64 expert) {
        if (rows.token[r] >= some.begin && rows.token[r] < some.end()) work_on(r, expert);
      });
    }
    return seen;
  }
  for_each_row([&](i64 r, i64 expert) {
    if (landing.pace) landing.pace->reach(r);
    work_on(r, expert);
  });
  return seen;
}

/// One forward and backward pass through an exchanger.
struct Pass {
  ExchangePlan plan;
  Matrix rows, y, d_out, d_x;  // rows, d_out: as the experts saw them
  std::vector<real> d_weight;
};

/// Chunks of experts or of tokens, as the plan has them. A hierarchical exchange in one chunk serves both: here it is tokens.
inline ChunksOf chunks_of(const ExchangePlan& plan) {
  return plan.chunk_begin.empty() || (plan.nodes && plan.chunk_begin.size() == 2) ? ChunksOf::tokens : ChunksOf::experts;
}

inline Pass run(const Exchanger& exchanger, const routing::Assignment& a, const ExpertMap& map, i64 owner, const LaneLayout& lanes,
                ConstMatrixView x, ConstMatrixView d_y, ConstMatrixView d_x_before) {
  Pass p;
  p.plan = exchanger.make_plan(a, map, lanes, x.cols);
  const std::vector<i64>& experts = map.owned_by(owner);
  p.y = Matrix(x.rows, x.cols);
  for (real& v : p.y.flat()) v = 1e30f;  // must be overwritten
  Kept kept;
  auto trip = exchanger.start_forward(x, a, p.plan, kept, p.y);
  ConstMatrixView arrived = trip->begin();
  p.rows = pretend_experts(p.plan.at_experts, experts, arrived, trip->landing(), true, [&](i64, real* row, i64 e) { pretend_expert(row, x.cols, e); }, chunks_of(p.plan));
  trip->leave({});
  trip->finish();

  p.d_x = test::rows_of(d_x_before, 0, d_x_before.rows);
  p.d_weight.assign(a.expert.size(), 1e30f);
  trip = exchanger.start_backward(d_y, a, p.plan, p.d_x, p.d_weight);
  arrived = trip->begin();
  std::vector<real> d_row_weight(static_cast<std::size_t>(p.plan.rows()), 0);
  p.d_out = pretend_experts(p.plan.at_experts, experts, arrived, trip->landing(), false, [&](i64 r, real* row, i64 e) {
    pretend_expert(row, x.cols, e);
    for (i64 j = 0; j < x.cols; ++j) d_row_weight[r] += row[j] * static_cast<real>(1 + e);  // stands for the gradient of the weight
  }, chunks_of(p.plan));
  trip->leave(d_row_weight);
  trip->finish();
  for (i64 r = 0; r < p.plan.rows(); ++r) EXPECT_TRUE(test::same_bits(test::rows_of(kept.tokens, p.plan.at_experts.token[r], 1), test::rows_of(p.rows, r, 1)));
  return p;
}

}  // namespace pleiad::exchange
