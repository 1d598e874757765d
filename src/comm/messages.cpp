#include "pleiad/comm/messages.hpp"

#include <algorithm>
#include <limits>

#include "pleiad/comm/error.hpp"
#include "pleiad/comm/limit.hpp"

namespace pleiad::comm {

namespace {

/// The parts as one datatype with addresses of their own; long ones are cut, since MPI counts in int.
class PartsType {
 public:
  explicit PartsType(std::initializer_list<Part> parts) {
    std::vector<int> bytes;
    std::vector<MPI_Aint> places;
    for (const Part& p : parts) {
      MPI_Aint at = 0;
      if (p.bytes) PLEIAD_MPI(MPI_Get_address, p.data, &at);
      for_each_call(p.bytes, [&](i64 begin, i64 count) {
        bytes.push_back(static_cast<int>(count));
        places.push_back(at + begin);
      });
    }
    PLEIAD_MPI(MPI_Type_create_hindexed, static_cast<int>(bytes.size()), bytes.data(), places.data(), MPI_BYTE, &handle_);
    PLEIAD_MPI(MPI_Type_commit, &handle_);
  }
  PartsType(const PartsType&) = delete;
  PartsType& operator=(const PartsType&) = delete;
  ~PartsType() { MPI_Type_free(&handle_); }
  MPI_Datatype native() const { return handle_; }

 private:
  MPI_Datatype handle_ = MPI_DATATYPE_NULL;
};

/// The one part that has something in it; nullptr if several have or it is too long.
const Part* only_part(std::initializer_list<Part> parts) {
  const Part* only = parts.begin();
  for (const Part& p : parts) {
    if (p.bytes == 0) continue;
    if (only->bytes && only != &p) return nullptr;
    only = &p;
  }
  return only->bytes <= most_per_call ? only : nullptr;
}

/// work(data, bytes, whether the first)
template <class Work>
void for_each_piece(const Part& part, bool in_pieces, Work work) {
  const char* data = static_cast<const char*>(part.data);
  i64 done = 0;
  do {
    const i64 bytes = in_pieces ? std::min(k_piece, part.bytes - done) : part.bytes;
    work(data + done, bytes, done == 0);
    done += bytes;
  } while (done < part.bytes);
}

}  // namespace

void Messages::send(i64 to, int tag, std::initializer_list<Part> parts) {
  const auto start = [&](const void* data, i64 count, MPI_Datatype type, int its_tag) {
    requests_.push_back(MPI_REQUEST_NULL);
    PLEIAD_MPI(MPI_Isend, data, static_cast<int>(count), type, static_cast<int>(to), its_tag, comm_->native(), &requests_.back());
  };
  if (const Part* only = only_part(parts)) {
    for_each_piece(*only, in_pieces_, [&](const char* data, i64 bytes, bool first) { start(data, bytes, MPI_BYTE, first ? tag : tag + k_more); });
  } else {
    start(MPI_BOTTOM, 1, PartsType(parts).native(), tag);
  }
}

void Messages::receive(i64 from, int tag, std::initializer_list<Part> parts) {
  const auto start = [&](void* data, i64 count, MPI_Datatype type, int its_tag) {
    requests_.push_back(MPI_REQUEST_NULL);
    PLEIAD_MPI(MPI_Irecv, data, static_cast<int>(count), type, static_cast<int>(from), its_tag, comm_->native(), &requests_.back());
  };
  if (const Part* only = only_part(parts)) {
    for_each_piece(*only, in_pieces_, [&](const char* data, i64 bytes, bool first) { start(const_cast<char*>(data), bytes, MPI_BYTE, first ? tag : tag + k_more); });
  } else {
    start(MPI_BOTTOM, 1, PartsType(parts).native(), tag);
  }
}

bool Messages::advance() {
  int all = 1;
  PLEIAD_MPI(MPI_Testall, static_cast<int>(requests_.size()), requests_.data(), &all, MPI_STATUSES_IGNORE);
  if (all) requests_.clear();
  return all != 0;
}

void Messages::wait() {
  PLEIAD_MPI(MPI_Waitall, static_cast<int>(requests_.size()), requests_.data(), MPI_STATUSES_IGNORE);
  requests_.clear();
}

i64 bytes_coming(const Communicator& comm, i64 from, int tag) {
  MPI_Status status;
  MPI_Count bytes = 0;
  PLEIAD_MPI(MPI_Probe, static_cast<int>(from), tag, comm.native(), &status);
  PLEIAD_MPI(MPI_Get_elements_x, &status, MPI_BYTE, &bytes);
  return static_cast<i64>(bytes);
}

}  // namespace pleiad::comm
