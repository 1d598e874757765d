#include "pleiad/io/trace_record.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sstream>

#include "pleiad/io/json.hpp"
#include "pleiad/io/small_file.hpp"

namespace pleiad::io {

namespace {

using Json = nlohmann::json;
using Event = train::StepTrace::Event;

constexpr const char* k_closing = "\n]\n";

std::string in_line(const Json& event) { return event.dump(-1, ' ', false, Json::error_handler_t::replace); }

Json about(const char* what, i64 rank, Json arguments) { return {{"name", what}, {"ph", "M"}, {"pid", rank}, {"tid", 0}, {"args", std::move(arguments)}}; }

/// Microseconds with all nanoseconds.
std::string line_of(const Event& e, i64 step, i64 origin) {
  const bool whole = e.phase == train::StepTrace::k_whole_step;
  const std::string name = whole ? fmt::format("step {}", step) : phase_name(static_cast<Phase>(e.phase));
  const std::string block = e.block < 0 ? "" : fmt::format(",\"layer\":{}", e.block);
  return fmt::format(R"({{"name":"{}","cat":"{}","ph":"X","ts":{:.3f},"dur":{:.3f},"pid":{},"tid":0,"args":{{"step":{}{}}}}})", name, whole ? "step" : "phase",
                     static_cast<double>(e.begin - origin) * 1e-3, static_cast<double>(e.end - e.begin) * 1e-3, e.rank, step, block);
}

/// The events of an earlier part up to `step`, one a line, and its origin. What is no event (torn by a kill) is left out.
std::vector<std::string> kept_lines(const std::string& path, i64 step, i64& origin) {
  std::vector<std::string> kept;
  std::string text, line;
  if (!read_whole(path, text)) return kept;
  for (std::istringstream in(text); std::getline(in, line);) {
    if (line.ends_with(',')) line.pop_back();
    const Json j = Json::parse(line, nullptr, false);
    if (!j.is_object() || !j.contains("ph") || !j.contains("args")) continue;
    const Json& args = j["args"];
    if (j["ph"] == "X" && (!args.contains("step") || whole_number(args["step"]) > step)) continue;
    if (args.contains("unix_nanoseconds")) origin = whole_number(args["unix_nanoseconds"]);
    kept.push_back(line);
  }
  return kept;
}

}  // namespace

TraceRecord::TraceRecord(const std::string& path, i64 ranks, const std::vector<std::string>& hosts, std::optional<i64> resumed, Complain complain, i64 most_bytes)
    : path_(path), complain_(std::move(complain)), most_bytes_(most_bytes) {
  try {
    std::vector<std::string> lines;
    if (resumed) lines = kept_lines(path, *resumed, origin_);
    for (i64 r = 0; r < std::min(ranks, train::k_most_traced_ranks); ++r) {
      const std::string host = r < static_cast<i64>(hosts.size()) ? fmt::format(" ({})", hosts[r]) : "";
      for (const Json& j : {about("process_name", r, {{"name", fmt::format("rank {}{}", r, host)}}), about("process_sort_index", r, {{"sort_index", r}}),
                            about("thread_name", r, {{"name", "phases"}})}) {
        if (std::ranges::find(lines, in_line(j)) == lines.end()) lines.push_back(in_line(j));
      }
    }
    begin(std::move(lines));
  } catch (const std::exception& e) {
    give_up(e.what());
  }
}

TraceRecord::~TraceRecord() {
  if (file_ >= 0) ::close(file_);
}

void TraceRecord::begin(std::vector<std::string> lines) {
  const std::string text = fmt::format("[\n{}{}", fmt::join(lines, ",\n"), k_closing);
  replace_whole(path_, text, false);
  file_ = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
  if (file_ < 0) user_error("{}: cannot be written ({})", path_, std::strerror(errno));
  end_ = static_cast<i64>(text.size() - std::strlen(k_closing));
}

void TraceRecord::on_step(const train::StepRecord& r) {
  if (!r.trace || r.trace->events.empty() || file_ < 0) return;
  if (end_ > most_bytes_) {
    complain_(fmt::format("note: {}: is long enough, no more steps are traced", path_));
    ::close(std::exchange(file_, -1));
    return;
  }
  std::string text;
  if (origin_ < 0) {
    origin_ = r.trace->events.front().begin;
    text += ",\n" + in_line(about("time_origin", 0, {{"unix_nanoseconds", origin_}}));
  }
  for (const Event& e : r.trace->events) text += ",\n" + line_of(e, r.step, origin_);
  append(text);
}

/// Over the closing bracket, in one write where the system can.
void TraceRecord::append(const std::string& events) {
  const std::string text = events + k_closing;
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = ::pwrite(file_, text.data() + done, text.size() - done, static_cast<off_t>(end_) + static_cast<off_t>(done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const std::string why = fmt::format("{}: cannot be written ({})", path_, std::strerror(errno));
      // Whole again, with the events that it had: neither needs space.
      if (::pwrite(file_, k_closing, std::strlen(k_closing), static_cast<off_t>(end_)) > 0) {
        [[maybe_unused]] const int code = ::ftruncate(file_, static_cast<off_t>(end_) + static_cast<off_t>(std::strlen(k_closing)));
      }
      give_up(why);
      return;
    }
    done += static_cast<std::size_t>(count);
  }
  end_ += static_cast<i64>(events.size());
}

void TraceRecord::give_up(const std::string& why) {
  if (file_ >= 0) ::close(std::exchange(file_, -1));
  complain_(fmt::format("note: {}; the run goes on, but its steps are not traced", why));
}

}  // namespace pleiad::io
