#include "h5_damage.hpp"

#include <hdf5.h>
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <set>

// Of the sanitizers, where there are any.
extern "C" __attribute__((weak)) void __sanitizer_set_death_callback(void (*)());

namespace pleiad::fuzz {

namespace {

constexpr hsize_t k_extents[] = {0,   1,    2,     3,       4,       5,   7, 8, 16, 17, 64, 255, 256, 257, 1000, 65536, 1 << 20, hsize_t{1} << 31, hsize_t{1} << 32,
                                 hsize_t{1} << 40, hsize_t{1} << 62};
constexpr std::uint64_t k_values[] = {0,          1,          2,          255,        256,
                                      300,        ~0ull,      1ull << 31, 1ull << 32, 1ull << 63,
                                      0x7FF0ull << 48, 0x7FF8ull << 48, 0x3FFull << 52, 0x7F800000ull, 0x7FC00000ull, 0x43EFull << 48};
constexpr std::size_t k_written = 4096;  // elements; datasets of more stay unwritten

/// Types we read, types we do not, and types of odd makes. The caller closes it.
hid_t some_type(Bytes& bytes) {
  const hid_t plain[] = {H5T_STD_I8LE,   H5T_STD_U8LE,   H5T_STD_I16LE, H5T_STD_U16LE,   H5T_STD_I32LE, H5T_STD_U32LE, H5T_STD_I64LE,   H5T_STD_U64LE,      H5T_STD_I64BE,
                         H5T_IEEE_F32LE, H5T_IEEE_F64LE, H5T_IEEE_F64BE, H5T_NATIVE_LDOUBLE, H5T_STD_B64LE, H5T_UNIX_D32LE, H5T_STD_REF_OBJ, H5T_STD_REF_DSETREG};
  const std::size_t kind = bytes.below(std::size(plain) + 9);
  if (kind < std::size(plain)) return H5Tcopy(plain[kind]);
  switch (kind - std::size(plain)) {
    case 0:
    case 1: {
      const hid_t type = H5Tcopy(H5T_C_S1);
      H5Tset_size(type, 1 + bytes.number(2));
      H5Tset_strpad(type, static_cast<H5T_str_t>(bytes.below(3)));
      return type;
    }
    case 2: {
      const hid_t type = H5Tcopy(H5T_C_S1);
      H5Tset_size(type, H5T_VARIABLE);
      return type;
    }
    case 3: {
      const hid_t type = H5Tenum_create(H5T_STD_I8LE);
      for (std::int8_t i = 0; i < 2; ++i) H5Tenum_insert(type, i ? "TRUE" : "FALSE", &i);
      return type;
    }
    case 4: {
      const hid_t type = H5Tcreate(H5T_COMPOUND, 16);
      H5Tinsert(type, "a", 0, H5T_STD_I64LE);
      H5Tinsert(type, "b", 8, H5T_IEEE_F64LE);
      return type;
    }
    case 5: return H5Tcreate(H5T_OPAQUE, 1 + bytes.number(2));
    case 6: {
      const hsize_t extent = 1 + bytes.byte();
      return H5Tarray_create2(H5T_STD_I32LE, 1, &extent);
    }
    case 7: return H5Tvlen_create(H5T_STD_I32LE);
    default: {  // a number of an unusual size
      const hid_t type = H5Tcopy(bytes.byte() & 1 ? H5T_STD_I64LE : H5T_IEEE_F64LE);
      const std::size_t size = 1 + bytes.below(64);
      H5Tset_size(type, size);
      if (bytes.byte() & 1) H5Tset_precision(type, 1 + bytes.below(8 * size));
      return type;
    }
  }
}

std::vector<hsize_t> some_extents(Bytes& bytes) {
  std::vector<hsize_t> extents(bytes.below(6) == 5 ? bytes.below(H5S_MAX_RANK + 1) : bytes.below(4));
  for (hsize_t& e : extents) e = k_extents[bytes.below(std::size(k_extents))];
  return extents;
}

hid_t space_of(const std::vector<hsize_t>& extents, Bytes& bytes) {
  if (extents.empty()) return H5Screate(bytes.below(8) == 7 ? H5S_NULL : H5S_SCALAR);
  const std::vector<hsize_t> most(extents.size(), H5S_UNLIMITED);
  return H5Screate_simple(static_cast<int>(extents.size()), extents.data(), bytes.byte() & 1 ? most.data() : nullptr);
}

/// `bytes` over and over, or one of the numbers that break things.
std::string some_content(std::size_t size, Bytes& bytes) {
  std::string pattern(bytes.text());
  if (pattern.empty()) {
    pattern.resize(8);
    const std::uint64_t value = k_values[bytes.below(std::size(k_values))];
    std::memcpy(pattern.data(), &value, 8);
  }
  std::string content;
  while (content.size() < size) content += pattern;
  content.resize(size);
  return content;
}

/// Passes to `write` the content for so many elements of a type, if it is one that bytes can be written to.
template <class Write>
void with_content(hid_t type, hssize_t count, Bytes& bytes, Write write) {
  if (count < 1 || count > static_cast<hssize_t>(k_written)) return;
  if (H5Tis_variable_str(type) > 0) {
    const std::string text(bytes.text());
    const std::vector<const char*> all(static_cast<std::size_t>(count), text.c_str());
    write(static_cast<const void*>(all.data()));
  } else if (H5Tdetect_class(type, H5T_VLEN) <= 0 && H5Tdetect_class(type, H5T_REFERENCE) <= 0) {
    write(static_cast<const void*>(some_content(static_cast<std::size_t>(count) * H5Tget_size(type), bytes).data()));
  }
}

void make_dataset(hid_t file, const std::string& path, Bytes& bytes) {
  const hid_t type = some_type(bytes), list = H5Pcreate(H5P_DATASET_CREATE), links = H5Pcreate(H5P_LINK_CREATE);
  const std::vector<hsize_t> extents = some_extents(bytes);
  const hid_t space = space_of(extents, bytes);
  H5Pset_create_intermediate_group(links, 1);
  const std::size_t storage = bytes.below(10);
  bool filled = storage != 5 && storage != 6;
  if (!extents.empty() && storage < 4) {
    std::vector<hsize_t> chunk;
    for (const hsize_t e : extents) chunk.push_back(std::max<hsize_t>(1, storage == 0 ? k_extents[bytes.below(std::size(k_extents))] : std::min<hsize_t>(e, 64)));
    double elements = 1;
    for (const hsize_t c : chunk) elements *= static_cast<double>(c);
    filled = elements <= 65536;  // a chunk is written as a whole
    H5Pset_chunk(list, static_cast<int>(chunk.size()), chunk.data());
    if (storage > 1) H5Pset_deflate(list, 9);
    if (storage > 2) H5Pset_fletcher32(list);
  } else if (storage == 4) {
    H5Pset_layout(list, H5D_COMPACT);
  } else if (storage == 5) {
    H5Pset_external(list, trap().c_str(), 0, H5F_UNLIMITED);
  } else if (storage == 6 && !extents.empty()) {
    H5Pset_virtual(list, space, trap().c_str(), "x", space);
  }
  H5Ldelete(file, path.c_str(), H5P_DEFAULT);
  const hid_t made = H5Dcreate2(file, path.c_str(), type, space, links, list, H5P_DEFAULT);
  if (made >= 0) {
    if (filled) {
      with_content(type, H5Sget_simple_extent_npoints(space), bytes, [&](const void* content) { H5Dwrite(made, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, content); });
    }
    H5Dclose(made);
  }
  H5Sclose(space), H5Pclose(list), H5Pclose(links), H5Tclose(type);
}

/// Takes type and space over.
void fill_attribute(hid_t file, const std::string& object, const std::string& name, hid_t type, hid_t space, Bytes& bytes) {
  const hid_t made = H5Acreate_by_name(file, object.c_str(), name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  if (made >= 0) {
    with_content(type, H5Sget_simple_extent_npoints(space), bytes, [&](const void* content) { H5Awrite(made, type, content); });
    H5Aclose(made);
  }
  H5Sclose(space), H5Tclose(type);
}

void make_attribute(hid_t file, const std::string& object, const std::string& name, Bytes& bytes) {
  const hid_t type = some_type(bytes);
  std::vector<hsize_t> extents = some_extents(bytes);
  if (bytes.byte() & 1) extents.clear();
  for (hsize_t& e : extents) e %= 20;  // HDF5 takes memory for attributes when it writes them
  if (extents.size() > 3) extents.clear();
  double size = static_cast<double>(H5Tget_size(type));
  for (const hsize_t e : extents) size *= static_cast<double>(e);
  if (size > 4e6) extents.clear();  // it stands in the head of its object, which is read whenever that is opened: on a loaded machine not within the time an input has
  const hid_t space = space_of(extents, bytes);
  H5Adelete_by_name(file, object.c_str(), name.c_str(), H5P_DEFAULT);
  fill_attribute(file, object, name, type, space, bytes);
}

/// An attribute keeps its type and gets another value. Made anew: HDF5 1.10.8 goes beyond its memory where one is written a second time.
void change_attribute(hid_t file, const std::string& object, const std::string& name, Bytes& bytes) {
  const hid_t old = H5Aopen_by_name(file, object.c_str(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT);
  if (old < 0) return;
  const hid_t stored = H5Aget_type(old), type = H5Tcopy(stored), space = H5Aget_space(old);
  H5Tclose(stored), H5Aclose(old);
  H5Adelete_by_name(file, object.c_str(), name.c_str(), H5P_DEFAULT);
  fill_attribute(file, object, name, type, space, bytes);
}

/// One element of a dataset gets another value.
void change_element(hid_t file, const std::string& path, Bytes& bytes) {
  const hid_t dataset = H5Dopen2(file, path.c_str(), H5P_DEFAULT);
  if (dataset < 0) return;
  const hid_t type = H5Dget_type(dataset), space = H5Dget_space(dataset), one = H5Screate(H5S_SCALAR);
  hsize_t extents[H5S_MAX_RANK] = {}, at[H5S_MAX_RANK] = {};
  const int rank = H5Sget_simple_extent_dims(space, extents, nullptr);
  bool any = true;
  for (int i = 0; i < rank; ++i) {
    any &= extents[i] > 0 && extents[i] <= 1 << 20;  // far into what was never written HDF5 writes to where no memory is
    at[i] = extents[i] ? bytes.number(2) % extents[i] : 0;
  }
  if (any && rank > 0) H5Sselect_elements(space, H5S_SELECT_SET, 1, at);
  if (any) with_content(type, 1, bytes, [&](const void* content) { H5Dwrite(dataset, type, one, rank > 0 ? space : H5S_ALL, H5P_DEFAULT, content); });
  H5Sclose(one), H5Sclose(space), H5Tclose(type), H5Dclose(dataset);
}

void resize(hid_t file, const std::string& path, Bytes& bytes) {
  const hid_t dataset = H5Dopen2(file, path.c_str(), H5P_DEFAULT);
  if (dataset < 0) return;
  const hid_t space = H5Dget_space(dataset);
  hsize_t extents[H5S_MAX_RANK] = {};
  const int rank = H5Sget_simple_extent_dims(space, extents, nullptr);
  if (rank > 0) {
    extents[bytes.below(static_cast<std::size_t>(rank))] = k_extents[bytes.below(std::size(k_extents))];
    H5Dset_extent(dataset, extents);  // of chunked ones
  }
  H5Sclose(space), H5Dclose(dataset);
}

void change(const std::string& path, const Anatomy& anatomy, Bytes& bytes) {
  const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  H5Pset_fclose_degree(access, H5F_CLOSE_STRONG);  // whatever a change that failed left open
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDWR, access);
  H5Pclose(access);
  if (file < 0) finding("cannot open " + path);
  bool resized = false;  // from very many rows to a few HDF5 goes one by one
  for (int change = 0; change < 12 && !bytes.empty(); ++change) {
    const std::string object = anatomy.objects[bytes.number(2) % anatomy.objects.size()];
    const std::string other = anatomy.objects[bytes.below(anatomy.objects.size())];
    const std::string attribute = anatomy.attributes[bytes.below(anatomy.attributes.size())];
    switch (bytes.below(12)) {
      case 0: H5Ldelete(file, object.c_str(), H5P_DEFAULT); break;
      case 1:
      case 2: make_dataset(file, object, bytes); break;
      case 3: make_attribute(file, bytes.byte() & 1 ? "/" : object, attribute, bytes); break;
      case 4: change_attribute(file, bytes.byte() & 1 ? "/" : object, attribute, bytes); break;
      case 5: H5Adelete_by_name(file, bytes.byte() & 1 ? "/" : object.c_str(), attribute.c_str(), H5P_DEFAULT); break;
      case 6: change_element(file, object, bytes); break;
      case 7:
        if (!resized) resize(file, object, bytes);
        resized = true;
        break;
      case 8:
        if (bytes.byte() & 1) H5Ldelete(file, object.c_str(), H5P_DEFAULT);
        H5Lcreate_soft(other.c_str(), file, (bytes.byte() & 1 ? object : object + "/again").c_str(), H5P_DEFAULT, H5P_DEFAULT);
        break;
      case 9:
        H5Ldelete(file, object.c_str(), H5P_DEFAULT);
        H5Lcreate_external(trap().c_str(), "/x", file, object.c_str(), H5P_DEFAULT, H5P_DEFAULT);
        break;
      case 10: H5Lcreate_hard(file, other.c_str(), file, (bytes.byte() & 1 ? object + "/again" : "/params/again").c_str(), H5P_DEFAULT, H5P_DEFAULT); break;
      default: {  // groups in groups
        std::string deep = object == "/" ? "" : object;
        const std::size_t depth = bytes.number(2) % 300;
        for (std::size_t i = 0; i < depth; ++i) deep += "/g";
        const hid_t links = H5Pcreate(H5P_LINK_CREATE);
        H5Pset_create_intermediate_group(links, 1);
        const hid_t made = H5Gcreate2(file, deep.c_str(), links, H5P_DEFAULT, H5P_DEFAULT);
        if (made >= 0) H5Gclose(made);
        H5Pclose(links);
      }
    }
  }
  H5Fclose(file);
}

}  // namespace

Anatomy anatomy_of(const std::string& path) {
  struct Found {
    Anatomy anatomy;
    std::set<std::string> attributes;
  } found;
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  if (file < 0) finding("cannot read " + path);
  const auto visit = [](hid_t root, const char* name, const H5O_info_t*, void* out) -> herr_t {
    auto& f = *static_cast<Found*>(out);
    f.anatomy.objects.push_back(std::string("/") + (std::strcmp(name, ".") == 0 ? "" : name));
    const auto add = [](hid_t, const char* attribute, const H5A_info_t*, void* names) -> herr_t {
      static_cast<std::set<std::string>*>(names)->insert(attribute);
      return 0;
    };
    const hid_t object = H5Oopen(root, name, H5P_DEFAULT);
    H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_INC, nullptr, add, &f.attributes);
    H5Oclose(object);
    return 0;
  };
  H5Ovisit(file, H5_INDEX_NAME, H5_ITER_INC, visit, &found);
  H5Fclose(file);
  found.anatomy.attributes.assign(found.attributes.begin(), found.attributes.end());
  return found.anatomy;
}

bool damage(const std::string& path, const Anatomy& anatomy, Bytes& bytes) {
  trap();  // made by this process, to be there for all
  const pid_t child = fork();
  if (child < 0) finding("cannot fork");
  if (child == 0) {
    // Nobody is told of what goes wrong here.
    for (const int s : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL}) std::signal(s, SIG_DFL);
    if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(nullptr);
    const int nowhere = ::open("/dev/null", O_WRONLY);
    ::dup2(nowhere, STDERR_FILENO);
    change(path, anatomy, bytes);
    ::_exit(0);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

const std::string& trap() {
  static const std::string path = [] {
    const std::string at = scratch() + "/trap.h5";
    const hid_t file = H5Fcreate(at.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), space = H5Screate(H5S_SCALAR);
    H5Dclose(H5Dcreate2(file, "/x", H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Sclose(space), H5Fclose(file);
    return at;
  }();
  return path;
}

bool trapped() {
  static const int watch = [] {
    const int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    inotify_add_watch(fd, trap().c_str(), IN_OPEN);
    return fd;
  }();
  char events[4096];
  bool any = false;
  while (::read(watch, events, sizeof events) > 0) any = true;
  return any;
}

}  // namespace pleiad::fuzz
