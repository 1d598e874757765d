// Free adapters against their definition, token by token: who gets which, with what weight, and what they compute.
#include "pleiad/model/adapter.hpp"

#include "model/tiny_model.hpp"
#include "support/start_mpi.hpp"

namespace pleiad::model {
namespace {

constexpr i64 k_width = 5, k_experts = 4, k_hidden = 3;
using Set = std::vector<std::int32_t>;
// Six tokens in two lanes.
const std::vector<Set> k_sets = {{2, 0}, {1}, {}, {3, 1, 0, 2}, {2}, {0, 2}};

routing::Assignment assignment_of(const std::vector<Set>& sets) {
  routing::Assignment a;
  a.experts = k_experts;
  for (const Set& s : sets) {
    a.expert.insert(a.expert.end(), s.begin(), s.end());
    a.offset.push_back(a.entries());
  }
  a.weight.assign(a.expert.size(), 1);
  a.kept.assign(a.expert.size(), 0);  // whatever a capacity drops, the selection counts
  return a;
}

struct Free {
  explicit Free(const std::string& kind, bool fresh = false)
      : adapter(params, "own/", read({{"adapter", kind}, {"adapter_width", "3"}}), k_experts, k_width, 2) {
    params.allocate();
    params.initialise(8);
    if (!fresh) test::fill_normal(params.values(Owner::replicated), 17, 0.5);
  }
  static AdapterConfig read(const Keys& keys) {
    Spec spec = spec_of("moe", keys);
    const AdapterConfig c = AdapterConfig::read(spec);
    spec.finish();
    return c;
  }
  void run(const Matrix& x, Matrix& y, std::vector<std::uint8_t> real_tokens = {}) {
    const LaneLayout lanes{2, x.rows(), 1, 1, 0};
    StepContext context{grid, lanes, times};
    context.real_tokens = real_tokens;
    adapter.forward(params, x, assignment_of(k_sets), context, trace, y);
  }
  real at(i64 e, const std::string& name, i64 i, i64 j) {
    const ParamInfo& p = *params.find(fmt::format("own/experts/{}/{}", e, name));
    return params.slice(p, params.values(p.owner))[i * p.cols + j];
  }
  /// Adds weight * A_e(x) to y, in double.
  void add_definition(i64 e, const real* x, double weight, std::vector<double>& y) {
    std::vector<double> hidden;
    for (i64 h = 0; h < k_hidden; ++h) {
      double sum = static_cast<double>(at(e, "b_in", 0, h));
      for (i64 j = 0; j < k_width; ++j) sum += static_cast<double>(at(e, "w_in", h, j)) * static_cast<double>(x[j]);
      hidden.push_back(std::max(sum, 0.0));
    }
    for (i64 j = 0; j < k_width; ++j) {
      double sum = static_cast<double>(at(e, "b_out", 0, j));
      for (i64 h = 0; h < k_hidden; ++h) sum += static_cast<double>(at(e, "w_out", j, h)) * hidden[h];
      y[j] += weight * sum;
    }
  }

