// Shadows: experts that many tokens of other ranks want are lent to all ranks of the expert group for one step, so their weights travel and the tokens do
// not (dynamic shadowing; He et al.: FasterMoE, PPoPP 2022). The owner keeps the only weights and moments; gradients come back to it.
// To the exchange the entries of a borrowed expert are as if they had been dropped. Letters: T tokens of this rank, D width, N experts.
#pragma once
#include <memory>

#include "pleiad/exchange/node_layout.hpp"
#include "pleiad/exchange/plan.hpp"
#include "pleiad/experts/ffn_bank.hpp"
#include "pleiad/model/context.hpp"

namespace pleiad::model {

struct ShadowConfig {
  i64 most = 0;                                         ///< experts of a layer that are lent in a step, at most; 0: none
  exchange::Combine combine = exchange::Combine::home;  ///< of the exchange: what a token that stays saves
  bool by_node = false;                                 ///< only bytes between nodes count, where a token goes once to each node
};

/// The shadows of one layer and step.
struct ShadowTrace {
  std::vector<i64> lent, borrowed;            // global numbers, ascending: of this rank's experts, of others'
  routing::Assignment travelling;             // the assignment without entries of borrowed experts
  std::vector<std::int32_t> entry;            // those entries, in order
  exchange::ExchangePlan plan;                // what borrowed experts, counted in `borrowed`, have to do here
  std::unique_ptr<ParamSet> room;             // their weights and gradients
  std::unique_ptr<experts::FfnBank> bank;     // that works with these
  experts::BankTrace values;
  i64 bytes = 0;                              // of weights and their gradients, sent by this rank

  /// What remains of the assignment for the exchange.
  const routing::Assignment& rest_of(const routing::Assignment& a) const { return borrowed.empty() ? a : travelling; }
};

class ShadowExperts {
 public:
  /// Of the experts of `bank`; `first_slot`: ParamInfo::slot of expert 0 of the layer. bank, map and group must outlive this. collective over the group.
  ShadowExperts(const ShadowConfig& config, const experts::ExpertBank& bank, experts::FeedForwardKind kind, i64 width, const std::vector<i64>& widths,
                const ExpertMap& map, const comm::Communicator& group, i64 first_slot);

  /// Decides by the assignments of the whole group which experts are lent: those that save most bytes beyond those of their weights and gradients, where
  /// there are any such. collective over the group.
  void choose(const routing::Assignment& a, const LaneLayout& lanes, ShadowTrace& trace) const;
  /// Adds to plan.traffic and plan.bytes_to what lending takes, and notes the bytes.
  void add_traffic(ShadowTrace& trace, exchange::ExchangePlan& plan) const;
  /// x [T,D] -> adds to y [T,D]. collective over the group.
  void forward(const ParamSet& params, ConstMatrixView x, const StepContext& context, ShadowTrace& trace, MatrixView y) const;
  /// Adds to d_x [T,D], sets d_weight of borrowed experts' entries, and adds to the gradients of lent ones, rank after rank. collective over the group.
  void backward(ParamSet& params, ConstMatrixView x, ConstMatrixView d_y, const StepContext& context, const ShadowTrace& trace, MatrixView d_x,
                std::span<real> d_weight) const;

 private:
  /// Tokens go once to each place.
  i64 place(i64 rank) const { return config_.by_node ? nodes_.node_of(rank) : rank; }
  i64 ranks_elsewhere(i64 rank) const;
  std::vector<i64> rows_saved(const routing::Assignment& a) const;
  void decide(const routing::Assignment& a, ShadowTrace& trace) const;
  void split(const routing::Assignment& a, const LaneLayout& lanes, ShadowTrace& trace) const;
  void lend_weights(const ParamSet& params, ShadowTrace& trace) const;
  void return_gradients(ParamSet& params, const ShadowTrace& trace) const;

  ShadowConfig config_;
  const experts::ExpertBank& bank_;
  experts::FeedForwardKind kind_;
  i64 width_;
  std::vector<i64> widths_;
  const ExpertMap& map_;
  const comm::Communicator& group_;
  exchange::NodeLayout nodes_;
  i64 first_slot_;
};

}  // namespace pleiad::model
