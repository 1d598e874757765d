#include "pleiad/experts/row_experts.hpp"

#include <numeric>

namespace pleiad::experts {

ByToken::ByToken(const ExpertRows& rows, i64 tokens, const Landing& landing) : offset_(static_cast<std::size_t>(tokens) + 1, 0) {
  for (const std::int32_t t : rows.token) ++offset_[static_cast<std::size_t>(t) + 1];
  std::partial_sum(offset_.begin(), offset_.end(), offset_.begin());
  std::vector<i64> next(offset_.begin(), offset_.end() - 1);
  entries_.reserve_uninitialised(rows.rows());
  for (const ExpertRun& run : rows.runs) {
    for (i64 r = run.begin; r < run.end; ++r) {
      entries_[next[rows.token[r]]++] = {static_cast<std::int32_t>(r), static_cast<std::int32_t>(run.expert), landing.place[r], rows.weight[r]};
    }
  }
}

void add_gradients(const ExpertRows& rows, std::span<const real> factor, ConstMatrixView from, SparseRows& grads) {
  constexpr std::size_t ahead = 2 * ops::rows::k_ahead;
  for (std::size_t i = 0; i < rows.runs.size(); ++i) {
    if (i + ahead < rows.runs.size()) grads.expect(rows.runs[i + ahead].expert);
    const ExpertRun& run = rows.runs[i];
    bool made = false;
    real* row = grads.touch_unwritten(run.expert, made);
    ops::rows::weighted_sum(
        run.begin, run.end, [&](i64 r) { return from.row(rows.token[r]); }, [&](i64 r) { return factor[r]; }, !made, row, from.cols);
  }
}

}  // namespace pleiad::experts
