#include "pleiad/app/dry_run_report.hpp"

#include <iostream>

namespace pleiad::app {

namespace {

/// Moments of row-sparse experts exist only once there was a gradient, and gradients only of rows that tokens were sent to.
std::string memory_in_words(const ParameterCount& n, const model::MoeLayer* moe, i64 lanes, i64 choices) {
  const double number = static_cast<double>(sizeof(real)) * 1e-6, sparse = static_cast<double>(n.per_rank_sparse);
  const double flat = 4.0 * static_cast<double>(n.per_rank_largest - n.per_rank_sparse) + static_cast<double>((lanes - 1) * n.dense);
  if (sparse == 0) return fmt::format("{:.1f} MB", flat * number);
  const double rows = static_cast<double>(moe->expert_map().owned_by(0).size()), touched = std::min(1.0, static_cast<double>(choices) / rows);
  return fmt::format("up to {:.1f} MB after the first step, {:.1f} MB once every expert had a token", (flat + (1 + 3 * touched) * sparse) * number,
                     (flat + (3 + touched) * sparse) * number);
}

std::string experts_in_words(const std::vector<i64>& owned) {
  if (owned.empty()) return "none";
  const i64 count = static_cast<i64>(owned.size()), most = 64;
  if (count <= most) return fmt::format("{}", fmt::join(owned, " "));
  if (owned.back() - owned.front() == count - 1) return fmt::format("{} to {}", owned.front(), owned.back());
  return fmt::format("{} {} {} ... {}, {} in all", owned[0], owned[1], owned[2], owned.back(), count);
}

}  // namespace

void print_sizes(const ModelSetup& setup, const train::TrainConfig& config) {
  const ParameterCount n = count_parameters(setup);
  const double choices = selected_per_token(setup), layers = static_cast<double>(setup.model->moe_layers().size());
  const ModelSizes one = model_sizes(setup, 1), all = model_sizes(setup, choices);
  const comm::Communicator& world = setup.grid.world();
  if (!world.root()) return;
  const double mega = 1e6;
  const i64 lanes = (config.lanes + world.size() - 1) / world.size();
  const model::MoeLayer* moe = setup.model->first_moe();
  std::cout << fmt::format("parameters: {:.3f} M in all, {:.3f} M replicated; fullest rank {:.3f} M\n", static_cast<double>(n.total) / mega,
                           static_cast<double>(n.dense) / mega, static_cast<double>(n.per_rank_largest) / mega);
  std::cout << fmt::format("memory per rank for weights, moments and gradients: {}\n",
                           memory_in_words(n, moe, lanes, static_cast<i64>(choices) * config.batch * setup.model_config.seq_len));
  std::cout << fmt::format("forward flops per token without experts: {:.3f} M\n", setup.model->fixed_flops_per_token() / mega);
  if (!moe) return;
  std::cout << fmt::format("forward flops per token and expert of mean width, all {} MoE layers: {:.3f} M\n", layers,
                           (one.expert_flops_per_token - layers * moe->side_flops_per_selection()) / mega);
  if (choices > 0) {
    std::cout << fmt::format("with {} experts per token and layer: {:.3f} M active parameters, {:.3f} M forward flops per token\n", choices,
                             all.active_parameters / mega, all.flops_per_token / mega);
  }
  std::cout << fmt::format("exchange: {}\n", setup.exchange_choice.in_words());
  for (i64 r = 0; r < setup.grid.expert_group().size() && r < 64; ++r) {
    std::cout << fmt::format("experts of rank {}: {}\n", r, experts_in_words(moe->expert_map().owned_by(r)));
  }
}

}  // namespace pleiad::app
