// Command line arguments of one command, by Boost.Program_options: every mistake is a UserError, --help prints the options.
#pragma once
#include <boost/program_options.hpp>

#include "pleiad/app/commands.hpp"

namespace pleiad::app {

using Values = boost::program_options::variables_map;

/// Parses `arguments`; the name of the positional ones, if any, is `positional`. Prints `usage` and the options on the root rank
/// and returns false if --help was asked for. UserError for unknown or malformed options.
bool parse_arguments(const comm::Communicator& world, const Arguments& arguments, const std::string& usage,
                     boost::program_options::options_description options, const std::string& positional, Values& values);

/// UserError on every rank if `path`, given with `option`, exists already or cannot be made. collective.
void require_new_file(const comm::Communicator& world, const std::string& option, const std::string& path);

/// The value of an option, or `fallback`.
template <class T>
T value_or(const Values& values, const std::string& name, T fallback) {
  return values.count(name) ? values[name].template as<T>() : fallback;
}

}  // namespace pleiad::app
