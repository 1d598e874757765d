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

void PackedPieces::visit_next(i64 count, const std::function<void(std::span<real>, i64)>& visit) {
  for (i64 at = 0; at < count;) {
    const ParamInfo& p = family_.mine[param_];
    const i64 now = std::min(count - at, p.size() - offset_);
    if (now > 0) visit(params_.slice(p, section_.experts).subspan(static_cast<std::size_t>(offset_), static_cast<std::size_t>(now)), at);
    at += now, offset_ += now;
    if (offset_ == p.size()) ++param_, offset_ = 0;
  }
}

std::span<const real> PackedPieces::next(i64 count) {
  std::span<const real> whole;
  visit_next(count, [&](std::span<real> run, i64 at) {
    if (static_cast<i64>(run.size()) == count) {
      whole = run;
      return;
    }
    copy_.resize(static_cast<std::size_t>(count));
    std::ranges::copy(run, copy_.begin() + at);
    whole = copy_;
  });
  return whole;
}

void PackedPieces::fill_next(i64 count, const std::function<void(std::span<real>)>& read) {
  std::vector<std::pair<std::span<real>, i64>> runs;
  visit_next(count, [&](std::span<real> run, i64 at) { runs.emplace_back(run, at); });
  if (runs.size() == 1) return read(runs.front().first);
  copy_.resize(static_cast<std::size_t>(count));
  read(copy_);
  for (const auto& [run, at] : runs) std::copy_n(copy_.begin() + at, run.size(), run.begin());
}

void in_rounds(const comm::Communicator* comm, const std::vector<Range>& mine, i64 most, const std::function<void(const std::vector<Range>&)>& move) {
  std::vector<std::vector<Range>> pieces = in_pieces(mine, most);
  if (comm) pieces.resize(static_cast<std::size_t>(comm::max_over<i64>(*comm, static_cast<i64>(pieces.size()))));
  for (const std::vector<Range>& piece : pieces) move(piece);
}

}  // namespace pleiad::io::detail
