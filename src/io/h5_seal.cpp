// Checksums of what is in an HDF5 file.
#include "h5_detail.hpp"

#include "pleiad/comm/agree.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/core/content_sum.hpp"

#include <algorithm>

namespace pleiad::io {

using namespace detail;

namespace {

constexpr const char* k_checksum = "checksum";
constexpr i64 k_piece_numbers = i64{1} << 22;

/// Adds the bytes of a text, those before it being `first`.
void add_text(ContentSum& sum, i64 first, const std::string& text) { sum.add<char>(first, text); }

/// Names and values of the attributes of the file itself.
i64 sum_of_attributes(const H5File& file) {
  ContentSum sum;
  i64 at = 0;
  for (const std::string& name : file.attributes("/")) {
    if (name == k_checksum) continue;
    const std::string line = name + "=" + file.attribute_in_words("/", name) + "\n";
    add_text(sum, at, line);
    at += static_cast<i64>(line.size());
  }
  return sum.value();
}

ContentSum sum_of_texts(const std::vector<std::string>& texts) {
  ContentSum sum;
  i64 at = 0;
  for (const std::string& text : texts) {
    const std::string line = text + "\n";
    add_text(sum, at, line);
    at += static_cast<i64>(line.size());
  }
  return sum;
}

/// This rank's share of a dataset's numbers, a piece at a time.
template <class T>
ContentSum sum_of_share(const H5File& file, const std::string& dataset, const Shape& shape, i64 ranks, i64 rank) {
  ContentSum sum;
  std::vector<T> values;
  if (shape.empty()) {
    values = file.read<T>(dataset);
    if (rank == 0) sum.add<T>(0, values);
    return sum;
  }
  if (count_of(shape) == 0) return sum;
  const i64 rows = shape[0], width = count_of(shape, 1);
  const Range mine = share(rows, ranks, rank);
  const i64 most = std::max<i64>(1, k_piece_numbers / width), largest = (rows + ranks - 1) / ranks, rounds = (largest + most - 1) / most;
  for (i64 round = 0; round < rounds; ++round) {
    const i64 begin = std::min(mine.begin + round * most, mine.end()), count = std::min(most, mine.end() - begin);
    values.resize(static_cast<std::size_t>(count * width));
    file.read_rows<T>(dataset, {{begin, count}}, values);
    sum.add<T>(begin * width, values);
  }
  return sum;
}

ContentSum sum_of_share(const H5File& file, const std::string& dataset, const std::string& type, const Shape& shape, i64 ranks, i64 rank) {
  if (type == "float32") return sum_of_share<float>(file, dataset, shape, ranks, rank);
  if (type == "float64") return sum_of_share<double>(file, dataset, shape, ranks, rank);
  if (type == "int32") return sum_of_share<std::int32_t>(file, dataset, shape, ranks, rank);
  if (type == "int64") return sum_of_share<i64>(file, dataset, shape, ranks, rank);
  if (type == "uint16") return sum_of_share<std::uint16_t>(file, dataset, shape, ranks, rank);
  if (type == "uint8") return sum_of_share<std::uint8_t>(file, dataset, shape, ranks, rank);
  user_error("'{}' of '{}' holds {}, which no checksum covers", dataset, file.path(), type);
}

/// All datasets below a group.
void find_datasets(const H5File& file, const std::string& group, std::vector<std::string>& found) {
  for (const std::string& name : file.list(group)) {
    const std::string path = (group == "/" ? "" : group) + "/" + name;
    if (file.is_group(path)) find_datasets(file, path, found);
    else found.push_back(path);
  }
}

}  // namespace

void H5File::write_checksums() {
  std::vector<i64> sums;
  for (const auto& [dataset, sum] : *sums_) sums.push_back(sum.value());
  // Of unsigned numbers this is the sum modulo 2^64; MPI's of signed ones is the same bits.
  if (comm_) comm::all_reduce_sum<i64>(*comm_, sums);
  auto sum = sums.begin();
  for (const auto& [dataset, part] : *sums_) set_attribute(dataset, k_checksum, *sum++);
  set_attribute("/", k_checksum, sum_of_attributes(*this));
}

template <class T>
void H5File::count_in(const std::string& dataset, const std::vector<Range>& rows, std::span<const T> values) {
  if (!sums_) return;
  ContentSum& sum = (*sums_)[dataset];  // on every rank, be its part nothing
  i64 all = 0, at = 0;
  for (const Range& r : rows) all += r.count;
  const i64 width = all > 0 ? static_cast<i64>(values.size()) / all : 0;
  for (const Range& r : rows) {
    sum.add(r.begin * width, values.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(r.count * width)));
    at += r.count * width;
  }
}

