#include "pleiad/app/bench_model.hpp"

#include "pleiad/app/run_facts.hpp"
#include "pleiad/comm/agree.hpp"

namespace pleiad::app {

namespace {

DataShape made_up_data(const Config& config) {
  Config copy = config;  // who asks for a key here must not count as the one who needs it
  return {copy.section("model").integer("vocab", 256, 2, i64{1} << 30, "")};
}

}  // namespace

Config configuration(Config config, const std::vector<std::string>& settings) {
  config.set_all(settings);
  return config;
}

bool is_bf16(const Config& config) {
  const std::map<std::string, std::string> given = config.given();
  const auto it = given.find("moe.products");
  return it != given.end() && it->second == "bf16";
}

std::optional<Configured> twin_of(const Configured& c) {
  Configured twin = c;
  Spec& moe = twin.config.section("moe");
  if (is_bf16(c.config)) {
    moe.set("products", "f32");
    twin.what = "the same layer in single precision";
  } else if (moe.has("width_distribution") && moe.given().at("width_distribution") != "homogeneous") {
    moe.set("width_distribution", "homogeneous");
    moe.erase("width_ratio");
    twin.what = "the layer of equal widths and the same total width";
  } else {
    return std::nullopt;
  }
  return twin;
}

BenchModel::BenchModel(const comm::Communicator& world, const Config& given)
    : config(given), setup(world, config, made_up_data(given)), run(RunOptions::read(config)) {
  config.finish();
}

void BenchModel::require_experts() const {
  if (setup.moe_config.layers.empty()) user_error("moe.layers = none: bench layer needs a block that carries experts");
}

i64 BenchModel::threads() const { return std::stoll(config.values().at("parallel.blas_threads")); }

TemporaryRecord::TemporaryRecord(const BenchModel& model) {
  const comm::Communicator& world = model.setup.grid.world();
  const io::RunDescription run = describe_setup(model.setup, model.config, model::Task::lm);
  comm::agree_on_root(world, [&] {
    folder_.emplace();
    record_.emplace(folder_->file("run.h5"), run, [](std::span<const std::int32_t>) { return std::string(); });
  });
}

std::vector<train::MetricSink*> TemporaryRecord::sinks() {
  if (!record_) return {};
  return {&*record_};
}

}  // namespace pleiad::app
