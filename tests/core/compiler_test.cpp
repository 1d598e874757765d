// GCC 12 on machines with AVX-512 compiles the 32-byte constant of a list such as {1, 1, 1, 0} to {1, 1, 1, 1}: it takes a constant
// whose high words are left out for a repeated one. The build flags must avoid that (tuning option inter_unit_moves_to_vec).
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace pleiad {
namespace {

[[gnu::noinline]] std::vector<std::int64_t> ends_in_one_zero() { return std::vector<std::int64_t>{1, 1, 1, 0}; }
[[gnu::noinline]] std::vector<std::int64_t> ends_in_two_zeros() { return std::vector<std::int64_t>{7, 7, 0, 0}; }
[[gnu::noinline]] std::vector<std::int32_t> small_numbers() { return std::vector<std::int32_t>{3, 3, 3, 3, 3, 3, 0, 0}; }
[[gnu::noinline]] std::vector<float> floats() { return std::vector<float>{3, 3, 3, 3, 3, 3, 0, 0}; }

// Element by element, because an expected list would be compiled to the same wrong constant.
TEST(Compiler, KeepsTheZerosAtTheEndOfAConstantList) {
  EXPECT_EQ(ends_in_one_zero()[2], 1);
  EXPECT_EQ(ends_in_one_zero()[3], 0);
  EXPECT_EQ(ends_in_two_zeros()[1], 7);
  EXPECT_EQ(ends_in_two_zeros()[2], 0);
  EXPECT_EQ(small_numbers()[5], 3);
  EXPECT_EQ(small_numbers()[6], 0);
  EXPECT_EQ(floats()[5], 3);
  EXPECT_EQ(floats()[7], 0);
}

}  // namespace
}  // namespace pleiad
