// A bank of experts of different width with random parameters (biases too), and the rows it is given.
#pragma once
#include "pleiad/experts/ffn_bank.hpp"
#include "support/sample.hpp"

namespace pleiad::experts {

/// Rows offset[e] .. offset[e+1]-1 for expert e, each row a token of its own.
inline ExpertRows rows_by_offset(const std::vector<i64>& offset, const std::vector<real>& weight) {
  ExpertRows rows;
  for (std::size_t e = 0; e + 1 < offset.size(); ++e) {
    if (offset[e] < offset[e + 1]) rows.runs.push_back({static_cast<i64>(e), offset[e], offset[e + 1]});
  }
  for (i64 r = 0; r < offset.back(); ++r) rows.token.push_back(static_cast<std::int32_t>(r));
  rows.weight = weight;
  return rows;
}

struct BankSample {
  BankSample(const std::string& activation, bool bias, i64 token_width, std::vector<i64> hidden, std::vector<i64> row_offset, bool rounded = false)
      : width(token_width),
        widths(std::move(hidden)),
        offset(std::move(row_offset)),
        bank(params, "x/", kind_of(activation, bias, rounded), width, widths, ExpertMap(ExpertPlacement::block, widths, 1), 0, 0, 1),
        rows(test::normal_matrix(offset.back(), width, 31)),
        d_y(test::normal_matrix(offset.back(), width, 32)),
        weight(static_cast<std::size_t>(offset.back())) {
    params.allocate();
    params.allocate_grads(1);
    std::uint64_t seed = 100;
    for (const ParamInfo& p : params.infos()) test::fill_normal(params.slice(p, params.values(p.owner)), seed++, 0.6);
    test::fill_normal(weight, 33);
  }

  static FeedForwardKind kind_of(const std::string& activation, bool bias, bool rounded) {
    FeedForwardKind kind = FeedForwardKind::from(activation, bias);
    kind.rounded = rounded;
    return kind;
  }
  std::span<real> values(i64 expert, const std::string& name) {
    const ParamInfo* p = params.find("x/experts/" + std::to_string(expert) + "/" + name);
    return p ? params.slice(*p, params.values(p->owner)) : std::span<real>();
  }
  ExpertRows expert_rows() const { return rows_by_offset(offset, weight); }
  /// Results without weights.
  Matrix forward(BankTrace& trace) const {
    const ExpertRows at = expert_rows();
    Matrix out(rows.rows(), width);
    bank.forward(params, rows, at, trace, {out, at.token, false});
    return out;
  }
  void backward(const BankTrace& trace, MatrixView d_rows, std::span<real> d_weight) {
    const ExpertRows at = expert_rows();
    bank.backward(params, rows, at, trace, d_y, {d_rows, at.token, false}, d_weight);
  }

  ParamSet params;
  i64 width;
  std::vector<i64> widths, offset;
  FfnBank bank;
  Matrix rows, d_y;
  std::vector<real> weight;
};

struct Kind {
  const char* activation;
  bool bias;
};
inline constexpr Kind k_kinds[] = {{"relu", false}, {"relu", true}, {"gelu", false}, {"gelu", true}, {"swiglu", false}};

}  // namespace pleiad::experts
