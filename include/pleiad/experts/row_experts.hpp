// What banks of experts of one row share (neuron_bank.hpp, value_bank.hpp). Of a million rows at random places the processor cannot guess
// the next, so each is fetched before its turn; and they are read token by token, whose own row then stays in the nearest cache.
#pragma once
#include "pleiad/experts/expert_bank.hpp"
#include "pleiad/ops/rows.hpp"

namespace pleiad::experts {

/// The rows of ExpertRows token by token, those of each token in their order.
class ByToken {
 public:
  struct Entry {
    std::int32_t row, expert, place;  // in the landing
    real weight;
  };

  /// pre: every row's token is below `tokens`.
  ByToken(const ExpertRows& rows, i64 tokens, const Landing& landing);

  i64 tokens() const { return static_cast<i64>(offset_.size()) - 1; }
  /// Entries begin(t) .. end(t)-1 of token t.
  i64 begin(i64 token) const { return offset_[static_cast<std::size_t>(token)]; }
  i64 end(i64 token) const { return offset_[static_cast<std::size_t>(token) + 1]; }
  const Entry& operator[](i64 i) const { return entries_[i]; }

  /// For two loops over the entries of each token, first those of table `first`, then those of table `second`, which stand at entry i of token
  /// t: brings the row that comes a little later near.
  void fetch_in_first(i64 t, i64 i, ConstMatrixView first, ConstMatrixView second) const {
    const i64 later = i + ops::rows::k_ahead;
    if (later < end(t)) {
      ops::rows::fetch(first.row(entries_[later].expert), first.cols);
    } else if (later - end(t) + begin(t) < end(t)) {
      ops::rows::fetch(second.row(entries_[later - end(t) + begin(t)].expert), second.cols);
    }
  }
  void fetch_in_second(i64 t, i64 i, ConstMatrixView first, ConstMatrixView second) const {
    const i64 later = i + ops::rows::k_ahead;
    if (later >= entries_.size()) return;
    const ConstMatrixView& table = later < end(t) ? second : first;
    ops::rows::fetch(table.row(entries_[later].expert), table.cols);
  }

 private:
  std::vector<i64> offset_;
  Buffer<Entry> entries_;
};

/// Calls work(token) for all tokens, or for those that `pace` gives, as it gives them.
template <class Work>
void for_each_token(i64 tokens, Pace* pace, Work work) {
  for (Range some = pace ? pace->next() : Range{0, tokens}; some.count > 0; some = pace ? pace->next() : Range{}) {
    for (i64 t = some.begin; t < some.end(); ++t) work(t);
  }
}

/// Of every expert that has rows: grads row += sum over its rows r, in order, of factor[r] * from.row(token[r]).
void add_gradients(const ExpertRows& rows, std::span<const real> factor, ConstMatrixView from, SparseRows& grads);

}  // namespace pleiad::experts
