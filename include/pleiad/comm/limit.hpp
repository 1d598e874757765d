// MPI counts in int. What is longer than the limit goes in several calls, or as several pieces of one message.
#pragma once
#include "pleiad/core/real.hpp"

namespace pleiad::comm {

/// Elements, or bytes where those are counted, that one call of MPI is asked for at most. The same on all ranks; tests lower it.
inline i64 most_per_call = i64{1} << 30;

/// work(begin, count) for one piece of `all` after the other.
template <class Work>
void for_each_call(i64 all, Work work) {
  for (i64 begin = 0; begin < all; begin += most_per_call) work(begin, all - begin < most_per_call ? all - begin : most_per_call);
}

}  // namespace pleiad::comm
