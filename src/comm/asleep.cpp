#include "pleiad/comm/asleep.hpp"

#include <chrono>
#include <thread>

#include "pleiad/comm/error.hpp"

namespace pleiad::comm {

void meet_asleep(const Communicator& comm) {
  MPI_Request request = MPI_REQUEST_NULL;
  PLEIAD_MPI(MPI_Ibarrier, comm.native(), &request);
  for (int done = 0;;) {
    PLEIAD_MPI(MPI_Test, &request, &done, MPI_STATUS_IGNORE);
    if (done) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

}  // namespace pleiad::comm
