#include "pleiad/app/cluster_file.hpp"

#include "pleiad/app/config.hpp"
#include "pleiad/core/error.hpp"

namespace pleiad::app {

ClusterFile load_cluster(const std::string& path) {
  ClusterFile file{read_ini("cluster", path), {}};
  const std::vector<IniEntry> entries = parse_ini(file.text, path);
  try {
    sim::ClusterSpecs specs;
    for (const IniEntry& e : entries) specs.section(e.section).set(e.key, e.value);
    file.cluster = sim::Cluster::read(specs);
  } catch (const UserError& e) {
    user_error("{}: {}", path, e.what());
  }
  return file;
}

}  // namespace pleiad::app
