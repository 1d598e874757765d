// Whole numbers of JSON files that are not trusted. Of the JSON library; for sources, not for headers.
#pragma once
#include <nlohmann/json.hpp>
#include <limits>
#include <stdexcept>
#include <vector>

#include "pleiad/core/real.hpp"

namespace pleiad::io {

/// The library turns 1e70 into any i64. errors: std::runtime_error where `j` is no whole number of 64 bits.
inline i64 whole_number(const nlohmann::json& j) {
  if (!j.is_number_integer() || (j.is_number_unsigned() && j.get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<i64>::max()))) {
    throw std::runtime_error(j.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + " is no whole number");
  }
  return j.get<i64>();
}

inline std::vector<i64> whole_numbers(const nlohmann::json& j) {
  std::vector<i64> all;
  for (const nlohmann::json& x : j) all.push_back(whole_number(x));
  return all;
}

}  // namespace pleiad::io
