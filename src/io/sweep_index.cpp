#include "pleiad/io/sweep_index.hpp"

#include <filesystem>

#include "pleiad/core/build_info.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/core/text.hpp"
#include "pleiad/io/json.hpp"
#include "pleiad/io/small_file.hpp"

namespace pleiad::io {

namespace {

using Json = nlohmann::json;

std::string index_of(const std::string& folder) { return folder + "/sweep.json"; }

Json to_json(const SweepPoint& p) {
  return {{"name", p.name}, {"identity", p.identity}, {"id", p.id}, {"config_sum", p.config_sum}, {"settings", p.settings}, {"seed", p.seed}, {"ranks", p.ranks}, {"sizes", p.sizes}};
}

SweepPoint point_of(const Json& j) {
  SweepPoint p;
  j.at("name").get_to(p.name);
  j.at("identity").get_to(p.identity);
  j.at("id").get_to(p.id);
  j.at("config_sum").get_to(p.config_sum);
  j.at("settings").get_to(p.settings);
  p.seed = whole_number(j.at("seed"));
  p.ranks = whole_number(j.at("ranks"));
  j.at("sizes").get_to(p.sizes);
  // A name becomes a path: nothing but one folder below points/.
  if (p.name.empty() || p.name.find('/') != std::string::npos || p.name.starts_with('.')) throw std::runtime_error("a point has the name '" + p.name + "'");
  if (p.ranks < 1) throw std::runtime_error(fmt::format("point {} has {} ranks", p.name, p.ranks));
  return p;
}

}  // namespace

bool is_sweep(const std::string& folder) { return std::filesystem::is_regular_file(index_of(folder)); }

SweepIndex read_sweep_index(const std::string& folder) {
  const std::string path = index_of(folder);
  std::string text;
  if (!read_whole(path, text)) user_error("{}: holds no sweep (there is no {}); 'pleiad sweep plan FILE --out {}' makes one", folder, path, shell_word(folder));
  SweepIndex s;
  s.folder = folder;
  try {
    const Json j = Json::parse(text);
    if (j.at("format") != k_sweep_index_format) throw std::runtime_error("format " + j.at("format").get<std::string>() + ", " + k_sweep_index_format + " is needed");
    j.at("name").get_to(s.name);
    j.at("definition").get_to(s.definition);
    j.at("config").get_to(s.config);
    j.at("keys").get_to(s.keys);
    for (const Json& point : j.at("points")) s.points.push_back(point_of(point));
  } catch (const std::exception& e) {  // of the JSON library, and our own
    user_error("{}: is damaged or of another version ({})", path, e.what());
  }
  return s;
}

void write_sweep_index(const SweepIndex& s) {
  const core::BuildInfo build = core::build_info();
  Json points = Json::array();
  for (const SweepPoint& p : s.points) points.push_back(to_json(p));
  const Json j = {{"format", k_sweep_index_format}, {"description", "Pleiad sweep: its definition and its points"}, {"pleiad_version", build.version},
                  {"git_commit", build.git_commit}, {"name", s.name}, {"definition", s.definition}, {"config", s.config}, {"keys", s.keys}, {"points", points}};
  // A sweep file may be in any encoding; JSON is UTF-8.
  replace_whole(index_of(s.folder), j.dump(1, ' ', false, Json::error_handler_t::replace) + "\n", true);
}

}  // namespace pleiad::io
