#include "pleiad/io/checkpoint_h5.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <numeric>
#include <set>
#include <sstream>

#include "pleiad/comm/agree.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/io/identity.hpp"

namespace pleiad::io {

namespace {

namespace fs = std::filesystem;

/// Experts of one kind of parameter, packed in order of their global number: expert e owns elements offset[e] .. offset[e+1]-1.
struct Family {
  std::vector<i64> offset{0};
  std::vector<ParamInfo> mine;  // of this rank, ascending
};

/// A million rows are one parameter of a rank; other experts have parameters of their own.
bool row_block(const Family& family) { return !family.mine.empty() && family.mine.front().row_block(); }

/// Elements of the packed array that a parameter of this rank stands for.
Range range_of(const Family& family, const ParamInfo& p) { return {p.row_block() ? p.first_element() : family.offset[p.expert], p.size()}; }

/// The same families on every rank, whether it owns experts or not. collective over the expert group.
std::map<std::string, Family> families_of(const comm::ProcessGrid& grid, const ParamSet& params) {
  std::string mine;
  for (const ParamInfo& p : params.infos()) {
    if (p.owner != Owner::expert) continue;
    // Experts first, count and size of each.
    mine += p.row_block() ? fmt::format("{} {} {} {}\n", p.family, p.first_row, p.rows, p.cols) : fmt::format("{} {} 1 {}\n", p.family, p.expert, p.size());
  }
  const std::vector<char> text = comm::all_gather_v<char>(grid.expert_group(), std::span<const char>(mine.data(), mine.size()));
  std::map<std::string, std::map<i64, std::pair<i64, i64>>> sizes;
  std::istringstream in(std::string(text.begin(), text.end()));
  std::string family;
  for (i64 expert = 0, count = 0, size = 0; in >> family >> expert >> count >> size;) sizes[family][expert] = {count, size};
  std::map<std::string, Family> families;
  for (const auto& [name, experts] : sizes) {
    for (const auto& [expert, each] : experts) {
      for (i64 i = 0; i < each.first; ++i) families[name].offset.push_back(families[name].offset.back() + each.second);
    }
  }
  for (const ParamInfo& p : params.infos()) {
    if (p.owner == Owner::expert) families[p.family].mine.push_back(p);
  }
  return families;
}

std::vector<Range> ranges_of(const Family& family) {
  std::vector<Range> ranges;
  for (const ParamInfo& p : family.mine) {
    if (p.size() > 0) ranges.push_back(range_of(family, p));
  }
  return ranges;
}

/// A set of numbers laid out like the parameters, and where it stands in the file.
struct Section {
  std::string group, what;
  std::span<real> dense, experts;
  bool row_blocks;  // also those that are row-sparse
};

std::vector<Section> sections_of(ParamSet& params, train::Adam* adam) {
  std::vector<Section> all{{"/params/", "weights", params.values(Owner::replicated), params.values(Owner::expert), true}};
  if (adam) {
    all.push_back({"/adam/first/", "first moments", adam->first(Owner::replicated), adam->first(Owner::expert), false});
    all.push_back({"/adam/second/", "second moments", adam->second(Owner::replicated), adam->second(Owner::expert), false});
  }
  return all;
}

constexpr ElementType k_element = sizeof(real) == 8 ? ElementType::float64 : ElementType::float32;

void write_section(H5File& file, const Section& section, const ParamSet& params, const std::map<std::string, Family>& families, bool writes_experts) {
  for (const ParamInfo& p : params.infos()) {
    if (p.owner != Owner::replicated) continue;
    const std::span<real> values = params.slice(p, section.dense);
    file.write<real>(section.group + p.name, values, p.shape, {"1", section.what + " of " + p.name});
  }
  for (const auto& [name, family] : families) {
    if (row_block(family) && !section.row_blocks) continue;
    const std::string dataset = section.group + name;
    file.create_dataset(dataset, k_element, {family.offset.back()},
                        {"1", fmt::format("{} of all experts, packed: expert e owns elements offset[e] to offset[e+1]-1 of /expert_offset/{}", section.what, name)});
    if (row_block(family)) {  // no copy of what may fill half of the memory
      const std::span<real> values = params.slice(family.mine.front(), section.experts);
      file.write_rows<real>(dataset, writes_experts ? ranges_of(family) : std::vector<Range>{}, writes_experts ? values : std::span<real>{});
      continue;
    }
    std::vector<real> packed;
    for (const ParamInfo& p : family.mine) {
      const std::span<real> values = params.slice(p, section.experts);
      if (writes_experts) packed.insert(packed.end(), values.begin(), values.end());
    }
    file.write_rows<real>(dataset, writes_experts ? ranges_of(family) : std::vector<Range>{}, packed);
  }
}

void read_section(const H5File& file, const Section& section, const ParamSet& params, const std::map<std::string, Family>& families) {
  for (const ParamInfo& p : params.infos()) {
    if (p.owner != Owner::replicated) continue;
    std::ranges::copy(file.read<real>(section.group + p.name, p.shape), params.slice(p, section.dense).data());
  }
  for (const auto& [name, family] : families) {
    if (row_block(family) && !section.row_blocks) continue;
    if (file.read<i64>("/expert_offset/" + name) != family.offset) user_error("{}: the experts of {} have other widths than the model", file.path(), name);
    if (row_block(family)) {
      file.read_rows<real>(section.group + name, ranges_of(family), params.slice(family.mine.front(), section.experts));
      continue;
    }
    i64 count = 0;
    for (const ParamInfo& p : family.mine) count += p.size();
    std::vector<real> packed(static_cast<std::size_t>(count));
    file.read_rows<real>(section.group + name, ranges_of(family), packed);
    auto from = packed.begin();
    for (const ParamInfo& p : family.mine) {
      std::copy_n(from, p.size(), params.slice(p, section.experts).data());
      from += p.size();
    }
  }
}

/// UserError for a parameter in the file that the model has not: a model of fewer blocks must not take a part of a larger one.
void refuse_others(const H5File& file, const std::string& group, const std::set<std::string>& known) {
  for (const std::string& name : file.list(group)) {
    const std::string path = group + "/" + name;
    if (file.is_group(path)) {
      refuse_others(file, path, known);
    } else if (!known.count(path)) {
      user_error("{}: holds {}, which the model does not have", file.path(), path.substr(std::string("/params/").size()));
    }
  }
}

constexpr i64 k_piece_numbers = i64{1} << 22;  // moments are packed and unpacked so many at a time

/// Calls `move(begin, count)` for `mine` rows in pieces, as often on every rank.
template <class Move>
void in_pieces(const comm::Communicator& world, i64 mine, i64 width, Move move) {
  const i64 most = std::max<i64>(1, k_piece_numbers / width), rounds = comm::max_over<i64>(world, (mine + most - 1) / most);
  for (i64 begin = 0, round = 0; round < rounds; ++round, begin += most) move(std::min(begin, mine), std::clamp<i64>(mine - begin, 0, most));
}

/// Moments of the rows that have any, of all ranks, ascending by their global number.
void write_row_moments(H5File& file, const comm::ProcessGrid& grid, const ParamInfo& p, const train::RowMoments& state) {
  const std::string group = "/adam/rows/" + p.name + "/";
  std::vector<i64> slots(grid.data_group().root() ? static_cast<std::size_t>(state.rows.count()) : 0), row, update;
  std::iota(slots.begin(), slots.end(), i64{0});
  std::ranges::sort(slots, {}, [&](i64 slot) { return state.rows.touched()[slot]; });
  for (const i64 slot : slots) {
    row.push_back(p.first_row + state.rows.touched()[slot]);
    update.push_back(state.update[slot]);
  }
  const i64 mine = static_cast<i64>(slots.size());
  const std::vector<i64> each = comm::all_gather<i64>(grid.world(), std::vector<i64>{p.first_row, mine});
  i64 first = 0, all = 0;
  for (std::size_t r = 0; r < each.size(); r += 2) {
    if (each[r] < p.first_row) first += each[r + 1];
    all += each[r + 1];
  }
  file.create_dataset(group + "row", ElementType::int64, {all}, {"1", "numbers of the rows that have moments, ascending; all others have moments of zero"});
  file.create_dataset(group + "update", ElementType::int64, {all}, {"1", "update up to which the moments of each row have come"});
  file.write_rows<i64>(group + "row", {{first, mine}}, row);
  file.write_rows<i64>(group + "update", {{first, mine}}, update);
  std::vector<real> packed;
  for (const i64 half : {0, 1}) {
    const std::string dataset = group + (half ? "second" : "first");
    file.create_dataset(dataset, k_element, {all, p.cols}, {"1", fmt::format("{} moments of these rows of {}", half ? "second" : "first", p.name)});
    in_pieces(grid.world(), mine, p.cols, [&](i64 begin, i64 count) {
      packed.clear();
      for (i64 i = begin; i < begin + count; ++i) {
        const real* moments = state.rows.at(slots[i]) + half * p.cols;
        packed.insert(packed.end(), moments, moments + p.cols);
      }
      file.write_rows<real>(dataset, {{first + begin, count}}, packed);
    });
  }
}

void read_row_moments(const H5File& file, const comm::Communicator& world, const ParamInfo& p, i64 step, train::RowMoments& state) {
  const std::string group = "/adam/rows/" + p.name + "/";
  const std::vector<i64> row = file.read<i64>(group + "row");
  const i64 all = static_cast<i64>(row.size());
  const std::vector<i64> update = file.read<i64>(group + "update", Shape{all});
  for (i64 i = 0; i < all; ++i) {
    if (row[i] < 0 || row[i] >= p.shape[0] || (i > 0 && row[i] <= row[i - 1])) user_error("{}: {}row does not ascend from 0 to {}", file.path(), group, p.shape[0] - 1);
    if (update[i] < 0 || update[i] > step) user_error("{}: {}update holds {}, the checkpoint is of step {}", file.path(), group, update[i], step);
  }
  const i64 first = std::ranges::lower_bound(row, p.first_row) - row.begin(), mine = std::ranges::lower_bound(row, p.first_row + p.rows) - row.begin() - first;
  state.rows.clear();
  state.update.assign(update.begin() + first, update.begin() + first + mine);
  std::vector<real> packed;
  for (const i64 half : {0, 1}) {
    const std::string dataset = group + (half ? "second" : "first");
    if (file.shape(dataset) != Shape{all, p.cols}) user_error("{}: {} is not {} x {}", file.path(), dataset, all, p.cols);
    in_pieces(world, mine, p.cols, [&](i64 begin, i64 count) {
      packed.resize(static_cast<std::size_t>(count * p.cols));
      file.read_rows<real>(dataset, {{first + begin, count}}, packed);
      for (i64 i = 0; i < count; ++i) std::copy_n(packed.begin() + i * p.cols, p.cols, state.rows.touch(row[first + begin + i] - p.first_row) + half * p.cols);
    });
  }
}

/// Ascending by step.
std::vector<fs::path> checkpoints_in(const std::string& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("step-") && name.ends_with(".h5")) files.push_back(entry.path());
  }
  std::ranges::sort(files);  // numbers are zero-padded
  return files;
}

