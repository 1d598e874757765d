// Every collective for every element type, with counts of zero, on any number of ranks, in one call of MPI and in many.
#include "pleiad/comm/collectives.hpp"

#include "pleiad/comm/limit.hpp"

#include <numeric>

#include "support/sample.hpp"

namespace pleiad::comm {
namespace {

/// Elements of a type, so many for each call of MPI.
template <class Element, i64 most>
struct Calls {
  using T = Element;
  static constexpr i64 k_most = most;
};

template <class Calls>
class Collectives : public testing::Test {
 protected:
  Collectives() { most_per_call = Calls::k_most; }
  ~Collectives() override { most_per_call = before_; }
  const i64 before_ = most_per_call;
  const Communicator world_ = Communicator::world();
  const i64 ranks_ = world_.size(), me_ = world_.rank();
};

constexpr i64 k_usual = i64{1} << 30;
using Types = testing::Types<Calls<char, k_usual>, Calls<std::uint8_t, k_usual>, Calls<std::int32_t, k_usual>, Calls<i64, k_usual>, Calls<float, k_usual>, Calls<double, k_usual>,
                             Calls<char, 1>, Calls<std::uint8_t, 2>, Calls<std::int32_t, 3>, Calls<i64, 1>, Calls<float, 3>, Calls<double, 7>>;
TYPED_TEST_SUITE(Collectives, Types);

TYPED_TEST(Collectives, ReduceSumsAndExtremes) {
  using T = typename TypeParam::T;
  if constexpr (!std::is_same_v<T, char>) {  // MPI does not add characters
    std::vector<T> v{static_cast<T>(this->me_ + 1), static_cast<T>(2), static_cast<T>(this->me_)};
    std::vector<T> low = v, high = v, none;
    all_reduce_sum<T>(this->world_, v);
    all_reduce_min<T>(this->world_, low);
    all_reduce_max<T>(this->world_, high);
    all_reduce_sum<T>(this->world_, none);
    EXPECT_EQ(v, (std::vector<T>{static_cast<T>(this->ranks_ * (this->ranks_ + 1) / 2), static_cast<T>(2 * this->ranks_),
                                 static_cast<T>(this->ranks_ * (this->ranks_ - 1) / 2)}));
    EXPECT_EQ(low, (std::vector<T>{1, 2, 0}));
    EXPECT_EQ(high, (std::vector<T>{static_cast<T>(this->ranks_), 2, static_cast<T>(this->ranks_ - 1)}));
    EXPECT_EQ(sum_over<T>(this->world_, 3), static_cast<T>(3 * this->ranks_));
    EXPECT_EQ(max_over<T>(this->world_, static_cast<T>(this->me_)), static_cast<T>(this->ranks_ - 1));
    EXPECT_EQ(min_over<T>(this->world_, static_cast<T>(this->me_ + 5)), static_cast<T>(5));
  }
}

TYPED_TEST(Collectives, BroadcastFromAnyRoot) {
  using T = typename TypeParam::T;
  for (i64 root = 0; root < this->ranks_; ++root) {
    std::vector<T> v(4, static_cast<T>(this->me_ + 1)), none;
    broadcast<T>(this->world_, v, root);
    broadcast<T>(this->world_, none, root);
    EXPECT_EQ(v, std::vector<T>(4, static_cast<T>(root + 1)));
  }
}

TYPED_TEST(Collectives, GatherEqualAndUnequalShares) {
  using T = typename TypeParam::T;
  const std::vector<T> two{static_cast<T>(this->me_), static_cast<T>(this->me_ + 10)}, none;
  const std::vector<T> all = all_gather<T>(this->world_, two);
  std::vector<T> mine(static_cast<std::size_t>(this->me_ % 3), static_cast<T>(this->me_ + 1)), expected;  // rank 0 gives nothing
  std::vector<i64> counts, expected_counts;
  for (i64 r = 0; r < this->ranks_; ++r) {
    EXPECT_EQ(all[static_cast<std::size_t>(2 * r + 1)], static_cast<T>(r + 10));
    expected.insert(expected.end(), static_cast<std::size_t>(r % 3), static_cast<T>(r + 1));
    expected_counts.push_back(r % 3);
  }
  EXPECT_EQ(all_gather_v<T>(this->world_, mine, &counts), expected);
  EXPECT_EQ(counts, expected_counts);
  EXPECT_EQ(all_gather_v<T>(this->world_, mine), expected);
  EXPECT_TRUE(all_gather<T>(this->world_, none).empty());
  EXPECT_TRUE(all_gather_v<T>(this->world_, none).empty());
}

// Rank s sends (s + 2 r) mod 3 rows to rank r; every element tells where it comes from and goes to.
TYPED_TEST(Collectives, AllToAllRowsBringsEveryRowToItsRank) {
  using T = typename TypeParam::T;
  const auto rows = [](i64 from, i64 to) { return (from + 2 * to) % 3; };
  const auto element = [](i64 from, i64 to, i64 i) { return static_cast<T>(10 * from + to + 3 * i); };
  for (const i64 width : {1, 5, 0}) {
    std::vector<i64> send_rows, recv_rows;
    std::vector<T> send, expected;
    for (i64 r = 0; r < this->ranks_; ++r) {
      send_rows.push_back(rows(this->me_, r));
      recv_rows.push_back(rows(r, this->me_));
      for (i64 i = 0; i < send_rows.back() * width; ++i) send.push_back(element(this->me_, r, i));
      for (i64 i = 0; i < recv_rows.back() * width; ++i) expected.push_back(element(r, this->me_, i));
    }
    std::vector<T> recv(expected.size());
    all_to_all_rows<T>(this->world_, send.data(), send_rows, recv.data(), recv_rows, width);
    EXPECT_EQ(recv, expected) << "rows of " << width;
  }
  const std::vector<i64> nothing(static_cast<std::size_t>(this->ranks_), 0);
  all_to_all_rows<T>(this->world_, nullptr, nothing, nullptr, nothing, 4);
}

TEST(CollectivesOfText, BroadcastTakesTheRootsLength) {
  const Communicator world = Communicator::world();
  for (i64 root = 0; root < world.size(); ++root) {
    const std::string mine = world.rank() == root ? "text of the root" : std::string(static_cast<std::size_t>(100 * world.rank()), 'x');
    EXPECT_EQ(broadcast(world, mine, root), "text of the root");
    EXPECT_EQ(broadcast(world, world.rank() == root ? std::string() : "not this", root), "");
  }
}

TEST(AllToAllCounts, IsATransposeOfBlocks) {
  const Communicator world = Communicator::world();
  std::vector<i64> send, expected;
  for (i64 r = 0; r < world.size(); ++r) {
    send.insert(send.end(), {100 * world.rank() + r, -r});
    expected.insert(expected.end(), {100 * r + world.rank(), -world.rank()});
  }
  EXPECT_EQ(all_to_all_counts(world, send, 2), expected);
  EXPECT_THROW(all_to_all_counts(world, std::vector<i64>(static_cast<std::size_t>(world.size() + 1)), 1), LogicError);
}

}  // namespace
}  // namespace pleiad::comm
