// Bytes and messages of an exchange: one formula for what is really sent and for the dry run.
#pragma once
#include <vector>

#include "pleiad/core/real.hpp"

namespace pleiad::exchange {

/// How results come back. home: every expert's row travels and is summed at home in a fixed order, so the result does not depend
/// on the number of ranks. owner: the owner adds up its experts' weighted rows first; one row per token and rank travels.
enum class Combine { home, owner };

/// What one rank sends to others in one layer and step.
struct Traffic {
  i64 forward_bytes = 0, backward_bytes = 0;
  i64 forward_messages = 0, backward_messages = 0;
  i64 between_bytes = 0;  ///< of all bytes, those that leave the node

  i64 bytes() const { return forward_bytes + backward_bytes; }
  i64 messages() const { return forward_messages + backward_messages; }
  Traffic& operator+=(const Traffic& more);
};

/// Up to so many ranks bytes are counted for each pair of them; more ranks would need as many numbers as their square.
inline constexpr i64 k_most_paired_ranks = 64;

/// Token rows and kept assignments that go from one place to another, and in how many messages: rows there, results of these back.
struct Amount {
  i64 rows = 0, entries = 0;
  i64 messages_there = 0, messages_back = 0;
  bool weights_apart = false;  ///< gradients of weights come back in a message of their own

  /// One message each way, where there is anything.
  static Amount whole(i64 rows, i64 entries, Combine combine) { return {rows, entries, rows > 0, (combine == Combine::home ? entries : rows) > 0, false}; }
};

/// From one rank to another, given what goes there and what came from there, by messages or (within a node) through shared memory.
enum class Way { messages_between, messages_within, shared_memory };
Traffic traffic_between_ranks(const Amount& out, const Amount& in, i64 width, Combine combine, Way way);

/// Bytes of the table ahead of the tickets from one node to another: by chunk, rows and sums of each rank, and tickets from each rank to each.
i64 ticket_table_bytes(i64 ranks_here, i64 ranks_there, i64 chunks = 1);

/// From one node to another, each token once: the messages of the rank that speaks for the node. `table`: bytes ahead of the tickets.
Traffic traffic_between_nodes(const Amount& out, const Amount& in, i64 table, i64 width, Combine combine);

}  // namespace pleiad::exchange
