// Sequence to sequence: the most probable target of a source, greedily or by beam search.
#pragma once
#include "pleiad/model/model.hpp"

namespace pleiad::train {

struct DecodeOptions {
  i64 beam = 1;               ///< hypotheses kept; 1: greedy
  double length_penalty = 0.6;  ///< alpha of Wu et al. 2016 eq. 14: finished hypotheses are ranked by log p / ((5 + length) / 6)^alpha
  i64 max_tokens = 0;         ///< of a target; 0: as many as the sequence holds
  i64 batch = 16;             ///< sources decoded together
  std::int32_t end = -1;      ///< token that ends a target
};

/// A source, the separator included, and the tokens found for it, the end not included; the same on every rank and on any number of them.
/// pre: sources not empty and shorter than seq_len. collective.
std::vector<std::vector<std::int32_t>> decode(const model::Model& model, const ParamSet& params, const std::vector<std::vector<std::int32_t>>& sources,
                                              const DecodeOptions& options, const comm::ProcessGrid& grid, i64 lanes);

}  // namespace pleiad::train
