// Batches out of a corpus file: implements the interface of the training loop.
#pragma once
#include <optional>

#include "pleiad/io/corpus.hpp"
#include "pleiad/io/token_masking.hpp"
#include "pleiad/train/batch_source.hpp"

namespace pleiad::io {

class CorpusSource : public train::BatchSource {
 public:
  /// Training windows are drawn with `seed`; evaluation takes `split` in order. To be predicted are the next tokens, or those that `masking` hides; of
  /// the latter no entropy is known. The corpus must outlive this.
  CorpusSource(const Corpus& corpus, i64 seq_len, std::uint64_t seed, Split split = Split::validation, std::optional<TokenMasking> masking = {});

  model::Batch training(i64 step, const LaneLayout& lanes) override;
  i64 evaluation_windows() const override { return batches_.eval_windows(split_); }
  model::Batch evaluation(i64 first, const LaneLayout& lanes, train::Truth& truth) override;
  std::vector<std::string> domains() const override { return corpus_.domain_names(); }
  const CorpusBatches& batches() const { return batches_; }

 private:
  void add_window(Split split, i64 start, model::Batch& batch) const;
  void add_truth(i64 start, train::Truth& truth) const;

  const Corpus& corpus_;
  CorpusBatches batches_;
  Split split_;
  std::optional<TokenMasking> masking_;
};

}  // namespace pleiad::io
