#include "pleiad/app/bench_request.hpp"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iostream>

#include "pleiad/app/arguments.hpp"
#include "pleiad/app/run_facts.hpp"
#include "pleiad/app/terminal.hpp"
#include "pleiad/comm/agree.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/core/error.hpp"

namespace pleiad::app {

namespace options = boost::program_options;
using bench::Record;

namespace {

i64 whole(const Values& values, const char* name, i64 low, i64 high) {
  const i64 value = values[name].as<i64>();
  if (value < low || value > high) user_error("--{} {}: must be from {} to {}", name, value, low, high);
  return value;
}

}  // namespace

bool read_bench_request(const comm::Communicator& world, const std::string& kind, const Arguments& arguments, BenchRequest& r) {
  using Texts = std::vector<std::string>;
  options::options_description description("options");
  const bool products = kind == "gemm";
  description.add_options()("case", options::value<Texts>()->composing(), "a standard case, several times for several; all of them if not given")(
      "list", options::bool_switch(), "only print the standard cases")("repeats", options::value<i64>()->default_value(9), "samples of a case")(
      "warmup", options::value<i64>()->default_value(2), "turns before the samples that are not counted")(
      "seconds", options::value<double>()->default_value(30, "30"), "no further sample of a case is begun after so long, once there are three")(
      "roof-size", options::value<i64>()->default_value(2048), "rows and columns of the large product")(
      "json", options::value<std::string>(), "also write a line of JSON for each case to this file")(
      "out", options::value<std::string>(), "also write the results to this HDF5 file");
  if (products) {
    description.add_options()("shape", options::value<Texts>()->composing(), "MxNxK: a product of that shape, in place of the standard cases");
  } else {
    description.add_options()("config", options::value<std::string>(), "a configuration of training, in place of the standard cases")(
        "set", options::value<Texts>()->composing(), "section.key=value, overrides the configuration or the cases");
  }
  if (kind == "layer") description.add_options()("table-mib", options::value<i64>()->default_value(1024), "table from which rows are read at random");
  if (kind == "exchange") description.add_options()("bandwidth", options::value<double>()->default_value(0, "0"), "what the network of a node is said to carry, megabits per second each way");
  Values values;
  if (!parse_arguments(world, arguments, fmt::format("usage: pleiad bench {} [--case NAME]... [--json FILE] [--out F.h5]", kind), description, "", values)) return false;
  r.kind = kind;
  r.cases = value_or<Texts>(values, "case", {});
  r.settings = value_or<Texts>(values, "set", {});
  r.shapes = value_or<Texts>(values, "shape", {});
  r.config = value_or<std::string>(values, "config", "");
  r.json = value_or<std::string>(values, "json", "");
  r.out = value_or<std::string>(values, "out", "");
  r.list = values["list"].as<bool>();
  r.sampling.repeats = whole(values, "repeats", 1, 100000);
  r.sampling.warmup = whole(values, "warmup", 0, 100000);
  r.sampling.seconds = values["seconds"].as<double>();
  if (!(r.sampling.seconds >= 0)) user_error("--seconds {}: must be at least 0", r.sampling.seconds);
  r.roof_size = whole(values, "roof-size", 1, 1 << 15);
  r.table_mib = kind == "layer" ? whole(values, "table-mib", 1, 1 << 20) : 0;
  if (kind == "exchange") r.bandwidth = values["bandwidth"].as<double>();
  if (!(r.bandwidth >= 0)) user_error("--bandwidth {}: must be at least 0", r.bandwidth);
  for (const char* instead : {"config", "shape"}) {
    if (values.count(instead) && !r.cases.empty()) user_error("--case {}: does not go with --{}, which is measured in place of the standard cases", r.cases.front(), instead);
  }
  if (!r.json.empty() && r.json == r.out) user_error("--out {}: is the file of --json too; give each its own", r.out);
  if (!r.json.empty()) require_new_file(world, "--json", r.json);
  if (!r.out.empty()) require_new_file(world, "--out", r.out);
  return true;
}

std::vector<Configured> configured(const comm::Communicator& world, const BenchRequest& request, std::vector<bench::ModelCase> standard) {
  if (!request.config.empty()) return {{"config", request.config, configuration(Config::load(world, request.config), request.settings)}};
  for (const std::string& setting : request.settings) {
    if (setting.starts_with("moe.preset=")) user_error("--set {}: a standard case says itself what its layer is, key by key; presets are for --config F.ini", setting);
  }
  std::vector<Configured> all;
  for (const bench::ModelCase& c : bench::chosen_cases(request.kind, std::move(standard), request.cases)) {
    const std::string changed = request.settings.empty() ? "" : fmt::format(" (changed: {})", fmt::join(request.settings, ", "));
    all.push_back({c.name, c.what + changed, configuration(configuration({}, c.settings), request.settings)});
  }
  return all;
}

Record record_of(const Configured& c, const BenchModel& model, const std::string& what) {
  Record r;
  r.name = c.name;
  r.what = fmt::format("{}, {}", what, c.what);
  if (model.setup.parallel.placement.when != train::PlacementConfig::When::never) r.what += "; experts do not move here, whatever parallel.rebalance says";
  r.library = ops::library_name(ops::chosen_library());
  if (is_bf16(c.config) && ops::chosen_library() != ops::Library::onednn) r.library += ", bf16 by onednn";
  if (model.setup.grid.expert_group().size() > 1) r.exchange = model.setup.exchange_choice.in_words();
  r.threads = model.threads();
  r.seed = static_cast<i64>(model.run.train.seed);
  r.config = model.config.resolved();
  return r;
}

BenchResults::BenchResults(const comm::Communicator& world, const BenchRequest& request)
    : world_(world), request_(request), facts_(environment_facts(world)), shows_progress_(world.root() && person_watches()) {}

bench::Sampling BenchResults::sampling(const std::string& name) const {
  bench::Sampling s = request_.sampling;
  if (shows_progress_) s.progress = [this, name](i64 sample, i64 samples) { std::cout << fmt::format("\r\033[K{} {}: sample {} of {}", request_.kind, name, sample + 1, samples) << std::flush; };
  return s;
}

void BenchResults::say(const std::string& line) const {
  if (world_.root()) std::cout << (shows_progress_ ? "\r\033[K" : "") << line << std::endl;
}

void BenchResults::add(Record record) {
  record.bench = request_.kind;
  record.ranks = world_.size();
  if (records_.empty()) {
    say(fmt::format("products: {}", ops::products_description()));
    for (const std::string& remark : {ops::openblas_remark(), ops::threads_remark()}) {
      if (!remark.empty()) say("note: " + remark);
    }
  }
  say(bench::in_words(record));
  records_.push_back(std::move(record));
  comm::agree_on(world_, [&] {
    if (world_.root()) write();
  });
}

int BenchResults::exit_code() const {
  const i64 failed = std::ranges::count_if(records_, [](const Record& r) { return !r.passed(); });
  const i64 all = comm::max_over<i64>(world_, world_.root() ? failed : 0);
  if (all > 0) say(fmt::format("{} of {} cases did not pass their checks", all, records_.size()));
  return all > 0 ? k_exit_mismatch : k_exit_ok;
}

void BenchResults::write() {
  if (!request_.json.empty()) {
    std::ofstream file(request_.json, std::ios::app);
    file << bench::to_json(records_.back(), facts_) << "\n";
    if (!file.flush()) user_error("--json {}: cannot be written ({})", request_.json, std::strerror(errno));
  }
  if (!request_.out.empty()) bench::write_h5(request_.out, records_, facts_);
}

}  // namespace pleiad::app
