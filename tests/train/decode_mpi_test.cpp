// Decoding of sequence to sequence: greedy is the most probable token again and again, a wide beam finds what trying everything finds, and
// the number of ranks changes nothing.
#include "model/tiny_model.hpp"
#include "pleiad/train/decode.hpp"

#include <cmath>

namespace pleiad::train {
namespace {

using Tokens = std::vector<std::int32_t>;
constexpr std::int32_t k_end = model::k_tiny_vocab - 1;
const model::Keys k_moe = model::with(model::k_tiny_moe, {{"preset", "gshard"}, {"layers", "all"}});

struct Tiny : model::TinyModel {
  explicit Tiny(comm::ProcessGrid over, i64 seq_len = 9)
      : TinyModel(std::move(over), model::with(model::k_tiny_model, {{"seq_len", std::to_string(seq_len)}}), k_moe) {
    shake();
  }
  /// log p of every next token after source and target.
  std::vector<double> next(const Tokens& source, const Tokens& target) {
    model::Batch batch;
    batch.input = source;
    batch.input.insert(batch.input.end(), target.begin(), target.end());
    const i64 length = static_cast<i64>(batch.input.size());
    batch.target.assign(batch.input.size(), -1);
    batch.prefix = {static_cast<i64>(source.size())};
    const LaneLayout one(1, 1, length, 1, 0);
    model::ModelTrace trace;
    model->forward(params, batch, {grid, one, times, 0, 0, false}, trace);
    const real* row = trace.log_p.row(length - 1);
    return {row, row + trace.log_p.cols()};
  }
};

const std::vector<Tokens> k_sources = {{1, 5}, {2, 2, 3, 5}, {0, 5}, {4, 3, 2, 5}, {3, 5}};

TEST(Decode, GreedyTakesTheMostProbableTokenUntilTheEnd) {
  Tiny alone(test::grid_of_me());
  i64 ended = 0;
  for (std::int32_t end = 0; end < model::k_tiny_vocab; ++end) {
    const auto found = decode(*alone.model, alone.params, k_sources, {.end = end}, alone.grid, 4);
    ASSERT_EQ(found.size(), k_sources.size());
    for (std::size_t i = 0; i < k_sources.size(); ++i) {
      Tokens expected;
      while (expected.size() + k_sources[i].size() < 9) {
        const std::vector<double> p = alone.next(k_sources[i], expected);
        const auto best = static_cast<std::int32_t>(std::ranges::max_element(p) - p.begin());
        if (best == end) break;
        expected.push_back(best);
      }
      ended += expected.size() + k_sources[i].size() < 9;
      EXPECT_EQ(found[i], expected) << "source " << i << ", end " << end;
    }
  }
  EXPECT_GT(ended, 0) << "no target ends before the sequence is full: the end is not tested";
}

/// The best target of at most two tokens by trying all of them, ranked as finished hypotheses are.
void try_all(Tiny& tiny, const Tokens& source, double alpha, const Tokens& so_far, double log_p, Tokens& best, double& best_rank) {
  const std::vector<double> p = tiny.next(source, so_far);
  const double rank = (log_p + p[k_end]) / std::pow((5 + static_cast<double>(so_far.size()) + 1) / 6, alpha);
  if (rank > best_rank) {
    best_rank = rank;
    best = so_far;
  }
  if (so_far.size() == 2) return;
  for (std::int32_t t = 0; t < k_end; ++t) {
    Tokens longer = so_far;
    longer.push_back(t);
    try_all(tiny, source, alpha, longer, log_p + p[t], best, best_rank);
  }
}

TEST(Decode, AWideBeamFindsWhatTryingEverythingFinds) {
  Tiny alone(test::grid_of_me());
  for (const double alpha : {0.0, 0.6, 3.0}) {
    const auto found = decode(*alone.model, alone.params, k_sources, {.beam = 60, .length_penalty = alpha, .max_tokens = 3, .end = k_end}, alone.grid, 4);
    for (std::size_t i = 0; i < k_sources.size(); ++i) {
      Tokens best;
      double rank = -1e300;
      try_all(alone, k_sources[i], alpha, {}, 0, best, rank);
      EXPECT_EQ(found[i], best) << "source " << i << ", alpha " << alpha;
    }
  }
}

TEST(Decode, IsTheSameOnAnyNumberOfRanksAndInAnyBatch) {
  Tiny all(test::grid_of_all()), alone(test::grid_of_me());
  for (const i64 beam : {1, 3}) {
    for (const i64 batch : {1, 2, 16}) {
      const DecodeOptions o{.beam = beam, .batch = batch, .end = k_end};
      const auto truth = decode(*alone.model, alone.params, k_sources, o, alone.grid, 4);
      EXPECT_EQ(decode(*all.model, all.params, k_sources, o, all.grid, 4), truth) << "beam " << beam << ", batch " << batch;
    }
  }
}

TEST(Decode, KeepsToTheLengthsGiven) {
  Tiny alone(test::grid_of_me());
  for (const auto& target : decode(*alone.model, alone.params, k_sources, {.beam = 3, .max_tokens = 2, .end = -1}, alone.grid, 4)) EXPECT_EQ(target.size(), 2u);
  for (std::size_t i = 0; i < k_sources.size(); ++i) {
    EXPECT_EQ(decode(*alone.model, alone.params, {k_sources[i]}, {.end = -1}, alone.grid, 4).front().size(), 9 - k_sources[i].size()) << "as far as the sequence goes";
  }
}

}  // namespace
}  // namespace pleiad::train