/// The held-out loss that a checkpoint says its weights have; infinite if none was measured or the file cannot be read.
double loss_of(const fs::path& path) {
  try {
    const H5File file = H5File::open(path.string());
    if (file.has_attribute("/", "validation_loss")) return file.number("/", "validation_loss");
  } catch (const UserError&) {
  }
  return std::numeric_limits<double>::infinity();
}

/// Removes all but the newest `keep` and the best.
void remove_old(const std::vector<fs::path>& all, i64 keep) {
  if (keep == 0 || static_cast<i64>(all.size()) <= keep) return;
  std::vector<double> loss;
  for (const fs::path& path : all) loss.push_back(loss_of(path));
  const std::size_t best = static_cast<std::size_t>(std::ranges::min_element(loss) - loss.begin());
  for (std::size_t i = 0; i + static_cast<std::size_t>(keep) < all.size(); ++i) {
    if (i != best || std::isinf(loss[i])) fs::remove(all[i]);
  }
}

}  // namespace

void CheckpointInfo::start_from(const std::string& path, i64 updates) {
  init_checkpoint = fs::path(path).filename().string();
  init_step = updates;
}

CheckpointFolder::CheckpointFolder(const comm::ProcessGrid& grid, std::string folder, i64 keep, CheckpointInfo info)
    : grid_(grid), folder_(std::move(folder)), keep_(keep), info_(std::move(info)) {}

