// pleiad inspect FILE.h5...: what an HDF5 file of ours holds, in words.
#include <cmath>
#include <iostream>
#include <numeric>

#include "pleiad/app/arguments.hpp"
#include "pleiad/app/terminal.hpp"
#include "pleiad/bench/record.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/io/checkpoint_h5.hpp"
#include "pleiad/io/examples.hpp"
#include "pleiad/io/routing_record.hpp"
#include "pleiad/io/run_record.hpp"
#include "pleiad/io/simulation_record.hpp"

namespace pleiad::app {

namespace {

void print_tree(const io::H5File& file, const std::string& group, int depth) {
  for (const std::string& name : file.list(group)) {
    const std::string path = (group == "/" ? "" : group) + "/" + name;
    const std::string indent(static_cast<std::size_t>(2 * depth + 2), ' ');
    if (file.is_group(path)) {
      std::cout << indent << name << "/\n";
      print_tree(file, path, depth + 1);
      continue;
    }
    const auto word = [&](const char* attribute) { return file.has_attribute(path, attribute) ? file.attribute_in_words(path, attribute) : std::string(); };
    const std::string units = word("units"), text = word("description");
    std::cout << indent
              << fmt::format("{} [{}] {}{}{}\n", name, fmt::join(file.shape(path), " x "), file.type_name(path),
                             units.empty() || units == "1" ? "" : " in " + units, text.empty() ? "" : "  # " + text);
  }
}

/// UserError unless two columns of a table, or what else must have as many entries, have.
void require_as_many(const io::H5File& file, const char* what, std::size_t found, std::size_t needed) {
  if (found != needed) user_error("'{}' is damaged: {} has {} entries and not {}", file.path(), what, found, needed);
}

void print_run(const io::H5File& file) {
  const std::vector<i64> step = file.read<i64>("/steps/step");
  const i64 finished = file.integer("/", "finished_step");
  if (step.empty()) {
    std::cout << "  no step recorded yet\n";
    return;
  }
  const std::vector<double> loss = file.read<double>("/steps/task_loss"), seconds = file.read<double>("/steps/seconds");
  const std::vector<i64> tokens = file.read<i64>("/steps/tokens");
  require_as_many(file, "/steps/task_loss", loss.size(), step.size());
  double time = 0;
  i64 all_tokens = 0;
  for (const double s : seconds) time += std::isnan(s) ? 0 : s;
  for (const i64 t : tokens) all_tokens += std::max<i64>(t, 0);  // -1: a row that was lost
  std::cout << fmt::format("  {} steps ({}), {} tokens in {}; task loss {:.4f} at first, {:.4f} at last\n", step.size(),
                           finished < 0 ? "not finished: running or interrupted" : "ended properly", all_tokens, duration(time), loss.front(), loss.back());
  const std::vector<double> held_out = file.read<double>("/evaluation/loss");
  if (!held_out.empty()) {
    std::cout << fmt::format("  {} evaluations, the last: {:.4f} nat/token", held_out.size(), held_out.back());
    if (file.exists("/evaluation/above_floor")) {
      const std::vector<double> above = file.read<double>("/evaluation/above_floor");
      require_as_many(file, "/evaluation/above_floor", above.size(), held_out.size());
      std::cout << fmt::format(", {:.4f} above the floor", above.back());
    }
    std::cout << "\n";
  }
  if (!file.exists("/routing/expert_tokens")) return;
  const io::Shape shape = file.shape("/routing/expert_tokens");
  const std::vector<i64> block = file.read<i64>("/layers/block");
  if (shape.size() != 3 || shape[0] == 0 || shape != file.shape("/routing/expert_flops")) user_error("'{}' is damaged: /routing has no steps of layers of experts", file.path());
  require_as_many(file, "/layers/block", block.size(), static_cast<std::size_t>(shape[1]));
  std::vector<i64> load(static_cast<std::size_t>(shape[1] * shape[2]));
  file.read_rows<i64>("/routing/expert_tokens", {{shape[0] - 1, 1}}, load);
  std::vector<double> flops(load.size());
  file.read_rows<double>("/routing/expert_flops", {{shape[0] - 1, 1}}, flops);
  for (i64 l = 0; l < shape[1]; ++l) {
    const std::span<const i64> mine(load.data() + l * shape[2], static_cast<std::size_t>(std::min<i64>(shape[2], 16)));
    std::cout << fmt::format("  tokens per expert of block {} in the last step: {}{}\n", block[l], fmt::join(mine, " "), shape[2] > 16 ? " ..." : "");
    const std::span<const double> work(flops.data() + l * shape[2], static_cast<std::size_t>(shape[2]));
    const double all = std::max(1.0, std::accumulate(work.begin(), work.end(), 0.0));
    std::vector<std::string> shares;
    for (std::size_t e = 0; e < mine.size(); ++e) shares.push_back(fmt::format("{:.1f}", 100 * work[e] / all));
    std::cout << fmt::format("  their share of the flops in %: {}{}\n", fmt::join(shares, " "), shape[2] > 16 ? " ..." : "");
  }
}

void print_routing(const io::H5File& file) {
  const std::vector<i64> step = file.read<i64>("/step");
  std::cout << fmt::format("  routing of {} steps{} of {} sequences of {} tokens, {} experts, router {}\n", step.size(),
                           step.empty() ? "" : fmt::format(" from {} to {}", step.front(), step.back()), file.integer("/", "sequences"), file.integer("/", "seq_len"),
                           file.integer("/", "experts"), file.text("/", "router"));
  for (const std::string& block : file.list("/layers")) {
    const std::vector<std::uint8_t> kept = file.read<std::uint8_t>("/layers/" + block + "/kept");
    std::cout << fmt::format("  block {}: {} entries, {} of them kept\n", block, kept.size(), std::accumulate(kept.begin(), kept.end(), i64{0}));
  }
}

void print_bench(const io::H5File& file) {
  const auto texts = [&](const char* name) { return file.read_texts(std::string("/cases/") + name); };
  const auto numbers = [&](const char* name) { return file.read<double>(std::string("/cases/") + name); };
  const auto kind = texts("bench"), name = texts("name"), library = texts("library"), unit = texts("value_unit"), roof_is = texts("roof_is"), roof_unit = texts("roof_unit");
  const auto value = numbers("value"), roof = numbers("roof_value"), ratio = numbers("ratio");
  const auto passed = file.read<std::uint8_t>("/cases/passed");
  for (const auto& texts_of : {kind, library, unit, roof_is, roof_unit}) require_as_many(file, "a text of /cases", texts_of.size(), name.size());
  for (const auto& numbers_of : {value, roof, ratio}) require_as_many(file, "a number of /cases", numbers_of.size(), name.size());
  require_as_many(file, "/cases/passed", passed.size(), name.size());
  for (std::size_t i = 0; i < name.size(); ++i) {
    std::cout << fmt::format("  {} {}, {}: {} of {} ({}), ratio {:.3f}, checks {}\n", kind[i], name[i], library[i], bench::rate_in_words(value[i], unit[i]),
                             bench::rate_in_words(roof[i], roof_unit[i]), roof_is[i], ratio[i], passed[i] ? "ok" : "FAILED");
  }
}

void print_simulation(const io::H5File& file) {
  const std::vector<i64> ranks = file.read<i64>("/predictions/ranks"), nodes = file.read<i64>("/predictions/nodes");
  const std::vector<double> seconds = file.read<double>("/predictions/seconds"), efficiency = file.read<double>("/predictions/efficiency");
  require_as_many(file, "/predictions/nodes", nodes.size(), ranks.size());
  require_as_many(file, "/predictions/seconds", seconds.size(), ranks.size());
  require_as_many(file, "/predictions/efficiency", efficiency.size(), ranks.size());
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    std::cout << fmt::format("  {} ranks on {} nodes: {:.3f} ms a step, efficiency {:.3f}\n", ranks[i], nodes[i], 1e3 * seconds[i], efficiency[i]);
  }
}

}  // namespace

