#include "pleiad/io/checkpoint_h5.hpp"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <numeric>
#include <set>

#include "checkpoint_parts.hpp"
#include "pleiad/comm/agree.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/io/identity.hpp"

namespace pleiad::io {

using namespace detail;

namespace {

namespace fs = std::filesystem;

i64 rows_in(const std::vector<Range>& piece) {
  return std::accumulate(piece.begin(), piece.end(), i64{0}, [](i64 sum, const Range& r) { return sum + r.count; });
}

/// Calls move(piece) for `mine` rows in pieces of `most`, as often on every rank; without `comm` as often as this one needs it.
template <class Move>
void in_rounds(const comm::Communicator* comm, const std::vector<Range>& mine, i64 most, Move move) {
  std::vector<std::vector<Range>> pieces = in_pieces(mine, most);
  if (comm) pieces.resize(static_cast<std::size_t>(comm::max_over<i64>(*comm, static_cast<i64>(pieces.size()))));
  for (const std::vector<Range>& piece : pieces) move(piece);
}

void write_dense(H5File& file, const Section& section, const ParamSet& params) {
  for (const ParamInfo& p : params.infos()) {
    if (p.owner != Owner::replicated) continue;
    const std::span<real> values = params.slice(p, section.dense);
    file.write<real>(section.group + p.name, values, p.shape, {"1", section.what + " of " + p.name});
  }
}

void write_experts(const Destination& to, const Section& section, const ParamSet& params, const std::map<std::string, Family>& families) {
  for (const auto& [name, family] : families) {
    if (family.row_block() && !section.row_blocks) continue;
    const Destination::Place& place = to.places.at(name);
    const std::string dataset = section.group + name;
    to.file.create_dataset(dataset, k_element, {place.extent},
                           {"1", fmt::format("{} of experts, packed: expert e owns elements offset[e] to offset[e+1]-1 of /expert_offset/{}", section.what, name)});
    PackedPieces pieces(params, section, family);
    in_rounds(&to.comm, place.ranges, k_packed_at_once, [&](const std::vector<Range>& piece) { to.file.write_rows<real>(dataset, piece, pieces.next(rows_in(piece))); });
  }
}

void read_dense(const H5File& file, const Section& section, const ParamSet& params) {
  for (const ParamInfo& p : params.infos()) {
    if (p.owner != Owner::replicated) continue;
    std::ranges::copy(file.read<real>(section.group + p.name, p.shape), params.slice(p, section.dense).data());
  }
}

/// From the file itself, then collective, or from its parts, then local.
void read_experts(const comm::Communicator& comm, const H5File& file, Parts& parts, const Section& section, const ParamSet& params, const std::map<std::string, Family>& families) {
  const auto read = [&](const std::string& family, const std::vector<Range>& ranges, std::span<real> values) {
    if (parts.none()) file.read_rows<real>(section.group + family, ranges, values);
    else parts.read(section.group + family, family, ranges, values);
  };
  for (const auto& [name, family] : families) {
    if (family.row_block() && !section.row_blocks) continue;
    PackedPieces pieces(params, section, family);
    in_rounds(parts.none() ? &comm : nullptr, family.ranges(), k_packed_at_once, [&](const std::vector<Range>& piece) {
      pieces.fill_next(rows_in(piece), [&](std::span<real> values) { read(name, piece, values); });
    });
  }
}

/// UserError if the experts of the file are not those of the model.
void require_families(const H5File& file, const std::map<std::string, Family>& families) {
  for (const auto& [name, family] : families) {
    if (file.read<i64>("/expert_offset/" + name) != family.offset) user_error("{}: the experts of {} have other widths than the model", file.path(), name);
  }
}

/// UserError for a parameter in the file that the model has not: a model of fewer blocks must not take a part of a larger one. `top` is one of the groups
/// that list parameters.
void refuse_others(const H5File& file, const std::string& top, const std::set<std::string>& known, const std::string& below = "") {
  for (const std::string& name : file.list(top + "/" + below)) {
    const std::string path = below + name;
    if (file.is_group(top + "/" + path)) {
      refuse_others(file, top, known, path + "/");
    } else if (!known.count(path)) {
      user_error("{}: holds {}, which the model does not have", file.path(), path);
    }
  }
}

/// Moments of the rows that have any, of all ranks, ascending by their global number.
void write_row_moments(const Destination& to, bool writes, const ParamInfo& p, const train::RowMoments& state) {
  H5File& file = to.file;
  const std::string group = "/adam/rows/" + p.name + "/";
  std::vector<i64> slots(writes ? static_cast<std::size_t>(state.rows.count()) : 0), row, update;
  std::iota(slots.begin(), slots.end(), i64{0});
  std::ranges::sort(slots, {}, [&](i64 slot) { return state.rows.touched()[slot]; });
  for (const i64 slot : slots) {
    row.push_back(p.first_row + state.rows.touched()[slot]);
    update.push_back(state.update[slot]);
  }
  const i64 mine = static_cast<i64>(slots.size());
  const std::vector<i64> each = comm::all_gather<i64>(to.comm, std::vector<i64>{p.first_row, mine});
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
    auto slot = slots.begin();
    in_rounds(&to.comm, {{first, mine}}, k_packed_at_once / p.cols, [&](const std::vector<Range>& piece) {
      packed.clear();
      for (i64 left = rows_in(piece); left > 0; --left, ++slot) {
        const real* moments = state.rows.at(*slot) + half * p.cols;
        packed.insert(packed.end(), moments, moments + p.cols);
      }
      file.write_rows<real>(dataset, piece, packed);
    });
  }
}

/// Adds the moments of this rank's rows that a file has; to none if it is the first one. With `comm` collective, and the file is one of all its ranks.
void read_row_moments(const H5File& file, const comm::Communicator* comm, const ParamInfo& p, i64 step, bool first_file, train::RowMoments& state) {
  const std::string group = "/adam/rows/" + p.name + "/";
  const std::vector<i64> row = file.read<i64>(group + "row");
  const i64 all = static_cast<i64>(row.size());
  const std::vector<i64> update = file.read<i64>(group + "update", Shape{all});
  for (i64 i = 0; i < all; ++i) {
    if (row[i] < 0 || row[i] >= p.shape[0] || (i > 0 && row[i] <= row[i - 1])) user_error("{}: {}row does not ascend from 0 to {}", file.path(), group, p.shape[0] - 1);
    if (update[i] < 0 || update[i] > step) user_error("{}: {}update holds {}, the checkpoint is of step {}", file.path(), group, update[i], step);
  }
  const i64 first = std::ranges::lower_bound(row, p.first_row) - row.begin(), mine = std::ranges::lower_bound(row, p.first_row + p.rows) - row.begin() - first;
  if (first_file) {
    state.rows.clear();
    state.update.clear();
  }
  state.update.insert(state.update.end(), update.begin() + first, update.begin() + first + mine);
  std::vector<real> packed;
  for (const i64 half : {0, 1}) {
    const std::string dataset = group + (half ? "second" : "first");
    if (file.shape(dataset) != Shape{all, p.cols}) user_error("{}: {} is not {} x {}", file.path(), dataset, all, p.cols);
    i64 next = first;
    in_rounds(comm, {{first, mine}}, k_packed_at_once / p.cols, [&](const std::vector<Range>& piece) {
      packed.resize(static_cast<std::size_t>(rows_in(piece) * p.cols));
      file.read_rows<real>(dataset, piece, packed);
      for (auto from = packed.begin(); from != packed.end(); from += p.cols, ++next) std::copy_n(from, p.cols, state.rows.touch(row[next] - p.first_row) + half * p.cols);
    });
  }
}

void read_row_moments(const H5File& file, Parts& parts, const comm::Communicator& world, const ParamInfo& p, i64 step, train::RowMoments& state) {
  if (parts.none()) return read_row_moments(file, &world, p, step, true, state);
  bool first = true;
  for (const H5File* part : parts.holding(p.family, {{p.first_element(), p.size()}})) {
    read_row_moments(*part, nullptr, p, step, first, state);
    first = false;
  }
}

}  // namespace

