// Sums over lanes that are on their way while this rank does something else, with the bits of lane_sum(). A vector is summed in slices: rank r gets
// slice r of every subtree, adds them along the tree and sends what comes out to all. Several sums may be under way; each of the two
// journeys is begun in the order in which the sums were, so messages need no names.
#pragma once
#include <deque>

#include "pleiad/comm/messages.hpp"
#include "pleiad/core/lanes.hpp"
#include "pleiad/core/matrix.hpp"

namespace pleiad::comm {

template <class T>
class LaneSums {
 public:
  /// Both must outlive this. While sums are under way nobody else may send messages over `comm`.
  LaneSums(const Communicator& comm, const LaneLayout& lanes);

  /// Row i of `partials` (stride apart, n long) is the part of this rank's i-th lane. The rows are not to be touched until finish(), which leaves the
  /// sum over all lanes in row 0 and the others destroyed. Every rank begins the same sums in the same order. Does not wait.
  void begin(T* partials, i64 stride, i64 n);
  /// Goes on as far as it can without waiting.
  void advance();
  /// Waits until all sums are there.
  void finish();
  bool under_way() const { return !sums_.empty(); }
  /// The longest vector whose messages need no permission of the receiver (messages.hpp): they move while both sides work.
  static i64 in_short_messages(const Communicator& comm) { return comm.size() * k_piece / static_cast<i64>(sizeof(T)); }

 private:
  /// Slices of subtrees on their way to those who add them, then finished slices on their way to all.
  struct Sum {
    T* row0;
    i64 n;
    Buffer<T> rows;  // this rank's slice of every subtree
    Messages slices, totals;
  };

  void send_slices(Sum& sum, const T* partials, i64 stride);
  void send_total(Sum& sum);

  const Communicator& comm_;
  const LaneLayout& lanes_;
  const std::vector<LaneNode> nodes_;  // of all ranks
  std::deque<Sum> sums_;
  std::size_t added_ = 0;              // of sums_, from the first: those whose slice is added and on its way
};

}  // namespace pleiad::comm
