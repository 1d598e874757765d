// Reading checkpoints. Writing them: checkpoint_h5.cpp.
#include "pleiad/io/checkpoint_h5.hpp"

#include <algorithm>
#include <set>

#include "checkpoint_parts.hpp"
#include "pleiad/comm/agree.hpp"
#include "pleiad/comm/collectives.hpp"

namespace pleiad::io {

using namespace detail;

namespace {

/// What is taken: everything, or the trunk with the embedding of so many tokens.
using Trunk = std::optional<i64>;

void read_dense(const H5File& file, const Section& section, const ParamSet& params, Trunk trunk) {
  for (const ParamInfo& p : params.infos()) {
    if (p.owner != Owner::replicated || (trunk && p.name == model::k_head)) continue;
    const std::string dataset = section.group + p.name;
    const bool some_rows = trunk && p.name == model::k_embedding;
    const std::vector<real> values = file.read<real>(dataset, some_rows ? Shape{file.extent(dataset, 0), p.cols} : p.shape);
    const i64 count = some_rows ? *trunk * p.cols : p.size();
    if (static_cast<i64>(values.size()) < count) user_error("{}: {} has no rows for {} tokens", file.path(), dataset, *trunk);
    std::copy_n(values.begin(), count, params.slice(p, section.dense).data());
  }
}

/// From the file itself, then collective, or from its parts, then local.
void read_experts(const comm::Communicator& comm, const H5File& file, Parts& parts, const Section& section, const ParamSet& params, const std::map<std::string, Family>& families) {
  for (const auto& [name, family] : families) {
    if (family.row_block() && !section.row_blocks) continue;
    PackedPieces pieces(params, section, family);
    const std::string &of = name, dataset = section.group + name;  // clang 14 cannot capture `name`
    in_rounds(parts.none() ? &comm : nullptr, family.ranges(), k_packed_at_once, [&](const std::vector<Range>& piece) {
      pieces.fill_next(rows_in(piece), [&](std::span<real> values) {
        if (parts.none()) file.read_rows<real>(dataset, piece, values);
        else parts.read(dataset, of, piece, values);
      });
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

namespace {

void load(const comm::ProcessGrid& grid, const std::string& path, Trunk trunk, ParamSet& params, train::Adam* adam) {
  const std::map<std::string, Family> families = families_of(grid, params);
  H5File file = H5File::open(grid.world(), path);
  file.require_format(k_checkpoint_format);
  file.verify();
  Parts parts = Parts::of(file);
  parts.verify(grid.world());
  if (adam && !file.exists("/adam")) user_error("{}: holds no moments of Adam: a new run can start from it (train --init), but none can go on", path);
  std::set<std::string> dense, experts;
  if (trunk) dense.insert(model::k_head);
  for (const ParamInfo& p : params.infos()) {
    if (p.owner == Owner::replicated) dense.insert(p.name);
  }
  for (const auto& [name, family] : families) experts.insert(name);
  const std::vector<Section> sections = sections_of(params, adam);
  for (const Section& s : sections) read_dense(file, s, params, trunk);
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

}  // namespace

void load_checkpoint(const comm::ProcessGrid& grid, const std::string& path, ParamSet& params, train::Adam* adam) { load(grid, path, {}, params, adam); }

void load_trunk(const comm::ProcessGrid& grid, const std::string& path, i64 tokens, ParamSet& params) { load(grid, path, tokens, params, nullptr); }

}  // namespace pleiad::io
