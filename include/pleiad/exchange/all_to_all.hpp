// The exchange over MPI, each rank with each: a message of rows each way. A token's row travels once to each rank that needs it, with the
// list of that rank's experts and weights ahead of it.
#pragma once
#include "pleiad/exchange/exchanger.hpp"

namespace pleiad::exchange {

class AllToAllExchanger : public Exchanger {
 public:
  /// `group` are the ranks that share out the experts; it must outlive this.
  AllToAllExchanger(const comm::Communicator& group, Combine combine) : group_(group), combine_(combine) {}

  ExchangePlan make_plan(const routing::Assignment& a, const ExpertMap& map, const LaneLayout& lanes, i64 width) const override;
  std::unique_ptr<RoundTrip> start_forward(ConstMatrixView x, const routing::Assignment& a, const ExchangePlan& plan, Matrix& kept,
                                           MatrixView y) const override;
  std::unique_ptr<RoundTrip> start_backward(ConstMatrixView d_y, const routing::Assignment& a, const ExchangePlan& plan, MatrixView d_x,
                                            std::span<real> d_weight) const override;
  ConstMatrixView arrived_tokens(ConstMatrixView, const Matrix& kept) const override { return kept; }

  /// Buffers of a trip, kept from step to step; nothing in them outlives one.
  struct Room {
    Matrix packed, arrived, results, returned;
    std::vector<real> weights_there, weights_back;
  };

 private:
  const comm::Communicator& group_;
  Combine combine_;
  mutable Room room_;
};

/// What this rank sends to each rank in one layer and step, given rows and assignments per rank both ways. Messages to itself and empty
/// ones are not counted. One formula for the real exchange and for the dry run.
std::vector<Traffic> traffic_to(std::span<const i64> send_rows, std::span<const i64> send_entries, std::span<const i64> recv_rows,
                                std::span<const i64> recv_entries, i64 me, i64 width, Combine combine);

}  // namespace pleiad::exchange
