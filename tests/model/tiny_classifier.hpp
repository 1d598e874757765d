// A tiny classifier on a given process grid, and batches of sequences of different lengths.
#pragma once
#include "model/tiny_model.hpp"
#include "pleiad/model/classifier.hpp"

namespace pleiad::model {

constexpr i64 k_tiny_classes = 3;

struct TinyClassifier {
  TinyClassifier(comm::ProcessGrid over, const Keys& model_keys, const Keys& moe_keys)
      : grid(std::move(over)), model_spec(spec_of("model", model_keys)), moe_spec(spec_of("moe", moe_keys)) {
    exchanger = exchange::make_exchanger({"auto", exchange::Combine::home, 0}, grid.expert_group());
    const ModelConfig config = ModelConfig::read(model_spec, k_tiny_vocab);
    const MoeConfig moe = MoeConfig::read(moe_spec, config.layers);
    model = std::make_unique<Classifier>(params, config, k_tiny_classes, moe_spec, moe, grid, *exchanger);
    params.allocate();
    params.initialise(5);
    // Every parameter away from one, zero and tiny; a function of its name.
    for (const ParamInfo& p : params.infos()) {
      const Stream draw = Stream::named(77, Purpose::test, p.name);
      const auto values = params.slice(p, params.values(p.owner));
      for (std::size_t i = 0; i < values.size(); ++i) values[i] += static_cast<real>(0.3 * draw.normal(static_cast<std::uint64_t>(p.first_element()) + i));
    }
  }

  LaneLayout lanes(i64 count, i64 sequences, i64 seq_len) const { return {count, sequences, seq_len, grid.world().size(), grid.world().rank()}; }

  /// This rank's part of a random batch with lengths 1 to `longest`; padding holds `padding`; every fifth label is not counted.
  static Batch batch(const LaneLayout& lanes, i64 longest, std::int32_t padding = 0) {
    const Stream draw(3, Purpose::test);
    Batch b;
    for (i64 s = lanes.my_sequences().begin; s < lanes.my_sequences().end(); ++s) {
      const auto index = static_cast<std::uint64_t>(1000 * s);
      b.length.push_back(s == 0 ? longest : 1 + static_cast<i64>(draw.below(index, static_cast<std::uint64_t>(longest))));
      b.target.push_back(s % 5 == 3 ? -1 : static_cast<std::int32_t>(draw.below(index + 1, k_tiny_classes)));
      for (i64 i = 0; i < lanes.seq_len(); ++i) {
        const auto token = static_cast<std::int32_t>(draw.below(index + 2 + static_cast<std::uint64_t>(i), k_tiny_vocab));
        b.input.push_back(i < b.length.back() ? token : padding);
      }
    }
    return b;
  }

  comm::ProcessGrid grid;
  Spec model_spec, moe_spec;
  ParamSet params;
  std::unique_ptr<exchange::Exchanger> exchanger;
  std::unique_ptr<Classifier> model;
  PhaseTimes times;
};

}  // namespace pleiad::model
