#include "pleiad/train/evaluate.hpp"

#include <algorithm>

#include "pleiad/comm/collectives.hpp"
#include "pleiad/comm/lane_sum.hpp"
#include "pleiad/train/pair_counts.hpp"

namespace pleiad::train {

namespace {

/// Losses and entropies of a batch, summed: loss, targets, floor; then per domain the same.
std::vector<double> sum_losses(const comm::Communicator& world, const LaneLayout& cut, const model::Batch& part, const model::ModelTrace& trace,
                               const Truth& truth, i64 domains) {
  return comm::lane_statistics(world, cut, 3 + 3 * domains, [&](i64 lane, double* row) {
    const Range rows = cut.local_rows(lane);
    for (i64 t = rows.begin; t < rows.end(); ++t) {
      if (part.target[t] < 0) continue;
      const double entropy = truth.entropy.empty() ? 0 : truth.entropy[t];
      row[0] += trace.token_loss[t];
      row[1] += 1;
      row[2] += entropy;
      if (domains == 0) continue;
      double* mine = row + 3 + 3 * truth.domain[t];
      mine[0] += trace.token_loss[t];
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
void report_layers(const model::LanguageModel& model, const ParamSet& params, const comm::Communicator& world, std::vector<LayerSums>& sums, EvalReport& report) {
  report.flops_per_token = model.fixed_flops_per_token();
  for (const ParamInfo& p : params.infos()) {
    if (p.trainable && p.owner == Owner::replicated) report.active_parameters += static_cast<double>(p.size());
  }
  report.blocks = model.moe_layers();
  if (sums.empty()) return;
  const LayerFacts facts = layer_facts(model.moe_config(), *model.blocks()[report.blocks.front()].moe());
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
    report.active_parameters += report.figures.back().expert_parameters_per_token;
  }
  report.flops_per_token += report.expert_flops_per_token;
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

EvalReport evaluate(const model::LanguageModel& model, const ParamSet& params, BatchSource& source, const comm::ProcessGrid& grid,
                    i64 lanes, i64 batch, i64 max_windows, PhaseTimes& times) {
  PhaseTimes::Scope phase(times, Phase::evaluate);
  const comm::Communicator& world = grid.world();
  EvalReport report;
  report.windows = max_windows > 0 ? std::min(max_windows, source.evaluation_windows()) : source.evaluation_windows();
  report.domains = source.domains();
  const i64 domains = static_cast<i64>(report.domains.size());
  std::vector<LayerSums> layers(model.moe_layers().size(), {{}, PairCounts(domains), PairCounts(model.config().vocab)});
  std::vector<double> sums(static_cast<std::size_t>(3 + 3 * domains), 0.0);
  bool with_floor = false;

  model::ModelTrace trace;
  PhaseTimes inner;
  for (i64 first = 0; first < report.windows; first += batch) {
    const LaneLayout cut(lanes, std::min(batch, report.windows - first), model.config().seq_len, world.size(), world.rank());
    const model::StepContext context{grid, cut, inner, 0, first, false};
    Truth truth;
    const model::Batch part = source.evaluation(first, cut, truth);
    model.forward(params, part, context, trace);
    with_floor = with_floor || comm::max_over<i64>(world, !truth.entropy.empty()) > 0;
    const std::vector<double> more = sum_losses(world, cut, part, trace, truth, domains);
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += more[i];
    for (std::size_t l = 0; l < layers.size(); ++l) layers[l].take(trace.blocks[model.moe_layers()[l]].moe, part, truth);
  }
  report_losses(sums, with_floor, report);
  report_layers(model, params, world, layers, report);
  return report;
}

}  // namespace pleiad::train
