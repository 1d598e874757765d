#include "pleiad/model/block.hpp"

#include "pleiad/ops/rms_norm.hpp"
#include "pleiad/ops/vec.hpp"

namespace pleiad::model {

namespace {

void add_rows(ConstMatrixView from, MatrixView into) {
  for (i64 i = 0; i < into.rows; ++i) {
    for (i64 j = 0; j < into.cols; ++j) into(i, j) += from(i, j);
  }
}

void keep(ConstMatrixView x, Matrix& copy) {
  copy.resize_uninitialised(x.rows, x.cols);
  copy_rows(x, copy);
}

ParamId add_norm(ParamSet& params, const std::string& name, i64 width) {
  return params.add({.name = name, .shape = {width}, .init = Init::ones(), .decay = false});
}

}  // namespace

ModelConfig ModelConfig::read(Spec& s, i64 vocab) {
  ModelConfig c;
  const i64 big = i64{1} << 30;
  c.vocab = s.integer("vocab", vocab, 2, big, "number of different tokens; that of the corpus if not given");
  if (c.vocab != vocab) user_error("model.vocab = {}: the corpus has a vocabulary of {}; leave the key out or give that value", c.vocab, vocab);
  c.width = s.integer("width", 128, 2, big, "width D of the residual stream");
  c.layers = s.integer("layers", 4, 1, 4096, "number of blocks");
  c.heads = s.integer("heads", 4, 1, big, "attention heads; the width of a head must be even");
  if (c.width % c.heads != 0 || (c.width / c.heads) % 2 != 0) {
    user_error("model.heads = {}: must divide model.width = {} into heads of even width", c.heads, c.width);
  }
  c.seq_len = s.integer("seq_len", 128, 1, big, "tokens in a sequence");
  c.dense_width = s.integer("dense_width", 4 * c.width, 1, big, "hidden width of the dense feed-forward layers");
  c.dense_kind = experts::FeedForwardKind::from(
      s.choice("dense_activation", "gelu", {"relu", "gelu", "swiglu"}, "kind of the dense feed-forward layers"), false);
  c.dense_kind.bias = s.flag("dense_bias", false, "biases in the dense feed-forward layers (not with swiglu)");
  if (c.dense_kind.bias && c.dense_kind.gated) user_error("model.dense_bias = true: a swiglu layer has no bias");
  c.tied_head = s.flag("tied_head", false, "the output head is the embedding table");
  c.rms_eps = s.number("rms_eps", 1e-5, 0, 1, "epsilon of the root mean square norm");
  c.rope_base = s.number("rope_base", 10000, 1, 1e12, "base of the rotary angles");
  return c;
}

void norm_forward(const ParamSet& params, ParamId weight, real eps, ConstMatrixView x, Matrix& y, std::vector<real>& inv_rms) {
  y.resize_uninitialised(x.rows, x.cols);
  inv_rms.resize(static_cast<std::size_t>(x.rows));
  ops::rms_norm_forward(x, params.value(weight), eps, y, inv_rms);
}

void norm_backward(ParamSet& params, ParamId weight, ConstMatrixView x, std::span<const real> inv_rms, ConstMatrixView d_y,
                   const LaneLayout& lanes, MatrixView d_x) {
  for_each_lane(lanes, [&](i64 lane, i64 begin, i64 count) {
    ops::rms_norm_backward(x.row_range(begin, count), params.value(weight),
                           inv_rms.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count)), d_y.row_range(begin, count),
                           d_x.row_range(begin, count), params.grad(weight, lane));
  });
}

