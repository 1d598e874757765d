// The exchange on one rank: nothing moves. Experts read the tokens where they lie and add their results there, expert by expert; that
// order is the specification which every other exchanger must equal.
#pragma once
#include "pleiad/exchange/exchanger.hpp"

namespace pleiad::exchange {

class LocalExchanger : public Exchanger {
 public:
  ExchangePlan make_plan(const routing::Assignment& a, const ExpertMap& map, const LaneLayout& lanes, i64 width) const override;
  std::unique_ptr<RoundTrip> start_forward(ConstMatrixView x, const routing::Assignment& a, const ExchangePlan& plan, Kept& kept,
                                           MatrixView y) const override;
  std::unique_ptr<RoundTrip> start_backward(ConstMatrixView d_y, const routing::Assignment& a, const ExchangePlan& plan, MatrixView d_x,
                                            std::span<real> d_weight) const override;
};

/// All zero.
void clear_rows(MatrixView rows);

}  // namespace pleiad::exchange
