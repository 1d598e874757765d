#include "pleiad/train/decode.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "pleiad/comm/collectives.hpp"

namespace pleiad::train {

namespace {

struct Hypothesis {
  std::vector<std::int32_t> tokens;  // of the target
  double log_p = 0;
};

/// Search state of one source.
struct Search {
  std::span<const std::int32_t> source;
  std::vector<Hypothesis> live, finished;
  bool done = false;
};

struct Candidate {
  double log_p;
  std::int32_t token;
};

double rank_of(const Hypothesis& h, double alpha) {
  return h.log_p / std::pow((5 + static_cast<double>(h.tokens.size() + 1)) / 6, alpha);
}

/// The `keep` most probable next tokens of every live hypothesis, in order of searches and hypotheses. collective.
std::vector<Candidate> next_tokens(const model::Model& model, const ParamSet& params, const std::vector<Search>& searches, i64 keep,
                                   const comm::ProcessGrid& grid, i64 lane_count, model::ModelTrace& trace) {
  std::vector<std::pair<const Search*, const Hypothesis*>> sequences;
  i64 longest = 1;
  for (const Search& s : searches) {
    for (const Hypothesis& h : s.live) {
      if (s.done) continue;
      sequences.emplace_back(&s, &h);
      longest = std::max(longest, static_cast<i64>(s.source.size() + h.tokens.size()));
    }
  }
  const LaneLayout lanes(lane_count, static_cast<i64>(sequences.size()), longest, grid.world().size(), grid.world().rank());
  const Range mine = lanes.my_sequences();
  model::Batch batch;
  for (i64 i = mine.begin; i < mine.end(); ++i) {
    const auto& [search, hypothesis] = sequences[i];
    const std::size_t begin = batch.input.size();
    batch.input.insert(batch.input.end(), search->source.begin(), search->source.end());
    batch.input.insert(batch.input.end(), hypothesis->tokens.begin(), hypothesis->tokens.end());
    batch.length.push_back(static_cast<i64>(batch.input.size() - begin));
    batch.prefix.push_back(static_cast<i64>(search->source.size()));
    batch.input.resize(begin + static_cast<std::size_t>(longest), 0);
  }
  batch.target.assign(batch.input.size(), -1);
  PhaseTimes times;
  model.forward(params, batch, {grid, lanes, times, 0, 0, false}, trace);

  std::vector<std::int32_t> order(static_cast<std::size_t>(trace.log_p.cols()));
  std::vector<double> found;  // log p and token in turn
  for (i64 i = 0; i < mine.count; ++i) {
    const real* log_p = trace.log_p.row(i * longest + batch.length[i] - 1);
    std::iota(order.begin(), order.end(), 0);
    std::partial_sort(order.begin(), order.begin() + keep, order.end(),
                      [&](std::int32_t a, std::int32_t b) { return log_p[a] != log_p[b] ? log_p[a] > log_p[b] : a < b; });
    for (i64 k = 0; k < keep; ++k) found.insert(found.end(), {static_cast<double>(log_p[order[k]]), static_cast<double>(order[k])});
  }
  found = comm::all_gather_v<double>(grid.world(), found);
  std::vector<Candidate> candidates;
  for (std::size_t i = 0; i < found.size(); i += 2) candidates.push_back({found[i], static_cast<std::int32_t>(found[i + 1])});
  return candidates;
}

/// One more token for every live hypothesis of a search; candidates are `keep` for each of them.
void advance(Search& search, std::span<const Candidate> candidates, i64 keep, i64 room, const DecodeOptions& o) {
  struct Extension {
    std::size_t from;
    Candidate by;
    double log_p;
  };
  std::vector<Extension> extensions;
  for (std::size_t h = 0; h < search.live.size(); ++h) {
    for (i64 k = 0; k < keep; ++k) {
      const Candidate& c = candidates[h * static_cast<std::size_t>(keep) + static_cast<std::size_t>(k)];
      extensions.push_back({h, c, search.live[h].log_p + c.log_p});
    }
  }
  std::ranges::stable_sort(extensions, [](const Extension& a, const Extension& b) { return a.log_p > b.log_p; });
  std::vector<Hypothesis> next;
  for (const Extension& e : extensions) {
    if (static_cast<i64>(next.size()) == o.beam) break;
    Hypothesis h{search.live[e.from].tokens, e.log_p};
    if (e.by.token == o.end) {
      search.finished.push_back(std::move(h));
      if (static_cast<i64>(search.finished.size()) >= o.beam) break;
      continue;
    }
    h.tokens.push_back(e.by.token);
    next.push_back(std::move(h));
  }
  search.live = std::move(next);
  const bool full = search.live.empty() || static_cast<i64>(search.live.front().tokens.size()) >= room;
  search.done = full || static_cast<i64>(search.finished.size()) >= o.beam;
}

std::vector<std::int32_t> best_of(Search& search, double alpha) {
  std::vector<Hypothesis>& from = search.finished.empty() ? search.live : search.finished;
  return std::ranges::max_element(from, {}, [&](const Hypothesis& h) { return rank_of(h, alpha); })->tokens;
}

}  // namespace

std::vector<std::vector<std::int32_t>> decode(const model::Model& model, const ParamSet& params, const std::vector<std::vector<std::int32_t>>& sources,
                                              const DecodeOptions& options, const comm::ProcessGrid& grid, i64 lanes) {
  const i64 count = static_cast<i64>(sources.size());
  // One more than the beam, so that the end token does not use up a place.
  const i64 keep = std::min(options.beam + 1, model.config().vocab);
  std::vector<std::vector<std::int32_t>> targets;
  model::ModelTrace trace;
  for (i64 first = 0; first < count; first += options.batch) {
    std::vector<Search> searches;
    for (i64 i = first; i < std::min(first + options.batch, count); ++i) searches.push_back({sources[i], {{}}, {}});
    while (!std::ranges::all_of(searches, &Search::done)) {
      const std::vector<Candidate> candidates = next_tokens(model, params, searches, keep, grid, lanes, trace);
      std::size_t at = 0;
      for (Search& s : searches) {
        if (s.done) continue;
        const std::size_t mine = s.live.size() * static_cast<std::size_t>(keep);
        const i64 room = model.config().seq_len - static_cast<i64>(s.source.size());
        advance(s, std::span(candidates).subspan(at, mine), keep, options.max_tokens > 0 ? std::min(room, options.max_tokens) : room, options);
        at += mine;
      }
    }
    for (Search& s : searches) targets.push_back(best_of(s, options.length_penalty));
  }
  return targets;
}

}  // namespace pleiad::train
