// One process computes everything locally and counts the bytes and messages that other ranks would send, with the lanes and the
// experts dealt out among them as they would be. The counts equal those of the real exchange on that many ranks and nodes.
#pragma once
#include "pleiad/exchange/local.hpp"
#include "pleiad/exchange/node_layout.hpp"

namespace pleiad::exchange {

class DryRunExchanger : public LocalExchanger {
 public:
  /// Pretends `nodes.ranks()` ranks.
  /// pre: chunks is 1 for a hierarchical exchange in chunks of tokens, and for a gather in chunks of experts.
  DryRunExchanger(NodeLayout nodes, Combine combine, Kind kind, i64 chunks = 1, ChunksOf chunks_of = ChunksOf::experts)
      : nodes_(std::move(nodes)), combine_(combine), kind_(kind), chunks_(chunks), chunks_of_(chunks_of) {}
  /// `plan.traffic` is the total over all pretended ranks, `plan.bytes_to` counts each pair of them.
  ExchangePlan make_plan(const routing::Assignment& a, const ExpertMap& map, const LaneLayout& lanes, i64 width) const override;
  /// What each pretended rank would send; the experts of `map` are dealt out among them by its rule. `bytes_to` as in the plan.
  std::vector<Traffic> traffic_per_rank(const routing::Assignment& a, const ExpertMap& map, const LaneLayout& lanes, i64 width,
                                        std::vector<i64>* bytes_to = nullptr) const;

 private:
  NodeLayout nodes_;
  Combine combine_;
  Kind kind_;
  i64 chunks_;
  ChunksOf chunks_of_;
};

}  // namespace pleiad::exchange
