// A switch of tests: memory that is new begins as NaN (-1 as whole numbers), so that what is read before it was written shows.
#pragma once

namespace pleiad {

inline bool poison_new_memory = false;

}  // namespace pleiad
