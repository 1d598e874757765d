// What a run record says about the run itself: configuration, machine, model, data.
#pragma once
#include "pleiad/app/train_job.hpp"
#include "pleiad/io/run_columns.hpp"

namespace pleiad::app {

/// Name and value of what stands around the program: start, hosts, processor, libraries, compiler, batch job. collective.
std::vector<std::pair<std::string, std::string>> environment_facts(const comm::Communicator& world);

/// As far as it follows from the model and its configuration. collective.
io::RunDescription describe_setup(const ModelSetup& setup, const Config& config, model::Task task);
/// `saved`: what the run's checkpoints say of it. The environment of all ranks; collective.
io::RunDescription describe_run(const TrainJob& job, const io::CheckpointInfo& saved);

}  // namespace pleiad::app
