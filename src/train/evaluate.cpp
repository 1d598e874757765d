#include "pleiad/train/evaluate.hpp"

#include <algorithm>
#include <cmath>

#include "pleiad/comm/collectives.hpp"
#include "pleiad/comm/lane_sum.hpp"
#include "pleiad/train/pair_counts.hpp"

namespace pleiad::train {

double matthews_correlation(std::span<const i64> confusion) {
  const i64 classes = static_cast<i64>(std::llround(std::sqrt(static_cast<double>(confusion.size()))));
  double correct = 0, total = 0, both = 0, truths = 0, guesses = 0;
  for (i64 c = 0; c < classes; ++c) {
    double is = 0, said = 0;
    for (i64 o = 0; o < classes; ++o) {
      is += static_cast<double>(confusion[c * classes + o]);
      said += static_cast<double>(confusion[o * classes + c]);
    }
    correct += static_cast<double>(confusion[c * classes + c]);
    total += is;
    both += is * said;
    truths += is * is;
    guesses += said * said;
  }
  const double scale = std::sqrt(total * total - guesses) * std::sqrt(total * total - truths);
  return scale > 0 ? (correct * total - both) / scale : 0;
}

namespace {

/// Counts right guesses and, for a classifier, every pair of label and guess. Local.
void count_guesses(const model::ModelTrace& trace, std::span<const std::int32_t> target, i64& right, std::span<i64> confusion) {
  const i64 classes = trace.log_p.cols();
  for (std::size_t t = 0; t < target.size(); ++t) {
    if (target[t] < 0) continue;
    const real* row = trace.log_p.row(static_cast<i64>(t));
    const i64 guess = std::max_element(row, row + classes) - row;
    right += guess == target[t];
    if (!confusion.empty()) ++confusion[target[t] * classes + guess];
  }
}

/// Losses and entropies of a batch, summed: loss, targets, floor; then per domain the same.
std::vector<double> sum_losses(const comm::Communicator& world, const LaneLayout& cut, const model::Batch& part, const model::ModelTrace& trace,
                               const Truth& truth, i64 domains, i64 targets_per_sequence) {
  const i64 per_target = cut.seq_len() / targets_per_sequence;
  return comm::lane_statistics(world, cut, 3 + 3 * domains, [&](i64 lane, double* row) {
    const Range rows = cut.local_rows(lane);
    for (i64 t = rows.begin / per_target; t < rows.end() / per_target; ++t) {
      if (part.target[t] < 0) continue;
      const double entropy = truth.entropy.empty() ? 0 : truth.entropy[t];
      row[0] += trace.loss[t];
      row[1] += 1;
      row[2] += entropy;
      if (domains == 0) continue;
      double* mine = row + 3 + 3 * truth.domain[t];
      mine[0] += trace.loss[t];
      mine[1] += 1;
      mine[2] += entropy;
    }
  });
}

/// What one layer did over the evaluation, and whom its experts met.
struct LayerSums {
  model::LayerStatistics statistics;
  PairCounts domains, tokens;

