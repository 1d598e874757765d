#include "pleiad/io/run_record.hpp"

#include <algorithm>
#include <limits>
#include <map>

#include "pleiad/core/build_info.hpp"

namespace pleiad::io {

namespace {

/// One dataset of the record: rows of one shape, all float64, int64 or text bytes.
struct Column {
  std::string name;
  ElementType type;
  Shape row;
  std::string units, description;
};

/// Beyond this many experts (PEER, PKM) a row per step would be larger than the model: only their summary figures are kept.
constexpr i64 k_most_listed_experts = 4096;
bool lists_experts(const RunDescription& run) { return static_cast<i64>(run.expert_widths.size()) <= k_most_listed_experts; }

/// What depends on the number of ranks stands in a group of that number, because a run may go on with another one.
std::string by_rank(const RunDescription& run, const char* name) { return fmt::format("/ranks/{}/{}", run.ranks, name); }

std::vector<Column> columns_of(const RunDescription& run) {
  using enum ElementType;
  const i64 layers = static_cast<i64>(run.moe_layers.size()), experts = static_cast<i64>(run.expert_widths.size());
  const i64 domains = static_cast<i64>(run.domains.size());
  std::vector<Column> c = {
      {"/steps/step", int64, {}, "1", "updates done after this step"},
      {"/steps/task_loss", float64, {}, "nat/token", "mean cross-entropy of the global batch before the update"},
      {"/steps/total_loss", float64, {}, "nat/token", "task loss plus auxiliary losses times their coefficients"},
      {"/steps/learning_rate", float64, {}, "1", "learning rate of the update"},
      {"/steps/grad_norm", float64, {}, "1", "L2 norm of the gradient before clipping"},
      {"/steps/tokens", int64, {}, "token", "tokens of the global batch"},
      {"/steps/seconds", float64, {}, "s", "wall time of the step on rank 0"},
      {"/steps/tokens_per_second", float64, {}, "token/s", "tokens over seconds"},
      {"/steps/flops", float64, {}, "flop", "forward and backward of the global batch, kept assignments, multiply-add = 2"},
      {"/evaluation/step", int64, {}, "1", "updates done"},
      {"/evaluation/loss", float64, {}, "nat/token", "mean cross-entropy over the held-out windows"},
      {"/evaluation/targets", int64, {}, "token", "tokens predicted"},
      {"/evaluation/expert_flops_per_token", float64, {}, "flop/token", "forward flops of the experts, kept assignments, all layers"},
      {"/checkpoints/step", int64, {}, "1", "updates done"},
      {"/checkpoints/seconds", float64, {}, "s", "wall time of saving"},
      {"/checkpoints/bytes", int64, {}, "byte", "size of the file"},
      {"/samples/step", int64, {}, "1", "updates done"},
      {"/samples/text", uint8, {16384}, "byte", "prompt and generated text, padded with zero bytes"},
      {by_rank(run, "step"), int64, {}, "1", "updates done after this step"},
      {by_rank(run, "phase_seconds"), float64, {run.ranks, k_phase_count}, "s", "wall time by rank and phase; /phases names the phases"},
  };
  for (const std::string& name : run.auxiliary) {
    c.push_back({"/steps/auxiliary/" + name, float64, {}, "1", "auxiliary loss " + name + ", mean over MoE layers, without its coefficient"});
  }
  if (layers > 0) {
    const Shape per_expert{layers, experts}, per_layer{layers}, per_rank{layers, run.ranks};
    if (lists_experts(run)) {
      c.push_back({"/routing/expert_tokens", int64, per_expert, "token", "assignments kept, by MoE layer and expert"});
      c.push_back({"/routing/expert_flops", float64, per_expert, "flop", "forward flops, by MoE layer and expert"});
      c.push_back({"/evaluation/expert_tokens", int64, per_expert, "token", "assignments kept over the evaluation"});
    }
    c.push_back({"/routing/dropped", int64, per_layer, "token", "assignments dropped by the capacity"});
    c.push_back({"/routing/entropy", float64, per_layer, "nat", "mean entropy of the router's probabilities"});
    c.push_back({"/routing/imbalance", float64, per_layer, "1", "largest over mean of tokens per expert"});
    c.push_back({"/routing/flops_imbalance", float64, per_layer, "1", "largest over mean of flops per expert"});
    c.push_back({"/routing/load_variation", float64, per_layer, "1", "coefficient of variation of tokens per expert"});
    c.push_back({"/routing/load_entropy", float64, per_layer, "1", "entropy of the token shares over ln(experts)"});
    c.push_back({by_rank(run, "bytes"), int64, per_rank, "byte", "sent over the network by each rank, forward and backward"});
    c.push_back({by_rank(run, "messages"), int64, per_rank, "1", "messages sent by each rank, forward and backward"});
  }
  if (run.has_floor) c.push_back({"/evaluation/floor", float64, {}, "nat/token", "mean true conditional entropy of the predicted tokens"});
  if (run.has_floor) c.push_back({"/evaluation/above_floor", float64, {}, "nat/token", "loss minus floor"});
  if (domains > 0) {
    c.push_back({"/evaluation/domain_loss", float64, {domains}, "nat/token", "loss by latent domain"});
    if (run.has_floor) c.push_back({"/evaluation/domain_floor", float64, {domains}, "nat/token", "floor by latent domain"});
    if (layers > 0) {
      if (lists_experts(run)) c.push_back({"/evaluation/expert_domain_tokens", int64, {layers, domains, experts}, "token", "assignments by layer, domain and expert"});
      c.push_back({"/evaluation/alignment", float64, {layers}, "1", "mutual information of expert and domain over the entropy of the domain"});
    }
  }
  return c;
}

void describe(H5File& file, const RunDescription& run) {
  const core::BuildInfo build = core::build_info();
  file.set_attribute("/", "format", k_run_format);
  file.set_attribute("/", "description", "Pleiad run record: what a training run measured, step by step");
  file.set_attribute("/", "pleiad_version", std::string(build.version));
  file.set_attribute("/", "git_commit", std::string(build.git_commit));
  file.set_attribute("/", "seed", run.seed);
  file.set_attribute("/", "ranks", run.ranks);
  file.set_attribute("/", "finished_step", -1);
  if (!run.init_checkpoint.empty()) {
    file.set_attribute("/", "init_checkpoint", run.init_checkpoint);
    file.set_attribute("/", "init_step", run.init_step);
  }
  file.write_text("/config", run.config, "resolved configuration, INI form");
  std::vector<std::string> phases;
  for (int p = 0; p < k_phase_count; ++p) phases.push_back(phase_name(static_cast<Phase>(p)));
  file.write_texts("/phases", phases, "names of the last axis of /ranks/*/phase_seconds");
  if (!run.moe_layers.empty()) {
    file.write<i64>("/layers/block", run.moe_layers, {static_cast<i64>(run.moe_layers.size())}, {"1", "block number of each MoE layer"});
    if (lists_experts(run)) file.write<i64>("/layers/expert_width", run.expert_widths, {static_cast<i64>(run.expert_widths.size())}, {"1", "hidden width of each expert"});
  }
  if (!run.domains.empty()) file.write_texts("/domains", run.domains, "names of the latent domains");
  for (const auto& [name, value] : run.facts) file.set_attribute("/", name, value);
}

}  // namespace

struct RunRecord::Impl {
  std::string path;
  RunDescription run;
  std::function<std::string(std::span<const std::int32_t>)> decode;
  H5File file;
  std::map<std::string, H5Series> series;
  std::map<std::string, Column> columns;
  Stopwatch since_flush;

