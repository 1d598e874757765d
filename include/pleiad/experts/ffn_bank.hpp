// Feed-forward experts, each with its own width, each multiplying all its rows (in global token order) in one product.
#pragma once
#include "pleiad/core/expert_map.hpp"
#include "pleiad/experts/expert_bank.hpp"
#include "pleiad/experts/feed_forward.hpp"

namespace pleiad::experts {

class FfnBank : public ExpertBank {
 public:
  /// The experts that `owner` owns according to `map`; widths [N] of all experts. Parameters: prefix + "experts/<global number>/".
  /// `layer` of `layers` blocks numbers the experts over the whole model.
  FfnBank(ParamSet& params, const std::string& prefix, FeedForwardKind kind, i64 width, const std::vector<i64>& widths,
          const ExpertMap& map, i64 owner, i64 layer, i64 layers);

  void forward(const ParamSet& params, ConstMatrixView rows, std::span<const i64> offset, BankTrace& trace, MatrixView out) const override;
  void backward(ParamSet& params, ConstMatrixView rows, std::span<const i64> offset, const BankTrace& trace,
                std::span<const real> weight, MatrixView d_out, MatrixView d_rows, std::span<real> d_weight) const override;
  double flops_per_row(i64 expert) const override;
  i64 parameters_of(i64 expert) const override;

 private:
  FeedForwardKind kind_;
  i64 width_;
  std::vector<i64> widths_;
  std::vector<FeedForward> experts_;  // local
};

}  // namespace pleiad::experts
