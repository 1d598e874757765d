#include "pleiad/train/evaluate.hpp"

#include <algorithm>
#include <cmath>

#include "pleiad/comm/collectives.hpp"
#include "pleiad/comm/lane_sum.hpp"

namespace pleiad::train {

double normalised_mutual_information(std::span<const i64> table, i64 rows, i64 columns) {
  double total = 0;
  std::vector<double> row(static_cast<std::size_t>(rows)), column(static_cast<std::size_t>(columns));
  for (i64 i = 0; i < rows; ++i) {
    for (i64 j = 0; j < columns; ++j) {
      const double n = static_cast<double>(table[i * columns + j]);
      total += n;
      row[i] += n;
      column[j] += n;
    }
  }
  double information = 0, entropy = 0;
  for (i64 i = 0; i < rows; ++i) {
    if (row[i] > 0) entropy -= row[i] / total * std::log(row[i] / total);
    for (i64 j = 0; j < columns; ++j) {
      const double n = static_cast<double>(table[i * columns + j]);
      if (n > 0) information += n / total * std::log(n * total / (row[i] * column[j]));
    }
  }
  return entropy > 0 ? std::max(0.0, information / entropy) : 0;
}

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

}  // namespace

EvalReport evaluate(const model::Model& model, const ParamSet& params, BatchSource& source, const comm::ProcessGrid& grid,
                    i64 lanes, i64 batch, i64 max_windows, PhaseTimes& times) {
  PhaseTimes::Scope phase(times, Phase::evaluate);
  EvalReport report;
  report.windows = max_windows > 0 ? std::min(max_windows, source.evaluation_windows()) : source.evaluation_windows();
  report.domains = source.domains();
  report.experts = static_cast<i64>(model.moe_config().expert_widths.size());
  const i64 domains = static_cast<i64>(report.domains.size());
  const std::size_t layers = model.moe_layers().size();
  report.expert_tokens.assign(layers, std::vector<i64>(static_cast<std::size_t>(report.experts), 0));
  std::vector<i64> table(layers * static_cast<std::size_t>(domains * report.experts), 0);
  std::vector<double> sums(static_cast<std::size_t>(3 + 3 * domains), 0.0);  // loss, targets, floor; per domain the same
  bool with_floor = false;
  double expert_flops = 0;
  const bool classifier = model.targets_per_sequence(model.config().seq_len) == 1;
  i64 right = 0;

  model::ModelTrace trace;
  PhaseTimes inner;
  for (i64 first = 0; first < report.windows; first += batch) {
    const LaneLayout cut(lanes, std::min(batch, report.windows - first), model.config().seq_len, grid.world().size(), grid.world().rank());
    const model::StepContext context{grid, cut, inner, 0, first, false};
    Truth truth;
    const model::Batch part = source.evaluation(first, cut, truth);
    model.forward(params, part, context, trace);
    if (classifier) report.confusion.resize(static_cast<std::size_t>(trace.log_p.cols() * trace.log_p.cols()));
    count_guesses(trace, part.target, right, report.confusion);
    const i64 per_target = classifier ? cut.seq_len() : 1;
    with_floor = with_floor || comm::max_over<i64>(grid.world(), !truth.entropy.empty()) > 0;

    const std::vector<double> more = comm::lane_statistics(grid.world(), cut, static_cast<i64>(sums.size()), [&](i64 lane, double* row) {
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
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += more[i];
    for (std::size_t l = 0; l < layers; ++l) {
      const i64 block = model.moe_layers()[l];
      const model::LayerStatistics& s = trace.blocks[block].moe.statistics;
      for (i64 e = 0; e < report.experts; ++e) {
        report.expert_tokens[l][e] += s.expert_tokens[e];
        expert_flops += static_cast<double>(s.expert_tokens[e]) * model.blocks()[block].moe()->flops_per_row(e);
      }
      const routing::Assignment& a = trace.blocks[block].moe.router->assignment;
      for (i64 t = 0; domains > 0 && t < a.tokens(); ++t) {
        for (i64 i = a.offset[t]; i < a.offset[t + 1]; ++i) {
          if (a.kept[i]) ++table[(static_cast<i64>(l) * domains + truth.domain[t]) * report.experts + a.expert[i]];
        }
      }
    }
  }
  comm::all_reduce_sum<i64>(grid.world(), table);

  report.targets = static_cast<i64>(sums[1]);
  comm::all_reduce_sum<i64>(grid.world(), report.confusion);
  report.accuracy = static_cast<double>(comm::sum_over<i64>(grid.world(), right)) / std::max(sums[1], 1.0);
  report.loss = sums[0] / std::max(sums[1], 1.0);
  report.expert_flops_per_token = expert_flops / std::max(sums[1], 1.0);
  if (with_floor) report.floor = sums[2] / std::max(sums[1], 1.0);
  for (i64 d = 0; d < domains; ++d) {
    const double* mine = sums.data() + 3 + 3 * d;
    report.domain_targets.push_back(static_cast<i64>(mine[1]));
    report.domain_loss.push_back(mine[0] / mine[1]);  // NaN where a domain has no token
    if (with_floor) report.domain_floor.push_back(mine[2] / mine[1]);
  }
  for (std::size_t l = 0; domains > 0 && l < layers; ++l) {
    const auto begin = table.begin() + static_cast<i64>(l) * domains * report.experts;
    report.expert_domain_tokens.emplace_back(begin, begin + domains * report.experts);
    report.alignment.push_back(normalised_mutual_information(report.expert_domain_tokens.back(), domains, report.experts));
  }
  return report;
}

}  // namespace pleiad::train