int run_inspect(const comm::Communicator& world, const Arguments& arguments) {
  namespace options = boost::program_options;
  options::options_description description("options");
  description.add_options()("file", options::value<std::vector<std::string>>(), "HDF5 files, also without --file");
  Values values;
  if (!parse_arguments(world, arguments, "usage: pleiad inspect FILE.h5...\nDescribes run records, checkpoints, corpora, benchmarks, predictions and verification files.", description, "file", values)) return k_exit_ok;
  const auto files = value_or<std::vector<std::string>>(values, "file", {});
  if (files.empty()) user_error("inspect: no file given; usage: pleiad inspect FILE.h5...");
  for (const std::string& path : files) {
    const io::H5File file = io::H5File::open(path);
    const std::string format = file.has_attribute("/", "format") ? file.attribute_in_words("/", "format") : "none";
    std::cout << fmt::format("{}: format {}\n", path, format);
    if (format == io::k_corpus_format) {
      for (const std::string& line : io::Corpus::load(path).describe()) std::cout << "  " << line << "\n";
    }
    if (format == io::k_examples_format) {
      for (const std::string& line : io::Examples::load(path).describe()) std::cout << "  " << line << "\n";
    }
    if (format == io::k_checkpoint_format) {
      io::verify_checkpoint(comm::Communicator::alone(), path);
      std::cout << fmt::format("  step {}; whole: every checksum agrees, parts included\n", file.integer("/", "step"));
    }
    if (format == io::k_run_format) print_run(file);
    if (format == io::k_routing_format) print_routing(file);
    if (format == bench::k_bench_format) print_bench(file);
    if (format == io::k_simulation_format) print_simulation(file);
    // Of a checkpoint the parts were verified, too; files of others may hold what we do not read.
    if (format == io::k_run_format || format == io::k_routing_format) file.read_through();
    else if (format != io::k_checkpoint_format && file.has_attribute("/", "checksum")) file.verify();
    std::cout << " attributes\n";
    for (const std::string& name : file.attributes("/")) {
      std::string value = file.attribute_in_words("/", name);
      if (value.size() > 160) value = value.substr(0, 160) + " ...";
      std::cout << fmt::format("  {} = {}\n", name, value);
    }
    std::cout << " datasets\n";
    print_tree(file, "/", 0);
  }
  return k_exit_ok;
}

}  // namespace pleiad::app
