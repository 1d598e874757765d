// Every MPI call goes through PLEIAD_MPI, which turns a non-zero code into an MpiError that names the call.
#pragma once
#include <mpi.h>

#include <stdexcept>

#include "pleiad/core/whereabouts.hpp"

namespace pleiad::comm {

/// An MPI call failed, or this rank cannot go on while others wait in MPI.
class MpiError : public std::runtime_error {
 public:
  MpiError(const char* call, int code);
};

}  // namespace pleiad::comm

#define PLEIAD_MPI(function, ...)                                                            \
  do {                                                                                       \
    const ::pleiad::Waiting pleiad_waiting(#function);                                       \
    const int pleiad_mpi_code = function(__VA_ARGS__);                                       \
    if (pleiad_mpi_code != MPI_SUCCESS) throw ::pleiad::comm::MpiError(#function, pleiad_mpi_code); \
  } while (false)
