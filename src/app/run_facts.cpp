#include "pleiad/app/run_facts.hpp"

#include <ctime>
#include <filesystem>
#include <fstream>

#include "pleiad/comm/collectives.hpp"
#include "pleiad/core/build_info.hpp"
#include "pleiad/core/host.hpp"
#include "pleiad/ops/gemm.hpp"

namespace pleiad::app {

namespace {

std::string first_line_of_cpuinfo() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("model name")) return line.substr(std::min(line.size(), line.find(':') + 2));
  }
  return "unknown";
}

}  // namespace

std::vector<std::pair<std::string, std::string>> environment_facts(const comm::Communicator& world) {
  const std::string host = " " + host_name();
  const std::vector<char> all = comm::all_gather_v<char>(world, std::span<const char>(host));
  char date[64] = "";
  const std::time_t now = std::time(nullptr);
  std::strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
  const core::BuildInfo build = core::build_info();
  std::vector<std::pair<std::string, std::string>> facts = {
      {"started", date},         {"hosts", std::string(all.begin() + 1, all.end()).substr(0, 8192)},
      {"cpu", first_line_of_cpuinfo()}, {"mpi", comm::mpi_description()},
      {"blas", ops::products_description()}, {"hdf5", io::h5_description()},
      {"compiler", std::string(build.compiler)}, {"build_type", std::string(build.build_type)},
      {"flags", std::string(build.flags)}, {"numbers", k_real_name}};
  for (const char* name : {"SLURM_JOB_ID", "SLURM_JOB_NODELIST", "SLURM_NTASKS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_CORETYPE", "ONEDNN_MAX_CPU_ISA"}) {
    if (const char* value = std::getenv(name)) facts.emplace_back(name, value);
  }
  return facts;
}

io::RunDescription describe_setup(const ModelSetup& setup, const Config& config, model::Task task) {
  const std::map<std::string, std::string> values = config.values();
  io::RunDescription run;
  run.config = config.resolved();
  run.facts = environment_facts(setup.grid.world());
  run.ranks = setup.grid.world().size();
  run.moe_layers = setup.model->moe_layers();
  for (const char* key : {"router", "preset"}) {
    if (const auto it = values.find(std::string("moe.") + key); it != values.end()) run.facts.emplace_back(key, it->second);
  }
  const bool predicts_next = model::predicts_next(task), causal = predicts_next && setup.model->causal();
  run.facts.emplace_back("task", model::task_name(task));
  run.numbers = {{"causal", causal}, {"allow_noncausal", setup.moe_config.allow_noncausal}, {"parameters_total", count_parameters(setup).total}};
  if (predicts_next && !causal) run.facts.emplace_back("note", fmt::format("the router {} looks at later tokens although the model predicts the next one: its losses are not those of a language model", setup.moe_config.router));
  if (run.moe_layers.empty()) return run;
  const model::MoeLayer& moe = *setup.model->first_moe();
  run.expert_widths = setup.moe_config.expert_widths;
  run.layer = train::layer_facts(setup.moe_config, moe);
  run.facts.emplace_back("exchange", setup.exchange_choice.in_words());
  const i64 paired = setup.exchange_config.kind == "dry_run" ? setup.exchange_config.pretend_ranks : run.ranks;
  run.pair_ranks = paired <= exchange::k_most_paired_ranks ? paired : 0;
  run.k_bins = model::k_bins(run.experts(), setup.moe_config.bank != routing::Bank::feed_forward);
  run.places = model::position_places(setup.model_config.seq_len);
  run.has_importance = moe.has_importance();
  run.generates_experts = setup.moe_config.hyper.on;
  for (const auto& [key, value] : values) {
    if (key.starts_with("moe.") && key.ends_with("_loss") && value != "0") run.auxiliary.push_back(key.substr(4, key.size() - 9));
  }
  return run;
}

io::RunDescription describe_run(const TrainJob& job, const io::CheckpointInfo& saved) {
  io::RunDescription run = describe_setup(job.setup, job.config, job.data.shape().task);
  run.seed = static_cast<i64>(job.options.train.seed);
  run.corpus_fingerprint = job.data.fingerprint();
  run.labels = job.data.labels();
  run.init_checkpoint = saved.init_checkpoint;
  run.init_step = saved.init_step;
  if (!job.request.match.empty()) run.facts.emplace_back("matched_to", std::filesystem::path(job.request.match).lexically_normal().string());
  if (const io::Corpus* corpus = job.data.corpus()) {
    run.domains = corpus->domain_names();
    run.has_floor = corpus->has_entropy() && model::predicts_next(job.data.shape().task);
  }
  return run;
}

}  // namespace pleiad::app
