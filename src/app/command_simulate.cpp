// pleiad simulate: what a training step would cost on a described cluster.
#include <iostream>

#include "pleiad/app/simulation.hpp"
#include "pleiad/comm/agree.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/report/predictions.hpp"

namespace pleiad::app {

namespace {

const char* const k_usage =
    "usage: pleiad simulate --config MODEL.ini --cluster CLUSTER.ini [--ranks N,N...] [--skew KIND | --routing routing.h5] [--out F.h5]\n"
    "       pleiad simulate search --config MODEL.ini --cluster CLUSTER.ini --ranks N     finds the fastest exchange and grouping; see its --help\n"
    "       mpirun -n RANKS pleiad simulate calibrate --out CLUSTER.ini     measures such a description; see its --help\n"
    "Predicts a training step on a described cluster (docs/simulate.md). One process; the model is not built.";

void predict_steps(const Arguments& arguments) {
  boost::program_options::options_description description("options");
  SimulationRequest::add_options(description);
  description.add_options()("out", boost::program_options::value<std::string>(), "also write the prediction to this HDF5 file");
  Values values;
  if (!parse_arguments(comm::Communicator::alone(), arguments, k_usage, description, "", values)) return;
  const SimulationRequest request = SimulationRequest::read(values, "simulate");
  const std::string out = value_or<std::string>(values, "out", "");
  if (!out.empty()) require_new_file(comm::Communicator::alone(), "--out", out);
  const Simulation simulation(request);
  const sim::Cluster& cluster = simulation.cluster();
  io::SimulationRecord record{simulation.config().resolved(), sim::in_ini_form(cluster), simulation.demand().what(), simulation.engine().name(), simulation.seed(), request.step, {}};
  for (const i64 ranks : simulation.ranks()) record.predictions.push_back(simulation.predict(simulation.model(ranks), ranks));
  const report::PredictedSteps predicted{request.config, std::move(record)};
  std::cout << report::predictions_in_words({predicted});
  if (!out.empty()) io::write_simulation(out, predicted.record);
}

}  // namespace

int run_simulate(const comm::Communicator& world, const Arguments& arguments) {
  const std::string first = arguments.empty() ? "" : arguments[0];
  const Arguments others(arguments.begin() + (arguments.empty() ? 0 : 1), arguments.end());
  if (first == "calibrate") return run_calibrate(world, others);
  comm::agree_on_root(world, [&] {
    if (first == "search") search_settings(others);
    else predict_steps(arguments);
  });
  return k_exit_ok;
}

}  // namespace pleiad::app
