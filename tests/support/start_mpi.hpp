// Starts MPI as a world of one in a program that has no main() of its own. Include it in one file of such a program.
#pragma once
#include <gtest/gtest.h>
#include <mpi.h>

namespace pleiad::test {

class MpiOfOne : public testing::Environment {
 public:
  void SetUp() override {
    int provided = 0;
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
  }
  void TearDown() override { MPI_Finalize(); }
};

inline const testing::Environment* const k_mpi_of_one = testing::AddGlobalTestEnvironment(new MpiOfOne);

}  // namespace pleiad::test
