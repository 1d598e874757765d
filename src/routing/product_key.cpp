#include "pleiad/routing/product_key.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "pleiad/comm/lane_sum.hpp"
#include "pleiad/ops/linear.hpp"
#include "pleiad/ops/softmax.hpp"
#include "pleiad/ops/top_k.hpp"
#include "pleiad/ops/vec.hpp"
#include "pleiad/routing/score.hpp"

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
  if (spec.choice("active_heads", "all", {"all", "attention"}, "heads that a token uses; attention: as many as its attention says (importance, k_rule)") == "attention") {
    active_.emplace(spec, heads_, "heads");
  }
  shared_ = spec.flag("shared_keys", true, "all heads have the same sub-keys");
  norm_ = spec.flag("batch_norm", true, "batch norm of the query");
  const i64 features = heads_ * query_;
  const std::string prefix = build.prefix + group + "/";
  w_query_ = build.params.add({.name = prefix + "w_query", .shape = {features, width_}, .init = Init::normal(1 / std::sqrt(static_cast<double>(width_))), .router = true});
  for (int half = 0; half < 2; ++half) {
    const std::vector<i64> shape = shared_ ? std::vector<i64>{keys_, query_ / 2} : std::vector<i64>{heads_, keys_, query_ / 2};
    sub_keys_[half] = build.params.add({.name = fmt::format("{}sub_keys_{}", prefix, half + 1), .shape = shape,
                                        .init = Init::uniform(1 / std::sqrt(static_cast<double>(query_))), .router = true});
  }
  if (!norm_) return;
  eps_ = spec.number("bn_eps", 1e-5, 0, 1, "added to the variance of the query");
  momentum_ = spec.number("bn_momentum", 0.1, 0, 1, "share of the batch in the running statistics");
  gamma_ = build.params.add({.name = prefix + "bn_gamma", .shape = {features}, .init = Init::ones(), .decay = false, .router = true});
  beta_ = build.params.add({.name = prefix + "bn_beta", .shape = {features}, .init = Init::zeros(), .decay = false, .router = true});
  mean_ = build.params.add({.name = prefix + "bn_running_mean", .shape = {features}, .init = Init::zeros(), .decay = false, .trainable = false, .router = true});
  variance_ = build.params.add({.name = prefix + "bn_running_var", .shape = {features}, .init = Init::ones(), .decay = false, .trainable = false, .router = true});
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
          if (!context.is_real(i)) continue;
          const real* q = t.query.row(i);
#pragma omp simd
          for (i64 f = 0; f < features; ++f) row[f] += term(static_cast<double>(q[f]), f);
        }
      });
    };
    t.mean = over_tokens([](double q, i64) { return q; });
    for (double& m : t.mean) m /= tokens;
    const double* mean = t.mean.data();
    t.variance = over_tokens([mean](double q, i64 f) { return (q - mean[f]) * (q - mean[f]); });
    for (double& v : t.variance) v /= tokens;
  } else {
    for (i64 f = 0; f < features; ++f) {
      t.mean[f] = static_cast<double>(params.value(mean_)(0, f));
      t.variance[f] = static_cast<double>(params.value(variance_)(0, f));
    }
  }
  t.unit.resize_uninitialised(t.query.rows(), features);
  std::vector<double> per_deviation(t.variance.size());
  for (std::size_t f = 0; f < per_deviation.size(); ++f) per_deviation[f] = 1 / std::sqrt(t.variance[f] + eps_);
  const double *mean = t.mean.data(), *by = per_deviation.data();
  const real *gamma = params.value(gamma_).data, *beta = params.value(beta_).data;
  for (i64 i = 0; i < t.query.rows(); ++i) {
    real *unit = t.unit.row(i), *query = t.query.row(i);
#pragma omp simd
    for (i64 f = 0; f < features; ++f) {
      unit[f] = static_cast<real>((static_cast<double>(query[f]) - mean[f]) * by[f]);
      query[f] = unit[f] * gamma[f] + beta[f];
    }
  }
}

namespace {

/// The k best pairs of the best rows of two halves.
class Pairs {
 public:
  Pairs(i64 lists, i64 k, i64 keys) : lists_(lists), k_(k), keys_(keys), first_(static_cast<std::size_t>(lists)), second_(first_), place_(static_cast<std::size_t>(k)) {}

