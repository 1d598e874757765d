// A bank of experts of different width with random parameters (biases too), and the rows it is given.
#pragma once
#include "pleiad/experts/ffn_bank.hpp"
#include "support/sample.hpp"

namespace pleiad::experts {

struct BankSample {
  BankSample(const std::string& activation, bool bias, i64 token_width, std::vector<i64> hidden, std::vector<i64> row_offset)
      : width(token_width),
        widths(std::move(hidden)),
        offset(std::move(row_offset)),
        bank(params, "x/", FeedForwardKind::from(activation, bias), width, widths, ExpertMap(ExpertPlacement::block, widths, 1), 0, 0, 1),
        rows(test::normal_matrix(offset.back(), width, 31)),
        d_y(test::normal_matrix(offset.back(), width, 32)),
        weight(static_cast<std::size_t>(offset.back())) {
    params.allocate();
    params.allocate_grads(1);
    std::uint64_t seed = 100;
    for (const ParamInfo& p : params.infos()) test::fill_normal(params.slice(p, params.values(p.owner)), seed++, 0.6);
    test::fill_normal(weight, 33);
  }

  std::span<real> values(i64 expert, const std::string& name) {
    const ParamInfo* p = params.find("x/experts/" + std::to_string(expert) + "/" + name);
    return p ? params.slice(*p, params.values(p->owner)) : std::span<real>();
  }
  Matrix forward(BankTrace& trace) const {
    Matrix out(rows.rows(), width);
    bank.forward(params, rows, offset, trace, out);
    return out;
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
