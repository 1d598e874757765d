// A sum without rounding against whole-number arithmetic, in any order and any parts.
#include "pleiad/core/exact_sum.hpp"

#include <algorithm>
#include <limits>

#include "support/sample.hpp"

namespace pleiad {
namespace {

double exact(const std::vector<double>& terms) {
  ExactSum sum;
  for (const double t : terms) sum.add(t);
  return sum.value();
}

TEST(ExactSum, KeepsWhatRoundingWouldLose) {
  EXPECT_EQ(exact({}), 0);
  EXPECT_EQ(exact({0.0, 3.5}), 3.5);
  std::vector<double> terms(1 << 12, 1.0);
  terms.push_back(0x1p60);
  EXPECT_EQ(exact(terms), 0x1p60 + 0x1p12) << "one by one each 1 would vanish";
  EXPECT_EQ(exact({0x1p-1074, 0x1p-1074}), 0x1p-1073);
  EXPECT_EQ(exact({0x1p1000, 0x1p-1000, 0x1p1000}), 0x1p1001);
  EXPECT_EQ(exact({std::numeric_limits<double>::max()}), std::numeric_limits<double>::max());
  EXPECT_EQ(exact({0x1.fffffffffffffp31, 0x1.fffffffffffffp-22}), 0x1.fffffffffffffp31 + 0x1.fffffffffffffp-22);
}

TEST(ExactSum, IsTheSameInAnyOrderAndInParts) {
  std::vector<double> terms;
  const Stream draw(3, Purpose::test);
  for (std::uint64_t i = 0; i < 3000; ++i) terms.push_back(std::exp(20 * draw.normal(i)));
  const double truth = exact(terms);
  long double roughly = 0;
  for (const double t : terms) roughly += t;
  EXPECT_NEAR(truth / static_cast<double>(roughly), 1, 1e-14);
  std::ranges::sort(terms);
  EXPECT_EQ(exact(terms), truth);
  std::ranges::reverse(terms);
  ExactSum parts[3];
  for (std::size_t i = 0; i < terms.size(); ++i) parts[i % 7 % 3].add(terms[i]);
  for (int p = 1; p < 3; ++p) {
    for (std::size_t d = 0; d < parts[0].digits().size(); ++d) parts[0].digits()[d] += parts[p].digits()[d];
  }
  EXPECT_EQ(parts[0].value(), truth);
}

TEST(ExactSum, PassesOnWhatIsNoNumber) {
  const double infinity = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(exact({1, infinity}), infinity);
  EXPECT_TRUE(std::isnan(exact({infinity, nan, 1})));
  EXPECT_THROW(exact({-1}), LogicError);
}

}  // namespace
}  // namespace pleiad
