#include "pleiad/report/draw.hpp"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <sstream>

#include "pleiad/core/error.hpp"
#include "pleiad/io/small_file.hpp"
#include "pleiad/report/table.hpp"

namespace pleiad::report {

namespace {

namespace fs = std::filesystem;

bool runs(const std::string& path) { return fs::is_regular_file(path) && ::access(path.c_str(), X_OK) == 0; }

/// Runs a program in `folder`, its messages into the file `messages` there; returns what waitpid says.
int run_in(const std::string& folder, const std::vector<std::string>& command, const std::string& messages) {
  std::vector<char*> arguments;
  for (const std::string& a : command) arguments.push_back(const_cast<char*>(a.c_str()));
  arguments.push_back(nullptr);
  const pid_t child = ::fork();
  if (child < 0) user_error("cannot start {} ({})", command[0], std::strerror(errno));
  if (child == 0) {
    // Only calls that are safe between fork and exec.
    const int nothing = ::open("/dev/null", O_RDONLY);
    if (::chdir(folder.c_str()) != 0) ::_exit(127);
    const int out = ::open(messages.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (nothing < 0 || out < 0 || ::dup2(nothing, 0) < 0 || ::dup2(out, 1) < 0 || ::dup2(out, 2) < 0) ::_exit(127);
    ::execv(arguments[0], arguments.data());
    ::_exit(127);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) user_error("cannot wait for {} ({})", command[0], std::strerror(errno));
  }
  return status;
}

/// gnuplot shows the line it stumbled over, a caret and then what is wrong: the last line that says something.
std::string last_message(const std::string& path) {
  std::string text, line, last;
  io::read_whole(path, text);
  std::istringstream in(text);
  while (std::getline(in, line)) {
    if (line.find_first_not_of(" ^\t") != std::string::npos) last = line;
  }
  return last.empty() ? "no message" : last;
}

}  // namespace

std::string find_gnuplot(const std::string& name) {
  if (name.find('/') != std::string::npos) {
    if (!runs(name)) user_error("--gnuplot {}: is no program that can be run", name);
    return fs::absolute(name).string();
  }
  const char* path = std::getenv("PATH");
  std::istringstream folders(path ? path : "");
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::string candidate = (folder.empty() ? "." : folder) + "/" + name;
    if (runs(candidate)) return fs::absolute(candidate).string();
  }
  user_error("--html needs gnuplot, and there is no program {} in PATH: install Debian's package gnuplot-nox, or say where it is with --gnuplot",
             name);
}

std::vector<std::string> draw(const std::vector<Figure>& figures, const std::string& folder, const std::string& gnuplot) {
  std::vector<std::string> command = {gnuplot}, pictures(figures.size());
  for (const Figure& f : figures) {
    if (!f.absent.empty()) continue;
    io::write_output("--keep", folder + "/" + f.id + ".dat", data_of(f));
    io::write_output("--keep", folder + "/" + f.id + ".gp", script_of(f));
    command.push_back(f.id + ".gp");
  }
  if (command.size() == 1) return pictures;
  const std::string messages = folder + "/gnuplot.log";
  const int status = run_in(folder, command, "gnuplot.log");
  if (status != 0) user_error("{} cannot draw the figures: {}", gnuplot, last_message(messages));
  for (std::size_t i = 0; i < figures.size(); ++i) {
    if (!figures[i].absent.empty()) continue;
    if (!io::read_whole(folder + "/" + figures[i].id + ".svg", pictures[i]) || pictures[i].find("</svg>") == std::string::npos) {
      user_error("{} did not draw {}: {}", gnuplot, figures[i].id, last_message(messages));
    }
  }
  fs::remove(messages);
  return pictures;
}

}  // namespace pleiad::report
