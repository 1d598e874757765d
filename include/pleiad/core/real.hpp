// The number type of all floors: float, or double in the checking build (PLEIAD_DOUBLE=1, tests only).
// One alias instead of templates keeps every public signature plain. Read next: matrix.hpp.
#pragma once
#include <cstdint>

namespace pleiad {

#if defined(PLEIAD_DOUBLE) && PLEIAD_DOUBLE
using real = double;
inline constexpr const char* k_real_name = "float64";
#else
using real = float;
inline constexpr const char* k_real_name = "float32";
#endif

using i64 = std::int64_t;

}  // namespace pleiad
