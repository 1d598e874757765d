// pleiad bench gemm | layer | exchange | overlap | step: rates over roofs that are measured in the same run, by turns.
#include <iostream>
#include <optional>

#include "pleiad/app/bench_travel.hpp"
#include "pleiad/bench/cases.hpp"
#include "pleiad/bench/layer_check.hpp"
#include "pleiad/bench/step.hpp"
#include "pleiad/core/error.hpp"

namespace pleiad::app {

using bench::Record;

namespace {

const char* const k_usage =
    "usage: pleiad bench gemm    matrix products in the shapes of experts, over one large product of the same library\n"
    "       pleiad bench layer   forward and backward of an MoE layer, over one large OpenBLAS product; of single neurons, over rows read at random\n"
    "       pleiad bench exchange   tokens to the ranks of their experts and results home, over MPI_Alltoallv of the same counts;\n"
    "                           between nodes over messages of as few bytes as there can be\n"
    "       pleiad bench overlap    experts and their exchange together, over the slower of the two by itself\n"
    "       pleiad bench step    whole training steps, over one large OpenBLAS product";

/// One large product on every rank at once.
struct LargeProduct {
  LargeProduct(const comm::Communicator& world, const bench::Arithmetic& arithmetic, i64 size)
      : library(arithmetic.library), products(arithmetic, {size, size, size}, 1), rate{fmt::format("one {0} x {0} x {0} product, {1}", size, arithmetic.name()), "FLOP/s", products.flops() * static_cast<double>(world.size())} {}
  bench::Timed timed() {
    return {[this] { products.run(); }};
  }

  ops::Library library;
  bench::Products products;
  bench::Rate rate;
};

/// Large products beside the roof, timed in the same turns: those of OpenBLAS where the roof is another thing, those of the library in use where
/// that is another one.
class OtherProducts {
 public:
  OtherProducts(const comm::Communicator& world, const BenchRequest& request, bool with_openblas) {
    if (with_openblas) large_.push_back(std::make_unique<LargeProduct>(world, bench::Arithmetic{}, request.roof_size));
    if (ops::chosen_library() != ops::Library::openblas) large_.push_back(std::make_unique<LargeProduct>(world, bench::Arithmetic{ops::chosen_library()}, request.roof_size));
  }
  std::vector<bench::Timed> timed() const {
    std::vector<bench::Timed> all;
    for (const auto& large : large_) all.push_back(large->timed());
    return all;
  }
  /// The rate over each of them.
  void add_figures(Record& r) const {
    for (std::size_t i = 0; i < large_.size(); ++i) {
      const bench::Rate& rate = large_[i]->rate;
      r.figures.push_back({fmt::format("over_{}", ops::library_name(large_[i]->library)), "1", "ratio to " + rate.what, r.times.ratio_to(r.times.others[i], r.subject.work, rate.work).median});
    }
  }

