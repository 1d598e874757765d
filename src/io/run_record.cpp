#include "pleiad/io/run_record.hpp"

#include <algorithm>
#include <limits>
#include <map>

#include "pleiad/io/identity.hpp"

namespace pleiad::io {

namespace {

void describe(H5File& file, const RunDescription& run) {
  set_identity(file, k_run_format, "Pleiad run record: what a training run measured, step by step");
  file.set_attribute("/", "seed", run.seed);
  file.set_attribute("/", "corpus_fingerprint", run.corpus_fingerprint);
  file.set_attribute("/", "ranks", run.ranks);
  file.set_attribute("/", "finished_step", -1);
  if (!run.init_checkpoint.empty()) {
    file.set_attribute("/", "init_checkpoint", run.init_checkpoint);
    file.set_attribute("/", "init_step", run.init_step);
  }
  file.write_text("/config", run.config, "resolved configuration, INI form");
  file.seal_text("/config");
  // Texts are sealed and numbers compressed, so that no damage to them goes unnoticed: HDF5 has checksums of its own for neither.
  const auto write_names = [&](const char* name, const std::vector<std::string>& names, const char* what) {
    file.write_texts(name, names, what);
    file.seal_text(name);
  };
  std::vector<std::string> phases;
  for (int p = 0; p < k_phase_count; ++p) phases.push_back(phase_name(static_cast<Phase>(p)));
  write_names("/phases", phases, "names of the last axis of /ranks/*/phase_seconds");
  if (!run.moe_layers.empty()) {
    file.write<i64>("/layers/block", run.moe_layers, {static_cast<i64>(run.moe_layers.size())}, {"1", "block number of each MoE layer", 0, 1});
    if (run.lists_experts()) {
      const std::vector<i64>& widths = run.layer.widths;
      file.write<i64>("/layers/expert_width", run.expert_widths, {run.experts()}, {"1", "hidden width of each expert", 0, 1});
      if (!widths.empty()) file.write<i64>("/layers/widths", widths, {static_cast<i64>(widths.size())}, {"1", "distinct widths, names of the last axis of width_share", 0, 1});
    }
  }
  if (!run.labels.empty()) write_names("/labels", run.labels, "names of the labels");
  if (!run.domains.empty()) write_names("/domains", run.domains, "names of the latent domains");
  for (const auto& [name, value] : run.facts) file.set_attribute("/", name, value);
  for (const auto& [name, value] : run.numbers) file.set_attribute("/", name, value);
}

}  // namespace

struct RunRecord::Impl {
  Impl(const std::string& where, const RunDescription& run, Decode decoder, H5File open)
      : path(where), decode(std::move(decoder)), file(std::move(open)), steps(step_columns(run)), evaluations(evaluation_columns(run)), pairs(pair_columns(run)) {}

  std::string path;
  Decode decode;
  H5File file;
  std::vector<Column<train::StepRecord>> steps;
  std::vector<Column<EvaluationRow>> evaluations;
  std::vector<Column<PairRow>> pairs;
  std::vector<Column<CheckpointRow>> checkpoints = checkpoint_columns();
  std::vector<Column<SampleRow>> samples = sample_columns();
  std::vector<Column<train::PlacementRecord>> placements = placement_columns();
  std::map<std::string, H5Series> series;
  Stopwatch since_flush;
  i64 pairs_until = 0;           // last step in pair_bytes; 0: nothing since the last row
  std::vector<i64> pair_bytes;   // since the last row of /pairs

  std::vector<const ColumnHead*> heads() const {
    std::vector<const ColumnHead*> all;
    for (const auto& c : steps) all.push_back(&c);
    for (const auto& c : evaluations) all.push_back(&c);
    for (const auto& c : pairs) all.push_back(&c);
    for (const auto& c : checkpoints) all.push_back(&c);
    for (const auto& c : samples) all.push_back(&c);
    for (const auto& c : placements) all.push_back(&c);
    return all;
  }
  void create(const ColumnHead& c) { series[c.name] = H5Series(file, c.name, c.type, c.row, {c.units, c.description, 0, 1}); }

