#include "pleiad/experts/ffn_bank.hpp"

namespace pleiad::experts {

FfnBank::FfnBank(ParamSet& params, const std::string& prefix, FeedForwardKind kind, i64 width, const std::vector<i64>& widths,
                 const ExpertMap& map, i64 owner, i64 layer, i64 layers)
    : kind_(kind), width_(width), widths_(widths) {
  for (const i64 e : map.owned_by(owner)) {
    experts_.emplace_back(params, prefix, e, layer * map.experts() + e, kind, width, widths[e], layers);
  }
}

void FfnBank::forward(const ParamSet& params, ConstMatrixView rows, std::span<const i64> offset, BankTrace& trace, MatrixView out) const {
  i64 size = 0;
  for (std::size_t l = 0; l < experts_.size(); ++l) size += experts_[l].trace_size(offset[l + 1] - offset[l]);
  trace.values.reserve_uninitialised(size);
  std::span<real> rest = trace.values.span();
  for (std::size_t l = 0; l < experts_.size(); ++l) {
    const i64 begin = offset[l], count = offset[l + 1] - begin;
    if (count == 0) continue;
    const std::size_t need = static_cast<std::size_t>(experts_[l].trace_size(count));
    experts_[l].forward(params, rows.row_range(begin, count), rest.first(need), out.row_range(begin, count));
    rest = rest.subspan(need);
  }
}

void FfnBank::backward(ParamSet& params, ConstMatrixView rows, std::span<const i64> offset, const BankTrace& trace,
                       std::span<const real> weight, MatrixView d_out, MatrixView d_rows, std::span<real> d_weight) const {
  std::span<const real> rest = trace.values.span();
  for (std::size_t l = 0; l < experts_.size(); ++l) {
    const i64 begin = offset[l], count = offset[l + 1] - begin;
    if (count == 0) continue;
    const std::size_t first = static_cast<std::size_t>(begin), n = static_cast<std::size_t>(count);
    const std::size_t used = static_cast<std::size_t>(experts_[l].trace_size(count));
    experts_[l].backward(params, rows.row_range(begin, count), rest.first(used), weight.subspan(first, n),
                         d_out.row_range(begin, count), d_rows.row_range(begin, count), d_weight.subspan(first, n), 0);
    rest = rest.subspan(used);
  }
}

double FfnBank::flops_per_row(i64 expert) const {
  return 2.0 * static_cast<double>(kind_.matrices() * widths_[expert] * width_);
}

i64 FfnBank::parameters_of(i64 expert) const {
  return kind_.matrices() * widths_[expert] * width_ + (kind_.bias ? widths_[expert] + width_ : 0);
}

}  // namespace pleiad::experts
