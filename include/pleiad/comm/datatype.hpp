// The MPI datatype of each element type.
#pragma once
#include <mpi.h>

#include <cstdint>
#include <type_traits>

#include "pleiad/core/real.hpp"

namespace pleiad::comm {

template <class T>
MPI_Datatype mpi_type() {
  if constexpr (std::is_same_v<T, char>) return MPI_CHAR;
  else if constexpr (std::is_same_v<T, std::uint8_t>) return MPI_UINT8_T;
  else if constexpr (std::is_same_v<T, std::int32_t>) return MPI_INT32_T;
  else if constexpr (std::is_same_v<T, i64>) return MPI_INT64_T;
  else if constexpr (std::is_same_v<T, float>) return MPI_FLOAT;
  else {
    static_assert(std::is_same_v<T, double>, "no MPI datatype for this type");
    return MPI_DOUBLE;
  }
}

}  // namespace pleiad::comm
