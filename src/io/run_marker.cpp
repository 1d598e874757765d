#include "pleiad/io/run_marker.hpp"

#include <sys/stat.h>

#include <ctime>
#include <filesystem>
#include <fstream>

#include "pleiad/core/build_info.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/io/checkpoint_h5.hpp"
#include "pleiad/io/checksum.hpp"
#include "pleiad/io/json.hpp"
#include "pleiad/io/small_file.hpp"

namespace pleiad::io {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

std::string marker_of(const std::string& run) { return run + "/finished.json"; }

/// Empty if it cannot be read.
std::string sha256_of_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  Sha256 sum;
  std::string piece(1 << 20, '\0');
  while (in.read(piece.data(), static_cast<std::streamsize>(piece.size())) || in.gcount() > 0) {
    sum.add(std::string_view(piece).substr(0, static_cast<std::size_t>(in.gcount())));
  }
  return in.eof() ? sum.hex() : "";
}

/// When the file was last written, nanoseconds; 0 if it cannot be known.
i64 written(const std::string& path) {
  struct stat status = {};
  return ::stat(path.c_str(), &status) == 0 ? status.st_mtim.tv_sec * i64{1'000'000'000} + status.st_mtim.tv_nsec : 0;
}

Json described(const std::string& run, const std::string& name, bool with_sum) {
  std::error_code error;
  const auto bytes = fs::file_size(run + "/" + name, error);
  if (error) user_error("{}/{}: cannot be read ({})", run, name, error.message());
  Json j = {{"name", name}, {"bytes", bytes}};
  if (with_sum) {
    j["sha256"] = sha256_of_file(run + "/" + name);
    if (j["sha256"] == "") user_error("{}/{}: cannot be read", run, name);
    j["written_ns"] = written(run + "/" + name);
  }
  return j;
}

/// What is wrong with a file the marker names; empty if nothing.
std::string problem_of(const std::string& run, const Json& file) {
  const std::string name = file.at("name").get<std::string>();
  if (fs::path(name).is_absolute() || name.find("..") != std::string::npos) return "finished.json names the file " + name;
  std::error_code error;
  const auto bytes = fs::file_size(run + "/" + name, error);
  if (error) return name + " is missing";
  if (static_cast<i64>(bytes) != whole_number(file.at("bytes"))) return fmt::format("{} has {} bytes, {} when the run finished", name, bytes, whole_number(file.at("bytes")));
  // A file that nobody wrote to since need not be read: a sweep looks at a thousand of them.
  if (file.contains("written_ns") && written(run + "/" + name) == whole_number(file.at("written_ns"))) return "";
  if (file.contains("sha256") && sha256_of_file(run + "/" + name) != file.at("sha256")) return name + " was changed or damaged since the run finished";
  return "";
}

}  // namespace

std::string run_identity(const std::map<std::string, std::string>& options, const std::string& corpus_fingerprint) {
  std::string text;
  for (const auto& [key, value] : options) text += fmt::format("{}={}\n", key, key == "data.corpus" ? corpus_fingerprint : value);
  return sha256(text);
}

void write_marker(const std::string& run, const std::string& identity, i64 step, i64 ranks) {
  const core::BuildInfo build = core::build_info();
  Json files = Json::array({described(run, "run.h5", true)});
  // Of the checkpoint the size only: it may be as large as the memory of the machine.
  if (const std::string newest = newest_checkpoint(run + "/checkpoints"); !newest.empty()) {
    files.push_back(described(run, "checkpoints/" + fs::path(newest).filename().string(), false));
  }
  const Json j = {{"format", k_marker_format}, {"description", "Pleiad: this run did all its steps"}, {"identity", identity}, {"step", step}, {"ranks", ranks},
                  {"time", std::time(nullptr)}, {"pleiad_version", build.version}, {"git_commit", build.git_commit}, {"files", files}};
  replace_whole(marker_of(run), j.dump(1) + "\n", true);
}

void remove_marker(const std::string& run) {
  std::error_code error;
  fs::remove(marker_of(run), error);
  if (error) user_error("{}: cannot be removed ({})", marker_of(run), error.message());
}

MarkerCheck check_marker(const std::string& run, const std::string& identity) {
  MarkerCheck check;
  std::string text;
  if (!read_whole(marker_of(run), text)) return check;
  check.there = true;
  try {
    const Json j = Json::parse(text);
    if (j.at("format") != k_marker_format) throw std::runtime_error("its format");
    j.at("identity").get_to(check.identity);
    check.step = whole_number(j.at("step"));
    for (const Json& file : j.at("files")) {
      std::string& problem = file.at("name") == "run.h5" ? check.problem : check.checkpoint;
      if (problem.empty()) problem = problem_of(run, file);
    }
    if (j.at("files").empty()) check.problem = "finished.json names no file";
  } catch (const std::exception&) {  // of the JSON library, and our own
    check.problem = "finished.json is damaged or of another version";
  }
  if (check.problem.empty() && !identity.empty() && check.identity != identity) check.problem = "finished.json is of another configuration";
  check.finished = check.problem.empty();
  return check;
}

}  // namespace pleiad::io