Block::Block(ParamSet& params, const ModelConfig& c, i64 layer, i64 moe_layer, Spec& moe, const MoeConfig& moe_config,
             const comm::ProcessGrid& grid, const exchange::Exchanger& exchanger, const HyperNetwork* hyper)
    : eps_(static_cast<real>(c.rms_eps)),
      width_(c.width),
      norm1_(add_norm(params, fmt::format("blocks/{}/norm1", layer), c.width)),
      norm2_(add_norm(params, fmt::format("blocks/{}/norm2", layer), c.width)),
      attention_(params, fmt::format("blocks/{}/attn/", layer), c.width, c.heads, c.layers) {
  const std::string prefix = fmt::format("blocks/{}/ffn/", layer);
  if (moe_layer >= 0) {
    moe_ = std::make_unique<MoeLayer>(params, moe, moe_config, prefix, c.width, layer, c.layers, grid, exchanger, hyper, moe_layer);
  } else {
    dense_.emplace(params, prefix, 0, -1, c.dense_kind, c.width, c.dense_width, c.layers);
  }
}

double Block::dense_flops_per_token(i64 seq_len) const {
  const double d = static_cast<double>(width_);
  return 8 * d * d + 4 * d * static_cast<double>(seq_len) + (dense_ ? dense_->flops_per_row() : 0);
}

void Block::forward(const ParamSet& params, const ops::RotaryTable& rotary, std::span<const ops::Mask> masks, const StepContext& context,
                    BlockTrace& trace, BlockRoom& room, MatrixView x) const {
  Matrix& y = room.y;
  y.resize_uninitialised(x.rows, x.cols);
  keep(x, trace.x_in);
  {
    PhaseTimes::Scope phase(context.times, Phase::norm);
    norm_forward(params, norm1_, eps_, x, trace.normed_in, trace.inv_rms_in);
  }
  {
    PhaseTimes::Scope phase(context.times, Phase::attention);
    attention_.forward(params, trace.normed_in, rotary, masks, context, trace.attention, y);
    add_rows(y, x);
  }
  keep(x, trace.x_mid);
  {
    PhaseTimes::Scope phase(context.times, Phase::norm);
    norm_forward(params, norm2_, eps_, x, trace.normed_mid, trace.inv_rms_mid);
  }
  if (moe_) {
    moe_->forward(params, trace.normed_mid, {trace.attention.weights, attention_.heads()}, context, trace.moe, y);
  } else {
    PhaseTimes::Scope phase(context.times, Phase::dense_ffn);
    trace.dense.resize(static_cast<std::size_t>(context.lanes.my_lanes().count));
    for_each_lane(context.lanes, [&](i64 lane, i64 begin, i64 count) {
      trace.dense[lane].reserve_uninitialised(dense_->trace_size(count));
      dense_->forward(params, trace.normed_mid.view().row_range(begin, count), trace.dense[lane].span(), dense_room_, y.view().row_range(begin, count));
    });
  }
  add_rows(y, x);
}

void Block::backward(ParamSet& params, const ops::RotaryTable& rotary, std::span<const ops::Mask> masks, const StepContext& context,
                     const BlockTrace& trace, double aux_scale, BlockRoom& room, MatrixView d_x) const {
  Matrix& d_normed = room.y;
  d_normed.resize(d_x.rows, d_x.cols);
  if (moe_) {
    moe_->backward(params, trace.normed_mid, d_x, context, trace.moe, aux_scale, d_normed);
  } else {
    PhaseTimes::Scope phase(context.times, Phase::dense_ffn);
    for_each_lane(context.lanes, [&](i64 lane, i64 begin, i64 count) {
      context.look_after_messages();
      dense_->backward(params, trace.normed_mid.view().row_range(begin, count), trace.dense[lane].span(), {},
                       ConstMatrixView(d_x).row_range(begin, count), dense_room_, d_normed.view().row_range(begin, count), {}, lane);
    });
  }
  {
    PhaseTimes::Scope phase(context.times, Phase::norm);
    norm_backward(params, norm2_, trace.x_mid, trace.inv_rms_mid, d_normed, context.lanes, d_x);
  }
  {
    PhaseTimes::Scope phase(context.times, Phase::attention);
    attention_.backward(params, trace.normed_in, rotary, masks, d_x, context, trace.attention, room.attention, d_normed);
  }
  PhaseTimes::Scope phase(context.times, Phase::norm);
  norm_backward(params, norm1_, trace.x_in, trace.inv_rms_in, d_normed, context.lanes, d_x);
}

}  // namespace pleiad::model
