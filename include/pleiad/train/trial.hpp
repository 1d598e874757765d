// What a step and an evaluation take of memory, found out by making one of few sequences. Nothing that is computed later depends on it: weights, moments and
// buffers stay, random numbers are functions of the step, gradients are zeroed by every step before it begins.
#pragma once
#include "pleiad/train/trainer.hpp"

namespace pleiad::train {

/// Of this rank; bytes.
struct TrialMemory {
  i64 sequences = 0;        ///< of the global batch that was tried
  i64 before = 0;           ///< resident when it began
  i64 step = 0, whole = 0;  ///< most that was resident in forward and backward; evaluation included, which begins while the trace of the step is there
  i64 kept = 0;             ///< in use after backward, more than before
  i64 shared = 0;           ///< of what is resident at the end: shared with other ranks
  double seconds = 0;
};

/// Twice forward, backward with the sums of gradients, and an evaluation of at most two batches and `windows` windows (0: none), of `sequences` sequences. pre: gradients are allocated. collective over the world.
TrialMemory try_step(const TrainConfig& config, const model::Model& model, TrainState& state, BatchSource& source, const comm::ProcessGrid& grid, i64 sequences,
                     i64 windows);

/// What `sequences` would take, by the straight line through two trials.
TrialMemory extended(const TrialMemory& one, const TrialMemory& two, i64 sequences);

}  // namespace pleiad::train
