// Feed-forward experts, each with its own width. An expert takes its rows (in global token order) a tile at a time: gathered, multiplied,
// scattered while the tile is in the cache. Tiles are filled up with rows of zeros to a height that is a multiple of k_tile_step, so that
// there are few shapes of products; what a row gets does not depend on the ranks, because all rows of an expert are on one.
#pragma once
#include "pleiad/core/expert_map.hpp"
#include "pleiad/experts/expert_bank.hpp"
#include "pleiad/experts/feed_forward.hpp"

namespace pleiad::experts {

inline constexpr i64 k_tile_rows = 256, k_tile_step = 8;

/// Room for one tile.
struct TileRoom {
  FeedForwardRoom inner;
  Buffer<real> x, y, d_y;
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
