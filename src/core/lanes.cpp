#include "pleiad/core/lanes.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>

#include "pleiad/core/error.hpp"

namespace pleiad {

std::vector<std::vector<Range>> in_pieces(const std::vector<Range>& rows, i64 most) {
  std::vector<std::vector<Range>> pieces(1);
  i64 room = std::max<i64>(most, 1);
  for (Range rest : rows) {
    while (rest.count > 0) {
      if (room == 0) {
        pieces.emplace_back();
        room = std::max<i64>(most, 1);
      }
      const i64 now = std::min(rest.count, room);
      pieces.back().push_back({rest.begin, now});
      rest = {rest.begin + now, rest.count - now};
      room -= now;
    }
  }
  return pieces;
}

LaneLayout::LaneLayout(i64 lanes, i64 sequences, i64 seq_len, i64 ranks, i64 rank)
    : lanes_(lanes), sequences_(sequences), seq_len_(seq_len), ranks_(ranks), rank_(rank) {
  PLEIAD_CHECK(lanes > 0 && std::has_single_bit(static_cast<std::uint64_t>(lanes)), "{} lanes: not a power of two", lanes);
  PLEIAD_CHECK(rank >= 0 && rank < ranks && sequences >= 0 && seq_len > 0, "rank {} of {}, {} sequences of {}", rank, ranks,
               sequences, seq_len);
}

Range LaneLayout::sequences_of(i64 rank) const {
  const Range mine = lanes_of(rank);
  if (mine.count == 0) return {share(sequences_, lanes_, mine.begin < lanes_ ? mine.begin : lanes_ - 1).begin, 0};
  const i64 begin = sequences_of_lane(mine.begin).begin;
  return {begin, sequences_of_lane(mine.end() - 1).end() - begin};
}

Range LaneLayout::local_rows(i64 my_lane) const {
  const Range s = sequences_of_lane(my_lanes().begin + my_lane);
  return {(s.begin - my_sequences().begin) * seq_len_, s.count * seq_len_};
}

std::vector<LaneNode> LaneLayout::nodes_of(i64 rank) const {
  std::vector<LaneNode> nodes;
  const Range mine = lanes_of(rank);
  for (i64 at = mine.begin; at < mine.end();) {
    i64 size = 1;
    while (at % (2 * size) == 0 && at + 2 * size <= mine.end() && 2 * size <= lanes_) size *= 2;
    nodes.push_back({at, size});
    at += size;
  }
  return nodes;
}

std::vector<LaneNode> LaneLayout::all_nodes() const {
  std::vector<LaneNode> nodes;
  for (i64 r = 0; r < ranks_; ++r) {
    const std::vector<LaneNode> more = nodes_of(r);
    nodes.insert(nodes.end(), more.begin(), more.end());
  }
  return nodes;
}

template <class T>
void add_along_tree(const std::vector<LaneNode>& nodes, T* rows, i64 n, i64 stride) {
  // A stack of subtrees (index of the row that holds the sum): two neighbours of one size that form a node are merged at once.
  std::vector<std::pair<LaneNode, i64>> stack;
  for (i64 i = 0; i < static_cast<i64>(nodes.size()); ++i) {
    stack.emplace_back(nodes[i], i);
    while (stack.size() >= 2) {
      auto& [left, left_row] = stack[stack.size() - 2];
      const auto& [right, right_row] = stack.back();
      if (left.size != right.size || left.first % (2 * left.size) != 0) break;
      T* into = rows + left_row * stride;
      const T* from = rows + right_row * stride;
      for (i64 j = 0; j < n; ++j) into[j] += from[j];
      left.size *= 2;
      stack.pop_back();
    }
  }
  PLEIAD_CHECK(stack.size() == 1, "{} lane subtrees are left unmerged", stack.size());
}

template <class T>
void add_inside_nodes(const LaneLayout& lanes, T* partials, i64 stride, i64 n) {
  for (const LaneNode& node : lanes.nodes_of(lanes.rank())) {
    T* first = partials + (node.first - lanes.my_lanes().begin) * stride;
    for (i64 step = 1; step < node.size; step *= 2) {
      for (i64 at = 0; at < node.size; at += 2 * step) {
        T* into = first + at * stride;
        const T* from = first + (at + step) * stride;
        for (i64 j = 0; j < n; ++j) into[j] += from[j];
      }
    }
  }
}

template void add_along_tree<float>(const std::vector<LaneNode>&, float*, i64, i64);
template void add_along_tree<double>(const std::vector<LaneNode>&, double*, i64, i64);
template void add_inside_nodes<float>(const LaneLayout&, float*, i64, i64);
template void add_inside_nodes<double>(const LaneLayout&, double*, i64, i64);

}  // namespace pleiad
