#include "pleiad/app/arguments.hpp"

#include <iostream>

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

}  // namespace pleiad::app
