#include "pleiad/bench/layer_check.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "pleiad/comm/collectives.hpp"
#include "pleiad/core/random.hpp"

namespace pleiad::bench {

namespace {

constexpr i64 k_tokens_per_rank = 4;
constexpr double k_step_of_x = 3e-3;       // relative to its deviation; small, so that most tokens keep their experts
constexpr double k_step_of_weights = 1e-2;

/// What differences in single precision can hold. The slope of relu jumps: some neurons are on its other side at one of the two ends.
double allowed(const LayerBench& bench) {
  const model::MoeConfig& moe = bench.model().moe_config();
  return moe.expert_kind.activation == ops::Activation::relu || moe.expert_kind.rounded ? 2e-2 : 1e-3;
}

/// sqrt(sum of squared differences / sum of squares of what is right), over all ranks.
class RelativeError {
 public:
  void add(double found, double right) {
    sums_[0] += (found - right) * (found - right);
    sums_[1] += right * right;
  }
  double over(const comm::Communicator& world) {
    comm::all_reduce_sum<double>(world, sums_);
    return std::sqrt(sums_[0] / sums_[1]);
  }

 private:
  double sums_[2] = {};
};

double activation(ops::Activation f, double a) {
  switch (f) {
    case ops::Activation::relu: return std::max(a, 0.0);
    case ops::Activation::gelu: return 0.5 * a * (1 + std::erf(a / std::numbers::sqrt2));
    case ops::Activation::silu: return a / (1 + std::exp(-a));
  }
  return 0;
}

/// The experts of this rank, one token at a time, in double and by the book.
class PlainExperts {
 public:
  PlainExperts(LayerBench& bench) : params_(bench.params()), prefix_(bench.prefix()), config_(bench.model().moe_config()) {}

  /// y += weight * E_expert(x), if the expert is ours.
  void add(i64 expert, double weight, std::span<const double> x, std::span<double> y) const {
    if (config_.bank == routing::Bank::feed_forward) return add_network(fmt::format("{}experts/{}/", prefix_, expert), weight, x, y);
    const bool neuron = config_.bank == routing::Bank::neuron;
    const ParamInfo* rows = params_.find(prefix_ + (neuron ? "peer/v" : "pkm/values"));
    const i64 row = expert - rows->first_row;
    if (row < 0 || row >= rows->rows) return;
    if (neuron) weight *= activation(config_.expert_kind.activation, dot(value(prefix_ + "peer/u").row(row), x));
    const ConstMatrixView out = value(rows->name);
    for (std::size_t j = 0; j < y.size(); ++j) y[j] += weight * static_cast<double>(out(row, static_cast<i64>(j)));
  }

 private:
  ConstMatrixView value(const std::string& name) const { return std::as_const(params_).value(ParamId{params_.find(name)->index}); }
  static double dot(const real* w, std::span<const double> x) {
    double sum = 0;
    for (std::size_t j = 0; j < x.size(); ++j) sum += static_cast<double>(w[j]) * x[j];
    return sum;
  }

  void add_network(const std::string& name, double weight, std::span<const double> x, std::span<double> y) const {
    const experts::FeedForwardKind kind = config_.expert_kind;
    if (!params_.find(name + (kind.gated ? "w_gate" : "w_in"))) return;
    const ConstMatrixView in = value(name + (kind.gated ? "w_gate" : "w_in")), out = value(name + (kind.gated ? "w_down" : "w_out"));
    std::vector<double> act(static_cast<std::size_t>(in.rows));
    for (i64 h = 0; h < in.rows; ++h) {
      const double pre = dot(in.row(h), x) + (kind.bias ? static_cast<double>(value(name + "b_in")(0, h)) : 0);
      act[h] = activation(kind.activation, pre) * (kind.gated ? dot(value(name + "w_up").row(h), x) : 1);
    }
    for (i64 j = 0; j < out.rows; ++j) y[j] += weight * (dot(out.row(j), act) + (kind.bias ? static_cast<double>(value(name + "b_out")(0, j)) : 0));
  }

