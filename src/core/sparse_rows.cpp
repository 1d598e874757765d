#include "pleiad/core/sparse_rows.hpp"

#include <algorithm>
#include <bit>
#include <limits>

namespace pleiad {

namespace {

constexpr i64 k_chunk_numbers = i64{1} << 18;

}  // namespace

SparseRows::SparseRows(i64 rows, i64 width)
    : width_(width), chunk_bits_(std::bit_width(static_cast<std::uint64_t>(std::max<i64>(1, k_chunk_numbers / std::max<i64>(width, 1)))) - 1) {
  PLEIAD_CHECK(rows >= 0 && rows <= std::numeric_limits<std::int32_t>::max(), "{} sparse rows", rows);
  slot_.assign(static_cast<std::size_t>(rows), -1);
}

real* SparseRows::touch_unwritten(i64 row, bool& made) {
  PLEIAD_CHECK(row >= 0 && row < rows(), "sparse row {} of {}", row, rows());
  std::int32_t& slot = slot_[static_cast<std::size_t>(row)];
  made = slot < 0;
  if (!made) return at(slot);
  slot = static_cast<std::int32_t>(count());
  touched_.push_back(row);
  if (slot >> chunk_bits_ == static_cast<i64>(chunks_.size())) chunks_.emplace_back().reserve_uninitialised(std::min(chunk_rows(), rows()) * width_);
  return at(slot);
}

real* SparseRows::touch(i64 row) {
  bool made = false;
  real* numbers = touch_unwritten(row, made);
  if (made) std::fill_n(numbers, width_, real{0});
  return numbers;
}

void SparseRows::clear() {
  // Of many rows the whole table is forgotten sooner: it is written in order.
  if (16 * count() > rows()) {
    std::ranges::fill(slot_, -1);
  } else {
    for (const i64 row : touched_) slot_[static_cast<std::size_t>(row)] = -1;
  }
  touched_.clear();
}

std::vector<real> SparseRows::expanded() const {
  std::vector<real> all(static_cast<std::size_t>(rows() * width_), 0);
  for (i64 s = 0; s < count(); ++s) std::copy_n(at(s), width_, all.begin() + touched_[static_cast<std::size_t>(s)] * width_);
  return all;
}

}  // namespace pleiad
