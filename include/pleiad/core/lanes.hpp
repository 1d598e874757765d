// Lanes: the global batch is cut into a fixed power-of-two number of lanes, whatever the number of ranks; each rank owns a
// contiguous run of them. Dense work is done lane by lane and every float sum over the batch follows a fixed binary tree of
// lanes, so results do not depend on how many ranks share the work (docs/numerics.md).
#pragma once
#include <vector>

#include "pleiad/core/real.hpp"

namespace pleiad {

/// A half-open run of rows or lanes.
struct Range {
  i64 begin = 0;
  i64 count = 0;
  i64 end() const { return begin + count; }
};

/// The same rows in their order, at most `most` (at least one) at a time; one piece without rows if there are none. pre: no count is negative.
std::vector<std::vector<Range>> in_pieces(const std::vector<Range>& rows, i64 most);

/// Part `part` of `total` things dealt out in contiguous, nearly equal runs to `parts` owners.
inline Range share(i64 total, i64 parts, i64 part) {
  const i64 begin = total * part / parts;
  return {begin, total * (part + 1) / parts - begin};
}

/// A complete subtree of the lane tree: lanes first .. first+size-1, size a power of two, first a multiple of size.
struct LaneNode {
  i64 first = 0;
  i64 size = 0;
};

class LaneLayout {
 public:
  LaneLayout() = default;
  /// pre: lanes is a power of two; 0 <= rank < ranks. A batch has `sequences` sequences of `seq_len` tokens.
  LaneLayout(i64 lanes, i64 sequences, i64 seq_len, i64 ranks, i64 rank);

  i64 lanes() const { return lanes_; }
  i64 ranks() const { return ranks_; }
  i64 rank() const { return rank_; }
  i64 seq_len() const { return seq_len_; }
  i64 sequences() const { return sequences_; }
  i64 tokens() const { return sequences_ * seq_len_; }

  Range lanes_of(i64 rank) const { return share(lanes_, ranks_, rank); }
  Range my_lanes() const { return lanes_of(rank_); }
  Range sequences_of_lane(i64 lane) const { return share(sequences_, lanes_, lane); }
  Range sequences_of(i64 rank) const;
  Range my_sequences() const { return sequences_of(rank_); }
  i64 my_tokens() const { return my_sequences().count * seq_len_; }
  /// Global number of this rank's first token.
  i64 first_token() const { return my_sequences().begin * seq_len_; }
  /// Rows of this rank's token matrix that belong to the i-th of its lanes.
  Range local_rows(i64 my_lane) const;
  /// The least number of complete subtrees that make up the lanes of a rank, left to right.
  std::vector<LaneNode> nodes_of(i64 rank) const;
  /// Those of all ranks, left to right.
  std::vector<LaneNode> all_nodes() const;

 private:
  i64 lanes_ = 1, sequences_ = 0, seq_len_ = 1, ranks_ = 1, rank_ = 0;
};

/// Adds rows [n] of a left-to-right list of subtrees along the lane tree; row i of `rows` (stride n) holds nodes[i].
/// The result stands in row 0; the other rows are destroyed. pre: the nodes together are one complete tree.
template <class T>
void add_along_tree(const std::vector<LaneNode>& nodes, T* rows, i64 n, i64 stride);

/// Row i of `partials` (stride apart, n long) is the part of this rank's i-th lane: adds up the rows inside each of its subtrees. The sum
/// of a subtree ends in the row of its first lane; the other rows are destroyed.
template <class T>
void add_inside_nodes(const LaneLayout& lanes, T* partials, i64 stride, i64 n);

}  // namespace pleiad
