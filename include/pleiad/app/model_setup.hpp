// Everything a command needs to run a model, built from the configuration in one place: grid, exchanger, parameters, model.
#pragma once
#include <memory>

#include "pleiad/app/config.hpp"
#include "pleiad/exchange/choice.hpp"
#include "pleiad/io/checkpoint_h5.hpp"
#include "pleiad/model/model.hpp"
#include "pleiad/train/trainer.hpp"

namespace pleiad::app {

/// What the data say about the model.
struct DataShape {
  i64 vocab = 0;
  model::Task task = model::Task::lm;
  i64 classes = 0;  ///< of a classifier
};

/// Section [parallel].
struct ParallelConfig {
  i64 threads = 1, data_groups = 1;
  std::string products;        ///< library: auto, openblas, onednn
  train::PlacementConfig placement;
  i64 shadow = 0;              ///< experts of a layer that may be lent
  std::string memory_check;    ///< refuse, warn or none (app/memory_check.hpp)
  double stall_seconds = 0;    ///< for the watchdog (comm/watchdog.hpp)
  static ParallelConfig read(Spec& spec);
};

/// A router that belongs to no model: what it says of itself follows from the configuration.
std::unique_ptr<routing::Router> make_lone_router(Config& config, const model::ModelConfig& model, const model::MoeConfig& moe);

/// What a setup is for: a run on the ranks there are, or to know its sizes, whatever number of ranks will run it.
enum class SetupFor { running, sizes };

/// Members are built in this order and refer to earlier ones; not copied, not moved.
struct ModelSetup {
  /// Reads [parallel], [exchange], [model] and [moe]; the values are not allocated yet. collective.
  ModelSetup(const comm::Communicator& world, Config& config, const DataShape& data, SetupFor purpose = SetupFor::running);
  /// Makes `model` anew over other owners of the experts, with its parameters in `fresh`; `config` and `data` as at first. collective.
  const model::Model& rebuild(const train::Owners& owners, ParamSet& fresh, Config& config, const DataShape& data);
  ModelSetup(const ModelSetup&) = delete;
  ModelSetup& operator=(const ModelSetup&) = delete;

  ParallelConfig parallel;
  comm::ProcessGrid grid;
  model::ModelConfig model_config;
  model::MoeConfig moe_config;
  exchange::ExchangeConfig exchange_config;
  exchange::ExchangeChoice exchange_choice;
  std::unique_ptr<exchange::Exchanger> exchanger;
  ParamSet params;
  std::unique_ptr<model::Model> model;
};

/// Trainable parameters of the whole model, each expert counted once. collective.
struct ParameterCount {
  i64 total = 0;
  i64 dense = 0;             ///< replicated on every rank
  i64 per_rank_largest = 0;  ///< on the rank that holds most
  i64 per_rank_sparse = 0;   ///< of those, row-sparse ones
};
ParameterCount count_parameters(const ModelSetup& setup);

/// What a model of `choices` experts per token and MoE layer takes, before a capacity. collective.
struct ModelSizes {
  double total_parameters = 0, active_parameters = 0;  ///< trainable; active: replicated ones and those of a token's experts, mean
  double flops_per_token = 0;                          ///< forward, the whole model
  double expert_flops_per_token = 0;                   ///< of that, experts and adapters of selected experts
};
ModelSizes model_sizes(const ModelSetup& setup, double choices);
/// routing::Router::selected_per_token(); 0 without experts too.
double selected_per_token(const ModelSetup& setup);

/// A model with the weights of a checkpoint, ready for evaluation; `settings` override its configuration. collective.
struct LoadedModel {
  LoadedModel(const comm::Communicator& world, const std::string& checkpoint, const std::vector<std::string>& settings);

  io::CheckpointInfo info;
  Config config;
  ModelSetup setup;
};

}  // namespace pleiad::app
