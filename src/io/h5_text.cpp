// Texts and attributes of HDF5 files.
#include "h5_detail.hpp"

#include <algorithm>
#include <cstring>

namespace pleiad::io {

using namespace detail;

namespace {

constexpr i64 k_text_bytes = i64{64} << 20;  // the longest single text we believe a file

H5Id text_type(std::size_t length) {
  H5Id type = type_id(H5Tcopy(H5T_C_S1));
  H5Tset_size(type.get(), std::max<std::size_t>(length, 1));
  H5Tset_strpad(type.get(), H5T_STR_NULLPAD);
  H5Tset_cset(type.get(), H5T_CSET_UTF8);
  return type;
}

/// The memory type a stored string is read with.
H5Id text_memory_type(hid_t stored) {
  if (H5Tis_variable_str(stored) <= 0) return type_id(H5Tcopy(stored));
  H5Id type = type_id(H5Tcopy(H5T_C_S1));
  H5Tset_size(type.get(), H5T_VARIABLE);
  H5Tset_cset(type.get(), H5Tget_cset(stored));
  return type;
}

/// One string of a block read with text_memory_type().
std::string text_at(const char* at, hid_t type) {
  if (H5Tis_variable_str(type) > 0) {
    const char* chars = nullptr;
    std::memcpy(&chars, at, sizeof(chars));
    return chars ? chars : "";
  }
  const std::size_t size = H5Tget_size(type);
  std::string text(at, H5Tget_strpad(type) == H5T_STR_SPACEPAD ? size : strnlen(at, size));
  if (H5Tget_strpad(type) == H5T_STR_SPACEPAD) text.erase(text.find_last_not_of(' ') + 1);
  return text;
}

struct OpenAttribute {
  H5Id id, type;
  std::string where;

