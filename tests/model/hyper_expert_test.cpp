// The generated expert against its definition, token by token: which sets are generated, for whom, and what they compute.
#include "pleiad/model/hyper_expert.hpp"

#include "model/tiny_model.hpp"
#include "support/start_mpi.hpp"

namespace pleiad::model {
namespace {

constexpr i64 k_width = 5, k_experts = 4;
using Set = std::vector<std::int32_t>;

routing::Assignment assignment_of(const std::vector<Set>& sets) {
  routing::Assignment a;
  a.experts = k_experts;
  for (const Set& s : sets) {
    a.expert.insert(a.expert.end(), s.begin(), s.end());
    a.offset.push_back(static_cast<i64>(a.expert.size()));
  }
  a.weight.assign(a.expert.size(), 1);
  a.kept.assign(a.expert.size(), 0);  // whatever a capacity drops, the selection counts
  return a;
}

/// Row-major matrix times vector plus bias, in double.
std::vector<double> affine(ConstMatrixView w, ConstMatrixView b, const std::vector<double>& x) {
  std::vector<double> y;
  for (i64 i = 0; i < w.rows; ++i) {
    y.push_back(static_cast<double>(b(0, i)));
    for (i64 j = 0; j < w.cols; ++j) y.back() += static_cast<double>(w(i, j)) * x[static_cast<std::size_t>(j)];
  }
  return y;
}
std::vector<double> relu(std::vector<double> x) {
  for (double& v : x) v = std::max(v, 0.0);
  return x;
}

struct Generated {
  explicit Generated(const std::string& input, i64 layer = 1, const std::string& layer_width = "2") : config(read(input, layer_width)), layer_number(layer) {
    network = std::make_unique<HyperNetwork>(params, "shared/", config, k_width);
    expert = std::make_unique<HyperExpert>(params, "own/", *network, k_experts, k_width, layer);
    params.allocate();
    test::fill_normal(params.values(Owner::replicated), 17, 0.5);
  }
  static HyperConfig read(const std::string& input, const std::string& layer_width) {
    Spec spec = spec_of("moe", with(k_small_hyper, {{"hyper", "true"}, {"hyper_input", input}, {"hyper_layer_embedding", layer_width}}));
    HyperConfig c = HyperConfig::read(spec);
    spec.finish();
    c.layers = 2;
    return c;
  }

  Matrix run(const Matrix& x, const std::vector<Set>& sets, std::vector<std::uint8_t> real_tokens = {}) {
    const LaneLayout lanes{2, x.rows(), 1, 1, 0};
    StepContext context{grid, lanes, times};
    context.real_tokens = real_tokens;
    Matrix y(x.rows(), k_width);
    expert->forward(params, x, assignment_of(sets), context, trace, y);
    return y;
  }

  ConstMatrixView at(const std::string& name) {
    const ParamInfo& p = *params.find(name);
    return {params.slice(p, params.values(p.owner)).data(), p.rows, p.cols};
  }
  /// What the definition says that a token with the sum over `summed` gets.
  std::vector<double> by_definition(const real* x, const Set& summed) {
    std::vector<double> s(3, 0);
    for (const std::int32_t e : summed) {
      for (i64 j = 0; j < 3; ++j) s[static_cast<std::size_t>(j)] += static_cast<double>(at("own/expert_embedding")(e, j));
    }
    std::vector<double> q = affine(at("own/sel_w2"), at("own/sel_b2"), relu(affine(at("own/sel_w1"), at("own/sel_b1"), s)));
    for (i64 j = 0; j < config.layer_embedding; ++j) q.push_back(static_cast<double>(at("shared/layer_embedding")(layer_number, j)));
    const std::vector<double> v = relu(affine(at("shared/trunk_w"), at("shared/trunk_b"), q));
    const std::vector<double> down = affine(at("shared/down_w"), at("shared/down_b"), v), up = affine(at("shared/up_w"), at("shared/up_b"), v);
    std::vector<double> hidden = affine(at("shared/down_bias_w"), at("shared/down_bias_b"), v), y = affine(at("shared/up_bias_w"), at("shared/up_bias_b"), v);
    for (std::size_t i = 0; i < k_width; ++i) {
      for (std::size_t b = 0; b < 2; ++b) hidden[b] += static_cast<double>(x[i]) * down[i * 2 + b];
    }
    hidden = relu(hidden);
    for (std::size_t b = 0; b < 2; ++b) {
      for (std::size_t i = 0; i < k_width; ++i) y[i] += hidden[b] * up[b * k_width + i];
    }
    return y;
  }

