#include "pleiad/io/recorded_routing.hpp"

#include <algorithm>

#include "pleiad/core/error.hpp"
#include "pleiad/io/routing_record.hpp"

namespace pleiad::io {

namespace {

constexpr i64 k_most_tokens = i64{1} << 32;

/// Steps steps.begin ... of one layer.
sim::Recording::Layer read_layer(const H5File& file, const std::string& group, const Range& steps, i64 tokens, i64 experts) {
  const auto damaged = [&](const char* why) { user_error("'{}' is damaged: {} {}", file.path(), group, why); };
  if (file.shape(group + "/count") != Shape{file.extent("/step", 0), tokens}) damaged("has another number of steps or tokens");
  std::vector<std::int32_t> count(static_cast<std::size_t>(steps.count * tokens));
  file.read_rows<std::int32_t>(group + "/count", {steps}, count);
  const std::vector<i64> first = file.read<i64>(group + "/first", Shape{file.extent("/step", 0)});
  sim::Recording::Layer layer;
  i64 entries = 0;
  for (const std::int32_t c : count) {
    if (c < 0) damaged("counts fewer than no entries");
    entries += c;
  }
  const i64 begin = first[static_cast<std::size_t>(steps.begin)];
  if (begin < 0 || begin + entries > std::min(file.extent(group + "/expert", 0), file.extent(group + "/kept", 0))) damaged("counts more entries than there are");
  std::vector<std::int32_t> expert(static_cast<std::size_t>(entries));
  std::vector<std::uint8_t> kept(expert.size());
  file.read_rows<std::int32_t>(group + "/expert", {{begin, entries}}, expert);
  file.read_rows<std::uint8_t>(group + "/kept", {{begin, entries}}, kept);
  std::size_t at = 0;
  for (const std::int32_t c : count) {
    for (const std::size_t end = at + static_cast<std::size_t>(c); at < end; ++at) {
      if (expert[at] < 0 || expert[at] >= experts) damaged("names an expert that there is not");
      if (kept[at]) layer.expert.push_back(expert[at]);
    }
    layer.offset.push_back(static_cast<i64>(layer.expert.size()));
  }
  return layer;
}

}  // namespace

sim::Recording read_recorded_routing(const std::string& path, i64 most_sequences) {
  const H5File file = H5File::open(path);
  file.require_format(k_routing_format);
  sim::Recording r;
  const i64 steps = file.extent("/step", 0), sequences = file.integer("/", "sequences");
  r.experts = file.integer("/", "experts");
  r.seq_len = file.integer("/", "seq_len");
  if (steps == 0) user_error("{}: no step is recorded", path);
  if (sequences < 1 || r.seq_len < 1 || sequences > k_most_tokens / r.seq_len || r.experts < 1) user_error("'{}' is damaged: {} sequences of {} tokens for {} experts", path, sequences, r.seq_len, r.experts);
  const i64 taken = std::clamp<i64>(most_sequences / sequences, 1, steps);
  r.sequences = taken * sequences;
  for (const std::string& block : file.list("/layers")) {
    r.layers.push_back(read_layer(file, "/layers/" + block, {steps - taken, taken}, sequences * r.seq_len, r.experts));
  }
  if (r.layers.empty()) user_error("{}: no layer with experts is recorded", path);
  const std::vector<i64> numbers = file.read<i64>("/step", Shape{steps});
  r.what = fmt::format("replayed from {}: {} sequences of steps {} to {}", path, r.sequences, numbers[static_cast<std::size_t>(steps - taken)], numbers.back());
  return r;
}

}  // namespace pleiad::io
