#include "pleiad/routing/product_key.hpp"

#include <algorithm>
#include <cmath>

#include "pleiad/comm/lane_sum.hpp"
#include "pleiad/ops/linear.hpp"
#include "pleiad/ops/softmax.hpp"
#include "pleiad/ops/vec.hpp"
#include "pleiad/routing/score.hpp"
#include "pleiad/routing/select.hpp"

namespace pleiad::routing {

struct ProductKeyRouter::Trace : RouterTrace {
  Matrix unit, query;                     // [T,H*Q] normalised before scale and shift (with batch norm), and what is scored
  std::vector<double> mean, variance;     // [H*Q] of the batch, or the running ones in evaluation
};

ProductKeyRouter::ProductKeyRouter(const RouterBuild& build, const std::string& group, Spec& spec) : width_(build.width) {
  const i64 big = i64{1} << 24;
  heads_ = spec.integer("heads", 8, 1, big, "retrieval heads");
  query_ = spec.integer("query_dim", 64, 2, big, "width of a head's query, even");
  if (query_ % 2 != 0) user_error("moe.query_dim = {}: must be even, its halves meet different sub-keys", query_);
  keys_ = spec.integer("sub_keys", 64, 1, 1 << 15, "sub-keys n of each half; there are n * n experts");
  k_ = spec.integer("k", 16, 1, big, "experts kept by each head");
  if (k_ > keys_ * keys_) user_error("moe.k = {}: a head cannot keep more experts than there are, {}", k_, keys_ * keys_);
  PLEIAD_CHECK(build.experts() == keys_ * keys_, "{} experts for {} sub-keys", build.experts(), keys_);
  shared_ = spec.flag("shared_keys", true, "all heads have the same sub-keys");
  norm_ = spec.flag("batch_norm", true, "batch norm of the query");
  const i64 features = heads_ * query_;
  const std::string prefix = build.prefix + group + "/";
  w_query_ = build.params.add({.name = prefix + "w_query", .shape = {features, width_}, .init = Init::normal(1 / std::sqrt(static_cast<double>(width_)))});
  for (int half = 0; half < 2; ++half) {
    const std::vector<i64> shape = shared_ ? std::vector<i64>{keys_, query_ / 2} : std::vector<i64>{heads_, keys_, query_ / 2};
    sub_keys_[half] = build.params.add({.name = fmt::format("{}sub_keys_{}", prefix, half + 1), .shape = shape,
                                        .init = Init::uniform(1 / std::sqrt(static_cast<double>(query_)))});
  }
  if (!norm_) return;
  eps_ = spec.number("bn_eps", 1e-5, 0, 1, "added to the variance of the query");
  momentum_ = spec.number("bn_momentum", 0.1, 0, 1, "share of the batch in the running statistics");
  gamma_ = build.params.add({.name = prefix + "bn_gamma", .shape = {features}, .init = Init::ones(), .decay = false});
  beta_ = build.params.add({.name = prefix + "bn_beta", .shape = {features}, .init = Init::zeros(), .decay = false});
  mean_ = build.params.add({.name = prefix + "bn_running_mean", .shape = {features}, .init = Init::zeros(), .decay = false, .trainable = false});
  variance_ = build.params.add({.name = prefix + "bn_running_var", .shape = {features}, .init = Init::ones(), .decay = false, .trainable = false});
}

double ProductKeyRouter::flops_per_token() const {
  return 2.0 * static_cast<double>(width_ * heads_ * query_ + heads_ * keys_ * query_);
}

ConstMatrixView ProductKeyRouter::keys_of(const ParamSet& params, int half, i64 head) const {
  return params.value(sub_keys_[half]).row_range(shared_ ? 0 : head * keys_, keys_);
}
MatrixView ProductKeyRouter::key_grads_of(ParamSet& params, int half, i64 head, i64 lane) const {
  return params.grad(sub_keys_[half], lane).row_range(shared_ ? 0 : head * keys_, keys_);
}

/// query = (raw - mean) / sqrt(variance + eps) * gamma + beta, with statistics over all real tokens of the batch in training.
void ProductKeyRouter::normalise(const ParamSet& params, const RoutingContext& context, Trace& t) const {
  const i64 features = heads_ * query_;
  const double tokens = static_cast<double>(context.counted_tokens());
  t.mean.resize(static_cast<std::size_t>(features));
  t.variance.resize(static_cast<std::size_t>(features));
  if (context.training) {
    const auto over_tokens = [&](auto term) {
      return comm::lane_statistics(context.world, context.lanes, features, [&](i64 lane, double* row) {
        const Range rows = context.lanes.local_rows(lane);
        for (i64 i = rows.begin; i < rows.end(); ++i) {
          for (i64 f = 0; context.is_real(i) && f < features; ++f) row[f] += term(static_cast<double>(t.query(i, f)), f);
        }
      });
    };
    t.mean = over_tokens([](double q, i64) { return q; });
    for (double& m : t.mean) m /= tokens;
    t.variance = over_tokens([&](double q, i64 f) { return (q - t.mean[f]) * (q - t.mean[f]); });
    for (double& v : t.variance) v /= tokens;
  } else {
    for (i64 f = 0; f < features; ++f) {
      t.mean[f] = static_cast<double>(params.value(mean_)(0, f));
      t.variance[f] = static_cast<double>(params.value(variance_)(0, f));
    }
  }
  t.unit.resize(t.query.rows(), features);
  const ConstMatrixView gamma = params.value(gamma_), beta = params.value(beta_);
  for (i64 i = 0; i < t.query.rows(); ++i) {
    for (i64 f = 0; f < features; ++f) {
      t.unit(i, f) = static_cast<real>((static_cast<double>(t.query(i, f)) - t.mean[f]) / std::sqrt(t.variance[f] + eps_));
      t.query(i, f) = t.unit(i, f) * gamma(0, f) + beta(0, f);
    }
  }
}

namespace {

/// The k best pairs of two descending lists: pair (i, j) can only be among them if (i+1)(j+1) <= k.
struct Pair {
  real score;
  std::int32_t expert;
};

void best_pairs(const real* r1, const std::int32_t* best1, const real* r2, const std::int32_t* best2, i64 lists, i64 k, i64 keys, std::vector<Pair>& pairs) {
  pairs.clear();
  for (i64 i = 0; i < lists; ++i) {
    for (i64 j = 0; j < lists && (i + 1) * (j + 1) <= k; ++j) {
      pairs.push_back({r1[best1[i]] + r2[best2[j]], static_cast<std::int32_t>(best1[i] * keys + best2[j])});
    }
  }
  const auto better = [](const Pair& x, const Pair& y) { return x.score != y.score ? x.score > y.score : x.expert < y.expert; };
  std::partial_sort(pairs.begin(), pairs.begin() + k, pairs.end(), better);
}

}  // namespace

std::unique_ptr<RouterTrace> ProductKeyRouter::forward(const ParamSet& params, ConstMatrixView x, const RoutingContext& context) const {
  auto trace = std::make_unique<Trace>();
  Trace& t = *trace;
  t.query.resize_uninitialised(x.rows, heads_ * query_);
  linear_lanes_forward(params, w_query_, x, context.lanes, t.query);
  if (norm_) normalise(params, context, t);

  Assignment& a = t.assignment;
  a.experts = keys_ * keys_;
  const i64 per_token = heads_ * k_, half = query_ / 2, lists = std::min(k_, keys_);
  for (i64 i = 0; i < x.rows; ++i) a.offset.push_back(a.offset.back() + (context.is_real(i) ? per_token : 0));
  a.expert.resize(static_cast<std::size_t>(a.offset.back()));
  a.weight.resize(a.expert.size());
  a.kept.assign(a.expert.size(), 1);
  Matrix scores[2];
  std::vector<Pair> pairs;
  for (i64 lane = 0; lane < context.lanes.my_lanes().count; ++lane) {
    const Range rows = context.lanes.local_rows(lane);
    for (i64 head = 0; rows.count > 0 && head < heads_; ++head) {
      Assignment best[2];
      for (int h = 0; h < 2; ++h) {
        scores[h].resize_uninitialised(rows.count, keys_);
        ops::linear_forward(t.query.view().row_range(rows.begin, rows.count).col_range(head * query_ + h * half, half), keys_of(params, h, head), scores[h]);
        best[h] = select_top_k(scores[h], lists);
      }
      for (i64 i = 0; i < rows.count; ++i) {
        if (!context.is_real(rows.begin + i)) continue;
        best_pairs(scores[0].row(i), best[0].expert.data() + i * lists, scores[1].row(i), best[1].expert.data() + i * lists, lists, k_, keys_, pairs);
        const i64 first = a.offset[rows.begin + i] + head * k_;
        for (i64 c = 0; c < k_; ++c) {
          a.expert[first + c] = pairs[c].expert;
          a.weight[first + c] = pairs[c].score;
        }
        const MatrixView weights(a.weight.data() + first, 1, k_);
        ops::softmax_rows(weights, weights, {});
      }
    }
  }
  t.logits.resize(x.rows, 0);
  return trace;
}

/// Through scale, shift and statistics: d_raw = gamma / std * (d - mean(d) - unit * mean(d * unit)) in training.
void ProductKeyRouter::normalise_backward(ParamSet& params, const RoutingContext& context, const Trace& t, Matrix& d_query) const {
  const i64 features = heads_ * query_;
  const ConstMatrixView gamma = params.value(gamma_);
  const double tokens = static_cast<double>(context.counted_tokens());
  for (i64 lane = 0; lane < context.lanes.my_lanes().count; ++lane) {
    const Range rows = context.lanes.local_rows(lane);
    const MatrixView d_gamma = params.grad(gamma_, lane), d_beta = params.grad(beta_, lane);
    for (i64 i = rows.begin; i < rows.end(); ++i) {
      for (i64 f = 0; f < features; ++f) {
        d_gamma(0, f) += d_query(i, f) * t.unit(i, f);
        d_beta(0, f) += d_query(i, f);
      }
    }
  }
  std::vector<double> sums(static_cast<std::size_t>(2 * features), 0.0);
  if (context.training) {
    sums = comm::lane_statistics(context.world, context.lanes, 2 * features, [&](i64 lane, double* row) {
      const Range rows = context.lanes.local_rows(lane);
      for (i64 i = rows.begin; i < rows.end(); ++i) {
        for (i64 f = 0; f < features; ++f) {
          row[f] += static_cast<double>(d_query(i, f));
          row[features + f] += static_cast<double>(d_query(i, f)) * static_cast<double>(t.unit(i, f));
        }
      }
    });
  }
  for (i64 i = 0; i < d_query.rows(); ++i) {
    for (i64 f = 0; f < features; ++f) {
      const double centred = static_cast<double>(d_query(i, f)) - sums[f] / tokens - static_cast<double>(t.unit(i, f)) * sums[features + f] / tokens;
      const bool counted = context.is_real(i);
      d_query(i, f) = counted ? static_cast<real>(static_cast<double>(gamma(0, f)) * centred / std::sqrt(t.variance[f] + eps_)) : real{0};
    }
  }
}

void ProductKeyRouter::backward(ParamSet& params, ConstMatrixView x, const RoutingContext& context, const RouterTrace& base,
                                std::span<const real> d_weight, double, MatrixView d_x) const {
  const Trace& t = dynamic_cast<const Trace&>(base);
  const Assignment& a = t.assignment;
  const i64 half = query_ / 2;
  Matrix d_query(x.rows, heads_ * query_);
  for (i64 lane = 0; lane < context.lanes.my_lanes().count; ++lane) {
    const Range rows = context.lanes.local_rows(lane);
    for (i64 i = rows.begin; i < rows.end(); ++i) {
      for (i64 head = 0; context.is_real(i) && head < heads_; ++head) {
        const i64 first = a.offset[i] + head * k_;
        real mean = 0;
        const auto key_of = [&](i64 c, int h) { return h == 0 ? a.expert[c] / keys_ : a.expert[c] % keys_; };
        // One key in all pairs adds the same to all scores, which the softmax does not see: no gradient, not the rounding of one.
        bool one_key[2] = {true, true};
        for (i64 c = first; c < first + k_; ++c) {
          mean += a.weight[c] * d_weight[c];
          for (int h = 0; h < 2; ++h) one_key[h] = one_key[h] && key_of(c, h) == key_of(first, h);
        }
        for (i64 c = first; c < first + k_; ++c) {
          const real d_score = a.weight[c] * (d_weight[c] - mean);
          for (int h = 0; h < 2; ++h) {
            if (one_key[h]) continue;
            const i64 key = key_of(c, h), column = head * query_ + h * half;
            ops::vec::axpy(d_score, t.query.row(i) + column, key_grads_of(params, h, head, lane).row(key), half);
            ops::vec::axpy(d_score, keys_of(params, h, head).row(key), d_query.row(i) + column, half);
          }
        }
      }
    }
  }
  if (norm_) normalise_backward(params, context, t, d_query);
  linear_lanes_backward(params, w_query_, x, context.lanes, {}, d_query, d_x);
}

void ProductKeyRouter::update_buffers(ParamSet& params, const RouterTrace& base, const RoutingContext& context) const {
  if (!norm_ || !context.training) return;
  const Trace& t = dynamic_cast<const Trace&>(base);
  const double tokens = static_cast<double>(context.counted_tokens()), unbiased = tokens > 1 ? tokens / (tokens - 1) : 1;
  const MatrixView mean = params.value(mean_), variance = params.value(variance_);
  for (i64 f = 0; f < mean.cols; ++f) {
    mean(0, f) = static_cast<real>((1 - momentum_) * static_cast<double>(mean(0, f)) + momentum_ * t.mean[f]);
    variance(0, f) = static_cast<real>((1 - momentum_) * static_cast<double>(variance(0, f)) + momentum_ * t.variance[f] * unbiased);
  }
}

}  // namespace pleiad::routing
