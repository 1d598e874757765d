// Writing checkpoints. Reading them: checkpoint_read.cpp.
#include "pleiad/io/checkpoint_h5.hpp"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <numeric>

#include "checkpoint_parts.hpp"
#include "pleiad/comm/agree.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/io/identity.hpp"

namespace pleiad::io {

using namespace detail;

namespace {

namespace fs = std::filesystem;

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
    if (family.row_block()) {  // no copy of what may fill half of the memory
      const std::span<real> values = params.slice(family.mine.front(), section.experts);
      to.file.write_rows<real>(dataset, place.ranges, place.ranges.empty() ? std::span<real>{} : values);
      continue;
    }
    std::vector<real> packed;
    for (const ParamInfo& p : family.mine) {
      const std::span<real> values = params.slice(p, section.experts);
      if (!place.ranges.empty()) packed.insert(packed.end(), values.begin(), values.end());
    }
    to.file.write_rows<real>(dataset, place.ranges, packed);
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
    in_pieces(&to.comm, mine, p.cols, [&](i64 begin, i64 count) {
      packed.clear();
      for (i64 i = begin; i < begin + count; ++i) {
        const real* moments = state.rows.at(slots[i]) + half * p.cols;
        packed.insert(packed.end(), moments, moments + p.cols);
      }
      file.write_rows<real>(dataset, {{first + begin, count}}, packed);
    });
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

}  // namespace pleiad::io
