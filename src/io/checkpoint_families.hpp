// Private to the sources of checkpoint_h5.hpp: what is saved of the parameters, and in which order experts lie in a file.
#pragma once
#include <functional>
#include <map>

#include "pleiad/comm/grid.hpp"
#include "pleiad/io/h5.hpp"
#include "pleiad/train/optimizer.hpp"

namespace pleiad::io::detail {

/// Experts of one kind of parameter, packed in order of their global number: expert e owns elements offset[e] .. offset[e+1]-1.
struct Family {
  std::vector<i64> offset{0};
  std::vector<ParamInfo> mine;  // of this rank, ascending

  /// A million rows are one parameter of a rank; other experts have parameters of their own.
  bool row_block() const { return !mine.empty() && mine.front().row_block(); }
  /// Elements of the packed array that each parameter of this rank stands for; none for empty ones.
  std::vector<Range> ranges() const;
};

/// The same families on every rank, whether it owns experts or not. collective over the expert group.
std::map<std::string, Family> families_of(const comm::ProcessGrid& grid, const ParamSet& params);

/// A set of numbers laid out like the parameters, and where it stands in the file.
struct Section {
  std::string group, what;
  std::span<real> dense, experts;
  bool row_blocks;  // also those that are row-sparse
};

/// Weights, and with `adam` both moments.
std::vector<Section> sections_of(ParamSet& params, train::Adam* adam);

/// Calls `move(begin, count)` for `mine` rows in pieces that fit the memory, as often on every rank; without `comm` as often as this one needs it.
void in_pieces(const comm::Communicator* comm, i64 mine, i64 width, const std::function<void(i64, i64)>& move);

inline constexpr ElementType k_element = sizeof(real) == 8 ? ElementType::float64 : ElementType::float32;

}  // namespace pleiad::io::detail
