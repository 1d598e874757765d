// main() of the MPI tests. Every rank runs every test; after each one all ranks vote, so a failure anywhere is a failure of the
// program, and rank 0 prints who failed and with what. Tests may use any communicator but MPI_COMM_WORLD's twin held here.
// In tests: EXPECT_*, not ASSERT_*, before a collective call, or the other ranks wait for the one that left.
#include <gtest/gtest.h>
#include <mpi.h>

#include <cstdio>
#include <string>
#include <vector>

namespace {

class VotingListener : public testing::EmptyTestEventListener {
 public:
  explicit VotingListener(MPI_Comm votes) : votes_(votes) {
    MPI_Comm_rank(votes_, &rank_);
    MPI_Comm_size(votes_, &size_);
  }

  bool failed_anywhere() const { return failed_anywhere_; }

  void OnTestStart(const testing::TestInfo&) override {
    messages_.clear();
    count_ = 0;
  }

  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::string text = std::string(result.file_name() ? result.file_name() : "unknown file") + ":" +
                       std::to_string(result.line_number()) + ": " + result.message();
    // At once and on its own, because after a lost rank the vote below may never happen.
    if (rank_ != 0 && count_ == 0) {
      std::fprintf(stderr, "[rank %d] %s\n", rank_, text.c_str());
      std::fflush(stderr);
    }
    if (count_++ < k_most) messages_ += text + "\n";
  }

  // Collective: gathers everybody's messages on rank 0.
  void OnTestEnd(const testing::TestInfo& info) override {
    int length = static_cast<int>(messages_.size());
    std::vector<int> lengths(static_cast<std::size_t>(size_)), offsets(static_cast<std::size_t>(size_));
    MPI_Allgather(&length, 1, MPI_INT, lengths.data(), 1, MPI_INT, votes_);
    int total = 0;
    for (std::size_t r = 0; r < lengths.size(); ++r) {
      offsets[r] = total;
      total += lengths[r];
    }
    if (total == 0) return;
    failed_anywhere_ = true;
    std::vector<char> text(static_cast<std::size_t>(total) + 1);
    MPI_Gatherv(messages_.data(), length, MPI_CHAR, text.data(), lengths.data(), offsets.data(), MPI_CHAR, 0, votes_);
    if (rank_ != 0) return;
    std::string who, what;
    for (std::size_t r = 0; r < lengths.size(); ++r) {
      if (lengths[r] == 0) continue;
      who += " " + std::to_string(r);
      if (r != 0) what += "[rank " + std::to_string(r) + "] " + std::string(text.data() + offsets[r], static_cast<std::size_t>(lengths[r]));
    }
    // Rank 0's own messages are on the screen already. Listeners end in reverse order, so the printer still sees this failure.
    ADD_FAILURE() << info.test_suite_name() << "." << info.name() << " failed on rank" << who << " of " << size_ << "\n" << what;
  }

 private:
  static constexpr int k_most = 3;  // messages per rank and test

  MPI_Comm votes_;
  std::string messages_;
  int rank_ = 0, size_ = 1, count_ = 0;
  bool failed_anywhere_ = false;
};

}  // namespace

int main(int argc, char** argv) {
  int provided = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
  testing::InitGoogleTest(&argc, argv);
  MPI_Comm votes;
  MPI_Comm_dup(MPI_COMM_WORLD, &votes);
  int rank = 0;
  MPI_Comm_rank(votes, &rank);

  auto& listeners = testing::UnitTest::GetInstance()->listeners();
  if (rank != 0) delete listeners.Release(listeners.default_result_printer());
  auto* voting = new VotingListener(votes);  // owned by GoogleTest
  listeners.Append(voting);

  int failed = RUN_ALL_TESTS() != 0 || voting->failed_anywhere() ? 1 : 0;
  MPI_Allreduce(MPI_IN_PLACE, &failed, 1, MPI_INT, MPI_MAX, votes);
  if (rank == 0) std::printf(failed != 0 ? "verdict of all ranks: FAILED\n" : "verdict of all ranks: passed\n");
  MPI_Comm_free(&votes);
  MPI_Finalize();
  return failed;
}
