#include "pleiad/core/random.hpp"

#include <Random123/philox.h>

#include <cmath>
#include <numbers>

namespace pleiad {

namespace {

// FNV-1a, 64 bit: spreads parameter names over streams.
std::uint64_t hash_name(std::string_view name) {
  std::uint64_t h = 0xcbf29ce484222325ull;
  for (const char c : name) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return h;
}

double unit_interval(std::uint32_t high, std::uint32_t low) {
  const std::uint64_t bits = ((static_cast<std::uint64_t>(high) << 32) | low) >> 11;
  return (static_cast<double>(bits) + 0.5) * 0x1.0p-53;
}

}  // namespace

// Counter layout: 64 bits of index, 32 bits of step, 24 bits of layer, 8 bits of purpose. Steps beyond 2^32 fold into the key.
Stream::Stream(std::uint64_t seed, Purpose purpose, std::uint32_t layer, std::uint64_t step)
    : key_{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32) ^ static_cast<std::uint32_t>(step >> 32)},
      high_((static_cast<std::uint32_t>(purpose) << 24) | (layer & 0xffffffu)),
      step_(static_cast<std::uint32_t>(step)) {}

Stream Stream::named(std::uint64_t seed, Purpose purpose, std::string_view name) {
  const std::uint64_t h = hash_name(name);
  return Stream(seed, purpose, static_cast<std::uint32_t>(h >> 40), h & 0xffffffffu);
}

std::array<std::uint32_t, 4> Stream::words(std::uint64_t index) const {
  const r123::Philox4x32::ctr_type counter{
      {static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32), step_, high_}};
  const r123::Philox4x32::key_type key{{key_[0], key_[1]}};
  const auto out = r123::Philox4x32()(counter, key);
  return {out[0], out[1], out[2], out[3]};
}

double Stream::uniform(std::uint64_t index) const {
  const auto w = words(index);
  return unit_interval(w[0], w[1]);
}

double Stream::normal(std::uint64_t index) const {
  const auto w = words(index);
  const double radius = std::sqrt(-2.0 * std::log(unit_interval(w[0], w[1])));
  return radius * std::cos(2.0 * std::numbers::pi * unit_interval(w[2], w[3]));
}

std::uint64_t Stream::below(std::uint64_t index, std::uint64_t n) const {
  // 128-bit multiply-shift; the bias is below n / 2^64.
  const auto w = words(index);
  const std::uint64_t bits = (static_cast<std::uint64_t>(w[0]) << 32) | w[1];
  __extension__ using wide = unsigned __int128;
  return static_cast<std::uint64_t>((static_cast<wide>(bits) * n) >> 64);
}

}  // namespace pleiad
