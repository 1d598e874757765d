// What a prediction knows of a run: its configuration, read by the components that training uses, without building the model.
#pragma once
#include "pleiad/app/model_setup.hpp"
#include "pleiad/app/run_options.hpp"
#include "pleiad/sim/demand.hpp"
#include "pleiad/sim/workload.hpp"

namespace pleiad::app {

struct SimulatedRun {
  sim::StepModel model;
  sim::DemandShape shape;  ///< of made-up demand
  RunOptions run;
  std::vector<std::string> notes;  ///< settings of which a prediction knows nothing
};

/// Experts of a token as far as somebody else than the router knows them; 0: nobody.
struct KnownChoices {
  double said = 0, recorded = 0;
};

/// Reads every section. The vocabulary is model.vocab, or 256. UserError for a wrong configuration, and where the experts of a token are not known, or said though the router fixes them.
SimulatedRun read_simulated_run(Config& config, const KnownChoices& known);

}  // namespace pleiad::app
