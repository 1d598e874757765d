#include "pleiad/routing/attention_count.hpp"

#include <algorithm>
#include <cmath>

namespace pleiad::routing {

AttentionCount::AttentionCount(Spec& spec, i64 most, const std::string& what) : most_(most) {
  const std::string source = spec.choice("importance", "row", {"row", "received", "column"}, "what of the attention maps makes a token important");
  const std::string rule = spec.choice("k_rule", "literal", {"literal", "budget", "causal"}, "how importance becomes a number of " + what);
  importance_ = source == "row" ? Importance::row : source == "received" ? Importance::received : Importance::column;
  rule_ = rule == "literal" ? Rule::literal : rule == "budget" ? Rule::budget : Rule::causal;
  if (rule_ == Rule::causal && importance_ != Importance::row) user_error("moe.k_rule = causal: needs moe.importance = row, not {}", source);
  k_max_ = spec.integer("k_max", most_, 1, most_, fmt::format("most {} of a token", what));
  k_mean_ = rule_ == Rule::budget ? spec.number("k_mean", 2, 0, static_cast<double>(most_), fmt::format("budget: mean {} per token", what)) : 0;
}

void AttentionCount::sequence_importance(i64 sequence, const RoutingContext& context, std::span<double> a) const {
  const i64 length = context.lanes.seq_len(), heads = context.attention.heads;
  std::ranges::fill(a, 0.0);
  for (i64 h = 0; h < heads; ++h) {
    const ConstMatrixView map = context.attention.weights.row_range((sequence * heads + h) * length, length);
    std::vector<double> of_head(static_cast<std::size_t>(length), 0.0);
    for (i64 i = 0; i < length; ++i) {
      // What padding pays is nobody's business.
      if (importance_ != Importance::row && !context.is_real(sequence * length + i)) continue;
      for (i64 j = 0; j < length; ++j) {
        const double weight = static_cast<double>(map(i, j));
        if (importance_ == Importance::row) of_head[i] = std::max(of_head[i], weight);
        if (importance_ == Importance::received) of_head[j] = std::max(of_head[j], weight);
        if (importance_ == Importance::column) of_head[j] += weight;
      }
    }
    for (i64 i = 0; i < length; ++i) a[i] += of_head[i] / static_cast<double>(heads);
  }
  if (importance_ == Importance::column) {
    const double largest = *std::ranges::max_element(a);
    for (double& x : a) x = largest > 0 ? x / largest : 0;
  }
  if (rule_ == Rule::causal) {
    for (i64 i = 0; i < length; ++i) a[i] = i == 0 ? 0 : 1 + std::log(a[i]) / std::log(static_cast<double>(i + 1));
  }
}

i64 AttentionCount::of(double importance, double mean) const {
  const double wish = rule_ == Rule::budget ? std::floor(k_mean_ * importance / mean + 0.5) : std::ceil(importance * static_cast<double>(most_));
  return static_cast<i64>(std::clamp(wish, 1.0, static_cast<double>(k_max_)));
}

std::vector<i64> AttentionCount::count(const RoutingContext& context, std::vector<double>& importance) const {
  const i64 length = context.lanes.seq_len(), sequences = context.lanes.my_sequences().count;
  PLEIAD_CHECK(context.attention.heads > 0, "attention-driven routing needs the attention maps of the block");
  PLEIAD_CHECK(context.attention.weights.rows == sequences * context.attention.heads * length, "attention maps of {} rows", context.attention.weights.rows);
  importance.resize(static_cast<std::size_t>(sequences * length));
  std::vector<i64> count(importance.size(), 0);
  for (i64 s = 0; s < sequences; ++s) {
    const std::span<double> a = std::span(importance).subspan(static_cast<std::size_t>(s * length), static_cast<std::size_t>(length));
    sequence_importance(s, context, a);
    double sum = 0, real_ones = 0;
    for (i64 i = 0; i < length; ++i) {
      if (!context.is_real(s * length + i)) continue;
      sum += a[i];
      real_ones += 1;
    }
    for (i64 i = 0; i < length; ++i) {
      if (context.is_real(s * length + i)) count[s * length + i] = of(a[i], sum / real_ones);
    }
  }
  return count;
}

}  // namespace pleiad::routing
