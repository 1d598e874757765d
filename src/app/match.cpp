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

}  // namespace

Match read_match(const std::string& run) {
  const std::string path = run + "/run.h5";
  Config config = Config::parse(io::read_run_config(path), path);
  const std::map<std::string, std::string> given = config.given();
  const auto vocab = given.find("model.vocab");
  const model::ModelConfig model = model::ModelConfig::read(config.section("model"), vocab == given.end() ? 256 : std::stoll(vocab->second));
  const model::MoeConfig moe = model::MoeConfig::read(config.section("moe"), model.layers);
  if (moe.layers.empty() || moe.bank != routing::Bank::feed_forward) user_error("--match {}: the run has no feed-forward experts to match", run);
  const double mean_width = static_cast<double>(std::reduce(moe.expert_widths.begin(), moe.expert_widths.end())) / static_cast<double>(moe.expert_widths.size());
  const double one_expert = 2.0 * static_cast<double>(moe.expert_kind.matrices() * model.width) * mean_width;

  const io::H5File file = io::H5File::open(path);
  const std::vector<double> flops = file.read<double>("/evaluation/expert_flops_per_token");
  if (flops.empty() || !std::isfinite(flops.back())) user_error("--match {}: its record has no evaluation yet", run);
  return {flops.back() / one_expert / static_cast<double>(moe.layers.size()), histogram_of_last(file)};
}

void set_match(const comm::Communicator& world, const std::string& run, Spec& moe) {
  Match match;
  comm::agree_on(world, [&] {
    if (world.root()) match = read_match(run);
  });
  const std::string histogram = comm::broadcast(world, match.k_histogram);
  moe.set_default("mean_k", comm::broadcast(world, fmt::format("{}", match.mean_k)));
  if (!histogram.empty()) {
    moe.set_default("k_histogram", histogram);
  } else if (const auto router = moe.given().find("router"); router != moe.given().end() && router->second == "random_k" && !moe.has("k_histogram")) {
    user_error("--match {}: its record has no /evaluation/k_histogram, which moe.router = random_k needs", run);
  }
}

}  // namespace pleiad::app
