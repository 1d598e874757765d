// The exchange that knows nodes: a token's row crosses the network once to each node that needs it. Inside a node rows lie in shared memory, where
// experts read them and put their results; between two nodes messages go from one rank of each, in chunks while experts work. With combine = owner a
// node adds up what its ranks made of a token before one row goes home; with combine = home the row of every expert goes, and results are those of one
// rank, bit for bit.
#pragma once
#include "pleiad/exchange/exchanger.hpp"
#include "pleiad/exchange/node_layout.hpp"

namespace pleiad::exchange {

class HierarchicalExchanger : public Exchanger {
 public:
  /// `group` are the ranks that share out the experts; it must outlive this. Ranks of one node in `nodes` must be able to share memory, but a node
  /// may be cut into several. collective.
  HierarchicalExchanger(const comm::Communicator& group, Combine combine, NodeLayout nodes, i64 chunks = 1);

  ExchangePlan make_plan(const routing::Assignment& a, const ExpertMap& map, const LaneLayout& lanes, i64 width) const override;
  std::unique_ptr<RoundTrip> start_forward(ConstMatrixView x, const routing::Assignment& a, const ExchangePlan& plan, Kept& kept,
                                           MatrixView y) const override;
  std::unique_ptr<RoundTrip> start_backward(ConstMatrixView d_y, const routing::Assignment& a, const ExchangePlan& plan, MatrixView d_x,
                                            std::span<real> d_weight) const override;

  /// Memory of the node; kept from step to step, nothing in it but the marks outlives a plan or a trip.
  struct Room {
    explicit Room(const comm::Communicator& node) : tickets_out(node), tickets_in(node), partials(node), rows(node), results(node), marks(node) {}
    comm::SharedMemory tickets_out, tickets_in, partials, rows, results;
    comm::SharedMemory marks;  // how far each rank is (hierarchical.cpp)
    i64 trips = 0;
  };

 private:
  const comm::Communicator& group_;
  Combine combine_;
  NodeLayout layout_;
  i64 chunks_;  // 1 on one node
  comm::Communicator node_;
  mutable Room room_;
};

}  // namespace pleiad::exchange
