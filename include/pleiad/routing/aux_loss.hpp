// Auxiliary losses that any router over softmax scores may use. T real tokens of the whole batch, N experts, P_e mean probability:
//   balance  N sum_e f_e P_e; f_e the share of tokens whose best expert is e (first), that selected e (tokens), or the share of
//            all assignments (assignments); Fedus et al. 2021 eq. 4, Lepikhin et al. 2020
//   penalty  N sum_e f_e (h_e / mean h) P_e, f of kind tokens; HMoE, Wang et al. 2024
//   entropy  mean over tokens of -sum_e p ln p; Huang et al. 2024
//   z        mean over tokens of (ln sum_e exp z)^2; ST-MoE, Zoph et al. 2022 eq. 5
//   importance  CV^2 over experts of the summed weights sum_t g[t,e]; Shazeer et al. 2017 eq. 6 and 7
// Selections are counted before capacity dropping and are constants for the gradient.
#pragma once
#include "pleiad/routing/registry.hpp"

namespace pleiad::routing {

struct AuxTrace {
  std::vector<double> balance_share, penalty_share;  // f_e, and f_e h_e / mean h; [N] or empty
  std::vector<double> importance_slope;              // [N] derivative of CV^2 by each expert's summed weight, or empty
  std::vector<real> entropy;                         // [T] of this rank
  i64 tokens = 0;                                    // real ones of the whole batch
};

class AuxLosses {
 public:
  /// Reads moe.balance_loss, moe.balance_mode, moe.penalty_loss, moe.entropy_loss, moe.z_loss,
  /// moe.importance_loss (coefficients; 0: off).
  AuxLosses(const RouterBuild& build, Spec& spec);

  /// Appends the losses in use and sets trace.mean_entropy. p [T,N], log_sum_exp [T]. collective.
  void forward(ConstMatrixView p, std::span<const real> log_sum_exp, const RoutingContext& context, RouterTrace& trace,
               AuxTrace& aux) const;
  /// The gradient of the weights [nnz] with what the losses say about them added. Local.
  std::vector<real> weight_gradient(const RouterTrace& trace, const AuxTrace& aux, double loss_scale, std::span<const real> d_weight) const;
  /// Whether a loss says anything about p, or about z.
  bool about_p() const { return balance_ != 0 || penalty_ != 0; }
  bool about_z() const { return entropy_ != 0 || z_ != 0; }
  /// Adds to d_p what the losses say about p, and to d_z what they say about z; both hold the rows of `tokens`, and may be without rows where
  /// nothing is said about them. Local.
  void backward(ConstMatrixView p, std::span<const real> log_sum_exp, const RouterTrace& trace, const AuxTrace& aux, Range tokens,
                const RoutingContext& context, double loss_scale, MatrixView d_p, MatrixView d_z) const;

 private:
  enum class Count { first, tokens, assignments };
  double balance_, penalty_, entropy_, z_, importance_;
  Count mode_;
  std::vector<double> relative_width_;  // h_e / mean h
};

/// Squared coefficient of variation (population variance over squared mean) and its derivative by each entry.
double squared_cv(std::span<const double> v, std::span<double> derivative);

}  // namespace pleiad::routing
