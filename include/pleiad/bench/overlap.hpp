// How much of an exchange hides behind the experts: rows that travel while experts work, against each of the two by itself. The router, the plan and
// the sums of gradients are left out. Read next: exchange/chunks.hpp.
// Letters: T tokens of this rank, D width, R rows of its experts.
#pragma once
#include "pleiad/bench/layer.hpp"

namespace pleiad::bench {

enum class Passes { forward, backward, both };

class OverlapBench {
 public:
  /// Routes the batch of a layer once. `together` carries rows while experts work, `alone` by itself. References must outlive this. collective.
  OverlapBench(LayerBench& layer, const exchange::Exchanger& together, const exchange::Exchanger& alone);

  /// Rows to the experts, their work, results home. collective.
  Timed together(Passes passes);
  /// The exchange with experts that do nothing. collective.
  Timed exchange(Passes passes);
  /// The experts on rows that lie ready.
  Timed experts(Passes passes);

  /// What `together` computes must have the bits of `alone`. collective.
  std::vector<Check> check();

 private:
  /// One way of carrying rows, and what comes of it.
  struct Side {
    explicit Side(const exchange::Exchanger& one) : exchanger(one) {}

    const exchange::Exchanger& exchanger;
    exchange::ExchangePlan plan;
    experts::BankTrace bank;
    exchange::Kept kept;
    Matrix y, d_x;                              // [T,D]
    std::vector<real> d_row_weight, d_weight;  // [R], [nnz]
  };
  void prepare(Side& side);
  void forward(Side& side, bool experts_work);
  void backward(Side& side, bool experts_work);
  void pass(Side& side, Passes passes, bool experts_work);
  const routing::Assignment& assignment() const { return routed_.trace.router->assignment; }

  LayerBench& layer_;
  const experts::ExpertBank& bank_;
  LayerBench::Pass routed_;
  Side together_, alone_;
  Matrix d_out_, results_;  // gradients that have arrived; results that stay
  experts::Landing landing_;  // in results_
};

}  // namespace pleiad::bench
