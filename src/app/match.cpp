#include "pleiad/app/match.hpp"

#include <cmath>
#include <numeric>

#include "pleiad/app/config.hpp"
#include "pleiad/comm/agree.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/io/run_record.hpp"
#include "pleiad/model/block.hpp"

namespace pleiad::app {

namespace {

std::string histogram_of_last(const io::H5File& file) {
  const std::string name = "/evaluation/k_histogram";
  if (!file.exists(name)) return "";
  const io::Shape shape = file.shape(name);
  if (shape.size() != 3 || shape[0] == 0) user_error("{}: {} should have evaluations, layers and bins", file.path(), name);
  std::vector<i64> tokens(static_cast<std::size_t>(shape[1] * shape[2])), sum(static_cast<std::size_t>(shape[2]), 0);
  file.read_rows<i64>(name, {{shape[0] - 1, 1}}, tokens);
  for (std::size_t i = 0; i < tokens.size(); ++i) sum[i % sum.size()] += tokens[i];
  while (sum.size() > 1 && sum.back() == 0) sum.pop_back();
  return fmt::format("{}", fmt::join(sum.begin() + 1, sum.end(), ","));
}

/// Section [moe] of a configuration as far as no router reads it.
model::MoeConfig moe_of(Config& config, i64& width) {
  const std::map<std::string, std::string> given = config.given();
  const auto vocab = given.find("model.vocab");
  const model::ModelConfig model = model::ModelConfig::read(config.section("model"), vocab == given.end() ? 256 : std::stoll(vocab->second));
  width = model.width;
  return model::MoeConfig::read(config.section("moe"), model.layers);
}

}  // namespace

Match read_match(const std::string& run) {
  const std::string path = run.ends_with(".h5") ? run : run + "/run.h5";
  const io::H5File file = io::H5File::open(path);
  file.require_format(io::k_run_format);
  const std::vector<double> flops = file.read<double>("/evaluation/expert_flops_per_token");
  if (flops.empty() || !std::isfinite(flops.back())) user_error("--match {}: its record has no evaluation yet", run);
  if (flops.back() <= 0) user_error("--match {}: the run has no experts to match", run);
  return {flops.back(), histogram_of_last(file)};
}

double matched_mean_k(const Match& match, Config config) {
  i64 width = 0;
  const model::MoeConfig moe = moe_of(config, width);
  if (moe.layers.empty()) return 0;
  const double mean_width = static_cast<double>(std::reduce(moe.expert_widths.begin(), moe.expert_widths.end())) / static_cast<double>(moe.expert_widths.size());
  const double one_expert = 2.0 * static_cast<double>(moe.expert_kind.matrices() * width) * mean_width;
  return match.expert_flops_per_token / one_expert / static_cast<double>(moe.layers.size());
}

void set_match(const comm::Communicator& world, const std::string& run, Config& config) {
  Match match;
  comm::agree_on_root(world, [&] { match = read_match(run); });
  match = {std::stod(comm::broadcast(world, fmt::format("{}", match.expert_flops_per_token))), comm::broadcast(world, match.k_histogram)};
  Config trial = config;
  i64 width = 0;
  const model::MoeConfig moe = moe_of(trial, width);
  Spec& section = config.section("moe");
  if (moe.router == "matched_topk") {
    const double mean_k = matched_mean_k(match, config), most = static_cast<double>(moe.expert_widths.size());
    if (!section.has("mean_k") && (mean_k < 1 || mean_k > most)) {
      user_error("--match {}: its {:.0f} flops per token are those of {:.3f} of this run's experts per layer; from 1 to {} can be matched, by other widths or numbers of experts",
                 run, match.expert_flops_per_token, mean_k, most);
    }
    section.set_default("mean_k", fmt::format("{}", mean_k));
  } else if (moe.router == "random_k") {
    if (match.k_histogram.empty() && !section.has("k_histogram")) user_error("--match {}: its record has no /evaluation/k_histogram, which moe.router = random_k needs", run);
    section.set_default("k_histogram", match.k_histogram);
  } else {
    user_error("--match {}: goes with moe.router = matched_topk or random_k, not with {}", run, moe.router);
  }
}

}  // namespace pleiad::app
