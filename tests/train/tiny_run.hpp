// A whole training run of a tiny model in memory: batches made up from (step, global token), a store that only notes when it was
// called, a sink that keeps every record. Read next: trainer_mpi_test.cpp.
#pragma once
#include "model/tiny_model.hpp"
#include "pleiad/train/trainer.hpp"

namespace pleiad::train {

/// A language that can be learnt: the next token is the last one plus one of two steps, by the domain of the sequence.
class MadeUpSource : public BatchSource {
 public:
  explicit MadeUpSource(i64 windows = 6) : windows_(windows) {}
  model::Batch training(i64 step, const LaneLayout& lanes) override { return batch(1000 * step, lanes, nullptr); }
  i64 evaluation_windows() const override { return windows_; }
  model::Batch evaluation(i64 first, const LaneLayout& lanes, Truth& truth) override {
    truth = {};
    return batch(500000 + first, lanes, &truth);
  }
  std::vector<std::string> domains() const override { return {"by one", "by three"}; }

 private:
  static model::Batch batch(i64 first, const LaneLayout& lanes, Truth* truth) {
    model::Batch b;
    for (i64 s = lanes.my_sequences().begin; s < lanes.my_sequences().end(); ++s) {
      const Stream draw(9, Purpose::test, 0, static_cast<std::uint64_t>(first + s));
      const i64 domain = static_cast<i64>(draw.below(0, 2));
      i64 token = static_cast<i64>(draw.below(1, model::k_tiny_vocab));
      for (i64 i = 0; i < lanes.seq_len(); ++i) {
        b.input.push_back(static_cast<std::int32_t>(token));
        token = (token + 1 + 2 * domain) % model::k_tiny_vocab;
        b.target.push_back(static_cast<std::int32_t>(token));
        if (!truth) continue;
        truth->entropy.push_back(0.25f);
        truth->domain.push_back(static_cast<std::uint8_t>(domain));
      }
    }
    return b;
  }

  i64 windows_;
};

class NotingStore : public CheckpointStore {
 public:
  i64 save(const TrainState& state) override {
    steps.push_back(state.step);
    return 42;
  }
  std::vector<i64> steps;
};

class KeepingSink : public MetricSink {
 public:
  void on_step(const StepRecord& r) override {
    records.push_back(r);
    records.back().layers.clear();  // they live for the call only
  }
  void on_evaluation(i64 step, const EvalReport& report) override { evaluations.emplace_back(step, report); }
  void on_sample(const Sample& sample) override { samples.push_back(sample); }
  void on_checkpoint(i64 step, double, i64 bytes) override { checkpoints.emplace_back(step, bytes); }
  void on_placement(const PlacementRecord& record) override { placements.push_back(record); }

  std::vector<StepRecord> records;
  std::vector<std::pair<i64, EvalReport>> evaluations;
  std::vector<Sample> samples;
  std::vector<std::pair<i64, i64>> checkpoints;
  std::vector<PlacementRecord> placements;
};

/// Model, optimizer, source, store and sink over one grid; lanes fixed at eight.
struct TinyRun {
  TinyRun(comm::ProcessGrid over, const model::Keys& moe, model::Keys train_keys, i64 windows = 6, i64 shadows = 0)
      : tiny(std::move(over), model::k_tiny_model, moe, exchange::Combine::home, shadows), source(windows) {
    train_keys.emplace("batch_sequences", "12");
    train_keys.emplace("learning_rate", "0.01");
    train_keys.emplace("sample_tokens", "5");
    Spec train = model::spec_of("train", train_keys), checkpoint = model::spec_of("checkpoint", {{"every", "0"}});
    config = TrainConfig::read(train, checkpoint);
    train.finish();
    adam.emplace(config.adam, tiny.params);
    state.emplace(TrainState{tiny.params, *adam, 0});
    trainer.emplace(config, *tiny.model, source, tiny.grid, std::vector<MetricSink*>{&sink}, store, SamplePlan{{1, 2}});
  }

  void balance(const PlacementConfig& placement) {
    trainer->balance(placement, [this](const Owners& owners, ParamSet& fresh) -> const model::Model& { return tiny.rebuild(owners, fresh); });
  }

  model::TinyModel tiny;
  MadeUpSource source;
  NotingStore store;
  KeepingSink sink;  // on every rank, so that all can compare
  TrainConfig config;
  std::optional<Adam> adam;
  std::optional<TrainState> state;
  std::optional<Trainer> trainer;
};

}  // namespace pleiad::train