  comm::ProcessGrid grid = test::grid_of_me();
  PhaseTimes times;
  HyperConfig config;
  i64 layer_number;
  ParamSet params;
  std::unique_ptr<HyperNetwork> network;
  std::unique_ptr<HyperExpert> expert;
  HyperTrace trace;
};

const std::vector<Set> k_sets = {{2, 0}, {1}, {0, 2}, {}, {1}, {3, 1, 0, 2}, {2}, {0, 2}};
Set others(const Set& chosen) {
  Set rest;
  for (std::int32_t e = 0; e < k_experts; ++e) {
    if (std::ranges::find(chosen, e) == chosen.end()) rest.push_back(e);
  }
  return rest;
}

TEST(HyperExpert, IsGeneratedFromTheExpertsThatWereNotChosen) {
  for (const i64 layer : {0, 1}) {
    Generated g("unselected", layer);
    const Matrix x = test::normal_matrix(8, k_width, 5), y = g.run(x, k_sets);
    for (i64 t = 0; t < 8; ++t) EXPECT_TRUE(test::all_near(test::rows_of(y, t, 1).flat(), g.by_definition(x.row(t), others(k_sets[t])), 1e-5)) << "token " << t;
  }
}

TEST(HyperExpert, CanBeGeneratedFromTheChosenOrFromAllExpertsAsAControl) {
  Generated selected("selected"), constant("constant");
  const Matrix x = test::normal_matrix(8, k_width, 5), y = selected.run(x, k_sets), z = constant.run(x, k_sets);
  for (i64 t = 0; t < 8; ++t) {
    EXPECT_TRUE(test::all_near(test::rows_of(y, t, 1).flat(), selected.by_definition(x.row(t), k_sets[t]), 1e-5)) << "token " << t;
    EXPECT_TRUE(test::all_near(test::rows_of(z, t, 1).flat(), constant.by_definition(x.row(t), {0, 1, 2, 3}), 1e-5)) << "token " << t;
  }
}

TEST(HyperExpert, CanDoWithoutALayerEmbeddingAsAControl) {
  Generated g("unselected", 1, "0"), other("unselected", 0, "0");
  EXPECT_EQ(g.params.find("shared/layer_embedding"), nullptr);
  const Matrix x = test::normal_matrix(8, k_width, 5), y = g.run(x, k_sets);
  for (i64 t = 0; t < 8; ++t) EXPECT_TRUE(test::all_near(test::rows_of(y, t, 1).flat(), g.by_definition(x.row(t), others(k_sets[t])), 1e-5)) << "token " << t;
  EXPECT_TRUE(test::same_bits(y, other.run(x, k_sets))) << "no layer differs from another";
}

TEST(HyperExpert, IsGeneratedOnceForEachDistinctSet) {
  Generated g("unselected");
  g.run(test::normal_matrix(8, k_width, 5), k_sets);
  EXPECT_EQ(g.trace.sets, (std::vector<Set>{{}, {0, 1, 2, 3}, {0, 2}, {1}, {2}}));
  EXPECT_EQ(g.trace.network.weights.rows(), 5);
  EXPECT_EQ(g.trace.query.rows(), 5);

  std::vector<Set> many;
  for (int t = 0; t < 500; ++t) many.push_back(t % 3 == 0 ? Set{0, 1} : t % 3 == 1 ? Set{1, 0} : Set{3});
  g.run(test::normal_matrix(500, k_width, 6), many);
  EXPECT_EQ(g.trace.sets, (std::vector<Set>{{0, 1}, {3}}));
  EXPECT_EQ(g.trace.network.weights.rows(), 2);
}

TEST(HyperExpert, IsTheSameFunctionForTheSameSetAndAnotherForAnother) {
  Generated g("unselected");
  Matrix x(8, k_width);
  for (i64 t = 0; t < 8; ++t) test::fill_normal(x.view().row_range(t, 1).flat(), 5);
  const Matrix y = g.run(x, k_sets);
  const auto row = [&](i64 t) { return test::rows_of(y, t, 1); };
  EXPECT_TRUE(test::all_near(row(0).flat(), row(2).flat(), 1e-6)) << "the order of choice does not matter";
  EXPECT_TRUE(test::all_near(row(0).flat(), row(7).flat(), 1e-6)) << "nor does the lane";
  EXPECT_TRUE(test::all_near(row(1).flat(), row(4).flat(), 1e-6));
  for (const i64 t : {1, 3, 5, 6}) EXPECT_FALSE(test::all_near(row(0).flat(), row(t).flat(), 1e-3)) << "token " << t;
}

TEST(HyperExpert, IsAddedToWhatIsThereAndGivesPaddingNothing) {
  Generated g("unselected");
  const Matrix x = test::normal_matrix(8, k_width, 5), alone = g.run(x, k_sets);
  const Matrix y = g.run(x, k_sets, {1, 0, 1, 1, 0, 0, 1, 1});
  EXPECT_EQ(g.trace.sets, (std::vector<Set>{{}, {0, 2}, {2}})) << "sets of padding are not generated";
  for (i64 t = 0; t < 8; ++t) {
    const bool real_token = t != 1 && t != 4 && t != 5;
    for (i64 j = 0; j < k_width; ++j) EXPECT_NEAR(y(t, j), real_token ? alone(t, j) : 0, 1e-6) << "token " << t;
  }
  Matrix twice(8, k_width);
  const LaneLayout lanes{2, 8, 1, 1, 0};
  const StepContext context{g.grid, lanes, g.times};
  for (int i = 0; i < 2; ++i) g.expert->forward(g.params, x, assignment_of(k_sets), context, g.trace, twice);
  for (std::size_t i = 0; i < twice.flat().size(); ++i) EXPECT_NEAR(twice.flat()[i], 2 * alone.flat()[i], 1e-5);
}

TEST(HyperExpert, RefusesBadOptionsByName) {
  const auto error = [](const Keys& keys) {
    return test::message_of<UserError>([&] {
      Spec spec = spec_of("moe", keys);
      HyperConfig::read(spec);
      spec.finish();
    });
  };
  EXPECT_TRUE(test::contains(error({{"hyper", "true"}, {"hyper_input", "some"}}), "moe.hyper_input = some"));
  EXPECT_TRUE(test::contains(error({{"hyper", "true"}, {"hyper_bottleneck", "0"}}), "moe.hyper_bottleneck = 0"));
  EXPECT_TRUE(test::contains(error({{"hyper", "often"}}), "moe.hyper = often"));
  EXPECT_TRUE(test::contains(error({{"hyper_bottleneck", "4"}}), "moe.hyper_bottleneck")) << "without hyper nobody reads it";
}

}  // namespace
}  // namespace pleiad::model
