#include "pleiad/routing/capacity.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "pleiad/comm/collectives.hpp"

namespace pleiad::routing {

namespace {

/// One assignment on its way to the judge of its expert. Travels as bytes between ranks of one program.
struct Candidate {
  i64 token = 0;  // global
  double p = 0;
  std::int32_t expert = 0, choice = 0;
};

}  // namespace

Capacity::Capacity(Spec& spec, i64 choices)
    : factor_(spec.number("capacity_factor", 0, 0, 1e9, "tokens an expert takes, as a multiple of its fair share; 0: dropless")),
      minimum_(spec.integer("min_capacity", 0, 0, std::numeric_limits<i64>::max(), "least capacity of an expert, in tokens")),
      choices_(choices),
      by_probability_(spec.choice("capacity_order", "position", {"position", "probability"},
                                  "who comes first among choices of one rank") == "probability"),
      in_evaluation_(spec.choice("eval_capacity", "dropless", {"dropless", "train"}, "capacity in evaluation") == "train") {}

i64 Capacity::limit(i64 tokens, i64 experts, bool training) const {
  if (factor_ <= 0 || (!training && !in_evaluation_)) return 0;
  const double fair = static_cast<double>(choices_) * factor_ * static_cast<double>(tokens) / static_cast<double>(experts);
  // A product like 1.1 * 10 must not be pushed over the next integer by rounding.
  const double up = std::ceil(fair * (1 - 1e-12));
  return std::max<i64>({minimum_, 1, static_cast<i64>(up)});
}

void Capacity::apply(Assignment& a, ConstMatrixView p, const RoutingContext& context) const {
  const i64 limit_c = limit(context.lanes.tokens(), a.experts, context.training);
  if (limit_c == 0) return;
  std::vector<i64> wanted = count_per_expert(a, false);
  comm::all_reduce_sum<i64>(context.world, wanted);
  // Only over-full experts need a judge; expert e is judged by rank e mod P.
  const i64 ranks = context.world.size();
  const auto full = [&](std::int32_t e) { return wanted[e] > limit_c; };
  std::vector<std::vector<Candidate>> to_judge(static_cast<std::size_t>(ranks));
  std::vector<std::vector<i64>> entry_of(static_cast<std::size_t>(ranks));
  for (i64 t = 0; t < a.tokens(); ++t) {
    const i64 begin = a.offset[t];
    for (i64 i = begin; i < a.offset[t + 1]; ++i) {
      const std::int32_t e = a.expert[i];
      if (!full(e)) continue;
      const std::size_t judge = static_cast<std::size_t>(e % ranks);
      to_judge[judge].push_back({context.lanes.first_token() + t, static_cast<double>(p(t, e)), e, static_cast<std::int32_t>(i - begin)});
      entry_of[judge].push_back(i);
    }
  }
  std::vector<i64> send_counts;
  std::vector<Candidate> send;
  for (const auto& list : to_judge) {
    send_counts.push_back(static_cast<i64>(list.size()));
    send.insert(send.end(), list.begin(), list.end());
  }
  const std::vector<i64> recv_counts = comm::all_to_all_counts(context.world, send_counts);
  i64 received = 0;
  for (const i64 n : recv_counts) received += n;
  std::vector<Candidate> cases(static_cast<std::size_t>(received));
  comm::all_to_all_rows<char>(context.world, reinterpret_cast<const char*>(send.data()), send_counts,
                              reinterpret_cast<char*>(cases.data()), recv_counts, sizeof(Candidate));

  std::vector<i64> order(cases.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<i64>(i);
  std::sort(order.begin(), order.end(), [&](i64 left, i64 right) {
    const Candidate &x = cases[left], &y = cases[right];
    if (x.expert != y.expert) return x.expert < y.expert;
    if (x.choice != y.choice) return x.choice < y.choice;
    if (by_probability_ && x.p != y.p) return x.p > y.p;
    return x.token < y.token;
  });
  std::vector<std::uint8_t> verdict(cases.size()), answer(send.size());
  i64 placed = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const Candidate& c = cases[order[i]];
    if (i == 0 || c.expert != cases[order[i - 1]].expert) placed = 0;
    verdict[order[i]] = placed++ < limit_c;
  }
  comm::all_to_all_rows<std::uint8_t>(context.world, verdict.data(), recv_counts, answer.data(), send_counts, 1);
  std::size_t at = 0;
  for (const auto& list : entry_of) {
    for (const i64 i : list) a.kept[i] = answer[at++];
  }
}

}  // namespace pleiad::routing
