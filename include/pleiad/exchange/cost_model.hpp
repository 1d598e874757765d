// What an exchange will take, by a model of few numbers that are measured on the machine when a run starts: which kind of exchange is the fastest.
#pragma once
#include <string>
#include <vector>

#include "pleiad/exchange/exchanger.hpp"
#include "pleiad/exchange/node_layout.hpp"

namespace pleiad::exchange {

/// Seconds that a message takes, and each byte of it.
struct LinkCost {
  double per_message = 0, per_byte = 0;
};

struct MachineCost {
  LinkCost within, between;   ///< a node; nodes
  double per_copied_byte = 0; ///< read and written in memory
};

/// A few milliseconds of messages between neighbours; the slowest pair counts. collective over the group.
MachineCost measure_machine(const comm::Communicator& group, const NodeLayout& nodes);

struct Prediction {
  Kind kind;
  double seconds;  ///< dispatch and combine of one layer, forward
};

/// For tokens whose experts are drawn evenly, on a rank of the largest node. Kinds that go with `combine` only, the fastest first.
std::vector<Prediction> predict(const MachineCost& machine, const NodeLayout& nodes, const ExchangeLoad& load, Combine combine);

/// In how many chunks to exchange, so that what travels between nodes does so while experts work: more hide more, and each takes its messages.
/// 1 where nothing leaves a node, because inside a node it is the ranks themselves that move the rows.
i64 best_chunks(const MachineCost& machine, const NodeLayout& nodes, const ExchangeLoad& load, Combine combine, Kind kind);

}  // namespace pleiad::exchange
