#include "pleiad/io/run_columns.hpp"

#include <algorithm>
#include <numeric>

namespace pleiad::io {

namespace {

using train::EvalReport, train::LayerFigures, train::StepRecord;
using enum ElementType;

constexpr std::size_t k_text_bytes = 16384;

/// One layer of a record, of a step or of an evaluation.
struct LayerView {
  const model::LayerStatistics& counts;
  const LayerFigures& figures;
};
using LayerColumn = Column<LayerView>;

// The reference to a step's statistics is a pointer, that to an evaluation's a value.
LayerView layer_of(const StepRecord& r, std::size_t l) { return {*r.layers[l], r.figures[l]}; }
LayerView layer_of(const EvaluationRow& r, std::size_t l) { return {r.report.layers[l], r.report.figures[l]}; }

/// Per MoE layer, for a step and for an evaluation alike; docs/analysis.md defines them.
std::vector<LayerColumn> layer_columns(const RunDescription& run) {
  using L = LayerView;
  const i64 widths = static_cast<i64>(run.layer.widths.size());
  std::vector<LayerColumn> c = {
      {{"dropped", int64, {}, "1", "assignments over the capacity"}, [](const L& l, Row& r) { r.add(l.counts.dropped()); }},
      {{"dropped_first_choices", int64, {}, "1", "those of them that were the token's first choice"},
       [](const L& l, Row& r) { r.add(l.counts.dropped_first); }},
      {{"tokens_emptied", int64, {}, "token", "tokens that the capacity left without any expert"},
       [](const L& l, Row& r) { r.add(l.counts.tokens_emptied); }},
      {{"tokens_unchosen", int64, {}, "token", "tokens that were given no expert in the first place"},
       [](const L& l, Row& r) { r.add(l.counts.tokens_unchosen); }},
      {{"entropy", float64, {}, "nat", "mean entropy of the router's probabilities"}, [](const L& l, Row& r) { r.add(l.counts.router_entropy); }},
      {{"mean_k", float64, {}, "1", "kept entries per token"}, [](const L& l, Row& r) { r.add(l.figures.mean_k); }},
      {{"k_histogram", int64, {run.k_bins}, "token", "tokens with 0, 1, ... kept entries; the last bin is that or more"},
       [](const L& l, Row& r) { r.add(l.counts.k_tokens); }},
      {{"k_by_position", float64, {run.places}, "1", "mean kept entries by place in the sequence"},
       [](const L& l, Row& r) { r.add(l.figures.k_by_position); }},
      {{"flops_per_token", float64, {}, "flop/token", "forward: kept experts, router and generated expert"},
       [](const L& l, Row& r) { r.add(l.figures.flops_per_token); }},
      {{"imbalance", float64, {}, "1", "largest over mean of tokens per expert"}, [](const L& l, Row& r) { r.add(l.figures.load.imbalance); }},
      {{"flops_imbalance", float64, {}, "1", "largest over mean of flops per expert"}, [](const L& l, Row& r) { r.add(l.figures.load.flops_imbalance); }},
      {{"load_variation", float64, {}, "1", "coefficient of variation of tokens per expert"}, [](const L& l, Row& r) { r.add(l.figures.load.variation); }},
      {{"load_entropy", float64, {}, "1", "entropy of the token shares over ln(experts)"}, [](const L& l, Row& r) { r.add(l.figures.load.entropy); }},
      {{"load_divergence", float64, {}, "nat", "divergence of the token shares from even ones"}, [](const L& l, Row& r) { r.add(l.figures.load.divergence); }},
      {{"usage", float64, {}, "1", "share of experts whose kept weights are not all zero"}, [](const L& l, Row& r) { r.add(l.figures.use.usage); }},
      {{"unevenness", float64, {}, "nat", "divergence of the experts' summed weights from an even use"},
       [](const L& l, Row& r) { r.add(l.figures.use.unevenness); }},
      {{"dead", int64, {}, "1", "experts without a kept token"}, [](const L& l, Row& r) { r.add(l.figures.load.dead); }},
      {{"overloaded", int64, {}, "1", "experts with more than twice the mean flops"}, [](const L& l, Row& r) { r.add(l.figures.load.overloaded); }},
  };
  if (run.has_importance) {
    c.push_back({{"importance_by_position", float64, {run.places}, "1", "mean importance by place in the sequence"},
                 [](const L& l, Row& r) { r.add(l.figures.importance_by_position); }});
  }
  if (run.generates_experts) {
    c.push_back({{"generated_experts", int64, {}, "1", "experts generated, one for each distinct selection of a batch"},
                 [](const L& l, Row& r) { r.add(l.counts.generated_experts); }});
    c.push_back({{"tokens_per_generated", float64, {}, "token", "tokens that share a generated expert, mean"},
                 [](const L& l, Row& r) { r.add(l.figures.tokens_per_generated); }});
  }
  if (!run.lists_experts()) return c;
  c.push_back({{"expert_tokens", int64, {run.experts()}, "token", "assignments kept, by expert"}, [](const L& l, Row& r) { r.add(l.counts.expert_tokens); }});
  c.push_back({{"expert_flops", float64, {run.experts()}, "flop", "forward flops, by expert"}, [flops = run.layer.flops_per_row](const L& l, Row& r) {
                 for (std::size_t e = 0; e < flops.size(); ++e) r.add(static_cast<double>(l.counts.expert_tokens[e]) * flops[e]);
               }});
  if (widths == 0) return c;
  c.push_back({{"width_share", float64, {widths}, "1", "share of the kept assignments by width of the expert"},
               [](const L& l, Row& r) { r.add(l.figures.width_share); }});
  c.push_back({{"width_flops_share", float64, {widths}, "1", "share of the experts' flops by their width"},
               [](const L& l, Row& r) { r.add(l.figures.width_flops_share); }});
  return c;
}

template <class Record>
void add_layer_columns(const RunDescription& run, const std::string& group, std::vector<Column<Record>>& columns) {
  const std::size_t layers = run.moe_layers.size();
  if (layers == 0) return;
  for (const LayerColumn& of_layer : layer_columns(run)) {
    Shape shape = of_layer.row;
    shape.insert(shape.begin(), static_cast<i64>(layers));
    columns.push_back({{group + of_layer.name, of_layer.type, shape, of_layer.units, of_layer.description},
                       [layers, fill = of_layer.fill](const Record& record, Row& row) {
                         for (std::size_t l = 0; l < layers; ++l) fill(layer_of(record, l), row);
                       }});
  }
}

/// Largest over mean over the ranks, layer by layer. values [layers x ranks].
template <class T>
void add_overload(const std::vector<T>& values, i64 ranks, Row& row) {
  const std::vector<double> all(values.begin(), values.end());
  const std::size_t width = static_cast<std::size_t>(ranks);
  for (std::size_t at = 0; at < all.size(); at += width) row.add(train::peak_over_mean(std::span(all).subspan(at, width)));
}

/// What the experts of each rank had to do. `group`: of this number of ranks.
void add_rank_load_columns(const RunDescription& run, const std::string& group, std::vector<Column<StepRecord>>& c) {
  using R = StepRecord;
  const i64 layers = static_cast<i64>(run.moe_layers.size()), ranks = run.ranks;
  c.push_back({{group + "expert_rows", int64, {layers, ranks}, "row", "rows that the experts of each rank computed, forward"},
               [](const R& s, Row& r) { r.add(s.expert_rows); }});
  c.push_back({{group + "expert_flops", float64, {layers, ranks}, "flop", "forward flops of the experts of each rank"},
               [](const R& s, Row& r) { r.add(s.expert_flops); }});
  c.push_back({{group + "overload", float64, {layers}, "1", "largest over mean over the ranks of expert_rows"},
               [ranks](const R& s, Row& r) { add_overload(s.expert_rows, ranks, r); }});
  c.push_back({{group + "flops_overload", float64, {layers}, "1", "largest over mean over the ranks of expert_flops"},
               [ranks](const R& s, Row& r) { add_overload(s.expert_flops, ranks, r); }});
}

double auxiliary_of(const StepRecord& r, const std::string& name) {
  const auto found = std::ranges::find(r.loss.auxiliary, name, &routing::AuxLoss::name);
  PLEIAD_CHECK(found != r.loss.auxiliary.end(), "no auxiliary loss {}", name);
  return found->value;
}

}  // namespace

std::vector<Column<StepRecord>> step_columns(const RunDescription& run) {
  using R = StepRecord;
  // What depends on the number of ranks stands in a group of that number, because a run may go on with another one.
  const std::string ranks = fmt::format("/ranks/{}/", run.ranks);
  const std::string nats = run.labels.empty() ? "nat/token" : "nat/label";
  std::vector<Column<R>> c = {
      {{"/steps/step", int64, {}, "1", "updates done after this step"}, [](const R& s, Row& r) { r.add(s.step); }},
      {{"/steps/task_loss", float64, {}, nats, "mean cross-entropy of the global batch before the update"},
       [](const R& s, Row& r) { r.add(s.loss.task); }},
      {{"/steps/total_loss", float64, {}, nats, "task loss plus auxiliary losses times their coefficients"},
       [](const R& s, Row& r) { r.add(s.loss.total); }},
      {{"/steps/learning_rate", float64, {}, "1", "learning rate of the update"}, [](const R& s, Row& r) { r.add(s.learning_rate); }},
      {{"/steps/grad_norm", float64, {}, "1", "L2 norm of the gradient before clipping"}, [](const R& s, Row& r) { r.add(s.grad_norm); }},
      {{"/steps/skipped", int64, {}, "1", "1: no update was made, because loss or gradient was not finite"}, [](const R& s, Row& r) { r.add(i64{s.skipped}); }},
      {{"/steps/tokens", int64, {}, "token", "tokens of the global batch"}, [](const R& s, Row& r) { r.add(s.tokens); }},
      {{"/steps/seconds", float64, {}, "s", "wall time of the step on rank 0"}, [](const R& s, Row& r) { r.add(s.seconds); }},
      {{"/steps/tokens_per_second", float64, {}, "token/s", "tokens over seconds"},
       [](const R& s, Row& r) { r.add(static_cast<double>(s.tokens) / s.seconds); }},
      {{"/steps/flops", float64, {}, "flop", "forward and backward of the global batch, kept assignments, multiply-add = 2"},
       [](const R& s, Row& r) { r.add(s.flops); }},
      {{"/steps/flops_per_token", float64, {}, "flop/token", "forward, the whole model, kept assignments"},
       [](const R& s, Row& r) { r.add(s.flops_per_token); }},
      {{ranks + "step", int64, {}, "1", "updates done after this step"}, [](const R& s, Row& r) { r.add(s.step); }},
      {{ranks + "phase_seconds", float64, {run.ranks, k_phase_count}, "s", "wall time by rank and phase; /phases names the phases"},
       [](const R& s, Row& r) { r.add(s.phase_seconds); }},
  };
  for (const std::string& name : run.auxiliary) {
    c.push_back({{"/steps/auxiliary/" + name, float64, {}, "1", "auxiliary loss " + name + ", mean over MoE layers, without its coefficient"},
                 [name](const R& s, Row& r) { r.add(auxiliary_of(s, name)); }});
  }
  const i64 layers = static_cast<i64>(run.moe_layers.size());
  if (layers == 0) return c;
  c.push_back({{"/steps/padding_tokens", int64, {}, "token", "tokens of the global batch that are padding, in no average"},
               [](const R& s, Row& r) { r.add(s.layers.front()->padding); }});
  c.push_back({{"/steps/exchange_bytes", int64, {}, "byte", "sent over the network by all ranks and layers, forward and backward"},
               [](const R& s, Row& r) { r.add(std::accumulate(s.bytes.begin(), s.bytes.end(), i64{0})); }});
  c.push_back({{"/steps/between_bytes", int64, {}, "byte", "those of exchange_bytes that leave a node"},
               [](const R& s, Row& r) { r.add(std::accumulate(s.between_bytes.begin(), s.between_bytes.end(), i64{0})); }});
  c.push_back({{ranks + "bytes", int64, {layers, run.ranks}, "byte", "sent over the network by each rank, forward and backward"},
               [](const R& s, Row& r) { r.add(s.bytes); }});
  c.push_back({{ranks + "between_bytes", int64, {layers, run.ranks}, "byte", "those of bytes that leave the node of the rank"},
               [](const R& s, Row& r) { r.add(s.between_bytes); }});
  c.push_back({{ranks + "messages", int64, {layers, run.ranks}, "1", "messages sent by each rank, forward and backward"},
               [](const R& s, Row& r) { r.add(s.messages); }});
  c.push_back({{ranks + "shadows", int64, {layers, run.ranks}, "1", "experts of other ranks that each rank borrowed for its own tokens"},
               [](const R& s, Row& r) { r.add(s.shadows); }});
  c.push_back({{ranks + "shadow_bytes", int64, {layers, run.ranks}, "byte", "those of bytes that are weights of borrowed experts or their gradients"},
               [](const R& s, Row& r) { r.add(s.shadow_bytes); }});
  add_rank_load_columns(run, ranks, c);
  add_layer_columns(run, "/routing/", c);
  return c;
}

std::vector<Column<EvaluationRow>> evaluation_columns(const RunDescription& run) {
  using E = EvaluationRow;
  const std::string nats = run.labels.empty() ? "nat/token" : "nat/label";
  std::vector<Column<E>> c = {
      {{"/evaluation/step", int64, {}, "1", "updates done"}, [](const E& e, Row& r) { r.add(e.step); }},
      {{"/evaluation/loss", float64, {}, nats, "mean cross-entropy over the held-out windows"}, [](const E& e, Row& r) { r.add(e.report.loss); }},
      {{"/evaluation/targets", int64, {}, "token", "tokens or labels predicted"}, [](const E& e, Row& r) { r.add(e.report.targets); }},
      {{"/evaluation/accuracy", float64, {}, "1", "share of targets that were the most probable"}, [](const E& e, Row& r) { r.add(e.report.accuracy); }},
      {{"/evaluation/expert_flops_per_token", float64, {}, "flop/token", "forward flops of the experts, kept assignments, all layers"},
       [](const E& e, Row& r) { r.add(e.report.expert_flops_per_token); }},
      {{"/evaluation/model_flops_per_token", float64, {}, "flop/token", "forward, the whole model, kept assignments"},
       [](const E& e, Row& r) { r.add(e.report.flops_per_token); }},
      {{"/evaluation/active_parameters", float64, {}, "1", "trainable parameters a token meets: all replicated ones and those of its kept experts, mean"},
       [](const E& e, Row& r) { r.add(e.report.active_parameters); }},
  };
  const i64 layers = static_cast<i64>(run.moe_layers.size()), domains = static_cast<i64>(run.domains.size());
  if (const i64 labels = static_cast<i64>(run.labels.size()); labels > 0) {
    c.push_back({{"/evaluation/confusion", int64, {labels, labels}, "1", "examples by true label and most probable label; /labels names them"},
                 [](const E& e, Row& r) { r.add(e.report.confusion); }});
    c.push_back({{"/evaluation/matthews", float64, {}, "1", "correlation of true and most probable labels"},
                 [](const E& e, Row& r) { r.add(train::matthews_correlation(e.report.confusion)); }});
  }
  if (run.has_floor) {
    c.push_back({{"/evaluation/floor", float64, {}, "nat/token", "mean true conditional entropy of the predicted tokens"},
                 [](const E& e, Row& r) { r.add(e.report.floor.value_or(0)); }});
    c.push_back({{"/evaluation/above_floor", float64, {}, "nat/token", "loss minus floor"},
                 [](const E& e, Row& r) { r.add(e.report.loss - e.report.floor.value_or(0)); }});
  }
  if (domains > 0) {
    c.push_back({{"/evaluation/domain_loss", float64, {domains}, "nat/token", "loss by latent domain"},
                 [](const E& e, Row& r) { r.add(e.report.domain_loss); }});
    if (run.has_floor) c.push_back({{"/evaluation/domain_floor", float64, {domains}, "nat/token", "floor by latent domain"},
                                    [](const E& e, Row& r) { r.add(e.report.domain_floor); }});
  }
  if (layers == 0) return c;
  c.push_back({{"/evaluation/token_alignment", float64, {layers}, "1", "mutual information of expert and input token over the entropy of the token"},
               [](const E& e, Row& r) { r.add(e.report.token_alignment); }});
  if (domains > 0) {
    c.push_back({{"/evaluation/alignment", float64, {layers}, "1", "mutual information of expert and domain over the entropy of the domain"},
                 [](const E& e, Row& r) { r.add(e.report.alignment); }});
    if (run.lists_experts()) {
      c.push_back({{"/evaluation/expert_domain_tokens", int64, {layers, domains, run.experts()}, "token", "assignments by layer, domain and expert"},
                   [](const E& e, Row& r) {
                     for (const std::vector<i64>& layer : e.report.expert_domain_tokens) r.add(layer);
                   }});
    }
  }
  add_layer_columns(run, "/evaluation/", c);
  return c;
}

std::vector<Column<PairRow>> pair_columns(const RunDescription& run) {
  using P = PairRow;
  const i64 ranks = run.pair_ranks;
  if (ranks == 0) return {};
  const std::string group = fmt::format("/pairs/{}/", ranks);
  return {{{group + "step", int64, {}, "1", "updates done; the row counts the steps since the row before"}, [](const P& p, Row& r) { r.add(p.step); }},
          {{group + "bytes", int64, {ranks, ranks}, "byte", "sent over the network from rank (first axis) to rank, forward and backward, all layers"},
           [](const P& p, Row& r) { r.add(p.bytes); }}};
}

std::vector<Column<CheckpointRow>> checkpoint_columns() {
  using C = CheckpointRow;
  return {{{"/checkpoints/step", int64, {}, "1", "updates done"}, [](const C& c, Row& r) { r.add(c.step); }},
          {{"/checkpoints/seconds", float64, {}, "s", "wall time of saving"}, [](const C& c, Row& r) { r.add(c.seconds); }},
          {{"/checkpoints/bytes", int64, {}, "byte", "size of the file"}, [](const C& c, Row& r) { r.add(c.bytes); }}};
}

std::vector<Column<train::PlacementRecord>> placement_columns() {
  using P = train::PlacementRecord;
  return {{{"/placement/step", int64, {}, "1", "updates done when the placement of experts was looked at"}, [](const P& p, Row& r) { r.add(p.step); }},
          {{"/placement/peak_before", float64, {}, "1", "flops of the heaviest rank over the mean since the last look, summed over the layers"}, [](const P& p, Row& r) { r.add(p.peak_before); }},
          {{"/placement/peak_after", float64, {}, "1", "the same load under the proposed placement"}, [](const P& p, Row& r) { r.add(p.peak_after); }},
          {{"/placement/wanted", int64, {}, "1", "experts that the proposal moves"}, [](const P& p, Row& r) { r.add(p.wanted); }},
          {{"/placement/moved", int64, {}, "1", "experts moved: all of them or none"}, [](const P& p, Row& r) { r.add(p.moved); }},
          {{"/placement/bytes", int64, {}, "byte", "weights and moments sent from rank to rank"}, [](const P& p, Row& r) { r.add(p.bytes); }},
          {{"/placement/gain", float64, {}, "s", "predicted saving until the next look"}, [](const P& p, Row& r) { r.add(p.gain); }},
          {{"/placement/cost", float64, {}, "s", "predicted time of the move"}, [](const P& p, Row& r) { r.add(p.cost); }},
          {{"/placement/seconds", float64, {}, "s", "measured time of the move"}, [](const P& p, Row& r) { r.add(p.seconds); }}};
}

std::vector<Column<SampleRow>> sample_columns() {
  using S = SampleRow;
  return {{{"/samples/step", int64, {}, "1", "updates done"}, [](const S& s, Row& r) { r.add(s.step); }},
          {{"/samples/text", uint8, {static_cast<i64>(k_text_bytes)}, "byte", "prompt and generated text, padded with zero bytes"}, [](const S& s, Row& r) {
             r.bytes.assign(k_text_bytes, 0);
             std::copy_n(s.text.begin(), std::min(s.text.size(), k_text_bytes - 1), r.bytes.begin());
           }}};
}

}  // namespace pleiad::io
