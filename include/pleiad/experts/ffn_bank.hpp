// Feed-forward experts, each with its own width. An expert takes its rows (in global token order) a tile at a time: gathered, multiplied,
// scattered while the tile is in the cache. Tiles are filled up with rows of zeros to one of a few heights, so that there are few shapes of
// products; what a row gets does not depend on the ranks, because all rows of an expert are on one.
#pragma once
#include "pleiad/core/expert_map.hpp"
#include "pleiad/experts/expert_bank.hpp"
#include "pleiad/experts/feed_forward.hpp"

namespace pleiad::experts {

inline constexpr i64 k_tile_rows = 256;
/// Rows of a tile with its filling: multiples of 8, above 96 rows of 16, above 128 of 32. pre: 1 <= count <= k_tile_rows.
constexpr i64 tile_height(i64 count) {
  const i64 step = count <= 96 ? 8 : count <= 128 ? 16 : 32;
  return (count + step - 1) / step * step;
}

/// Room for one tile.
struct TileRoom {
  FeedForwardRoom inner;
  Buffer<real> x, y, d_y;
  Buffer<bf16> x_16, d_y_16;
  ops::RowTable<const real> from, from_d_y, later;
  ops::RowTable<real> into;
};

class FfnBank : public ExpertBank {
 public:
  /// The experts that `owner` owns according to `map`; widths [N] of all experts. Parameters: prefix + "experts/<global number>/".
  /// `layer` of `layers` blocks numbers the experts over the whole model.
  FfnBank(ParamSet& params, const std::string& prefix, FeedForwardKind kind, i64 width, const std::vector<i64>& widths,
          const ExpertMap& map, i64 owner, i64 layer, i64 layers);

  void forward(const ParamSet& params, ConstMatrixView tokens, const ExpertRows& rows, BankTrace& trace, const Landing& out) const override;
  void backward(ParamSet& params, ConstMatrixView tokens, const ExpertRows& rows, const BankTrace& trace, ConstMatrixView d_out, const Landing& d_x,
                std::span<real> d_weight) const override;
  double flops_per_row(i64 expert) const override;
  i64 parameters_of(i64 expert) const override;

 private:
  template <class N>
  void forward_as(const ParamSet& params, ConstMatrixView tokens, const ExpertRows& rows, BankTrace& trace, const Landing& out) const;
  template <class N>
  void backward_as(ParamSet& params, ConstMatrixView tokens, const ExpertRows& rows, const BankTrace& trace, ConstMatrixView d_out, const Landing& d_x,
                   std::span<real> d_weight) const;

  FeedForwardKind kind_;
  i64 width_;
  std::vector<i64> widths_;
  std::vector<FeedForward> experts_;  // local
  mutable TileRoom room_;             // scratch: nothing in it outlives a call
};

}  // namespace pleiad::experts
