#include "pleiad/app/sweep_resolver.hpp"

#include <filesystem>

#include "pleiad/app/run_options.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/io/run_marker.hpp"

namespace pleiad::app {

namespace {

/// What a run on `ranks` ranks would refuse, although one rank does not notice.
void require_ranks(const std::map<std::string, std::string>& options, i64 ranks) {
  const i64 groups = std::stoll(options.at("parallel.data_groups"));
  if (ranks % groups != 0) user_error("parallel.data_groups = {}: must divide the number of ranks, {}", groups, ranks);
  const std::string& kind = options.at("exchange.kind");
  if ((kind == "local" || kind == "dry_run") && ranks / groups > 1) user_error("exchange.kind = {}: works on 1 rank per expert group only, here are {}", kind, ranks / groups);
}

}  // namespace

SweepResolver::SweepResolver(std::string base, std::string name) : base_(std::move(base)), name_(std::move(name)), self_(comm::Communicator::alone()) {}

const Data& SweepResolver::data(const std::string& corpus, std::optional<double> mask_share) {
  const std::pair key(corpus, mask_share);
  const auto found = data_.find(key);
  return found != data_.end() ? found->second : data_.emplace(key, Data::open(self_, corpus, mask_share)).first->second;
}

sweep::Resolved SweepResolver::resolve(const std::vector<sweep::Setting>& settings, i64 ranks, std::optional<double> mean_k) {
  Config config = Config::parse(base_, name_);
  for (const sweep::Setting& s : settings) config.set(s.key + "=" + s.value);
  // A point is run from anywhere, so it names its data by a full path.
  const auto given = config.given();
  if (const auto corpus = given.find("data.corpus"); corpus != given.end() && !corpus->second.empty()) {
    config.set("data.corpus=" + std::filesystem::absolute(corpus->second).lexically_normal().string());
  }
  const RunOptions run = RunOptions::read(config);
  if (run.corpus.empty()) user_error("data.corpus is missing in {}: give a file made by 'pleiad data', also with --set data.corpus=F.h5", name_);
  const Data& with = data(run.corpus, run.train.mask_share);
  ModelSetup setup(self_, config, with.shape(), SetupFor::sizes);
  config.finish();
  with.source(setup.model_config.seq_len, run.train.seed, io::Split::validation);
  sweep::Resolved r;
  r.config = config.resolved();
  r.options = config.values();
  require_ranks(r.options, ranks);
  r.identity = io::run_identity(r.options, with.fingerprint());
  const bool experts = !setup.model->moe_layers().empty();
  double choices = selected_per_token(setup);
  r.knows_k = !experts || choices > 0 || mean_k.has_value();
  if (experts && choices == 0) choices = mean_k.value_or(0);
  const ModelSizes sizes = model_sizes(setup, choices);
  r.total_parameters = sizes.total_parameters;
  r.active_parameters = sizes.active_parameters;
  r.flops_per_token = sizes.flops_per_token;
  // Forward once, backward twice that.
  r.training_flops = 3 * sizes.flops_per_token * static_cast<double>(run.train.steps * run.train.batch * setup.model_config.seq_len);
  return r;
}

}  // namespace pleiad::app
