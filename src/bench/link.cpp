#include "pleiad/bench/link.hpp"

#include <algorithm>

#include "pleiad/comm/collectives.hpp"
#include "pleiad/comm/messages.hpp"
#include "pleiad/exchange/ticket.hpp"

namespace pleiad::bench {

namespace {

constexpr int k_tag = 31;

}  // namespace

LinkBench::LinkBench(const comm::Communicator& group, const routing::Assignment& a, const ExpertMap& map, exchange::Combine combine, i64 width)
    : group_(group), combine_(combine), width_(width), nodes_(exchange::nodes_of(group)) {
  const i64 nodes = nodes_.nodes(), here = nodes_.node_of(group.rank());
  std::vector<i64> counts(static_cast<std::size_t>(2 * nodes * nodes), 0);
  for (i64 t = 0; t < a.tokens(); ++t) {
    std::vector<bool> seen(static_cast<std::size_t>(nodes), false);
    for (std::size_t i = static_cast<std::size_t>(a.offset[t]); i < static_cast<std::size_t>(a.offset[t + 1]); ++i) {
      if (!a.kept[i]) continue;
      const i64 node = nodes_.node_of(map.owner(a.expert[i]));
      const std::size_t at = static_cast<std::size_t>(2 * (here * nodes + node)), its_node = static_cast<std::size_t>(node);
      counts[at] += !seen[its_node];
      ++counts[at + 1];
      seen[its_node] = true;
    }
  }
  comm::all_reduce_sum<i64>(group, counts);
  i64 longest = 0;
  for (std::size_t i = 0; i < counts.size(); i += 2) {
    volumes_.push_back({counts[i], counts[i + 1]});
    longest = std::max({longest, counts[i], counts[i + 1]});
  }
  out_.resize(static_cast<std::size_t>(longest * width));
  in_.resize(out_.size());
}

i64 LinkBench::rows(i64 from, i64 to, bool there) const {
  if (there) return volume(from, to).rows;
  return combine_ == exchange::Combine::home ? volume(to, from).entries : volume(to, from).rows;
}

void LinkBench::send_all(bool there) {
  const i64 here = nodes_.node_of(group_.rank());
  comm::Messages messages(group_);
  const auto for_each_port = [&](const auto& work) {
    for (i64 other = 0; other < nodes_.nodes(); ++other) {
      if (other != here && nodes_.port(here, other) == group_.rank()) work(other, nodes_.port(other, here));
    }
  };
  for_each_port([&](i64 other, i64 peer) { messages.send(peer, k_tag, {comm::part(out_.data(), rows(here, other, there) * width_)}); });
  for_each_port([&](i64 other, i64 peer) { messages.receive(peer, k_tag, {comm::part(in_.data(), rows(other, here, there) * width_)}); });
  messages.wait();
}

Timed LinkBench::timed() {
  return {[this] {
    send_all(true);
    send_all(false);
  }};
}

i64 LinkBench::bytes() const {
  i64 rows_in_all = 0;
  for (const bool there : {true, false}) {
    i64 busiest = 0;
    for (i64 node = 0; node < nodes_.nodes(); ++node) {
      i64 leaving = 0, coming = 0;
      for (i64 other = 0; other < nodes_.nodes(); ++other) {
        if (other == node) continue;
        leaving += rows(node, other, there);
        coming += rows(other, node, there);
      }
      busiest = std::max({busiest, leaving, coming});
    }
    rows_in_all += busiest;
  }
  return rows_in_all * width_ * static_cast<i64>(sizeof(real));
}

i64 LinkBench::counted_bytes(i64 chunks) const {
  i64 bytes = 0;
  for (i64 from = 0; from < nodes_.nodes(); ++from) {
    for (i64 to = 0; to < nodes_.nodes(); ++to) {
      if (to == from) continue;
      const i64 row_bytes = width_ * static_cast<i64>(sizeof(real)), entries = volume(from, to).entries;
      // Forward and backward; tickets ahead, gradients of the weights behind.
      bytes += 2 * (rows(from, to, true) + rows(from, to, false)) * row_bytes + entries * static_cast<i64>(sizeof(exchange::Ticket) + sizeof(real));
      bytes += exchange::ticket_table_bytes(static_cast<i64>(nodes_.ranks_of(from).size()), static_cast<i64>(nodes_.ranks_of(to).size()), chunks);
      if (combine_ == exchange::Combine::owner) bytes += rows(from, to, true) * static_cast<i64>(sizeof(std::int32_t));  // which sum is whose
    }
  }
  return bytes;
}

}  // namespace pleiad::bench
