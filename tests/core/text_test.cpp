#include "pleiad/core/text.hpp"

#include <gtest/gtest.h>

namespace pleiad {
namespace {

TEST(Text, HarmlessTextMovesNoCursor) {
  EXPECT_EQ(harmless("a\nb\033[2J\x7f"), "a?b?[2J?");
  EXPECT_EQ(harmless("über 50 %"), "über 50 %");
}

TEST(Text, FieldsOfCsvAreQuotedWhereTheyMustBe) {
  EXPECT_EQ(csv_field("plain text"), "plain text");
  EXPECT_EQ(csv_field("64,128"), "\"64,128\"");
  EXPECT_EQ(csv_field("say \"x\""), "\"say \"\"x\"\"\"");
  EXPECT_EQ(csv_field("a\nb"), "\"a\nb\"");
}

}  // namespace
}  // namespace pleiad
