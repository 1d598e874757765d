// Memory that all ranks of a node read and write.
#pragma once
#include <mpi.h>

#include <cstddef>

#include "pleiad/comm/communicator.hpp"

namespace pleiad::comm {

class SharedMemory {
 public:
  /// `node` are ranks that can share memory (Communicator::node()); it must outlive this.
  explicit SharedMemory(const Communicator& node) : node_(node) {}
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory();

  /// Room for so many bytes, one run of memory for all ranks; where it has to grow its content is lost. pre: the same number on every
  /// rank. collective.
  void reserve(i64 bytes);
  template <class T>
  T* as(i64 first_byte = 0) const {
    return reinterpret_cast<T*>(data_ + first_byte);
  }
  /// What any rank wrote before can be read by every rank after. collective.
  void meet() const;

 private:
  void release();

  const Communicator& node_;
  MPI_Win window_ = MPI_WIN_NULL;
  std::byte* data_ = nullptr;
  i64 capacity_ = 0;
};

}  // namespace pleiad::comm
