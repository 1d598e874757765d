// A tiny language model on a given process grid, with random parameters (drawn by name, so the same on any grid), and a batch.
#pragma once
#include <map>

#include "pleiad/model/language_model.hpp"
#include "support/alone.hpp"
#include "support/sample.hpp"

namespace pleiad::model {

using Keys = std::map<std::string, std::string>;

inline Spec spec_of(const std::string& section, const Keys& keys) {
  Spec spec(section);
  for (const auto& [key, value] : keys) spec.set(key, value);
  return spec;
}

/// Later keys win.
inline Keys with(Keys keys, const Keys& more) {
  for (const auto& [key, value] : more) keys[key] = value;
  return keys;
}

/// For messages.
inline std::string name_of(const Keys& keys) {
  std::string name;
  for (const auto& [key, value] : keys) name += key + "=" + value + " ";
  return name;
}

inline const Keys k_tiny_model = {{"width", "8"}, {"layers", "2"}, {"heads", "2"}, {"seq_len", "4"}, {"dense_width", "6"}};
inline const Keys k_tiny_moe = {{"layers", "1"}, {"experts", "4"}, {"expert_widths", "5,3,1,6"}};
inline const Keys k_small_hyper = {{"hyper_embedding", "3"}, {"hyper_hidden", "4"},     {"hyper_query", "3"},
                                   {"hyper_trunk", "5"},     {"hyper_bottleneck", "2"}, {"hyper_layer_embedding", "2"}};
constexpr i64 k_tiny_vocab = 7;

struct TinyModel {
  TinyModel(comm::ProcessGrid over, const Keys& model_keys, const Keys& moe_keys, exchange::Combine combine = exchange::Combine::home, i64 shadows = 0, Task task = Task::lm)
      : grid(std::move(over)), model_spec(spec_of("model", model_keys)), moe_spec(spec_of("moe", moe_keys)) {
    exchanger = exchange::make_exchanger({"auto", combine, 0}, grid.expert_group());
    const ModelConfig config = ModelConfig::read(model_spec, k_tiny_vocab);
    MoeConfig moe = MoeConfig::read(moe_spec, config.layers);
    moe.shadow = {shadows, combine, false};
    model = std::make_unique<LanguageModel>(params, config, moe_spec, moe, grid, *exchanger, task);
    params.allocate();
    params.initialise(5);
  }

  /// The same model over other owners of the experts.
  const Model& rebuild(const std::vector<std::vector<i64>>& owners, ParamSet& fresh) {
    const ModelConfig config = model->config();
    MoeConfig moe = model->moe_config();
    moe.owners = owners;
    model = std::make_unique<LanguageModel>(fresh, config, moe_spec, moe, grid, *exchanger, model->task());
    return *model;
  }

  /// Norm weights and biases away from one and zero, every parameter a function of its name.
  void shake() {
    for (const ParamInfo& p : params.infos()) {
      const Stream draw = Stream::named(77, Purpose::test, p.name);
      const auto values = params.slice(p, params.values(p.owner));
      for (std::size_t i = 0; i < values.size(); ++i) values[i] += static_cast<real>(0.3 * draw.normal(static_cast<std::uint64_t>(p.first_element()) + i));
    }
  }

  LaneLayout lanes(i64 count, i64 sequences) const {
    return {count, sequences, model->config().seq_len, grid.world().size(), grid.world().rank()};
  }
  /// This rank's part of a random batch; with `holes` every fifth target is not counted.
  static Batch batch(const LaneLayout& lanes, bool holes = false, std::uint64_t seed = 3) {
    const Stream draw(seed, Purpose::test);
    Batch b;
    for (i64 t = lanes.first_token(); t < lanes.first_token() + lanes.my_tokens(); ++t) {
      b.input.push_back(static_cast<std::int32_t>(draw.below(static_cast<std::uint64_t>(2 * t), k_tiny_vocab)));
      const auto target = static_cast<std::int32_t>(draw.below(static_cast<std::uint64_t>(2 * t + 1), k_tiny_vocab));
      b.target.push_back(holes && t % 5 == 2 ? -1 : target);
    }
    return b;
  }

  /// A random batch of which every fourth token is hidden, by the last one of the vocabulary, and to be guessed.
  static Batch masked(const LaneLayout& lanes) {
    Batch b = batch(lanes);
    for (std::size_t t = 0; t < b.input.size(); ++t) {
      const bool hidden = (lanes.first_token() + static_cast<i64>(t)) % 4 == 1;
      b.target[t] = hidden ? b.input[t] : -1;
      if (hidden) b.input[t] = k_tiny_vocab - 1;
    }
    return b;
  }

  /// Sources of different lengths and their targets, padded with `padding`: of L tokens, `prefix` see each other, the targets from the
  /// last of them to the end are counted.
  static Batch pairs(const LaneLayout& lanes, std::int32_t padding = 0) {
    const Stream draw(4, Purpose::test);
    Batch b;
    for (i64 s = lanes.my_sequences().begin; s < lanes.my_sequences().end(); ++s) {
      const auto index = static_cast<std::uint64_t>(1000 * s);
      const i64 length = s == 0 ? lanes.seq_len() : 2 + static_cast<i64>(draw.below(index, static_cast<std::uint64_t>(lanes.seq_len() - 1)));
      const i64 prefix = 1 + static_cast<i64>(draw.below(index + 1, static_cast<std::uint64_t>(length - 1)));
      b.length.push_back(length);
      b.prefix.push_back(prefix);
      for (i64 i = 0; i < lanes.seq_len(); ++i) {
        const auto token = [&](i64 at) { return static_cast<std::int32_t>(draw.below(index + 2 + static_cast<std::uint64_t>(at), k_tiny_vocab)); };
        b.input.push_back(i < length ? token(i) : padding);
        b.target.push_back(i + 1 >= prefix && i < length ? token(i + 1) : -1);
      }
    }
    return b;
  }

  comm::ProcessGrid grid;
  Spec model_spec, moe_spec;
  ParamSet params;
  std::unique_ptr<exchange::Exchanger> exchanger;
  std::unique_ptr<LanguageModel> model;
  PhaseTimes times;
};

}  // namespace pleiad::model
