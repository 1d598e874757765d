// Which exchange a run uses, and why: what the configuration says, or (auto) what the cost model finds fastest.
#pragma once
#include <string>
#include <vector>

#include "pleiad/exchange/cost_model.hpp"

namespace pleiad::exchange {

struct ExchangeChoice {
  std::string kind;  ///< local, all_to_all, hierarchical, gather, dry_run
  i64 chunks = 1;
  ChunksOf chunks_of = ChunksOf::experts;
  NodeLayout nodes = NodeLayout::of_size(1, 1);
  MachineCost machine;                  ///< measured where the model chose
  std::vector<Prediction> predictions;  ///< the fastest first; empty where it was not asked

  /// One line for people.
  std::string in_words() const;
};

/// Whether rows that travel so can do it in parts.
bool goes_in_chunks(Kind kind, ChunksOf chunks_of);

/// UserError if what is configured does not go with the number of ranks or with `combine`. Without tokens in `load` nothing is measured: auto is then
/// local on one rank, all_to_all where every rank has a node of its own, else hierarchical. collective.
ExchangeChoice choose_exchange(const ExchangeConfig& config, const comm::Communicator& group, const ExchangeLoad& load);

/// `group` must outlive the exchanger. collective.
std::unique_ptr<Exchanger> make_exchanger(const ExchangeConfig& config, const ExchangeChoice& choice, const comm::Communicator& group);

}  // namespace pleiad::exchange
