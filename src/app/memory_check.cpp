#include "pleiad/app/memory_check.hpp"

#include <algorithm>
#include <iostream>
#include <map>
#include <new>
#include <numeric>

#include "pleiad/comm/collectives.hpp"
#include "pleiad/core/host.hpp"
#include "pleiad/train/trial.hpp"

namespace pleiad::app {

namespace {

// What nobody has used yet when trials are over, as found in models that are next to nothing (tests/cli/memory.py): MPI-IO and parallel HDF5; the records of a run.
constexpr i64 k_first_use = i64{5} << 19, k_records = i64{4} << 20;

/// What the ranks of this node need together. collective over the node.
NodeNeed need_of_node(const comm::Communicator& node, const MemoryForecast& mine, i64 shared_now) {
  NodeNeed n;
  const ProcessMemory now = process_memory();
  const i64 more = std::max<i64>(mine.total() - now.resident, 0);
  n.host = host_name();
  n.ranks = node.size();
  n.predicted = comm::sum_over<i64>(node, mine.total());
  n.more = comm::sum_over<i64>(node, more);
  n.room = machine_room();
  n.rank_more = more;
  n.rank_room = process_room();
  // Memory in common: all ranks of the node have the same pages.
  n.shared_more = comm::max_over<i64>(node, std::max<i64>(mine.exchange - shared_now, 0));
  n.shared_room = shared_room();
  for (const auto& [name, bytes] : mine.parts()) {
    const i64 all = comm::sum_over<i64>(node, bytes);
    if (all > n.largest_bytes) n.largest = name, n.largest_bytes = all;
  }
  return n;
}

/// The same sentence on every rank: that of the lowest one that has any. collective.
std::string first_problem(const comm::Communicator& world, const std::string& mine) {
  std::vector<i64> counts;
  const std::vector<char> all = comm::all_gather_v<char>(world, std::span<const char>(mine.data(), mine.size()), &counts);
  i64 begin = 0;
  for (const i64 count : counts) {
    if (count > 0) return std::string(all.begin() + begin, all.begin() + begin + count);
    begin += count;
  }
  return "";
}

std::string problem_of(const comm::Communicator& world, const MemoryForecast& mine) {
  return first_problem(world, refusal(need_of_node(world.node(), mine, process_memory().shared)));
}

void refuse(const ModelSetup& setup, const std::string& problem) {
  if (problem.empty()) return;
  if (setup.parallel.memory_check == "refuse") throw UserError(problem);
  if (setup.grid.world().root()) std::cerr << "pleiad: note: " << problem << std::endl;
}

i64 my_lanes(const ModelSetup& setup, const train::TrainConfig& config) {
  const comm::Communicator& world = setup.grid.world();
  return LaneLayout(config.lanes, config.batch, setup.model_config.seq_len, world.size(), world.rank()).my_lanes().count;
}

MemoryForecast of_parameters(const ModelSetup& setup, const train::TrainConfig& config) {
  MemoryForecast m = parameter_memory(setup.params, my_lanes(setup, config));
  m.program = process_memory().resident;
  return m;
}

/// Selections of this rank's rows in the steps to come.
double draws(const TrainJob& job, i64 steps) {
  const train::TrainConfig& config = job.options.train;
  for (const ParamInfo& p : job.setup.params.infos()) {
    if (!p.row_block()) continue;
    const model::MoeLayer& layer = *job.setup.model->first_moe();
    const double tokens = static_cast<double>(config.batch * job.setup.model_config.seq_len), share = static_cast<double>(p.rows) / static_cast<double>(p.shape[0]);
    return tokens * static_cast<double>(steps) * layer.most_per_token() * share;
  }
  return 0;
}

/// Sequences of a larger trial after one of a sequence per lane that took so long: the batch, or half of it, where that is a matter of seconds.
i64 worth_trying(const train::TrainConfig& config, double seconds_of_first) {
  constexpr double k_patience = 5;
  for (const i64 sequences : {config.batch, config.batch / 2}) {
    if (seconds_of_first * static_cast<double>(sequences) < k_patience * static_cast<double>(config.lanes)) return std::max(sequences, 2 * config.lanes);
  }
  return 2 * config.lanes;
}

/// Trials of one sequence per lane and of more, extended to the batch; of the batch itself where it has no more than two per lane.
train::TrialMemory try_batch(TrainJob& job, train::TrainState& state) {
  const train::TrainConfig& config = job.options.train;
  const ModelSetup& setup = job.setup;
  const i64 batch = config.batch, windows = config.eval_windows > 0 ? std::min(config.eval_windows, job.source->evaluation_windows()) : job.source->evaluation_windows();
  const auto attempt = [&](i64 sequences) { return train::try_step(config, *setup.model, state, *job.source, setup.grid, sequences, windows); };
  const auto before = [&](const train::TrialMemory& known, i64 sequences) {  // a trial must not be what breaks the limit
    MemoryForecast m;
    m.program = known.before;
    m.activations = (known.whole - known.before) * sequences / known.sequences;
    m.tried = true;
    refuse(setup, problem_of(setup.grid.world(), m));
  };
  if (batch <= 2 * config.lanes) return attempt(batch);
  // The first of all pays for what is made once, which must not be counted once for each sequence.
  const double warming = attempt(config.lanes).seconds;
  const train::TrialMemory one = attempt(config.lanes);
  const i64 more = worth_trying(config, comm::max_over<double>(setup.grid.world(), one.seconds));
  before(one, more);
  const train::TrialMemory two = attempt(more);
  train::TrialMemory all = train::extended(one, two, batch);
  all.seconds = warming + one.seconds + two.seconds;
  // An evaluation has at most as many sequences at once as there are windows: that part does not grow with the batch any more.
  const i64 tried = std::min(windows, two.sequences), at_once = std::min(windows, batch);
  if (tried > 0 && at_once < batch) all.whole = all.step + (two.whole - two.step) / tried * at_once;
  return all;
}

/// The rank that writes for the others of a file (Open MPI: from three ranks on) collects up to 32 MiB of what they save. collective.
i64 saving_memory(const TrainJob& job) {
  constexpr i64 k_collected = i64{32} << 20;
  const comm::Communicator& world = job.setup.grid.world();
  const comm::Communicator file = job.options.files == io::CheckpointFiles::per_node ? world.node() : world.split(0, world.rank());
  std::map<std::string, i64> families;
  for (const ParamInfo& p : job.setup.params.infos()) {
    if (p.owner == Owner::expert) families[p.family.empty() ? p.name : p.family] += p.size() * static_cast<i64>(sizeof(real));
  }
  i64 largest = 0;
  for (const auto& [name, bytes] : families) largest = std::max(largest, bytes);
  return file.size() > 2 && file.rank() == 0 ? std::min(k_collected, largest * file.size()) : 0;
}

/// Predicts job.memory; what is wrong with it.
std::string forecast(TrainJob& job, train::TrainState& state) {
  const train::TrainConfig& config = job.options.train;
  const ModelSetup& setup = job.setup;
  const i64 earlier = peak_of_all();  // of loading a checkpoint, for example
  MemoryForecast m = parameter_memory(setup.params, my_lanes(setup, config));
  train::TrialMemory trial;
  try {
    state.params.allocate_grads(my_lanes(setup, config));
    trial = try_batch(job, state);
  } catch (const std::bad_alloc&) {
    user_error("{}: out of memory in a trial step of {} sequences, with {} resident: use fewer train.batch_sequences, a smaller model, or more ranks on more nodes", host_name(),
               std::min(config.batch, 2 * config.lanes), gibibytes(process_memory().resident));
  }
  state.params.zero_grads();
  return_freed_memory();
  const i64 fixed = m.weights + m.gradients + m.moments;
  m.tried = true;
  m.program = std::max<i64>(trial.before - fixed, 0) + k_first_use + (setup.grid.world().root() ? k_records : 0) + saving_memory(job);
  m.exchange = trial.shared;
  m.activations = std::max<i64>(trial.whole - trial.before - trial.shared, 0);
  m.moments += row_moment_memory(setup.params, draws(job, config.steps - state.step));
  // While a checkpoint is packed, what backward took beyond its trace is free again.
  m.checkpoint = std::max<i64>(trial.before + trial.kept + packing_memory(setup.params) - trial.whole, 0);
  m.checkpoint = std::max(m.checkpoint, earlier - m.total());
  job.memory = m;
  job.memory_seconds = trial.seconds;
  return problem_of(setup.grid.world(), m);
}

}  // namespace

void require_room_for_parameters(const ModelSetup& setup, const train::TrainConfig& config) {
  if (setup.parallel.memory_check != "none") refuse(setup, problem_of(setup.grid.world(), of_parameters(setup, config)));
}

void predict_memory(TrainJob& job, train::TrainState& state) {
  if (job.setup.parallel.memory_check != "none") refuse(job.setup, forecast(job, state));
}

io::MemoryRecord memory_record(const comm::Communicator& world, const MemoryForecast& mine) {
  const std::vector<i64> all = comm::all_gather<i64>(world, std::vector<i64>{mine.total(), peak_of_all()});
  io::MemoryRecord r;
  for (std::size_t at = 0; at < all.size(); at += 2) r.predicted.push_back(all[at]), r.peak.push_back(all[at + 1]);
  return r;
}

std::string forecast_in_words(const io::MemoryRecord& all, double seconds) {
  const i64 sum = std::accumulate(all.predicted.begin(), all.predicted.end(), i64{0});
  return fmt::format("memory: {} predicted for the fullest rank, {} for all (trial steps took {:.2f} s)", gibibytes(std::ranges::max(all.predicted)), gibibytes(sum), seconds);
}

std::string outcome_in_words(const io::MemoryRecord& all) {
  const i64 predicted = std::accumulate(all.predicted.begin(), all.predicted.end(), i64{0});
  if (predicted == 0) return fmt::format("memory: {:.2f} GiB at the peak, all ranks together", static_cast<double>(all.peak_of_all_ranks()) / static_cast<double>(i64{1} << 30));
  return fmt::format("memory: {:.2f} GiB at the peak, all ranks together ({:.2f} predicted); fullest rank {} ({} predicted)",
                     static_cast<double>(all.peak_of_all_ranks()) / static_cast<double>(i64{1} << 30), static_cast<double>(predicted) / static_cast<double>(i64{1} << 30),
                     gibibytes(std::ranges::max(all.peak)), gibibytes(std::ranges::max(all.predicted)));
}

namespace {

void print_memory(const comm::Communicator& world, const MemoryForecast& mine) {
  std::vector<i64> row;
  for (const auto& [name, bytes] : mine.parts()) row.push_back(bytes);
  row.insert(row.end(), {mine.total(), machine_room().bytes});
  const std::vector<i64> all = comm::all_gather<i64>(world, row);
  if (!world.root()) return;
  std::string head = fmt::format("{:>6}", "rank");
  for (const auto& [name, bytes] : mine.parts()) head += fmt::format("{:>12}", name);
  std::cout << fmt::format("memory per rank in MiB{}:\n{}{:>12}{:>20}\n", mine.tried ? ", predicted by trial steps" : ", without activations", head, "total", "available on node");
  const i64 most = 64;
  for (std::size_t at = 0, rank = 0; at < all.size() && static_cast<i64>(rank) < most; at += row.size(), ++rank) {
    std::cout << fmt::format("{:>6}", rank);
    for (std::size_t i = 0; i + 1 < row.size(); ++i) std::cout << fmt::format("{:>12.1f}", static_cast<double>(all[at + i]) / (1 << 20));
    std::cout << fmt::format("{:>20.1f}\n", static_cast<double>(all[at + row.size() - 1]) / (1 << 20));
  }
}

}  // namespace

void show_memory(TrainJob& job) {
  const train::TrainConfig& config = job.options.train;
  const comm::Communicator& world = job.setup.grid.world();
  const MemoryForecast known = of_parameters(job.setup, config);
  std::string problem = problem_of(world, known);
  if (problem.empty()) {
    if (job.setup.params.size(Owner::replicated) == 0) job.setup.params.allocate();
    train::Adam adam(config.adam, job.setup.params);
    train::TrainState state{job.setup.params, adam, 0};
    set_start(job, state);
    problem = forecast(job, state);
  } else {
    job.memory = known;
  }
  print_memory(world, job.memory);
  if (!problem.empty() && world.root()) std::cout << "this would be refused: " << problem << std::endl;
}

}  // namespace pleiad::app
