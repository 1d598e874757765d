// Options of a configuration section: what the getters take, what they refuse and how they say so.
#include "pleiad/core/spec.hpp"

#include <limits>

#include "pleiad/core/error.hpp"
#include "support/sample.hpp"

namespace pleiad {
namespace {

constexpr double k_any = std::numeric_limits<double>::infinity();
constexpr i64 k_most = std::numeric_limits<i64>::max();

/// The message must name the section with the key, the value and what would be right.
template <class Get>
void expect_refused(const std::string& value, const std::string& allowed, Get get) {
  Spec spec("room", {{"key", value}});
  const std::string message = test::message_of<UserError>([&] { get(spec); });
  EXPECT_TRUE(test::contains(message, "room.key = " + value)) << message;
  EXPECT_TRUE(test::contains(message, allowed)) << message;
  EXPECT_TRUE(test::contains(message, "what it is for")) << message;
}

TEST(Spec, IntegerTakesWholeNumbersInItsRange) {
  const auto get = [](Spec& s) { return s.integer("key", 5, -2, 10, "what it is for"); };
  Spec none("room"), given("room", {{"key", "-2"}}), spaced("room", {{"key", " +10 "}});
  EXPECT_EQ(get(none), 5);
  EXPECT_EQ(get(given), -2);
  EXPECT_EQ(get(spaced), 10);
  for (const char* bad : {"11", "-3", "ten", "", "1.5", "1e1", "3 4", "0x3", "99999999999999999999", "5,"}) {
    expect_refused(bad, "a whole number from -2 to 10", get);
  }
  expect_refused("0", "a whole number of at least 1", [](Spec& s) { s.integer("key", 5, 1, k_most, "what it is for"); });
}

TEST(Spec, NumberTakesFiniteNumbersInItsRange) {
  const auto get = [](Spec& s) { return s.number("key", 0.5, 0, 1, "what it is for"); };
  Spec none("room"), given("room", {{"key", "2.5e-1"}});
  EXPECT_EQ(get(none), 0.5);
  EXPECT_EQ(get(given), 0.25);
  for (const char* bad : {"1.01", "-0.1", "half", "", "nan", "inf", "0.5x", "0,5"}) expect_refused(bad, "from 0 to 1", get);
  expect_refused("-1", "of at least 0", [](Spec& s) { s.number("key", 1, 0, k_any, "what it is for"); });
  expect_refused("-inf", "finite", [](Spec& s) { s.number("key", 1, -k_any, k_any, "what it is for"); });
}

TEST(Spec, FlagTakesTheUsualWords) {
  for (const auto& [word, value] : std::map<std::string, bool>{{"1", true}, {"true", true}, {"yes", true}, {"on", true}, {" true ", true},
                                                               {"0", false}, {"false", false}, {"no", false}, {"off", false}}) {
    Spec spec("room", {{"key", word}});
    EXPECT_EQ(spec.flag("key", !value, "doc"), value) << word;
  }
  Spec none("room");
  EXPECT_TRUE(none.flag("key", true, "doc"));
  for (const char* bad : {"2", "maybe", "", "True!"}) expect_refused(bad, "true or false", [](Spec& s) { s.flag("key", true, "what it is for"); });
}

TEST(Spec, ChoiceListsTheWordsItTakes) {
  const auto get = [](Spec& s) { return s.choice("key", "red", {"red", "green"}, "what it is for"); };
  Spec none("room"), given("room", {{"key", "green"}});
  EXPECT_EQ(get(none), "red");
  EXPECT_EQ(get(given), "green");
  for (const char* bad : {"Red", "blue", "gre", ""}) expect_refused(bad, "red, green", get);
}

TEST(Spec, TextIsTrimmed) {
  Spec spec("room", {{"key", "  two words\t\r"}});
  EXPECT_EQ(spec.text("key", "x", "doc"), "two words");
  EXPECT_EQ(spec.text("other", "x", "doc"), "x");
}

TEST(Spec, IntegersTakeListsCopiesAndNone) {
  const auto get = [](const char* text) {
    Spec spec("room", {{"key", text}});
    return spec.integers("key", {9}, 0, 100, "doc");
  };
  using List = std::vector<i64>;
  EXPECT_EQ(get("3"), (List{3}));
  EXPECT_EQ(get("1,2,3"), (List{1, 2, 3}));
  EXPECT_EQ(get(" 1 , 2 "), (List{1, 2}));
  EXPECT_EQ(get("3x7"), (List{7, 7, 7}));
  EXPECT_EQ(get("2x4,1,2x9"), (List{4, 4, 1, 9, 9}));
  EXPECT_EQ(get("none"), List());
  EXPECT_EQ(get(""), List());
  Spec missing("room");
  EXPECT_EQ(missing.integers("key", {9, 8}, 0, 100, "doc"), (List{9, 8}));
  for (const char* bad : {"1,,2", "1,", ",1", "1;2", "101", "-1", "2x", "x2", "0x5", "-1x5", "2x3x4", "2x101", "a", "none,1", "99999999999x1"}) {
    expect_refused(bad, "comma-separated", [](Spec& s) { s.integers("key", {}, 0, 100, "what it is for"); });
  }
}

TEST(Spec, NumbersTakeListsAndNone) {
  const auto get = [](const char* text) {
    Spec spec("room", {{"key", text}});
    return spec.numbers("key", {9}, 0, 100, "doc");
  };
  using List = std::vector<double>;
  EXPECT_EQ(get("0.25"), (List{0.25}));
  EXPECT_EQ(get("1,2.5e-1,+3"), (List{1, 0.25, 3}));
  EXPECT_EQ(get(" 1 , 0 "), (List{1, 0}));
  EXPECT_EQ(get("none"), List());
  EXPECT_EQ(get(""), List());
  Spec missing("room");
  EXPECT_EQ(missing.numbers("key", {0.5, 8}, 0, 100, "doc"), (List{0.5, 8}));
  for (const char* bad : {"1,,2", "1,", ",1", "1;2", "100.5", "-0.1", "2x3", "a", "none,1", "nan", "1,inf", "1e400"}) {
    expect_refused(bad, "comma-separated list, each entry a number from 0 to 100", [](Spec& s) { s.numbers("key", {}, 0, 100, "what it is for"); });
  }
  expect_refused("1,-1", "a number of at least 0", [](Spec& s) { s.numbers("key", {}, 0, k_any, "what it is for"); });
}

TEST(Spec, ResolvedNumbersReadBackGiveTheSameValues) {
  const std::vector<double> odd = {1.0 / 3, 1e-300, 0.1, 7};
  Spec spec("room", {{"none", ""}});
  spec.numbers("list", odd, 0, 100, "doc");
  spec.numbers("none", odd, 0, 100, "doc");
  EXPECT_EQ(spec.resolved().back().value, "none");
  Spec again("room");
  for (const Spec::Entry& e : spec.resolved()) again.set(e.key, e.value);
  EXPECT_EQ(again.numbers("list", {}, 0, 100, "doc"), odd);
  EXPECT_TRUE(again.numbers("none", odd, 0, 100, "doc").empty());
}

TEST(Spec, FinishNamesAKeyNobodyAskedForAndTheKnownOnes) {
  Spec spec("room", {{"colour", "red"}, {"sise", "3"}});
  spec.text("colour", "", "doc");
  spec.integer("size", 1, 0, 9, "doc");
  const std::string message = test::message_of<UserError>([&] { spec.finish(); });
  EXPECT_TRUE(test::contains(message, "room.sise = 3")) << message;
  EXPECT_TRUE(test::contains(message, "colour, size")) << message;
  spec.integer("sise", 1, 0, 9, "doc");
  EXPECT_NO_THROW(spec.finish());
}

TEST(Spec, ResolvedHoldsEveryKeyOnceInTheOrderOfAsking) {
  Spec spec("room", {{"b", " 7 "}, {"list", "2x1"}});
  spec.number("a", 0.1, 0, 1, "first");
  spec.integer("b", 1, 0, 9, "second");
  spec.integers("list", {}, 0, 9, "third");
  spec.flag("on", false, "fourth");
  spec.integers("none", {}, 0, 9, "fifth");
  spec.integer("b", 1, 0, 9, "again");
  std::string all;
  for (const Spec::Entry& e : spec.resolved()) all += e.key + "=" + e.value + " ";
  EXPECT_EQ(all, "a=0.1 b=7 list=1,1 on=false none=none ");
  EXPECT_EQ(spec.resolved().front().doc, "first");
}

TEST(Spec, AResolvedSectionReadBackGivesTheSameValues) {
  Spec spec("room");
  const double odd = spec.number("a", 1.0 / 3, 0, 1, "doc");
  const double tiny = spec.number("b", 1e-300, 0, 1, "doc");
  Spec again("room");
  for (const Spec::Entry& e : spec.resolved()) again.set(e.key, e.value);
  EXPECT_EQ(again.number("a", 0, 0, 1, "doc"), odd);
  EXPECT_EQ(again.number("b", 0, 0, 1, "doc"), tiny);
}

TEST(Spec, LongListsAreResolvedAsRuns) {
  Spec spec("room", {{"long", "2000000x1,7,3x9"}, {"short", "1000x5"}});
  const std::vector<i64> values = spec.integers("long", {}, 0, 9, "doc");
  EXPECT_EQ(spec.resolved().back().value, "2000000x1,7,3x9");
  Spec again("room", {{"long", spec.resolved().back().value}});
  EXPECT_EQ(again.integers("long", {}, 0, 9, "doc"), values);
  spec.integers("short", {}, 0, 9, "doc");
  EXPECT_EQ(spec.resolved().back().value.size(), 1999u);
}

TEST(Spec, DefaultsOfAPresetLoseAgainstGivenValues) {
  Spec spec("room", {{"given", "1"}});
  spec.set_default("given", "2");
  spec.set_default("preset", "3");
  EXPECT_EQ(spec.integer("given", 0, 0, 9, "doc"), 1);
  EXPECT_EQ(spec.integer("preset", 0, 0, 9, "doc"), 3);
  spec.set("preset", "4");
  EXPECT_EQ(spec.integer("preset", 0, 0, 9, "doc"), 4);
}

// A preset may set what the component that the user chose instead does not read; the user cannot be blamed for it.
TEST(Spec, FinishForgivesDefaultsOfAPresetButNotTheUsersOwnKeys) {
  Spec spec("room");
  spec.set_default("renormalize", "true");
  EXPECT_NO_THROW(spec.finish());
  spec.set("renormalize", "true");
  EXPECT_TRUE(test::contains(test::message_of<UserError>([&] { spec.finish(); }), "room.renormalize = true"));
  Spec given("room", {{"renormalize", "true"}});
  given.set_default("renormalize", "false");
  EXPECT_THROW(given.finish(), UserError);
}

}  // namespace
}  // namespace pleiad
