// The exchange by itself: tokens to the ranks of their experts and results home, against MPI_Alltoallv of the same counts between buffers
// that lie ready. Experts do nothing meanwhile. Read next: exchange/exchanger.hpp.
// Letters: T tokens of this rank, D width, P ranks of the expert group.
#pragma once
#include "pleiad/bench/layer.hpp"

namespace pleiad::bench {

class ExchangeBench {
 public:
  /// Routes the batch of a layer once. References must outlive this. collective.
  ExchangeBench(LayerBench& layer, const exchange::Exchanger& exchanger, exchange::Combine combine);

  /// There and home again, as in a forward or a backward pass. collective.
  Timed forward();
  Timed backward();
  /// Two MPI_Alltoallv of rows, there and home, with the counts of this plan; `self`: also what a rank has for itself. collective.
  Timed raw(bool self);

  /// Bytes of rows that go to other ranks, there and home, one pass, all ranks together. collective.
  double bytes() const;
  const routing::Assignment& assignment() const { return pass_.trace.router->assignment; }
  const exchange::ExchangePlan& plan() const { return plan_; }
  /// Rows by rank that this one sends there, and home.
  const std::vector<i64>& rows_there() const { return plan_.send_rows; }
  const std::vector<i64>& rows_home() const { return combine_ == exchange::Combine::home ? plan_.recv_entries : plan_.recv_rows; }

  /// Every row arrives as it was sent, at a rank that has use for it; and what comes home from experts that return what they got is each token
  /// times its weights. collective.
  std::vector<Check> check();

 private:
  i64 wrong_rows(ConstMatrixView arrived) const;

  LayerBench& layer_;
  const exchange::Exchanger& exchanger_;
  exchange::Combine combine_;
  LayerBench::Pass pass_;
  exchange::ExchangePlan plan_;
  Matrix x_, y_, d_x_;                     // [T,D]
  exchange::Kept kept_;
  std::vector<real> d_row_weight_, d_weight_;  // [R], [nnz]
  Matrix raw_send_, raw_recv_;             // as many rows as the larger of both ways
};

}  // namespace pleiad::bench
