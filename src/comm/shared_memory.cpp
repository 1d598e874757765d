#include "pleiad/comm/shared_memory.hpp"

#include <algorithm>
#include <cstring>
#include <exception>

#include "pleiad/comm/error.hpp"
#include "pleiad/core/poison.hpp"

namespace pleiad::comm {

namespace {

constexpr i64 k_least = i64{1} << 16;  // bytes; growing takes long

}  // namespace

void SharedMemory::release() {
  if (window_ == MPI_WIN_NULL) return;
  PLEIAD_MPI(MPI_Win_unlock_all, window_);
  PLEIAD_MPI(MPI_Win_free, &window_);
}

// As with communicators: freed where all ranks come by, left to the end of the process while an exception unwinds.
SharedMemory::~SharedMemory() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (window_ == MPI_WIN_NULL || finalized || std::uncaught_exceptions() > 0) return;
  MPI_Win_unlock_all(window_);
  MPI_Win_free(&window_);
}

void SharedMemory::reserve(i64 bytes) {
  if (bytes <= capacity_) return;
  release();
  capacity_ = std::max(k_least, bytes + bytes / 4);
  MPI_Aint size = node_.root() ? static_cast<MPI_Aint>(capacity_) : 0;
  void* mine = nullptr;
  PLEIAD_MPI(MPI_Win_allocate_shared, size, 1, MPI_INFO_NULL, node_.native(), &mine, &window_);
  int unit = 0;
  PLEIAD_MPI(MPI_Win_shared_query, window_, 0, &size, &unit, &mine);
  PLEIAD_MPI(MPI_Win_lock_all, MPI_MODE_NOCHECK, window_);
  data_ = static_cast<std::byte*>(mine);
  if (!poison_new_memory) return;
  if (node_.root()) std::memset(data_, 0xff, static_cast<std::size_t>(capacity_));
  meet();
}

void SharedMemory::meet() const {
  if (window_ != MPI_WIN_NULL) PLEIAD_MPI(MPI_Win_sync, window_);
  PLEIAD_MPI(MPI_Barrier, node_.native());
  if (window_ != MPI_WIN_NULL) PLEIAD_MPI(MPI_Win_sync, window_);
}

}  // namespace pleiad::comm
