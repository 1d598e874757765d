// Values and series of HDF5 files.
#include "pleiad/comm/agree.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/core/whereabouts.hpp"

#include "h5_detail.hpp"

#include <algorithm>

namespace pleiad::io {

using namespace detail;

namespace {

constexpr i64 k_chunk_bytes = i64{1} << 20;  // a chunk above the chunk cache is inflated again for every row
constexpr i64 k_series_chunk_rows = 256;

// ---- types ----

hid_t file_type(ElementType type) {
  switch (type) {
    case ElementType::float32:
      return H5T_IEEE_F32LE;
    case ElementType::float64:
      return H5T_IEEE_F64LE;
    case ElementType::int32:
      return H5T_STD_I32LE;
    case ElementType::int64:
      return H5T_STD_I64LE;
    case ElementType::uint8:
      return H5T_STD_U8LE;
    case ElementType::uint16:
      return H5T_STD_U16LE;
  }
  return -1;
}

hid_t memory_type(ElementType type) {
  switch (type) {
    case ElementType::float32:
      return H5T_NATIVE_FLOAT;
    case ElementType::float64:
      return H5T_NATIVE_DOUBLE;
    case ElementType::int32:
      return H5T_NATIVE_INT32;
    case ElementType::int64:
      return H5T_NATIVE_INT64;
    case ElementType::uint8:
      return H5T_NATIVE_UINT8;
    case ElementType::uint16:
      return H5T_NATIVE_UINT16;
  }
  return -1;
}

/// An integer out of range is an error instead of the nearest value.
H5T_conv_ret_t refuse_out_of_range(H5T_conv_except_t what, hid_t, hid_t to, void*, void*, void*) {
  const bool range = what == H5T_CONV_EXCEPT_RANGE_HI || what == H5T_CONV_EXCEPT_RANGE_LOW;
  return range && H5Tget_class(to) == H5T_INTEGER ? H5T_CONV_ABORT : H5T_CONV_UNHANDLED;
}

i64 bytes_of(ElementType type) {
  return static_cast<i64>(H5Tget_size(file_type(type)));
}

/// UserError unless what is stored can be read as (or written from) the memory type without losing its meaning.
void check_kind(hid_t dataset, hid_t memory, const std::string& name, const std::string& file) {
  const H5Id stored = type_id(H5Dget_type(dataset));
  const bool text = H5Tget_class(memory) == H5T_STRING, integer = H5Tget_class(memory) == H5T_INTEGER;
  const bool fits = text      ? H5Tget_class(stored.get()) == H5T_STRING
                    : integer ? is_integer(stored.get())
                              : is_number(stored.get());
  if (fits) return;
  user_error("'{}' of '{}' holds {}; {} needed", name, file, name_of(stored.get()),
             text      ? "text is"
             : integer ? "integers are"
                       : "numbers are");
}

// ---- shapes and selections ----

void set_chunks(hid_t list, const std::vector<hsize_t>& chunk, int deflate) {
  H5Pset_chunk(list, static_cast<int>(chunk.size()), chunk.data());
  if (deflate == 0) return;
  H5Pset_shuffle(list);
  H5Pset_deflate(list, static_cast<unsigned>(deflate));
}

/// At most k_chunk_bytes: whole rows if they fit, else part of a row.
std::vector<hsize_t> chunk_of(const Shape& shape, i64 rows, i64 element_bytes) {
  std::vector<hsize_t> chunk = extents(shape);
  for (hsize_t& extent : chunk) extent = std::max<hsize_t>(extent, 1);
  if (rows > 0) chunk[0] = std::min<hsize_t>(chunk[0], static_cast<hsize_t>(rows));
  for (std::size_t i = 0; i < chunk.size(); ++i) {
    hsize_t rest = static_cast<hsize_t>(element_bytes);
    for (std::size_t j = i + 1; j < chunk.size(); ++j) rest *= chunk[j];
    chunk[i] = std::clamp<hsize_t>(static_cast<hsize_t>(k_chunk_bytes) / rest, 1, chunk[i]);
  }
  return chunk;
}

/// Selects rows of a dataset's space and returns how many elements they hold.
i64 select_rows(hid_t space, const Shape& shape, const std::vector<Range>& rows, const std::string& what) {
  if (shape.empty()) user_error("{} is a scalar; a dataset with rows is needed", what);
  std::vector<Range> runs;
  for (const Range& r : rows) {
    if (r.count == 0) continue;
    const i64 last = runs.empty() ? 0 : runs.back().end();
    PLEIAD_CHECK(r.count > 0 && r.begin >= last, "row ranges of {} must ascend: {} after {}", what, r.begin, last);
    if (r.end() > shape[0])
      user_error("{} has {} rows; rows {} to {} were asked for", what, shape[0], r.begin, r.end() - 1);
    if (!runs.empty() && last == r.begin)
      runs.back().count += r.count;
    else
      runs.push_back(r);
  }
  H5Sselect_none(space);
  const i64 width = count_of(shape, 1);
  if (runs.empty() || width == 0) return 0;
  std::vector<hsize_t> start(shape.size(), 0), stride(shape.size(), 1), count(shape.size(), 1), block = extents(shape);
  // Runs of equal length and distance (experts dealt round robin) are one selection; HDF5 unites many slowly.
  const i64 step = runs.size() > 1 ? runs[1].begin - runs[0].begin : runs[0].count;
  bool regular = true;
  i64 total = 0;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    regular &= runs[i].count == runs[0].count && runs[i].begin == runs[0].begin + static_cast<i64>(i) * step;
    total += runs[i].count;
  }
  if (regular) {
    start[0] = static_cast<hsize_t>(runs[0].begin), stride[0] = static_cast<hsize_t>(step);
    count[0] = runs.size(), block[0] = static_cast<hsize_t>(runs[0].count);
    H5Sselect_hyperslab(space, H5S_SELECT_SET, start.data(), stride.data(), count.data(), block.data());
  } else {
    for (const Range& r : runs) {
      start[0] = static_cast<hsize_t>(r.begin), block[0] = static_cast<hsize_t>(r.count);
      H5Sselect_hyperslab(space, H5S_SELECT_OR, start.data(), nullptr, count.data(), block.data());
    }
  }
  return total * width;
}

H5Id transfer_list(bool collective) {
  H5Id list = plist_id(H5Pcreate(H5P_DATASET_XFER));
  H5Pset_type_conv_cb(list.get(), refuse_out_of_range, nullptr);
  if (collective) H5Pset_dxpl_mpio(list.get(), H5FD_MPIO_COLLECTIVE);
  return list;
}

}  // namespace