i64 CheckpointFolder::save(const train::TrainState& state) {
  const std::string path = fmt::format("{}/step-{:010d}.h5", folder_, state.step);
  std::string problem;
  if (grid_.world().root()) {
    std::error_code error;
    fs::create_directories(folder_, error);
    // What a kill during an earlier save left behind.
    for (const auto& entry : fs::directory_iterator(folder_, error)) {
      if (temporary_name("") == entry.path().extension().string()) fs::remove(entry.path(), error);
    }
    if (error) problem = fmt::format("{}: cannot be created ({})", folder_, error.message());
  }
  comm::agree(grid_.world(), comm::broadcast(grid_.world(), problem));
  info_.step = state.step;
  info_.batches_passed_over = state.batches_passed_over;
  info_.bad_steps = state.bad_steps;
  info_.validation_loss = state.validation_loss;
  write_checkpoint(grid_, path, info_, state.params, &state.adam);

  i64 size = 0;
  if (grid_.world().root()) {
    try {
      size = static_cast<i64>(fs::file_size(path));
      remove_old(checkpoints_in(folder_), keep_);  // only once the new one is safe
    } catch (const fs::filesystem_error& e) {
      problem = e.what();
    }
  }
  comm::agree(grid_.world(), comm::broadcast(grid_.world(), problem));
  return comm::max_over<i64>(grid_.world(), size);
}

