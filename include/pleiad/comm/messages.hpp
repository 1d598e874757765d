// Messages between two ranks that travel while this rank does something else. What a message is made of need not lie together.
// Over TCP a long message starts with a question and an answer, and an answer can stand in line behind megabytes that the other question set going.
// Two ranks that both send first and then receive have asked before either answers, so their link works both ways; the other order can halve it.
#pragma once
#include <mpi.h>

#include <initializer_list>
#include <vector>

#include "pleiad/comm/communicator.hpp"

namespace pleiad::comm {

/// The ranks other than this one, each rank beginning with another, so that not all send to the same.
template <class Work>
void for_each_other(const Communicator& group, Work work) {
  for (i64 step = 1; step < group.size(); ++step) work((group.rank() + step) % group.size());
}

/// Numbers that lie together, as part of a message.
struct Part {
  const void* data = nullptr;
  i64 bytes = 0;
};
template <class T>
Part part(const T* numbers, i64 count) {
  return {numbers, count * static_cast<i64>(sizeof(T))};
}

/// Bytes that Open MPI sends over TCP without asking first (64 KiB with its header, unless told otherwise). Pieces after the first have the tag of their
/// message plus k_more.
inline constexpr i64 k_piece = 60 * 1024;
inline constexpr int k_more = 1000;

/// Some messages under way. What they carry must stay where it is until wait().
class Messages {
 public:
  /// `in_pieces`: what has one part is sent in pieces that need no permission (k_piece); sender and receiver must agree on it. For messages that are
  /// to move while both ranks work: with permission, each would have to look up twice before anything moves.
  explicit Messages(const Communicator& comm, bool in_pieces = false) : comm_(&comm), in_pieces_(in_pieces) {}
  Messages(Messages&&) noexcept = default;
  Messages(const Messages&) = delete;
  Messages& operator=(const Messages&) = delete;

  /// Sends the parts as one message. Between two ranks messages of one tag arrive in the order in which they were sent.
  void send(i64 to, int tag, std::initializer_list<Part> parts);
  /// The next message of that sender and tag goes to the parts (which are written); it must be as long as they are.
  void receive(i64 from, int tag, std::initializer_list<Part> parts);
  /// Lets messages travel without waiting for them. True if all are through.
  bool advance();
  void wait();

 private:
  const Communicator* comm_;
  bool in_pieces_;
  std::vector<MPI_Request> requests_;
};

/// Waits until a message is there and says how many bytes it has.
i64 bytes_coming(const Communicator& comm, i64 from, int tag);

}  // namespace pleiad::comm
