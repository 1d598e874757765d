#include "pleiad/io/live_status.hpp"

#include <cmath>
#include <filesystem>
#include <limits>

#include "pleiad/core/error.hpp"
#include "pleiad/io/json.hpp"
#include "pleiad/io/small_file.hpp"

namespace pleiad::io {

namespace {

using Json = nlohmann::json;

std::string file_of(const std::string& run) { return run + "/live.json"; }

/// JSON knows no NaN and no infinity: the library writes null, and null is read as NaN.
double number(const Json& j) { return j.is_null() ? std::numeric_limits<double>::quiet_NaN() : j.get<double>(); }

std::vector<double> numbers(const Json& j) {
  std::vector<double> all;
  for (const Json& x : j) all.push_back(number(x));
  return all;
}

/// A ratio for people; digits beyond these would only make the file longer.
double in_short(double x) { return std::round(x * 1e4) / 1e4; }

Json to_json(const LiveStatus::Layer& l) {
  Json load = Json::array();
  for (const double x : l.load) load.push_back(in_short(x));
  return {{"block", l.block}, {"load", load}, {"imbalance", l.imbalance}, {"flops_imbalance", l.flops_imbalance}, {"entropy", l.entropy},
          {"mean_k", l.mean_k}, {"dropped_share", l.dropped_share}};
}

LiveStatus::Layer layer_of(const Json& j) {
  LiveStatus::Layer l;
  l.block = whole_number(j.at("block"));
  l.load = numbers(j.at("load"));
  l.imbalance = number(j.at("imbalance"));
  l.flops_imbalance = number(j.at("flops_imbalance"));
  l.entropy = number(j.at("entropy"));
  l.mean_k = number(j.at("mean_k"));
  l.dropped_share = number(j.at("dropped_share"));
  return l;
}

LiveStatus status_of(const Json& j) {
  if (j.at("format") != k_live_format) throw std::runtime_error("format " + j.at("format").get<std::string>() + ", " + k_live_format + " is needed");
  LiveStatus s;
  j.at("state").get_to(s.state);
  j.at("host").get_to(s.host);
  j.at("job").get_to(s.job);
  s.process = whole_number(j.at("process"));
  s.ranks = whole_number(j.at("ranks"));
  s.first_step = whole_number(j.at("first_step"));
  s.step = whole_number(j.at("step"));
  s.steps = whole_number(j.at("steps"));
  s.time = number(j.at("time"));
  s.started = number(j.at("started"));
  s.seconds_per_step = number(j.at("seconds_per_step"));
  s.tokens_per_second = number(j.at("tokens_per_second"));
  s.loss = number(j.at("loss"));
  s.learning_rate = number(j.at("learning_rate"));
  if (j.contains("evaluation")) {
    const Json& e = j.at("evaluation");
    s.evaluated = whole_number(e.at("step"));
    s.evaluation_loss = number(e.at("loss"));
    if (e.contains("above_floor")) s.above_floor = number(e.at("above_floor"));
  }
  s.history_step = whole_numbers(j.at("history").at("step"));
  s.history_loss = numbers(j.at("history").at("loss"));
  if (s.history_step.size() != s.history_loss.size()) throw std::runtime_error("history: as many steps as losses are needed");
  for (const auto& [phase, seconds] : j.at("phase_seconds").items()) s.phase_seconds[phase] = number(seconds);
  for (const Json& layer : j.at("layers")) s.layers.push_back(layer_of(layer));
  return s;
}

}  // namespace

std::optional<LiveStatus> read_live_status(const std::string& run) {
  const std::string path = file_of(run);
  std::string text;
  if (!read_whole(path, text)) {
    std::error_code ignored;
    if (std::filesystem::exists(path, ignored)) user_error("{}: cannot be read", path);
    return {};
  }
  try {
    return status_of(Json::parse(text));
  } catch (const std::exception& e) {  // of the JSON library, and our own
    user_error("{}: is damaged or of another version ({})", path, e.what());
  }
}

void write_live_status(const std::string& run, const LiveStatus& s) {
  Json layers = Json::array();
  for (const LiveStatus::Layer& layer : s.layers) layers.push_back(to_json(layer));
  Json j = {{"format", k_live_format}, {"description", "Pleiad run: how it is doing at this moment"}, {"state", s.state}, {"host", s.host}, {"job", s.job},
            {"process", s.process}, {"ranks", s.ranks}, {"first_step", s.first_step}, {"step", s.step}, {"steps", s.steps}, {"time", s.time},
            {"started", s.started}, {"seconds_per_step", s.seconds_per_step}, {"tokens_per_second", s.tokens_per_second}, {"loss", s.loss},
            {"learning_rate", s.learning_rate}, {"history", {{"step", s.history_step}, {"loss", s.history_loss}}}, {"phase_seconds", s.phase_seconds},
            {"layers", layers}};
  if (s.evaluated) {
    j["evaluation"] = {{"step", *s.evaluated}, {"loss", s.evaluation_loss}};
    if (s.above_floor) j["evaluation"]["above_floor"] = *s.above_floor;
  }
  // A name of a host that is no UTF-8 must not end the run.
  replace_whole(file_of(run), j.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n", false);
}

}  // namespace pleiad::io
