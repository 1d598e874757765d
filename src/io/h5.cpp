// Identifiers, errors, opening and closing of HDF5 files and what is in them. Values and series: h5_data.cpp, texts and
// attributes: h5_text.cpp.
#include "pleiad/io/h5.hpp"

#include "pleiad/comm/agree.hpp"

#include "h5_detail.hpp"

#include <fcntl.h>
#include <semaphore.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>
#include <utility>

namespace pleiad::io {

using namespace detail;

static_assert(std::is_same_v<hid_t, std::int64_t>, "H5Id holds hid_t without showing it");

namespace detail {

void silence() {
  // No locks, whatever the environment of this process says about them (it would win over the property below): see access_list(). Once,
  // before the first call of the library.
  static const int no_locks = setenv("HDF5_USE_FILE_LOCKING", "FALSE", 1);
  static_cast<void>(no_locks);
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  distrust_files();
}

std::string name_of(hid_t type) {
  const std::size_t bits = 8 * H5Tget_size(type);
  switch (H5Tget_class(type)) {
    case H5T_INTEGER:
      return fmt::format("{}int{}", H5Tget_sign(type) == H5T_SGN_NONE ? "u" : "", bits);
    case H5T_FLOAT:
      return fmt::format("float{}", bits);
    case H5T_STRING:
      return "string";
    case H5T_ENUM:
      return "enum";
    default:
      return "other";
  }
}

Shape shape_of(hid_t dataset) {
  const H5Id space = space_id(H5Dget_space(dataset));
  const int rank = H5Sget_simple_extent_ndims(space.get());
  std::vector<hsize_t> dims(static_cast<std::size_t>(std::max(rank, 0)));
  if (rank > 0) H5Sget_simple_extent_dims(space.get(), dims.data(), nullptr);
  return {dims.begin(), dims.end()};
}

std::string in_words(const Shape& shape) {
  return shape.empty() ? "scalar" : fmt::format("[{}]", fmt::join(shape, ", "));
}

i64 count_of(const Shape& shape, std::size_t first) {
  i64 n = 1;
  for (std::size_t i = first; i < shape.size(); ++i) {
    if (shape[i] < 0 || __builtin_mul_overflow(n, shape[i], &n)) return -1;
  }
  return n;
}

H5Id space_of(const Shape& shape) {
  if (shape.empty()) return space_id(H5Screate(H5S_SCALAR));
  return space_id(H5Screate_simple(static_cast<int>(shape.size()), extents(shape).data(), nullptr));
}

H5Id make_dataset(hid_t file, const std::string& name, const std::string& path, hid_t type, const H5Id& space,
                  const std::function<void(hid_t)>& layout) {
  const H5Id links = plist_id(H5Pcreate(H5P_LINK_CREATE)), list = plist_id(H5Pcreate(H5P_DATASET_CREATE));
  H5Pset_create_intermediate_group(links.get(), 1);
  H5Pset_obj_track_times(list.get(), false);
  layout(list.get());
  const hid_t id = H5Dcreate2(file, name.c_str(), type, space.get(), links.get(), list.get(), H5P_DEFAULT);
  return {need(id, "create", name, path), H5Dclose};
}

}  // namespace detail

namespace {

constexpr i64 k_most_missing = i64{64} << 20;

/// UserError unless `path` is a file this process may read and that begins like HDF5.
void check_readable(const std::string& path) {
  struct stat status = {};
  if (::stat(path.c_str(), &status) != 0) system_error("open", path);
  if (S_ISDIR(status.st_mode)) user_error("cannot open '{}': it is a folder, an HDF5 file is needed", path);
  if (!S_ISREG(status.st_mode)) user_error("cannot open '{}': it is a pipe or a device, an HDF5 file is needed", path);
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);  // may also fail for want of file handles
  if (fd < 0) system_error("open", path);
  ::close(fd);
  silence();
  const Reading reading(path.c_str());
  if (H5Fis_hdf5(path.c_str()) <= 0) {
    user_error("'{}' ({} bytes) is not an HDF5 file", path, static_cast<i64>(status.st_size));
  }
}

/// Makes sure that `path` can be written; `create` makes the file.
void check_writable(const std::string& path, bool create) {
  const int fd = ::open(path.c_str(), create ? O_RDWR | O_CREAT : O_RDWR, 0666);
  if (fd < 0) system_error(create ? "create" : "write", path);
  ::close(fd);
}

/// Open MPI makes a semaphore for every file that several ranks of a node open, named after the file's last name, and takes it for a moment. A rank that is killed
/// in that moment leaves it taken, and whoever opens a file of that name on this node later, its own run in the next attempt or any other, waits for ever. It guards
/// a file pointer that we never use, so what others left, or have, can go. Without one, or with another MPI, this does nothing.
void forget_semaphore(const std::string& path) { ::sem_unlink(("/OMPIO_" + std::filesystem::path(path).filename().string()).c_str()); }

H5Id access_list(const comm::Communicator* comm, H5F_libver_t oldest) {
  H5Id list = plist_id(H5Pcreate(H5P_FILE_ACCESS));
  H5Pset_libver_bounds(list.get(), oldest, H5F_LIBVER_LATEST);
  // A reader that follows a run, ours or anybody's, may hold the file when its writer opens it again (finish, resume): a lock would end the
  // run for that, and on a network file system it may hang. That there is one writer sees app/run_folder.hpp to.
  if (!comm) H5Pset_file_locking(list.get(), false, true);
  if (comm) {
    H5Pset_fapl_mpio(list.get(), comm->native(), MPI_INFO_NULL);
    H5Pset_all_coll_metadata_ops(list.get(), true);
    H5Pset_coll_metadata_write(list.get(), true);
  }
  return list;
}

/// Where the system refused a writer its last numbers, the first block tells of a longer file than there is. What was written before, which is all that counts, does not stand
/// in what is missing. The end that it tells of; 0 if nothing is missing, or nobody was writing: then the file was cut off.
i64 end_that_is_missing(const std::string& path) {
  unsigned char block[36] = {};
  std::uint64_t end = 0;
  struct stat status = {};
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) system_error("open", path);
  const bool writing = ::pread(fd, block, sizeof block, 0) == sizeof block && block[8] >= 2 && block[9] == sizeof end && (block[11] & 1) && ::fstat(fd, &status) == 0;
  ::close(fd);
  std::memcpy(&end, block + 28, sizeof end);
  const i64 missing = static_cast<i64>(end) - status.st_size;
  return writing && missing > 0 && missing < k_most_missing ? static_cast<i64>(end) : 0;
}

