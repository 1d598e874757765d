#include "pleiad/model/hyper_expert.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "pleiad/comm/collectives.hpp"
#include "pleiad/comm/lane_sum.hpp"
#include "pleiad/ops/activation.hpp"
#include "pleiad/ops/gemm.hpp"
#include "pleiad/ops/linear.hpp"

namespace pleiad::model {

namespace {

using Set = std::vector<std::int32_t>;

void relu(MatrixView m) { ops::activate(ops::Activation::relu, m.flat(), m.flat()); }
/// d of relu, from its output: zero where the output is zero.
void relu_backward(ConstMatrixView out, MatrixView d) {
  for (i64 i = 0; i < d.rows; ++i) {
    for (i64 j = 0; j < d.cols; ++j) d(i, j) = out(i, j) > 0 ? d(i, j) : real{0};
  }
}

Set selection_of(const routing::Assignment& a, i64 token) {
  Set set(a.expert.begin() + a.offset[token], a.expert.begin() + a.offset[token + 1]);
  std::ranges::sort(set);
  return set;
}

/// The distinct sets of all ranks, sorted: the same list everywhere. collective.
std::vector<Set> all_sets(const comm::Communicator& world, const std::set<Set>& mine) {
  std::vector<std::int32_t> packed;
  for (const Set& s : mine) {
    packed.push_back(static_cast<std::int32_t>(s.size()));
    packed.insert(packed.end(), s.begin(), s.end());
  }
  const std::vector<std::int32_t> everyone = comm::all_gather_v<std::int32_t>(world, packed);
  std::set<Set> all;
  for (std::size_t at = 0; at < everyone.size(); at += 1 + static_cast<std::size_t>(everyone[at])) {
    all.emplace(everyone.begin() + static_cast<i64>(at) + 1, everyone.begin() + static_cast<i64>(at) + 1 + everyone[at]);
  }
  return {all.begin(), all.end()};
}

ParamId add_linear(ParamSet& params, const std::string& name, i64 out, i64 in) {
  return params.add({.name = name, .shape = {out, in}, .init = Init::uniform(1 / std::sqrt(static_cast<double>(in)))});
}
ParamId add_zeros(ParamSet& params, const std::string& name, i64 size) {
  return params.add({.name = name, .shape = {size}, .init = Init::zeros()});
}

}  // namespace

HyperConfig HyperConfig::read(Spec& s) {
  HyperConfig c;
  c.on = s.flag("hyper", false, "add a small expert generated from the experts that were not chosen (HyperMoE)");
  if (!c.on) return c;
  const i64 big = i64{1} << 24;
  const std::string input = s.choice("hyper_input", "unselected", {"unselected", "selected", "constant"}, "whose embeddings are summed");
  c.input = input == "unselected" ? Input::unselected : input == "selected" ? Input::selected : Input::constant;
  c.embedding = s.integer("hyper_embedding", c.embedding, 1, big, "width of an expert's embedding");
  c.hidden = s.integer("hyper_hidden", c.hidden, 1, big, "hidden width of the selection network");
  c.query = s.integer("hyper_query", c.query, 1, big, "output width of the selection network");
  c.layer_embedding = s.integer("hyper_layer_embedding", c.layer_embedding, 0, big, "width of a layer's embedding; 0: none, a control");
  c.trunk = s.integer("hyper_trunk", c.trunk, 1, big, "width of the generator's trunk");
  c.bottleneck = s.integer("hyper_bottleneck", c.bottleneck, 1, big, "hidden width of the generated expert");
  return c;
}

HyperNetwork::HyperNetwork(ParamSet& params, const std::string& prefix, const HyperConfig& c, i64 width) : config_(c), width_(width) {
  if (c.layer_embedding > 0) {
    layer_embedding_ = params.add({.name = prefix + "layer_embedding", .shape = {c.layers, c.layer_embedding}, .init = Init::normal(1)});
  }
  trunk_w_ = add_linear(params, prefix + "trunk_w", c.trunk, c.query + c.layer_embedding);
  trunk_b_ = add_zeros(params, prefix + "trunk_b", c.trunk);
  // Heads start so small that the generated expert is nearly zero.
  const auto head = [&](const char* name, i64 size, double fan) {
    const double half_width = 1e-3 * std::sqrt(3.0 / (static_cast<double>(c.trunk) * fan));
    const i64 begin = heads_.empty() ? 0 : heads_.back().begin + heads_.back().size;
    heads_.push_back({params.add({.name = prefix + name + "_w", .shape = {size, c.trunk}, .init = Init::uniform(half_width)}),
                      add_zeros(params, prefix + name + "_b", size), begin, size});
  };
  head("down", width * c.bottleneck, static_cast<double>(width));
  head("down_bias", c.bottleneck, 1);
  head("up", c.bottleneck * width, static_cast<double>(c.bottleneck));
  head("up_bias", width, 1);
}

void HyperNetwork::forward(const ParamSet& params, ConstMatrixView query, i64 layer, Trace& t) const {
  const i64 sets = query.rows;
  t.joined.resize(sets, config_.query + config_.layer_embedding);
  t.trunk.resize(sets, config_.trunk);
  t.weights.resize(sets, row_size());
  copy_rows(query, t.joined.view().col_range(0, config_.query));
  if (config_.layer_embedding > 0) {
    ops::add_bias(t.joined.view().col_range(config_.query, config_.layer_embedding), params.value(layer_embedding_).row_range(layer, 1));
  }
  ops::linear_forward(t.joined, params.value(trunk_w_), t.trunk);
  ops::add_bias(t.trunk, params.value(trunk_b_));
  relu(t.trunk);
  for (const Head& h : heads_) {
    const MatrixView out = t.weights.view().col_range(h.begin, h.size);
    ops::linear_forward(t.trunk, params.value(h.w), out);
    ops::add_bias(out, params.value(h.b));
  }
}

void HyperNetwork::backward(ParamSet& params, i64 layer, const Trace& t, ConstMatrixView d_weights, MatrixView d_query) const {
  Matrix d_trunk(t.trunk.rows(), t.trunk.cols()), d_joined(t.joined.rows(), t.joined.cols());
  for (const Head& h : heads_) {
    const ConstMatrixView d = d_weights.col_range(h.begin, h.size);
    ops::linear_backward(t.trunk, params.value(h.w), d, d_trunk, params.grad(h.w), true);
    ops::add_column_sums(d, params.grad(h.b));
  }
  relu_backward(t.trunk, d_trunk);
  ops::linear_backward(t.joined, params.value(trunk_w_), d_trunk, d_joined, params.grad(trunk_w_));
  ops::add_column_sums(d_trunk, params.grad(trunk_b_));
  copy_rows(d_joined.view().col_range(0, config_.query), d_query);
  if (config_.layer_embedding > 0) {
    ops::add_column_sums(d_joined.view().col_range(config_.query, config_.layer_embedding), params.grad(layer_embedding_).row_range(layer, 1));
  }
}

HyperExpert::HyperExpert(ParamSet& params, const std::string& prefix, const HyperNetwork& network, i64 experts, i64 width, i64 layer)
    : network_(network), experts_(experts), width_(width), layer_(layer) {
  const HyperConfig& c = network.config();
  embedding_ = params.add({.name = prefix + "expert_embedding", .shape = {experts, c.embedding}, .init = Init::normal(1)});
  w1_ = add_linear(params, prefix + "sel_w1", c.hidden, c.embedding);
  b1_ = add_zeros(params, prefix + "sel_b1", c.hidden);
  w2_ = add_linear(params, prefix + "sel_w2", c.query, c.hidden);
  b2_ = add_zeros(params, prefix + "sel_b2", c.query);
}

void HyperExpert::forward(const ParamSet& params, ConstMatrixView x, const routing::Assignment& a, const StepContext& context,
                          HyperTrace& t, MatrixView y) const {
  const auto is_real = [&](i64 token) { return context.real_tokens.empty() || context.real_tokens[token]; };
  std::set<Set> mine;
  for (i64 token = 0; token < a.tokens(); ++token) {
    if (is_real(token)) mine.insert(selection_of(a, token));
  }
  t.sets = all_sets(context.grid.world(), mine);
  const i64 sets = static_cast<i64>(t.sets.size()), bottleneck = network_.config().bottleneck;

  // Once per distinct set. Every rank generates all of them, in products of one shape, so the bits do not depend on the ranks.
  const HyperConfig& c = network_.config();
  t.sum.resize(sets, c.embedding);
  t.hidden.resize(sets, c.hidden);
  t.query.resize(sets, c.query);
  for (i64 g = 0; g < sets; ++g) {
    for (i64 e = 0; e < experts_; ++e) {
      const bool chosen = std::ranges::binary_search(t.sets[g], static_cast<std::int32_t>(e));
      if (c.input == HyperConfig::Input::constant || chosen == (c.input == HyperConfig::Input::selected)) {
        ops::add_bias(t.sum.view().row_range(g, 1), params.value(embedding_).row_range(e, 1));
      }
    }
  }
  ops::linear_forward(t.sum, params.value(w1_), t.hidden);
  ops::add_bias(t.hidden, params.value(b1_));
  relu(t.hidden);
  ops::linear_forward(t.hidden, params.value(w2_), t.query);
  ops::add_bias(t.query, params.value(b2_));
  network_.forward(params, t.query, layer_, t.network);

  // Tokens of one lane and one set in one product.
  t.bottleneck.resize(x.rows, bottleneck);
  t.rows.assign(static_cast<std::size_t>(context.lanes.my_lanes().count), std::vector<std::vector<i64>>(t.sets.size()));
  for_each_lane(context.lanes, [&](i64 lane, i64 begin, i64 count) {
    for (i64 token = begin; token < begin + count; ++token) {
      if (!is_real(token)) continue;
      t.rows[lane][std::ranges::lower_bound(t.sets, selection_of(a, token)) - t.sets.begin()].push_back(token);
    }
    for (i64 g = 0; g < sets; ++g) {
      const std::vector<i64>& rows = t.rows[lane][g];
      const i64 n = static_cast<i64>(rows.size());
      if (n == 0) continue;
      const real* w = t.network.weights.row(g);
      const ConstMatrixView down(w, width_, bottleneck), beta(w + width_ * bottleneck, 1, bottleneck);
      const ConstMatrixView up(beta.data + bottleneck, bottleneck, width_), gamma(up.data + bottleneck * width_, 1, width_);
      Matrix in(n, width_), hidden(n, bottleneck), out(n, width_);
      for (i64 i = 0; i < n; ++i) copy_rows(x.row_range(rows[i], 1), in.view().row_range(i, 1));
      ops::gemm(ops::k_any_rows, ops::Trans::no, ops::Trans::no, 1, in, down, 0, hidden);
      ops::add_bias(hidden, beta);
      relu(hidden);
      ops::gemm(ops::k_any_rows, ops::Trans::no, ops::Trans::no, 1, hidden, up, 0, out);
      ops::add_bias(out, gamma);
      for (i64 i = 0; i < n; ++i) {
        ops::add_bias(y.row_range(rows[i], 1), out.view().row_range(i, 1));
        copy_rows(hidden.view().row_range(i, 1), t.bottleneck.view().row_range(rows[i], 1));
      }
    }
  });
}

void HyperExpert::backward(ParamSet& params, ConstMatrixView x, ConstMatrixView d_y, const StepContext& context, const HyperTrace& t,
                           MatrixView d_x) const {
  const i64 sets = static_cast<i64>(t.sets.size()), bottleneck = network_.config().bottleneck, row = network_.row_size();
  Buffer<real> partial(std::max<i64>(context.lanes.my_lanes().count, 1) * sets * row);
  for_each_lane(context.lanes, [&](i64 lane, i64, i64) {
    for (i64 g = 0; g < sets; ++g) {
      const std::vector<i64>& rows = t.rows[lane][g];
      const i64 n = static_cast<i64>(rows.size());
      if (n == 0) continue;
      const real* w = t.network.weights.row(g);
      const ConstMatrixView down(w, width_, bottleneck), up(w + width_ * bottleneck + bottleneck, bottleneck, width_);
      real* d = partial.data() + (lane * sets + g) * row;
      const MatrixView d_down(d, width_, bottleneck), d_beta(d + width_ * bottleneck, 1, bottleneck);
      const MatrixView d_up(d_beta.data + bottleneck, bottleneck, width_), d_gamma(d_up.data + bottleneck * width_, 1, width_);
      Matrix in(n, width_), hidden(n, bottleneck), d_out(n, width_), d_hidden(n, bottleneck), d_in(n, width_);
      for (i64 i = 0; i < n; ++i) {
        copy_rows(x.row_range(rows[i], 1), in.view().row_range(i, 1));
        copy_rows(d_y.row_range(rows[i], 1), d_out.view().row_range(i, 1));
        copy_rows(t.bottleneck.view().row_range(rows[i], 1), hidden.view().row_range(i, 1));
      }
      ops::gemm(ops::k_any_rows, ops::Trans::yes, ops::Trans::no, 1, hidden, d_out, 1, d_up);
      ops::add_column_sums(d_out, d_gamma);
      ops::gemm(ops::k_any_rows, ops::Trans::no, ops::Trans::yes, 1, d_out, up, 0, d_hidden);
      relu_backward(hidden, d_hidden);
      ops::gemm(ops::k_any_rows, ops::Trans::yes, ops::Trans::no, 1, in, d_hidden, 1, d_down);
      ops::add_column_sums(d_hidden, d_beta);
      ops::gemm(ops::k_any_rows, ops::Trans::no, ops::Trans::yes, 1, d_hidden, down, 0, d_in);
      for (i64 i = 0; i < n; ++i) ops::add_bias(d_x.row_range(rows[i], 1), d_in.view().row_range(i, 1));
    }
  });
  Matrix d_weights(sets, row);
  comm::lane_sum<real>(context.grid.world(), context.lanes, partial.data(), sets * row, d_weights.flat());

  // Every rank has the whole gradient now; it enters the sum over lanes once, with the first lane.
  if (context.lanes.my_lanes().count == 0 || context.lanes.my_lanes().begin != 0) return;
  Matrix d_query(sets, t.query.cols()), d_hidden(sets, t.hidden.cols()), d_sum(sets, t.sum.cols());
  network_.backward(params, layer_, t.network, d_weights, d_query);
  ops::linear_backward(t.hidden, params.value(w2_), d_query, d_hidden, params.grad(w2_));
  ops::add_column_sums(d_query, params.grad(b2_));
  relu_backward(t.hidden, d_hidden);
  ops::linear_backward(t.sum, params.value(w1_), d_hidden, d_sum, params.grad(w1_));
  ops::add_column_sums(d_hidden, params.grad(b1_));
  const HyperConfig& c = network_.config();
  for (i64 g = 0; g < sets; ++g) {
    for (i64 e = 0; e < experts_; ++e) {
      const bool chosen = std::ranges::binary_search(t.sets[g], static_cast<std::int32_t>(e));
      if (c.input == HyperConfig::Input::constant || chosen == (c.input == HyperConfig::Input::selected)) {
        ops::add_bias(params.grad(embedding_).row_range(e, 1), d_sum.view().row_range(g, 1));
      }
    }
  }
}

}  // namespace pleiad::model