  /// UserError unless it exists and is one value.
  OpenAttribute(hid_t file, const std::string& object, const std::string& name, const std::string& path)
      : where(fmt::format("attribute '{}' of '{}' in '{}'", name, object, path)) {
    if (need(H5Aexists_by_name(file, object.c_str(), name.c_str(), H5P_DEFAULT), "read", "", where) == 0)
      user_error("{} is missing", where);
    id = H5Id(need(H5Aopen_by_name(file, object.c_str(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT), "open", "", where),
              H5Aclose);
    type = type_id(H5Aget_type(id.get()));
    const i64 values = H5Sget_simple_extent_npoints(space_id(H5Aget_space(id.get())).get());
    if (values != 1) user_error("{} has {} values; one is needed", where, values);
  }
  void require(bool fits, const char* what) const {
    if (!fits) user_error("{} is {}; {} is needed", where, name_of(type.get()), what);
  }
};

}  // namespace

// ---- texts ----

void H5File::create_texts(const std::string& dataset, const std::vector<std::string>& texts, const Shape& shape,
                          const std::string& description) {
  std::size_t length = 1;
  for (const std::string& t : texts) length = std::max(length, t.size());
  const H5Id type = text_type(length);
  together(
      [&] { const H5Id made = make_dataset(id_.get(), dataset, path_, type.get(), space_of(shape), [](hid_t) {}); });
  set_attribute(dataset, "units", "text");
  set_attribute(dataset, "description", description);
  std::string block(length * texts.size(), '\0');
  for (std::size_t i = 0; i < texts.size(); ++i) texts[i].copy(block.data() + i * length, length);
  transfer(true, dataset, type.get(), nullptr, block.data(), static_cast<i64>(texts.size()));
  count_in(dataset, texts);
}

void H5File::write_text(const std::string& dataset, const std::string& text, const std::string& description) {
  create_texts(dataset, {text}, {}, description);
}

void H5File::write_texts(const std::string& dataset, const std::vector<std::string>& texts,
                         const std::string& description) {
  create_texts(dataset, texts, {static_cast<i64>(texts.size())}, description);
}

std::vector<std::string> H5File::read_texts(const std::string& dataset) const {
  H5Id type;
  i64 count = 0, size = 0;
  together([&] {
    const H5Id id = open_dataset(id_.get(), dataset, path_);
    const H5Id stored = type_id(H5Dget_type(id.get()));
    if (H5Tget_class(stored.get()) != H5T_STRING) {
      user_error("'{}' of '{}' holds {}; text is needed", dataset, path_, name_of(stored.get()));
    }
    type = text_memory_type(stored.get());
    size = static_cast<i64>(H5Tget_size(type.get()));
    count = believable_count(id.get(), size, dataset, path_);
  });
  const bool variable = H5Tis_variable_str(type.get()) > 0;
  std::vector<char> block(static_cast<std::size_t>(count * size));
  transfer(false, dataset, type.get(), nullptr, block.data(), count);
  std::vector<std::string> texts;
  for (i64 i = 0; i < count; ++i) texts.push_back(text_at(block.data() + i * size, type.get()));
  if (variable && count > 0) H5Dvlen_reclaim(type.get(), space_of({count}).get(), H5P_DEFAULT, block.data());
  require_sealed(dataset, texts);
  return texts;
}

std::string H5File::read_text(const std::string& dataset) const {
  const std::vector<std::string> texts = read_texts(dataset);
  if (texts.size() != 1) user_error("'{}' of '{}' holds {} texts; one is needed", dataset, path_, texts.size());
  return texts[0];
}

// ---- attributes ----

void H5File::set_attribute_of(const std::string& object, const std::string& name, std::int64_t type,
                              const void* value) {
  together([&] {
    if (H5Aexists_by_name(id_.get(), object.c_str(), name.c_str(), H5P_DEFAULT) > 0) {
      need(H5Adelete_by_name(id_.get(), object.c_str(), name.c_str(), H5P_DEFAULT), "replace attribute of", object,
           path_);
    }
    const H5Id attribute(need(H5Acreate_by_name(id_.get(), object.c_str(), name.c_str(), type, space_of({}).get(),
                                                H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
                              "add attribute to", object, path_),
                         H5Aclose);
    need(H5Awrite(attribute.get(), type, value), "write attribute of", object, path_);
  });
}

void H5File::set_attribute(const std::string& object, const std::string& name, i64 value) {
  set_attribute_of(object, name, H5T_NATIVE_INT64, &value);
}

void H5File::set_attribute(const std::string& object, const std::string& name, double value) {
  set_attribute_of(object, name, H5T_NATIVE_DOUBLE, &value);
}

void H5File::set_attribute(const std::string& object, const std::string& name, const std::string& value) {
  PLEIAD_CHECK(value.size() < 60000, "attribute '{}' of {} bytes: store it with write_text", name, value.size());
  set_attribute_of(object, name, text_type(value.size()).get(), value.c_str());
}

bool H5File::has_attribute(const std::string& object, const std::string& name) const {
  bool found = false;
  together([&] {
    found = need(H5Aexists_by_name(id_.get(), object.c_str(), name.c_str(), H5P_DEFAULT), "read attributes of", object,
                 path_) > 0;
  });
  return found;
}

std::vector<std::string> H5File::attributes(const std::string& object) const {
  std::vector<std::string> names;
  const auto add = [](hid_t, const char* name, const H5A_info_t*, void* out) -> herr_t {
    static_cast<std::vector<std::string>*>(out)->push_back(name);
    return 0;
  };
  together([&] {
    const H5Id id(need(H5Oopen(id_.get(), object.c_str(), H5P_DEFAULT), "open", object, path_), H5Oclose);
    need(H5Aiterate2(id.get(), H5_INDEX_NAME, H5_ITER_NATIVE, nullptr, add, &names), "list attributes of", object, path_);  // see H5File::list
  });
  std::ranges::sort(names);
  return names;
}

i64 H5File::integer(const std::string& object, const std::string& name) const {
  i64 value = 0;
  together([&] {
    const OpenAttribute a(id_.get(), object, name, path_);
    a.require(is_integer(a.type.get()), "an integer");
    need(H5Aread(a.id.get(), H5T_NATIVE_INT64, &value), "read attribute of", object, path_);
  });
  return value;
}

double H5File::number(const std::string& object, const std::string& name) const {
  double value = 0;
  together([&] {
    const OpenAttribute a(id_.get(), object, name, path_);
    a.require(is_number(a.type.get()), "a number");
    need(H5Aread(a.id.get(), H5T_NATIVE_DOUBLE, &value), "read attribute of", object, path_);
  });
  return value;
}

std::string H5File::text(const std::string& object, const std::string& name) const {
  std::string value;
  together([&] {
    const OpenAttribute a(id_.get(), object, name, path_);
    a.require(H5Tget_class(a.type.get()) == H5T_STRING, "text");
    const H5Id memory = text_memory_type(a.type.get());
    a.require(static_cast<i64>(H5Tget_size(memory.get())) <= k_text_bytes, "a shorter text");
    std::vector<char> block(H5Tget_size(memory.get()));
    need(H5Aread(a.id.get(), memory.get(), block.data()), "read attribute of", object, path_);
    value = text_at(block.data(), memory.get());
    if (H5Tis_variable_str(memory.get()) > 0)
      H5Dvlen_reclaim(memory.get(), space_of({}).get(), H5P_DEFAULT, block.data());
  });
  return value;
}

bool H5File::is_text(const std::string& object, const std::string& name) const {
  bool text = false;
  together([&] { text = H5Tget_class(OpenAttribute(id_.get(), object, name, path_).type.get()) == H5T_STRING; });
  return text;
}

std::string H5File::attribute_in_words(const std::string& object, const std::string& name) const {
  char kind = 0;
  together([&] {
    const OpenAttribute a(id_.get(), object, name, path_);
    kind = is_integer(a.type.get()) ? 'i' : is_number(a.type.get()) ? 'n' : 't';
  });
  return kind == 'i'   ? fmt::format("{}", integer(object, name))
         : kind == 'n' ? fmt::format("{:g}", number(object, name))
                       : text(object, name);
}

std::string h5_description() {
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
#ifdef H5_HAVE_PARALLEL
  return fmt::format("{}.{}.{}, parallel", major, minor, release);
#else
  return fmt::format("{}.{}.{}, serial", major, minor, release);
#endif
}

}  // namespace pleiad::io
