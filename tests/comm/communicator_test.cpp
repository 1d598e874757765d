// What needs no running MPI: the refusal of a lonely SLURM task, and names of MPI types.
#include "pleiad/comm/communicator.hpp"

#include <cstdlib>

#include "pleiad/comm/datatype.hpp"
#include "pleiad/core/error.hpp"
#include "support/sample.hpp"

namespace pleiad::comm {
namespace {

class SlurmTask : public testing::Test {
 protected:
  SlurmTask() { clear(); }
  ~SlurmTask() override { clear(); }
  static void clear() {
    for (const char* name : {"SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "SLURM_NPROCS"}) unsetenv(name);
  }
};

TEST_F(SlurmTask, AloneAmongSeveralIsRefusedWithTheReasonAndTheWayOut) {
  for (const char* name : {"SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "SLURM_NPROCS"}) {
    clear();
    setenv(name, "4", 1);
    const std::string message = test::message_of<UserError>([] { refuse_lonely_slurm_task(1); });
    EXPECT_TRUE(test::contains(message, "4 tasks")) << message;
    EXPECT_TRUE(test::contains(message, name)) << message;
    EXPECT_TRUE(test::contains(message, "srun --mpi")) << message;
    EXPECT_NO_THROW(refuse_lonely_slurm_task(4));
  }
}

TEST_F(SlurmTask, OfAJobOfOneAndOutsideSlurmIsFine) {
  EXPECT_NO_THROW(refuse_lonely_slurm_task(1));
  setenv("SLURM_NTASKS", "1", 1);
  EXPECT_NO_THROW(refuse_lonely_slurm_task(1));
}

TEST(MpiTypes, HaveTheSizeOfTheElement) {
  EXPECT_EQ(mpi_type<float>(), MPI_FLOAT);
  EXPECT_EQ(mpi_type<double>(), MPI_DOUBLE);
  EXPECT_EQ(mpi_type<i64>(), MPI_INT64_T);
  EXPECT_EQ(mpi_type<std::int32_t>(), MPI_INT32_T);
  EXPECT_EQ(mpi_type<std::uint8_t>(), MPI_UINT8_T);
  EXPECT_EQ(mpi_type<char>(), MPI_CHAR);
}

}  // namespace
}  // namespace pleiad::comm
