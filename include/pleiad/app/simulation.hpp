// What pleiad simulate and pleiad simulate search predict: a configuration on a described cluster, and what its tokens ask for.
#pragma once
#include <boost/program_options.hpp>
#include <optional>

#include "pleiad/app/arguments.hpp"
#include "pleiad/app/cluster_file.hpp"
#include "pleiad/app/config.hpp"
#include "pleiad/app/step_model.hpp"
#include "pleiad/sim/prediction.hpp"

namespace pleiad::app {

struct SimulationRequest {
  std::string config, cluster, routing, skew, engine;
  std::vector<std::string> settings;
  std::vector<i64> ranks;  ///< those of the cluster if empty
  i64 per_rank = 0, step = 0;
  double mean_k = 0;

  /// The options that fill it.
  static void add_options(boost::program_options::options_description& description);
  /// UserError for options that are missing, wrong or contradict each other; `command` stands in messages.
  static SimulationRequest read(const Values& values, const std::string& command);
};

/// Everything is read and goes together. Not copied, not moved.
class Simulation {
 public:
  /// UserError for a configuration, cluster, skew or recording that is wrong.
  explicit Simulation(const SimulationRequest& request);
  Simulation(const Simulation&) = delete;
  Simulation& operator=(const Simulation&) = delete;

  const std::vector<i64>& ranks() const { return request_.ranks; }
  /// Of so many ranks, with the batch that was asked for.
  sim::StepModel model(i64 ranks) const;
  /// `model` as by model(ranks), perhaps changed where demand does not depend on it. UserError where it does not go with the number of ranks.
  sim::Prediction predict(const sim::StepModel& model, i64 ranks) const;

  const sim::Cluster& cluster() const { return cluster_.cluster; }
  const sim::Demand& demand() const { return *demand_; }
  const sim::Engine& engine() const { return *engine_; }
  const Config& config() const { return config_; }
  /// The configuration with these settings (section.key=value), in INI form. UserError where it cannot be.
  std::string resolved_with(const std::vector<std::string>& settings) const;
  i64 seed() const { return static_cast<i64>(run_.run.train.seed); }

 private:
  SimulationRequest request_;
  Config config_;
  ClusterFile cluster_;
  std::unique_ptr<sim::Engine> engine_;
  SimulatedRun run_;
  std::unique_ptr<sim::Demand> demand_;
  i64 recorded_ = 0;      // sequences; 0: made up
  KnownChoices known_;
};

}  // namespace pleiad::app
