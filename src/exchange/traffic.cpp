#include "pleiad/exchange/traffic.hpp"

#include <cstdint>

#include "pleiad/exchange/ticket.hpp"

namespace pleiad::exchange {

namespace {

/// Tickets always, be they none; then rows there, and rows back for what arrived from there. Backward: rows there; rows back and with
/// them one weight gradient per assignment.
Traffic both_ways(const Amount& out, const Amount& in, i64 width, Combine combine) {
  const i64 row_bytes = width * static_cast<i64>(sizeof(real)), back = combine == Combine::home ? in.entries : in.rows;
  Traffic t;
  t.forward_bytes = out.entries * static_cast<i64>(sizeof(Ticket)) + (out.rows + back) * row_bytes;
  t.forward_messages = 1 + out.messages_there + in.messages_back;
  t.backward_bytes = (out.rows + back) * row_bytes + in.entries * static_cast<i64>(sizeof(real));
  t.backward_messages = out.messages_there + in.messages_back + (in.weights_apart && in.entries > 0);
  return t;
}

}  // namespace

Traffic& Traffic::operator+=(const Traffic& more) {
  forward_bytes += more.forward_bytes;
  backward_bytes += more.backward_bytes;
  forward_messages += more.forward_messages;
  backward_messages += more.backward_messages;
  between_bytes += more.between_bytes;
  return *this;
}

Traffic traffic_between_ranks(const Amount& out, const Amount& in, i64 width, Combine combine, Way way) {
  Traffic t = both_ways(out, in, width, combine);
  if (way == Way::shared_memory) t.forward_messages = t.backward_messages = 0;
  if (way == Way::messages_between) t.between_bytes = t.bytes();
  return t;
}

Traffic traffic_between_nodes(const Amount& out, const Amount& in, i64 table, i64 width, Combine combine) {
  Traffic t = both_ways(out, in, width, combine);
  t.forward_bytes += table;
  if (combine == Combine::owner) t.forward_bytes += out.rows * static_cast<i64>(sizeof(std::int32_t));  // where its sum will be
  t.between_bytes = t.bytes();
  return t;
}

i64 ticket_table_bytes(i64 ranks_here, i64 ranks_there, i64 chunks) {
  const i64 bytes = chunks * ranks_here * (2 + ranks_there) * static_cast<i64>(sizeof(std::int32_t)), step = static_cast<i64>(alignof(i64));
  return (bytes + step - 1) / step * step;
}

}  // namespace pleiad::exchange
