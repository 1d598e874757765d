#include "pleiad/train/optimizer.hpp"

#include <cmath>

#include "pleiad/ops/rows.hpp"

namespace pleiad::train {

AdamConfig AdamConfig::read(Spec& s) {
  AdamConfig c;
  c.beta1 = s.number("beta1", 0.9, 0, 0.999999, "decay of the first moment");
  c.beta2 = s.number("beta2", 0.95, 0, 0.9999999, "decay of the second moment");
  c.eps = s.number("adam_eps", 1e-8, 0, 1, "added to the root of the second moment");
  c.weight_decay = s.number("weight_decay", 0.1, 0, 100, "decoupled weight decay, per unit of learning rate");
  c.router_rate = s.number("router_learning_rate", 1, 0, 1e3, "learning rate of the routers' parameters, as a multiple of learning_rate; 0: they stay as they were drawn");
  c.sparse = s.choice("sparse_adam", "lazy", {"lazy", "dense"}, "peer and pkm experts without a gradient in an update: lazy leaves them alone, dense moves them on") == "lazy"
                 ? SparseAdam::lazy
                 : SparseAdam::dense;
  return c;
}

struct Adam::Factors {
  real first = 1, second = 1;
};

/// The numbers of one update, and what it does to `n` elements.
struct Adam::Update {
  i64 number;
  double decay;
  real beta1, beta2, rest1, rest2, correct1, correct2, rate, eps, scale;

  Update(const AdamConfig& c, double learning_rate, double grad_scale, i64 update)
      : number(update),
        decay(1 - learning_rate * c.weight_decay),
        beta1(static_cast<real>(c.beta1)),
        beta2(static_cast<real>(c.beta2)),
        rest1(static_cast<real>(1 - c.beta1)),
        rest2(static_cast<real>(1 - c.beta2)),
        correct1(static_cast<real>(1 / (1 - std::pow(c.beta1, static_cast<double>(update))))),
        correct2(static_cast<real>(1 / (1 - std::pow(c.beta2, static_cast<double>(update))))),
        rate(static_cast<real>(learning_rate)),
        eps(static_cast<real>(c.eps)),
        scale(static_cast<real>(grad_scale)) {}

  real keep(const ParamInfo& p) const { return static_cast<real>(p.decay ? decay : 1); }

  /// The moments are first multiplied by `missed`.
  void apply(real keep, real* w, const real* g, real* m, real* v, i64 n, Factors missed = {}) const {
    const Update u = *this;  // a copy that no pointer reaches, so that the loop need not read it again
#pragma omp simd
    for (i64 i = 0; i < n; ++i) {
      const real gi = g[i] * u.scale;
      m[i] = u.beta1 * (m[i] * missed.first) + u.rest1 * gi;
      v[i] = u.beta2 * (v[i] * missed.second) + u.rest2 * gi * gi;
      w[i] = w[i] * keep - u.rate * (m[i] * u.correct1) / (std::sqrt(v[i] * u.correct2) + u.eps);
    }
  }
};

/// What so many updates without a gradient leave of the moments; each power is taken once, and not for each of a million rows.
class Adam::Missed {
 public:
  explicit Missed(const AdamConfig& c) : config_(c) {}
  Factors operator()(i64 updates) {
    if (updates >= k_kept) return powers(updates);
    for (i64 n = static_cast<i64>(kept_.size()); n <= updates; ++n) kept_.push_back(powers(n));
    return kept_[static_cast<std::size_t>(updates)];
  }

 private:
  static constexpr i64 k_kept = 1 << 16;
  Factors powers(i64 n) const {
    return {static_cast<real>(std::pow(config_.beta1, static_cast<double>(n))), static_cast<real>(std::pow(config_.beta2, static_cast<double>(n)))};
  }

  const AdamConfig& config_;
  std::vector<Factors> kept_;
};

Adam::Adam(const AdamConfig& config, const ParamSet& params) : config_(config) {
  for (const Owner owner : {Owner::replicated, Owner::expert}) {
    m_[index(owner)].resize(params.grad_size(owner));
    v_[index(owner)].resize(params.grad_size(owner));
  }
  for (const ParamInfo& p : params.infos()) {
    row_moments_.push_back({p.row_block() ? SparseRows(p.rows, 2 * p.cols) : SparseRows(), {}});
  }
}

void Adam::step(ParamSet& params, double learning_rate, double grad_scale, i64 update) {
  const Update others(config_, learning_rate, grad_scale, update), routers(config_, learning_rate * config_.router_rate, grad_scale, update);
  Missed missed(config_);
  for (const ParamInfo& p : params.infos()) {
    if (!p.trainable) continue;
    const Update& u = p.router ? routers : others;
    if (p.row_block()) {
      step_rows(params, p, u, missed);
      continue;
    }
    u.apply(u.keep(p), params.values(p.owner).data() + p.offset, params.grads(p.owner).data() + p.offset, first(p.owner).data() + p.offset,
            second(p.owner).data() + p.offset, p.size());
  }
}

void Adam::step_rows(ParamSet& params, const ParamInfo& p, const Update& u, Missed& missed) {
  RowMoments& state = row_moments({p.index});
  const SparseRows& grads = params.row_grads({p.index});
  const MatrixView w = params.value(ParamId{p.index});
  const real keep = u.keep(p);
  if (config_.sparse == SparseAdam::lazy) {
    const std::vector<i64>& rows = grads.touched();
    // Rows are at random places: the entries of the tables first, then what they point to.
    const i64 ahead = ops::rows::k_ahead;
    for (i64 s = 0; s < grads.count(); ++s) {
      if (s + 2 * ahead < grads.count()) state.rows.expect(rows[s + 2 * ahead]);
      if (s + ahead < grads.count()) {
        const i64 next = rows[s + ahead], slot = state.rows.slot(next);
        ops::rows::fetch(w.row(next), p.cols);
        if (slot >= 0) ops::rows::fetch(state.rows.at(slot), 2 * p.cols);
      }
      const i64 row = rows[s];
      real* m = state.rows.touch(row);
      const i64 slot = state.rows.slot(row);
      if (slot == static_cast<i64>(state.update.size())) state.update.push_back(u.number - 1);  // moments of zero miss nothing
      u.apply(keep, w.row(row), grads.at(s), m, m + p.cols, p.cols, missed(u.number - 1 - state.update[slot]));
      state.update[slot] = u.number;
    }
    return;
  }
  for (const i64 row : grads.touched()) state.rows.touch(row);
  state.update.resize(static_cast<std::size_t>(state.rows.count()), u.number);
  const std::vector<real> zeros(static_cast<std::size_t>(p.cols), 0);
  for (i64 slot = 0; slot < state.rows.count(); ++slot) {
    const i64 row = state.rows.touched()[slot], s = grads.slot(row);
    real* m = state.rows.at(slot);
    u.apply(keep, w.row(row), s < 0 ? zeros.data() : grads.at(s), m, m + p.cols, p.cols);
    state.update[slot] = u.number;
  }
  if (keep == 1) return;
  for (i64 row = 0; row < p.rows; ++row) {  // no moments: nothing but the decay
    if (state.rows.slot(row) >= 0) continue;
    for (i64 j = 0; j < p.cols; ++j) w(row, j) *= keep;
  }
}

}  // namespace pleiad::train