  comm::ProcessGrid grid = test::grid_of_me();
  PhaseTimes times;
  ParamSet params;
  Adapter adapter;
  AdapterTrace trace;
};

TEST(Adapter, SharedIsTheSameForEveryTokenWhateverItSelected) {
  Free free("shared");
  const Matrix x = test::normal_matrix(6, k_width, 5);
  Matrix y(6, k_width);
  free.run(x, y);
  for (i64 t = 0; t < 6; ++t) {
    std::vector<double> expected(k_width, 0);
    free.add_definition(0, x.row(t), 1, expected);
    EXPECT_TRUE(test::all_near(test::rows_of(y, t, 1).flat(), expected, 1e-5)) << "token " << t;
  }
}

TEST(Adapter, PerExpertIsTheMeanOverTheSelection) {
  Free free("per_expert");
  const Matrix x = test::normal_matrix(6, k_width, 5);
  Matrix y(6, k_width);
  free.run(x, y);
  for (i64 t = 0; t < 6; ++t) {
    std::vector<double> expected(k_width, 0);
    for (const std::int32_t e : k_sets[t]) free.add_definition(e, x.row(t), 1.0 / static_cast<double>(k_sets[t].size()), expected);
    EXPECT_TRUE(test::all_near(test::rows_of(y, t, 1).flat(), expected, 1e-5)) << "token " << t;
  }
}

TEST(Adapter, IsAddedToWhatIsThereAndGivesPaddingNothing) {
  const std::vector<std::uint8_t> real_tokens = {1, 0, 1, 1, 1, 0};
  for (const char* kind : {"shared", "per_expert"}) {
    Free free(kind);
    const Matrix x = test::normal_matrix(6, k_width, 5), before = test::normal_matrix(6, k_width, 6);
    Matrix all(6, k_width), y = test::rows_of(before, 0, 6);
    free.run(x, all);
    free.run(x, y, real_tokens);
    for (i64 t = 0; t < 6; ++t) {
      for (i64 j = 0; j < k_width; ++j) EXPECT_NEAR(y(t, j), before(t, j) + (real_tokens[t] ? all(t, j) : 0), 1e-6) << kind << ", token " << t;
    }
    // Backward: nothing for padding either, and added.
    Matrix d_x = test::rows_of(before, 0, 6);
    free.params.allocate_grads(2);
    free.adapter.backward(free.params, x, test::normal_matrix(6, k_width, 7), free.trace, d_x);
    for (i64 t = 0; t < 6; ++t) {
      const bool moved = !test::same_bits(test::rows_of(d_x, t, 1), test::rows_of(before, t, 1));
      EXPECT_EQ(moved, real_tokens[t] && !(kind == std::string("per_expert") && k_sets[t].empty())) << kind << ", token " << t;
    }
  }
}

TEST(Adapter, StartsNearZeroButNotDead) {
  for (const char* kind : {"shared", "per_expert"}) {
    Free fresh(kind, true);
    Matrix y(6, k_width);
    fresh.run(test::normal_matrix(6, k_width, 5), y);
    double most = 0;
    for (const real v : y.flat()) most = std::max(most, std::abs(static_cast<double>(v)));
    EXPECT_GT(most, 0) << kind;
    EXPECT_LT(most, 0.01) << kind;
    EXPECT_GT(std::abs(fresh.at(0, "w_in", 0, 0)), 1e-3) << "so that the output matrix gets a gradient";
  }
}

TEST(Adapter, CountsItsParametersAndWork) {
  Free shared("shared"), each("per_expert");
  i64 one = 0, all = 0;
  for (const ParamInfo& p : shared.params.infos()) one += p.size();
  for (const ParamInfo& p : each.params.infos()) {
    all += p.size();
    EXPECT_EQ(p.owner, Owner::replicated) << p.name;
  }
  EXPECT_EQ(one, 2 * k_width * k_hidden + k_hidden + k_width);
  EXPECT_EQ(all, k_experts * one);
  EXPECT_EQ(shared.adapter.flops_per_token(), 4.0 * k_width * k_hidden);
  EXPECT_EQ(shared.adapter.flops_per_selection(), 0);
  EXPECT_EQ(each.adapter.flops_per_token(), 0);
  EXPECT_EQ(each.adapter.flops_per_selection(), 4.0 * k_width * k_hidden);
}

TEST(Adapter, RefusesBadOptionsByName) {
  const auto error = [](const Keys& keys) {
    return test::message_of<UserError>([&] {
      Spec spec = spec_of("moe", keys);
      MoeConfig::read(spec, 2);
      if (!keys.count("router")) spec.finish();
    });
  };
  EXPECT_TRUE(test::contains(error({{"adapter", "all"}}), "moe.adapter = all: must be one of none, shared, per_expert"));
  EXPECT_TRUE(test::contains(error({{"adapter", "shared"}, {"adapter_width", "0"}}), "moe.adapter_width = 0"));
  EXPECT_TRUE(test::contains(error({{"adapter_width", "4"}}), "moe.adapter_width = 4: unknown")) << "without an adapter nobody reads it";
  for (const char* kind : {"shared", "per_expert"}) {
    const std::string both = error({{"preset", "hypermoe"}, {"adapter", kind}});
    EXPECT_TRUE(test::contains(both, fmt::format("moe.adapter = {}: does not go with moe.hyper = true", kind))) << both;
  }
  for (const char* router : {"peer", "pkm"}) {
    const std::string many = error({{"router", router}, {"adapter", "per_expert"}});
    EXPECT_TRUE(test::contains(many, fmt::format("moe.adapter = per_expert: does not go with moe.router = {}", router))) << many;
    EXPECT_EQ(error({{"router", router}, {"adapter", "shared"}}), "(nothing was thrown)");
  }
}

}  // namespace
}  // namespace pleiad::model
