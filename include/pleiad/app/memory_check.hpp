// Whether the memory of the machine suffices, before it is taken.
#pragma once
#include "pleiad/app/memory_judge.hpp"
#include "pleiad/app/train_job.hpp"
#include "pleiad/io/run_record.hpp"

namespace pleiad::app {

/// Before weights are allocated: UserError on all ranks if they, gradients and moments alone do not fit (parallel.memory_check = warn: a note). collective.
void require_room_for_parameters(const ModelSetup& setup, const train::TrainConfig& config);

/// With weights and moments in place: tries steps of few sequences, predicts this rank's peak in job.memory and judges all. UserError on all ranks, or a note,
/// if it does not fit. collective.
void predict_memory(TrainJob& job, train::TrainState& state);

/// For a dry run: prints what each rank will take and what its node can give, and whether that would be refused. Allocates and tries steps if weights,
/// gradients and moments fit. collective.
void show_memory(TrainJob& job);

/// Largest resident memory of every rank so far, and what was predicted. collective.
io::MemoryRecord memory_record(const comm::Communicator& world, const MemoryForecast& mine);

/// For people, on the rank that asks: at the start, and at the end.
std::string forecast_in_words(const io::MemoryRecord& all, double seconds);
std::string outcome_in_words(const io::MemoryRecord& all);

}  // namespace pleiad::app
