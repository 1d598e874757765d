#include "pleiad/experts/ffn_bank.hpp"

#include <algorithm>

#include "pleiad/ops/rows.hpp"
#include "pleiad/ops/vec.hpp"

namespace pleiad::experts {

FfnBank::FfnBank(ParamSet& params, const std::string& prefix, FeedForwardKind kind, i64 width, const std::vector<i64>& widths,
                 const ExpertMap& map, i64 owner, i64 layer, i64 layers)
    : kind_(kind), width_(width), widths_(widths) {
  for (const i64 e : map.owned_by(owner)) {
    experts_.emplace_back(params, prefix, e, layer * map.experts() + e, kind, width, widths[e], layers);
  }
}

namespace {

// Rows of tokens lie anywhere: so many are asked for ahead where they are copied, and where they are multiplied as they lie.
constexpr i64 k_ahead = 4, k_later = 16;

/// Rows begin .. begin+count-1 of an expert; `height` with the filling.
struct Tile {
  i64 begin, count, height;
};

template <class Work>
void for_each_tile(const ExpertRun& run, Work work) {
  for (i64 begin = run.begin; begin < run.end; begin += k_tile_rows) {
    const i64 count = std::min(k_tile_rows, run.end - begin);
    work(Tile{begin, count, tile_height(count)});
  }
}

/// The rows of a tile side by side as factors of products, zeros behind them.
template <class N>
View<const N> gather(ConstMatrixView tokens, const ExpertRows& rows, const Tile& tile, Buffer<N>& room) {
  room.reserve_uninitialised(tile.height * tokens.cols);
  const View<N> gathered(room.data(), tile.height, tokens.cols);
  const std::int32_t* token = rows.token.data() + tile.begin;
  for (i64 i = 0; i < tile.count; ++i) {
    if (i + k_ahead < tile.count) ops::rows::fetch(tokens.row(token[i + k_ahead]), tokens.cols);
    to_factors(tokens.row(token[i]), gathered.row(i), tokens.cols);
  }
  std::fill(gathered.row(tile.count), gathered.row(tile.height), N{});
  return gathered;
}

/// `weight`: of all rows, or empty for 1.
void scatter(ConstMatrixView results, const Tile& tile, std::span<const real> weight, const Landing& landing) {
  for (i64 i = 0; i < tile.count; ++i) {
    const std::size_t r = static_cast<std::size_t>(tile.begin + i);
    if (i + k_ahead < tile.count) ops::rows::fetch<true>(landing.into.row(landing.place[r + k_ahead]), results.cols);
    real* to = landing.into.row(landing.place[r]);
    if (!landing.add) {
      std::copy_n(results.row(i), results.cols, to);
    } else if (weight.empty()) {
      ops::vec::add(results.row(i), to, results.cols);
    } else {
      ops::vec::axpy(weight[r], results.row(i), to, results.cols);
    }
  }
}

/// Tokens that come a little after those of a tile, as many as it has.
std::span<const std::int32_t> later(const ExpertRows& rows, const Tile& tile) {
  const i64 first = std::min(tile.begin + k_later, rows.rows() - tile.count);
  return std::span(rows.token).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(tile.count));
}

i64 trace_size(const FeedForward& expert, const Tile& tile) { return expert.trace_size(expert.narrow() ? tile.count : tile.height); }

/// Of two buffers that of these numbers.
template <class N>
Buffer<N>& of(Buffer<real>& room, Buffer<bf16>& room_16) {
  if constexpr (std::is_same_v<N, real>) {
    return room;
  } else {
    return room_16;
  }
}

}  // namespace

void FfnBank::forward(const ParamSet& params, ConstMatrixView tokens, const ExpertRows& rows, BankTrace& trace, const Landing& out) const {
  kind_.rounded ? forward_as<bf16>(params, tokens, rows, trace, out) : forward_as<real>(params, tokens, rows, trace, out);
}

