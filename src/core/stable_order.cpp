#include "pleiad/core/stable_order.hpp"

#include <array>
#include <numeric>

#include "pleiad/core/error.hpp"

namespace pleiad {

namespace {

constexpr int k_digit_bits = 11;
constexpr std::size_t k_digits = std::size_t{1} << k_digit_bits;

}  // namespace

// Radix sort from the lowest digit up, 2,048 values a digit: one pass up to 2,048 experts, two up to four millions.
void stable_order(std::span<const std::int32_t> keys, i64 limit, std::vector<std::int32_t>& order) {
  for (const std::int32_t key : keys) PLEIAD_CHECK(key >= 0 && key < limit, "key {} of {}", key, limit);
  order.resize(keys.size());
  std::iota(order.begin(), order.end(), 0);
  std::vector<std::int32_t> before;
  for (int shift = 0; limit > 0 && (limit - 1) >> shift > 0; shift += k_digit_bits) {
    before.assign(order.begin(), order.end());
    std::array<std::int32_t, k_digits> next{};
    const auto digit = [&](std::int32_t i) { return static_cast<std::size_t>(keys[static_cast<std::size_t>(i)] >> shift) & (k_digits - 1); };
    for (const std::int32_t i : before) ++next[digit(i)];
    std::exclusive_scan(next.begin(), next.end(), next.begin(), 0);
    for (const std::int32_t i : before) order[static_cast<std::size_t>(next[digit(i)]++)] = i;
  }
}

}  // namespace pleiad
