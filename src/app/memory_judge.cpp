#include "pleiad/app/memory_judge.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include "pleiad/io/checkpoint_h5.hpp"

namespace pleiad::app {

namespace {

constexpr i64 k_number = static_cast<i64>(sizeof(real));

std::string what_helps(const std::string& largest) {
  if (largest == "activations" || largest == "exchange") return "fewer train.batch_sequences, a shorter model.seq_len, or more ranks on more nodes";
  if (largest == "gradients") return "fewer train.lanes (each has gradients of its own), or more ranks on more nodes";
  return "a smaller model, fewer ranks on a node, or more nodes";
}

}  // namespace

std::vector<std::pair<std::string, i64>> MemoryForecast::parts() const {
  return {{"program", program}, {"weights", weights}, {"gradients", gradients}, {"moments", moments}, {"activations", activations}, {"exchange", exchange}, {"checkpoint", checkpoint}};
}

MemoryForecast parameter_memory(const ParamSet& params, i64 lanes) {
  MemoryForecast m;
  for (const ParamInfo& p : params.infos()) {
    const i64 bytes = p.size() * k_number;
    m.weights += bytes;
    if (p.row_block()) {
      m.gradients += p.rows * 4;  // tables of which rows there are
      m.moments += p.rows * 4;
      continue;
    }
    m.gradients += bytes * (p.owner == Owner::replicated ? std::max<i64>(lanes, 1) : 1);
    m.moments += 2 * bytes;
  }
  return m;
}

double distinct_rows(double rows, double draws) { return rows > 0 ? rows * -std::expm1(-draws / rows) : 0; }

i64 row_moment_memory(const ParamSet& params, double draws) {
  double bytes = 0;
  for (const ParamInfo& p : params.infos()) {
    if (!p.row_block()) continue;
    // Two moments, and for each row its number and its last update.
    bytes += distinct_rows(static_cast<double>(p.rows), draws) * static_cast<double>(2 * p.cols * k_number + 16);
  }
  return static_cast<i64>(bytes);
}

i64 packing_memory(const ParamSet& params) {
  std::map<std::string, i64> families;
  for (const ParamInfo& p : params.infos()) {
    if (p.owner == Owner::expert && !p.row_block()) families[p.family] += p.size();
  }
  i64 most = 0;
  for (const auto& [name, size] : families) most = std::max(most, std::min(size, io::k_packed_at_once));
  return most * k_number;
}

std::string gibibytes(i64 bytes) {
  const double gib = static_cast<double>(bytes) / static_cast<double>(i64{1} << 30);
  return gib < 0.1 ? fmt::format("{:.1f} MiB", 1024 * gib) : fmt::format("{:.2f} GiB", gib);
}

std::string refusal(const NodeNeed& n) {
  const auto sentence = [&](const std::string& who, i64 more, const MemoryRoom& room) {
    return fmt::format("{}: {} will need {} more memory than now ({} in all, predicted), {} is available ({}); most of it is {} ({}): use {}; parallel.memory_check = warn tries it all the same",
                       n.host, who, gibibytes(more), gibibytes(n.predicted), gibibytes(room.bytes), room.limit, n.largest, gibibytes(n.largest_bytes), what_helps(n.largest));
  };
  const std::string all = n.ranks == 1 ? "1 rank" : fmt::format("{} ranks", n.ranks);
  if (n.more > n.room.bytes) return sentence(all, n.more, n.room);
  if (n.rank_more > n.rank_room.bytes) return sentence(n.ranks == 1 ? "1 rank" : "one of " + all, n.rank_more, n.rank_room);
  if (n.shared_more > n.shared_room.bytes) return sentence(all, n.shared_more, n.shared_room);
  return "";
}

}  // namespace pleiad::app
