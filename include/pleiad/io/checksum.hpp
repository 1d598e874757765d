// SHA-256 (FIPS 180-4) of bytes and files: names what a corpus was made from. Our own forty lines, because no
// dependency has it.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace pleiad::io {

class Sha256 {
 public:
  void add(std::string_view bytes);
  /// 64 hexadecimal digits, as sha256sum prints them. Call once, after the last add().
  std::string hex();

 private:
  void block(const unsigned char* p);

  std::array<std::uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<unsigned char, 64> pending_ = {};
  std::uint64_t bytes_ = 0;
};

std::string sha256(std::string_view bytes);

}  // namespace pleiad::io
