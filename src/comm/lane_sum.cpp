#include "pleiad/comm/lane_sum.hpp"

#include <algorithm>

#include "pleiad/comm/collectives.hpp"
#include "pleiad/comm/lane_sums.hpp"

namespace pleiad::comm {

namespace {

constexpr i64 k_small = 2048;  // elements; below it one all-gather beats two rounds

}  // namespace

template <class T>
void lane_sum(const Communicator& comm, const LaneLayout& lanes, T* partials, i64 stride, std::span<T> total) {
  const i64 n = static_cast<i64>(total.size());
  if (n <= k_small && comm.size() > 1) {
    add_inside_nodes(lanes, partials, stride, n);
    std::vector<T> packed;
    for (const LaneNode& node : lanes.nodes_of(lanes.rank())) {
      const T* row = partials + (node.first - lanes.my_lanes().begin) * stride;
      packed.insert(packed.end(), row, row + n);
    }
    std::vector<T> rows = all_gather_v<T>(comm, packed);
    add_along_tree(lanes.all_nodes(), rows.data(), n, n);
    std::copy_n(rows.data(), n, total.data());
    return;
  }
  LaneSums<T> sums(comm, lanes);
  sums.begin(partials, stride, n);
  sums.finish();
  if (total.data() != partials) std::copy_n(partials, n, total.data());
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
