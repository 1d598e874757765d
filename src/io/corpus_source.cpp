#include "pleiad/io/corpus_source.hpp"

namespace pleiad::io {

namespace {

/// Window start .. start + L: L inputs and, one further on, their targets.
void add_window(const Corpus& corpus, Split split, i64 start, i64 length, model::Batch& batch) {
  std::vector<std::int32_t> window(static_cast<std::size_t>(length) + 1);
  corpus.read_window(split, start, window);
  batch.input.insert(batch.input.end(), window.begin(), window.end() - 1);
  batch.target.insert(batch.target.end(), window.begin() + 1, window.end());
}

}  // namespace

CorpusSource::CorpusSource(const Corpus& corpus, i64 seq_len, std::uint64_t seed, Split split)
    : corpus_(corpus), batches_(corpus.batches(seq_len, seed)), split_(split) {}

model::Batch CorpusSource::training(i64 step, const LaneLayout& lanes) {
  model::Batch batch;
  const Range mine = lanes.my_sequences();
  for (i64 s = mine.begin; s < mine.end(); ++s) add_window(corpus_, Split::train, batches_.train_start(step, s), lanes.seq_len(), batch);
  return batch;
}

model::Batch CorpusSource::evaluation(i64 first, const LaneLayout& lanes, train::Truth& truth) {
  model::Batch batch;
  const Range mine = lanes.my_sequences();
  const std::size_t length = static_cast<std::size_t>(lanes.seq_len());
  for (i64 s = mine.begin; s < mine.end(); ++s) {
    const i64 start = batches_.eval_start(first + s);
    add_window(corpus_, split_, start, lanes.seq_len(), batch);
    if (corpus_.has_entropy()) {
      truth.entropy.resize(truth.entropy.size() + length);
      corpus_.read_entropy(split_, start + 1, std::span(truth.entropy).last(length));
    }
    if (corpus_.has_domains()) {
      std::vector<std::int32_t> domain(length);
      corpus_.read_domains(split_, start + 1, domain);
      truth.domain.insert(truth.domain.end(), domain.begin(), domain.end());
    }
  }
  return batch;
}

}  // namespace pleiad::io
