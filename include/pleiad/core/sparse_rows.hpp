// A table of which only some rows exist: the gradient that a million one-row experts have in one step, or the optimizer state of
// those that ever had one. Rows are packed in the order in which they were first touched; none moves when others are added.
#pragma once
#include <cstdint>
#include <vector>

#include "pleiad/core/matrix.hpp"

namespace pleiad {

class SparseRows {
 public:
  SparseRows() = default;
  /// Room for rows 0 .. rows-1 of `width` numbers each; none exists yet. Memory follows the rows that are touched, in chunks.
  SparseRows(i64 rows, i64 width);

  i64 rows() const { return static_cast<i64>(slot_.size()); }
  i64 width() const { return width_; }
  /// Rows that exist.
  i64 count() const { return static_cast<i64>(touched_.size()); }
  /// Their numbers by slot 0 .. count-1, in the order of their first touch.
  const std::vector<i64>& touched() const { return touched_; }
  /// -1 if the row does not exist.
  i64 slot(i64 row) const { return slot_[static_cast<std::size_t>(row)]; }
  real* at(i64 slot) { return chunks_[static_cast<std::size_t>(slot >> chunk_bits_)].data() + (slot & (chunk_rows() - 1)) * width_; }
  const real* at(i64 slot) const { return chunks_[static_cast<std::size_t>(slot >> chunk_bits_)].data() + (slot & (chunk_rows() - 1)) * width_; }

  /// The numbers of a row; one that did not exist is made, all zero. The address holds until clear().
  real* touch(i64 row);
  /// The same, but a row that is made (`made`) must be written by the caller: its numbers mean nothing.
  real* touch_unwritten(i64 row, bool& made);
  /// Brings near what the next touch of a row needs first. pre: row < rows().
  void expect(i64 row) const {
    const std::int32_t* slot = slot_.data() + row;
    asm volatile("" : : "r"(slot));  // GCC drops calls of a function that does nothing but prefetch
    __builtin_prefetch(slot);
  }
  /// Forgets all rows, in time proportional to their count; the memory is kept for the next ones.
  void clear();
  /// All rows in order, those that do not exist as zeros: for verification and tests.
  std::vector<real> expanded() const;

 private:
  i64 chunk_rows() const { return i64{1} << chunk_bits_; }

  i64 width_ = 0;
  int chunk_bits_ = 0;  // a chunk has 2^chunk_bits_ rows
  std::vector<std::int32_t> slot_;  // [rows]
  std::vector<i64> touched_;
  std::vector<Buffer<real>> chunks_;
};

}  // namespace pleiad
