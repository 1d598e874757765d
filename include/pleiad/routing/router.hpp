// What every routing variant implements: tokens in, Assignment out, and the way back for gradients.
// Variants are listed in variants.def and made by registry.hpp. Letters: T tokens of this rank, D width, N experts.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "pleiad/comm/communicator.hpp"
#include "pleiad/core/lanes.hpp"
#include "pleiad/core/param.hpp"
#include "pleiad/routing/assignment.hpp"

namespace pleiad::routing {

/// Attention weights of the same block: row (s H + h) L + i holds what query i of this rank's s-th sequence pays to each key.
struct AttentionMaps {
  ConstMatrixView weights = {};  ///< [S*H*L, L], empty where there are none
  i64 heads = 0;
};

struct RouterTrace;

/// What a router may look at beside the tokens themselves. Capacity and batch statistics are decided over the whole global
/// batch, so `world` spans every rank that has a share of it.
struct RoutingContext {
  const comm::Communicator& world;
  const LaneLayout& lanes;
  std::uint64_t seed = 0;
  i64 layer = 0;
  i64 step = 0;
  bool training = true;
  ConstMatrixView given_noise = {};  ///< [T,N] standard normal draws in place of our own (verification files)
  AttentionMaps attention = {};
  std::span<const std::int32_t> token_ids = {};  ///< [T] of this rank, or empty where tokens have no number
  std::span<const std::uint8_t> real_tokens = {};  ///< [T] 0: padding, never routed and in no average; empty: no padding
  i64 real_in_batch = -1;                          ///< real tokens of the whole global batch; -1: no padding
  RouterTrace* spent = nullptr;  ///< what forward made of an earlier batch, needed no more: its memory may be taken

  i64 counted_tokens() const { return real_in_batch >= 0 ? real_in_batch : lanes.tokens(); }
  bool is_real(i64 token) const { return real_tokens.empty() || real_tokens[token]; }
};

struct AuxLoss {
  std::string name;
  double value = 0;        ///< without its coefficient; the same on every rank
  double coefficient = 0;
};

/// All that backward needs and all that statistics want, made by forward. A variant derives its own.
struct RouterTrace {
  virtual ~RouterTrace() = default;
  Assignment assignment;
  std::vector<AuxLoss> losses;
  Matrix logits;            ///< [T,N], without noise
  double mean_entropy = 0;  ///< mean over all real tokens of -sum_e p ln p, nats
  std::vector<double> importance;  ///< [T] of attention-driven routers, else empty
  i64 capacity = 0;                ///< most tokens of an expert, 0: dropless
};

class Router {
 public:
  virtual ~Router() = default;
  /// x [T,D] -> assignment of this rank's tokens. collective over context.world.
  virtual std::unique_ptr<RouterTrace> forward(const ParamSet& params, ConstMatrixView x, const RoutingContext& context) const = 0;
  /// d_weight [nnz] belongs to the assignment's entries (0 where dropped). Adds the gradient of the objective and of the
  /// auxiliary losses, their coefficients times `loss_scale`, to d_x [T,D] and to the parameter gradients. Local.
  virtual void backward(ParamSet& params, ConstMatrixView x, const RoutingContext& context, const RouterTrace& trace,
                        std::span<const real> d_weight, double loss_scale, MatrixView d_x) const = 0;
  /// Moves what is learned without a gradient (balancing bias, running statistics) after an update, from what forward saw.
  /// collective over context.world.
  virtual void update_buffers(ParamSet&, const RouterTrace&, const RoutingContext&) const {}
  /// Whether the experts of a token never depend on later tokens in evaluation.
  virtual bool causal() const { return true; }
  /// Whether forward fills RouterTrace::importance.
  virtual bool has_importance() const { return false; }
  /// Experts that a token selects on average, before a capacity, where the options fix it; 0 where the data decide.
  virtual double selected_per_token() const { return 0; }
  /// The most that it may select; what is foreseen where the data decide.
  virtual double most_per_token() const { return selected_per_token(); }
  /// Floating-point operations per token of the router itself, forward.
  virtual double flops_per_token() const = 0;
};

}  // namespace pleiad::routing
