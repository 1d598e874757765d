// Loads that training rarely has, step after step through the same exchanger, against counts and numbers worked out from the assignment alone. All numbers are small
// whole ones times powers of two, so sums are exact in any order; memory holds NaN
// until something arrives in it, then what the step before left.
#include "exchange/every_exchanger.hpp"
#include "pleiad/comm/limit.hpp"
#include "pleiad/core/poison.hpp"

namespace pleiad::exchange {
namespace {

using test::my_rows;

constexpr i64 k_experts = 7, k_width = 3, k_seq_len = 4, k_steps = 4;

/// Experts of token t of so many in a step; the map says who owns them.
using Load = std::vector<i64> (*)(i64 step, i64 t, i64 tokens, const ExpertMap& map);

std::vector<i64> all_experts() {
  std::vector<i64> all;
  for (i64 e = 0; e < k_experts; ++e) all.push_back(e);
  return all;
}
std::vector<i64> balanced(i64 step, i64 t, i64, const ExpertMap&) { return {(t + step) % k_experts, (t + step + 3) % k_experts}; }
std::vector<i64> hot_expert(i64, i64, i64, const ExpertMap&) { return {3}; }
std::vector<i64> hot_rank(i64 step, i64, i64, const ExpertMap& map) { return map.owned_by(map.owner(step % k_experts)); }
std::vector<i64> spread_hot(i64, i64 t, i64, const ExpertMap&) { return t % 10 == 9 ? std::vector<i64>{1} : std::vector<i64>{0, k_experts / 2, k_experts - 1}; }
std::vector<i64> ragged_sources(i64 step, i64 t, i64 tokens, const ExpertMap&) { return 4 * t / tokens == step ? all_experts() : t % 5 == 0 ? std::vector<i64>{2} : std::vector<i64>{}; }
std::vector<i64> rotating_hot_spot(i64 step, i64, i64, const ExpertMap&) { return {2 * step % k_experts}; }
std::vector<i64> bursts(i64 step, i64 t, i64, const ExpertMap&) { return step % 2 == 1 ? all_experts() : step == 2 && t == 5 ? std::vector<i64>{6} : std::vector<i64>{}; }

struct Extreme {
  const char* name;
  Load load;
  i64 sequences = 17;
};
std::ostream& operator<<(std::ostream& out, const Extreme& e) { return out << e.name; }

real small_number(std::uint64_t seed, i64 place) { return static_cast<real>(static_cast<i64>(Stream(seed, Purpose::test).below(static_cast<std::uint64_t>(place), 17)) - 8); }

Matrix small_numbers(std::uint64_t seed, i64 rows) {
  Matrix m(rows, k_width);
  for (i64 i = 0; i < rows * k_width; ++i) m.data()[i] = small_number(seed, i);
  return m;
}

/// Weights are 1/4 to 4; every eleventh entry is dropped.
routing::Assignment assignment_of(const Extreme& extreme, i64 step, i64 tokens, const ExpertMap& map) {
  routing::Assignment a;
  a.experts = k_experts;
  for (i64 t = 0; t < tokens; ++t) {
    for (const i64 e : extreme.load(step, t, tokens, map)) {
      a.kept.push_back(a.entries() % 11 != 10);
      a.expert.push_back(static_cast<std::int32_t>(e));
      a.weight.push_back(static_cast<real>(0.25 * static_cast<double>(1 << (e + t) % 5)));
    }
    a.offset.push_back(a.entries());
  }
  return a;
}

/// What must come out for one step.
struct Oracle {
  Matrix y, d_x;
  std::vector<real> d_weight;
  std::vector<std::vector<i64>> tokens_of;  // kept, by expert, ascending

  Oracle(const routing::Assignment& a, const Matrix& x, const Matrix& d_y, const Matrix& before)
      : y(x.rows(), k_width), d_x(test::rows_of(before, 0, before.rows())), d_weight(a.expert.size()), tokens_of(static_cast<std::size_t>(a.experts)) {
    for (i64 t = 0; t < a.tokens(); ++t) {
      for (i64 i = a.offset[t]; i < a.offset[t + 1]; ++i) {
        if (!a.kept[i]) continue;
        const i64 e = a.expert[i];
        tokens_of[e].push_back(t);
        std::vector<real> out(x.row(t), x.row(t) + k_width), back(d_y.row(t), d_y.row(t) + k_width);
        pretend_expert(out.data(), k_width, e);
        pretend_expert(back.data(), k_width, e);
        for (i64 j = 0; j < k_width; ++j) {
          y(t, j) += a.weight[i] * out[j];
          d_x(t, j) += back[j];
          d_weight[i] += back[j] * static_cast<real>(1 + e);
        }
      }
    }
  }
};

/// Equal as numbers: NaN equals nothing, and -0 is 0.
template <class A, class B>
testing::AssertionResult all_equal(const A& a, const B& b) {
  return test::all_near(a, b, 0);
}

class Extremes : public testing::TestWithParam<Extreme> {
 protected:
  Extremes() { poison_new_memory = true; }
  ~Extremes() override { poison_new_memory = false; }

