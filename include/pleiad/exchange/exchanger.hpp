// Moving token rows to the owners of their experts and back. Implementations: local.hpp (the truth, one rank), all_to_all.hpp (MPI, each
// rank with each, or a gather), hierarchical.hpp (MPI between nodes, shared memory inside), dry_run.hpp (local, counting pretended traffic).
// Letters: T tokens at home, D width, R expert-major rows at the owner.
#pragma once
#include <memory>

#include "pleiad/comm/shared_memory.hpp"
#include "pleiad/core/expert_map.hpp"
#include "pleiad/core/lanes.hpp"
#include "pleiad/core/spec.hpp"
#include "pleiad/exchange/chunks.hpp"
#include "pleiad/exchange/plan.hpp"
#include "pleiad/routing/assignment.hpp"

namespace pleiad::exchange {

/// What a forward trip leaves for backward: the rows that arrived, where they lie. Rooms are kept from step to step.
struct Kept {
  ConstMatrixView tokens;                      ///< [M,D], what arrive() gave: the tokens themselves, `rows` or `shared`
  Matrix rows;                                 ///< of this rank alone
  std::unique_ptr<comm::SharedMemory> shared;  ///< of its node
};

/// One batch of rows on its way to the owners of its experts and back: arrive, let the experts work, leave, finish. Forward it
/// carries tokens there and results home; backward, which is its transpose, gradients of outputs there and gradients of tokens home.
class RoundTrip {
 public:
  virtual ~RoundTrip() = default;
  /// Waits for the rows: [M,D], those that plan.at_experts speaks of. Valid until finish(), forward ones until the next trip with the same Kept.
  /// collective.
  virtual ConstMatrixView arrive() = 0;
  /// The same in place of arrive(), for experts that ask for rows where they are given a Landing::pace: they may begin before all are there.
  virtual ConstMatrixView begin() { return arrive(); }
  /// Where the experts are to put the results.
  virtual experts::Landing landing() = 0;
  /// Sends the results home; backward with the gradients of the weights by row, [R], forward with nothing. collective.
  virtual void leave(std::span<const real> d_row_weight) = 0;
  /// Waits until everything is home, where it is summed. collective.
  virtual void finish() = 0;
};

class Exchanger {
 public:
  virtual ~Exchanger() = default;

  /// collective.
  virtual ExchangePlan make_plan(const routing::Assignment& a, const ExpertMap& map, const LaneLayout& lanes, i64 width) const = 0;

  // The arguments of a trip must outlive it; one at a time. Both calls are collective.

  /// x [T,D] to the experts; y [T,D] becomes the weighted sum over each token's kept assignments (0 without any). Backward needs kept.tokens,
  /// for which x must still be there.
  virtual std::unique_ptr<RoundTrip> start_forward(ConstMatrixView x, const routing::Assignment& a, const ExchangePlan& plan, Kept& kept,
                                                   MatrixView y) const = 0;
  /// d_y [T,D] to the experts, before weighting (the bank weights it, as it also forms the gradient of the weights); the gradient by token is
  /// added to d_x [T,D], d_weight [nnz] is written, 0 where dropped.
  virtual std::unique_ptr<RoundTrip> start_backward(ConstMatrixView d_y, const routing::Assignment& a, const ExchangePlan& plan, MatrixView d_x,
                                                    std::span<real> d_weight) const = 0;
};

/// How tokens can travel between ranks.
enum class Kind { all_to_all, hierarchical, gather };
/// Its name in a configuration.
const char* name_of(Kind kind);
/// And back; anything else is all_to_all.
Kind kind_of(const std::string& name);

struct ExchangeConfig {
  std::string kind;  ///< auto, local, all_to_all, hierarchical, gather, dry_run
  Combine combine = Combine::home;
  i64 pretend_ranks = 0, pretend_per_node = 1;
  Kind pretend_kind = Kind::all_to_all;
  i64 chunks = 0;  ///< 0: auto
  /// Reads section [exchange]. UserError for values that contradict each other.
  static ExchangeConfig read(Spec& spec);
};

/// What travels in one layer and pass, as far as it is known before a run: tokens of a rank, experts per token, and how these work.
struct ExchangeLoad {
  i64 tokens = 0, width = 0;
  double choices = 0;
  ChunksOf chunks_of = ChunksOf::experts;
};

/// The exchanger of choose_exchange() (choice.hpp). `group` must outlive it. collective.
std::unique_ptr<Exchanger> make_exchanger(const ExchangeConfig& config, const comm::Communicator& group, const ExchangeLoad& load = {});

}  // namespace pleiad::exchange