  /// score1, score2: of all keys; best1, best2: the `lists` best of them. Writes k experts and their scores, best first.
  void find(const real* score1, const std::int32_t* best1, const real* score2, const std::int32_t* best2, std::int32_t* expert, real* score) {
    for (i64 i = 0; i < lists_; ++i) {
      first_[i] = score1[best1[i]];
      second_[i] = score2[best2[i]];
    }
    // Pair (i, j) is no better than (i+1)(j+1) - 1 others. So it can only be among the k best if (i+1)(j+1) <= k, and where that product is
    // at least k the score is one that k pairs reach.
    real reached = -std::numeric_limits<real>::infinity(), sum = 0;
    for (i64 i = 0; i < lists_; ++i) sum += first_[i] + second_[i];
    const bool numbers = sum == sum;  // else nothing is known of their order
    for (i64 i = 0; i < lists_ && numbers; ++i) {
      const i64 j = (k_ + i) / (i + 1) - 1;
      if (j < lists_) reached = std::max(reached, first_[i] + second_[j]);
    }
    scores_.clear();
    experts_.clear();
    for (i64 i = 0; i < lists_; ++i) {
      const i64 partners = std::min(lists_, k_ / (i + 1));
      for (i64 j = 0; j < partners && !(first_[i] + second_[j] < reached); ++j) {
        scores_.push_back(first_[i] + second_[j]);
        experts_.push_back(static_cast<std::int32_t>(best1[i] * keys_ + best2[j]));
      }
    }
    if (static_cast<i64>(scores_.size()) <= ops::k_most_candidates) {
      ops::best_of(scores_.data(), experts_.data(), static_cast<i64>(scores_.size()), k_, place_.data());
    } else {
      sort_all();
    }
    for (i64 c = 0; c < k_; ++c) {
      expert[c] = experts_[place_[c]];
      score[c] = scores_[place_[c]];
    }
  }

 private:
  void sort_all() {
    order_.resize(scores_.size());
    std::iota(order_.begin(), order_.end(), 0);
    std::partial_sort(order_.begin(), order_.begin() + k_, order_.end(), [&](std::int32_t x, std::int32_t y) {
      return scores_[x] != scores_[y] ? scores_[x] > scores_[y] : experts_[x] < experts_[y];
    });
    std::copy_n(order_.begin(), k_, place_.begin());
  }

  i64 lists_, k_, keys_;
  std::vector<real> first_, second_;  // scores of the best keys
  std::vector<real> scores_;
  std::vector<std::int32_t> experts_, place_, order_;
};

}  // namespace

std::unique_ptr<RouterTrace> ProductKeyRouter::forward(const ParamSet& params, ConstMatrixView x, const RoutingContext& context) const {
  auto trace = std::make_unique<Trace>();
  Trace& t = *trace;
  if (Trace* spent = dynamic_cast<Trace*>(context.spent)) {
    std::swap(t.query, spent->query);
    std::swap(t.unit, spent->unit);
  }
  t.query.resize_uninitialised(x.rows, heads_ * query_);
  linear_lanes_forward(params, w_query_, x, context.lanes, t.query);
  if (norm_) normalise(params, context, t);

  Assignment& a = t.assignment;
  a.experts = keys_ * keys_;
  const i64 half = query_ / 2, lists = std::min(k_, keys_);
  const std::vector<i64> active = active_ ? active_->count(context, t.importance) : std::vector<i64>(static_cast<std::size_t>(x.rows), heads_);
  for (i64 i = 0; i < x.rows; ++i) a.offset.push_back(a.offset.back() + (context.is_real(i) ? active[i] * k_ : 0));
  a.expert.resize(static_cast<std::size_t>(a.offset.back()));
  a.weight.resize(a.expert.size());
  a.kept.assign(a.expert.size(), 1);
  Matrix scores[2];
  std::vector<std::int32_t> best[2];  // by row
  Pairs pairs(lists, k_, keys_);
  for (i64 lane = 0; lane < context.lanes.my_lanes().count; ++lane) {
    const Range rows = context.lanes.local_rows(lane);
    for (i64 head = 0; rows.count > 0 && head < heads_; ++head) {
      for (int h = 0; h < 2; ++h) {
        scores[h].resize_uninitialised(rows.count, keys_);
        ops::linear_forward(t.query.view().row_range(rows.begin, rows.count).col_range(head * query_ + h * half, half), keys_of(params, h, head), scores[h]);
        best[h].resize(static_cast<std::size_t>(rows.count * lists));
        for (i64 i = 0; i < rows.count; ++i) ops::top_k(scores[h].row(i), keys_, lists, best[h].data() + i * lists);
      }
      for (i64 i = 0; i < rows.count; ++i) {
        const i64 first = a.offset[rows.begin + i] + head * k_;
        if (first >= a.offset[rows.begin + i + 1]) continue;  // padding, or a head that the token does not use
        pairs.find(scores[0].row(i), best[0].data() + i * lists, scores[1].row(i), best[1].data() + i * lists, a.expert.data() + first,
                   a.weight.data() + first);
      }
    }
  }
  const MatrixView weights(a.weight.data(), static_cast<i64>(a.weight.size()) / k_, k_);  // a row for each token and head
  ops::softmax_rows(weights, weights, {});
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
    real *d_gamma = params.grad(gamma_, lane).data, *d_beta = params.grad(beta_, lane).data;
    for (i64 i = rows.begin; i < rows.end(); ++i) {
      const real *d = d_query.row(i), *unit = t.unit.row(i);
#pragma omp simd
      for (i64 f = 0; f < features; ++f) {
        d_gamma[f] += d[f] * unit[f];
        d_beta[f] += d[f];
      }
    }
  }
  std::vector<double> sums(static_cast<std::size_t>(2 * features), 0.0);
  if (context.training) {
    sums = comm::lane_statistics(context.world, context.lanes, 2 * features, [&](i64 lane, double* row) {
      const Range rows = context.lanes.local_rows(lane);
      double *sum = row, *along = row + features;
      for (i64 i = rows.begin; i < rows.end(); ++i) {
        const real *d = d_query.row(i), *unit = t.unit.row(i);
#pragma omp simd
        for (i64 f = 0; f < features; ++f) {
          sum[f] += static_cast<double>(d[f]);
          along[f] += static_cast<double>(d[f]) * static_cast<double>(unit[f]);
        }
      }
    });
  }
  std::vector<double> per_deviation(t.variance.size());
  for (i64 f = 0; f < features; ++f) {
    sums[f] /= tokens;
    sums[features + f] /= tokens;
    per_deviation[f] = static_cast<double>(gamma(0, f)) / std::sqrt(t.variance[f] + eps_);
  }
  const double *mean = sums.data(), *along = mean + features, *by = per_deviation.data();
  for (i64 i = 0; i < d_query.rows(); ++i) {
    real* d = d_query.row(i);
    const real* unit = t.unit.row(i);
    if (!context.is_real(i)) {
      std::fill(d, d + features, real{0});
      continue;
    }
#pragma omp simd
    for (i64 f = 0; f < features; ++f) {
      d[f] = static_cast<real>(by[f] * (static_cast<double>(d[f]) - mean[f] - static_cast<double>(unit[f]) * along[f]));
    }
  }
}

