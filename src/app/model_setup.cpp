#include "pleiad/app/model_setup.hpp"

#include "pleiad/comm/collectives.hpp"
#include "pleiad/ops/gemm.hpp"

namespace pleiad::app {

namespace {

constexpr double k_least_stall = 0.5;  // seconds; less is no sign of anything

/// The number of data groups to set up.
i64 set_up_products(const ParallelConfig& c, SetupFor purpose) {
  if (purpose == SetupFor::sizes) return 1;
  ops::set_product_threads(static_cast<int>(c.threads));
  if (c.products == "openblas") ops::choose_library(ops::Library::openblas);
  if (c.products == "onednn") {
    if (!ops::library_available(ops::Library::onednn)) user_error("parallel.products = onednn: this build has no oneDNN; allowed: auto, openblas");
    ops::choose_library(ops::Library::onednn);
  }
  return c.data_groups;
}

/// Experts that are lent to ranks whose tokens want them. UserError where nothing could be saved.
model::ShadowConfig shadow_config(i64 most, const model::MoeConfig& moe, const exchange::ExchangeConfig& exchange, const exchange::ExchangeChoice& choice) {
  const model::ShadowConfig c{most, exchange.combine, choice.kind == "hierarchical"};
  if (c.most == 0) return c;
  if (moe.bank != routing::Bank::feed_forward) user_error("parallel.shadow = {}: the experts of moe.router = {} are single rows and cannot be lent; allowed: 0", c.most, moe.router);
  if (exchange.kind == "gather" || exchange.kind == "dry_run") {
    user_error("parallel.shadow = {}: does not go with exchange.kind = {}, {}; allowed: auto, all_to_all, hierarchical, local", c.most, exchange.kind,
               exchange.kind == "gather" ? "which brings every token to every rank anyway" : "which does not count lent experts");
  }
  return c;
}

/// What will travel: the batch of the configuration (of its default, where training is not configured), dealt out among all ranks.
exchange::ExchangeLoad expected_load(Config& config, const model::ModelConfig& model, const model::MoeConfig& moe, i64 ranks) {
  constexpr i64 k_sequences = 32;
  constexpr double k_choices = 2;  // of routers that do not know before
  const std::map<std::string, std::string> given = config.given();
  const auto batch = given.find("train.batch_sequences");
  const i64 sequences = batch == given.end() ? k_sequences : Spec("train", {{"batch_sequences", batch->second}}).integer("batch_sequences", k_sequences, 1, i64{1} << 40, "sequences in a global batch");
  const double choices = make_lone_router(config, model, moe)->selected_per_token();
  // As experts::ExpertBank::token_by_token, which is not there yet.
  const exchange::ChunksOf chunks_of = moe.bank == routing::Bank::feed_forward ? exchange::ChunksOf::experts : exchange::ChunksOf::tokens;
  return {std::max<i64>(1, sequences * model.seq_len / ranks), model.width, choices > 0 ? choices : k_choices, chunks_of};
}

}  // namespace

ParallelConfig ParallelConfig::read(Spec& s) {
  ParallelConfig c;
  c.threads = s.integer("blas_threads", 1, 1, 1024, "threads of each rank in one matrix product");
  c.products = s.choice("products", "auto", {"auto", "openblas", "onednn"}, "library of the matrix products; auto: oneDNN where this build has it and the processor AVX-512, else OpenBLAS");
  c.data_groups = s.integer("data_groups", 1, 1, i64{1} << 20, "copies of the experts; each group of ranks/data_groups ranks shares out one copy");
  c.placement = train::PlacementConfig::read(s);
  c.memory_check = s.choice("memory_check", "refuse", {"refuse", "warn", "none"}, "a run whose predicted memory its nodes do not have is refused, or begins with a note; none: nothing is tried and predicted");
  c.stall_seconds = s.number("stall_seconds", 600, 0, 1e9,
                             "training ends with a message that says who is where when nothing has moved for so many seconds, at least 0.5; 0: never");
  if (c.stall_seconds > 0 && c.stall_seconds < k_least_stall) user_error("parallel.stall_seconds = {}: allowed are 0 and {} to 1e9", c.stall_seconds, k_least_stall);
  c.shadow = s.integer("shadow", 0, 0, i64{1} << 20,
                       "experts of a layer, at most, whose weights go to all ranks for a step in place of tokens to them, where that is fewer bytes; 0: none");
  return c;
}

std::unique_ptr<routing::Router> make_lone_router(Config& config, const model::ModelConfig& model, const model::MoeConfig& moe) {
  ParamSet unused;
  return routing::router_variant(moe.router).make({unused, "", model.width, moe.expert_widths, moe.split}, config.section("moe"));
}

ModelSetup::ModelSetup(const comm::Communicator& world, Config& config, const DataShape& data, SetupFor purpose)
    : parallel(ParallelConfig::read(config.section("parallel"))),
      grid(world.split(0, world.rank()), set_up_products(parallel, purpose)),
      model_config(model::ModelConfig::read(config.section("model"), data.vocab)),
      moe_config(model::MoeConfig::read(config.section("moe"), model_config.layers)),
      exchange_config(exchange::ExchangeConfig::read(config.section("exchange"))),
      exchange_choice(choose_exchange(purpose == SetupFor::sizes ? exchange::ExchangeConfig{"auto"} : exchange_config, grid.expert_group(),
                                      moe_config.layers.empty() ? exchange::ExchangeLoad{} : expected_load(config, model_config, moe_config, world.size()))),
      exchanger(make_exchanger(exchange_config, exchange_choice, grid.expert_group())) {
  if (exchange_config.kind == "dry_run" && world.size() > 1) {
    user_error("exchange.kind = dry_run: works on 1 rank only, here are {}; allowed: auto, all_to_all, hierarchical, gather", world.size());
  }
  moe_config.shadow = shadow_config(parallel.shadow, moe_config, exchange_config, exchange_choice);
  // A dense model still reads the router's options, so that a config with experts switched off stays valid.
  if (moe_config.layers.empty()) make_lone_router(config, model_config, moe_config);
  model = model::make_model(data.task, data.classes, params, model_config, config.section("moe"), moe_config, grid, *exchanger);
}

const model::Model& ModelSetup::rebuild(const train::Owners& owners, ParamSet& fresh, Config& config, const DataShape& data) {
  moe_config.owners = owners;
  model = model::make_model(data.task, data.classes, fresh, model_config, config.section("moe"), moe_config, grid, *exchanger);
  return *model;
}

ParameterCount count_parameters(const ModelSetup& setup) {
  ParameterCount c;
  i64 mine = 0, sparse = 0;
  for (const ParamInfo& p : setup.params.infos()) {
    if (!p.trainable) continue;
    (p.owner == Owner::replicated ? c.dense : mine) += p.size();
    if (p.row_block()) sparse += p.size();
  }
  c.per_rank_sparse = comm::max_over<i64>(setup.grid.world(), sparse);
  c.per_rank_largest = c.dense + comm::max_over<i64>(setup.grid.world(), mine);
  c.total = c.dense + comm::sum_over<i64>(setup.grid.expert_group(), mine);
  return c;
}

ModelSizes model_sizes(const ModelSetup& setup, double choices) {
  const ParameterCount n = count_parameters(setup);
  ModelSizes s{static_cast<double>(n.total), static_cast<double>(n.total), setup.model->fixed_flops_per_token(), 0};
  if (setup.model->moe_layers().empty()) return s;
  const model::MoeLayer& moe = *setup.model->first_moe();
  const double layers = static_cast<double>(setup.model->moe_layers().size()), experts = static_cast<double>(moe.expert_map().experts());
  double one = 0;  // forward operations of an expert of mean width
  for (i64 e = 0; e < moe.expert_map().experts(); ++e) one += moe.flops_per_row(e) / experts;
  s.active_parameters = static_cast<double>(n.dense) + choices / experts * static_cast<double>(n.total - n.dense);
  s.expert_flops_per_token = choices * layers * (one + moe.side_flops_per_selection());
  s.flops_per_token += s.expert_flops_per_token;
  return s;
}

double selected_per_token(const ModelSetup& setup) {
  const model::MoeLayer* moe = setup.model->first_moe();
  return moe ? moe->selected_per_token() : 0;
}

namespace {

Config stored_config(const io::CheckpointInfo& info, const std::string& name, const std::vector<std::string>& settings) {
  Config config = Config::parse(info.config, name);
  config.set_all(settings);
  return config;
}

}  // namespace

LoadedModel::LoadedModel(const comm::Communicator& world, const std::string& checkpoint, const std::vector<std::string>& settings)
    : info(io::read_checkpoint_info(world, checkpoint)), config(stored_config(info, checkpoint, settings)), setup(world, config, DataShape{info.vocab, info.task, static_cast<i64>(info.labels.size())}) {
  // The sections that only training reads are known to be complete: they come from a resolved configuration.
  for (const char* section : {"model", "moe", "parallel", "exchange"}) config.section(section).finish();
  setup.params.allocate();
  io::load_checkpoint(setup.grid, checkpoint, setup.params, nullptr);
}

}  // namespace pleiad::app
