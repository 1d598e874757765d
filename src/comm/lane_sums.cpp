#include "pleiad/comm/lane_sums.hpp"

#include <algorithm>

namespace pleiad::comm {

namespace {

enum Tag : int { k_slice = 1, k_total };

/// MPI looks at what it knows and then at the network, so the second look sees what the first one has found. More would be wasted where nothing comes:
/// a look in vain may give the processor away.
bool through(Messages& messages) { return messages.advance() || messages.advance(); }

}  // namespace

template <class T>
LaneSums<T>::LaneSums(const Communicator& comm, const LaneLayout& lanes) : comm_(comm), lanes_(lanes), nodes_(lanes.all_nodes()) {}

template <class T>
void LaneSums<T>::begin(T* partials, i64 stride, i64 n) {
  add_inside_nodes(lanes_, partials, stride, n);
  if (comm_.size() == 1 || n == 0) return;
  sums_.push_back({partials, n, {}, Messages(comm_), Messages(comm_)});
  send_slices(sums_.back(), partials, stride);
}

template <class T>
void LaneSums<T>::send_slices(Sum& sum, const T* partials, i64 stride) {
  const auto own_row = [&](const LaneNode& node) { return partials + (node.first - lanes_.my_lanes().begin) * stride; };
  const Range mine = share(sum.n, comm_.size(), comm_.rank());
  const std::vector<LaneNode> own = lanes_.nodes_of(comm_.rank());
  for_each_other(comm_, [&](i64 r) {
    const Range slice = share(sum.n, comm_.size(), r);
    for (const LaneNode& node : own) {
      if (slice.count) sum.slices.send(r, k_slice, {part(own_row(node) + slice.begin, slice.count)});
    }
  });
  sum.rows.reserve_uninitialised(mine.count * static_cast<i64>(nodes_.size()));
  T* row = sum.rows.data();
  for (i64 r = 0; r < comm_.size() && mine.count; ++r) {
    for (const LaneNode& node : lanes_.nodes_of(r)) {
      if (r == comm_.rank()) std::copy_n(own_row(node) + mine.begin, mine.count, row);
      else sum.slices.receive(r, k_slice, {part(row, mine.count)});
      row += mine.count;
    }
  }
}

// pre: the slices are here, and those of this rank are gone, so that row 0 is free.
template <class T>
void LaneSums<T>::send_total(Sum& sum) {
  const Range mine = share(sum.n, comm_.size(), comm_.rank());
  T* total = sum.row0 + mine.begin;
  if (mine.count) {
    add_along_tree(nodes_, sum.rows.data(), mine.count, mine.count);
    std::copy_n(sum.rows.data(), mine.count, total);
  }
  for_each_other(comm_, [&](i64 r) {
    if (mine.count) sum.totals.send(r, k_total, {part(total, mine.count)});
  });
  for_each_other(comm_, [&](i64 r) {
    const Range slice = share(sum.n, comm_.size(), r);
    if (slice.count) sum.totals.receive(r, k_total, {part(sum.row0 + slice.begin, slice.count)});
  });
  sum.rows = {};
  ++added_;
}

template <class T>
void LaneSums<T>::advance() {
  while (added_ < sums_.size() && through(sums_[added_].slices)) send_total(sums_[added_]);
  if (added_ < sums_.size()) return;
  while (added_ > 0 && through(sums_.front().totals)) {
    sums_.pop_front();
    --added_;
  }
}

template <class T>
void LaneSums<T>::finish() {
  while (added_ < sums_.size()) {
    sums_[added_].slices.wait();
    send_total(sums_[added_]);
  }
  for (Sum& sum : sums_) sum.totals.wait();
  sums_.clear();
  added_ = 0;
}

template class LaneSums<float>;
template class LaneSums<double>;

}  // namespace pleiad::comm