template <class N>
void FfnBank::forward_as(const ParamSet& params, ConstMatrixView tokens, const ExpertRows& rows, BankTrace& trace, const Landing& out) const {
  i64 size = 0;
  for (const ExpertRun& run : rows.runs) {
    for_each_tile(run, [&](const Tile& tile) { size += trace_size(experts_[run.expert], tile); });
  }
  trace.values.reserve_uninitialised(size);
  std::span<real> rest = trace.values.span();
  for (const ExpertRun& run : rows.runs) {
    const FeedForward& expert = experts_[run.expert];
    const FeedForwardWeights<N> weights = expert.weights<N>(params, room_.inner);
    const FeedForward* next = &run != &rows.runs.back() ? &experts_[(&run)[1].expert] : nullptr;
    if (next && !expert.narrow()) next->prefetch(params);
    for_each_tile(run, [&](const Tile& tile) {
      if (out.pace) out.pace->reach(tile.begin);
      const std::size_t need = static_cast<std::size_t>(trace_size(expert, tile)), first = static_cast<std::size_t>(tile.begin),
                        count = static_cast<std::size_t>(tile.count);
      const std::span<real> traced = rest.first(need);
      rest = rest.subspan(need);
      if (expert.narrow()) {
        room_.later.some_of(later(rows, tile), tokens);
        if (next && tile.begin + tile.count == run.end) next->add_rows(params, room_.later);
        return expert.forward_scattered(params, room_.from.some_of(std::span(rows.token).subspan(first, count), tokens), traced, room_.inner,
                                        room_.into.some_of(out.place.subspan(first, count), out.into), {out.add, rows.weight.data() + first},
                                        room_.later.filled_up(tile.count));
      }
      room_.y.reserve_uninitialised(tile.height * width_);
      const MatrixView y(room_.y.data(), tile.height, width_);
      expert.forward(params, weights, gather(tokens, rows, tile, of<N>(room_.x, room_.x_16)), traced, room_.inner, y);
      scatter(y, tile, rows.weight, out);
    });
  }
}

void FfnBank::backward(ParamSet& params, ConstMatrixView tokens, const ExpertRows& rows, const BankTrace& trace, ConstMatrixView d_out,
                       const Landing& d_x, std::span<real> d_weight) const {
  kind_.rounded ? backward_as<bf16>(params, tokens, rows, trace, d_out, d_x, d_weight)
                : backward_as<real>(params, tokens, rows, trace, d_out, d_x, d_weight);
}

template <class N>
void FfnBank::backward_as(ParamSet& params, ConstMatrixView tokens, const ExpertRows& rows, const BankTrace& trace, ConstMatrixView d_out,
                          const Landing& d_x, std::span<real> d_weight) const {
  std::span<const real> rest = trace.values.span();
  for (const ExpertRun& run : rows.runs) {
    const FeedForward& expert = experts_[run.expert];
    const FeedForwardWeights<N> weights = expert.weights<N>(params, room_.inner);
    const FeedForward* next = &run != &rows.runs.back() ? &experts_[(&run)[1].expert] : nullptr;
    if (next && !expert.narrow()) next->prefetch_with_gradients(params);
    for_each_tile(run, [&](const Tile& tile) {
      if (d_x.pace) d_x.pace->reach(tile.begin);
      const std::size_t used = static_cast<std::size_t>(trace_size(expert, tile));
      const std::size_t first = static_cast<std::size_t>(tile.begin), count = static_cast<std::size_t>(tile.count);
      const std::span<const real> traced = rest.first(used), weight = std::span(rows.weight).subspan(first, count);
      rest = rest.subspan(used);
      if (expert.narrow()) {
        const auto token = std::span(rows.token).subspan(first, count);
        room_.later.some_of(later(rows, tile), tokens, d_out);
        if (next && tile.begin + tile.count == run.end) next->add_rows_with_gradients(params, room_.later);
        return expert.backward_scattered(params, room_.from.some_of(token, tokens), traced, weight, room_.from_d_y.some_of(token, d_out), room_.inner,
                                         room_.into.some_of(d_x.place.subspan(first, count), d_x.into), d_x.add, d_weight.subspan(first, count),
                                         room_.later.filled_up(tile.count));
      }
      const View<const N> x = gather(tokens, rows, tile, of<N>(room_.x, room_.x_16)), d_y = gather(d_out, rows, tile, of<N>(room_.d_y, room_.d_y_16));
      room_.y.reserve_uninitialised(tile.height * width_);
      const MatrixView d_rows(room_.y.data(), tile.height, width_);
      expert.backward(params, weights, x, traced, weight, d_y, room_.inner, d_rows,
                      d_weight.subspan(first, count), 0);
      scatter(d_rows, tile, {}, d_x);
    });
  }
}

double FfnBank::flops_per_row(i64 expert) const {
  return 2.0 * static_cast<double>(kind_.matrices() * widths_[expert] * width_);
}

i64 FfnBank::parameters_of(i64 expert) const {
  return kind_.matrices() * widths_[expert] * width_ + (kind_.bias ? widths_[expert] + width_ : 0);
}

}  // namespace pleiad::experts
