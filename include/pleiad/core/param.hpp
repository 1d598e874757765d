// Parameters: named, shaped, tagged replicated (dense weights, on every rank) or expert-owned (on the ranks that own the
// expert), stored in two flat blocks with views. Replicated gradients are kept one block per lane until they are summed
// along the lane tree (core/lanes.hpp); expert gradients exist once. A parameter with one row per expert (a million of them) is
// row-sparse: its gradient holds the rows that were touched since zero_grads() and nothing else.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "pleiad/core/sparse_rows.hpp"

namespace pleiad {

enum class Owner { replicated, expert };

/// How initial values are drawn; `scale` is the standard deviation (normal) or the half width (uniform).
struct Init {
  enum class Kind { zeros, ones, normal, uniform } kind = Kind::zeros;
  double scale = 0;
  static Init zeros() { return {}; }
  static Init ones() { return {Kind::ones, 1}; }
  static Init normal(double deviation) { return {Kind::normal, deviation}; }
  static Init uniform(double half_width) { return {Kind::uniform, half_width}; }
};

struct ParamInfo {
  std::string name;        ///< global and unique: blocks/1/ffn/experts/5/w_in
  std::vector<i64> shape;  ///< one to three extents; the last one is the columns
  Owner owner = Owner::replicated;
  Init init;
  bool decay = true;       ///< weight decay applies
  bool trainable = true;   ///< false: a buffer, without gradient
  bool router = false;     ///< decides where tokens go (scores of experts; queries and sub-keys): may learn at a rate of its own
  i64 expert = -1;         ///< global expert number, for Owner::expert
  i64 slot = -1;           ///< number of the expert over all layers of the model, the same on every rank, for Owner::expert
  i64 first_row = 0;       ///< of a parameter whose rows are shared out among the ranks, one row per expert (Owner::expert)
  i64 own_rows = -1;       ///< rows of this rank, -1: all; expert and slot are then -1
  std::string family = {}; ///< the name without the expert number: blocks/1/ffn/experts/w_in, for Owner::expert

  i64 rows = 0, cols = 0, offset = 0;  ///< of this rank, filled in by ParamSet (offset by allocate()); one extent n is 1 x n
  i64 index = -1;                      ///< in ParamSet::infos()
  i64 size() const { return rows * cols; }
  /// One row per expert; gradient and optimizer state are row-sparse.
  bool row_block() const { return own_rows >= 0; }
  /// Number of elements before this rank's part in the whole parameter.
  i64 first_element() const { return first_row * cols; }
};

/// A handle into a ParamSet.
struct ParamId {
  i64 index = -1;
};

class ParamSet {
 public:
  ParamId add(ParamInfo info);
  /// Allocates values, all zero. No parameter may be added afterwards.
  void allocate();
  /// Allocates gradients: `lanes` blocks for the replicated parameters (at least one), one for the expert-owned.
  void allocate_grads(i64 lanes);
  /// Draws every value from (seed, name, element): the same on any number of ranks.
  void initialise(std::uint64_t seed);

  i64 count() const { return static_cast<i64>(infos_.size()); }
  const ParamInfo& info(ParamId id) const { return infos_[id.index]; }
  const std::vector<ParamInfo>& infos() const { return infos_; }
  /// Overrides what add() said, e.g. from a verification file.
  void set_options(ParamId id, bool trainable, bool decay);
  /// nullptr if there is none of that name on this rank.
  const ParamInfo* find(const std::string& name) const;

  MatrixView value(ParamId id) { return view(info(id), values(info(id).owner)); }
  ConstMatrixView value(ParamId id) const;
  /// Gradient of an expert-owned parameter, or the part of lane `lane` (counted within this rank) of a replicated one. Not for a
  /// row_block() parameter.
  MatrixView grad(ParamId id, i64 lane = 0);
  /// The gradient of a row_block() parameter: rows of this rank, counted from its first. touch() a row before adding to it.
  SparseRows& row_grads(ParamId id);
  /// A copy of the gradient of any parameter, in full: for verification and tests.
  std::vector<real> whole_grad(ParamId id, i64 lane = 0);

  /// The flat blocks. Gradients of replicated parameters: lanes x size, block 0 first; those of experts without the row_block()
  /// parameters, which stand behind the others in values().
  std::span<real> values(Owner owner) { return (owner == Owner::replicated ? dense_ : experts_).span(); }
  std::span<real> grads(Owner owner) { return (owner == Owner::replicated ? dense_grads_ : expert_grads_).span(); }
  i64 size(Owner owner) const { return owner == Owner::replicated ? dense_size_ : expert_size_; }
  /// The part of values() that has a flat gradient, and in the optimizer flat state.
  i64 grad_size(Owner owner) const { return owner == Owner::replicated ? dense_size_ : expert_grad_size_; }
  i64 grad_lanes() const { return grad_lanes_; }
  void zero_grads();
  /// The values of one parameter inside a flat block laid out like values() (also of optimizer state).
  std::span<real> slice(const ParamInfo& info, std::span<real> block) const {
    return block.subspan(static_cast<std::size_t>(info.offset), static_cast<std::size_t>(info.size()));
  }

 private:
  static MatrixView view(const ParamInfo& info, std::span<real> block) { return {block.data() + info.offset, info.rows, info.cols}; }

  std::vector<ParamInfo> infos_;
  Buffer<real> dense_, experts_, dense_grads_, expert_grads_;
  std::vector<SparseRows> row_grads_;  // [count], empty for all but row blocks
  i64 dense_size_ = 0, expert_size_ = 0, expert_grad_size_ = 0, grad_lanes_ = 0;
  bool allocated_ = false;
};

}  // namespace pleiad
