// Moving token rows to the owners of their experts and back. Combine is the transpose of dispatch: the adjoint of one is the
// other. Implementations: local.hpp (the truth, one rank), all_to_all.hpp (MPI), dry_run.hpp (local, counting pretended traffic).
// Letters: T tokens at home, D width, R expert-major rows at the owner.
#pragma once
#include <memory>

#include "pleiad/comm/communicator.hpp"
#include "pleiad/core/expert_map.hpp"
#include "pleiad/core/lanes.hpp"
#include "pleiad/core/spec.hpp"
#include "pleiad/exchange/plan.hpp"
#include "pleiad/routing/assignment.hpp"

namespace pleiad::exchange {

class Exchanger {
 public:
  virtual ~Exchanger() = default;

  /// Builds the plan; checks that everything sent is received. collective.
  virtual ExchangePlan make_plan(const routing::Assignment& a, const ExpertMap& map, const LaneLayout& lanes, i64 width) const = 0;

  /// x [T,D] -> rows [R,D] at the owners, expert-major. collective.
  virtual void dispatch(ConstMatrixView x, const ExchangePlan& plan, Matrix& rows) const = 0;
  /// out [R,D] -> y [T,D], the weighted sum over each token's kept assignments (overwritten; 0 without any). collective.
  virtual void combine(ConstMatrixView out, const routing::Assignment& a, const ExchangePlan& plan, MatrixView y) const = 0;

  /// Gradient of combine by its rows: d_y [T,D] -> d_out [R,D], before weighting (the bank weights it, as it also forms
  /// d_weight). The same movement as dispatch. collective.
  void combine_adjoint(ConstMatrixView d_y, const ExchangePlan& plan, Matrix& d_out) const { dispatch(d_y, plan, d_out); }
  /// d_rows [R,D], d_row_weight [R] -> added to d_x [T,D]; d_weight [nnz], 0 where dropped. collective.
  virtual void dispatch_adjoint(ConstMatrixView d_rows, std::span<const real> d_row_weight, const routing::Assignment& a,
                                const ExchangePlan& plan, MatrixView d_x, std::span<real> d_weight) const = 0;
};

struct ExchangeConfig {
  std::string kind;  ///< auto, local, all_to_all, dry_run
  Combine combine = Combine::home;
  i64 pretend_ranks = 0;
  /// Reads section [exchange].
  static ExchangeConfig read(Spec& spec);
};

/// UserError if the kind does not go with the number of ranks. `group` must outlive the exchanger.
std::unique_ptr<Exchanger> make_exchanger(const ExchangeConfig& config, const comm::Communicator& group);

}  // namespace pleiad::exchange