void fill_up(const std::string& path) {
  const i64 end = end_that_is_missing(path);
  if (end > 0 && ::truncate(path.c_str(), static_cast<off_t>(end)) != 0) system_error("write", path);
}

/// A writer that died in SWMR mode leaves "open for writing" and too small an end of file in the first block. This
/// undocumented property and the call are what h5clear --status --increment does about it. A truncated file stays
/// refused.
void mend(const std::string& path) {
  const H5Id access = access_list(nullptr, H5F_LIBVER_LATEST);
  const hbool_t yes = true;
  if (H5Pexist(access.get(), "clear_status_flags") > 0) H5Pset(access.get(), "clear_status_flags", &yes);
  H5Id file(need(H5Fopen(path.c_str(), H5F_ACC_RDWR, access.get()), "open", "", path), H5Fclose);
  need(H5Fincrement_filesize(file.get(), 0), "mend", "", path);
  if (!file.close()) user_error("cannot mend '{}': {}", final_name(path), reason());
}

}  // namespace

H5Id& H5Id::operator=(H5Id&& other) noexcept {
  if (this != &other) {
    close();
    close_ = other.close_;
    id_ = other.release();
  }
  return *this;
}

std::int64_t H5Id::release() {
  return std::exchange(id_, -1);
}

bool H5Id::close() {
  if (id_ < 0) return true;
  return close_(release()) >= 0;
}

// ---- H5File: opening and closing ----

H5File H5File::create(const std::string& path, bool for_swmr) {
  silence();
  check_writable(path, true);
  begin_anew(path);
  const H5Id access = access_list(nullptr, for_swmr ? H5F_LIBVER_LATEST : H5F_LIBVER_V18);
  H5Id id(need(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get()), "create", "", path), H5Fclose);
  return {std::move(id), path, nullptr};
}

