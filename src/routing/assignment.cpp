#include "pleiad/routing/assignment.hpp"

namespace pleiad::routing {

std::vector<i64> count_per_expert(const Assignment& a, bool only_kept) {
  std::vector<i64> count(static_cast<std::size_t>(a.experts), 0);
  for (std::size_t i = 0; i < a.expert.size(); ++i) {
    if (!only_kept || a.kept[i]) ++count[a.expert[i]];
  }
  return count;
}

std::vector<i64> count_first_choices(const Assignment& a) {
  std::vector<i64> count(static_cast<std::size_t>(a.experts), 0);
  for (i64 t = 0; t < a.tokens(); ++t) {
    const std::size_t i = static_cast<std::size_t>(a.offset[t]);
    if (static_cast<i64>(i) < a.offset[t + 1]) ++count[a.expert[i]];
  }
  return count;
}

}  // namespace pleiad::routing
