#include "pleiad/comm/datatype.hpp"

#include <utility>

#include "pleiad/comm/error.hpp"

namespace pleiad::comm {

RowType::RowType(MPI_Datatype element, i64 width) {
  PLEIAD_MPI(MPI_Type_contiguous, static_cast<int>(width), element, &handle_);
  PLEIAD_MPI(MPI_Type_commit, &handle_);
}

RowType::RowType(RowType&& other) noexcept : handle_(std::exchange(other.handle_, MPI_DATATYPE_NULL)) {}

RowType& RowType::operator=(RowType&& other) noexcept {
  std::swap(handle_, other.handle_);
  return *this;
}

RowType::~RowType() {
  if (handle_ != MPI_DATATYPE_NULL) MPI_Type_free(&handle_);
}

}  // namespace pleiad::comm