H5File H5File::open(const std::string& path) {
  check_readable(path);
  const Reading reading(path.c_str());
  begin_anew(path);
  std::string why;
  for (int attempt = 0; attempt < 5; ++attempt) {
    // For a moment at its beginning and at its end a run has the file for itself alone.
    if (attempt > 0) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    const H5Id access = access_list(nullptr, H5F_LIBVER_EARLIEST);
    hid_t id = H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get());
    if (id >= 0) return {H5Id(id, H5Fclose), path, nullptr, true};
    // Perhaps a run is writing it, or could not (a reader that follows does not ask how long the file is). If following it fails too, the first reason is the one to tell. Only then: in SWMR
    // mode HDF5 reads damaged blocks again and again, and sleeps in between, in the hope that the writer mends them.
    why = reason();
    if (why.find("already open") == std::string::npos && end_that_is_missing(path) == 0) break;
    H5Pset_metadata_read_attempts(access.get(), 20);
    H5Id followed(H5Fopen(path.c_str(), H5F_ACC_RDONLY | H5F_ACC_SWMR_READ, access.get()), H5Fclose);
    if (followed.get() >= 0 && H5Aexists(followed.get(), "format") >= 0) return {std::move(followed), path, nullptr, true};
  }
  user_error("cannot open '{}': {}", path, why);
}

H5File H5File::open_append(const std::string& path) {
  check_readable(path);
  check_writable(path, false);
  begin_anew(path);
  fill_up(path);
  const Reading reading(path.c_str());
  const H5Id access = access_list(nullptr, H5F_LIBVER_LATEST);
  const auto open_it = [&] { return H5Fopen(path.c_str(), H5F_ACC_RDWR, access.get()); };
  hid_t id = open_it();
  if (id < 0) {
    mend(path);
    id = need(open_it(), "open", "", path);
  }
  return {H5Id(id, H5Fclose), path, nullptr, true};
}

H5File H5File::create(const comm::Communicator& comm, const std::string& path) {
  silence();
  // One rank failing inside the collective call would leave the others waiting, so everyone tries beforehand.
  comm::agree_on_root(comm, [&] { check_writable(path, true); });
  comm::agree_on(comm, [&] { check_writable(path, false); });
  H5Id id;
  comm::agree_on(comm, [&] {
    forget_semaphore(path);
    begin_anew(path);
    const H5Id access = access_list(&comm, H5F_LIBVER_V18);
    id = H5Id(need(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get()), "create", "", path), H5Fclose);
  });
  return {std::move(id), path, &comm};
}

H5File H5File::open(const comm::Communicator& comm, const std::string& path) {
  open_for_all(comm, path);
  H5Id id;
  comm::agree_on(comm, [&] {
    const Reading reading(path.c_str());
    forget_semaphore(path);
    begin_anew(path);
    const H5Id access = access_list(&comm, H5F_LIBVER_V18);
    id = H5Id(need(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get()), "open", "", path), H5Fclose);
  });
  return {std::move(id), path, &comm, true};
}

H5File& H5File::operator=(H5File&& other) noexcept {
  if (this != &other) {
    if (comm_) id_.release();  // as in the destructor
    id_ = std::move(other.id_);
    path_ = std::move(other.path_);
    comm_ = other.comm_;
    found_ = other.found_;
    sums_ = std::move(other.sums_);
  }
  return *this;
}

H5File::~H5File() {
  // Nobody closed it: what was to be written under a temporary name will never be whole.
  unsigned intent = H5F_ACC_RDONLY;
  if (id_.get() >= 0) H5Fget_intent(id_.get(), &intent);
  if ((intent & H5F_ACC_RDWR) && (!comm_ || comm_->root())) discard(path_);
  if (comm_ || is_spoilt(path_)) id_.release();
  const Reading reading(found_ ? path_.c_str() : nullptr);
  id_.close();
}

void H5File::close() {
  if (sums_) write_checksums();
  together([&] {
    if (id_.close()) return;
    const std::string why = reason();
    discard(path_);
    user_error("cannot finish writing '{}': {}", final_name(path_), why);
  });
}

