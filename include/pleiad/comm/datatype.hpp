// MPI datatypes: the table of element types, and a row of numbers as one datatype (so counts are rows and stay small).
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

/// `width` consecutive elements as one committed datatype. Move-only.
class RowType {
 public:
  RowType(MPI_Datatype element, i64 width);
  RowType(RowType&& other) noexcept;
  RowType& operator=(RowType&& other) noexcept;
  RowType(const RowType&) = delete;
  RowType& operator=(const RowType&) = delete;
  ~RowType();
  MPI_Datatype native() const { return handle_; }

 private:
  MPI_Datatype handle_ = MPI_DATATYPE_NULL;
};

}  // namespace pleiad::comm
