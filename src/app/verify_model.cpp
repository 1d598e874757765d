#include <algorithm>

#include "pleiad/app/verify.hpp"
#include "pleiad/comm/agree.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/model/model.hpp"
#include "pleiad/train/grad_sync.hpp"
#include "pleiad/train/optimizer.hpp"

namespace pleiad::app {

namespace {

model::ModelConfig model_config(const io::GoldenFile& golden) {
  const i64 limit = i64{1} << 31;
  model::ModelConfig c;
  c.vocab = golden.integer("vocab", 1, limit);
  c.width = golden.integer("d_model", 1, limit);
  c.layers = golden.integer("layers", 1, 4096);
  c.heads = golden.integer("attention_heads", 1, limit);
  if (c.width % c.heads != 0 || (c.width / c.heads) % 2 != 0) {
    user_error("{}: attention_heads = {}: must divide d_model = {} into heads of even width", golden.file().path(), c.heads, c.width);
  }
  c.seq_len = golden.integer("seq_len", 1, limit);
  c.dense_width = golden.integer_or_0("dense_hidden", 0, limit);
  const std::string dense = golden.text_or_none("dense_activation");
  if (dense == "relu" || dense == "gelu" || dense == "swiglu") {
    c.dense_kind = experts::FeedForwardKind::from(dense, golden.integer_or_0("dense_expert_bias", 0, 1) != 0);
  } else if (dense != "none") {
    user_error("{}: dense_activation = {}: must be relu, gelu, swiglu or none", golden.file().path(), dense);
  }
  c.tied_head = !golden.file().exists("/params/head");
  c.rms_eps = golden.number("rms_eps");
  c.rope_base = golden.number("rope_base");
  return c;
}

/// The data of all steps, the same on every rank. UserError on all ranks if they do not fit the model.
struct Data {
  std::vector<std::int32_t> tokens, length, label;  // lm: [steps, B, L+1]; classifier: [steps, B, L], [steps, B], [steps, B]
};

Data read_data(const comm::Communicator& world, const io::GoldenFile& golden, i64 steps, i64 sequences, const model::ModelConfig& c, i64 classes) {
  Data data;
  const auto check = [&](const std::vector<std::int32_t>& values, const char* name, i64 low, i64 high) {
    for (const std::int32_t v : values) {
      if (v < low || v > high) user_error("{}: {} holds {}, allowed is {} to {}", golden.file().path(), name, v, low, high);
    }
  };
  comm::agree_on(world, [&] {
    const i64 row = c.seq_len + (classes == 0);
    data.tokens = golden.file().read<std::int32_t>("/data/tokens", io::Shape{steps, sequences, row});
    check(data.tokens, "/data/tokens", 0, c.vocab - 1);
    if (classes == 0) return;
    data.length = golden.file().read<std::int32_t>("/data/length", io::Shape{steps, sequences});
    data.label = golden.file().read<std::int32_t>("/data/label", io::Shape{steps, sequences});
    check(data.length, "/data/length", 1, c.seq_len);
    check(data.label, "/data/label", 0, classes - 1);
  });
  return data;
}

/// Step `step` of the data, next tokens or labels as targets.
model::Batch batch_of(const Data& data, i64 step, const LaneLayout& lanes) {
  const i64 length = lanes.seq_len(), next = data.label.empty();
  model::Batch batch;
  const Range mine = lanes.my_sequences();
  for (i64 s = mine.begin; s < mine.end(); ++s) {
    const i64 sequence = step * lanes.sequences() + s;
    const auto first = data.tokens.begin() + sequence * (length + next);
    batch.input.insert(batch.input.end(), first, first + length);
    if (next) {
      batch.target.insert(batch.target.end(), first + 1, first + 1 + length);
    } else {
      batch.target.push_back(data.label[sequence]);
      batch.length.push_back(data.length[sequence]);
    }
  }
  return batch;
}

void append(io::GoldenResults& results, const std::string& name, std::vector<double> values, i64 steps, io::Shape inner = {}) {
  io::GoldenArray& array = results[name];
  inner.insert(inner.begin(), steps);
  array.shape = inner;
  array.values.insert(array.values.end(), values.begin(), values.end());
}

void keep_first_step(const comm::Communicator& world, const model::Trunk& trunk, const model::TrunkTrace& trace, const LaneLayout& lanes,
                     io::GoldenResults& results) {
  const io::Shape stream{lanes.sequences(), lanes.seq_len(), trunk.config().width};
  for (std::size_t i = 0; i < trace.blocks.size(); ++i) {
    const Matrix& after = i + 1 < trace.blocks.size() ? trace.blocks[i + 1].x_in : trace.x_out;
    results[fmt::format("step0/block_{}", i)] = gather_rows(world, after, stream);
  }
  for (const i64 layer : trunk.moe_layers()) {
    const routing::RouterTrace& router = *trace.blocks[layer].moe.router;
    gather_routing(world, router.assignment, fmt::format("step0/routing_{}/", layer), results);
    results["moe_capacity"] = {{}, {static_cast<double>(router.capacity)}, true};  // the same in all layers
  }
}

/// The optimizer steps of the file; logits_shape is that of /step0/logits.
io::GoldenResults run_steps(const io::GoldenFile& golden, const comm::ProcessGrid& grid, ParamSet& params, const model::Model& model,
                            const LaneLayout& lanes, i64 steps, const io::Shape& logits_shape, const Data& data) {
  const comm::Communicator& world = grid.world();
  const std::vector<std::string> names = golden.names_below("/params");
  params.allocate_grads(lanes.my_lanes().count);
  train::Adam adam({golden.number("beta1"), golden.number("beta2"), golden.number("adam_eps"), golden.number("weight_decay"), train::SparseAdam::dense}, params);
  const double rate = golden.number("lr"), clip = golden.number("grad_clip");
  const i64 layers = static_cast<i64>(model.trunk().moe_layers().size()), experts = static_cast<i64>(model.trunk().moe_config().expert_widths.size());
  PhaseTimes times;
  model::ModelTrace trace;
  io::GoldenResults results;
  for (i64 step = 0; step < steps; ++step) {
    const model::StepContext context{grid, lanes, times, 0, step, true};
    const model::Batch batch = batch_of(data, step, lanes);
    params.zero_grads();
    model.forward(params, batch, context, trace);
    if (step == 0) {
      Matrix logits;
      model.logits(params, trace, lanes, logits);
      results["step0/logits"] = gather_rows(world, logits, logits_shape);
      keep_first_step(world, model.trunk(), trace, lanes, results);
    }
    model.backward(params, batch, context, trace);
    train::sync_gradients(params, lanes, grid);
    if (step == 0) gather_parameters(grid, params, names, true, "grads/", results);
    const double norm = train::gradient_norm(params, grid);
    append(results, "trace/task_loss", {trace.report.task}, steps);
    append(results, "trace/total_loss", {trace.report.total}, steps);
    append(results, "trace/grad_norm", {norm}, steps);
    for (const routing::AuxLoss& loss : trace.report.auxiliary) append(results, "trace/aux/" + loss.name, {loss.value}, steps);
    // Of a million neurons nobody wants a list.
    const bool listed = model.trunk().moe_config().bank == routing::Bank::feed_forward;
    for (const model::LayerStatistics* s : listed ? model.trunk().statistics(trace) : std::vector<const model::LayerStatistics*>{}) {
      append(results, "trace/expert_tokens", {s->expert_tokens.begin(), s->expert_tokens.end()}, steps, {layers, experts});
      results["trace/expert_tokens"].whole_numbers = true;
    }
    adam.step(params, rate, train::clip_scale(norm, clip), step + 1);
    model.update_buffers(params, context, trace);
  }
  gather_parameters(grid, params, names, false, "final/", results);
  return results;
}

}  // namespace

io::GoldenResults verify_model(const comm::Communicator& world, const io::GoldenFile& golden) {
  const i64 limit = i64{1} << 31;
  const std::string kind = golden.text("kind");
  if (kind != "lm" && kind != "classifier") user_error("{}: kind = {} is not supported; supported are lm, classifier", golden.file().path(), kind);
  const model::ModelConfig config = model_config(golden);
  const i64 steps = golden.integer("steps", 1, limit), sequences = golden.integer("sequences", 1, limit);
  const i64 classes = kind == "lm" ? 0 : golden.integer("classes", 1, limit);
  Spec moe("moe");
  model::MoeConfig moe_config;
  const std::vector<i64> moe_layers = golden.integers("moe_layers");
  if (!moe_layers.empty()) {
    moe = golden.moe_section("moe_");
    moe.set("allow_noncausal", "true");
    moe.set("layers", fmt::format("{}", fmt::join(moe_layers, ",")));
    moe_config = model::MoeConfig::read(moe, config.layers);
    if (moe_config.hyper.on) {  // the file may hold a row for each block, also for those without experts
      const io::Shape rows = golden.file().shape("/params/hyper_shared/layer_embedding");
      moe_config.hyper.layers = std::max(moe_config.hyper.layers, rows.empty() ? 1 : rows[0]);
    }
    if (moe_config.router == "noisy_topk") user_error("{}: moe_router = noisy_topk: a model file does not say which noise", golden.file().path());
  }
  const comm::ProcessGrid grid(world.split(0, world.rank()), 1);
  const auto exchanger = exchange::make_exchanger({.kind = "auto"}, grid.expert_group());
  const LaneLayout lanes(k_verify_lanes, sequences, config.seq_len, world.size(), world.rank());
  ParamSet params;
  const model::Task task = kind == "lm" ? model::Task::lm : model::Task::classifier;
  const auto model = model::make_model(task, classes, params, config, moe, moe_config, grid, *exchanger);
  moe.finish();
  params.allocate();
  golden.load_parameters(world, params);
  const Data data = read_data(world, golden, steps, sequences, config, classes);
  const io::Shape logits_shape = kind == "lm" ? io::Shape{sequences, config.seq_len, config.vocab} : io::Shape{sequences, classes};
  return run_steps(golden, grid, params, *model, lanes, steps, logits_shape, data);
}

}  // namespace pleiad::app