void ProductKeyRouter::backward(ParamSet& params, ConstMatrixView x, const RoutingContext& context, const RouterTrace& base,
                                std::span<const real> d_weight, double, MatrixView d_x) const {
  const Trace& t = dynamic_cast<const Trace&>(base);
  const Assignment& a = t.assignment;
  const i64 half = query_ / 2;
  const std::int32_t keys = static_cast<std::int32_t>(keys_);
  Matrix d_query(x.rows, heads_ * query_);
  std::vector<std::int32_t> key[2];  // of the pairs of one token and head
  std::vector<real> d_score(static_cast<std::size_t>(k_));
  for (auto& of_half : key) of_half.resize(static_cast<std::size_t>(k_));
  for (i64 lane = 0; lane < context.lanes.my_lanes().count; ++lane) {
    const Range rows = context.lanes.local_rows(lane);
    for (i64 head = 0; head < heads_; ++head) {
      const ConstMatrixView of_keys[2] = {keys_of(params, 0, head), keys_of(params, 1, head)};
      const MatrixView d_keys[2] = {key_grads_of(params, 0, head, lane), key_grads_of(params, 1, head, lane)};
      for (i64 i = rows.begin; i < rows.end(); ++i) {
        const i64 first = a.offset[i] + head * k_;
        if (first >= a.offset[i + 1]) continue;
        real mean = 0;
        for (i64 c = 0; c < k_; ++c) {
          mean += a.weight[first + c] * d_weight[first + c];
          key[0][c] = a.expert[first + c] / keys;
          key[1][c] = a.expert[first + c] % keys;
        }
        for (i64 c = 0; c < k_; ++c) d_score[c] = a.weight[first + c] * (d_weight[first + c] - mean);
        for (int h = 0; h < 2; ++h) {
          // One key in all pairs adds the same to all scores, which the softmax does not see: no gradient, not the rounding of one.
          if (std::ranges::count(key[h], key[h][0]) == k_) continue;
          const i64 column = head * query_ + h * half;
          for (i64 c = 0; c < k_; ++c) {
            ops::vec::axpy(d_score[c], t.query.row(i) + column, d_keys[h].row(key[h][c]), half);
            ops::vec::axpy(d_score[c], of_keys[h].row(key[h][c]), d_query.row(i) + column, half);
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
