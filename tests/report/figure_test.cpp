#include "pleiad/report/figure.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "pleiad/report/draw.hpp"
#include "pleiad/report/run_figures.hpp"
#include "pleiad/report/table.hpp"
#include "support/problem.hpp"
#include "support/temporary_folder.hpp"

namespace pleiad::report {
namespace {

TEST(Escaping, NamesMeanThemselves) {
  EXPECT_EQ(escape_html("a<b>&\"c'"), "a&lt;b&gt;&amp;&quot;c&#39;");
  EXPECT_EQ(escape_html("bell\a"), "bell ");
  EXPECT_EQ(clean_text("\xc3\xa9\xff\xe2\x82"), "\xc3\xa9???");
  // Too long, half of a pair, beyond Unicode; and the characters next to them.
  EXPECT_EQ(clean_text("\xe0\x9f\xbf \xed\xa0\x80 \xf0\x8f\xbf\xbf \xf4\x90\x80\x80"), "??? ??? ???? ????");
  EXPECT_EQ(clean_text("\xe0\xa0\x80\xed\x9f\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"), "\xe0\xa0\x80\xed\x9f\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf");
  EXPECT_EQ(quote("it's {a}_b^c\n$1"), "'it''s {a}_b^c $1'");
  EXPECT_EQ(id_of("runs/a b_1"), "runs-a-b-1");
  const Table table{{{"run", "run", true}}, {{{"<i>", "a,\"b\""}}}, {}, {}};
  EXPECT_MENTIONS(as_html(table), "&lt;i&gt;");
  EXPECT_EQ(as_csv(table), "run\n\"a,\"\"b\"\"\"\n");
}

TEST(Data, HasNamesAndUnitsAndEveryDigit) {
  Figure f{.id = "x", .title = "Title"};
  f.add({"first", {"step [1]", "loss [nat]"}, {{1, 0.1}, {2, NAN}}});
  f.add({"second", {"a [1]"}, {}});
  EXPECT_EQ(data_of(f), "# Title\n# index 0: first\n# step [1]\t loss [nat]\n1\t0.1\n2\tNaN\n\n\n# index 1: second\n# a [1]\nNaN\tNaN\tNaN\n");
}

TEST(Looks, LinesDifferInMoreThanColour) {
  std::set<std::string> seen;
  for (std::size_t i = 0; i < 20; ++i) seen.insert(line_style(i, 2));
  EXPECT_EQ(seen.size(), 20u);
  EXPECT_EQ(ordered_color(0, 5), "#440154");
  EXPECT_EQ(ordered_color(4, 5), "#fde725");
}

TEST(Looks, UnitsAndTics) {
  EXPECT_EQ(prefix_for(3.2e12).name, "T");
  EXPECT_EQ(prefix_for(0).factor, 1);
  EXPECT_EQ(nice_step(100, 5), 20);
  EXPECT_EQ(nice_step(7, 5), 2);
  EXPECT_EQ(nice_step(0, 5), 1);
}

TEST(Experts, InGroupsOfAtMost64Rows) {
  const ExpertGroups few(8), many(100);
  EXPECT_EQ(few.count(), 8);
  EXPECT_EQ(many.size, 2);
  EXPECT_EQ(many.count(), 50);
  EXPECT_EQ(ExpertGroups(4096).count(), 64);
  std::vector<double> load(100, 1.0);
  load[99] = 3;
  EXPECT_EQ(many.means(load).back(), 2);
  EXPECT_EQ(many.centres().front(), 0.5);
}

constexpr const char* k_svg = R"(<?xml version="1.0"?>
<svg
 width="640" viewBox="0 0 640 400" xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">
<title>Gnuplot</title><desc>Produced by GNUPLOT</desc>
<rect x="0" y="0" width="640" height="400" fill="#ffffff"/>
<defs><circle id='gpDot' r='0.5'/><circle id='gpPt5' r='1'/><use xlink:href='#gpPt5' id='gpPt6' fill='currentColor'/><path id='gpPt7' d='M0'/></defs>
<g fill="none" color="black">
</g>
<g fill="none"><path stroke='rgb(  0, 114, 178)' d='M1,2'/><use xlink:href='#gpPt6'/><text>a  b</text></g>
<image x='1' xlink:href='data:image/png;base64,AA=='/>
</svg>
)";

TEST(Svg, StandsInAPage) {
  const std::string svg = inline_svg(k_svg, "f1", "Loss & more");
  EXPECT_TRUE(svg.starts_with("<svg"));
  EXPECT_TRUE(svg.ends_with("</svg>"));
  EXPECT_MENTIONS(svg, "<title>Loss &amp; more</title>");
  EXPECT_MENTIONS(svg, "href='#f1-gpPt6'");
  EXPECT_MENTIONS(svg, "id='f1-gpPt5'");  // gpPt6 is made of it
  EXPECT_MENTIONS(svg, "#0072b2");
  EXPECT_MENTIONS(svg, "image-rendering:pixelated");
  for (const char* gone : {"gpPt7", "gpDot", "Gnuplot", "GNUPLOT", "<rect", "<?xml"}) EXPECT_EQ(svg.find(gone), std::string::npos) << gone;
}

class Drawing : public test::TemporaryFolder {};

TEST_F(Drawing, AMissingProgramIsNamed) {
  EXPECT_MENTIONS(test::problem_of([] { find_gnuplot("no-such-gnuplot"); }), "gnuplot-nox");
  EXPECT_MENTIONS(test::problem_of([&] { find_gnuplot(at("none")); }), "no program that can be run");
}

TEST_F(Drawing, TheMessageOfAFailingOneIsTold) {
  const std::string program =
      text_file("gnuplot", "#!/bin/sh\necho 'plot x' >&2\necho '   ^' >&2\necho '\"x.gp\" line 3: undefined variable: y' >&2\necho >&2\nexit 1\n");
  std::filesystem::permissions(program, std::filesystem::perms::owner_all);
  const Figure f{.id = "x", .title = "t"};
  EXPECT_MENTIONS(test::problem_of([&] { draw({f}, folder_, program); }), "line 3: undefined variable: y");
}

TEST_F(Drawing, AbsentFiguresNeedNoProgram) { EXPECT_EQ(draw({absent_figure("a", "t", "why")}, folder_, "/nowhere"), std::vector<std::string>{""}); }

}  // namespace
}  // namespace pleiad::report