void CheckpointInfo::start_from(const std::string& path, i64 updates) {
  init_checkpoint = fs::path(path).filename().string();
  init_step = updates;
}

namespace {

void write_header(H5File& file, const CheckpointInfo& info, const std::map<std::string, Family>& families, bool with_moments) {
  set_identity(file, k_checkpoint_format, with_moments ? "Pleiad checkpoint: weights, Adam moments and step; experts under their global number"
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
}

void write_all_experts(const Destination& to, bool writes, ParamSet& params, train::Adam* adam, const std::map<std::string, Family>& families) {
  for (const Section& s : sections_of(params, adam)) write_experts(to, s, params, families);
  for (const ParamInfo& p : params.infos()) {
    if (adam && p.row_block()) write_row_moments(to, writes, p, adam->row_moments({p.index}));
  }
}

/// The experts of a node under their final name, which belongs to no checkpoint yet. Returns its content(). collective over the node.
i64 write_part(const std::string& path, const comm::Communicator& node, i64 step, bool writes, ParamSet& params, train::Adam* adam,
               const std::map<std::string, Family>& families, PieceTable& pieces) {
  H5File file = H5File::create(node, temporary_name(path));
  file.seal();
  set_identity(file, "pleiad-checkpoint-part/1", "experts of one node, of the Pleiad checkpoint that names this file");
  file.set_attribute("/", "step", step);
  write_all_experts({file, node, places_on_node(node, families, writes, pieces)}, writes, params, adam, families);
  file.close();
  i64 content = 0;
  comm::agree_on_root(node, [&] {
    content = H5File::open(temporary_name(path)).content();
    publish(temporary_name(path), path);
  });
  return content;
}

/// Removes a part unless a checkpoint came to name it.
struct Orphan {
  std::string path;
  ~Orphan() {
    std::error_code ignored;
    if (!path.empty()) fs::remove(path, ignored);
  }
};

/// Every node a file, then rank 0 the checkpoint that names them. collective.
void write_in_parts(const comm::ProcessGrid& grid, const comm::Communicator& node, const std::string& path, const CheckpointInfo& info, ParamSet& params, train::Adam* adam) {
  const comm::Communicator& world = grid.world();
  const std::map<std::string, Family> families = families_of(grid, params);
  // A number for each node, in the order of their first ranks, and one for this save.
  const std::vector<i64> roots = comm::all_gather<i64>(world, std::vector<i64>{node.root()});
  i64 k = std::count(roots.begin(), roots.begin() + world.rank(), 1);
  k = comm::max_over<i64>(node, node.root() ? k : 0);
  std::vector<i64> save = {std::chrono::system_clock::now().time_since_epoch().count()};
  comm::broadcast<i64>(world, save);
  const auto name_of = [&](i64 part) { return part_name(path, static_cast<std::uint64_t>(save[0]), part); };
  const fs::path folder = fs::path(path).parent_path();

  const std::string my_part = (folder / name_of(k)).string();
  Orphan orphan{node.root() ? my_part : ""};
  PieceTable pieces;
  std::string problem;
  i64 content = 0;
  try {
    content = write_part(my_part, node, info.step, grid.data_group().root(), params, adam, families, pieces);
  } catch (const UserError& e) {  // of this node; the others must hear of it
    problem = e.what();
  }
  comm::agree(world, problem);

  // What each node has, for the one that writes it down.
  std::vector<i64> contents(static_cast<std::size_t>(std::ranges::count(roots, 1)), 0);
  if (node.root()) contents[k] = content;
  comm::all_reduce_sum<i64>(world, contents);
  for (auto& [name, table] : pieces) {
    std::vector<i64> mine;
    for (const Piece& p : table) {
      if (node.root()) mine.insert(mine.end(), {k, p.begin, p.count, p.at});
    }
    const std::vector<i64> all = comm::all_gather_v<i64>(world, std::span<const i64>(mine));
    table.clear();
    for (std::size_t i = 0; i < all.size(); i += 4) table.push_back({all[i], all[i + 1], all[i + 2], all[i + 3]});
    std::ranges::sort(table, {}, &Piece::begin);
  }
  comm::agree_on_root(world, [&] {
    H5File file = H5File::create(temporary_name(path));
    file.seal();
    write_header(file, info, families, adam != nullptr);
    for (const Section& s : sections_of(params, adam)) write_dense(file, s, params);
    std::vector<std::string> names;
    for (std::size_t part = 0; part < contents.size(); ++part) names.push_back(name_of(static_cast<i64>(part)));
    write_parts(file, names, contents, pieces);
    file.set_attribute("/", "complete", 1);
    file.close();
    publish(temporary_name(path), path);
  });
  orphan.path.clear();
}

}  // namespace

void write_checkpoint(const comm::ProcessGrid& grid, const std::string& path, const CheckpointInfo& info, ParamSet& params, train::Adam* adam,
                      const comm::Communicator* node) {
  if (node) return write_in_parts(grid, *node, path, info, params, adam);
  const std::map<std::string, Family> families = families_of(grid, params);
  const bool writes = grid.data_group().root();
  H5File file = H5File::create(grid.world(), temporary_name(path));
  file.seal();
  write_header(file, info, families, adam != nullptr);
  for (const Section& s : sections_of(params, adam)) write_dense(file, s, params);
  write_all_experts({file, grid.world(), places_in_one(families, writes)}, writes, params, adam, families);
  file.set_attribute("/", "complete", 1);
  file.close();
  comm::agree_on_root(grid.world(), [&] { publish(temporary_name(path), path); });
}

void verify_checkpoint(const comm::Communicator& comm, const std::string& path) {
  H5File file = H5File::open(comm, path);
  file.require_format(k_checkpoint_format);
  file.verify();
  Parts::of(file).verify(comm);
  file.close();
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
  Parts parts = Parts::of(file);
  parts.verify(grid.world());
  if (adam && !file.exists("/adam")) user_error("{}: holds no moments of Adam: a new run can start from it (train --init), but none can go on", path);
  std::set<std::string> dense, experts;
  for (const ParamInfo& p : params.infos()) {
    if (p.owner == Owner::replicated) dense.insert(p.name);
  }
  for (const auto& [name, family] : families) experts.insert(name);
  const std::vector<Section> sections = sections_of(params, adam);
  for (const Section& s : sections) read_dense(file, s, params);
  require_families(file, families);  // another width of the model shows in the parameters above, which say more
  const auto read_the_experts = [&] {
    for (const Section& s : sections) read_experts(grid.world(), file, parts, s, params, families);
    for (const ParamInfo& p : params.infos()) {
      if (adam && p.row_block()) read_row_moments(file, parts, grid.world(), p, file.integer("/", "step"), adam->row_moments({p.index}));
    }
  };
  // Parts are read by each rank for itself, so the trouble of one must become that of all.
  if (parts.none()) read_the_experts();
  else comm::agree_on(grid.world(), read_the_experts);
  if (file.exists("/expert_offset")) refuse_others(file, "/expert_offset", experts);
  dense.insert(experts.begin(), experts.end());
  refuse_others(file, "/params", dense);
  file.close();
}

}  // namespace pleiad::io
