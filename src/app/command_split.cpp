// pleiad split CHECKPOINT|RUN --experts N --out F.h5: dense feed-forward layers become small experts (model/dense_to_sparse.hpp).
#include <iostream>

#include "pleiad/app/arguments.hpp"
#include "pleiad/app/model_setup.hpp"
#include "pleiad/app/run_options.hpp"
#include "pleiad/app/same_run.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/model/dense_to_sparse.hpp"

namespace pleiad::app {

namespace {

/// The dense model's configuration with a section [moe] that describes the split model. What adds or changes parameters is fixed (left at
/// its default where no value stands here).
Config split_config(LoadedModel& dense, const std::string& name, i64 experts, const std::string& layers, const std::vector<std::string>& settings) {
  Config config = Config::parse(dense.info.config, name);
  config.section("moe") = Spec("moe");
  const std::map<std::string, std::string> fixed = {{"moe.preset", "none"},
                                                    {"moe.router", "threshold"},
                                                    {"moe.layers", layers},
                                                    {"moe.experts", fmt::format("{}", experts)},
                                                    {"moe.expert_width", fmt::format("{}", dense.setup.model_config.dense_width / experts)},
                                                    {"moe.expert_widths", ""},
                                                    {"moe.width_distribution", ""},
                                                    {"moe.split", ""},
                                                    {"moe.adapter", ""},
                                                    {"moe.activation", dense.config.values().at("model.dense_activation")},
                                                    {"moe.expert_bias", dense.setup.model_config.dense_kind.bias ? "true" : "false"},
                                                    {"moe.hyper", "false"}};
  for (const auto& [key, value] : fixed) {
    if (!value.empty()) config.set(key + "=" + value);
  }
  config.set("moe.threshold=1");
  config.set("moe.renormalize=false");
  for (const std::string& s : settings) {
    const std::string key = s.substr(0, s.find('='));
    if (!key.starts_with("moe.")) user_error("--set {}: split takes options of section [moe] only", s);
    if (fixed.count(key)) user_error("--set {}: split itself decides {}", s, key);
    config.set(s);
  }
  return config;
}

}  // namespace

int run_split(const comm::Communicator& world, const Arguments& arguments) {
  namespace options = boost::program_options;
  options::options_description description("options");
  description.add_options()("checkpoint", options::value<std::string>(), "checkpoint of a dense model, or a run directory (its newest one)")(
      "experts", options::value<i64>(), "experts that each dense layer is cut into; must divide its hidden width")(
      "layers", options::value<std::string>()->default_value("all"), "blocks to cut: all, or a list such as 1,3")(
      "out", options::value<std::string>(), "checkpoint file to make")(
      "set", options::value<std::vector<std::string>>()->composing(), "moe.key=value, for the configuration stored with it; may be repeated");
  Values values;
  const std::string usage =
      "usage: pleiad split CHECKPOINT|RUN --experts N --out F.h5 [--layers 1,3] [--set moe.key=value ...]\n"
      "Cuts the dense feed-forward layers of a checkpoint into small experts behind a threshold router that knows nothing yet: at\n"
      "moe.threshold = 1 it computes what the dense model does. Go on with pleiad train --init F.h5 and pleiad eval --sweep.";
  if (!parse_arguments(world, arguments, usage, description, "checkpoint", values)) return k_exit_ok;
  const std::string given = value_or<std::string>(values, "checkpoint", ""), out = value_or<std::string>(values, "out", "");
  if (given.empty()) user_error("split: no checkpoint given; usage: pleiad split CHECKPOINT|RUN --experts N --out F.h5");
  if (!values.count("experts")) user_error("split: --experts is missing; give the number of experts to cut each dense layer into");
  if (out.empty()) user_error("split: --out is missing; give the checkpoint file to make");
  const i64 experts = values["experts"].as<i64>();
  if (experts < 2) user_error("--experts {}: must be at least 2", experts);
  require_new_file(world, "--out", out);

  const std::string checkpoint = find_checkpoint(world, given);
  LoadedModel dense(world, checkpoint, {});
  const i64 hidden = dense.setup.model_config.dense_width;
  if (!dense.setup.moe_config.layers.empty()) {
    user_error("{}: blocks {} have experts already; split takes a dense model (moe.layers = none)", checkpoint, fmt::join(dense.setup.moe_config.layers, ","));
  }
  if (hidden % experts != 0) user_error("--experts {}: must divide the hidden width {} of the dense layers (model.dense_width)", experts, hidden);
  Config config = split_config(dense, checkpoint, experts, values["layers"].as<std::string>(), value_or<std::vector<std::string>>(values, "set", {}));
  ModelSetup sparse(world, config, DataShape{dense.info.vocab, dense.info.task, static_cast<i64>(dense.info.labels.size())});
  RunOptions::read(config);
  config.finish();
  if (sparse.moe_config.layers.empty()) user_error("--layers {}: names no block to split", values["layers"].as<std::string>());

  sparse.params.allocate();
  model::split_dense(dense.setup.params, sparse.params, experts);
  io::CheckpointInfo info = dense.info;
  info.step = 0;
  info.config = config.resolved();
  info.start_from(checkpoint, dense.info.step);
  io::write_checkpoint(sparse.grid, out, info, sparse.params, nullptr);
  if (world.root()) {
    std::cout << fmt::format("{}: the dense layers of blocks {} cut into {} experts of width {}\n", out, fmt::join(sparse.moe_config.layers, ","), experts,
                             hidden / experts);
  }
  return k_exit_ok;
}

}  // namespace pleiad::app
