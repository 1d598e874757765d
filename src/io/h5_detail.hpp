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
/// The most specific entry of HDF5's error stack; to be asked right after the call that failed.
std::string reason();

/// Passes a valid code through; a negative one becomes "cannot <verb> '<object>' of '<file>': <reason>".
template <class Code>
Code need(Code code, const char* verb, const std::string& object, const std::string& file) {
  if (code < 0) {
    const std::string why = reason();
    if (object.empty()) user_error("cannot {} '{}': {}", verb, file, why);
    user_error("cannot {} '{}' of '{}': {}", verb, object, file, why);
  }
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

inline H5Id open_dataset(hid_t file, const std::string& dataset, const std::string& path) {
  return {need(H5Dopen2(file, dataset.c_str(), H5P_DEFAULT), "open", dataset, path), H5Dclose};
}

/// float32, uint8, string, ... or "other".
std::string name_of(hid_t type);
/// h5py stores flags as an enum; HDF5 turns it into its integer.
inline bool is_integer(hid_t type) {
  return H5Tget_class(type) == H5T_INTEGER || H5Tget_class(type) == H5T_ENUM;
}
inline bool is_number(hid_t type) {
  return is_integer(type) || H5Tget_class(type) == H5T_FLOAT;
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
/// Number of elements, if memory may be taken for them: a file cannot hold more than deflate's best ratio (1032) makes
/// of it.
i64 believable_count(hid_t dataset, i64 element_bytes, const std::string& name, const std::string& file);

}  // namespace pleiad::io::detail
