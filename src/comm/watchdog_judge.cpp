// What the watchdog makes of what it knows.
#include <algorithm>

#include "pleiad/comm/watchdog.hpp"
#include "pleiad/core/clock.hpp"
#include "pleiad/core/error.hpp"

namespace pleiad::comm {

namespace {

constexpr std::size_t k_most_named = 3;

std::string place_of(const RankState& r) {
  std::string text = r.step == 0 ? "its start, before any step" : fmt::format("step {}", r.step);
  if (r.block >= 0) text += fmt::format(", block {}", r.block);
  return text + fmt::format(", phase {}", phase_name(r.phase < 0 ? Phase::count : static_cast<Phase>(r.phase)));
}

i64 number_of(std::size_t place, const RankState& r) { return r.rank >= 0 ? r.rank : static_cast<i64>(place); }

std::string waits(std::size_t place, const RankState& r) { return fmt::format("rank {} in {} ({})", number_of(place, r), place_of(r), r.wait); }

}  // namespace

std::string judge(const std::vector<RankState>& ranks, const std::vector<std::string>& host, double seconds) {
  std::vector<std::size_t> lost, busy, behind, waiting;
  double idle = 1e30;
  i64 step = 0, moves = 0;
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    const RankState& s = ranks[r];
    if (s.done) return "";  // the end of the run is near
    if (s.gone || s.silent > seconds) lost.push_back(r);
    idle = std::min(idle, s.idle);
    if (behind.empty() || std::pair(s.step, s.moves) < std::pair(step, moves)) {
      behind.clear();
      step = s.step, moves = s.moves;
    }
    if (std::pair(s.step, s.moves) == std::pair(step, moves)) behind.push_back(r);
    s.wait.empty() ? busy.push_back(r) : waiting.push_back(r);
  }
  std::string text;
  const auto name_of = [&](std::size_t place) { return fmt::format("rank {} (host {})", number_of(place, ranks[place]), host[place]); };
  // What a lost rank said last may be some steps old: it is not beyond the one in which others are.
  i64 furthest = 0;
  for (const RankState& s : ranks) furthest = std::max(furthest, s.step);
  const auto since_then = [&](const RankState& s) { return s.step < furthest ? fmt::format(" (and perhaps on, up to step {})", furthest) : ""; };
  const auto who_waits = [&](const std::vector<std::size_t>& but) {
    std::vector<std::string> named;
    for (const std::size_t r : waiting) {
      if (std::ranges::find(but, r) == but.end() && named.size() < k_most_named) named.push_back(waits(r, ranks[r]));
    }
    if (!named.empty()) text += fmt::format("; waiting: {}", fmt::join(named, ", "));
  };
  if (!lost.empty()) {
    for (std::size_t i = 0; i < std::min(lost.size(), k_most_named); ++i) {
      const RankState& s = ranks[lost[i]];
      text += fmt::format("{}{} {}, last in {}{}", i ? ", " : "", name_of(lost[i]), s.gone ? "has died" : fmt::format("was last heard of {:.0f} s ago", s.silent), place_of(s), since_then(s));
    }
    if (lost.size() > k_most_named) text += fmt::format(", and {} more", lost.size() - k_most_named);
    who_waits(lost);
    return text;
  }
  if (idle <= seconds) return "";
  // Nothing moves. Whoever computes while others wait, or else has come less far, is what they wait for.
  const std::vector<std::size_t>& guilty = !busy.empty() && busy.size() < ranks.size() ? busy : behind;
  if (guilty.size() == ranks.size()) {
    text = fmt::format("nothing has moved for {:.0f} s: {}", idle, busy.size() == ranks.size() ? "all ranks compute, " + name_of(0) + " in " + place_of(ranks[0]) : "all ranks wait");
    who_waits({});
    return text;
  }
  for (std::size_t i = 0; i < std::min(guilty.size(), k_most_named); ++i) {
    const RankState& s = ranks[guilty[i]];
    text += fmt::format("{}{} has been in {} for {:.0f} s{}", i ? ", " : "", name_of(guilty[i]), place_of(s), s.idle, s.wait.empty() ? "" : " (" + s.wait + ")");
  }
  if (guilty.size() > k_most_named) text += fmt::format(", and {} more", guilty.size() - k_most_named);
  who_waits(guilty);
  return text;
}

}  // namespace pleiad::comm