void write_checkpoint(const comm::ProcessGrid& grid, const std::string& path, const CheckpointInfo& info, ParamSet& params, train::Adam* adam) {
  const std::map<std::string, Family> families = families_of(grid, params);
  H5File file = H5File::create(grid.world(), temporary_name(path));
  file.seal();
  set_identity(file, k_checkpoint_format, adam ? "Pleiad checkpoint: weights, Adam moments and step; experts under their global number"
                                               : "Pleiad checkpoint: weights; experts under their global number");
  file.set_attribute("/", "step", info.step);
  file.set_attribute("/", "batches_passed_over", info.batches_passed_over);
  file.set_attribute("/", "bad_steps", info.bad_steps);
  if (info.validation_loss) file.set_attribute("/", "validation_loss", *info.validation_loss);
  file.set_attribute("/", "vocab", info.vocab);
  file.set_attribute("/", "corpus_fingerprint", info.corpus_fingerprint);
  file.set_attribute("/", "task", model::task_name(info.task));
  if (!info.labels.empty()) file.write_texts("/labels", info.labels, "names of the labels");
  if (!info.init_checkpoint.empty()) {
    file.set_attribute("/", "init_checkpoint", info.init_checkpoint);
    file.set_attribute("/", "init_step", info.init_step);
  }
  file.write_text("/config", info.config, "resolved configuration, INI form");
  const std::string tokenizer = info.tokenizer.serialise();
  const std::vector<std::uint8_t> bytes(tokenizer.begin(), tokenizer.end());
  file.write<std::uint8_t>("/tokenizer", bytes, {static_cast<i64>(bytes.size())}, {"byte", "serialised tokenizer"});
  for (const auto& [name, family] : families) {
    file.write<i64>("/expert_offset/" + name, family.offset, {static_cast<i64>(family.offset.size())},
                    {"element", "first element of each expert in the packed datasets of that name, and the end"});
  }
  for (const Section& s : sections_of(params, adam)) write_section(file, s, params, families, grid.data_group().root());
  for (const ParamInfo& p : params.infos()) {
    if (adam && p.row_block()) write_row_moments(file, grid, p, adam->row_moments({p.index}));
  }
  file.set_attribute("/", "complete", 1);
  file.close();
  comm::agree_on(grid.world(), [&] {
    if (grid.world().root()) publish(temporary_name(path), path);
  });
}