  void take(const model::MoeTrace& trace, const model::Batch& part, const Truth& truth) {
    statistics.add(trace.statistics);
    const routing::Assignment& a = trace.router->assignment;
    for (i64 t = 0; t < a.tokens(); ++t) {
      for (i64 i = a.offset[t]; i < a.offset[t + 1]; ++i) {
        if (!a.kept[i]) continue;
        tokens.add(a.expert[i], part.input[t]);
        if (!truth.domain.empty()) domains.add(a.expert[i], truth.domain[t]);
      }
    }
  }
};

/// The figures of every layer, and of the model as far as they follow from them.
void report_layers(const model::Model& model, const ParamSet& params, const comm::Communicator& world, std::vector<LayerSums>& sums, EvalReport& report) {
  report.flops_per_token = model.fixed_flops_per_token();
  for (const ParamInfo& p : params.infos()) {
    if (p.trainable && p.owner == Owner::replicated) report.active_parameters += static_cast<double>(p.size());
  }
  report.blocks = model.moe_layers();
  if (sums.empty()) return;
  const LayerFacts facts = layer_facts(model.moe_config(), *model.first_moe());
  const i64 experts = static_cast<i64>(facts.flops_per_row.size());
  for (LayerSums& layer : sums) {
    report.token_alignment.push_back(layer.tokens.information(world));
    if (!report.domains.empty()) {
      report.alignment.push_back(layer.domains.information(world));
      if (experts <= k_most_listed_experts) report.expert_domain_tokens.push_back(layer.domains.table(world, experts));
    }
    report.figures.push_back(layer_figures(layer.statistics, facts));
    report.layers.push_back(std::move(layer.statistics));
    report.expert_flops_per_token += report.figures.back().expert_flops_per_token;
    report.flops_per_token += report.figures.back().expert_flops_per_token + report.figures.back().selection_flops_per_token;
    report.active_parameters += report.figures.back().expert_parameters_per_token;
  }
}

void report_losses(const std::vector<double>& sums, bool with_floor, EvalReport& report) {
  report.targets = static_cast<i64>(sums[1]);
  report.loss = sums[0] / std::max(sums[1], 1.0);
  if (with_floor) report.floor = sums[2] / std::max(sums[1], 1.0);
  for (std::size_t d = 0; d < report.domains.size(); ++d) {
    const double* mine = sums.data() + 3 + 3 * d;
    report.domain_targets.push_back(static_cast<i64>(mine[1]));
    report.domain_loss.push_back(mine[0] / mine[1]);  // NaN where a domain has no token
    if (with_floor) report.domain_floor.push_back(mine[2] / mine[1]);
  }
}

}  // namespace

EvalReport evaluate(const model::Model& model, const ParamSet& params, BatchSource& source, const comm::ProcessGrid& grid,
                    i64 lanes, i64 batch, i64 max_windows, PhaseTimes& times) {
  PhaseTimes::Scope phase(times, Phase::evaluate);
  const comm::Communicator& world = grid.world();
  EvalReport report;
  report.task = model.task();
  report.windows = max_windows > 0 ? std::min(max_windows, source.evaluation_windows()) : source.evaluation_windows();
  report.domains = source.domains();
  const i64 domains = static_cast<i64>(report.domains.size());
  std::vector<LayerSums> layers(model.moe_layers().size(), {{}, PairCounts(domains), PairCounts(model.config().vocab)});
  std::vector<double> sums(static_cast<std::size_t>(3 + 3 * domains), 0.0);
  bool with_floor = false;
  const i64 targets_per_sequence = model.targets_per_sequence(model.config().seq_len);
  i64 right = 0;

  model::ModelTrace trace;
  PhaseTimes inner;
  for (i64 first = 0; first < report.windows; first += batch) {
    const LaneLayout cut(lanes, std::min(batch, report.windows - first), model.config().seq_len, world.size(), world.rank());
    const model::StepContext context{grid, cut, inner, 0, first, false};
    Truth truth;
    const model::Batch part = source.evaluation(first, cut, truth);
    model.forward(params, part, context, trace);
    if (targets_per_sequence == 1) report.confusion.resize(static_cast<std::size_t>(trace.log_p.cols() * trace.log_p.cols()));
    count_guesses(trace, part.target, right, report.confusion);
    with_floor = with_floor || comm::max_over<i64>(world, !truth.entropy.empty()) > 0;
    const std::vector<double> more = sum_losses(world, cut, part, trace, truth, domains, targets_per_sequence);
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += more[i];
    for (std::size_t l = 0; l < layers.size(); ++l) layers[l].take(trace.blocks[model.moe_layers()[l]].moe, part, truth);
  }
  report_losses(sums, with_floor, report);
  comm::all_reduce_sum<i64>(world, report.confusion);
  report.accuracy = static_cast<double>(comm::sum_over<i64>(world, right)) / std::max(sums[1], 1.0);
  report_layers(model, params, world, layers, report);
  return report;
}

}  // namespace pleiad::train
