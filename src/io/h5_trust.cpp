// What an HDF5 file is not trusted with: names of other files, sizes, structures without end, and the library's own wits.
#include "h5_detail.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

namespace pleiad::io {

namespace detail {

namespace {

constexpr std::ptrdiff_t k_deepest = 64;

hid_t refuse_link(const char*, hid_t, const void*, std::size_t, hid_t, hid_t) {
  H5Epush2(H5E_DEFAULT, __FILE__, __func__, __LINE__, H5E_ERR_CLS, H5E_LINK, H5E_TRAVERSE, "it is a link to another file, which is not followed");
  return -1;
}

i64 file_bytes(const std::string& file) {
  std::error_code ignored;
  return std::max<i64>(0, static_cast<i64>(std::filesystem::file_size(file, ignored)));
}

/// Bytes that a dataset of the file can have.
i64 believable_bytes(const std::string& file) {
  return std::max(i64{64} << 20, 1100 * file_bytes(file));
}

/// Number of chunks, -1 if it does not fit.
i64 chunks_of(Shape shape, const Shape& chunk) {
  for (std::size_t i = 0; i < std::min(shape.size(), chunk.size()); ++i) {
    const i64 extent = std::max<i64>(chunk[i], 1);
    shape[i] = shape[i] / extent + (shape[i] % extent != 0);
  }
  return count_of(shape);
}

/// Of a dataset. HDF5 takes kilobytes for each when it reads them; in the file one takes at least its address, unless it was never written. The smaller ones h5py
/// chooses have 8 KiB, so that a dataset of the bytes that are always believed has not so many.
i64 believable_chunks(const std::string& file) {
  return std::max(i64{1} << 14, file_bytes(file) / 8);
}

}  // namespace

void distrust_files() {
  static const bool done = [] {
    H5L_class_t external = {};
    external.version = H5L_LINK_CLASS_T_VERS;
    external.id = H5L_TYPE_EXTERNAL;
    external.comment = "refused";
    external.trav_func = refuse_link;
    return H5Lregister(&external) >= 0 && H5PLset_loading_state(0) >= 0;
  }();
  PLEIAD_CHECK(done, "HDF5 does not let us refuse links to other files: {}", reason());
}

H5Id open_dataset(hid_t file, const std::string& dataset, const std::string& path, bool to_write) {
  H5Id id(need(H5Dopen2(file, dataset.c_str(), H5P_DEFAULT), "open", dataset, path), H5Dclose);
  const H5Id list = plist_id(need(H5Dget_create_plist(id.get()), "open", dataset, path));
  const H5D_layout_t layout = H5Pget_layout(list.get());
  if (layout == H5D_VIRTUAL || H5Pget_external_count(list.get()) > 0) {
    user_error("'{}' of '{}' keeps its numbers in another file, which is not followed", dataset, path);
  }
  if (layout == H5D_CHUNKED) {
    hsize_t extents[H5S_MAX_RANK] = {};
    const int rank = H5Pget_chunk(list.get(), H5S_MAX_RANK, extents);
    const Shape chunk(extents, extents + std::max(rank, 0));
    const i64 count = count_of(chunk), bytes = static_cast<i64>(H5Tget_size(type_id(H5Dget_type(id.get())).get()));
    if (count < 0 || count > believable_bytes(path) / std::max<i64>(bytes, 1)) {
      user_error("'{}' of '{}' claims chunks of {}, more than a file of {} bytes can hold", dataset, path, in_words(chunk), file_bytes(path));
    }
    const i64 chunks = chunks_of(shape_of(id.get()), chunk);
    if (!to_write && (chunks < 0 || chunks > believable_chunks(path))) {
      user_error("'{}' of '{}' claims shape {} in chunks of {}, more than a file of {} bytes can hold", dataset, path, in_words(shape_of(id.get())), in_words(chunk),
                 file_bytes(path));
    }
  }
  return id;
}

i64 believable_count(hid_t dataset, i64 element_bytes, const std::string& name, const std::string& file) {
  if (H5Sget_simple_extent_type(space_id(H5Dget_space(dataset)).get()) == H5S_NULL)
    user_error("'{}' of '{}' holds no value", name, file);
  const Shape shape = shape_of(dataset);
  const i64 count = count_of(shape);
  Shape extents = shape;  // rows of nothing can be of any number, and somebody may go through them
  std::ranges::replace(extents, i64{0}, i64{1});
  const i64 rows = count_of(extents);
  if (rows < 0 || rows > believable_bytes(file) / std::max<i64>(element_bytes, 1)) {
    user_error("'{}' of '{}' claims shape {}, more than a file of {} bytes can hold", name, file, in_words(shape),
               file_bytes(file));
  }
  return count;
}

void require_walkable(hid_t file, const std::string& object, const std::string& path) {
  if (std::ranges::count(object, '/') > k_deepest) user_error("'{}': groups lie in groups more than {} deep", path, k_deepest);
  H5L_info_t link = {};
  need(H5Lget_info(file, object.c_str(), &link, H5P_DEFAULT), "find", object, path);
  if (link.type != H5L_TYPE_HARD) user_error("'{}' of '{}' is a link, which is not followed", object, path);
  H5O_info_t info = {};
  need(H5Oget_info_by_name2(file, object.c_str(), &info, H5O_INFO_BASIC, H5P_DEFAULT), "find", object, path);
  if (info.type == H5O_TYPE_GROUP && info.rc > 1) user_error("'{}' of '{}' is a group of several names", object, path);
}

// ---- crashes inside the library ----

namespace {

constexpr int k_faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
struct sigaction before[std::size(k_faults)];
constinit thread_local const char* file_read = nullptr;  // by this thread, at this moment
int exit_code = 0;
bool first_rank = true;

void say(const char* text) {
  // Nothing is left to do where this fails.
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text, std::strlen(text));
}

/// Calls nothing but what POSIX allows in a handler.
void on_fault(int signal, siginfo_t* what, void* context) {
  if (file_read) {
    // Other ranks read the same file and end the same way: the first one speaks for all, and its end takes the others with it.
    if (!first_rank) ::sleep(1);
    say("pleiad: '");
    say(file_read);
    say("' is damaged: the HDF5 library breaks down when it reads it\n");
    ::_exit(exit_code);
  }
  // Not our matter: whoever was asked before gets it, with what is known about it, and if that does not end the process its default does.
  for (std::size_t i = 0; i < std::size(k_faults); ++i) {
    if (k_faults[i] != signal) continue;
    ::sigaction(signal, &before[i], nullptr);
    if (before[i].sa_flags & SA_SIGINFO) before[i].sa_sigaction(signal, what, context);
  }
  ::raise(signal);
}

}  // namespace

Reading::Reading(const char* path) : before_(file_read) {
  if (path) file_read = path;
}

Reading::~Reading() {
  file_read = before_;
}

}  // namespace detail

void exit_on_broken_files(int code, std::int64_t rank) {
  detail::exit_code = code;
  detail::first_rank = rank == 0;
  // A stack that ran over cannot carry its own handler.
  static char stack[1 << 16];
  stack_t alternative = {};
  if (::sigaltstack(nullptr, &alternative) == 0 && (alternative.ss_flags & SS_DISABLE)) {
    alternative = {};
    alternative.ss_sp = stack;
    alternative.ss_size = sizeof stack;
    ::sigaltstack(&alternative, nullptr);
  }
  struct sigaction action = {};
  action.sa_sigaction = detail::on_fault;
  action.sa_flags = SA_ONSTACK | SA_SIGINFO;
  for (std::size_t i = 0; i < std::size(detail::k_faults); ++i) ::sigaction(detail::k_faults[i], &action, &detail::before[i]);
}

}  // namespace pleiad::io
