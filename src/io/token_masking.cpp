#include "pleiad/io/token_masking.hpp"

#include "pleiad/core/error.hpp"

namespace pleiad::io {

void TokenMasking::training(i64 step, i64 first, std::span<std::int32_t> tokens, std::span<std::int32_t> target) const {
  const auto draws = [&](std::uint32_t which) { return Stream(seed_, Purpose::masking, which, static_cast<std::uint64_t>(step)); };
  mask({draws(0), draws(1), draws(2)}, first, tokens, target);
}

void TokenMasking::evaluation(i64 first, std::span<std::int32_t> tokens, std::span<std::int32_t> target) const {
  const auto draws = [](std::uint32_t which) { return Stream(0, Purpose::masking, which); };
  mask({draws(3), draws(4), draws(5)}, first, tokens, target);
}

void TokenMasking::mask(const Draws& draws, i64 first, std::span<std::int32_t> tokens, std::span<std::int32_t> target) const {
  PLEIAD_CHECK(tokens.size() == target.size(), "{} targets for {} tokens", target.size(), tokens.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::uint64_t index = static_cast<std::uint64_t>(first) + i;
    target[i] = -1;
    if (draws.choice.uniform(index) >= share_) continue;
    target[i] = tokens[i];
    const double fate = draws.fate.uniform(index);
    if (fate < 0.8) tokens[i] = mask_;
    else if (fate < 0.9) tokens[i] = static_cast<std::int32_t>(draws.token.below(index, static_cast<std::uint64_t>(mask_)));
  }
}

}  // namespace pleiad::io
