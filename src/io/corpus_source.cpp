#include "pleiad/io/corpus_source.hpp"

namespace pleiad::io {

CorpusSource::CorpusSource(const Corpus& corpus, i64 seq_len, std::uint64_t seed, Split split, std::optional<TokenMasking> masking)
    : corpus_(corpus), batches_(corpus.batches(seq_len, seed)), split_(split), masking_(masking) {}

/// Window start .. start + L: L inputs and, one further on, their targets.
void CorpusSource::add_window(Split split, i64 start, model::Batch& batch) const {
  std::vector<std::int32_t> window(static_cast<std::size_t>(batches_.seq_len()) + 1);
  corpus_.read_window(split, start, window);
  batch.input.insert(batch.input.end(), window.begin(), window.end() - 1);
  batch.target.insert(batch.target.end(), window.begin() + 1, window.end());
}

/// What the corpus knows about the targets of the window at `start`.
void CorpusSource::add_truth(i64 start, train::Truth& truth) const {
  const std::size_t length = static_cast<std::size_t>(batches_.seq_len());
  if (corpus_.has_entropy() && !masking_) {
    truth.entropy.resize(truth.entropy.size() + length);
    corpus_.read_entropy(split_, start + 1, std::span(truth.entropy).last(length));
  }
  if (corpus_.has_domains()) {
    std::vector<std::int32_t> domain(length);
    corpus_.read_domains(split_, masking_ ? start : start + 1, domain);
    truth.domain.insert(truth.domain.end(), domain.begin(), domain.end());
  }
}

model::Batch CorpusSource::training(i64 step, const LaneLayout& lanes) {
  model::Batch batch;
  const Range mine = lanes.my_sequences();
  for (i64 s = mine.begin; s < mine.end(); ++s) add_window(Split::train, batches_.train_start(step, s), batch);
  if (masking_) masking_->training(step, lanes.first_token(), batch.input, batch.target);
  return batch;
}

model::Batch CorpusSource::evaluation(i64 first, const LaneLayout& lanes, train::Truth& truth) {
  model::Batch batch;
  const Range mine = lanes.my_sequences();
  for (i64 s = mine.begin; s < mine.end(); ++s) {
    const i64 start = batches_.eval_start(first + s);
    add_window(split_, start, batch);
    add_truth(start, truth);
  }
  // Evaluation windows lie one behind the other, so this rank's tokens are a stretch of the part.
  if (masking_) masking_->evaluation(batches_.eval_start(first + mine.begin), batch.input, batch.target);
  return batch;
}

}  // namespace pleiad::io