void H5File::count_in(const std::string& dataset, const std::vector<std::string>& texts) {
  if (sums_) (*sums_)[dataset] = comm_ && !comm_->root() ? ContentSum() : sum_of_texts(texts);
}

void H5File::seal_text(const std::string& dataset) { set_attribute(dataset, k_checksum, sum_of_texts(read_texts(dataset)).value()); }

void H5File::require_sealed(const std::string& dataset, const std::vector<std::string>& texts) const {
  if (!has_attribute(dataset, k_checksum) || sum_of_texts(texts).value() == integer(dataset, k_checksum)) return;
  user_error("'{}': {} is damaged: its checksum does not agree with what is in it", path_, dataset);
}

void H5File::read_through() const {
  std::vector<std::string> datasets;
  find_datasets(*this, "/", datasets);
  sum_of_attributes(*this);
  for (const std::string& dataset : datasets) {
    const std::string type = type_name(dataset);
    if (type == "string") read_texts(dataset);
    else sum_of_share(*this, dataset, type, shape(dataset), 1, 0);
  }
}

namespace {

[[noreturn]] void refuse_damaged(const std::string& path, const UserError& e) {
  user_error("'{}' is damaged ({}); if you move it away, a new record begins", path, e.what());
}

}  // namespace

void require_readable(const H5File& copy, const std::string& path) {
  try {
    copy.read_through();
  } catch (const UserError& e) {
    refuse_damaged(path, e);
  }
}

void require_readable(const std::string& path) {
  try {
    H5File::open(path).read_through();
  } catch (const UserError& e) {
    refuse_damaged(path, e);
  }
}

void H5File::verify() const {
  std::vector<std::string> datasets;
  find_datasets(*this, "/", datasets);
  const auto require = [&](const std::string& object, i64 found) {
    if (found != integer(object, k_checksum)) user_error("'{}': {} is damaged: its checksum does not agree with what is in it", path_, object == "/" ? "the header" : object);
  };
  require("/", sum_of_attributes(*this));
  const i64 ranks = comm_ ? comm_->size() : 1, rank = comm_ ? comm_->rank() : 0;
  for (const std::string& dataset : datasets) {
    const std::string type = type_name(dataset);
    if (type == "string") {
      require(dataset, sum_of_texts(read_texts(dataset)).value());
      continue;
    }
    i64 sum = sum_of_share(*this, dataset, type, shape(dataset), ranks, rank).value();
    if (comm_) comm::all_reduce_sum<i64>(*comm_, std::span(&sum, 1));
    require(dataset, sum);
  }
}

i64 H5File::content() const {
  std::vector<std::string> datasets;
  find_datasets(*this, "/", datasets);
  std::uint64_t sum = 0;
  for (const std::string& dataset : datasets) sum += std::bit_cast<std::uint64_t>(integer(dataset, k_checksum));
  return std::bit_cast<i64>(sum);
}

template void H5File::count_in<float>(const std::string&, const std::vector<Range>&, std::span<const float>);
template void H5File::count_in<double>(const std::string&, const std::vector<Range>&, std::span<const double>);
template void H5File::count_in<std::int32_t>(const std::string&, const std::vector<Range>&, std::span<const std::int32_t>);
template void H5File::count_in<i64>(const std::string&, const std::vector<Range>&, std::span<const i64>);
template void H5File::count_in<std::uint8_t>(const std::string&, const std::vector<Range>&, std::span<const std::uint8_t>);
template void H5File::count_in<std::uint16_t>(const std::string&, const std::vector<Range>&, std::span<const std::uint16_t>);

}  // namespace pleiad::io
