// Ownership of HDF5 identifiers, without showing hdf5.h. Read next: h5.hpp.
#pragma once
#include <cstdint>

namespace pleiad::io {

/// Owns one HDF5 identifier. Closing in the destructor ignores errors; H5File::close() reports them.
class H5Id {
 public:
  using Close = int (*)(std::int64_t);
  H5Id() = default;
  H5Id(std::int64_t id, Close with) : id_(id), close_(with) {}
  H5Id(H5Id&& other) noexcept : id_(other.release()), close_(other.close_) {}
  H5Id& operator=(H5Id&& other) noexcept;
  ~H5Id() { close(); }
  std::int64_t get() const { return id_; }
  std::int64_t release();
  bool close();  ///< false if HDF5 reports a failure

 private:
  std::int64_t id_ = -1;
  Close close_ = nullptr;
};

}  // namespace pleiad::io
