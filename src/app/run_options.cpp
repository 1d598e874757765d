#include "pleiad/app/run_options.hpp"

namespace pleiad::app {

RunOptions RunOptions::read(Config& config) {
  RunOptions o;
  Spec& data = config.section("data");
  o.corpus = data.text("corpus", "", "data file made by 'pleiad data': a corpus, labelled texts or pairs, which decides the task");
  o.prompt = data.text("prompt", "", "start of the text samples; the start of the held-out part if empty");
  o.train = train::TrainConfig::read(config.section("train"), config.section("checkpoint"));
  o.train.read_metrics(config.section("metrics"));
  Spec& checkpoint = config.section("checkpoint");
  o.keep = checkpoint.integer("keep", 3, 0, i64{1} << 30, "newest checkpoints to keep; 0: all");
  const std::string files = checkpoint.choice("files", "one", {"one", "per_node"}, "one file that all ranks write together, or for file systems where that is slow one of each node and one that names these");
  o.files = files == "one" ? io::CheckpointFiles::one : io::CheckpointFiles::per_node;
  o.time = TimeBudgetConfig::read(checkpoint);
  return o;
}

}  // namespace pleiad::app
