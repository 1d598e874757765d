// What every model is to those who train and evaluate it: a trunk with a head and a loss. Kinds: language_model.hpp (also of masked tokens, and
// sequence to sequence by a prefix that is seen both ways), classifier.hpp.
// Letters: S sequences of this rank, L length, T = S L tokens, D width, V vocabulary or classes.
#pragma once
#include "pleiad/model/trunk.hpp"

namespace pleiad::model {

/// Name of what stands above the trunk among the parameters; a tied head has none.
inline constexpr const char* k_head = "head";

/// This rank's share of a global batch (its sequences, in global order), right-padded to L.
struct Batch {
  std::vector<std::int32_t> input;   ///< [T]
  std::vector<std::int32_t> target;  ///< [T] tokens, next or masked ones, or [S] labels of a classifier; -1: not counted
  std::vector<i64> length;           ///< [S] real tokens, 1 to L; empty: no padding
  std::vector<i64> prefix;           ///< [S] tokens at the start that see each other; empty: none. Of a causal model

  /// Real tokens of this rank's sequence `s` of L = seq_len.
  i64 length_of(i64 s, i64 seq_len) const { return length.empty() ? seq_len : length[s]; }
};

struct ModelTrace : TrunkTrace {
  std::vector<std::uint8_t> real_tokens;  // [T], empty where the whole batch has no padding
  i64 real_in_batch = -1;
  Matrix pooled;                          // [S,D] of a classifier
  Matrix log_p;                           // [T,V] or [S,V]: one row for each target
  std::vector<double> loss;               // nats of each target, 0 where not counted
  LossReport report;
};

/// What a model is trained for: the next token; tokens that are masked, from both sides; the target that follows a source (a language model with
/// prefixes); a label.
enum class Task { lm, masked_lm, seq2seq, classifier };
const char* task_name(Task task);
/// Whether the model predicts what comes next, so that nothing may look ahead.
inline bool predicts_next(Task task) { return task == Task::lm || task == Task::seq2seq; }
/// UserError naming `where` if there is no task of that name.
Task task_from(const std::string& name, const std::string& where);

class Model {
 public:
  virtual ~Model() = default;

  /// collective over the world.
  virtual void forward(const ParamSet& params, const Batch& batch, const StepContext& context, ModelTrace& trace) const = 0;
  /// The logits behind trace.log_p, which differ from it by a constant per row. Local.
  virtual void logits(const ParamSet& params, const ModelTrace& trace, const LaneLayout& lanes, Matrix& out) const = 0;
  /// Adds the gradient of report.total to every parameter's gradient. collective over the world.
  virtual void backward(ParamSet& params, const Batch& batch, const StepContext& context, const ModelTrace& trace) const = 0;
  /// Forward floating-point operations per token of everything but the experts.
  virtual double fixed_flops_per_token() const = 0;
  /// Targets of a sequence of L tokens: L, or 1 for a classifier.
  virtual i64 targets_per_sequence(i64 seq_len) const = 0;

  /// Once after each update: what routers learn without a gradient. collective over the world.
  void update_buffers(ParamSet& params, const StepContext& context, const ModelTrace& trace) const {
    trunk_.update_buffers(params, with_padding(context, trace), trace);
  }

  Task task() const { return task_; }
  const Trunk& trunk() const { return trunk_; }
  const ModelConfig& config() const { return trunk_.config(); }
  const MoeConfig& moe_config() const { return trunk_.moe_config(); }
  const std::vector<Block>& blocks() const { return trunk_.blocks(); }
  /// Block numbers that carry experts.
  const std::vector<i64>& moe_layers() const { return trunk_.moe_layers(); }
  /// The first layer with experts, as which all are configured; null without.
  const MoeLayer* first_moe() const { return moe_layers().empty() ? nullptr : blocks()[static_cast<std::size_t>(moe_layers().front())].moe(); }
  /// Statistics of the MoE layers, in order.
  std::vector<const LayerStatistics*> statistics(const ModelTrace& trace) const { return trunk_.statistics(trace); }
  /// Whether no token's state depends on later tokens, as far as routers are concerned.
  bool causal() const { return trunk_.causal(); }

 protected:
  Model(Task task, Trunk trunk) : task_(task), trunk_(std::move(trunk)) {}

  /// Notes which tokens are padding. collective over the world.
  static void mark_padding(const Batch& batch, const StepContext& context, ModelTrace& trace);
  static StepContext with_padding(const StepContext& context, const ModelTrace& trace);
  /// Mean of trace.loss over the counted targets of the global batch, and the auxiliary losses. collective over the world.
  LossReport report(const ModelTrace& trace, const Batch& batch, const StepContext& context) const;

  Task task_;
  Trunk trunk_;
};

/// The model of a task; `classes` matters to classifiers only. References must outlive it.
std::unique_ptr<Model> make_model(Task task, i64 classes, ParamSet& params, const ModelConfig& config, Spec& moe, const MoeConfig& moe_config,
                                  const comm::ProcessGrid& grid, const exchange::Exchanger& exchanger);

}  // namespace pleiad::model