  const ParamSet& params_;
  std::string prefix_;
  const model::MoeConfig& config_;
};

/// A few tokens of all ranks, with their kept assignments.
struct SampledTokens {
  std::vector<double> x;                 // [tokens x D]
  std::vector<i64> local, entries;       // [tokens] number at home, count of assignments
  std::vector<i64> expert;
  std::vector<double> weight;
  std::vector<i64> of_rank;              // [ranks] tokens
};

SampledTokens sample_tokens(LayerBench& bench, const LayerBench::Pass& pass) {
  const routing::Assignment& a = pass.trace.router->assignment;
  SampledTokens mine;
  const i64 tokens = a.tokens(), samples = std::min(tokens, k_tokens_per_rank);
  for (i64 s = 0; s < samples; ++s) {
    const i64 t = share(tokens, samples, s).begin + tokens / samples / 2;
    mine.local.push_back(t);
    mine.x.insert(mine.x.end(), bench.x().row(t), bench.x().row(t) + bench.x().cols());
    mine.entries.push_back(0);
    for (i64 i = a.offset[t]; i < a.offset[t + 1]; ++i) {
      if (!a.kept[i]) continue;
      ++mine.entries.back();
      mine.expert.push_back(a.expert[i]);
      mine.weight.push_back(static_cast<double>(a.weight[i]));
    }
  }
  const comm::Communicator& world = bench.grid().world();
  SampledTokens all;
  all.x = comm::all_gather_v<double>(world, mine.x);
  all.local = comm::all_gather_v<i64>(world, mine.local, &all.of_rank);
  all.entries = comm::all_gather_v<i64>(world, mine.entries);
  all.expert = comm::all_gather_v<i64>(world, mine.expert);
  all.weight = comm::all_gather_v<double>(world, mine.weight);
  return all;
}

Check check_outputs(LayerBench& bench, const LayerBench::Pass& pass) {
  const std::size_t width = static_cast<std::size_t>(bench.x().cols());
  const SampledTokens tokens = sample_tokens(bench, pass);
  const PlainExperts plain(bench);
  std::vector<double> y(tokens.local.size() * width, 0.0);
  std::size_t entry = 0;
  for (std::size_t s = 0; s < tokens.local.size(); ++s) {
    for (i64 i = 0; i < tokens.entries[s]; ++i, ++entry) {
      plain.add(tokens.expert[entry], tokens.weight[entry], std::span(tokens.x).subspan(s * width, width), std::span(y).subspan(s * width, width));
    }
  }
  comm::all_reduce_sum<double>(bench.grid().expert_group(), y);
  RelativeError error;
  std::size_t s = 0;
  for (i64 rank = 0; rank < bench.grid().world().size(); ++rank) {
    for (i64 i = 0; i < tokens.of_rank[rank]; ++i, ++s) {
      if (rank != bench.grid().world().rank()) continue;
      for (std::size_t j = 0; j < width; ++j) error.add(static_cast<double>(pass.y(tokens.local[s], static_cast<i64>(j))), y[s * width + j]);
    }
  }
  return {fmt::format("y of {} tokens against a plain evaluation in double", tokens.local.size()), error.over(bench.grid().world()), sizeof(real) == 4 ? 1e-5 : 1e-12};
}

double dot(const real* a, const real* b, i64 n) {
  double sum = 0;
  for (i64 j = 0; j < n; ++j) sum += static_cast<double>(a[j]) * static_cast<double>(b[j]);
  return sum;
}

Check check_input_gradient(LayerBench& bench, const LayerBench::Pass& pass) {
  const Matrix& x = bench.x();
  Matrix direction(x.rows(), x.cols()), moved(x.rows(), x.cols());
  const Stream draw(2, Purpose::bench, static_cast<std::uint32_t>(bench.grid().world().rank()));
  for (i64 i = 0; i < direction.rows() * direction.cols(); ++i) direction.data()[i] = static_cast<real>(draw.normal(static_cast<std::uint64_t>(i)));
  LayerBench::Pass ends[2];
  for (const int end : {0, 1}) {
    for (i64 i = 0; i < x.rows() * x.cols(); ++i) moved.data()[i] = x.data()[i] + static_cast<real>(end ? k_step_of_x : -k_step_of_x) * direction.data()[i];
    bench.forward(moved, false, ends[end]);
  }
  const auto& before = ends[0].trace.router->assignment;
  const auto& here = pass.trace.router->assignment;
  const auto& after = ends[1].trace.router->assignment;
  RelativeError error;
  i64 compared = 0;
  for (i64 t = 0; t < x.rows(); ++t) {
    const std::vector<std::int32_t> experts = kept_experts(here, t);
    if (experts != kept_experts(before, t) || experts != kept_experts(after, t)) continue;
    ++compared;
    const double difference = dot(ends[1].y.row(t), bench.d_y().row(t), x.cols()) - dot(ends[0].y.row(t), bench.d_y().row(t), x.cols());
    error.add(dot(pass.d_x.row(t), direction.row(t), x.cols()), difference / (2 * k_step_of_x));
  }
  const i64 all = comm::sum_over<i64>(bench.grid().world(), compared);
  return {fmt::format("d_x of {} tokens along a direction against differences", all), error.over(bench.grid().world()), allowed(bench)};
}

/// +1 or -1 by the number of an element of a parameter, the same on every rank that holds it.
double sign_of(std::uint64_t parameter, i64 element) {
  std::uint64_t h = (parameter + static_cast<std::uint64_t>(element)) * 0x9E3779B97F4A7C15ull;
  h = (h ^ (h >> 29)) * 0xBF58476D1CE4E5B9ull;
  return (h >> 40) & 1 ? 1 : -1;
}

/// Calls f(value, gradient, sign) for every number of the layer's experts that has a gradient. Rows without one move nothing.
template <class F>
void for_each_weight(LayerBench& bench, F f) {
  ParamSet& params = bench.params();
  for (const ParamInfo& p : params.infos()) {
    if (p.owner != Owner::expert || !p.name.starts_with(bench.prefix())) continue;
    std::uint64_t name = 0;
    for (const char c : p.name) name = name * 131 + static_cast<unsigned char>(c);
    const auto row = [&](i64 r, const real* gradient) {
      real* value = params.value(ParamId{p.index}).row(r);
      for (i64 j = 0; j < p.cols; ++j) f(value[j], static_cast<double>(gradient[j]), sign_of(name, (p.first_row + r) * p.cols + j));
    };
    if (p.row_block()) {
      SparseRows& grads = params.row_grads(ParamId{p.index});
      for (i64 slot = 0; slot < grads.count(); ++slot) row(grads.touched()[slot], grads.at(slot));
    } else {
      const ConstMatrixView grads = params.grad(ParamId{p.index});
      for (i64 r = 0; r < p.rows; ++r) row(r, grads.row(r));
    }
  }
}

Check check_expert_gradient(LayerBench& bench) {
  const comm::Communicator& world = bench.grid().world();
  double sums[4] = {};  // along the direction, its expected square, squares of the weights, their number
  for_each_weight(bench, [&](real& w, double g, double sign) {
    sums[0] += g * sign;
    sums[1] += g * g;
    sums[2] += static_cast<double>(w) * static_cast<double>(w);
    sums[3] += 1;
  });
  comm::all_reduce_sum<double>(world, sums);
  const double step = k_step_of_weights * std::sqrt(sums[2] / sums[3]);
  const auto move = [&](double by) { for_each_weight(bench, [&](real& w, double, double sign) { w += static_cast<real>(by * sign); }); };
  double objective[2] = {};
  for (const int end : {0, 1}) {
    move(end ? 2 * step : -step);
    LayerBench::Pass pass;
    bench.forward(bench.x(), false, pass);
    for (i64 t = 0; t < pass.y.rows(); ++t) objective[end] += dot(pass.y.row(t), bench.d_y().row(t), pass.y.cols());
  }
  move(-step);
  comm::all_reduce_sum<double>(world, objective);
  const double difference = (objective[1] - objective[0]) / (2 * step);
  // A direction may happen to lie almost across the gradient: what it would be on average is the measure.
  return {"gradient of the experts along a direction against differences", std::abs(sums[0] - difference) / std::sqrt(sums[1]), allowed(bench)};
}

}  // namespace

std::vector<std::int32_t> kept_experts(const routing::Assignment& a, i64 token) {
  std::vector<std::int32_t> kept;
  for (i64 i = a.offset[token]; i < a.offset[token + 1]; ++i) {
    if (a.kept[i]) kept.push_back(a.expert[i]);
  }
  std::ranges::sort(kept);
  return kept;
}

std::vector<Check> check_layer(LayerBench& bench) {
  LayerBench::Pass pass;
  bench.zero_grads();
  bench.forward(bench.x(), false, pass);
  bench.backward(bench.x(), false, 0, pass);
  std::vector<Check> checks;
  const model::MoeConfig& moe = bench.model().moe_config();
  if (!moe.hyper.on && moe.adapter.kind == model::AdapterConfig::Kind::none) checks.push_back(check_outputs(bench, pass));
  checks.push_back(check_input_gradient(bench, pass));
  checks.push_back(check_expert_gradient(bench));
  bench.zero_grads();
  return checks;
}

std::vector<Check> compare_layers(LayerBench& subject, LayerBench& reference, double allowed) {
  const comm::Communicator& world = subject.grid().world();
  const auto compare = [&](const std::string& what, std::span<const real> found, std::span<const real> right) {
    PLEIAD_CHECK(found.size() == right.size(), "{}: {} and {} numbers", what, found.size(), right.size());
    RelativeError error;
    for (std::size_t i = 0; i < found.size(); ++i) error.add(static_cast<double>(found[i]), static_cast<double>(right[i]));
    return Check{what + " against the reference layer", error.over(world), allowed};
  };
  return {compare("y", subject.last().y.flat(), reference.last().y.flat()), compare("d_x", subject.last().d_x.flat(), reference.last().d_x.flat()),
          compare("gradient of the experts", subject.params().grads(Owner::expert), reference.params().grads(Owner::expert))};
}

}  // namespace pleiad::bench
