// The exchange over MPI, each rank with each: a message of rows each way. A token's row travels once to each rank that needs it, with the
// list of that rank's experts and weights ahead of it.
#pragma once
#include "pleiad/exchange/exchanger.hpp"
#include "pleiad/exchange/node_layout.hpp"

namespace pleiad::exchange {

/// Who gets a token's row: the ranks that need it, or all of them, where nearly all need it and their sums come back (a gather and a
/// reduce-scatter): no row is looked for, and nothing is packed.
enum class Reach { needed, all };

class AllToAllExchanger : public Exchanger {
 public:
  /// `group` are the ranks that share out the experts; it must outlive this. `nodes` only tells which bytes count as leaving a node.
  /// `chunks_of` must suit the bank (ExpertBank::token_by_token). pre: where all ranks get all rows, combine = owner, and chunks are of tokens.
  AllToAllExchanger(const comm::Communicator& group, Combine combine, NodeLayout nodes, Reach reach = Reach::needed, i64 chunks = 1,
                    ChunksOf chunks_of = ChunksOf::experts)
      : group_(group), combine_(combine), nodes_(std::move(nodes)), reach_(reach), chunks_(chunks), chunks_of_(chunks_of) {
    PLEIAD_CHECK(reach == Reach::needed || combine == Combine::owner, "a gather with combine = home");
    PLEIAD_CHECK(reach == Reach::needed || chunks == 1 || chunks_of == ChunksOf::tokens, "a gather in groups of experts");
  }
  /// Every rank on a node of its own.
  AllToAllExchanger(const comm::Communicator& group, Combine combine) : AllToAllExchanger(group, combine, NodeLayout::of_size(group.size(), 1)) {}

  ExchangePlan make_plan(const routing::Assignment& a, const ExpertMap& map, const LaneLayout& lanes, i64 width) const override;
  std::unique_ptr<RoundTrip> start_forward(ConstMatrixView x, const routing::Assignment& a, const ExchangePlan& plan, Kept& kept,
                                           MatrixView y) const override;
  std::unique_ptr<RoundTrip> start_backward(ConstMatrixView d_y, const routing::Assignment& a, const ExchangePlan& plan, MatrixView d_x,
                                            std::span<real> d_weight) const override;

  /// Buffers of a trip, kept from step to step; nothing in them outlives one.
  struct Room {
    Matrix packed, arrived, results, returned;
    std::vector<real> weights_there, weights_back;
  };

 private:
  const comm::Communicator& group_;
  Combine combine_;
  NodeLayout nodes_;
  Reach reach_;
  i64 chunks_;
  ChunksOf chunks_of_;
  mutable Room room_;
};

}  // namespace pleiad::exchange
