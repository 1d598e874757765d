// Private to the sources of h5.hpp: HDF5 calls checked, with the innermost reason in the message.
#pragma once
#include "pleiad/core/error.hpp"
#include "pleiad/io/h5.hpp"

#include <hdf5.h>

#include <functional>
#include <string>
#include <vector>

namespace pleiad::io::detail {

/// HDF5 prints its error stack unless told not to; our messages quote it instead.
void silence();
/// What the system said, if the error stack of HDF5 tells, or its most specific entry; to be asked right after the call that failed.
std::string reason();

// ---- files that are being written (h5_reason.cpp) ----

/// Whether a file has its temporary_name() still; the name that it is to have; its end, if it will never have that.
bool is_unfinished(const std::string& path);
std::string final_name(const std::string& path);
void discard(const std::string& path);
/// A file that the system did not let us write is not touched any more, not even closed: HDF5 would write down an end of the file that the file does not have,
/// and nobody could read what is in it. begin_anew(): it is made or opened again.
bool is_spoilt(const std::string& file);
void refuse_spoilt(const std::string& file);
void begin_anew(const std::string& file);
/// Takes room for a file of so many bytes, where the file system can, or says why there is none: from a write through MPI nobody learns it. One rank only.
void reserve(const std::string& path, i64 bytes);
/// What was written so far goes to the disk while more is written, and what has arrived there leaves memory: a file of any size passes through the same few pages,
/// which are in the cache and push out nothing else. fsync at the end has little left to wait for. UserError if what was written before could not be saved. One rank only.
void write_behind(const std::string& path);
/// "cannot <verb> '<file>': " and what errno says.
[[noreturn]] void system_error(const char* verb, const std::string& path);

/// UserError "cannot <verb> '<object>' of '<file>': <reason>".
[[noreturn]] void fail(const char* verb, const std::string& object, const std::string& file);

/// Passes a valid code through; a negative one becomes "cannot <verb> '<object>' of '<file>': <reason>".
template <class Code>
Code need(Code code, const char* verb, const std::string& object, const std::string& file) {
  if (code < 0) fail(verb, object, file);
  return code;
}

inline H5Id space_id(hid_t id) {
  return {id, H5Sclose};
}
inline H5Id type_id(hid_t id) {
  return {id, H5Tclose};
}
inline H5Id plist_id(hid_t id) {
  return {id, H5Pclose};
}

/// float32, uint8, string, ... or "other".
std::string name_of(hid_t type);
/// h5py stores flags as an enum; HDF5 turns it into its integer.
inline bool is_integer(hid_t type) {
  return (H5Tget_class(type) == H5T_INTEGER || H5Tget_class(type) == H5T_ENUM) && H5Tget_size(type) <= 8;
}
inline bool is_number(hid_t type) {
  return is_integer(type) || (H5Tget_class(type) == H5T_FLOAT && H5Tget_size(type) <= 16);
}

inline std::vector<hsize_t> extents(const Shape& shape) {
  return {shape.begin(), shape.end()};
}
Shape shape_of(hid_t dataset);
H5Id space_of(const Shape& shape);
std::string in_words(const Shape& shape);
/// Product of the extents from `first` on; -1 if it does not fit.
i64 count_of(const Shape& shape, std::size_t first = 0);

/// A new dataset with the groups above it; `layout` adds to its creation list. No time stamps: the same content gives
/// the same bytes.
H5Id make_dataset(hid_t file, const std::string& name, const std::string& path, hid_t type, const H5Id& space,
                  const std::function<void(hid_t)>& layout);

// ---- what a file is not trusted with (h5_trust.cpp) ----

/// From here on no link to another file is followed and no filter is loaded, in this process.
void distrust_files();
/// UserError if it is missing, if its numbers lie in another file, or if its chunks are larger or, unless they are about to be written, more than the file can hold.
H5Id open_dataset(hid_t file, const std::string& dataset, const std::string& path, bool to_write = false);
/// Number of elements, if memory may be taken for them: a file cannot hold more than deflate's best ratio (1032) makes
/// of it.
i64 believable_count(hid_t dataset, i64 element_bytes, const std::string& name, const std::string& file);
/// UserError unless a walk through the file may go on at this object: no link that can lead back, no other name of it, not too deep.
void require_walkable(hid_t file, const std::string& object, const std::string& path);

/// While it lives, HDF5 reads this file; see exit_on_broken_files() in h5.hpp. No path: it writes, which is no matter of trust.
class Reading {
 public:
  explicit Reading(const char* path);
  ~Reading();
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;

 private:
  const char* before_;
};

}  // namespace pleiad::io::detail
