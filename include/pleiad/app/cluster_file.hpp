// The file that describes a cluster (sim/cluster.hpp), as every command reads it.
#pragma once
#include "pleiad/sim/cluster.hpp"

namespace pleiad::app {

struct ClusterFile {
  std::string text;  ///< as it was read
  sim::Cluster cluster;
};

/// UserError that begins with the name of the file: what cannot be read, a broken line, a section, key or value that is wrong or missing.
ClusterFile load_cluster(const std::string& path);

}  // namespace pleiad::app