  void append(const ColumnHead& c, const Row& row) {
    H5Series& s = series.at(c.name);
    if (c.type == ElementType::float64) {
      s.append<double>(row.reals);
    } else if (c.type == ElementType::int64) {
      s.append<i64>(row.wholes);
    } else {
      s.append<std::uint8_t>(row.bytes);
    }
  }
  template <class Record>
  void append_all(const std::vector<Column<Record>>& columns, const Record& record) {
    for (const auto& c : columns) {
      Row row;
      c.fill(record, row);
      append(c, row);
    }
  }

  void add_pairs(const train::StepRecord& r) {
    if (pairs.empty()) return;
    pair_bytes.resize(r.pair_bytes.size(), 0);
    for (std::size_t i = 0; i < pair_bytes.size(); ++i) pair_bytes[i] += r.pair_bytes[i];
    pairs_until = r.step;
  }
  void write_pairs() {
    if (pairs_until == 0) return;
    append_all(pairs, PairRow{pairs_until, pair_bytes});
    pair_bytes.clear();
    pairs_until = 0;
  }
  void flush() {
    file.flush();
    since_flush.restart();
  }

  /// Brings a series to `rows` rows: later ones are forgotten, missing ones (lost in a crash) filled with NaN or -1.
  void settle(const ColumnHead& c, i64 rows) {
    H5Series& s = series.at(c.name);
    s.truncate(rows);
    std::size_t width = 1;
    for (const i64 n : c.row) width *= static_cast<std::size_t>(n);
    const Row missing{std::vector<double>(width, std::numeric_limits<double>::quiet_NaN()), std::vector<i64>(width, -1), std::vector<std::uint8_t>(width, 0)};
    while (s.rows() < rows) append(c, missing);
  }
};

RunRecord::RunRecord(const std::string& path, const RunDescription& run, Decode decode)
    : impl_(new Impl(path, run, std::move(decode), H5File::create(temporary_name(path), true))) {
  describe(impl_->file, run);
  for (const ColumnHead* c : impl_->heads()) impl_->create(*c);
  impl_->file.start_swmr();
  impl_->file.flush();
  // Under its name only once it is whole: a kill before this line leaves no run behind.
  publish(temporary_name(path), path);
}

RunRecord::RunRecord(const std::string& path, const RunDescription& run, Decode decode, i64 step) try
    : impl_(new Impl(path, run, std::move(decode), open_copy(path))) {
  H5File& file = impl_->file;
  file.require_format(k_run_format);
  // Rows to keep, by the group a dataset stands in.
  const auto rows_kept = [&](const std::string& group) {
    const std::vector<i64> steps = file.exists(group + "/step") ? file.read<i64>(group + "/step") : std::vector<i64>{};
    return static_cast<i64>(std::ranges::count_if(steps, [&](i64 s) { return s >= 0 && s <= step; }));
  };
  std::map<std::string, i64> rows{{"/steps", step}, {"/steps/auxiliary", step}, {"/routing", step}};
  for (const char* group : {"/evaluation", "/checkpoints", "/samples", "/placement"}) rows[group] = rows_kept(group);
  // One group for each number of ranks that the run has had.
  for (const std::string kind : {"/ranks", "/pairs"}) {
    for (const std::string& ranks : file.exists(kind) ? file.list(kind) : std::vector<std::string>{}) {
      const std::string group = kind + "/" + ranks;
      rows[group] = rows_kept(group);
      for (const std::string& name : file.list(group)) {
        const Shape shape = file.shape(group + "/" + name);
        H5Series(file, group + "/" + name, Shape(shape.begin() + 1, shape.end())).truncate(rows[group]);
      }
    }
  }
  for (const ColumnHead* c : impl_->heads()) {
    const std::string group = c->name.substr(0, c->name.rfind('/'));
    if (file.exists(c->name)) {
      impl_->series[c->name] = H5Series(file, c->name, c->row);
    } else {
      impl_->create(*c);
    }
    if (rows.count(group)) impl_->settle(*c, rows.at(group));
  }
  file.set_attribute("/", "ranks", run.ranks);
  for (const auto& [name, value] : run.facts) {
    if (name != "started") file.set_attribute("/", name, value);  // those of the part that runs now
  }
  impl_->file.set_attribute("/", "finished_step", -1);
  require_readable(file, path);
  impl_->file.start_swmr();
  impl_->file.flush();
  publish(temporary_name(path), path);
} catch (const UserError&) {
  require_readable(path);  // says so if the record is to blame
  throw;
}

RunRecord::~RunRecord() = default;

void RunRecord::flush() {
  // Before a checkpoint: whatever is resumed from it begins with a new row.
  impl_->write_pairs();
  impl_->flush();
}

void RunRecord::on_step(const train::StepRecord& r) {
  impl_->append_all(impl_->steps, r);
  impl_->add_pairs(r);
  if (impl_->since_flush.seconds() > 2) impl_->flush();
}

void RunRecord::on_evaluation(i64 step, const train::EvalReport& r) {
  impl_->append_all(impl_->evaluations, EvaluationRow{step, r});
  flush();
}

void RunRecord::on_sample(const train::Sample& sample) { impl_->append_all(impl_->samples, SampleRow{sample.step, impl_->decode(sample.text)}); }

void RunRecord::on_checkpoint(i64 step, double seconds, i64 bytes) {
  impl_->append_all(impl_->checkpoints, CheckpointRow{step, seconds, bytes});
  impl_->flush();
}

void RunRecord::on_placement(const train::PlacementRecord& record) { impl_->append_all(impl_->placements, record); }

RunSoFar RunRecord::so_far() const {
  const H5File& file = impl_->file;
  RunSoFar s;
  s.losses = file.read<double>("/steps/task_loss");
  if (const std::vector<i64> evaluated = file.read<i64>("/evaluation/step"); !evaluated.empty()) {
    s.evaluated = evaluated.back();
    s.evaluation_loss = file.read<double>("/evaluation/loss").back();
    if (file.exists("/evaluation/above_floor")) s.above_floor = file.read<double>("/evaluation/above_floor").back();
  }
  return s;
}

void RunRecord::finish(i64 step, const MemoryRecord& memory) {
  // In SWMR mode no attribute can be written: close and open once more.
  impl_->series.clear();
  impl_->file.close();
  H5File file = open_copy(impl_->path);
  file.set_attribute("/", "peak_memory_bytes", memory.peak_of_all_ranks());
  const i64 ranks = static_cast<i64>(memory.peak.size());
  const auto write = [&](const char* name, const std::vector<i64>& bytes, const char* description) {
    const std::string dataset = fmt::format("/memory/{}/{}", ranks, name);
    if (file.exists(dataset)) file.write_rows<i64>(dataset, {{0, ranks}}, bytes);
    else file.write<i64>(dataset, bytes, {ranks}, {"byte", description, 0, 1});
  };
  write("predicted_memory", memory.predicted, "most resident memory of each rank, predicted before the first step; of the newest part of the run on so many ranks");
  write("peak_memory", memory.peak, "most resident memory of each rank, measured; of the newest part of the run on so many ranks");
  file.set_attribute("/", "finished_step", step);
  file.close();
  publish(temporary_name(impl_->path), impl_->path);
}

RunTale read_run_tale(const std::string& path) {
  const H5File file = H5File::open(path);
  file.require_format(k_run_format);
  RunTale tale{file.read_text("/config"), file.text("/", "corpus_fingerprint")};
  for (const i64 step : file.read<i64>("/steps/step")) tale.recorded = std::max(tale.recorded, step);
  if (file.exists("/checkpoints/step")) {
    for (const i64 step : file.read<i64>("/checkpoints/step")) tale.saved = std::max(tale.saved, step);
  }
  return tale;
}

}  // namespace pleiad::io
