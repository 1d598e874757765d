// PEER experts (He 2024): expert i is one neuron, e_i(x) = act(u_i . x) v_i. A rank owns a contiguous run of them.
// Letters: R rows that arrived, D width, N experts in all.
#pragma once
#include "pleiad/core/expert_map.hpp"
#include "pleiad/experts/expert_bank.hpp"
#include "pleiad/ops/activation.hpp"

namespace pleiad::experts {

class NeuronBank : public ExpertBank {
 public:
  /// Parameters prefix + "u", prefix + "v" [N,D], of which this rank holds its rows. pre: map deals out contiguous runs.
  NeuronBank(ParamSet& params, const std::string& prefix, ops::Activation activation, i64 width, const ExpertMap& map, i64 owner);
  bool token_by_token() const override { return true; }
  void forward(const ParamSet& params, ConstMatrixView tokens, const ExpertRows& rows, BankTrace& trace, const Landing& out) const override;
  void backward(ParamSet& params, ConstMatrixView tokens, const ExpertRows& rows, const BankTrace& trace, ConstMatrixView d_out, const Landing& d_x,
                std::span<real> d_weight) const override;
  double flops_per_row(i64) const override { return 4.0 * static_cast<double>(width_); }
  i64 parameters_of(i64) const override { return 2 * width_; }

 private:
  ops::Activation activation_;
  i64 width_;
  ParamId u_, v_;
};

/// A parameter with one row of `width` per expert, this rank's rows only; row-sparse and without weight decay. Drawn
/// uniformly with deviation 1/sqrt(width): of a million rows normal numbers would take five times as long.
ParamInfo row_per_expert(const std::string& name, i64 width, const ExpertMap& map, i64 owner);

}  // namespace pleiad::experts