  template <class T>
  void append(const std::string& name, std::span<const T> values) {
    series.at(name).append<T>(values);
  }
  void number(const std::string& name, double value) { append<double>(name, std::span<const double>(&value, 1)); }
  void whole(const std::string& name, i64 value) { append<i64>(name, std::span<const i64>(&value, 1)); }

  /// Brings a series to `rows` rows: later ones are forgotten, missing ones (lost in a crash) filled with NaN or -1.
  void settle(const std::string& name, i64 rows) {
    H5Series& s = series.at(name);
    s.truncate(rows);
    const Column& c = columns.at(name);
    i64 width = 1;
    for (const i64 n : c.row) width *= n;
    while (s.rows() < rows) {
      if (c.type == ElementType::float64) {
        s.append<double>(std::vector<double>(static_cast<std::size_t>(width), std::numeric_limits<double>::quiet_NaN()));
      } else if (c.type == ElementType::int64) {
        s.append<i64>(std::vector<i64>(static_cast<std::size_t>(width), -1));
      } else {
        s.append<std::uint8_t>(std::vector<std::uint8_t>(static_cast<std::size_t>(width), 0));
      }
    }
  }
};

RunRecord::RunRecord(const std::string& path, const RunDescription& run, std::function<std::string(std::span<const std::int32_t>)> decode)
    : impl_(new Impl{path, run, std::move(decode), H5File::create(temporary_name(path), true), {}, {}, {}}) {
  describe(impl_->file, run);
  for (const Column& c : columns_of(run)) {
    impl_->columns[c.name] = c;
    impl_->series[c.name] = H5Series(impl_->file, c.name, c.type, c.row, {c.units, c.description, 0, 1});
  }
  impl_->file.start_swmr();
  impl_->file.flush();
  // Under its name only once it is whole: a kill before this line leaves no run behind.
  publish(temporary_name(path), path);
}

RunRecord::RunRecord(const std::string& path, const RunDescription& run, std::function<std::string(std::span<const std::int32_t>)> decode, i64 step)
    : impl_(new Impl{path, run, std::move(decode), H5File::open_append(path), {}, {}, {}}) {
  H5File& file = impl_->file;
  file.require_format(k_run_format);
  // Rows to keep, by the group a dataset stands in.
  const auto rows_kept = [&](const std::string& group) {
    const std::vector<i64> steps = file.exists(group + "/step") ? file.read<i64>(group + "/step") : std::vector<i64>{};
    return static_cast<i64>(std::ranges::count_if(steps, [&](i64 s) { return s >= 0 && s <= step; }));
  };
  for (const std::string& ranks : file.list("/ranks")) {
    const std::string group = "/ranks/" + ranks;
    const i64 keep = rows_kept(group);
    for (const std::string& name : file.list(group)) {
      const Shape shape = file.shape(group + "/" + name);
      H5Series(file, group + "/" + name, Shape(shape.begin() + 1, shape.end())).truncate(keep);
    }
  }
  std::map<std::string, i64> rows{{"/steps", step}, {"/steps/auxiliary", step}, {"/routing", step}};
  for (const char* group : {"/evaluation", "/checkpoints", "/samples"}) rows[group] = rows_kept(group);
  for (const Column& c : columns_of(run)) {
    impl_->columns[c.name] = c;
    const std::string group = c.name.substr(0, c.name.rfind('/'));
    if (file.exists(c.name)) {
      impl_->series[c.name] = H5Series(file, c.name, c.row);
      if (rows.count(group)) impl_->settle(c.name, rows.at(group));
    } else {
      impl_->series[c.name] = H5Series(file, c.name, c.type, c.row, {c.units, c.description, 0, 1});
    }
  }
  file.set_attribute("/", "ranks", run.ranks);
  impl_->file.set_attribute("/", "finished_step", -1);
  impl_->file.start_swmr();
}

RunRecord::~RunRecord() = default;

void RunRecord::flush() {
  impl_->file.flush();
  impl_->since_flush.restart();
}

void RunRecord::on_step(const train::StepRecord& r) {
  Impl& d = *impl_;
  d.whole("/steps/step", r.step);
  d.number("/steps/task_loss", r.loss.task);
  d.number("/steps/total_loss", r.loss.total);
  d.number("/steps/learning_rate", r.learning_rate);
  d.number("/steps/grad_norm", r.grad_norm);
  d.whole("/steps/tokens", r.tokens);
  d.number("/steps/seconds", r.seconds);
  d.number("/steps/tokens_per_second", static_cast<double>(r.tokens) / r.seconds);
  d.number("/steps/flops", r.flops);
  d.whole(by_rank(d.run, "step"), r.step);
  d.append<double>(by_rank(d.run, "phase_seconds"), r.phase_seconds);
  for (const routing::AuxLoss& loss : r.loss.auxiliary) d.number("/steps/auxiliary/" + loss.name, loss.value);
  if (!r.layers.empty()) {
    std::vector<i64> tokens, dropped;
    std::vector<double> flops, entropy, imbalance, flops_imbalance, variation, load_entropy;
    for (const model::LayerStatistics* layer : r.layers) {
      if (lists_experts(d.run)) tokens.insert(tokens.end(), layer->expert_tokens.begin(), layer->expert_tokens.end());
      for (std::size_t e = 0; lists_experts(d.run) && e < d.run.expert_flops.size(); ++e) {
        flops.push_back(static_cast<double>(layer->expert_tokens[e]) * d.run.expert_flops[e]);
      }
      dropped.push_back(layer->dropped());
      entropy.push_back(layer->router_entropy);
      const train::LoadFigures f = train::load_figures(layer->expert_tokens, d.run.expert_flops);
      imbalance.push_back(f.imbalance);
      flops_imbalance.push_back(f.flops_imbalance);
      variation.push_back(f.variation);
      load_entropy.push_back(f.entropy);
    }
    if (lists_experts(d.run)) {
      d.append<i64>("/routing/expert_tokens", tokens);
      d.append<double>("/routing/expert_flops", flops);
    }
    d.append<i64>("/routing/dropped", dropped);
    d.append<double>("/routing/entropy", entropy);
    d.append<double>("/routing/imbalance", imbalance);
    d.append<double>("/routing/flops_imbalance", flops_imbalance);
    d.append<double>("/routing/load_variation", variation);
    d.append<double>("/routing/load_entropy", load_entropy);
    d.append<i64>(by_rank(d.run, "bytes"), r.bytes);
    d.append<i64>(by_rank(d.run, "messages"), r.messages);
  }
  if (d.since_flush.seconds() > 2) flush();
}

void RunRecord::on_evaluation(i64 step, const train::EvalReport& r) {
  Impl& d = *impl_;
  d.whole("/evaluation/step", step);
  d.number("/evaluation/loss", r.loss);
  d.whole("/evaluation/targets", r.targets);
  d.number("/evaluation/expert_flops_per_token", r.expert_flops_per_token);
  const auto joined = [](const std::vector<std::vector<i64>>& lists) {
    std::vector<i64> all;
    for (const auto& list : lists) all.insert(all.end(), list.begin(), list.end());
    return all;
  };
  const bool layers = !d.run.moe_layers.empty();
  if (layers && lists_experts(d.run)) d.append<i64>("/evaluation/expert_tokens", joined(r.expert_tokens));
  if (d.run.has_floor) {
    d.number("/evaluation/floor", r.floor.value_or(0));
    d.number("/evaluation/above_floor", r.loss - r.floor.value_or(0));
  }
  if (!d.run.domains.empty()) {
    d.append<double>("/evaluation/domain_loss", r.domain_loss);
    if (d.run.has_floor) d.append<double>("/evaluation/domain_floor", r.domain_floor);
    if (layers) {
      if (lists_experts(d.run)) d.append<i64>("/evaluation/expert_domain_tokens", joined(r.expert_domain_tokens));
      d.append<double>("/evaluation/alignment", r.alignment);
    }
  }
  flush();
}

void RunRecord::on_sample(const train::Sample& sample) {
  const std::string text = impl_->decode(sample.text);
  std::vector<std::uint8_t> row(16384, 0);
  std::copy_n(text.begin(), std::min(text.size(), row.size() - 1), row.begin());
  impl_->whole("/samples/step", sample.step);
  impl_->append<std::uint8_t>("/samples/text", row);
}

void RunRecord::on_checkpoint(i64 step, double seconds, i64 bytes) {
  impl_->whole("/checkpoints/step", step);
  impl_->number("/checkpoints/seconds", seconds);
  impl_->whole("/checkpoints/bytes", bytes);
  flush();
}

void RunRecord::finish(i64 step) {
  // In SWMR mode no attribute can be written: close and open once more.
  impl_->series.clear();
  impl_->file.close();
  H5File file = H5File::open_append(impl_->path);
  file.set_attribute("/", "finished_step", step);
  file.close();
}

std::string read_run_config(const std::string& path) {
  const H5File file = H5File::open(path);
  file.require_format(k_run_format);
  return file.read_text("/config");
}

}  // namespace pleiad::io