  void expect_exact(const Exchanger& exchanger, const ExpertMap& map, i64 step) const {
    const LaneLayout lanes(8, GetParam().sequences, k_seq_len, comm_.size(), comm_.rank());
    const i64 tokens = lanes.tokens(), first = lanes.first_token(), mine = lanes.my_tokens();
    const std::uint64_t seed = 10 * static_cast<std::uint64_t>(step);
    const Matrix x = small_numbers(seed, tokens), d_y = small_numbers(seed + 1, tokens), before = small_numbers(seed + 2, tokens);
    const routing::Assignment all = assignment_of(GetParam(), step, tokens, map), a = test::tokens_of(all, first, mine);
    const Oracle oracle(all, x, d_y, before);
    const Pass pass = run(exchanger, a, map, comm_.rank(), lanes, my_rows(x, lanes), my_rows(d_y, lanes), my_rows(before, lanes));

    const auto here = [&](const Matrix& m) { return test::rows_of(m, first, mine); };
    EXPECT_TRUE(all_equal(pass.y.flat(), here(oracle.y).flat()));
    EXPECT_TRUE(all_equal(pass.d_x.flat(), here(oracle.d_x).flat()));
    const auto weights = oracle.d_weight.begin() + all.offset[first];
    EXPECT_TRUE(all_equal(pass.d_weight, std::vector<real>(weights, weights + a.entries())));

    const std::vector<i64>& own = map.owned_by(comm_.rank());
    std::vector<i64> rows(own.size(), 0), wanted;
    for (const experts::ExpertRun& r : pass.plan.at_experts.runs) {
      rows[r.expert] += r.rows();
      const std::vector<i64>& from = oracle.tokens_of[own[r.expert]];
      if (r.rows() != static_cast<i64>(from.size())) continue;
      for (i64 i = 0; i < r.rows(); ++i) {
        for (i64 j = 0; j < k_width; ++j) {
          EXPECT_EQ(pass.rows(r.begin + i, j), x(from[i], j)) << "expert " << own[r.expert] << ", its row " << i;
          EXPECT_EQ(pass.d_out(r.begin + i, j), d_y(from[i], j)) << "expert " << own[r.expert] << ", its row " << i;
        }
      }
    }
    for (const i64 e : own) wanted.push_back(static_cast<i64>(oracle.tokens_of[e].size()));
    EXPECT_EQ(rows, wanted) << "rows of the experts of this rank";
  }

  const comm::Communicator comm_ = comm::Communicator::world();
};

TEST_P(Extremes, BringEveryRowOnceAndTheResultsHome) {
  for (const Combine combine : {Combine::home, Combine::owner}) {
    for_each_exchanger(comm_, combine, [&](const Exchanger& exchanger, ExpertPlacement rule) {
      const ExpertMap map(rule, widths_of(k_experts), comm_.size());
      for (i64 step = 0; step < k_steps; ++step) {
        SCOPED_TRACE("step " + std::to_string(step));
        expect_exact(exchanger, map, step);
      }
    });
  }
}

// Every message is longer than a call of MPI may be told.
TEST_P(Extremes, DoNotNeedMessagesThatFitOneCall) {
  const i64 before = comm::most_per_call;
  comm::most_per_call = 16;
  for_each_exchanger(comm_, Combine::home, [&](const Exchanger& exchanger, ExpertPlacement rule) {
    expect_exact(exchanger, ExpertMap(rule, widths_of(k_experts), comm_.size()), 1);
  });
  comm::most_per_call = before;
}

INSTANTIATE_TEST_SUITE_P(Loads, Extremes,
                         testing::Values(Extreme{"balanced", balanced}, Extreme{"one_hot_expert", hot_expert}, Extreme{"one_hot_rank", hot_rank},
                                         Extreme{"spread_hot", spread_hot}, Extreme{"ragged_sources", ragged_sources}, Extreme{"ranks_without_tokens", balanced, 3},
                                         Extreme{"no_tokens", balanced, 0}, Extreme{"rotating_hot_spot", rotating_hot_spot}, Extreme{"bursts", bursts}),
                         [](const auto& of) { return std::string(of.param.name); });

}  // namespace
}  // namespace pleiad::exchange
