#include "pleiad/app/sweep_folder.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>

#include "pleiad/app/config.hpp"
#include "pleiad/app/sweep_resolver.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/core/text.hpp"
#include "pleiad/io/checksum.hpp"
#include "pleiad/io/h5.hpp"
#include "pleiad/io/run_marker.hpp"
#include "pleiad/io/small_file.hpp"
#include "pleiad/sweep/plan.hpp"

namespace pleiad::app {

namespace {

namespace fs = std::filesystem;

std::string text_of(const std::string& path, const std::string& what) {
  std::string text;
  std::error_code error;
  if (fs::is_directory(path, error) || !io::read_whole(path, text)) user_error("{} {}: cannot be read ({})", what, path, fs::is_directory(path, error) ? "it is a folder" : std::strerror(errno));
  return text;
}

std::string config_header(const io::SweepPoint& point) {
  return fmt::format("# Point {} of a sweep, {} rank{}. Do not edit: a point whose configuration was changed is refused.\n\n", point.name, point.ranks,
                     point.ranks == 1 ? "" : "s");
}

std::map<std::string, std::string> options_of(const std::string& point_ini) {
  std::map<std::string, std::string> all;
  for (const IniEntry& e : parse_ini(point_ini, "point.ini")) all[e.section + "." + e.key] = e.value;
  return all;
}

/// The first option in which two configurations differ, in words.
std::string difference(const std::string& was, const std::string& now) {
  const auto old_ones = options_of(was), new_ones = options_of(now);
  for (const auto& [key, value] : new_ones) {
    const auto found = old_ones.find(key);
    if (found == old_ones.end() || found->second != value) return fmt::format("{} is {} there and {} now", key, found == old_ones.end() ? "not set" : found->second, value);
  }
  return "the data are others now";
}

[[noreturn]] void refuse_change(const PlannedSweep& plan, const io::SweepIndex& there, const io::SweepPoint& lost) {
  std::string why = "it has the point " + lost.name + ", which this one lacks";
  for (std::size_t i = 0; i < plan.index.points.size(); ++i) {
    const io::SweepPoint& p = plan.index.points[i];
    std::string was;
    if (p.settings == lost.settings && p.seed == lost.seed && io::read_whole(there.path_of(lost) + "/point.ini", was)) {
      why = p.ranks != lost.ranks ? fmt::format("its points have {} ranks, now {}", lost.ranks, p.ranks) : difference(was, plan.configs[i]);
      break;
    }
  }
  user_error("{}: holds another sweep: {}; choose another folder, or add points without changing those that are there", there.folder, why);
}

void write_point(const io::SweepIndex& index, const io::SweepPoint& point, const std::string& config) {
  const std::string folder = index.path_of(point);
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) user_error("{}: cannot be made ({})", folder, error.message());
  io::replace_whole(folder + "/point.ini", config, false);
}

}  // namespace

PlannedSweep plan_sweep(const std::string& file, const std::vector<std::string>& set) {
  std::string definition = text_of(file, "sweep file");
  std::vector<sweep::Entry> entries;
  for (const IniEntry& e : parse_ini(definition, file)) entries.push_back({e.section, e.key, e.value});
  for (const std::string& s : set) {
    const std::size_t equals = s.find('=');
    if (equals == std::string::npos || s.find('.') > equals) user_error("--set {}: has the form section.key=value", s);
    const sweep::Entry more{"set", s.substr(0, equals), s.substr(equals + 1)};
    std::erase_if(entries, [&](const sweep::Entry& e) { return e.section == "set" && e.key == more.key; });
    entries.push_back(more);
    definition += "\n# --set " + s;
  }
  const sweep::Definition d = sweep::Definition::read(entries, file);
  const std::string base_path = (fs::path(file).parent_path() / d.base).lexically_normal().string(), base = text_of(base_path, file + ": [sweep] base =");
  SweepResolver resolver(base, base_path);
  sweep::Plan plan = sweep::make_plan(d, resolver);
  plan.index.name = fs::path(file).stem().string();
  plan.index.definition = definition;
  plan.index.config = base;
  for (std::size_t i = 0; i < plan.configs.size(); ++i) {
    plan.configs[i] = config_header(plan.index.points[i]) + plan.configs[i];
    plan.index.points[i].config_sum = io::sha256(plan.configs[i]);
  }
  return {std::move(plan.index), std::move(plan.configs)};
}

