#include "pleiad/comm/lane_sum.hpp"

#include <algorithm>

#include "pleiad/comm/collectives.hpp"

namespace pleiad::comm {

namespace {

constexpr i64 k_small = 2048;  // elements; below it one all-gather beats two rounds

/// Sums the lanes of this rank inside each of its subtrees; the sum of subtree i ends in the row of its first lane.
template <class T>
std::vector<LaneNode> sum_own_nodes(const LaneLayout& lanes, T* partials, i64 stride, i64 n) {
  const std::vector<LaneNode> nodes = lanes.nodes_of(lanes.rank());
  for (const LaneNode& node : nodes) {
    T* first = partials + (node.first - lanes.my_lanes().begin) * stride;
    for (i64 step = 1; step < node.size; step *= 2) {
      for (i64 at = 0; at < node.size; at += 2 * step) {
        T* into = first + at * stride;
        const T* from = first + (at + step) * stride;
        for (i64 j = 0; j < n; ++j) into[j] += from[j];
      }
    }
  }
  return nodes;
}

std::vector<LaneNode> all_nodes(const LaneLayout& lanes) {
  std::vector<LaneNode> nodes;
  for (i64 r = 0; r < lanes.ranks(); ++r) {
    const auto more = lanes.nodes_of(r);
    nodes.insert(nodes.end(), more.begin(), more.end());
  }
  return nodes;
}

}  // namespace

template <class T>
void lane_sum(const Communicator& comm, const LaneLayout& lanes, T* partials, i64 stride, std::span<T> total) {
  const i64 n = static_cast<i64>(total.size());
  const std::vector<LaneNode> mine = sum_own_nodes(lanes, partials, stride, n);
  const auto own_row = [&](const LaneNode& node) { return partials + (node.first - lanes.my_lanes().begin) * stride; };
  if (comm.size() == 1) {
    if (total.data() != partials) std::copy_n(partials, n, total.data());
    return;
  }
  const std::vector<LaneNode> everyone = all_nodes(lanes);
  if (n <= k_small) {
    std::vector<T> packed;
    for (const LaneNode& node : mine) packed.insert(packed.end(), own_row(node), own_row(node) + n);
    std::vector<T> rows = all_gather_v<T>(comm, packed);
    add_along_tree(everyone, rows.data(), n, n);
    std::copy_n(rows.data(), n, total.data());
    return;
  }
  // Slice r of every subtree goes to rank r, which adds them in tree order; then the finished slices are gathered.
  const i64 ranks = comm.size();
  Buffer<T> send(n * static_cast<i64>(mine.size()));
  std::vector<i64> send_counts, recv_counts;
  const i64 slice = share(n, ranks, comm.rank()).count;
  i64 at = 0;
  for (i64 r = 0; r < ranks; ++r) {
    const Range part = share(n, ranks, r);
    for (const LaneNode& node : mine) {
      std::copy_n(own_row(node) + part.begin, part.count, send.data() + at);
      at += part.count;
    }
    send_counts.push_back(part.count * static_cast<i64>(mine.size()));
    recv_counts.push_back(slice * static_cast<i64>(lanes.nodes_of(r).size()));
  }
  Buffer<T> rows;
  rows.reserve_uninitialised(slice * static_cast<i64>(everyone.size()));
  all_to_all_rows<T>(comm, send.data(), send_counts, rows.data(), recv_counts, 1);
  add_along_tree(everyone, rows.data(), slice, slice);
  const std::vector<T> whole = all_gather_v<T>(comm, std::span<const T>(rows.data(), static_cast<std::size_t>(slice)));
  std::copy(whole.begin(), whole.end(), total.begin());
}

template void lane_sum<float>(const Communicator&, const LaneLayout&, float*, i64, std::span<float>);
template void lane_sum<double>(const Communicator&, const LaneLayout&, double*, i64, std::span<double>);

std::vector<double> lane_statistics(const Communicator& comm, const LaneLayout& lanes, i64 n,
                                    const std::function<void(i64, double*)>& fill) {
  const i64 count = lanes.my_lanes().count;
  std::vector<double> rows(static_cast<std::size_t>(std::max<i64>(count, 1) * n), 0.0);
  for (i64 lane = 0; lane < count; ++lane) fill(lane, rows.data() + lane * n);
  std::vector<double> total(static_cast<std::size_t>(n));
  lane_sum<double>(comm, lanes, rows.data(), n, total);
  return total;
}

}  // namespace pleiad::comm
