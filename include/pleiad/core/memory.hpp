// Memory of this process and of the machine it runs on, as the kernel counts them. Everything in bytes.
#pragma once
#include <string>

#include "pleiad/core/real.hpp"

namespace pleiad {

inline constexpr i64 k_no_limit = i64{1} << 62;

struct ProcessMemory {
  i64 resident = 0, peak = 0;       ///< now, and at most since forget_peak()
  i64 shared = 0;                   ///< of the resident: shared with other processes
  i64 address_space = 0, data = 0;  ///< what RLIMIT_AS and RLIMIT_DATA limit
};
/// All zero where there is no /proc.
ProcessMemory process_memory();
/// The peak is counted anew from here on; false if the kernel does not do that. peak_of_all() goes on.
bool forget_peak();
/// Since the process began.
i64 peak_of_all();
/// In use from the C library's heap, whether resident or not.
i64 heap_in_use();
/// Gives back to the system what is free in the heap.
void return_freed_memory();

/// What can still be had, and which limit says so.
struct MemoryRoom {
  i64 bytes = k_no_limit;
  std::string limit = {};
};
/// On this machine: MemAvailable, or less where a control group (version 1 or 2, or one around it) allows less. `root`: where proc and sys are, for tests.
MemoryRoom machine_room(const std::string& root = "");
/// For this process alone: RLIMIT_AS and RLIMIT_DATA.
MemoryRoom process_room();
/// For memory that processes share.
MemoryRoom shared_room();

}  // namespace pleiad
