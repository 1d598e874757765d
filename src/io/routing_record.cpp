#include "pleiad/io/routing_record.hpp"

#include <algorithm>
#include <numeric>

#include "pleiad/io/identity.hpp"

namespace pleiad::io {

namespace {

// A row per step is as large as the batch; a row per entry is one number.
constexpr i64 k_step_chunk = 8, k_entry_chunk = 1 << 16;

std::string of_block(i64 block, const char* name) { return fmt::format("/layers/{}/{}", block, name); }

}  // namespace

// A new file gets its name once it is whole, so that a kill leaves either none or one that can be continued.
RoutingRecord::RoutingRecord(const std::string& path, const RunDescription& run, i64 sequences, i64 seq_len, i64 lanes, std::optional<i64> resumed) try
    : path_(path), file_(resumed ? open_copy(path) : H5File::create(temporary_name(path), true)) {
  if (resumed) {
    file_.require_format(k_routing_format);
  } else {
    describe(run, sequences, seq_len, lanes);
  }
  open_series(run, sequences * seq_len, !resumed);
  if (resumed) {
    forget_after(run, *resumed);
    require_readable(file_, path);
  }
  file_.start_swmr();
  file_.flush();
} catch (const UserError&) {
  if (resumed) require_readable(path);  // says so if the record is to blame
  throw;
}

void RoutingRecord::publish() { io::publish(temporary_name(path_), path_); }

void RoutingRecord::describe(const RunDescription& run, i64 sequences, i64 seq_len, i64 lanes) {
  set_identity(file_, k_routing_format, "Pleiad routing record: the experts of every token of the recorded steps");
  file_.set_attribute("/", "seed", run.seed);
  file_.set_attribute("/", "experts", run.experts());
  file_.set_attribute("/", "sequences", sequences);
  file_.set_attribute("/", "seq_len", seq_len);
  file_.set_attribute("/", "lanes", lanes);
  for (const auto& [name, value] : run.facts) {
    if (name == "router" || name == "preset") file_.set_attribute("/", name, value);
  }
  file_.write_text("/config", run.config, "resolved configuration, INI form");
  file_.write<i64>("/expert_width", run.expert_widths, {run.experts()}, {"1", "hidden width of each expert", 0, 1});
  file_.write<double>("/expert_flops", run.layer.flops_per_row, {run.experts()}, {"flop", "forward flops of each expert for one token", 0, 1});
}

void RoutingRecord::open_series(const RunDescription& run, i64 tokens, bool fresh) {
  using enum ElementType;
  const auto open = [&](const std::string& name, ElementType type, const Shape& row, i64 chunk, const char* units, const char* text) {
    return fresh ? H5Series(file_, name, type, row, {units, text, chunk, 1}) : H5Series(file_, name, row);
  };
  step_ = open("/step", int64, {}, k_step_chunk, "1", "updates done after the recorded step, as in /steps/step of run.h5");
  tokens_ = open("/tokens", int32, {tokens}, k_step_chunk, "1", "input tokens of the global batch, sequence after sequence");
  for (const i64 block : run.moe_layers) {
    layers_.push_back({open(of_block(block, "count"), int32, {tokens}, k_step_chunk, "1", "entries of each token"),
                       open(of_block(block, "first"), int64, {}, k_step_chunk, "1", "first entry of the step"),
                       open(of_block(block, "expert"), int32, {}, k_entry_chunk, "1", "expert of each entry, a token's best choice first"),
                       open(of_block(block, "weight"), float32, {}, k_entry_chunk, "1", "combine weight, before the capacity"),
                       open(of_block(block, "kept"), uint8, {}, k_entry_chunk, "1", "0: over the capacity")});
  }
}

void RoutingRecord::forget_after(const RunDescription& run, i64 step) {
  // What a kill left half written is after every checkpoint, so it goes too.
  const std::vector<i64> steps = file_.read<i64>("/step");
  const i64 keep = std::ranges::count_if(steps, [&](i64 s) { return s <= step; });
  step_.truncate(keep);
  tokens_.truncate(keep);
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    Layer& layer = layers_[l];
    const std::vector<i64> first = file_.read<i64>(of_block(run.moe_layers[l], "first"));
    layer.count.truncate(keep);
    layer.first.truncate(keep);
    layer.entries = 0;
    if (keep > 0) {
      std::vector<std::int32_t> last(static_cast<std::size_t>(file_.shape(of_block(run.moe_layers[l], "count"))[1]));
      file_.read_rows<std::int32_t>(of_block(run.moe_layers[l], "count"), {{keep - 1, 1}}, last);
      layer.entries = first[keep - 1] + std::accumulate(last.begin(), last.end(), i64{0});
    }
    for (H5Series* flat : {&layer.expert, &layer.weight, &layer.kept}) flat->truncate(layer.entries);
  }
}

void RoutingRecord::on_step(const train::StepRecord& r) {
  if (!r.routing) return;
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    const train::RoutingSnapshot::Layer& from = r.routing->layers[l];
    Layer& to = layers_[l];
    to.expert.append<std::int32_t>(from.expert);
    to.weight.append<float>(from.weight);
    to.kept.append<std::uint8_t>(from.kept);
    to.first.append<i64>(std::span<const i64>(&to.entries, 1));
    to.count.append<std::int32_t>(from.count);
    to.entries += static_cast<i64>(from.expert.size());
  }
  tokens_.append<std::int32_t>(r.routing->tokens);
  step_.append<i64>(std::span<const i64>(&r.step, 1));  // last: who follows the file and sees a step finds all of it
  if (since_flush_.seconds() > 2) flush();
}

void RoutingRecord::flush() {
  file_.flush();
  since_flush_.restart();
}

}  // namespace pleiad::io