std::string newest_checkpoint(const std::string& folder) {
  const std::vector<fs::path> all = checkpoints_in(folder);
  return all.empty() ? "" : all.back().string();
}

std::string newest_checkpoint(const comm::Communicator& comm, const std::string& folder) {
  return comm::broadcast(comm, comm.root() ? newest_checkpoint(folder) : "");
}

std::string newest_whole_checkpoint(const comm::Communicator& comm, const std::string& folder, std::vector<std::string>& passed_over) {
  std::string list;
  if (comm.root()) {
    for (const fs::path& path : checkpoints_in(folder)) list += path.string() + "\n";
  }
  std::istringstream in(comm::broadcast(comm, list));
  std::vector<std::string> all;
  for (std::string path; std::getline(in, path);) all.push_back(path);
  for (; !all.empty(); all.pop_back()) {
    try {
      read_checkpoint_info(comm, all.back());
      H5File file = H5File::open(comm, all.back());
      file.verify();
      file.close();
      return all.back();
    } catch (const UserError& e) {
      passed_over.push_back(e.what());
    }
  }
  if (!passed_over.empty()) user_error("{}; no older checkpoint is whole", passed_over.front());
  return "";
}

CheckpointInfo read_checkpoint_info(const comm::Communicator& comm, const std::string& path) {
  const H5File file = open_for_all(comm, path);
  CheckpointInfo info;
  comm::agree_on(comm, [&] {
    file.require_format(k_checkpoint_format);
    if (!file.has_attribute("/", "complete")) user_error("{}: the checkpoint is incomplete", path);
    info.step = file.integer("/", "step");
    if (file.has_attribute("/", "batches_passed_over")) info.batches_passed_over = file.integer("/", "batches_passed_over");
    if (file.has_attribute("/", "bad_steps")) info.bad_steps = file.integer("/", "bad_steps");
    if (file.has_attribute("/", "validation_loss")) info.validation_loss = file.number("/", "validation_loss");
    info.vocab = file.integer("/", "vocab");
    info.corpus_fingerprint = file.text("/", "corpus_fingerprint");
    info.config = file.read_text("/config");
    if (file.has_attribute("/", "task")) info.task = model::task_from(file.text("/", "task"), path + ": task");
    if (file.exists("/labels")) info.labels = file.read_texts("/labels");
    const std::vector<std::uint8_t> bytes = file.read<std::uint8_t>("/tokenizer");
    info.tokenizer = Tokenizer::from_serialised(std::string(bytes.begin(), bytes.end()));
    if (file.has_attribute("/", "init_checkpoint")) {
      info.init_checkpoint = file.text("/", "init_checkpoint");
      info.init_step = file.integer("/", "init_step");
    }
    for (const i64 count : {info.step, info.batches_passed_over, info.bad_steps}) {
      if (count < 0) user_error("{}: step, batches_passed_over or bad_steps is {}: must not be negative", path, count);
    }
  });
  return info;
}

void load_checkpoint(const comm::ProcessGrid& grid, const std::string& path, ParamSet& params, train::Adam* adam) {
  const std::map<std::string, Family> families = families_of(grid, params);
  H5File file = H5File::open(grid.world(), path);
  file.require_format(k_checkpoint_format);
  file.verify();
  if (adam && !file.exists("/adam")) user_error("{}: holds no moments of Adam: a new run can start from it (train --init), but none can go on", path);
  std::set<std::string> known;
  for (const ParamInfo& p : params.infos()) {
    if (p.owner == Owner::replicated) known.insert("/params/" + p.name);
  }
  for (const auto& [name, family] : families) known.insert("/params/" + name);
  for (const Section& s : sections_of(params, adam)) read_section(file, s, params, families);
  refuse_others(file, "/params", known);
  for (const ParamInfo& p : params.infos()) {
    if (adam && p.row_block()) read_row_moments(file, grid.world(), p, file.integer("/", "step"), adam->row_moments({p.index}));
  }
  file.close();
}

}  // namespace pleiad::io
