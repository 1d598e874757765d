// Ownership of communicators, the process grid, and errors that all ranks agree on.
#include "pleiad/comm/agree.hpp"
#include "pleiad/comm/asleep.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/comm/error.hpp"
#include "pleiad/comm/grid.hpp"
#include "pleiad/core/error.hpp"
#include "support/sample.hpp"

namespace pleiad::comm {
namespace {

/// Counts how many marked communicators MPI has freed.
int freed = 0;
int count_comm(MPI_Comm, int, void*, void*) { return ++freed, MPI_SUCCESS; }

class Ownership : public testing::Test {
 protected:
  Ownership() {
    MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, count_comm, &comm_key_, nullptr);
    freed = 0;
  }
  ~Ownership() override {
    MPI_Comm_free_keyval(&comm_key_);
  }
  Communicator marked_world() const {
    Communicator c = Communicator::world();
    MPI_Comm_set_attr(c.native(), comm_key_, nullptr);
    return c;
  }
  int comm_key_ = 0;
};

template <class T>
void move_onto(T& to, T& from) {
  to = std::move(from);
}

TEST_F(Ownership, OfACommunicatorIsFreedOnceHoweverItMoves) {
  {
    Communicator a = marked_world();
    const MPI_Comm native = a.native();
    Communicator b = std::move(a);
    EXPECT_EQ(b.native(), native);
    EXPECT_EQ(freed, 0);
    move_onto(b, b);
    EXPECT_EQ(b.native(), native) << "moved onto itself";
    EXPECT_EQ(freed, 0);
    barrier(b);
  }
  EXPECT_EQ(freed, 1);
}

TEST_F(Ownership, OfACommunicatorThatIsMovedOverEndsWithTheStatement) {
  Communicator a = marked_world();
  {
    Communicator b = marked_world();
    const MPI_Comm native = b.native();
    a = std::move(b);
    EXPECT_EQ(a.native(), native);
  }
  EXPECT_EQ(freed, 1) << "the one that a owned before";
  EXPECT_EQ(a.size(), Communicator::world().size());
  barrier(a);
}

TEST(Communicator, SplitsByColourInTheOrderOfTheKey) {
  const Communicator world = Communicator::world();
  const Communicator part = world.split(world.rank() % 2, -world.rank());
  const i64 members = (world.size() + 1 - world.rank() % 2) / 2;
  EXPECT_EQ(part.size(), members);
  EXPECT_EQ(part.rank(), members - 1 - world.rank() / 2) << "the key turns the order round";
  EXPECT_EQ(part.root(), part.rank() == 0);
}

TEST(MpiError, NamesTheCall) {
  const Communicator world = Communicator::world();
  int value = 0;
  const std::string message = test::message_of<MpiError>([&] { PLEIAD_MPI(MPI_Bcast, &value, 1, MPI_INT, 99, world.native()); });
  EXPECT_TRUE(test::contains(message, "MPI_Bcast failed")) << message;
}

TEST(ProcessGrid, SplitsTheWorldIntoExpertGroupsOfConsecutiveRanks) {
  const i64 ranks = Communicator::world().size();
  for (i64 groups = 1; groups <= ranks; ++groups) {
    if (ranks % groups != 0) {
      const std::string message = test::message_of<UserError>([&] { ProcessGrid(Communicator::world(), groups); });
      EXPECT_TRUE(test::contains(message, fmt::format("parallel.data_groups = {}", groups))) << message;
      EXPECT_TRUE(test::contains(message, fmt::format("{}", ranks))) << message;
      continue;
    }
    const ProcessGrid grid(Communicator::world(), groups);
    const i64 per_group = ranks / groups, rank = grid.world().rank();
    EXPECT_EQ(grid.data_groups(), groups);
    EXPECT_EQ(grid.expert_group().size(), per_group);
    EXPECT_EQ(grid.expert_group().rank(), rank % per_group);
    EXPECT_EQ(grid.data_group().size(), groups);
    EXPECT_EQ(grid.data_group().rank(), rank / per_group);
    EXPECT_EQ(sum_over<i64>(grid.expert_group(), rank), per_group * (rank / per_group * per_group) + per_group * (per_group - 1) / 2);
  }
  EXPECT_THROW(ProcessGrid(Communicator::world(), 0), UserError);
  EXPECT_THROW(ProcessGrid(Communicator::world(), -1), UserError);
  EXPECT_THROW(ProcessGrid(Communicator::world(), 2 * ranks), UserError);
}

TEST(Agree, PassesWhenNobodyHasAProblem) {
  const Communicator world = Communicator::world();
  EXPECT_NO_THROW(agree(world, ""));
  EXPECT_NO_THROW(agree_on(world, [] {}));
  EXPECT_NO_THROW(require_same(world, "same", "the file"));
}

TEST(Agree, ThrowsTheProblemOfOneRankOnAllAndSaysWhere) {
  const Communicator world = Communicator::world();
  for (i64 bad = 0; bad < world.size(); ++bad) {
    const std::string mine = world.rank() == bad ? fmt::format("problem of {}", bad) : "";
    const std::string message = test::message_of<UserError>([&] { agree(world, mine); });
    if (world.size() == 1) {
      EXPECT_EQ(message, "problem of 0");
    } else {
      EXPECT_EQ(message.rfind(fmt::format("problem of {} (on rank {} of {}", bad, bad, world.size()), 0), 0u) << message;
    }
  }
}

TEST(Agree, ThrowsTheLowestRanksProblemWithoutAPlaceWhenAllHaveOne) {
  const Communicator world = Communicator::world();
  const std::string message = test::message_of<UserError>([&] { agree_on(world, [&] { user_error("problem of {}", world.rank()); }); });
  EXPECT_EQ(message, "problem of 0");
}

TEST(Agree, LetsOtherExceptionsThrough) {
  const Communicator me = Communicator::world().split(Communicator::world().rank(), 0);
  EXPECT_THROW(agree_on(me, [] { throw LogicError("ours"); }), LogicError);
}

TEST(MeetAsleep, LetsAllRanksGoOn) {
  const Communicator world = Communicator::world();
  for (int i = 0; i < 3; ++i) {
    meet_asleep(world);
    EXPECT_EQ(sum_over<i64>(world, 1), world.size());
  }
}

TEST(RequireSame, ShowsBothTexts) {
  const Communicator world = Communicator::world();
  if (world.size() == 1) return;
  const i64 odd = world.size() - 1;
  const std::string message = test::message_of<UserError>([&] { require_same(world, world.rank() == odd ? "longer text" : "text", "the config"); });
  EXPECT_EQ(message.rfind(fmt::format("the config differs between ranks: 'text' on rank 0, 'longer text' on rank {}", odd), 0), 0u) << message;
}

}  // namespace
}  // namespace pleiad::comm
