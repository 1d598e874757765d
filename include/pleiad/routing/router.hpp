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
  double mean_entropy = 0;  ///< mean over all tokens of -sum_e p ln p, nats
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
  /// Whether the experts of a token never depend on later tokens, in evaluation mode without a capacity.
  virtual bool causal() const { return true; }
  /// Floating-point operations per token of the router itself, forward.
  virtual double flops_per_token() const = 0;
};

}  // namespace pleiad::routing
