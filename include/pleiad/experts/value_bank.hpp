// Product-key memory (Lample et al. 2019): expert i is a constant row, e_i(x) = V_i. A rank owns a contiguous run of them.
#pragma once
#include "pleiad/core/expert_map.hpp"
#include "pleiad/experts/expert_bank.hpp"

namespace pleiad::experts {

class ValueBank : public ExpertBank {
 public:
  /// Parameter prefix + "values" [N,D], of which this rank holds its rows. pre: map deals out contiguous runs.
  ValueBank(ParamSet& params, const std::string& prefix, i64 width, const ExpertMap& map, i64 owner);
  bool token_by_token() const override { return true; }
  void forward(const ParamSet& params, ConstMatrixView tokens, const ExpertRows& rows, BankTrace& trace, const Landing& out) const override;
  void backward(ParamSet& params, ConstMatrixView tokens, const ExpertRows& rows, const BankTrace& trace, ConstMatrixView d_out, const Landing& d_x,
                std::span<real> d_weight) const override;
  double flops_per_row(i64) const override { return 2.0 * static_cast<double>(width_); }
  i64 parameters_of(i64) const override { return width_; }

 private:
  i64 width_;
  ParamId values_;
};

}  // namespace pleiad::experts
