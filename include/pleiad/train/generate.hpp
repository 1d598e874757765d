// Text generation: one token at a time from the last seq_len tokens, by temperature and top-k. Draws depend on (seed, position).
#pragma once
#include "pleiad/model/model.hpp"

namespace pleiad::train {

struct SampleOptions {
  i64 tokens = 200;
  double temperature = 0.8;  ///< 0: always the most probable token
  i64 top_k = 0;             ///< 0: all
  std::uint64_t seed = 1;
};

/// The prompt and what follows it; the same on every rank. pre: prompt not empty. collective.
std::vector<std::int32_t> generate(const model::Model& model, const ParamSet& params, std::vector<std::int32_t> prompt,
                                   const SampleOptions& options, const comm::ProcessGrid& grid);

}  // namespace pleiad::train