template <class T>
ElementType element_type() {
  if constexpr (std::is_same_v<T, float>)
    return ElementType::float32;
  else if constexpr (std::is_same_v<T, double>)
    return ElementType::float64;
  else if constexpr (std::is_same_v<T, std::int32_t>)
    return ElementType::int32;
  else if constexpr (std::is_same_v<T, i64>)
    return ElementType::int64;
  else if constexpr (std::is_same_v<T, std::uint8_t>)
    return ElementType::uint8;
  else
    return ElementType::uint16;
}

const char* element_type_name(ElementType type) {
  static const char* const names[] = {"float32", "float64", "int32", "int64", "uint8", "uint16"};
  return names[static_cast<int>(type)];
}

// ---- datasets ----

i64 H5File::extent(const std::string& dataset, std::size_t axis) const {
  const Shape all = shape(dataset);
  if (all.size() <= axis) user_error("'{}' of '{}' has shape {}; at least {} extents are needed", dataset, path_, in_words(all), axis + 1);
  return all[axis];
}

void H5File::create_dataset(const std::string& dataset, ElementType type, const Shape& shape,
                            const DatasetOptions& options) {
  PLEIAD_CHECK(count_of(shape) >= 0, "dataset '{}' of shape {}", dataset, in_words(shape));
  const bool chunked = !shape.empty() && count_of(shape) > 0 && (options.deflate > 0 || options.chunk_rows > 0);
  together([&] {
    const H5Id made = make_dataset(id_.get(), dataset, path_, file_type(type), space_of(shape), [&](hid_t list) {
      if (comm_) H5Pset_fill_time(list, H5D_FILL_TIME_NEVER);  // space is taken at once: do not write everything twice
      if (chunked) set_chunks(list, chunk_of(shape, options.chunk_rows, bytes_of(type)), options.deflate);
    });
  });
  if (sums_) (*sums_)[dataset];  // also if there is nothing to write
  if (!options.units.empty()) set_attribute(dataset, "units", options.units);
  if (!options.description.empty()) set_attribute(dataset, "description", options.description);
}

