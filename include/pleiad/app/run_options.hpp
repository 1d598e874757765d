// What every command reads of the sections that are not the model's: [data], [train] and [checkpoint].
#pragma once
#include "pleiad/app/time_budget.hpp"
#include "pleiad/io/checkpoint_h5.hpp"
#include "pleiad/train/trainer.hpp"

namespace pleiad::app {

struct RunOptions {
  std::string corpus, prompt;
  train::TrainConfig train;
  i64 keep = 3;
  io::CheckpointFiles files = io::CheckpointFiles::one;
  TimeBudgetConfig time;
  static RunOptions read(Config& config);
};

}  // namespace pleiad::app
