// Private to the sources of checkpoint_h5.hpp: what is saved of the parameters, and in which order experts lie in a file.
#pragma once
#include <functional>
#include <map>
#include <numeric>

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

/// What this rank has of a family, in the order of Family::ranges(), a piece after the other.
class PackedPieces {
 public:
  PackedPieces(const ParamSet& params, const Section& section, const Family& family) : params_(params), section_(section), family_(family) {}
  /// The next `count` numbers, to be written to a file: where they lie, or a copy where these are several places. Good until the next call.
  std::span<const real> next(i64 count);
  /// The next `count` numbers, to be read from a file by `read`.
  void fill_next(i64 count, const std::function<void(std::span<real>)>& read);

 private:
  // Calls visit(run, at) for the runs in memory that make up the next `count` numbers, where `at` of them came before.
  void visit_next(i64 count, const std::function<void(std::span<real>, i64)>& visit);

  const ParamSet& params_;
  const Section& section_;
  const Family& family_;
  std::size_t param_ = 0;  // where the next piece begins
  i64 offset_ = 0;
  std::vector<real> copy_;
};

inline i64 rows_in(const std::vector<Range>& piece) {
  return std::accumulate(piece.begin(), piece.end(), i64{0}, [](i64 sum, const Range& r) { return sum + r.count; });
}

/// Calls move(piece) for `mine` rows in pieces of `most`, as often on every rank; without `comm` as often as this one needs it.
void in_rounds(const comm::Communicator* comm, const std::vector<Range>& mine, i64 most, const std::function<void(const std::vector<Range>&)>& move);

inline constexpr ElementType k_element = sizeof(real) == 8 ? ElementType::float64 : ElementType::float32;

}  // namespace pleiad::io::detail
