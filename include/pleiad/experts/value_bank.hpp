// Product-key memory (Lample et al. 2019): expert i is a constant row, e_i(x) = V_i. A rank owns a contiguous run of them.
#pragma once
#include "pleiad/core/expert_map.hpp"
#include "pleiad/experts/expert_bank.hpp"

namespace pleiad::experts {

class ValueBank : public ExpertBank {
 public:
  /// Parameter prefix + "values" [N,D], of which this rank holds its rows. pre: map deals out contiguous runs.
  ValueBank(ParamSet& params, const std::string& prefix, i64 width, const ExpertMap& map, i64 owner);
  void forward(const ParamSet& params, ConstMatrixView rows, std::span<const i64> offset, BankTrace& trace, MatrixView out) const override;
  void backward(ParamSet& params, ConstMatrixView rows, std::span<const i64> offset, const BankTrace& trace,
                std::span<const real> weight, MatrixView d_out, MatrixView d_rows, std::span<real> d_weight) const override;
  double flops_per_row(i64) const override { return 2.0 * static_cast<double>(width_); }

 private:
  i64 width_;
  ParamId values_;
};

}  // namespace pleiad::experts
