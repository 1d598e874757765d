// The exchange on one rank: plain gathers and sums. It is the specification that every other exchanger must equal.
#pragma once
#include "pleiad/exchange/exchanger.hpp"

namespace pleiad::exchange {

class LocalExchanger : public Exchanger {
 public:
  ExchangePlan make_plan(const routing::Assignment& a, const ExpertMap& map, const LaneLayout& lanes, i64 width) const override;
  void dispatch(ConstMatrixView x, const ExchangePlan& plan, Matrix& rows) const override;
  void combine(ConstMatrixView out, const routing::Assignment& a, const ExchangePlan& plan, MatrixView y) const override;
  void dispatch_adjoint(ConstMatrixView d_rows, std::span<const real> d_row_weight, const routing::Assignment& a,
                        const ExchangePlan& plan, MatrixView d_x, std::span<real> d_weight) const override;
};

// Shared with the MPI exchanger: what happens at home and at the owner once rows have moved.

/// rows[r] = tokens[row_token[r]].
void expand_rows(ConstMatrixView tokens, const ExchangePlan& plan, Matrix& rows);
/// y[t] = sum over kept entries, in list order, of weight * returned[slot].
void sum_at_home(ConstMatrixView returned, const routing::Assignment& a, const ExchangePlan& plan, MatrixView y);
/// d_x[t] += sum over kept entries, in list order, of returned[slot].
void add_at_home(ConstMatrixView returned, const routing::Assignment& a, const ExchangePlan& plan, MatrixView d_x);

}  // namespace pleiad::exchange
