// The experts of one layer that this rank owns, seen as one thing that maps expert-major rows to expert-major rows.
// Letters: R rows that arrived, D width, L local experts. Read next: ffn_bank.hpp.
#pragma once
#include <memory>
#include <span>
#include <vector>

#include "pleiad/core/param.hpp"

namespace pleiad::experts {

/// What forward leaves for backward.
struct BankTrace {
  Buffer<real> values;
};

class ExpertBank {
 public:
  virtual ~ExpertBank() = default;
  /// rows [R,D] in expert-major order: local expert l owns rows offset[l] .. offset[l+1]-1. out [R,D], unweighted. Local.
  virtual void forward(const ParamSet& params, ConstMatrixView rows, std::span<const i64> offset, BankTrace& trace,
                       MatrixView out) const = 0;
  /// d_out [R,D] is the gradient of the token's output, before weighting; weight [R]. Writes d_rows [R,D] and d_weight [R];
  /// adds parameter gradients; destroys d_out. Local.
  virtual void backward(ParamSet& params, ConstMatrixView rows, std::span<const i64> offset, const BankTrace& trace,
                        std::span<const real> weight, MatrixView d_out, MatrixView d_rows, std::span<real> d_weight) const = 0;
  /// Floating-point operations of a global expert for one row, forward.
  virtual double flops_per_row(i64 expert) const = 0;
  /// Trainable numbers of a global expert.
  virtual i64 parameters_of(i64 expert) const = 0;
};

}  // namespace pleiad::experts
