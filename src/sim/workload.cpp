#include "pleiad/sim/workload.hpp"

#include <algorithm>
#include <cmath>

#include "pleiad/experts/ffn_bank.hpp"

namespace pleiad::sim {

namespace {

constexpr double k_real = sizeof(real);
// Rows of a product that a token-by-token bank is as fast as: its tokens stay in the cache nearest to the processor.
constexpr double k_rows_of_a_neuron = 8;

double as_double(i64 n) { return static_cast<double>(n); }

struct Sizes {
  double tokens, lane_rows, width;
  Sizes(const StepModel& m, const Share& s) : tokens(as_double(s.sequences * m.model.seq_len)), lane_rows(s.lanes > 0 ? tokens / as_double(s.lanes) : 0), width(as_double(m.model.width)) {}
};

/// Forward: x W. Backward: gradient of x, and of W.
void add_linear(Work& w, double rows, double in, double out, double all_rows, Pass pass, bool bf16 = false) {
  if (all_rows <= 0) return;
  const double flops = 2 * all_rows * in * out, width = std::min(in, out);
  w.products.push_back({rows, width, flops, bf16 ? Work::Kind::bf16 : Work::Kind::tokens});
  if (pass == Pass::backward) w.products.push_back({rows, width, flops, bf16 ? Work::Kind::bf16 : Work::Kind::weights});
}

/// Rows of the tiles that experts make of theirs (experts/ffn_bank.hpp).
double filled_rows(double rows) {
  const i64 whole = static_cast<i64>(std::ceil(rows)), rest = whole % experts::k_tile_rows;
  return as_double(whole - rest + (rest > 0 ? experts::tile_height(rest) : 0));
}

/// A feed-forward network of hidden width h for `all_rows` rows, `rows` of them in each product.
Work feed_forward(double rows, double all_rows, double width, double hidden, i64 matrices, Pass pass, bool bf16 = false) {
  Work w;
  for (i64 i = 0; i < matrices; ++i) add_linear(w, rows, width, hidden, all_rows, pass, bf16);
  w.elements = all_rows * hidden;
  return w;
}

}  // namespace

bool StepModel::has_experts(i64 block) const { return std::ranges::find(moe.layers, block) != moe.layers.end(); }

double StepModel::expert_parameters(i64 expert) const {
  const double d = as_double(model.width), h = as_double(moe.expert_widths[static_cast<std::size_t>(expert)]);
  if (moe.bank == routing::Bank::neuron) return 2 * d;
  if (moe.bank == routing::Bank::value) return d;
  return as_double(moe.expert_kind.matrices()) * h * d + (moe.expert_kind.bias ? h + d : 0);
}

double StepModel::expert_flops(i64 expert) const {
  const double d = as_double(model.width), h = as_double(moe.expert_widths[static_cast<std::size_t>(expert)]);
  if (moe.bank == routing::Bank::neuron) return 4 * d;
  if (moe.bank == routing::Bank::value) return 2 * d;
  return 2 * as_double(moe.expert_kind.matrices()) * h * d;
}

double StepModel::side_flops() const {
  using Kind = model::AdapterConfig::Kind;
  const double row = 4 * as_double(model.width);
  if (moe.hyper.on) return row * as_double(moe.hyper.bottleneck);
  return moe.adapter.kind == Kind::none ? 0 : row * as_double(moe.adapter.width) * (moe.adapter.kind == Kind::per_expert ? choices : 1);
}

// A router has about as many weights as multiplications for a token.
double StepModel::dense_parameters() const {
  const double d = as_double(model.width), v = as_double(model.vocab), blocks = as_double(model.layers), with = as_double(moe_layers());
  const double dense = as_double(model.dense_kind.matrices()) * as_double(model.dense_width) * d;
  double n = v * d * (model.tied_head ? 1 : 2) + d + blocks * (4 * d * d + 2 * d) + (blocks - with) * dense + with * router_flops / 2;
  if (moe.adapter.kind != model::AdapterConfig::Kind::none) {
    const double b = as_double(moe.adapter.width), count = moe.adapter.kind == model::AdapterConfig::Kind::shared ? 1 : as_double(experts());
    n += with * count * (2 * b * d + b + d);
  }
  return n;
}

Work& Work::operator+=(const Work& more) {
  products.insert(products.end(), more.products.begin(), more.products.end());
  if (more.attention.flops > 0) attention = more.attention;
  elements += more.elements;
  streamed += more.streamed;
  among = std::max(among, more.among);
  copied += more.copied;
  random += more.random;
  random_row = std::max(random_row, more.random_row);
  calls += more.calls;
  routed += more.routed;
  keyed += more.keyed;
  claimed += more.claimed;
  return *this;
}

void Coverage::note(const Work::Products& p, double seconds, bool measured) {
  (measured ? inside : outside) += seconds;
  if (measured) return;
  add({0, 0, p.rows, p.rows, p.width, p.width}, 1);
}

void Coverage::add(const Coverage& more, double times) {
  inside += times * more.inside;
  outside += times * more.outside;
  if (more.most_rows == 0) return;
  const bool first = most_rows == 0;
  least_rows = first ? more.least_rows : std::min(least_rows, more.least_rows);
  most_rows = std::max(most_rows, more.most_rows);
  least_width = first ? more.least_width : std::min(least_width, more.least_width);
  most_width = std::max(most_width, more.most_width);
}

double seconds_of(const Work& work, const Cluster& cluster, Coverage& coverage) {
  const Compute& c = cluster.compute;
  double seconds = work.elements / c.elements + work.calls * c.call_seconds + work.routed * c.route_seconds + work.keyed * c.key_seconds + work.claimed * c.claim_seconds + work.streamed / cluster.memory.stream_of(work.among) + work.copied / cluster.memory.copy;
  for (const Work::Products& p : work.products) {
    const bool bf16 = p.kind == Work::Kind::bf16 && !c.bf16.empty();
    const RateTable::Answer a = (bf16 ? c.bf16 : p.kind == Work::Kind::weights ? c.gradient : c.gemm).at(p.rows, p.width);
    coverage.note(p, p.flops / a.rate, a.measured);
    seconds += p.flops / a.rate;
  }
  if (const Work::Attention& w = work.attention; w.flops > 0) {
    const bool known = !c.attention.empty();
    const Work::Products as_product{w.length, known ? w.head : std::min(w.length, w.head), w.flops, Work::Kind::tokens};
    const RateTable::Answer a = (known ? c.attention : c.gemm).at(as_product.rows, as_product.width);
    coverage.note(as_product, w.flops / a.rate, a.measured);
    seconds += w.flops / a.rate + (known ? 0 : w.elements / c.elements + w.streamed / cluster.memory.stream);
  }
  if (work.random > 0) seconds += work.random / cluster.memory.random_of(work.random_row, work.among);
  return seconds;
}

Work embed_work(const StepModel& m, const Share& s, Pass pass) {
  const Sizes n(m, s);
  Work w;
  w.streamed = (pass == Pass::forward ? 2 : 3) * n.tokens * n.width * k_real;
  return w;
}

// Under the causal mask half of the scores are made; the weights are stored in full. Backward has twice the products: scores and mixing each for both of their factors.
Work attention_work(const StepModel& m, const Share& s, Pass pass) {
  const Sizes n(m, s);
  const double length = as_double(m.model.seq_len), heads = as_double(m.model.heads), head = n.width / heads, seen = n.tokens * heads * (length + 1) / 2;
  Work w;
  for (int i = 0; i < 4; ++i) add_linear(w, n.lane_rows, n.width, n.width, n.tokens, pass);
  const double scores = 2 * 2 * seen * head * (pass == Pass::forward ? 1 : 2);
  w.attention = {length, head, scores, seen, (n.tokens * heads * length + (pass == Pass::forward ? 4 : 0) * n.tokens * n.width) * k_real};  // weights; turned q and k
  w.streamed = (pass == Pass::forward ? 3 : 4) * n.tokens * n.width * k_real;  // the sum into the stream
  return w;
}

Work norm_work(const StepModel& m, const Share& s) {
  const Sizes n(m, s);
  Work w;
  w.streamed = 2 * 4 * n.tokens * n.width * k_real;  // forward: kept (read, written), read, written; backward: two read, one read and written
  return w;
}

// Two halves of the query of each head meet the keys; the best of either are paired. Forward normalises queries over the batch (read for mean and variance, read and written twice), backward goes through that
// again, and from each choice to its two keys and back, a key at a time.
static Work product_key_work(const StepModel& m, const Sizes& n, Pass pass) {
  const bool forward = pass == Pass::forward;
  const double heads = as_double(m.heads), query = as_double(m.query), keys = std::sqrt(as_double(m.experts())), chosen = m.choices / heads;
  Work w;
  add_linear(w, n.lane_rows, n.width, heads * query, n.tokens, pass);
  if (forward) w.products.push_back({n.lane_rows, std::min(query / 2, keys), n.tokens * 2 * heads * keys * query, Work::Kind::tokens});
  else w.products.push_back({k_rows_of_a_neuron, query / 2, n.tokens * 4 * m.choices * query, Work::Kind::tokens});
  w.streamed = (forward ? 5 : 8) * n.tokens * heads * query * k_real;
  w.elements = n.tokens * (forward ? 2 * heads * keys + m.choices * (1 + std::log(chosen)) : m.choices);
  return w;
}

// Backward goes through the few logits that have a gradient, or through all.
Work router_work(const StepModel& m, const Share& s, Pass pass) {
  const Sizes n(m, s);
  const bool forward = pass == Pass::forward, computes = m.router_flops > 0 && n.tokens > 0;
  const double experts = as_double(m.experts());
  Work w;
  if (computes && m.query > 0) {
    w = product_key_work(m, n, pass);
  } else if (computes && (forward || !m.few_gradients)) {
    add_linear(w, n.lane_rows, n.width, experts, n.tokens, pass);
    w.elements = n.tokens * experts;
  } else if (computes) {
    w.products.push_back({n.lane_rows, std::min(n.width, experts), n.tokens * 4 * m.choices * n.width, Work::Kind::tokens});
    w.elements = n.tokens * m.choices;
  }
  (m.query > 0 ? w.keyed : w.routed) = forward && computes ? n.tokens * (m.query > 0 ? m.choices : 1) : 0;
  w.claimed = forward ? n.tokens * m.claims : 0;
  return w;
}

Work dense_ffn_work(const StepModel& m, const Share& s, Pass pass) {
  const Sizes n(m, s);
  return feed_forward(n.lane_rows, n.tokens, n.width, as_double(m.model.dense_width), m.model.dense_kind.matrices(), pass);
}

Work side_work(const StepModel& m, const Share& s, Pass pass) {
  using Kind = model::AdapterConfig::Kind;
  const Sizes n(m, s);
  if (m.moe.hyper.on) return feed_forward(n.lane_rows, n.tokens, n.width, as_double(m.moe.hyper.bottleneck), 2, pass);
  const double b = as_double(m.moe.adapter.width);
  if (m.moe.adapter.kind == Kind::shared) return feed_forward(n.lane_rows, n.tokens, n.width, b, 2, pass);
  if (m.moe.adapter.kind == Kind::per_expert) return feed_forward(n.lane_rows * m.choices / as_double(m.experts()), n.tokens * m.choices, n.width, b, 2, pass);
  return {};
}

Work head_work(const StepModel& m, const Share& s, Pass pass) {
  const Sizes n(m, s);
  Work w;
  add_linear(w, n.lane_rows, n.width, as_double(m.model.vocab), n.tokens, pass);
  w.elements = n.tokens * as_double(m.model.vocab);
  return w;
}

Work expert_work(const StepModel& m, std::span<const i64> owned, std::span<const double> rows, bool apart, Pass pass) {
  const double d = as_double(m.model.width), row = m.row_bytes();
  const bool single = m.moe.bank != routing::Bank::feed_forward, forward = pass == Pass::forward;
  Work w;
  double all = 0, used = 0;
  for (const i64 e : owned) {
    const double r = rows[static_cast<std::size_t>(e)];
    if (r <= 0) continue;
    all += r;
    ++used;
    if (single) continue;
    const i64 hidden = m.moe.expert_widths[static_cast<std::size_t>(e)];
    const bool narrow = m.moe.expert_kind.narrow(m.model.width, hidden);
    const double filled = narrow ? r : filled_rows(r);
    w += feed_forward(std::min(filled, as_double(experts::k_tile_rows)), filled, d, as_double(hidden), m.moe.expert_kind.matrices(), pass, m.moe.expert_kind.rounded);
    // Tokens, and backward gradients of results, and what comes of them: read, written or added where they lie, or copied to and from a tile.
    const double touched = r * row * (forward ? 2 : 3);
    (narrow ? w.streamed : w.copied) += touched + (narrow && !apart ? r * row : 0);
    w.calls += narrow ? 0 : 1;
  }
  if (!single) return w;
  // A neuron has two rows, a value one. They are read for each token that wants them, token after token, and again backward. Gradients are made row after row, of tokens that caches hold.
  const double rows_of_expert = m.moe.bank == routing::Bank::neuron ? 2 : 1, per_row = rows_of_expert * 2 * d;
  w.random = rows_of_expert * row * all;
  w.random_row = row;
  w.among = as_double(static_cast<i64>(owned.size())) * rows_of_expert * row;
  w.copied = (apart ? all : 0) * row + (forward ? 0 : rows_of_expert * used * row);
  if (all > 0) w.products.push_back({k_rows_of_a_neuron, d, all * per_row * (forward ? 1 : 2), Work::Kind::tokens});
  return w;
}

// What a step goes through: weights, gradients by lane, moments, and what forward keeps.
static double gone_through(const StepModel& m, const Share& s, double expert_numbers) {
  const Sizes n(m, s);
  return k_real * ((3 + as_double(std::max<i64>(s.lanes, 1))) * m.dense_parameters() + 4 * expert_numbers + n.tokens * as_double(m.model.layers) * (8 * n.width + as_double(m.model.heads * m.model.seq_len)));
}

// Two numbers read and one written for each lane beyond the first; then the slices of all ranks; the norm reads all.
Work gradient_work(const StepModel& m, const Share& s, i64 ranks, double expert_numbers) {
  const double dense = m.dense_parameters();
  Work w;
  w.among = gone_through(m, s, expert_numbers);
  w.streamed = k_real * (3 * as_double(std::max<i64>(s.lanes - 1, 0)) * dense + (ranks > 1 ? 3 * dense : 0) + dense + expert_numbers);
  return w;
}

// Adam reads weight, gradient and two moments and writes three of them. Gradients are zeroed lane by lane.
Work optimizer_work(const StepModel& m, const Share& s, double expert_numbers, double touched) {
  const double dense = m.dense_parameters();
  const bool single = m.moe.bank != routing::Bank::feed_forward;
  Work w;
  w.among = gone_through(m, s, expert_numbers);
  w.streamed = k_real * (7 * dense + as_double(std::max<i64>(s.lanes, 1)) * dense + (single ? 0 : 8 * expert_numbers));
  w.random = single ? k_real * 7 * touched : 0;
  w.random_row = m.row_bytes();
  return w;
}

double kept_numbers(const StepModel& m, i64 expert) {
  if (m.moe.bank == routing::Bank::neuron) return 1;
  if (m.moe.bank == routing::Bank::value) return 0;
  return as_double(m.moe.expert_widths[static_cast<std::size_t>(expert)]) * (m.moe.expert_kind.gated ? 2 : 1);
}

// A block keeps its stream twice, both norms, q, k, v, what attention mixes and its weights. The head keeps log-probabilities, and backward their gradients of one lane.
RankMemory memory_of(const StepModel& m, const Share& s, double expert_numbers, double touched, double activation_numbers, double arrived) {
  const Sizes n(m, s);
  const double dense = m.dense_parameters(), blocks = as_double(m.model.layers), dense_blocks = blocks - as_double(m.moe_layers());
  const bool single = m.moe.bank != routing::Bank::feed_forward;
  RankMemory r;
  r.weights = k_real * (dense + expert_numbers);
  r.gradients = k_real * (as_double(std::max<i64>(s.lanes, 1)) * dense + (single ? touched : expert_numbers));
  r.moments = 2 * k_real * (dense + expert_numbers);
  const double hidden = as_double(m.model.dense_width) * (m.model.dense_kind.gated ? 2 : 1);
  r.activations = k_real * (n.tokens * (blocks * (8 * n.width + as_double(m.model.heads * m.model.seq_len)) + dense_blocks * hidden + 3 * n.width + as_double(m.model.vocab)) +
                            n.lane_rows * as_double(m.model.vocab) + activation_numbers);
  if (m.moe.bank == routing::Bank::feed_forward) r.activations += k_real * n.tokens * as_double(m.moe_layers() * m.experts());
  r.exchange = arrived * m.row_bytes();
  return r;
}

}  // namespace pleiad::sim
