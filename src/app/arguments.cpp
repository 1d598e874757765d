#include "pleiad/app/arguments.hpp"

#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <iostream>

#include "pleiad/comm/agree.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/core/error.hpp"

namespace pleiad::app {

namespace options = boost::program_options;

bool parse_arguments(const comm::Communicator& world, const Arguments& arguments, const std::string& usage,
                     options::options_description description, const std::string& positional, Values& values) {
  description.add_options()("help,h", "print this");
  options::positional_options_description places;
  if (!positional.empty()) places.add(positional.c_str(), -1);
  try {
    // No guessing: an abbreviated option would change its meaning when another one is added.
    using namespace options::command_line_style;
    const int style = unix_style & ~allow_guessing;
    options::store(options::command_line_parser(arguments).options(description).positional(places).style(style).run(), values);
    if (values.count("help")) {
      if (world.root()) std::cout << usage << "\n\n" << description << std::flush;
      return false;
    }
    options::notify(values);
  } catch (const options::error& e) {
    user_error("{}; see --help", e.what());
  }
  return true;
}

void require_new_file(const comm::Communicator& world, const std::string& option, const std::string& path) {
  std::string problem;
  if (world.root()) {
    std::error_code error;
    const std::string folder = std::filesystem::path(path).parent_path().string();
    if (path.empty() || path.ends_with('/')) {
      problem = fmt::format("{} {}: a file name is needed", option, path);
    } else if (std::filesystem::exists(path, error)) {
      problem = fmt::format("{} {}: exists already; choose another name", option, path);
    } else if (!std::filesystem::is_directory(folder.empty() ? "." : folder, error)) {
      problem = fmt::format("{} {}: there is no folder {}", option, path, folder);
    } else if (access(folder.empty() ? "." : folder.c_str(), W_OK) != 0) {
      problem = fmt::format("{} {}: cannot be made ({})", option, path, std::strerror(errno));
    }
  }
  comm::agree(world, comm::broadcast(world, problem));
}

}  // namespace pleiad::app
