// Whole language models with every registered router: what comes later changes nothing that was said earlier; and models whose routers look
// at later tokens are refused unless the user lets them. Nothing but rounding: later tokens change how many rows an expert multiplies at
// once, and on some processors OpenBLAS rounds a row differently with the number of rows beside it (docs/numerics.md).
#include "model/tiny_model.hpp"
#include "support/router_cases.hpp"

namespace pleiad::model {
namespace {

constexpr i64 k_length = 9;
constexpr double k_rounding = 2e-5, k_leak = 1e-3;  // log probabilities of 1 to 10; what a router lets through is larger by far
const Keys k_model = with(k_tiny_model, {{"seq_len", "9"}});

Keys keys_of(const std::string& router, const test::RouterOptions& options) {
  Keys keys = with(options.keys, {{"router", router}, {"layers", "all"}, {"experts", std::to_string(options.widths.size())},
                                  {"expert_widths", fmt::format("{}", fmt::join(options.widths, ","))}, {"allow_noncausal", "true"}});
  keys.erase("eval_capacity");  // a capacity in evaluation is shared with later tokens
  return keys;
}

Matrix evaluated(TinyModel& tiny, const LaneLayout& lanes, const Batch& batch) {
  ModelTrace trace;
  tiny.model->forward(tiny.params, batch, {tiny.grid, lanes, tiny.times, 1, 0, false}, trace);
  return std::move(trace.log_p);
}

/// Largest difference in rows [first, first + count).
double difference(const Matrix& a, const Matrix& b, i64 first, i64 count) {
  double largest = 0;
  for (i64 i = first; i < first + count; ++i) {
    for (i64 j = 0; j < a.cols(); ++j) largest = std::max(largest, std::abs(static_cast<double>(a.row(i)[j]) - static_cast<double>(b.row(i)[j])));
  }
  return largest;
}

/// Whether the predictions of all tokens before `changed` stay when all later tokens are others; in every sequence.
void expect_causal(TinyModel& tiny) {
  const LaneLayout lanes = tiny.lanes(8, 10);
  const Batch batch = TinyModel::batch(lanes);
  const Matrix before = evaluated(tiny, lanes, batch);
  for (const i64 changed : {1, 5, 8}) {
    Batch other = batch;
    for (i64 s = 0; s < lanes.my_sequences().count; ++s) {
      for (i64 i = changed; i < k_length; ++i) other.input[s * k_length + i] = (other.input[s * k_length + i] + 3) % k_tiny_vocab;
    }
    const Matrix after = evaluated(tiny, lanes, other);
    for (i64 s = 0; s < lanes.my_sequences().count; ++s) {
      EXPECT_LE(difference(before, after, s * k_length, changed), k_rounding) << "changed from " << changed;
      EXPECT_GE(difference(before, after, s * k_length + changed, 1), k_leak);
    }
  }
}

TEST(Causality, HoldsForTheWholeModelWithEveryRouterThatClaimsIt) {
  i64 causal = 0;
  for (const routing::RouterVariant& variant : routing::router_variants()) {
    for (const test::RouterOptions& options : test::options_of(variant.name)) {
      const Keys keys = keys_of(variant.name, options);
      SCOPED_TRACE(name_of(keys));
      TinyModel tiny(test::grid_of_all(), k_model, keys);
      if (!tiny.model->causal()) continue;
      tiny.shake();
      expect_causal(tiny);
      ++causal;
    }
  }
  EXPECT_GE(causal, 15) << "hardly any router claims to be causal";
}

TEST(Causality, HoldsForGeneratedExperts) {
  for (const char* input : {"unselected", "selected", "constant"}) {
    SCOPED_TRACE(input);
    TinyModel tiny(test::grid_of_all(), k_model,
                   with(with(k_tiny_moe, k_small_hyper), {{"preset", "hypermoe"}, {"k", "2"}, {"hyper_input", input}, {"layers", "all"}}));
    tiny.shake();
    expect_causal(tiny);
  }
}

// If these stayed too, the test above would see nothing.
TEST(Causality, IsLostWithARouterThatLooksAtLaterTokens) {
  for (const Keys& more : {Keys{{"router", "expert_choice"}}, Keys{{"router", "damoe"}, {"k_rule", "budget"}},
                           Keys{{"router", "damoe"}, {"importance", "received"}}}) {
    TinyModel tiny(test::grid_of_me(), k_model, with(with(k_tiny_moe, more), {{"allow_noncausal", "true"}, {"layers", "0"}}));
    tiny.shake();
    EXPECT_FALSE(tiny.model->causal());
    const LaneLayout lanes = tiny.lanes(1, 10);
    Batch batch = TinyModel::batch(lanes);
    const Matrix before = evaluated(tiny, lanes, batch);
    for (i64 s = 0; s < 10; ++s) {
      for (i64 i = 5; i < k_length; ++i) batch.input[s * k_length + i] = (batch.input[s * k_length + i] + 3) % k_tiny_vocab;
    }
    const Matrix after = evaluated(tiny, lanes, batch);
    double largest = 0;
    for (i64 s = 0; s < 10; ++s) largest = std::max(largest, difference(before, after, s * k_length, 5));
    EXPECT_GE(largest, k_leak) << name_of(more);
  }
}

TEST(Causality, RoutersThatLookAtLaterTokensAreRefusedUnlessAllowed) {
  for (const Keys& more : {Keys{{"router", "expert_choice"}}, Keys{{"router", "damoe"}, {"k_rule", "budget"}},
                           Keys{{"router", "damoe"}, {"importance", "received"}}, Keys{{"router", "damoe"}, {"importance", "column"}}}) {
    const Keys keys = with(k_tiny_moe, more);
    const std::string message = test::message_of<UserError>([&] { TinyModel(test::grid_of_me(), k_model, keys); });
    EXPECT_TRUE(test::contains(message, "moe.router = " + more.at("router"))) << message;
    EXPECT_TRUE(test::contains(message, "moe.allow_noncausal = true")) << message;
    EXPECT_FALSE(TinyModel(test::grid_of_me(), k_model, with(keys, {{"allow_noncausal", "true"}})).model->causal());
  }
  // A capacity in evaluation: tokens compete with later ones.
  const Keys capped = with(k_tiny_moe, {{"k", "2"}, {"capacity_factor", "0.5"}, {"eval_capacity", "train"}});
  for (const char* router : {"topk", "threshold", "noisy_topk", "sigmoid_bias"}) {
    Keys keys = with(capped, {{"router", router}});
    if (std::string(router) == "threshold") keys.erase("k");
    const std::string message = test::message_of<UserError>([&] { TinyModel(test::grid_of_me(), k_model, keys); });
    EXPECT_TRUE(test::contains(message, "moe.eval_capacity = train")) << router << ": " << message;
    keys["eval_capacity"] = "dropless";
    EXPECT_TRUE(TinyModel(test::grid_of_me(), k_model, keys).model->causal()) << router;
  }
  const Keys by_position = with(k_tiny_moe, {{"router", "expert_choice"}, {"choice_group", "position"}});
  EXPECT_TRUE(TinyModel(test::grid_of_me(), k_model, by_position).model->causal());
}

}  // namespace
}  // namespace pleiad::model
