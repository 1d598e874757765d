#include "pleiad/bench/layer.hpp"

#include <algorithm>
#include <numeric>

#include "pleiad/bench/bytes.hpp"
#include "pleiad/core/random.hpp"
#include "pleiad/ops/gemm.hpp"

namespace pleiad::bench {

namespace {

const model::MoeLayer& first_layer(const model::Model& model) {
  PLEIAD_CHECK(!model.moe_layers().empty(), "a model without experts");
  return *model.blocks()[model.moe_layers().front()].moe();
}

/// What the draws of one seed are for.
enum Use : std::uint32_t { k_x = 10, k_d_y, k_token, k_attention };

}  // namespace

LayerBench::LayerBench(const model::Model& model, ParamSet& params, const comm::ProcessGrid& grid, i64 lanes, i64 sequences, std::uint64_t seed)
    : model_(model), layer_(first_layer(model)), params_(params), grid_(grid), seed_(seed),
      lanes_(lanes, sequences, model.config().seq_len, grid.world().size(), grid.world().rank()) {
  params_.initialise(seed);
  params_.allocate_grads(lanes_.my_lanes().count);
  draw_input(seed);
}

void LayerBench::draw_input(std::uint64_t seed) {
  const i64 tokens = lanes_.my_tokens(), width = model_.config().width, length = lanes_.seq_len(), heads = model_.config().heads;
  const std::uint64_t first = static_cast<std::uint64_t>(lanes_.first_token());
  // Tokens as a norm hands them on: every feature of variance one.
  const auto normal = [&](Use use, Matrix& into) {
    const Stream draw(seed, Purpose::bench, use);
    into.resize_uninitialised(tokens, width);
    for (i64 i = 0; i < tokens * width; ++i) into.data()[i] = static_cast<real>(draw.normal(first * static_cast<std::uint64_t>(width) + static_cast<std::uint64_t>(i)));
  };
  normal(k_x, x_);
  normal(k_d_y, d_y_);
  const Stream draw(seed, Purpose::bench, k_token);
  for (i64 t = 0; t < tokens; ++t) {
    token_.push_back(static_cast<std::int32_t>(draw.below(first + static_cast<std::uint64_t>(t), static_cast<std::uint64_t>(model_.config().vocab))));
  }
  if (!layer_.has_importance()) return;
  // Maps of a causal model: every query shares itself out among the keys up to its own.
  const Stream share(seed, Purpose::bench, k_attention);
  attention_.resize(lanes_.my_sequences().count * heads * length, length);
  for (i64 r = 0; r < attention_.rows(); ++r) {
    const i64 keys = r % length + 1;
    const std::uint64_t row = first * static_cast<std::uint64_t>(heads) + static_cast<std::uint64_t>(r);
    double sum = 0;
    for (i64 j = 0; j < keys; ++j) sum += attention_(r, j) = static_cast<real>(share.uniform(row * static_cast<std::uint64_t>(length) + static_cast<std::uint64_t>(j)));
    for (i64 j = 0; j < keys; ++j) attention_(r, j) = static_cast<real>(attention_(r, j) / sum);
  }
}

model::StepContext LayerBench::context(bool training) { return {grid_, lanes_, times_, seed_, 0, training, {}, token_}; }

void LayerBench::forward(ConstMatrixView x, bool training, Pass& pass) {
  pass.y.resize_uninitialised(x.rows, x.cols);
  const routing::AttentionMaps maps = attention_.rows() ? routing::AttentionMaps{attention_, model_.config().heads} : routing::AttentionMaps{};
  layer_.forward(params_, x, maps, context(training), pass.trace, pass.y);
  PhaseTimes::Scope phase(times_, Phase::plan);
  model::LayerStatistics* const counted[] = {&pass.trace.statistics};
  model::sum_statistics(grid_.world(), counted);
}

void LayerBench::backward(ConstMatrixView x, bool training, double loss_scale, Pass& pass) {
  pass.d_x.resize(x.rows, x.cols);
  layer_.backward(params_, x, d_y_, context(training), pass.trace, loss_scale, pass.d_x);
}

Timed LayerBench::timed() {
  const auto pass = [this] {
    times_.reset();
    const double products = ops::product_totals().seconds;
    forward(x_, true, pass_);
    backward(x_, true, 1.0, pass_);
    phases_.push_back(times_.all());
    phases_.back().push_back(ops::product_totals().seconds - products);
  };
  return {pass, [this] { zero_grads(); }};
}

double LayerBench::flops() const {
  const std::vector<i64>& kept = pass_.trace.statistics.expert_tokens;
  double forward = 0;
  for (std::size_t e = 0; e < kept.size(); ++e) forward += static_cast<double>(kept[e]) * layer_.flops_per_row(static_cast<i64>(e));
  return 3 * forward;
}

double LayerBench::row_bytes() const {
  const routing::Bank bank = model_.moe_config().bank;
  if (bank == routing::Bank::feed_forward) return 0;
  return bank == routing::Bank::neuron ? neuron_bytes(used_experts(), model_.config().width) : value_bytes(used_experts(), model_.config().width);
}

i64 LayerBench::used_experts() const {
  return std::ranges::count_if(pass_.trace.statistics.expert_tokens, [](i64 n) { return n > 0; });
}

std::vector<Figure> LayerBench::figures(i64 samples) const {
  const std::size_t last = std::min(phases_.size(), static_cast<std::size_t>(samples));
  const auto median = [&](std::size_t column) {
    std::vector<double> values;
    for (std::size_t i = phases_.size() - last; i < phases_.size(); ++i) values.push_back(phases_[i][column]);
    return spread_of(values).median;
  };
  std::vector<Figure> all;
  double total = 0;
  for (int p = 0; p < k_phase_count; ++p) {
    const double seconds = median(static_cast<std::size_t>(p));
    total += seconds;
    if (seconds > 0) all.push_back({fmt::format("{}_ms", phase_name(static_cast<Phase>(p))), "ms", fmt::format("phase {} of a pass, rank 0", phase_name(static_cast<Phase>(p))), 1e3 * seconds});
  }
  all.push_back({"products_share", "1", "share of a pass inside matrix products, rank 0", median(k_phase_count) / total});
  return all;
}

std::vector<std::pair<std::string, i64>> LayerBench::shape() const {
  const model::MoeConfig& moe = model_.moe_config();
  std::vector<std::pair<std::string, i64>> s = {{"tokens", lanes_.tokens()}, {"width", model_.config().width}, {"experts", static_cast<i64>(moe.expert_widths.size())}};
  const auto [least, most] = std::ranges::minmax_element(moe.expert_widths);
  s.emplace_back("hidden", *most);
  if (*least != *most) s.emplace_back("least_hidden", *least);
  s.emplace_back("kept", std::accumulate(pass_.trace.statistics.expert_tokens.begin(), pass_.trace.statistics.expert_tokens.end(), i64{0}));
  if (moe.bank != routing::Bank::feed_forward) s.emplace_back("used_experts", used_experts());
  return s;
}

}  // namespace pleiad::bench
