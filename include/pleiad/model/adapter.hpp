// Free adapters, the controls of HyperMoE (Zhao et al. 2024, arXiv 2402.12656): the same small two-layer expert beside the experts, but
// with weights of its own in place of generated ones. Un-gated; b hidden units, relu, both biases:
//   A(x) = U relu(D x + beta) + gamma
//   shared      y += A(x), one adapter for all tokens
//   per_expert  y += (1/|S|) sum over e in S of A_e(x), S the experts the token selected, before any capacity
// With one expert per token and a generator without limits HyperMoE would be per_expert. Letters: T tokens of this rank, D width, N experts.
#pragma once
#include "pleiad/experts/feed_forward.hpp"
#include "pleiad/model/context.hpp"
#include "pleiad/routing/assignment.hpp"

namespace pleiad::model {

struct AdapterConfig {
  enum class Kind { none, shared, per_expert } kind = Kind::none;
  i64 width = 8;  ///< b

  /// Reads moe.adapter and, unless that is none, moe.adapter_width.
  static AdapterConfig read(Spec& moe);
};

struct AdapterTrace {
  /// What one adapter did in one lane.
  struct Part {
    i64 lane = 0, adapter = 0;
    std::vector<i64> tokens;   // local, ascending
    std::vector<real> weight;  // 1, or 1/|S|
    Buffer<real> values;       // trace of the FeedForward
  };
  std::vector<Part> parts;  // lane after lane, adapters ascending, none without tokens
};

class Adapter {
 public:
  /// Adds replicated parameters under `prefix` + experts/<e>/ (the shared one is 0). pre: config.kind is not none. `layers` as in
  /// FeedForward; the outputs start near zero.
  Adapter(ParamSet& params, const std::string& prefix, const AdapterConfig& config, i64 experts, i64 width, i64 layers);

  /// Adds to y [T,D]. Padding gets nothing. Local.
  void forward(const ParamSet& params, ConstMatrixView x, const routing::Assignment& a, const StepContext& context, AdapterTrace& trace,
               MatrixView y) const;
  /// d_y [T,D] -> adds to d_x [T,D] and to the parameter gradients. Local.
  void backward(ParamSet& params, ConstMatrixView x, ConstMatrixView d_y, const AdapterTrace& trace, MatrixView d_x) const;

  /// Forward floating-point operations of every token, and of every selected expert of a token.
  double flops_per_token() const { return shared_ ? adapters_.front().flops_per_row() : 0; }
  double flops_per_selection() const { return shared_ ? 0 : adapters_.front().flops_per_row(); }

 private:
  bool shared_;
  std::vector<experts::FeedForward> adapters_;
  mutable experts::FeedForwardRoom room_;  // scratch: nothing in it outlives a call
};

}  // namespace pleiad::model
