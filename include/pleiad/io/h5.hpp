// The only door to HDF5 (C interface, hidden in h5.cpp): files, datasets, attributes and extendable series, serial or
// parallel. Trouble with a file is a UserError that quotes HDF5's innermost reason; sizes are checked before memory is
// taken. In a parallel file every function is collective, and an error of one rank becomes the error of all.
#pragma once
#include "pleiad/comm/communicator.hpp"
#include "pleiad/core/content_sum.hpp"
#include "pleiad/core/lanes.hpp"
#include "pleiad/io/h5_id.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace pleiad::io {

using Shape = std::vector<i64>;

/// How numbers lie in the file; in memory T is float, double, int32, int64, uint8 or uint16, and HDF5 converts.
enum class ElementType { float32, float64, int32, int64, uint8, uint16 };
template <class T>
ElementType element_type();
const char* element_type_name(ElementType type);

struct DatasetOptions {
  std::string units = {};        ///< "1" where there is no unit
  std::string description = {};  ///< one line for people
  i64 chunk_rows = 0;            ///< 0: contiguous, or chunks of at most 1 MiB where deflate asks for chunks
  int deflate = 0;               ///< 1..9: shuffle and deflate
};

class H5File {
 public:
  /// Serial: this process alone. `for_swmr` uses the newest file format, which start_swmr() needs. Truncates.
  static H5File create(const std::string& path, bool for_swmr = false);
  /// Serial, read-only; also while another process writes in SWMR mode.
  static H5File open(const std::string& path);
  /// Serial, read-write; also a file whose writer died in SWMR mode (what h5clear -s would mend).
  static H5File open_append(const std::string& path);
  /// Parallel: the communicator must outlive the file. Creating truncates. collective.
  static H5File create(const comm::Communicator& comm, const std::string& path);
  static H5File open(const comm::Communicator& comm, const std::string& path);

  H5File(H5File&&) noexcept = default;
  H5File& operator=(H5File&& other) noexcept;
  /// Every dataset that is written from here on gets a checksum as an attribute when the file is closed, and the attributes of the file one too. Each number
  /// of a dataset must be written once, by one rank.
  void seal() { sums_.emplace(); }
  /// UserError that names the first part of the file whose checksum is missing or does not agree. Every rank reads its share. collective.
  void verify() const;
  /// Gives a text a checksum at once, which read_text() and read_texts() hold it to from then on.
  void seal_text(const std::string& dataset);
  /// Reads all there is in a serial file. UserError for the first thing that cannot be read.
  void read_through() const;
  /// Sum, modulo 2^64, of the checksums of all datasets. pre: sealed and closed when it was written.
  i64 content() const;
  /// Most bytes of a rank in one transfer of rows or of a whole dataset (at least one row); larger ones go in pieces, because MPI counts
  /// bytes in an int and what is written goes to the disk meanwhile. The same on all ranks. For tests; 16 MiB.
  void set_piece_bytes(i64 bytes) { piece_bytes_ = bytes; }
  /// Closes a serial file. A parallel one must have been closed with close(): a destructor does not communicate, so it
  /// leaks.
  ~H5File();
  void close();
  void flush();
  /// From here on readers may follow; no object or attribute can be added any more. Serial files made for_swmr only.
  void start_swmr();

  const std::string& path() const { return path_; }
  /// UserError unless the root attribute `format` is `expected`.
  void require_format(const std::string& expected) const;

  bool exists(const std::string& object) const;
  /// What walks through a file asks: UserError for what could lead it in circles (a link, a group of several names) or endlessly deep.
  bool is_group(const std::string& object) const;
  /// Names in a group, sorted.
  std::vector<std::string> list(const std::string& group = "/") const;
  /// Extents of a dataset; empty for a scalar. UserError if they claim more than the file can hold.
  Shape shape(const std::string& dataset) const;
  /// One of them. UserError if there are not so many.
  i64 extent(const std::string& dataset, std::size_t axis) const;
  /// float32, int64, string, ... or "other".
  std::string type_name(const std::string& dataset) const;

  /// Makes a dataset and the groups above it, unwritten.
  void create_dataset(const std::string& dataset, ElementType type, const Shape& shape,
                      const DatasetOptions& options = {});
  /// create_dataset and the values; in a parallel file those of rank 0. pre: values.size() is the product of shape.
  template <class T>
  void write(const std::string& dataset, std::span<const T> values, const Shape& shape,
             const DatasetOptions& options = {});
  /// The whole dataset on every rank. UserError if it is not numbers, does not fit T, has another shape than
  /// `expected`, or claims more than the file can hold.
  template <class T>
  std::vector<T> read(const std::string& dataset, const std::optional<Shape>& expected = {}) const;
  /// Rows (first extent) of an existing dataset, packed in `values`; each rank brings its own ranges, which ascend
  /// without overlap and may be none. Collective transfers in a parallel file.
  template <class T>
  void write_rows(const std::string& dataset, const std::vector<Range>& rows, std::span<const T> values);
  template <class T>
  void read_rows(const std::string& dataset, const std::vector<Range>& rows, std::span<T> values) const;

