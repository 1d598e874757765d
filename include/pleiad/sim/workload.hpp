// What a rank computes in a training step of a configured model, phase by phase (core/clock.hpp), and how long a described machine takes for it. Formulas with their
// reasons: docs/simulate.md. Letters: T tokens and S sequences of a rank, L their length, D width, V vocabulary, N experts, h width of an expert.
#pragma once
#include <span>
#include <vector>

#include "pleiad/exchange/exchanger.hpp"
#include "pleiad/model/block.hpp"
#include "pleiad/sim/cluster.hpp"

namespace pleiad::sim {

/// The configuration of a run, as far as it decides what a step costs.
struct StepModel {
  model::ModelConfig model;
  model::MoeConfig moe;
  exchange::ExchangeConfig exchange;
  i64 batch = 0, lanes = 0;    ///< sequences and lanes of the global batch
  i64 data_groups = 1;
  double choices = 0;          ///< kept experts of a token and layer, mean; of all heads together
  i64 heads = 1;               ///< of a router that selects for several heads
  double router_flops = 0;     ///< forward, per token
  bool few_gradients = true;   ///< backward a router goes through the logits of the chosen experts alone
  i64 query = 0;               ///< width of the query of a head of product keys; 0: a logit for each expert
  double claims = 0;           ///< of a token on experts, which the ranks judge together: each on every one where experts choose, its choices where there is a capacity
  bool router_meets = false;   ///< routing needs a sum over all ranks: entropy, balance, capacity

  i64 experts() const { return static_cast<i64>(moe.expert_widths.size()); }
  i64 moe_layers() const { return static_cast<i64>(moe.layers.size()); }
  bool has_experts(i64 block) const;
  double row_bytes() const { return static_cast<double>(model.width) * sizeof(real); }
  /// Trainable numbers: replicated ones, and those of an expert.
  double dense_parameters() const;
  double expert_parameters(i64 expert) const;
  /// Forward operations of an expert for one row.
  double expert_flops(i64 expert) const;
  /// Of a generated expert or adapters, for one token and layer.
  double side_flops() const;
};

enum class Pass { forward, backward };

/// What a rank has of a batch.
struct Share {
  i64 lanes = 0, sequences = 0;
  auto operator<=>(const Share&) const = default;
};

/// What there is to do, in units that a machine has rates for.
struct Work {
  enum class Kind { tokens, weights, bf16 };  ///< of a product: rows are tokens; tokens are summed over; as tokens, with factors in bf16
  struct Products {
    double rows = 0, width = 0, flops = 0;    ///< of one product rows and width, of all that are alike the operations
    Kind kind = Kind::tokens;
  };
  std::vector<Products> products;
  /// What attention does between its four products; where no rate of it was measured it takes the time of products, elements and bytes.
  struct Attention {
    double length = 0, head = 0, flops = 0, elements = 0, streamed = 0;
  } attention;
  double elements = 0;                ///< numbers through softmax, activation, selection
  double streamed = 0, copied = 0;    ///< bytes
  double among = 0;                   ///< bytes of all that is gone through, or lies at those places, before the same ones come again; 0: more than caches hold
  double random = 0, random_row = 0;  ///< bytes of rows at random places, and those of one row
  double calls = 0;                   ///< experts with rows
  double routed = 0;                  ///< tokens through a router with a logit for each expert
  double keyed = 0;                   ///< experts that product keys find
  double claimed = 0;                 ///< claims on experts (StepModel::claims)
  Work& operator+=(const Work& more);
};

/// How much of the predicted time rests on rates between measured points, seconds of all ranks.
struct Coverage {
  double inside = 0, outside = 0;
  double least_rows = 0, most_rows = 0, least_width = 0, most_width = 0;  ///< of products outside of what was measured; 0: none
  void note(const Work::Products& p, double seconds, bool measured);
  void add(const Coverage& more, double times);
};

/// Of a rank that nothing slows down. Adds what the products take to `coverage`.
double seconds_of(const Work& work, const Cluster& cluster, Coverage& coverage);

Work embed_work(const StepModel& m, const Share& s, Pass pass);
/// Attention of one block without its norm.
Work attention_work(const StepModel& m, const Share& s, Pass pass);
/// Both norms of a block in either pass; forward with the copies of the stream that backward needs.
Work norm_work(const StepModel& m, const Share& s);
Work router_work(const StepModel& m, const Share& s, Pass pass);
Work dense_ffn_work(const StepModel& m, const Share& s, Pass pass);
/// Generated expert or adapters of one layer, which are counted among the experts.
Work side_work(const StepModel& m, const Share& s, Pass pass);
Work head_work(const StepModel& m, const Share& s, Pass pass);
/// Experts `owned` of a layer, rows [N]. `apart`: each result goes home by itself; otherwise they are added up at once.
Work expert_work(const StepModel& m, std::span<const i64> owned, std::span<const double> rows, bool apart, Pass pass);
/// Sums of the lanes' gradients inside a rank, and the norm. expert_numbers: trainable numbers of the rank's experts.
Work gradient_work(const StepModel& m, const Share& s, i64 ranks, double expert_numbers);
/// Zeroed gradients and Adam. `touched`: of numbers of single-row experts, those whose rows had a token.
Work optimizer_work(const StepModel& m, const Share& s, double expert_numbers, double touched);

/// Bytes of a rank, without libraries and data.
struct RankMemory {
  double weights = 0, gradients = 0, moments = 0, activations = 0, exchange = 0;
  double total() const { return weights + gradients + moments + activations + exchange; }
};
/// rows: of each of its experts in each MoE layer, in all; arrived: rows that come to it in all layers; touched as above.
RankMemory memory_of(const StepModel& m, const Share& s, double expert_numbers, double touched, double activation_numbers, double arrived);
/// Numbers that experts keep for backward, of one row.
double kept_numbers(const StepModel& m, i64 expert);

}  // namespace pleiad::sim
