#include "pleiad/train/placement.hpp"

#include <algorithm>
#include <numeric>

#include "pleiad/comm/collectives.hpp"

namespace pleiad::train {

namespace {

// A proposal is left alone if its heaviest rank has no more than this less to do, as a share of the mean.
constexpr double k_tolerance = 0.01;

double heaviest(std::span<const double> load, std::span<const i64> owner, i64 owners) { return std::ranges::max(load_per_owner(load, owner, owners)); }

}  // namespace

PlacementConfig PlacementConfig::read(Spec& s) {
  PlacementConfig c;
  const std::string when = s.choice("rebalance", "never", {"never", "worth", "always"},
                                    "move experts between ranks during training, by measured load; worth: when that saves more time than it takes");
  c.when = when == "never" ? When::never : when == "worth" ? When::worth : When::always;
  c.every = s.integer("rebalance_every", 50, 1, i64{1} << 40, "steps between two looks at the load");
  return c;
}

Owners owners_of(const model::Model& model) {
  Owners owners;
  for (const i64 block : model.moe_layers()) owners.push_back(model.blocks()[block].moe()->expert_map().owner_of_each());
  return owners;
}

LoadBalancer::LoadBalancer(const PlacementConfig& config, const model::Model& model, const LayerFacts& facts, const comm::ProcessGrid& grid)
    : config_(config), facts_(facts), grid_(grid) {
  const model::MoeConfig& moe = model.moe_config();
  if (moe.bank != routing::Bank::feed_forward) {
    user_error("parallel.rebalance: the experts of moe.router = {} lie in order on the ranks and cannot move; allowed: never", moe.router);
  }
  flops_.assign(model.moe_layers().size(), std::vector<double>(moe.expert_widths.size(), 0.0));
}

void LoadBalancer::count(const std::vector<const model::LayerStatistics*>& layers, std::span<const double> expert_seconds) {
  for (std::size_t l = 0; l < layers.size(); ++l) {
    for (std::size_t e = 0; e < flops_[l].size(); ++e) {
      flops_[l][e] += static_cast<double>(layers[l]->expert_tokens[e]) * facts_.flops_per_row[facts_.flops_per_row.size() == 1 ? 0 : e];
    }
  }
  ++steps_;
  expert_seconds_ += std::accumulate(expert_seconds.begin(), expert_seconds.end(), 0.0);
}

// A layer takes as long as its heaviest rank: the others wait for its results.
LoadBalancer::Proposal LoadBalancer::look(const model::Model& model, i64 left) {
  const i64 owners = grid_.expert_group().size();
  Proposal p;
  p.owners = owners_of(model);
  PlacementRecord& r = p.record;
  double total = 0, before = 0, after = 0;
  std::vector<double> in(static_cast<std::size_t>(owners), 0.0), out = in;  // bytes of the move, by rank
  for (std::size_t l = 0; l < flops_.size(); ++l) {
    const model::MoeLayer& moe = *model.blocks()[model.moe_layers()[l]].moe();
    const std::vector<i64> was = p.owners[l];
    p.owners[l] = rebalanced_owners(flops_[l], was, owners, k_tolerance);
    total += std::accumulate(flops_[l].begin(), flops_[l].end(), 0.0);
    before += heaviest(flops_[l], was, owners);
    after += heaviest(flops_[l], p.owners[l], owners);
    for (std::size_t e = 0; e < was.size(); ++e) {
      if (was[e] == p.owners[l][e]) continue;
      const double bytes = 3.0 * sizeof(real) * static_cast<double>(moe.parameters_of(static_cast<i64>(e)));
      out[was[e]] += bytes;
      in[p.owners[l][e]] += bytes;
      ++r.wanted;
    }
  }
  const double mean = total / static_cast<double>(owners), seconds_per_flop = total > 0 ? expert_seconds_ / total : 0;
  r.peak_before = mean > 0 ? before / mean : 1;
  r.peak_after = mean > 0 ? after / mean : 1;
  r.gain = steps_ > 0 ? (before - after) / static_cast<double>(grid_.data_groups()) * seconds_per_flop / static_cast<double>(steps_) * static_cast<double>(std::min(left, config_.every)) : 0;
  r.cost = std::max(std::ranges::max(in), std::ranges::max(out)) / bytes_per_second_;
  p.worth_it = r.wanted > 0 && (config_.when == PlacementConfig::When::always || r.gain > r.cost);
  for (std::vector<double>& f : flops_) std::ranges::fill(f, 0.0);
  steps_ = 0;
  expert_seconds_ = 0;
  // Times are the same numbers on all ranks, but processors may round differently: one rank's word counts.
  i64 word = p.worth_it;
  comm::broadcast<i64>(grid_.world(), std::span<i64>(&word, 1));
  for (std::vector<i64>& layer : p.owners) comm::broadcast<i64>(grid_.world(), layer);
  p.worth_it = word != 0;
  return p;
}

void LoadBalancer::note_move(i64 bytes, double seconds) {
  if (bytes > 0 && seconds > 0) bytes_per_second_ = static_cast<double>(bytes) / seconds / static_cast<double>(grid_.expert_group().size());
}

i64 move_experts(ParamSet& params, Adam& adam, const Owners& before, ParamSet& fresh, Adam& fresh_adam, const Owners& after,
                 const model::Model& model, const comm::Communicator& group) {
  std::ranges::copy(params.values(Owner::replicated), fresh.values(Owner::replicated).begin());
  std::ranges::copy(adam.first(Owner::replicated), fresh_adam.first(Owner::replicated).begin());
  std::ranges::copy(adam.second(Owner::replicated), fresh_adam.second(Owner::replicated).begin());

  // Both sides go through their experts in the same order, so messages need no names.
  const std::vector<i64>& blocks = model.moe_layers();
  const auto owner = [&](const Owners& owners, const ParamInfo& p) {
    const i64 experts = static_cast<i64>(owners.front().size());
    const auto layer = std::ranges::find(blocks, p.slot / experts) - blocks.begin();
    return owners[static_cast<std::size_t>(layer)][static_cast<std::size_t>(p.expert)];
  };
  std::vector<std::vector<real>> parcels(static_cast<std::size_t>(group.size()));
  for (const ParamInfo& p : params.infos()) {
    if (p.owner != Owner::expert) continue;
    std::vector<real>& parcel = parcels[owner(after, p)];
    for (const std::span<real> block : {params.values(p.owner), adam.first(p.owner), adam.second(p.owner)}) {
      const std::span<real> part = params.slice(p, block);
      parcel.insert(parcel.end(), part.begin(), part.end());
    }
  }
  std::vector<i64> send, recv(static_cast<std::size_t>(group.size()), 0);
  std::vector<real> packed;
  i64 bytes = 0;
  for (i64 r = 0; r < group.size(); ++r) {
    send.push_back(static_cast<i64>(parcels[r].size()));
    packed.insert(packed.end(), parcels[r].begin(), parcels[r].end());
    if (r != group.rank()) bytes += send.back() * static_cast<i64>(sizeof(real));
    parcels[r] = {};
  }
  for (const ParamInfo& p : fresh.infos()) {
    if (p.owner == Owner::expert) recv[owner(before, p)] += 3 * p.size();
  }
  std::vector<real> arrived(static_cast<std::size_t>(std::accumulate(recv.begin(), recv.end(), i64{0})));
  comm::all_to_all_rows<real>(group, packed.data(), send, arrived.data(), recv, 1);
  std::vector<const real*> next;
  const real* at = arrived.data();
  for (const i64 n : recv) {
    next.push_back(at);
    at += n;
  }
  for (const ParamInfo& p : fresh.infos()) {
    if (p.owner != Owner::expert) continue;
    const real*& from = next[static_cast<std::size_t>(owner(before, p))];
    for (const std::span<real> block : {fresh.values(p.owner), fresh_adam.first(p.owner), fresh_adam.second(p.owner)}) {
      std::copy_n(from, p.size(), fresh.slice(p, block).begin());
      from += p.size();
    }
  }
  return comm::sum_over<i64>(group, bytes);
}

}  // namespace pleiad::train
