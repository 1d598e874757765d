#include "h5_readers.hpp"

#include <hdf5.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <sstream>

#include "fuzz.hpp"
#include "pleiad/app/commands.hpp"
#include "pleiad/io/checkpoint_h5.hpp"
#include "pleiad/io/corpus.hpp"
#include "pleiad/io/examples.hpp"
#include "pleiad/io/golden.hpp"
#include "pleiad/io/recorded_routing.hpp"
#include "pleiad/io/run_summary.hpp"
#include "pleiad/report/collection.hpp"
#include "pleiad/report/series.hpp"
#include "pleiad/train/optimizer.hpp"

namespace pleiad::fuzz {

namespace {

using io::H5File;

void read_corpus(const std::string& path) {
  const io::Corpus corpus = io::Corpus::load(path);
  corpus.describe();
  const io::CorpusBatches batches = corpus.batches(4, 1);
  std::vector<std::int32_t> window(5);
  for (i64 step = 0; step < 8; ++step) corpus.read_window(io::Split::train, batches.train_start(step, step), window);
  for (i64 w = 0; w < batches.eval_windows(); ++w) corpus.read_window(io::Split::validation, batches.eval_start(w), window);
  corpus.tokenizer().decode(window);
}

void read_examples(const std::string& path) {
  const io::Examples examples = io::Examples::load(path);
  examples.describe();
  for (const io::Split split : {io::Split::train, io::Split::validation, io::Split::test}) {
    for (i64 i = 0; i < examples.count(split); ++i) {
      examples.tokenizer().decode(examples.input(split, i));
      if (examples.labels().empty()) examples.target(split, i);
      else static_cast<void>(examples.labels().at(static_cast<std::size_t>(examples.label(split, i))));
    }
  }
}

/// Parameters as a good verification file has them.
ParamSet golden_parameters(const H5File& good, const std::vector<std::string>& names) {
  ParamSet params;
  for (const std::string& name : names) params.add({.name = name, .shape = good.shape("/params/" + name), .init = Init::zeros()});
  params.allocate();
  return params;
}

void read_golden(const std::string& path, const std::string& good_path) {
  const io::GoldenFile golden(alone(), path);
  golden.moe_section(golden.is_layer() ? "" : "moe_");
  golden.integers("moe_layers");
  const io::GoldenFile good(alone(), good_path);
  io::GoldenResults results;
  for (const char* group : {"/output", "/routing", "/losses"}) {
    for (const std::string& name : good.names_below(group)) {
      const std::string dataset = std::string(group) + "/" + name;
      results[dataset.substr(1)] = {good.file().shape(dataset), good.file().read<double>(dataset), false};
    }
  }
  attempt([&] { compare(golden, results); });
  attempt([&] { not_compared(golden, results); });
  attempt([&] { golden.write_results(scratch() + "/results.h5", results); });
  ParamSet params = golden_parameters(good.file(), good.names_below("/params"));
  golden.load_parameters(alone(), params);
}

/// Parameters as a good checkpoint has them: what is packed has experts of the lengths it says, or is rows.
void add_parameters(const H5File& good, const std::string& group, ParamSet& params) {
  for (const std::string& child : good.list("/params" + group)) {
    const std::string name = (group + "/" + child).substr(1);
    if (good.is_group("/params/" + name)) {
      add_parameters(good, "/" + name, params);
    } else if (!good.exists("/expert_offset/" + name)) {
      params.add({.name = name, .shape = good.shape("/params/" + name), .init = Init::zeros()});
    } else {
      const std::vector<i64> offset = good.read<i64>("/expert_offset/" + name);
      if (good.exists("/adam/rows/" + name)) {
        const i64 rows = static_cast<i64>(offset.size()) - 1;
        params.add({.name = name, .shape = {rows, offset[1]}, .owner = Owner::expert, .init = Init::zeros(), .own_rows = rows, .family = name});
        continue;
      }
      for (std::size_t e = 0; e + 1 < offset.size(); ++e) {
        params.add({.name = fmt::format("{}/{}", name, e), .shape = {offset[e + 1] - offset[e]}, .owner = Owner::expert, .init = Init::zeros(), .expert = static_cast<i64>(e), .slot = static_cast<i64>(e), .family = name});
      }
    }
  }
}

void read_checkpoint(const std::string& path, const std::string& good_path) {
  io::read_checkpoint_info(alone(), path);
  const comm::ProcessGrid grid(alone().split(0, 0), 1);
  ParamSet params;
  add_parameters(H5File::open(good_path), "", params);
  params.allocate();
  train::Adam adam(train::AdamConfig{}, params);
  io::load_checkpoint(grid, path, params, &adam);
}

/// All of it, and what fits into little room; what is read must hold together, since predictions index with it.
void read_routing(const std::string& path) {
  for (const i64 most : {i64{1}, i64{1} << 20}) {
    const sim::Recording r = io::read_recorded_routing(path, most);
    bool sound = r.sequences > 0 && r.seq_len > 0 && r.experts > 0 && !r.layers.empty();
    for (const auto& layer : r.layers) {
      sound = sound && static_cast<i64>(layer.offset.size()) == r.sequences * r.seq_len + 1 && layer.offset.back() == static_cast<i64>(layer.expert.size()) && std::ranges::is_sorted(layer.offset);
      for (const std::int32_t e : layer.expert) sound = sound && e >= 0 && e < r.experts;
    }
    PLEIAD_CHECK(sound, "a recording of {} sequences that does not hold together", r.sequences);
  }
}

void read_run(const std::string& path) {
  report::read_run(path);
  const report::RunCurves curves = report::read_curves(path);
  curves.done(report::Axis::tokens, 2);
  report::collect({path});
  const H5File file = io::open_run(path);
  for (const char* dataset : {"/routing/expert_tokens", "/steps/task_loss"}) report::read_binned(file, dataset, 4);
}

/// pleiad inspect, which looks at everything.
void inspect(const std::string& path) {
  std::ostringstream out;
  std::streambuf* const before = std::cout.rdbuf(out.rdbuf());
  try {
    attempt([&] { app::run_inspect(alone(), {path}); });
  } catch (...) {
    std::cout.rdbuf(before);
    throw;
  }
  std::cout.rdbuf(before);
}

/// A parallel file that an error left open stays so: its destructor must not communicate. Here nobody else takes part.
void close_all() {
  std::vector<hid_t> open(static_cast<std::size_t>(std::max<ssize_t>(0, H5Fget_obj_count(H5F_OBJ_ALL, H5F_OBJ_FILE))));
  H5Fget_obj_ids(H5F_OBJ_ALL, H5F_OBJ_FILE, open.size(), open.data());
  for (const hid_t file : open) H5Fclose(file);
}

}  // namespace

void read_in_every_way(const std::string& path, const std::string& good) {
  attempt([&] { read_corpus(path); });
  attempt([&] { read_examples(path); });
  attempt([&] { read_golden(path, good); });
  attempt([&] { read_checkpoint(path, good); });
  attempt([&] { read_run(path); });
  attempt([&] { read_routing(path); });
  attempt([&] { H5File::open(path).verify(); });
  inspect(path);
  close_all();
}

std::string template_path(const std::string& name) { return std::string(PLEIAD_SOURCE_DIR) + "/tests/fuzz/templates/" + name + ".h5"; }

}  // namespace pleiad::fuzz