void H5File::transfer(bool writing, const std::string& dataset, std::int64_t type, const std::vector<Range>* rows,
                      void* values, i64 count) const {
  const char* verb = writing ? "write" : "read";
  const i64 bytes = static_cast<i64>(H5Tget_size(type));
  H5Id id, space;
  Shape shape;
  std::vector<Range> mine;
  i64 selected = 0;
  const std::string what = fmt::format("'{}' of '{}'", dataset, path_);
  together([&] {
    id = open_dataset(id_.get(), dataset, path_, writing);
    check_kind(id.get(), type, dataset, path_);
    shape = shape_of(id.get());
    space = space_id(need(H5Dget_space(id.get()), verb, dataset, path_));
    const bool takes_part = rows || !writing || !comm_ || comm_->root();
    mine = rows ? *rows : std::vector<Range>{{0, takes_part && !shape.empty() ? shape[0] : 0}};
    if (!takes_part) count = 0;
    selected = rows || !shape.empty() ? select_rows(space.get(), shape, mine, what) : takes_part;
  });
  if (writing) reserve_room(id.get());
  if (!writing && count != selected) user_error("'{}' of '{}' holds {} where {} values are needed", dataset, path_, in_words(shape), count);
  PLEIAD_CHECK(count == selected, "{} values for {} of '{}'", count, selected, dataset);
  if (count_of(shape) == 0 || (!comm_ && selected == 0)) return;
  const std::vector<std::vector<Range>> pieces = in_pieces(mine, piece_bytes_ / std::max<i64>(1, bytes * count_of(shape, 1)));
  const i64 rounds = comm_ ? comm::max_over<i64>(*comm_, static_cast<i64>(pieces.size())) : static_cast<i64>(pieces.size());
  char none = 0;  // HDF5 wants an address even where nothing is selected
  char* at = values ? static_cast<char*>(values) : &none;
  for (i64 round = 0; round < rounds; ++round) {
    whereabouts().moves.fetch_add(1, std::memory_order_relaxed);  // a long transfer is no standstill
    together([&] {
      const bool some = round < static_cast<i64>(pieces.size());
      i64 now = selected;
      if (!shape.empty()) now = select_rows(space.get(), shape, some ? pieces[static_cast<std::size_t>(round)] : std::vector<Range>{}, what);
      if (now == 0) H5Sselect_none(space.get());
      const hsize_t extent = static_cast<hsize_t>(std::max<i64>(now, 1));
      const H5Id memory = space_id(need(H5Screate_simple(1, &extent, nullptr), verb, dataset, path_));
      if (now == 0) H5Sselect_none(memory.get());
      const H5Id list = transfer_list(comm_ != nullptr);
      need(writing ? H5Dwrite(id.get(), type, memory.get(), space.get(), list.get(), at)
                   : H5Dread(id.get(), type, memory.get(), space.get(), list.get(), at),
           verb, dataset, path_);
      at += now * bytes;
    });
    if (writing && comm_) comm::agree_on_root(*comm_, [&] { write_behind(path_); });
  }
}

template <class T>
void H5File::write(const std::string& dataset, std::span<const T> values, const Shape& shape,
                   const DatasetOptions& options) {
  create_dataset(dataset, element_type<T>(), shape, options);
  transfer(true, dataset, memory_type(element_type<T>()), nullptr, const_cast<T*>(values.data()),
           static_cast<i64>(values.size()));
  const bool writes = !comm_ || comm_->root();
  count_in<T>(dataset, {{0, writes ? 1 : 0}}, writes ? values : std::span<const T>());
}

template <class T>
std::vector<T> H5File::read(const std::string& dataset, const std::optional<Shape>& expected) const {
  i64 count = 0;
  together([&] {
    const H5Id id = open_dataset(id_.get(), dataset, path_);
    const hid_t type = memory_type(element_type<T>());
    check_kind(id.get(), type, dataset, path_);
    if (expected && shape_of(id.get()) != *expected) {
      user_error("'{}' of '{}' has shape {}; {} is needed", dataset, path_, in_words(shape_of(id.get())),
                 in_words(*expected));
    }
    count = believable_count(id.get(), static_cast<i64>(sizeof(T)), dataset, path_);
  });
  std::vector<T> values(static_cast<std::size_t>(count));
  transfer(false, dataset, memory_type(element_type<T>()), nullptr, values.data(), count);
  return values;
}

template <class T>
void H5File::write_rows(const std::string& dataset, const std::vector<Range>& rows, std::span<const T> values) {
  transfer(true, dataset, memory_type(element_type<T>()), &rows, const_cast<T*>(values.data()),
           static_cast<i64>(values.size()));
  count_in<T>(dataset, rows, values);
}

