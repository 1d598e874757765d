#include "checkpoint_families.hpp"

#include <algorithm>
#include <sstream>

#include "pleiad/comm/collectives.hpp"

namespace pleiad::io::detail {

std::vector<Range> Family::ranges() const {
  std::vector<Range> ranges;
  for (const ParamInfo& p : mine) {
    if (p.size() > 0) ranges.push_back({p.row_block() ? p.first_element() : offset[p.expert], p.size()});
  }
  return ranges;
}

std::map<std::string, Family> families_of(const comm::ProcessGrid& grid, const ParamSet& params) {
  std::string mine;
  for (const ParamInfo& p : params.infos()) {
    if (p.owner != Owner::expert) continue;
    // Experts first, count and size of each.
    mine += p.row_block() ? fmt::format("{} {} {} {}\n", p.family, p.first_row, p.rows, p.cols) : fmt::format("{} {} 1 {}\n", p.family, p.expert, p.size());
  }
  const std::vector<char> text = comm::all_gather_v<char>(grid.expert_group(), std::span<const char>(mine.data(), mine.size()));
  std::map<std::string, std::map<i64, std::pair<i64, i64>>> sizes;
  std::istringstream in(std::string(text.begin(), text.end()));
  std::string family;
  for (i64 expert = 0, count = 0, size = 0; in >> family >> expert >> count >> size;) sizes[family][expert] = {count, size};
  std::map<std::string, Family> families;
  for (const auto& [name, experts] : sizes) {
    for (const auto& [expert, each] : experts) {
      for (i64 i = 0; i < each.first; ++i) families[name].offset.push_back(families[name].offset.back() + each.second);
    }
  }
  for (const ParamInfo& p : params.infos()) {
    if (p.owner == Owner::expert) families[p.family].mine.push_back(p);
  }
  return families;
}

std::vector<Section> sections_of(ParamSet& params, train::Adam* adam) {
  std::vector<Section> all{{"/params/", "weights", params.values(Owner::replicated), params.values(Owner::expert), true}};
  if (adam) {
    all.push_back({"/adam/first/", "first moments", adam->first(Owner::replicated), adam->first(Owner::expert), false});
    all.push_back({"/adam/second/", "second moments", adam->second(Owner::replicated), adam->second(Owner::expert), false});
  }
  return all;
}

void in_pieces(const comm::Communicator* comm, i64 mine, i64 width, const std::function<void(i64, i64)>& move) {
  constexpr i64 k_numbers = i64{1} << 22;
  const i64 most = std::max<i64>(1, k_numbers / width), own = (mine + most - 1) / most, rounds = comm ? comm::max_over<i64>(*comm, own) : own;
  for (i64 begin = 0, round = 0; round < rounds; ++round, begin += most) move(std::min(begin, mine), std::clamp<i64>(mine - begin, 0, most));
}

}  // namespace pleiad::io::detail
