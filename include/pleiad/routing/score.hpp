// Router scores z = x W^T and p = softmax(z), lane by lane, with optional input noise; and their way back.
// Input noise multiplies the router's input by U(1-eps, 1+eps) in training (Fedus et al. 2021, section 2.2).
#pragma once
#include "pleiad/routing/registry.hpp"

namespace pleiad::routing {

struct ScoreTrace {
  Matrix noisy_x;                    // [T,D], empty without input noise
  Matrix noise_factor;               // [T,D], empty without input noise
  Matrix p;                          // [T,N]
  std::vector<real> log_sum_exp;     // [T]
  ConstMatrixView input(ConstMatrixView x) const { return noisy_x.rows() ? noisy_x.view() : x; }
};

/// For forward: what an earlier batch left (RoutingContext::spent) becomes room for this one.
void take_memory(Matrix& spent_logits, ScoreTrace& spent, Matrix& logits, ScoreTrace& scores);

class ScoreGate {
 public:
  /// Reads moe.input_noise; adds the parameter router/w [N,D].
  ScoreGate(const RouterBuild& build, Spec& spec);

  /// Fills `logits` [T,N] and the trace. Local.
  void forward(const ParamSet& params, ConstMatrixView x, const RoutingContext& context, Matrix& logits, ScoreTrace& trace) const;
  /// d_p and d_z [T,N] are what the loss says directly about p and about z; both are destroyed. Adds to d_x and to the weights.
  void backward(ParamSet& params, ConstMatrixView x, const RoutingContext& context, const ScoreTrace& trace, MatrixView d_p,
                MatrixView d_z, MatrixView d_x) const;
  /// The same for one lane of this rank, whose rows d_p and d_z hold. Without rows d_p is zero.
  void backward_lane(ParamSet& params, ConstMatrixView x, const LaneLayout& lanes, i64 lane, const ScoreTrace& trace, MatrixView d_p,
                     MatrixView d_z, MatrixView d_x) const;
  /// Where d_p is zero and d_z but for the assignment's entries [nnz].
  void backward_lane(ParamSet& params, ConstMatrixView x, const LaneLayout& lanes, i64 lane, const ScoreTrace& trace, const Assignment& a,
                     std::span<const real> d_z, MatrixView d_x) const;

  /// Whether the entries of these rows are so few that the way back is shorter through them than through a product, which runs several times
  /// as fast.
  bool few_entries(const Assignment& a, Range rows) const { return 4 * (a.offset[rows.end()] - a.offset[rows.begin]) <= rows.count * experts_; }

  double flops_per_token() const { return 2.0 * static_cast<double>(width_ * experts_); }

 private:
  ParamId w_;
  i64 width_, experts_;
  double input_noise_;
};

/// Backward of one lane-wise linear map with weight id: adds to d_x (taking the noise factor into account) and to the weight.
void linear_lanes_backward(ParamSet& params, ParamId w, ConstMatrixView x, const LaneLayout& lanes, const ScoreTrace& trace,
                           ConstMatrixView d_z, MatrixView d_x);
/// z = x W^T, one product per lane.
void linear_lanes_forward(const ParamSet& params, ParamId w, ConstMatrixView x, const LaneLayout& lanes, MatrixView z);

}  // namespace pleiad::routing