template <class T>
void H5File::read_rows(const std::string& dataset, const std::vector<Range>& rows, std::span<T> values) const {
  transfer(false, dataset, memory_type(element_type<T>()), &rows, values.data(), static_cast<i64>(values.size()));
}

// ---- series ----

H5Series::H5Series(H5File& file, const std::string& dataset, ElementType type, const Shape& row_shape,
                   const DatasetOptions& options)
    : name_(dataset), path_(file.path()), row_shape_(row_shape) {
  PLEIAD_CHECK(!file.comm_, "series {} in a parallel file", name_);
  Shape shape = row_shape;
  shape.insert(shape.begin(), options.chunk_rows > 0 ? options.chunk_rows : k_series_chunk_rows);
  const std::vector<hsize_t> chunk = chunk_of(shape, 0, bytes_of(type));
  std::vector<hsize_t> now = extents(shape), most = now;
  now[0] = 0, most[0] = H5S_UNLIMITED;
  H5Id space = space_id(H5Screate_simple(static_cast<int>(now.size()), now.data(), most.data()));
  dataset_ = make_dataset(file.id_.get(), dataset, file.path(), file_type(type), space,
                          [&](hid_t list) { set_chunks(list, chunk, options.deflate); });
  file.set_attribute(dataset, "units", options.units);
  file.set_attribute(dataset, "description", options.description);
}

H5Series::H5Series(H5File& file, const std::string& dataset, const Shape& row_shape)
    : name_(dataset), path_(file.path()), row_shape_(row_shape) {
  PLEIAD_CHECK(!file.comm_, "series {} in a parallel file", name_);
  dataset_ = open_dataset(file.id_.get(), dataset, file.path());
  const Shape shape = shape_of(dataset_.get());
  if (shape.empty() || Shape(shape.begin() + 1, shape.end()) != row_shape) {
    user_error("'{}' of '{}' has shape {}; rows of shape {} are needed", name_, path_, in_words(shape), in_words(row_shape));
  }
  rows_ = shape[0];
}

template <class T>
void H5Series::append(std::span<const T> values) {
  const i64 width = count_of(row_shape_), count = static_cast<i64>(values.size());
  PLEIAD_CHECK(width > 0 && count % width == 0, "{} values for rows of {} in {}", count, width, name_);
  if (count == 0) return;
  refuse_spoilt(path_);
  Shape shape = row_shape_;
  shape.insert(shape.begin(), rows_ + count / width);
  std::vector<hsize_t> start(shape.size(), 0), block = extents(shape);
  need(H5Dset_extent(dataset_.get(), block.data()), "extend", name_, path_);
  const H5Id space = space_id(H5Dget_space(dataset_.get()));
  start[0] = static_cast<hsize_t>(rows_), block[0] = static_cast<hsize_t>(count / width);
  H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, start.data(), nullptr, block.data(), nullptr);
  need(H5Dwrite(dataset_.get(), memory_type(element_type<T>()), space_of({count}).get(), space.get(),
                transfer_list(false).get(), values.data()),
       "write", name_, path_);
  rows_ = shape[0];
}

void H5Series::truncate(i64 rows) {
  if (rows >= rows_) return;
  Shape shape = row_shape_;
  shape.insert(shape.begin(), rows);
  need(H5Dset_extent(dataset_.get(), extents(shape).data()), "shorten", name_, path_);
  rows_ = rows;
}

void H5Series::flush() {
  need(H5Dflush(dataset_.get()), "flush", name_, path_);
}

// ---- the element types ----

#define PLEIAD_H5_TYPE(T)                                                                                      \
  template ElementType element_type<T>();                                                                      \
  template void H5File::write<T>(const std::string&, std::span<const T>, const Shape&, const DatasetOptions&); \
  template std::vector<T> H5File::read<T>(const std::string&, const std::optional<Shape>&) const;              \
  template void H5File::write_rows<T>(const std::string&, const std::vector<Range>&, std::span<const T>);      \
  template void H5File::read_rows<T>(const std::string&, const std::vector<Range>&, std::span<T>) const;       \
  template void H5Series::append<T>(std::span<const T>);
PLEIAD_H5_TYPE(float)
PLEIAD_H5_TYPE(double)
PLEIAD_H5_TYPE(std::int32_t)
PLEIAD_H5_TYPE(i64)
PLEIAD_H5_TYPE(std::uint8_t)
PLEIAD_H5_TYPE(std::uint16_t)
#undef PLEIAD_H5_TYPE

}  // namespace pleiad::io