void H5File::reserve_room(std::int64_t dataset) const {
  const haddr_t begin = H5Dget_offset(dataset);
  if (!comm_ || begin == HADDR_UNDEF) return;
  const i64 beside = (i64{64} << 10) + 1024 * (sums_ ? static_cast<i64>(sums_->size()) : 0);  // what HDF5 writes of its own when it closes the file
  comm::agree_on_root(*comm_, [&] { reserve(path_, static_cast<i64>(begin + H5Dget_storage_size(dataset)) + beside); });
}

void H5File::flush() {
  together([&] { need(H5Fflush(id_.get(), H5F_SCOPE_LOCAL), "flush", "", path_); });
}

void H5File::start_swmr() {
  PLEIAD_CHECK(!comm_, "SWMR mode needs a serial file, '{}' is parallel", path_);
  need(H5Fstart_swmr_write(id_.get()), "write", "", path_);
}

void H5File::together(const std::function<void()>& action) const {
  const auto watched = [&] {
    refuse_spoilt(path_);
    const Reading reading(found_ ? path_.c_str() : nullptr);
    action();
  };
  if (comm_)
    comm::agree_on(*comm_, watched);
  else
    watched();
}

void H5File::require_format(const std::string& expected) const {
  if (!has_attribute("/", "format"))
    user_error("'{}' is an HDF5 file without a 'format' attribute; format '{}' is needed", path_, expected);
  const std::string found = text("/", "format");
  if (found != expected) user_error("'{}' has format '{}'; format '{}' is needed", path_, found, expected);
}

// ---- H5File: what is there ----

bool H5File::exists(const std::string& object) const {
  bool found = true;
  together([&] {
    // Every group above must exist before HDF5 lets us ask.
    for (std::size_t end = object.find_first_not_of('/'); found && end != std::string::npos;) {
      end = object.find('/', end + 1);
      found = H5Lexists(id_.get(), object.substr(0, end).c_str(), H5P_DEFAULT) > 0;
      if (end != std::string::npos) end = object.find_first_not_of('/', end);
    }
  });
  return found;
}

bool H5File::is_group(const std::string& object) const {
  H5O_info_t info = {};
  together([&] {
    require_walkable(id_.get(), object, path_);
    need(H5Oget_info_by_name2(id_.get(), object.c_str(), &info, H5O_INFO_BASIC, H5P_DEFAULT), "find", object, path_);
  });
  return info.type == H5O_TYPE_GROUP;
}

std::vector<std::string> H5File::list(const std::string& group) const {
  std::vector<std::string> names;
  const auto add = [](hid_t, const char* name, const H5L_info_t*, void* out) -> herr_t {
    static_cast<std::vector<std::string>*>(out)->push_back(name);
    return 0;
  };
  together([&] {
    // In the order of the file: sorting is done here, as HDF5 1.10 frees what it never set where it fails to make a table of a damaged group.
    const herr_t code =
        H5Literate_by_name(id_.get(), group.c_str(), H5_INDEX_NAME, H5_ITER_NATIVE, nullptr, add, &names, H5P_DEFAULT);
    need(code, "list", group, path_);
  });
  std::ranges::sort(names);
  return names;
}

Shape H5File::shape(const std::string& dataset) const {
  Shape shape;
  together([&] {
    const H5Id id = open_dataset(id_.get(), dataset, path_);
    shape = shape_of(id.get());
    believable_count(id.get(), static_cast<i64>(H5Tget_size(type_id(H5Dget_type(id.get())).get())), dataset, path_);
  });
  return shape;
}

std::string H5File::type_name(const std::string& dataset) const {
  std::string name;
  together([&] {
    const H5Id id = open_dataset(id_.get(), dataset, path_);
    name = name_of(type_id(H5Dget_type(id.get())).get());
  });
  return name;
}

// ---- helpers ----

H5File open_for_all(const comm::Communicator& comm, const std::string& path) {
  std::optional<H5File> file;
  comm::agree_on(comm, [&] { file = H5File::open(path); });
  return std::move(*file);
}

H5File open_copy(const std::string& path) {
  check_readable(path);
  const std::string copy = temporary_name(path);
  std::error_code error;
  std::filesystem::copy_file(path, copy, std::filesystem::copy_options::overwrite_existing, error);
  try {
    if (error) user_error("cannot write '{}': {}", path, error.message());
    return H5File::open_append(copy);
  } catch (...) {
    discard(copy);
    throw;
  }
}

}  // namespace pleiad::io
