// A checksum of numbers in a file, made in parts by whoever has them: the sum, modulo 2^64, of a mix of each number's bits with its place. Parts of
// different ranks add up in any order; a number that changes or moves changes the sum.
#pragma once
#include <bit>
#include <cstdint>
#include <span>
#include <type_traits>

#include "pleiad/core/real.hpp"

namespace pleiad {

class ContentSum {
 public:
  /// Numbers `first`, first+1, ... of the dataset. T is a number of 1, 2, 4 or 8 bytes.
  template <class T>
  void add(i64 first, std::span<const T> values) {
    // Odd factors are one-to-one modulo 2^64, so one number that is another always changes the sum; the shift brings high bits down.
    std::uint64_t place = static_cast<std::uint64_t>(first + 1) * k_place, sum = 0;
    for (const T& v : values) {
      const std::uint64_t mixed = (bits_of(v) ^ place) * k_value;
      sum += mixed ^ (mixed >> 32);
      place += k_place;
    }
    sum_ += sum;
  }
  void add(const ContentSum& part) { sum_ += part.sum_; }
  /// As it stands in a file.
  i64 value() const { return std::bit_cast<i64>(sum_); }

 private:
  static constexpr std::uint64_t k_place = 0x9e3779b97f4a7c15, k_value = 0xd6e8feb86659fd93;

  template <class T>
  static std::uint64_t bits_of(T v) {
    if constexpr (sizeof(T) == 8) return std::bit_cast<std::uint64_t>(v);
    else if constexpr (sizeof(T) == 4) return std::bit_cast<std::uint32_t>(v);
    else if constexpr (sizeof(T) == 2) return std::bit_cast<std::uint16_t>(v);
    else return std::bit_cast<std::uint8_t>(v);
  }

  std::uint64_t sum_ = 0;
};

}  // namespace pleiad