  /// One text (shape {}) or a list of texts; fixed-length when written, any kind when read.
  void write_text(const std::string& dataset, const std::string& text, const std::string& description);
  void write_texts(const std::string& dataset, const std::vector<std::string>& texts, const std::string& description);
  std::string read_text(const std::string& dataset) const;
  std::vector<std::string> read_texts(const std::string& dataset) const;

  /// Attributes of a group or dataset ("/" for the file); setting replaces. pre: texts below 60,000 bytes.
  void set_attribute(const std::string& object, const std::string& name, i64 value);
  void set_attribute(const std::string& object, const std::string& name, double value);
  void set_attribute(const std::string& object, const std::string& name, const std::string& value);
  void set_attribute(const std::string& object, const std::string& name, const char* v) {
    set_attribute(object, name, std::string(v));
  }
  void set_attribute(const std::string& object, const std::string& name, int v) {
    set_attribute(object, name, static_cast<i64>(v));
  }
  bool has_attribute(const std::string& object, const std::string& name) const;
  std::vector<std::string> attributes(const std::string& object) const;
  /// UserError if missing or of another kind. Any integer type (or enum, as h5py stores flags); number() takes integers
  /// too.
  i64 integer(const std::string& object, const std::string& name) const;
  double number(const std::string& object, const std::string& name) const;
  std::string text(const std::string& object, const std::string& name) const;
  bool is_text(const std::string& object, const std::string& name) const;
  /// Any of the three, as text.
  std::string attribute_in_words(const std::string& object, const std::string& name) const;

 private:
  friend class H5Series;
  H5File(H5Id id, std::string path, const comm::Communicator* comm, bool found = false)
      : id_(std::move(id)), path_(std::move(path)), comm_(comm), found_(found) {}
  void require_sealed(const std::string& dataset, const std::vector<std::string>& texts) const;
  // Runs an action; in a parallel file a UserError of one rank becomes one of all.
  void together(const std::function<void()>& action) const;
  void reserve_room(std::int64_t dataset) const;  // of a parallel file, up to its end
  // `type` is the HDF5 type in memory; no rows means all of them (written by rank 0 alone).
  void transfer(bool writing, const std::string& dataset, std::int64_t type, const std::vector<Range>* rows,
                void* values, i64 count) const;
  void create_texts(const std::string& dataset, const std::vector<std::string>& texts, const Shape& shape,
                    const std::string& description);
  void set_attribute_of(const std::string& object, const std::string& name, std::int64_t type, const void* value);

  template <class T>
  void count_in(const std::string& dataset, const std::vector<Range>& rows, std::span<const T> values);
  void count_in(const std::string& dataset, const std::vector<std::string>& texts);
  void write_checksums();

  H5Id id_;
  std::string path_;
  const comm::Communicator* comm_ = nullptr;
  bool found_ = false;  // opened, not created: anybody may have made it
  std::optional<std::map<std::string, ContentSum>> sums_;  // of sealed files: this rank's part, by dataset
  i64 piece_bytes_ = i64{1} << 24;
};

/// A dataset that grows by rows (steps). Serial files only; the file must outlive it.
class H5Series {
 public:
  H5Series() = default;
  /// A new series without rows; chunk_rows = 0 means 256, deflate as given.
  H5Series(H5File& file, const std::string& dataset, ElementType type, const Shape& row_shape,
           const DatasetOptions& options);
  /// An existing one. UserError if its rows have another shape.
  H5Series(H5File& file, const std::string& dataset, const Shape& row_shape);
  i64 rows() const { return rows_; }
  /// pre: a whole number of rows.
  template <class T>
  void append(std::span<const T> values);
  /// Forgets rows from `rows` on; nothing if there are no more. Not after start_swmr().
  void truncate(i64 rows);
  void flush();

 private:
  H5Id dataset_;
  std::string name_, path_;
  Shape row_shape_;
  i64 rows_ = 0;
};

/// Serial read-only handles on every rank; a file that any rank cannot open is one UserError on all. collective.
H5File open_for_all(const comm::Communicator& comm, const std::string& path);

/// Before a record goes on, `copy` being that of the file at `path`: a damaged block in it would have HDF5 wait for its writer, which is us. UserError if it has
/// one. One rank only.
void require_readable(const H5File& copy, const std::string& path);
/// The same of `path` itself.
void require_readable(const std::string& path);

/// To be called before MPI starts. The library then does not end by itself with MPI or the program, where it would write once more to a file that could not be written,
/// and crash.
void start_h5();

/// HDF5 may crash in a file whose own structures are damaged. From here on such a crash, while it reads a file that was found, ends the process
/// with one sentence that names the file and exit code `code`; `rank`, of the world, is 0 where there is one process (ADR 0010).
void exit_on_broken_files(int code, std::int64_t rank);

/// Version of the library and whether it is the parallel build, one line.
std::string h5_description();

/// Where a file is written until it is complete.
std::string temporary_name(const std::string& path);
/// A copy of `path` under that name, open_append()ed, to be changed there and then published: HDF5 changes a file in several writes, and a kill between
/// them would leave neither the old one nor the new one. UserError, and no copy, if it cannot be made or opened. One rank only.
H5File open_copy(const std::string& path);
/// fsync, rename to `path`, fsync of the folder: after a crash either the old or the whole new file is there. One rank
/// only.
void publish(const std::string& temporary, const std::string& path);

}  // namespace pleiad::io
