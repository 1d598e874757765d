#include <limits>

#include "pleiad/app/verify.hpp"
#include "pleiad/comm/agree.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/model/language_model.hpp"
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
  c.dense_width = golden.integer("dense_hidden", 0, limit);
  const std::string dense = golden.text("dense_activation");
  if (dense == "relu" || dense == "gelu" || dense == "swiglu") {
    c.dense_kind = experts::FeedForwardKind::from(dense, golden.integer("dense_expert_bias", 0, 1) != 0);
  } else if (dense != "none") {
    user_error("{}: dense_activation = {}: must be relu, gelu, swiglu or none", golden.file().path(), dense);
  }
  c.tied_head = !golden.file().exists("/params/head");
  c.rms_eps = golden.number("rms_eps");
  c.rope_base = golden.number("rope_base");
  return c;
}

/// Tokens of all steps [steps, B, L+1], the same on every rank. UserError on all ranks if they do not fit the model.
std::vector<std::int32_t> read_tokens(const comm::Communicator& world, const io::GoldenFile& golden, i64 steps, i64 sequences,
                                      const model::ModelConfig& c) {
  std::vector<std::int32_t> tokens;
  comm::agree_on(world, [&] {
    tokens = golden.file().read<std::int32_t>("/data/tokens", io::Shape{steps, sequences, c.seq_len + 1});
    for (const std::int32_t t : tokens) {
      if (t < 0 || t >= c.vocab) user_error("{}: /data/tokens holds {}, the vocabulary is 0 to {}", golden.file().path(), t, c.vocab - 1);
    }
  });
  return tokens;
}

model::Batch batch_of(const std::vector<std::int32_t>& tokens, i64 step, const LaneLayout& lanes) {
  model::Batch batch;
  const Range mine = lanes.my_sequences();
  for (i64 s = mine.begin; s < mine.end(); ++s) {
    const auto first = tokens.begin() + (step * lanes.sequences() + s) * (lanes.seq_len() + 1);
    batch.input.insert(batch.input.end(), first, first + lanes.seq_len());
    batch.target.insert(batch.target.end(), first + 1, first + lanes.seq_len() + 1);
  }
  return batch;
}

void append(io::GoldenResults& results, const std::string& name, std::vector<double> values, i64 steps, io::Shape inner = {}) {
  io::GoldenArray& array = results[name];
  inner.insert(inner.begin(), steps);
  array.shape = inner;
  array.values.insert(array.values.end(), values.begin(), values.end());
}

void keep_first_step(const comm::Communicator& world, const model::LanguageModel& model, const model::ModelTrace& trace,
                     const LaneLayout& lanes, ConstMatrixView logits, io::GoldenResults& results) {
  const i64 width = model.config().width;
  const io::Shape stream{lanes.sequences(), lanes.seq_len(), width};
  results["step0/logits"] = gather_rows(world, logits, {lanes.sequences(), lanes.seq_len(), model.config().vocab});
  for (std::size_t i = 0; i < trace.blocks.size(); ++i) {
    const Matrix& after = i + 1 < trace.blocks.size() ? trace.blocks[i + 1].x_in : trace.x_out;
    results[fmt::format("step0/block_{}", i)] = gather_rows(world, after, stream);
  }
  for (const i64 layer : model.moe_layers()) {
    gather_routing(world, trace.blocks[layer].moe.router->assignment, fmt::format("step0/routing_{}/", layer), results);
  }
}

}  // namespace

io::GoldenResults verify_model(const comm::Communicator& world, const io::GoldenFile& golden) {
  const i64 limit = i64{1} << 31;
  if (golden.text("kind") != "lm") user_error("{}: kind = {} is not supported; supported is lm", golden.file().path(), golden.text("kind"));
  const model::ModelConfig config = model_config(golden);
  const i64 steps = golden.integer("steps", 1, limit), sequences = golden.integer("sequences", 1, limit);
  Spec moe("moe");
  model::MoeConfig moe_config;
  const std::vector<i64> moe_layers = golden.integers("moe_layers");
  if (!moe_layers.empty()) {
    moe = golden.moe_section("moe_");
    moe.set("allow_noncausal", "true");
    moe.set("layers", fmt::format("{}", fmt::join(moe_layers, ",")));
    moe_config = model::MoeConfig::read(moe, config.layers);
    if (moe_config.router == "noisy_topk") user_error("{}: moe_router = noisy_topk: a model file does not say which noise", golden.file().path());
  }
  const comm::ProcessGrid grid(world.split(0, world.rank()), 1);
  const auto exchanger = exchange::make_exchanger({.kind = "auto"}, grid.expert_group());
  ParamSet params;
  const model::LanguageModel model(params, config, moe, moe_config, grid, *exchanger);
  moe.finish();
  params.allocate();
  golden.load_parameters(world, params);
  const std::vector<std::int32_t> tokens = read_tokens(world, golden, steps, sequences, config);
  const std::vector<std::string> names = golden.names_below("/params");

  const LaneLayout lanes(k_verify_lanes, sequences, config.seq_len, world.size(), world.rank());
  params.allocate_grads(lanes.my_lanes().count);
  train::Adam adam({golden.number("beta1"), golden.number("beta2"), golden.number("adam_eps"), golden.number("weight_decay")}, params);
  const double rate = golden.number("lr"), clip = golden.number("grad_clip");
  const i64 experts = static_cast<i64>(moe_config.expert_widths.size());
  PhaseTimes times;
  model::ModelTrace trace;
  io::GoldenResults results;
  for (i64 step = 0; step < steps; ++step) {
    const model::StepContext context{grid, lanes, times, 0, step, true};
    const model::Batch batch = batch_of(tokens, step, lanes);
    params.zero_grads();
    model.forward(params, batch, context, trace);
    if (step == 0) {
      Matrix logits;
      model.logits(params, trace, lanes, logits);
      keep_first_step(world, model, trace, lanes, logits, results);
    }
    model.backward(params, batch, context, trace);
    train::sync_gradients(params, lanes, grid);
    if (step == 0) gather_parameters(grid, params, names, true, "grads/", results);
    const double norm = train::gradient_norm(params, grid);
    append(results, "trace/task_loss", {trace.report.task}, steps);
    append(results, "trace/total_loss", {trace.report.total}, steps);
    append(results, "trace/grad_norm", {norm}, steps);
    for (const routing::AuxLoss& loss : trace.report.auxiliary) append(results, "trace/aux/" + loss.name, {loss.value}, steps);
    for (const model::LayerStatistics* s : model.statistics(trace)) {
      append(results, "trace/expert_tokens", {s->expert_tokens.begin(), s->expert_tokens.end()}, steps,
             {static_cast<i64>(moe_layers.size()), experts});
      results["trace/expert_tokens"].whole_numbers = true;
    }
    adam.step(params, rate, train::clip_scale(norm, clip), step + 1);
    model.update_buffers(params, context, trace);
  }
  gather_parameters(grid, params, names, false, "final/", results);
  return results;
}

}  // namespace pleiad::app
