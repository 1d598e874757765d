#include "pleiad/core/param.hpp"

#include <algorithm>

#include "pleiad/core/random.hpp"

namespace pleiad {

ParamId ParamSet::add(ParamInfo info) {
  PLEIAD_CHECK(!allocated_, "parameter {} added after allocation", info.name);
  PLEIAD_CHECK(info.shape.size() >= 1 && info.shape.size() <= 3, "parameter {} has {} extents", info.name, info.shape.size());
  info.cols = info.shape.back();
  info.rows = 1;
  for (std::size_t i = 0; i + 1 < info.shape.size(); ++i) info.rows *= info.shape[i];
  if (info.row_block()) {
    PLEIAD_CHECK(info.owner == Owner::expert && info.first_row + info.own_rows <= info.rows, "rows {} + {} of {} in {}", info.first_row, info.own_rows, info.rows, info.name);
    info.rows = info.own_rows;
  }
  info.index = count();
  infos_.push_back(std::move(info));
  return {count() - 1};
}

void ParamSet::allocate() {
  allocated_ = true;
  // Every parameter starts on a 64-byte boundary, so that kernels meet the same alignment whatever the rank owns.
  const i64 unit = 64 / static_cast<i64>(sizeof(real));
  for (const bool row_blocks : {false, true}) {
    for (ParamInfo& p : infos_) {
      if (p.row_block() != row_blocks) continue;
      i64& end = p.owner == Owner::replicated ? dense_size_ : expert_size_;
      p.offset = end;
      end += (p.size() + unit - 1) / unit * unit;
    }
    if (!row_blocks) expert_grad_size_ = expert_size_;
  }
  dense_.resize(dense_size_);
  experts_.resize(expert_size_);
}

void ParamSet::allocate_grads(i64 lanes) {
  PLEIAD_CHECK(allocated_, "gradients before values");
  grad_lanes_ = std::max<i64>(lanes, 1);
  dense_grads_.resize(grad_lanes_ * dense_size_);
  expert_grads_.resize(expert_grad_size_);
  row_grads_.clear();
  for (const ParamInfo& p : infos_) row_grads_.push_back(p.row_block() ? SparseRows(p.rows, p.cols) : SparseRows());
}

void ParamSet::zero_grads() {
  std::ranges::fill(dense_grads_.span(), real{0});
  std::ranges::fill(expert_grads_.span(), real{0});
  for (SparseRows& rows : row_grads_) rows.clear();
}

ConstMatrixView ParamSet::value(ParamId id) const {
  const ParamInfo& p = info(id);
  return {(p.owner == Owner::replicated ? dense_ : experts_).data() + p.offset, p.rows, p.cols};
}

MatrixView ParamSet::grad(ParamId id, i64 lane) {
  const ParamInfo& p = info(id);
  PLEIAD_CHECK(!p.row_block(), "the gradient of {} is row-sparse", p.name);
  if (p.owner == Owner::expert) return view(p, expert_grads_.span());
  PLEIAD_CHECK(lane >= 0 && lane < grad_lanes_, "gradient lane {} of {}", lane, grad_lanes_);
  return view(p, dense_grads_.span().subspan(static_cast<std::size_t>(lane * dense_size_)));
}

SparseRows& ParamSet::row_grads(ParamId id) {
  PLEIAD_CHECK(info(id).row_block() && id.index < static_cast<i64>(row_grads_.size()), "{} has no row-sparse gradient", info(id).name);
  return row_grads_[static_cast<std::size_t>(id.index)];
}

std::vector<real> ParamSet::whole_grad(ParamId id, i64 lane) {
  if (info(id).row_block()) return row_grads(id).expanded();
  const std::span<const real> flat = grad(id, lane).flat();
  return {flat.begin(), flat.end()};
}

void ParamSet::set_options(ParamId id, bool trainable, bool decay) {
  infos_[id.index].trainable = trainable;
  infos_[id.index].decay = decay;
}

const ParamInfo* ParamSet::find(const std::string& name) const {
  const auto it = std::ranges::find_if(infos_, [&](const ParamInfo& p) { return p.name == name; });
  return it == infos_.end() ? nullptr : &*it;
}

void ParamSet::initialise(std::uint64_t seed) {
  for (i64 i = 0; i < count(); ++i) {
    const ParamInfo& p = infos_[i];
    const std::span<real> out = slice(p, values(p.owner));
    if (p.init.kind == Init::Kind::zeros || p.init.kind == Init::Kind::ones) {
      std::ranges::fill(out, static_cast<real>(p.init.kind == Init::Kind::ones ? 1 : 0));
      continue;
    }
    const Stream draw = Stream::named(seed, Purpose::init, p.name);
    const std::uint64_t first = static_cast<std::uint64_t>(p.first_element());
    for (std::size_t j = 0; j < out.size(); ++j) {
      out[j] = static_cast<real>(p.init.kind == Init::Kind::normal ? p.init.scale * draw.normal(first + j)
                                                                   : p.init.scale * (2 * draw.uniform(first + j) - 1));
    }
  }
}

}  // namespace pleiad
