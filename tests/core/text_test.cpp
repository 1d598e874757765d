#include "pleiad/core/text.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <string>
#include <vector>

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

TEST(Text, AShellReadsAWordAsItWas) {
  EXPECT_EQ(shell_word("runs/a-1_x=2"), "runs/a-1_x=2");
  EXPECT_EQ(shell_word("my run"), "\"my run\"");
  for (const std::string& text : std::vector<std::string>{"", "a b", "it's", "say \"x\"", "$HOME", "`id`", "a\\b", "*", "[ab]", "{a,b}", "a;b", "~", "#a", "tab\there", "\u00fc"}) {
    const std::string command = "printf %s " + shell_word(text);
    FILE* shell = popen(command.c_str(), "r");
    ASSERT_NE(shell, nullptr);
    std::string read;
    for (int c = 0; (c = fgetc(shell)) != EOF;) read += static_cast<char>(c);
    EXPECT_EQ(pclose(shell), 0) << command;
    EXPECT_EQ(read, text) << command;
  }
}

}  // namespace
}  // namespace pleiad
