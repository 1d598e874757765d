// What goes from one node to another, counted by chunk and rank. The table travels ahead of the tickets; from it both nodes find every place.
// Rows lie by chunk (the first that needs the token), then by rank; single results by chunk, rank of origin and owner; sums by the last chunk that
// adds to them, then by rank; tickets by rank of origin and owner.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "pleiad/core/lanes.hpp"
#include "pleiad/exchange/traffic.hpp"

namespace pleiad::exchange {

class BoxTable {
 public:
  BoxTable(i64 chunks, i64 ranks_here, i64 ranks_there)
      : chunks_(chunks), here_(ranks_here), there_(ranks_there), counts_(static_cast<std::size_t>(chunks * ranks_here * (2 + ranks_there))) {}

  // Before find_places(): what one rank has, s counted among those here, d among those there.
  std::int32_t& rows(i64 chunk, i64 s) { return counts_[at(chunk, s)]; }
  std::int32_t& sums(i64 chunk, i64 s) { return counts_[at(chunk, s) + 1]; }
  std::int32_t& entries(i64 chunk, i64 s, i64 d) { return counts_[at(chunk, s) + 2 + static_cast<std::size_t>(d)]; }
  std::vector<std::int32_t>& counts() { return counts_; }

  /// From the counts.
  void find_places() {
    row_ = sum_ = entry_ = ticket_ = {0};
    std::vector<i64> tickets(static_cast<std::size_t>(here_ * there_), 0);
    for (i64 c = 0; c < chunks_; ++c) {
      for (i64 s = 0; s < here_; ++s) {
        row_.push_back(row_.back() + rows(c, s));
        sum_.push_back(sum_.back() + sums(c, s));
        for (i64 d = 0; d < there_; ++d) {
          entry_.push_back(entry_.back() + entries(c, s, d));
          tickets[static_cast<std::size_t>(s * there_ + d)] += entries(c, s, d);
        }
      }
    }
    for (const i64 n : tickets) ticket_.push_back(ticket_.back() + n);
  }

  // After it.
  i64 first_row(i64 chunk, i64 s) const { return row_[static_cast<std::size_t>(chunk * here_ + s)]; }
  i64 first_sum(i64 chunk, i64 s) const { return sum_[static_cast<std::size_t>(chunk * here_ + s)]; }
  i64 first_entry(i64 chunk, i64 s, i64 d) const { return entry_[static_cast<std::size_t>((chunk * here_ + s) * there_ + d)]; }
  Range tickets(i64 s, i64 d) const { return between(ticket_, s * there_ + d, 1); }
  Range rows_of(i64 chunk) const { return between(row_, chunk * here_, here_); }
  Range sums_of(i64 chunk) const { return between(sum_, chunk * here_, here_); }
  Range entries_of(i64 chunk) const { return between(entry_, chunk * here_ * there_, here_ * there_); }
  i64 all_rows() const { return row_.back(); }
  i64 all_entries() const { return entry_.back(); }
  i64 ranks_here() const { return here_; }
  i64 ranks_there() const { return there_; }
  i64 bytes() const { return ticket_table_bytes(here_, there_, chunks_); }

  Amount amount(Combine combine) const {
    Amount a{all_rows(), all_entries(), 0, 0, chunks_ > 1};
    for (i64 c = 0; c < chunks_; ++c) {
      a.messages_there += rows_of(c).count > 0;
      a.messages_back += (combine == Combine::home ? entries_of(c) : sums_of(c)).count > 0;
    }
    return a;
  }

 private:
  std::size_t at(i64 chunk, i64 s) const { return static_cast<std::size_t>((chunk * here_ + s) * (2 + there_)); }
  static Range between(const std::vector<i64>& begin, i64 first, i64 count) {
    const i64 b = begin[static_cast<std::size_t>(first)];
    return {b, begin[static_cast<std::size_t>(first + count)] - b};
  }

  i64 chunks_, here_, there_;
  std::vector<std::int32_t> counts_;  // [chunks, here, 2 + there]
  std::vector<i64> row_, sum_, entry_, ticket_;
};

}  // namespace pleiad::exchange