i64 make_sweep_folder(PlannedSweep& plan, const std::string& folder) {
  plan.index.folder = folder;
  std::set<std::string> there;
  std::error_code error;
  if (io::is_sweep(folder)) {
    const io::SweepIndex old = io::read_sweep_index(folder);
    std::map<std::string, io::SweepPoint*> planned;
    for (io::SweepPoint& p : plan.index.points) planned[p.name] = &p;
    for (const io::SweepPoint& p : old.points) {
      if (!planned.count(p.name)) refuse_change(plan, old, p);
      *planned.at(p.name) = p;  // its folder holds the configuration as it was written then
      there.insert(p.name);
    }
    for (std::size_t i = 0; i < plan.index.points.size(); ++i) {
      const io::SweepPoint& p = plan.index.points[i];
      if (there.count(p.name) && !fs::exists(plan.index.path_of(p) + "/point.ini", error) && io::sha256(plan.configs[i]) == p.config_sum) write_point(plan.index, p, plan.configs[i]);
    }
    if (there.size() == planned.size()) {
      plan.index = old;
      return 0;
    }
  } else if (fs::exists(folder, error) && !fs::is_directory(folder, error)) {
    user_error("--out {}: is a file; the name of a folder is needed", folder);
  } else if (fs::exists(folder + "/run.h5", error)) {
    user_error("--out {}: holds a run; choose another folder", folder);
  }
  for (std::size_t i = 0; i < plan.index.points.size(); ++i) {
    if (!there.count(plan.index.points[i].name)) write_point(plan.index, plan.index.points[i], plan.configs[i]);
  }
  // Last, so that whoever finds the index finds every point.
  io::write_sweep_index(plan.index);
  return static_cast<i64>(plan.index.points.size() - there.size());
}

void set_aside(const std::string& point_folder) {
  i64 number = 1;
  const auto earlier = [&] { return fmt::format("{}/earlier-{}", point_folder, number); };
  std::error_code error;
  while (fs::exists(earlier(), error)) ++number;
  fs::create_directory(earlier(), error);
  for (const auto& entry : fs::directory_iterator(point_folder, error)) {
    const std::string name = entry.path().filename().string();
    if (!error && name != "point.ini" && !name.starts_with("earlier-")) fs::rename(entry.path(), earlier() + "/" + name, error);
  }
  if (error) user_error("{}: cannot be moved to {} ({})", point_folder, earlier(), error.message());
}

const std::string& PointReader::fingerprint(const std::string& data) {
  const auto found = fingerprints_.find(data);
  return found != fingerprints_.end() ? found->second : fingerprints_.emplace(data, io::H5File::open(data).text("/", "fingerprint")).first->second;
}

i64 PointReader::threads(const io::SweepPoint& point) {
  const std::string path = index_.path_of(point) + "/point.ini";
  std::string text;
  if (!io::read_whole(path, text)) user_error("{}: cannot be read; 'pleiad sweep plan FILE --out {}' with the same sweep file writes it again", path, shell_word(index_.folder));
  const std::map<std::string, std::string> options = options_of(text);
  const auto data = options.find("data.corpus"), threads = options.find("parallel.blas_threads");
  if (data != options.end() && io::run_identity(options, fingerprint(data->second)) != point.identity) {
    user_error("{}: {} is not what it was when the sweep was planned; put it back, or plan another sweep", index_.folder, data->second);
  }
  return threads == options.end() ? 1 : std::stoll(threads->second);
}

FileLock lock_sweep(const std::string& folder) {
  return FileLock(folder + "/lock", folder + ": another process is running points of this sweep on this machine");
}

}  // namespace pleiad::app
