#include "pleiad/model/adapter.hpp"

#include "pleiad/ops/vec.hpp"

namespace pleiad::model {

namespace {

// As small as the heads of the generator of HyperMoE: the layer starts as it is without an adapter.
constexpr double k_output_gain = 1e-3;

Matrix gather(ConstMatrixView all, std::span<const i64> rows) {
  Matrix some;
  some.resize_uninitialised(static_cast<i64>(rows.size()), all.cols);
  for (i64 i = 0; i < some.rows(); ++i) copy_rows(all.row_range(rows[i], 1), some.view().row_range(i, 1));
  return some;
}

void scatter_add(ConstMatrixView some, std::span<const i64> rows, std::span<const real> weight, MatrixView all) {
  for (i64 i = 0; i < some.rows; ++i) ops::vec::axpy(weight.empty() ? real{1} : weight[i], some.row(i), all.row(rows[i]), some.cols);
}

/// Which adapter of `adapters` works for which tokens of a lane, and with what weight.
std::vector<AdapterTrace::Part> share_out(const routing::Assignment& a, const StepContext& context, bool shared, std::size_t adapters, i64 begin,
                                          i64 count) {
  std::vector<AdapterTrace::Part> parts(adapters);
  const auto give = [&](i64 adapter, i64 token, real weight) {
    parts[adapter].tokens.push_back(token);
    parts[adapter].weight.push_back(weight);
  };
  for (i64 token = begin; token < begin + count; ++token) {
    if (!context.real_tokens.empty() && !context.real_tokens[token]) continue;
    const i64 first = a.offset[token], end = a.offset[token + 1];
    if (shared) give(0, token, 1);
    for (i64 i = first; i < end && !shared; ++i) give(a.expert[i], token, real{1} / static_cast<real>(end - first));
  }
  return parts;
}

}  // namespace

AdapterConfig AdapterConfig::read(Spec& s) {
  AdapterConfig c;
  const std::string kind = s.choice("adapter", "none", {"none", "shared", "per_expert"}, "a small free expert beside the experts, without a gate");
  if (kind == "none") return c;
  c.kind = kind == "shared" ? Kind::shared : Kind::per_expert;
  c.width = s.integer("adapter_width", c.width, 1, i64{1} << 24, "hidden width of an adapter");
  return c;
}

Adapter::Adapter(ParamSet& params, const std::string& prefix, const AdapterConfig& config, i64 experts, i64 width, i64 layers)
    : shared_(config.kind == AdapterConfig::Kind::shared) {
  experts::FeedForwardKind kind = experts::FeedForwardKind::from("relu", true);
  kind.any_rows = true;
  for (i64 e = 0; e < (shared_ ? 1 : experts); ++e) {
    adapters_.emplace_back(params, prefix, e, -1, kind, width, config.width, layers, k_output_gain);
  }
}

// Products are cut by lane and adapter, never by rank, so the bits do not depend on the ranks.
void Adapter::forward(const ParamSet& params, ConstMatrixView x, const routing::Assignment& a, const StepContext& context, AdapterTrace& trace,
                      MatrixView y) const {
  trace.parts.clear();
  for_each_lane(context.lanes, [&](i64 lane, i64 begin, i64 count) {
    std::vector<AdapterTrace::Part> parts = share_out(a, context, shared_, adapters_.size(), begin, count);
    for (std::size_t e = 0; e < parts.size(); ++e) {
      AdapterTrace::Part& part = parts[e];
      if (part.tokens.empty()) continue;
      part.lane = lane;
      part.adapter = static_cast<i64>(e);
      const Matrix in = gather(x, part.tokens);
      Matrix out;
      out.resize_uninitialised(in.rows(), in.cols());
      part.values.reserve_uninitialised(adapters_[e].trace_size(in.rows()));
      adapters_[e].forward(params, in, part.values.span(), room_, out);
      scatter_add(out, part.tokens, part.weight, y);
      trace.parts.push_back(std::move(part));
    }
  });
}

void Adapter::backward(ParamSet& params, ConstMatrixView x, ConstMatrixView d_y, const AdapterTrace& trace, MatrixView d_x) const {
  for (const AdapterTrace::Part& part : trace.parts) {
    const Matrix in = gather(x, part.tokens);
    const Matrix d_out = gather(d_y, part.tokens);
    Matrix d_in(in.rows(), in.cols());
    adapters_[part.adapter].backward(params, in, part.values.span(), part.weight, d_out, room_, d_in, {}, part.lane);
    scatter_add(d_in, part.tokens, {}, d_x);
  }
}

}  // namespace pleiad::model
