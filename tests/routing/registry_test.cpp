// The registry of routing variants, and what every variant says about bad options.
#include "pleiad/routing/registry.hpp"

#include <set>

#include "support/router_cases.hpp"

namespace pleiad::routing {
namespace {

TEST(Registry, NamesAreUniqueAndFound) {
  std::set<std::string> names;
  for (const RouterVariant& v : router_variants()) {
    EXPECT_TRUE(names.insert(v.name).second) << v.name << " is registered twice";
    EXPECT_FALSE(v.summary.empty()) << v.name;
    EXPECT_EQ(router_variant(v.name).make, v.make);
  }
  for (const char* must : {"dense", "topk", "noisy_topk"}) EXPECT_EQ(names.count(must), 1u) << must;
  EXPECT_EQ(router_names().size(), names.size());
}

TEST(Registry, UnknownNameIsAnErrorThatListsTheKnownOnes) {
  const std::string message = test::message_of<UserError>([] { router_variant("topkk"); });
  EXPECT_TRUE(test::contains(message, "moe.router = topkk")) << message;
  for (const std::string& name : router_names()) EXPECT_TRUE(test::contains(message, name)) << message;
}

TEST(Registry, EveryVariantKeepsItsParametersUnderItsPrefix) {
  test::for_every_router(4, [](test::RouterUnderTest& router) {
    for (const ParamInfo& p : router.params.infos()) {
      EXPECT_EQ(p.name.rfind("layer/", 0), 0u) << p.name;
      EXPECT_EQ(p.owner, Owner::replicated) << p.name;
    }
  });
}

std::string error_of(const std::string& variant, std::map<std::string, std::string> keys, std::vector<i64> widths = {3, 3, 3}) {
  return test::message_of<UserError>([&] { test::RouterUnderTest(router_variant(variant), {std::move(keys), std::move(widths)}, 4); });
}

TEST(Routers, RefuseMoreChoicesThanExperts) {
  for (const char* variant : {"topk", "noisy_topk"}) {
    const std::string message = error_of(variant, {{"k", "4"}});
    EXPECT_TRUE(test::contains(message, "moe.k = 4")) << message;
    EXPECT_TRUE(test::contains(message, "moe.experts is 3")) << message;
    EXPECT_TRUE(test::contains(error_of(variant, {{"k", "0"}}), "moe.k = 0"));
  }
}

TEST(Routers, RefuseWhatCannotWork) {
  EXPECT_TRUE(test::contains(error_of("dense", {}), "moe.experts = 3"));
  EXPECT_TRUE(test::contains(error_of("noisy_topk", {{"k", "3"}, {"load_loss", "1"}}), "moe.load_loss = 1"));
  EXPECT_TRUE(test::contains(error_of("topk", {{"balance_mode", "all"}}), "moe.balance_mode = all"));
  EXPECT_TRUE(test::contains(error_of("topk", {{"input_noise", "-0.1"}}), "moe.input_noise = -0.1"));
  EXPECT_TRUE(test::contains(error_of("topk", {{"load_loss", "1"}}), "moe.load_loss = 1"));
  EXPECT_TRUE(test::contains(error_of("topk", {{"capacity_factor", "-1"}}), "moe.capacity_factor = -1"));
}

}  // namespace
}  // namespace pleiad::routing