 private:
  std::vector<std::unique_ptr<LargeProduct>> large_;
};

// ---- gemm ----

bench::ProductCase parse_shape(const std::string& text) {
  i64 m = 0, n = 0, k = 0;
  char rest = 0;
  const bool parsed = std::sscanf(text.c_str(), "%ldx%ldx%ld%c", &m, &n, &k, &rest) == 3;
  const i64 most = 1 << 16;
  if (!parsed || std::min({m, n, k}) < 1 || std::max({m, n, k}) > most) user_error("--shape {}: must be MxNxK with whole numbers from 1 to {}, such as 512x256x64", text, most);
  return {text, "one product", {m, n, k}};
}

int bench_gemm(const comm::Communicator& world, const BenchRequest& request, BenchResults& results) {
  std::vector<bench::ProductCase> cases = bench::chosen_cases("gemm", bench::product_cases(), request.cases);
  if (!request.shapes.empty()) cases.clear();
  for (const std::string& s : request.shapes) cases.push_back(parse_shape(s));
  for (const bench::Arithmetic& arithmetic : bench::arithmetics()) {
    LargeProduct roof(world, arithmetic, request.roof_size);
    for (const bench::ProductCase& c : cases) {
      bench::Products products(arithmetic, c.shape, 2);
      const auto letter = [](ops::Trans t) { return t == ops::Trans::yes ? "^T" : ""; };
      Record r;
      r.name = c.name;
      r.what = fmt::format("{}, A{} B{}", c.what, letter(c.shape.ta), letter(c.shape.tb));
      r.library = arithmetic.name();
      r.shape = {{"m", c.shape.m}, {"n", c.shape.n}, {"k", c.shape.k}, {"products", c.shape.count}};
      r.subject = {"2 m n k for each product", "FLOP/s", products.flops() * static_cast<double>(world.size())};
      r.roof = roof.rate;
      r.times = bench::take_turns(world, results.sampling(c.name), {[&] { products.run(); }}, roof.timed());
      r.checks = {products.check(), roof.products.check()};
      results.add(std::move(r));
    }
  }
  return results.exit_code();
}

// ---- layer and step ----

void layer_over_product(const comm::Communicator& world, const BenchRequest& request, BenchResults& results, Record& r, bench::LayerBench& layer) {
  LargeProduct roof(world, {}, request.roof_size);
  const OtherProducts others(world, request, false);
  r.times = bench::take_turns(world, results.sampling(r.name), layer.timed(), roof.timed(), others.timed());
  r.roof = roof.rate;
  r.subject = {"useful operations", "FLOP/s", layer.flops()};
  r.checks = bench::check_layer(layer);
  r.checks.push_back(roof.products.check());
  others.add_figures(r);
}

void layer_over_rows(const comm::Communicator& world, const BenchRequest& request, BenchResults& results, Record& r, bench::LayerBench& layer) {
  const i64 width = layer.model().config().width, rows_per_run = 1 << 18;
  const double bytes = static_cast<double>(request.table_mib) * (1 << 20), ranks = static_cast<double>(world.size());
  bench::RandomRows roof(bench::table_rows_for(bytes, width, std::min(rows_per_run, static_cast<i64>(bytes) / width)), width, rows_per_run, 1);
  bench::Triad triad(static_cast<i64>(bytes / 3 / sizeof(real)));
  r.times = bench::take_turns(world, results.sampling(r.name), layer.timed(), {[&] { roof.run(); }}, {{[&] { triad.run(); }}});
  r.roof = {fmt::format("rows of {} numbers read at random from {} MiB", width, request.table_mib), "byte/s", roof.bytes() * ranks};
  r.subject = {"bytes of experts' rows that must move", "byte/s", layer.row_bytes()};
  r.checks = bench::check_layer(layer);
  r.checks.insert(r.checks.end(), {roof.check(), triad.check()});
  r.figures.push_back({"triad", "byte/s", "memory in order (STREAM triad), for comparison", triad.bytes() * ranks / bench::spread_of(r.times.others.front()).median});
}

void layer_over_twin(const comm::Communicator& world, const BenchRequest& request, BenchResults& results, Record& r, bench::LayerBench& layer, const Configured& twin) {
  BenchModel other(world, twin.config);
  other.setup.params.allocate();
  bench::LayerBench reference(*other.setup.model, other.setup.params, other.setup.grid, other.run.train.lanes, other.run.train.batch, other.run.train.seed);
  const OtherProducts others(world, request, true);
  r.times = bench::take_turns(world, results.sampling(r.name), layer.timed(), reference.timed(), others.timed());
  r.roof = {twin.what, "FLOP/s", reference.flops()};
  r.subject = {"useful operations", "FLOP/s", layer.flops()};
  const bool same_weights = layer.model().moe_config().expert_widths == reference.model().moe_config().expert_widths;
  r.checks = same_weights ? bench::compare_layers(layer, reference, 2e-2) : bench::check_layer(layer);
  others.add_figures(r);
}

/// Nobody asked for products in bf16 by name: where there are none the other cases are measured.
void leave_out_bf16(std::vector<Configured>& cases, const BenchResults& results) {
  const std::string missing = ops::bf16_missing();
  const auto in_bf16 = [](const Configured& c) { return is_bf16(c.config); };
  if (!missing.empty() && std::erase_if(cases, in_bf16) > 0) results.say("left out: the cases in bf16; " + missing);
}

int bench_layer(const comm::Communicator& world, const BenchRequest& request, BenchResults& results) {
  std::vector<Configured> cases = configured(world, request, bench::layer_cases());
  if (request.cases.empty() && request.config.empty()) leave_out_bf16(cases, results);
  // A mistake in the last case must not show up after the work of all others.
  for (const Configured& c : cases) BenchModel(world, c.config).require_experts();
  for (const Configured& c : cases) {
    BenchModel model(world, c.config);
    model.setup.params.allocate();
    bench::LayerBench layer(*model.setup.model, model.setup.params, model.setup.grid, model.run.train.lanes, model.run.train.batch, model.run.train.seed);
    Record r = record_of(c, model, "forward and backward of one layer");
    if (model.setup.moe_config.bank != routing::Bank::feed_forward) {
      layer_over_rows(world, request, results, r, layer);
    } else if (const auto twin = twin_of(c)) {
      layer_over_twin(world, request, results, r, layer, *twin);
    } else {
      layer_over_product(world, request, results, r, layer);
    }
    r.shape = layer.shape();
    r.figures.push_back({"tokens_per_second", "tokens/s", "whole batch, all ranks", static_cast<double>(layer.lanes().tokens()) / r.times.subject_seconds().median});
    for (const bench::Figure& f : layer.figures(r.times.subject_seconds().samples)) r.figures.push_back(f);
    results.add(std::move(r));
  }
  return results.exit_code();
}

int bench_step(const comm::Communicator& world, const BenchRequest& request, BenchResults& results) {
  const std::vector<Configured> cases = configured(world, request, bench::step_cases());
  for (const Configured& c : cases) BenchModel(world, c.config);
  for (const Configured& c : cases) {
    BenchModel model(world, c.config);
    model.setup.params.allocate();
    TemporaryRecord record(model);
    bench::StepBench step(*model.setup.model, model.setup.params, model.setup.grid, model.run.train, record.sinks());
    LargeProduct roof(world, {}, request.roof_size);
    Record r = record_of(c, model, "training step");
    const OtherProducts others(world, request, false);
    r.checks = {step.check()};
    r.times = step.run(results.sampling(c.name), roof.timed(), others.timed());
    r.subject = {"operations of the whole model", "FLOP/s", step.flops()};
    r.roof = roof.rate;
    others.add_figures(r);
    for (const bench::Figure& f : step.figures()) r.figures.push_back(f);
    r.shape = {{"tokens", step.tokens()}, {"width", model.setup.model_config.width}, {"blocks", model.setup.model_config.layers}, {"moe_layers", static_cast<i64>(model.setup.model->moe_layers().size())}};
    r.checks.push_back(roof.products.check());
    results.add(std::move(r));
  }
  return results.exit_code();
}

/// What --list prints.
int list_cases(const comm::Communicator& world, const BenchRequest& request) {
  const auto print = [&](const auto& cases) {
    for (const auto& c : bench::chosen_cases(request.kind, cases, request.cases)) {
      if (world.root()) std::cout << fmt::format("{:<16} {}\n", c.name, c.what);
    }
  };
  if (request.kind == "gemm") print(bench::product_cases());
  if (request.kind == "layer") print(bench::layer_cases());
  if (request.kind == "exchange") print(bench::exchange_cases());
  if (request.kind == "overlap") print(bench::overlap_cases());
  if (request.kind == "step") print(bench::step_cases());
  return k_exit_ok;
}

}  // namespace

int run_bench(const comm::Communicator& world, const Arguments& arguments) {
  const std::string what = arguments.empty() ? "" : arguments[0];
  if (what == "--help" || what == "-h") {
    if (world.root()) std::cout << k_usage << "\n\n  pleiad bench layer --help     and so on: options\n";
    return k_exit_ok;
  }
  using Bench = int (*)(const comm::Communicator&, const BenchRequest&, BenchResults&);
  const std::map<std::string, Bench> benches = {{"gemm", bench_gemm}, {"layer", bench_layer}, {"exchange", bench_exchange}, {"overlap", bench_overlap}, {"step", bench_step}};
  const auto it = benches.find(what);
  if (it == benches.end()) user_error("bench {}: must be gemm, layer, exchange, overlap or step", what.empty() ? "(nothing)" : what);
  BenchRequest request;
  if (!read_bench_request(world, what, {arguments.begin() + 1, arguments.end()}, request)) return k_exit_ok;
  if (request.list) return list_cases(world, request);
  BenchResults results(world, request);
  return it->second(world, request, results);
}

}  // namespace pleiad::app
