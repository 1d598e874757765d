// The experts of one layer that this rank owns. They read token rows where these lie and put results where they are wanted: no copy
// of a row is made for each of its experts. Letters: R rows of the experts, D width. Read next: ffn_bank.hpp.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "pleiad/core/lanes.hpp"
#include "pleiad/core/param.hpp"

namespace pleiad::experts {

/// Rows begin .. end-1 belong to one expert, counted among those of this rank.
struct ExpertRun {
  i64 expert = 0, begin = 0, end = 0;
  i64 rows() const { return end - begin; }
  bool operator==(const ExpertRun&) const = default;
};

/// What the experts of this rank have to do, expert by expert: row r is tokens.row(token[r]).
struct ExpertRows {
  std::vector<ExpertRun> runs;      // experts that have rows, ascending; they cover 0 .. R-1
  std::vector<std::int32_t> token;  // [R]
  std::vector<real> weight;         // [R] combine weights
  i64 rows() const { return static_cast<i64>(token.size()); }
};

/// Rows that arrive while experts work, and results that leave: told where the experts are, it keeps both going.
class Pace {
 public:
  virtual ~Pace() = default;
  /// Expert by expert: all rows before `row` have their results. Returns when `row` and as many after it as are worked on together can be read.
  virtual void reach(i64 row) = 0;
  /// Token by token: those given before have their results. Some tokens that can be read now; none after the last.
  virtual Range next() = 0;
};

/// Where results go: that of row r to into.row(place[r]). `add`: they are added there, in the order of the rows, forward ones times their
/// weight; otherwise the place is overwritten with the result as it is.
struct Landing {
  MatrixView into;
  std::span<const std::int32_t> place;  // [R]
  bool add = false;
  Pace* pace = nullptr;  // to be asked before rows are read; without it all can be read
};

/// What forward leaves for backward.
struct BankTrace {
  Buffer<real> values;
};

class ExpertBank {
 public:
  virtual ~ExpertBank() = default;
  /// Whether it takes all rows of a token together (Pace::next) instead of all rows of an expert (Pace::reach).
  virtual bool token_by_token() const { return false; }
  /// Results of all rows of `tokens` [.,D]. Local.
  virtual void forward(const ParamSet& params, ConstMatrixView tokens, const ExpertRows& rows, BankTrace& trace, const Landing& out) const = 0;
  /// Row r of d_out, d_out.row(rows.token[r]), is the gradient of the token's output, before weighting. Gives the gradient by row to `d_x` and
  /// writes d_weight [R]; adds parameter gradients. Local.
  virtual void backward(ParamSet& params, ConstMatrixView tokens, const ExpertRows& rows, const BankTrace& trace, ConstMatrixView d_out,
                        const Landing& d_x, std::span<real> d_weight) const = 0;
  /// Floating-point operations of a global expert for one row, forward.
  virtual double flops_per_row(i64 expert) const = 0;
  /// Trainable numbers of a global expert.
  virtual i64 parameters_of(i64 expert) const = 0;
};

}  // namespace pleiad::experts
