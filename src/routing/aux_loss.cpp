#include "pleiad/routing/aux_loss.hpp"

#include <limits>

#include "pleiad/comm/collectives.hpp"
#include "pleiad/comm/lane_sum.hpp"
#include "pleiad/ops/vec.hpp"

namespace pleiad::routing {

namespace {

constexpr double k_any = std::numeric_limits<double>::infinity();

std::vector<double> scaled(const std::vector<i64>& counts, double by) {
  std::vector<double> out;
  for (const i64 c : counts) out.push_back(static_cast<double>(c) * by);
  return out;
}

}  // namespace

AuxLosses::AuxLosses(const RouterBuild& build, Spec& spec)
    : balance_(spec.number("balance_loss", 0, -k_any, k_any, "coefficient of the load balance loss")),
      penalty_(spec.number("penalty_loss", 0, -k_any, k_any, "coefficient of the parameter penalty (HMoE)")),
      entropy_(spec.number("entropy_loss", 0, -k_any, k_any, "coefficient of the per-token router entropy")),
      z_(spec.number("z_loss", 0, -k_any, k_any, "coefficient of the router z loss")),
      importance_(spec.number("importance_loss", 0, -k_any, k_any, "coefficient of CV^2 of summed weights")) {
  const std::string mode = spec.choice("balance_mode", "first", {"first", "tokens", "assignments"}, "what the balance loss counts");
  mode_ = mode == "first" ? Count::first : mode == "tokens" ? Count::tokens : Count::assignments;
  double mean = 0;
  for (const i64 h : build.expert_widths) mean += static_cast<double>(h) / static_cast<double>(build.experts());
  for (const i64 h : build.expert_widths) relative_width_.push_back(static_cast<double>(h) / mean);
}

void AuxLosses::forward(ConstMatrixView p, std::span<const real> log_sum_exp, const RoutingContext& context, RouterTrace& trace,
                        AuxTrace& aux) const {
  const i64 experts = p.cols;
  const double n = static_cast<double>(experts);
  aux.tokens = context.counted_tokens();
  const double per_token = 1.0 / static_cast<double>(std::max<i64>(aux.tokens, 1));

  // H = -sum_e p (z - lse) needs no logarithm.
  aux.entropy.resize(static_cast<std::size_t>(p.rows));
  for (i64 t = 0; t < p.rows; ++t) {
    const real *pt = p.row(t), *zt = trace.logits.row(t), lse = log_sum_exp[t];
    aux.entropy[t] = -ops::vec::sum_of_terms(experts, [=](auto load, i64 e) { return load(pt + e) * (load(zt + e) - lse); });
  }
  const bool need_means = about_p();
  const i64 importance_at = 2 + (need_means ? experts : 0);
  const Assignment& a = trace.assignment;
  const std::vector<double> sums =
      comm::lane_statistics(context.world, context.lanes, importance_at + (importance_ != 0 ? experts : 0), [&](i64 lane, double* row) {
        const Range rows = context.lanes.local_rows(lane);
        for (i64 t = rows.begin; t < rows.end(); ++t) {
          if (!context.is_real(t)) continue;
          const double lse = log_sum_exp[t];
          row[0] += aux.entropy[t];
          row[1] += lse * lse;
          for (i64 i = a.offset[t]; importance_ != 0 && i < a.offset[t + 1]; ++i) row[importance_at + a.expert[i]] += a.weight[i];
          if (!need_means) continue;
          const real* pt = p.row(t);
          for (i64 e = 0; e < experts; ++e) row[2 + e] += pt[e];
        }
      });
  trace.mean_entropy = sums[0] * per_token;

  if (need_means) {
    std::vector<i64> chosen = count_per_expert(trace.assignment, false), first = count_first_choices(trace.assignment);
    chosen.insert(chosen.end(), first.begin(), first.end());  // one message
    comm::all_reduce_sum<i64>(context.world, chosen);
    std::copy(chosen.begin() + experts, chosen.end(), first.begin());
    chosen.resize(first.size());
    i64 total = 0;
    for (const i64 c : chosen) total += c;
    const auto weighted_mean = [&](const std::vector<double>& share) {
      double sum = 0;
      for (i64 e = 0; e < experts; ++e) sum += share[e] * sums[2 + e] * per_token;
      return n * sum;
    };
    if (balance_ != 0) {
      aux.balance_share = mode_ == Count::first    ? scaled(first, per_token)
                          : mode_ == Count::tokens ? scaled(chosen, per_token)
                                                   : scaled(chosen, 1.0 / static_cast<double>(std::max<i64>(total, 1)));
      trace.losses.push_back({"balance", weighted_mean(aux.balance_share), balance_});
    }
    if (penalty_ != 0) {
      aux.penalty_share = scaled(chosen, per_token);
      for (std::size_t e = 0; e < aux.penalty_share.size(); ++e) aux.penalty_share[e] *= relative_width_[e];
      trace.losses.push_back({"penalty", weighted_mean(aux.penalty_share), penalty_});
    }
  }
  if (entropy_ != 0) trace.losses.push_back({"entropy", trace.mean_entropy, entropy_});
  if (z_ != 0) trace.losses.push_back({"z", sums[1] * per_token, z_});
  if (importance_ != 0) {
    aux.importance_slope.resize(static_cast<std::size_t>(experts));
    const std::span<const double> importance(sums.data() + importance_at, aux.importance_slope.size());
    trace.losses.push_back({"importance", squared_cv(importance, aux.importance_slope), importance_});
  }
}

std::vector<real> AuxLosses::weight_gradient(const RouterTrace& trace, const AuxTrace& aux, double loss_scale,
                                             std::span<const real> d_weight) const {
  std::vector<real> d(d_weight.begin(), d_weight.end());
  for (std::size_t i = 0; !aux.importance_slope.empty() && i < d.size(); ++i) {
    d[i] += static_cast<real>(loss_scale * importance_ * aux.importance_slope[trace.assignment.expert[i]]);
  }
  return d;
}

void AuxLosses::backward(ConstMatrixView p, std::span<const real> log_sum_exp, const RouterTrace& trace, const AuxTrace& aux, Range tokens,
                         const RoutingContext& context, double loss_scale, MatrixView d_p, MatrixView d_z) const {
  const i64 experts = p.cols;
  const double per_token = loss_scale / static_cast<double>(std::max<i64>(aux.tokens, 1));
  // The gradient of balance and penalty by p[t,e] does not depend on the token.
  std::vector<real> slope(static_cast<std::size_t>(experts), 0);
  for (std::size_t e = 0; e < slope.size(); ++e) {
    double s = 0;
    if (!aux.balance_share.empty()) s += balance_ * aux.balance_share[e];
    if (!aux.penalty_share.empty()) s += penalty_ * aux.penalty_share[e];
    slope[e] = static_cast<real>(s * static_cast<double>(experts) * per_token);
  }
  const real entropy_scale = static_cast<real>(entropy_ * per_token), z_scale = static_cast<real>(2 * z_ * per_token);
  for (i64 t = tokens.begin; t < tokens.end(); ++t) {
    if (!context.is_real(t)) continue;
    if (about_p()) ops::vec::add(slope.data(), d_p.row(t - tokens.begin), experts);
    if (!about_z()) continue;
    const real lse = log_sum_exp[t], h = aux.entropy[t], along_z = z_scale * lse;
    const real *pt = p.row(t), *zt = trace.logits.row(t);
    real* d = d_z.row(t - tokens.begin);
#pragma omp simd
    for (i64 e = 0; e < experts; ++e) d[e] += pt[e] * (along_z - entropy_scale * ((zt[e] - lse) + h));
  }
}

double squared_cv(std::span<const double> v, std::span<double> derivative) {
  const double n = static_cast<double>(v.size());
  double mean = 0, variance = 0;
  for (const double x : v) mean += x / n;
  for (const double x : v) variance += (x - mean) * (x - mean) / n;
  for (std::size_t i = 0; i < v.size(); ++i) derivative[i] = 2 / (n * mean * mean) * ((v[i] - mean) - variance / mean);
  return variance / (mean * mean);
}

}  // namespace pleiad::routing
