// Runs made up for tests, without files.
#pragma once
#include "pleiad/report/run.hpp"

namespace pleiad::report {

inline Run sample_run(const std::string& name, i64 seed, double loss, std::map<std::string, std::string> config) {
  Run run;
  run.path = "runs/" + name;
  run.summary.name = name;
  run.summary.router = "topk";
  run.summary.steps = 10;
  run.summary.finished = true;
  run.summary.loss = loss;
  run.summary.flops_per_token = 1e6;
  run.summary.tokens = 1000;
  run.summary.training_flops = 3e9;
  run.seed = seed;
  run.config = std::move(config);
  run.config["train.seed"] = std::to_string(seed);
  run.config["train.steps"] = "10";
  run.config["data.corpus"] = "c.h5";
  return run;
}

inline Run sample_point(const std::string& name, i64 seed, double loss, std::map<std::string, std::string> settings) {
  Run run = sample_run(name, seed, loss, settings);
  run.settings = std::move(settings);
  run.sweep = 0;
  return run;
}

}  // namespace pleiad::report
