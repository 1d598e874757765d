#include "pleiad/app/verify.hpp"

#include <algorithm>
#include <numeric>
#include <optional>

#include "pleiad/comm/agree.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/comm/lane_sum.hpp"
#include "pleiad/model/moe_layer.hpp"
#include "pleiad/train/grad_sync.hpp"

namespace pleiad::app {

io::GoldenArray gather_rows(const comm::Communicator& world, ConstMatrixView rows, io::Shape shape) {
  std::vector<double> mine;
  for (i64 i = 0; i < rows.rows; ++i) mine.insert(mine.end(), rows.row(i), rows.row(i) + rows.cols);
  return {std::move(shape), comm::all_gather_v<double>(world, mine), false};
}

void gather_routing(const comm::Communicator& world, const routing::Assignment& a, const std::string& prefix, io::GoldenResults& results) {
  std::vector<double> count, expert, weight;
  i64 dropped = 0;
  for (i64 t = 0; t < a.tokens(); ++t) {
    count.push_back(0);
    for (i64 i = a.offset[t]; i < a.offset[t + 1]; ++i) {
      dropped += !a.kept[i];
      if (!a.kept[i]) continue;
      count.back() += 1;
      expert.push_back(a.expert[i]);
      weight.push_back(a.weight[i]);
    }
  }
  std::vector<double> offset = comm::all_gather_v<double>(world, count);
  offset.insert(offset.begin(), 0);
  std::partial_sum(offset.begin(), offset.end(), offset.begin());
  const std::vector<double> experts = comm::all_gather_v<double>(world, expert), weights = comm::all_gather_v<double>(world, weight);
  const i64 entries = static_cast<i64>(experts.size());
  results[prefix + "offset"] = {{static_cast<i64>(offset.size())}, offset, true};
  results[prefix + "expert"] = {{entries}, experts, true};
  results[prefix + "weight"] = {{entries}, weights, false};
  results[prefix + "dropped"] = {{}, {static_cast<double>(comm::sum_over<i64>(world, dropped))}, true};
}

void gather_parameters(const comm::ProcessGrid& grid, ParamSet& params, const std::vector<std::string>& names, bool gradients,
                       const std::string& prefix, io::GoldenResults& results) {
  for (const std::string& name : names) {
    const ParamInfo* info = params.find(name);
    // Every rank needs the shape to take part; what an owner brings is added to the zeros of the others, which is exact.
    std::vector<i64> shape = info ? info->shape : std::vector<i64>{};
    shape.resize(3, 0);
    comm::all_reduce_max<i64>(grid.world(), shape);
    std::erase(shape, 0);
    const i64 trainable = comm::max_over<i64>(grid.world(), info && info->trainable);
    if (gradients && !trainable) continue;
    i64 count = 1;
    for (const i64 extent : shape) count *= extent;
    std::vector<double> values(static_cast<std::size_t>(count), 0.0);
    if (info && (info->owner == Owner::expert || grid.expert_group().root())) {
      if (gradients) {
        std::ranges::copy(params.whole_grad({info->index}), values.begin() + info->first_element());
      } else {
        std::ranges::copy(params.slice(*info, params.values(info->owner)), values.begin() + info->first_element());
      }
    }
    comm::all_reduce_sum<double>(grid.expert_group(), values);
    results[prefix + name] = {shape, std::move(values), false};
  }
}

io::GoldenResults verify_layer(const comm::Communicator& world, const io::GoldenFile& golden) {
  const i64 limit = i64{1} << 31;
  const i64 width = golden.integer("d_model", 1, limit), sequences = golden.integer("sequences", 1, limit);
  const i64 length = golden.integer("seq_len", 1, limit), tokens = sequences * length;
  Spec moe = golden.moe_section("");
  const comm::ProcessGrid grid(world.split(0, world.rank()), 1);
  const auto exchanger = exchange::make_exchanger({.kind = "auto"}, grid.expert_group());
  model::MoeConfig config = model::MoeConfig::read(moe, 1);
  ParamSet params;
  std::optional<model::HyperNetwork> hyper;
  i64 layer_index = 0;
  if (config.hyper.on) {
    const io::Shape embedding = golden.file().shape("/params/hyper/layer_embedding");
    config.hyper.layers = embedding.empty() ? 1 : embedding[0];
    layer_index = golden.integer("layer_index", 0, config.hyper.layers - 1);
    hyper.emplace(params, "hyper/", config.hyper, width);
  }
  const model::MoeLayer layer(params, moe, config, "", width, 0, 1, grid, *exchanger, hyper ? &*hyper : nullptr, layer_index);
  moe.finish();
  params.allocate();
  golden.load_parameters(world, params);

  const LaneLayout lanes(k_verify_lanes, sequences, length, world.size(), world.rank());
  params.allocate_grads(lanes.my_lanes().count);
  const Range mine{lanes.first_token(), lanes.my_tokens()};
  Matrix x(mine.count, width), d_y(mine.count, width), noise, attention;
  std::vector<std::uint8_t> real_tokens;
  i64 heads = 0, real_in_batch = -1;
  comm::agree_on(world, [&] {
    const auto read = [&](const char* dataset, i64 columns, Matrix& into) {
      const io::Shape expected{tokens, columns};
      if (golden.file().shape(dataset) != expected) user_error("{}: {} is not {} x {}", golden.file().path(), dataset, tokens, columns);
      into.resize(mine.count, columns);
      golden.file().read_rows<real>(dataset, mine.count ? std::vector<Range>{mine} : std::vector<Range>{}, into.flat());
    };
    read("/input/x", width, x);
    read("/input/d_y", width, d_y);
    if (config.router == "damoe") {
      heads = golden.integer("attention_heads", 1, limit);
      if (golden.file().shape("/input/attention") != io::Shape{sequences, heads, length, length}) {
        user_error("{}: /input/attention is not {} x {} x {} x {}", golden.file().path(), sequences, heads, length, length);
      }
      attention.resize(lanes.my_sequences().count * heads * length, length);
      const Range own = lanes.my_sequences();
      golden.file().read_rows<real>("/input/attention", own.count ? std::vector<Range>{own} : std::vector<Range>{}, attention.flat());
    }
    if (golden.integer_or_0("padded", 0, 1) != 0) {
      const std::vector<double> mask = golden.file().read<double>("/input/mask", io::Shape{sequences, length});
      real_in_batch = std::ranges::count_if(mask, [](double m) { return m != 0; });
      for (i64 t = mine.begin; t < mine.end(); ++t) real_tokens.push_back(mask[t] != 0);
    }
    if (config.router == "noisy_topk") read("/input/noise", static_cast<i64>(config.expert_widths.size()), noise);
  });

  // A product-key layer may ask for its running statistics to be used instead of the batch's.
  const std::string batch_norm = golden.text_or_none("batch_norm");
  const bool training = batch_norm != "eval";
  PhaseTimes times;
  const model::StepContext context{grid, lanes, times, 0, 0, training, noise, {}, real_tokens, real_in_batch};
  model::MoeTrace trace;
  Matrix y(mine.count, width), d_x(mine.count, width);
  layer.forward(params, x, {attention, heads}, context, trace, y);
  layer.backward(params, x, d_y, context, trace, 1.0, d_x);
  train::sync_gradients(params, lanes, grid);

  double objective = comm::lane_statistics(world, lanes, 1, [&](i64 lane, double* row) {
    const Range rows = lanes.local_rows(lane);
    for (i64 t = rows.begin; t < rows.end(); ++t) {
      for (i64 j = 0; j < width; ++j) row[0] += static_cast<double>(y(t, j)) * static_cast<double>(d_y(t, j));
    }
  })[0];
  io::GoldenResults results;
  for (const routing::AuxLoss& loss : trace.router->losses) {
    objective += loss.coefficient * loss.value;
    results["losses/" + loss.name] = {{}, {loss.value}, false};
  }
  results["losses/objective"] = {{}, {objective}, false};
  results["output/y"] = gather_rows(world, y, {tokens, width});
  results["output/d_x"] = gather_rows(world, d_x, {tokens, width});
  const bool product_keys = config.router == "peer" || config.router == "pkm";
  if (config.router != "dense" && !product_keys) {
    results["routing/logits"] = gather_rows(world, trace.router->logits, {tokens, static_cast<i64>(config.expert_widths.size())});
  }
  gather_routing(world, trace.router->assignment, "routing/", results);
  results["capacity"] = {{}, {static_cast<double>(trace.router->capacity)}, true};
  if (config.router == "damoe") {
    Matrix importance(mine.count, 1);
    std::ranges::copy(trace.router->importance, importance.data());
    results["routing/importance"] = gather_rows(world, importance, {tokens});
  }
  gather_parameters(grid, params, golden.names_below("/params"), true, "grads/", results);
  layer.update_buffers(params, context, trace);
  if (product_keys && batch_norm == "train") {
    for (const char* statistic : {"bn_running_mean", "bn_running_var"}) {
      gather_parameters(grid, params, {config.router + "/" + statistic}, false, "", results);
      auto values = results.extract(config.router + "/" + statistic);
      values.key() = std::string("output/") + statistic;
      results.insert(std::move(values));
    }
  }
  if (config.router == "sigmoid_bias") {
    gather_parameters(grid, params, {"router/bias"}, false, "", results);
    auto bias = results.extract("router/bias");
    bias.key() = "output/bias_after";
    results.insert(std::move(bias));
  }
  return results;
}

}  // namespace pleiad::app
