#include "pleiad/app/step_model.hpp"

#include "pleiad/core/error.hpp"

namespace pleiad::app {

namespace {

double choices_of(const routing::Router& router, const model::MoeConfig& moe, const KnownChoices& known) {
  const double fixed = router.selected_per_token(), experts = static_cast<double>(moe.expert_widths.size());
  if (known.recorded > 0) return known.recorded;
  if (fixed > 0 && known.said > 0) user_error("--mean-k {}: moe.router = {} gives every token {} experts", known.said, moe.router, fixed);
  if (fixed > 0) return fixed;
  if (known.said == 0) user_error("moe.router = {}: how many experts a token has depends on the data; give --mean-k or a recording (--routing)", moe.router);
  if (known.said > experts) user_error("--mean-k {}: must be at most the number of experts, {}", known.said, experts);
  return known.said;
}

/// Whether the gradient of a token's logits has so few entries that the router goes through these alone (routing/softmax_router.cpp): no loss is about all of them, weights are shares of the chosen ones.
bool few_gradients(const sim::StepModel& m, const std::map<std::string, std::string>& values) {
  for (const char* loss : {"moe.balance_loss", "moe.penalty_loss", "moe.entropy_loss", "moe.z_loss"}) {
    if (values.count(loss) && std::stod(values.at(loss)) != 0) return false;
  }
  if (m.moe.router == "expert_choice" || m.moe.router == "noisy_topk" || (values.count("moe.renormalize") && values.at("moe.renormalize") == "false")) return false;
  return 4 * m.choices <= static_cast<double>(m.experts());
}

}  // namespace

SimulatedRun read_simulated_run(Config& config, const KnownChoices& known) {
  SimulatedRun r;
  Spec& section = config.section("model");
  const i64 vocab = section.integer("vocab", 256, 2, i64{1} << 30, "number of different tokens; 256 for a prediction if not given");
  const ParallelConfig parallel = ParallelConfig::read(config.section("parallel"));
  sim::StepModel& m = r.model;
  m.model = model::ModelConfig::read(section, vocab);
  m.moe = model::MoeConfig::read(config.section("moe"), m.model.layers);
  m.exchange = exchange::ExchangeConfig::read(config.section("exchange"));
  r.run = RunOptions::read(config);
  const auto router = make_lone_router(config, m.model, m.moe);
  config.finish();
  m.batch = r.run.train.batch;
  m.lanes = r.run.train.lanes;
  m.data_groups = parallel.data_groups;
  const std::map<std::string, std::string> values = config.values();
  const auto number = [&](const char* key, double fallback) { return values.count(key) ? std::stod(values.at(key)) : fallback; };
  if (!m.moe.layers.empty()) {
    m.router_flops = router->flops_per_token();
    m.router_meets = m.moe.bank == routing::Bank::feed_forward && m.router_flops > 0;
    m.heads = m.moe.bank == routing::Bank::feed_forward ? 1 : static_cast<i64>(number("moe.heads", 1));
    m.choices = choices_of(*router, m.moe, known);
    m.few_gradients = few_gradients(m, values);
    m.query = m.moe.bank == routing::Bank::feed_forward ? 0 : static_cast<i64>(number("moe.query_dim", 64));
  }
  r.shape = {.experts = 1, .seq_len = m.model.seq_len, .choices = 1, .seed = r.run.train.seed};  // of a dense model: never asked for
  if (!m.moe.layers.empty()) {
    r.shape.experts = m.experts();
    r.shape.choices = m.choices / static_cast<double>(m.heads);
    r.shape.heads = m.heads;
    r.shape.capacity = number("moe.capacity_factor", 0) * m.choices / static_cast<double>(m.experts()) * static_cast<double>(m.moe.split);
    m.claims = m.moe.router == "expert_choice" ? static_cast<double>(m.experts()) : r.shape.capacity > 0 ? m.choices : 0;
  }
  if (parallel.shadow > 0) r.notes.emplace_back("not counted: experts that are lent (parallel.shadow)");
  if (parallel.placement.when != train::PlacementConfig::When::never) r.notes.emplace_back("not counted: experts that move during training (parallel.rebalance)");
  if (parallel.threads > 1) r.notes.emplace_back("not counted: threads (parallel.blas_threads); the rates of the cluster file are those of a rank");
  return r;
}

}  // namespace pleiad::app
