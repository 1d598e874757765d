// Checkpoints of parameters with one row per expert: values and the moments of touched rows, written by all ranks and read by each alone,
// and the other way round.
#include "pleiad/io/checkpoint_h5.hpp"

#include <filesystem>
#include <fstream>

#include "support/alone.hpp"
#include "support/problem.hpp"
#include "support/sample.hpp"
#include "support/temporary_folder.hpp"

namespace pleiad::io {
namespace {

constexpr i64 k_rows = 23, k_cols = 3;

/// A replicated matrix, two ordinary experts and two row-sparse tables after a few updates, all functions of names and global rows.
struct State {
  State(comm::ProcessGrid over, bool trained) : grid(std::move(over)) {
    const i64 owners = grid.expert_group().size(), me = grid.expert_group().rank();
    const Range own = share(k_rows, owners, me);
    params.add({.name = "dense", .shape = {4, 5}, .init = {}});
    for (i64 e = 0; e < 2; ++e) {
      if (e % owners == me) params.add({.name = fmt::format("e/{}/w", e), .shape = {2 + e, 3}, .owner = Owner::expert, .init = {}, .expert = e, .slot = e, .family = "e/w"});
    }
    for (const char* name : {"u", "empty"}) {
      params.add({.name = name, .shape = {k_rows, k_cols}, .owner = Owner::expert, .init = {}, .first_row = own.begin, .own_rows = own.count, .family = name});
    }
    params.allocate();
    params.allocate_grads(1);
    adam.emplace(train::AdamConfig{}, params);
    if (!trained) return;
    for (const ParamInfo& p : params.infos()) {
      const Stream draw = Stream::named(4, Purpose::test, p.name);
      const std::span<real> values = params.slice(p, params.values(p.owner));
      for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<real>(draw.normal(static_cast<std::uint64_t>(p.first_element()) + i));
    }
    for (i64 update = 1; update <= 3; ++update) this->update(update);
  }
  /// Row r of "u" has a gradient in update s if r + 2 s is a multiple of 5; later rows come first.
  void update(i64 number) {
    params.zero_grads();
    const ParamInfo& p = *params.find("u");
    for (i64 row = p.first_row + p.rows; row-- > p.first_row;) {
      if ((row + 2 * number) % 5 != 0) continue;
      real* g = params.row_grads({p.index}).touch(row - p.first_row);
      for (i64 j = 0; j < k_cols; ++j) g[j] = static_cast<real>(Stream(5, Purpose::test, 0, static_cast<std::uint64_t>(number)).normal(static_cast<std::uint64_t>(row * k_cols + j)));
    }
    test::fill_normal(params.grad({0}).flat(), 6);
    adam->step(params, 0.1, 1, number);
  }

  comm::ProcessGrid grid;
  ParamSet params;
  std::optional<train::Adam> adam;
};

/// Everything of `part` is what `whole` has at that place.
void expect_part_of(State& part, State& whole) {
  for (const ParamInfo& p : part.params.infos()) {
    const ParamInfo& same = *whole.params.find(p.name);
    const auto mine = part.params.slice(p, part.params.values(p.owner));
    const auto all = whole.params.slice(same, whole.params.values(p.owner)).subspan(static_cast<std::size_t>(p.first_element()), static_cast<std::size_t>(p.size()));
    EXPECT_TRUE(test::same_bits<real>(std::span<const real>(mine), std::span<const real>(all))) << p.name;
    if (!p.row_block()) {
      EXPECT_TRUE(test::same_bits<real>(std::span<const real>(part.params.slice(p, part.adam->first(p.owner))), std::span<const real>(whole.params.slice(same, whole.adam->first(p.owner))))) << p.name;
      continue;
    }
    const train::RowMoments &a = part.adam->row_moments({p.index}), &b = whole.adam->row_moments({same.index});
    EXPECT_EQ(a.update.size(), a.rows.touched().size());
    for (i64 row = 0; row < p.rows; ++row) {
      const i64 i = a.rows.slot(row), j = b.rows.slot(row + p.first_row);
      EXPECT_EQ(i < 0, j < 0) << p.name << ", row " << row + p.first_row;
      if (i < 0 || j < 0) continue;
      EXPECT_EQ(a.update[i], b.update[j]);
      for (i64 c = 0; c < 2 * k_cols; ++c) EXPECT_EQ(a.rows.at(i)[c], b.rows.at(j)[c]) << p.name << ", row " << row + p.first_row;
    }
  }
}

class Checkpoint : public test::SharedFolder {
 protected:
  static std::string save(State& s, const std::string& folder) {
    CheckpointFolder(s.grid, folder, 0, {0, {}, 7, "", Tokenizer(), "x"}).save({s.params, *s.adam, 3});
    return folder + "/step-0000000003.h5";
  }
};

/// Each rank alone, and all together, read it, have what was saved after three updates, and go on in the same bits.
void expect_goes_on(const std::string& path) {
  State truth(test::grid_of_me(), true), alone(test::grid_of_me(), false), again(test::grid_of_all(), false);
  load_checkpoint(alone.grid, path, alone.params, &*alone.adam);
  load_checkpoint(again.grid, path, again.params, &*again.adam);
  expect_part_of(alone, truth);
  expect_part_of(again, truth);
  for (i64 number = 4; number <= 6; ++number) {
    for (State* s : {&truth, &alone, &again}) s->update(number);
  }
  expect_part_of(alone, truth);
  expect_part_of(again, truth);
}

TEST_F(Checkpoint, OfAllRanksIsReadByEachAloneAndGoesOnInTheSameBits) {
  State all(test::grid_of_all(), true), truth(test::grid_of_me(), true);
  expect_part_of(all, truth);
  expect_goes_on(save(all, folder_));
}

TEST_F(Checkpoint, OfOneRankIsReadByAllWithDataGroupsToo) {
  State one(test::grid_of_me(), true);
  save(one, own_folder());
  comm::barrier(comm_);
  const i64 groups = comm_.size() % 2 == 0 ? 2 : 1;
  State all(test::grid_of_all(groups), false);
  load_checkpoint(all.grid, at("of_rank_0/step-0000000003.h5"), all.params, &*all.adam);
  expect_part_of(all, one);
  const std::string path = save(all, folder_);
  State back(test::grid_of_me(), false);
  load_checkpoint(back.grid, path, back.params, &*back.adam);
  expect_part_of(back, one);
}

/// A checkpoint in parts, as if so many ranks were on each node.
std::string save_in_parts(State& s, const std::string& folder, i64 ranks_per_node, i64 step = 3) {
  const comm::Communicator& world = s.grid.world();
  const comm::Communicator node = world.split(world.rank() / ranks_per_node, world.rank());
  const std::string path = fmt::format("{}/step-{:010d}.h5", folder, step);
  write_checkpoint(s.grid, path, {step, {}, 7, "", Tokenizer(), "x"}, s.params, &*s.adam, &node);
  return path;
}

std::vector<std::string> parts_in(const std::string& folder) {
  std::vector<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().filename().string().find(".part-") != std::string::npos) found.push_back(entry.path().string());
  }
  std::ranges::sort(found);
  return found;
}

TEST_F(Checkpoint, InPartsIsReadByEachAloneAndByAllAndGoesOnInTheSameBits) {
  for (const i64 each : {1, 2, 3}) {
    State all(test::grid_of_all(), true);
    const std::string folder = at(fmt::format("parts_{}", each));
    if (comm_.root()) std::filesystem::create_directory(folder);
    comm::barrier(comm_);
    const std::string path = save_in_parts(all, folder, each);
    EXPECT_EQ(static_cast<i64>(parts_in(folder).size()), (comm_.size() + each - 1) / each);
    verify_checkpoint(comm_, path);
    expect_goes_on(path);
  }
}

TEST_F(Checkpoint, InPartsOfAnotherSaveOrDamagedOrMissingIsRefused) {
  State all(test::grid_of_all(), true);
  const std::string path = save_in_parts(all, folder_, 1), part = parts_in(folder_).front(), kept = part + ".kept";
  comm::barrier(comm_);
  const auto problem_with = [&](auto change) {
    if (comm_.root()) {
      std::filesystem::copy_file(part, kept, std::filesystem::copy_options::overwrite_existing);
      change();
    }
    comm::barrier(comm_);
    const std::string problem = test::problem_on_all(comm_, [&] { load_checkpoint(all.grid, path, all.params, &*all.adam); });
    if (comm_.root()) std::filesystem::rename(kept, part);
    comm::barrier(comm_);
    return problem;
  };
  const auto expect_refused = [&](const char* why, auto change) {
    const std::string problem = problem_with(change);
    EXPECT_MENTIONS(problem, part);
    EXPECT_MENTIONS(problem, why);
  };
  EXPECT_EQ(problem_with([] {}), "");
  expect_refused("No such file", [&] { std::filesystem::remove(part); });
  expect_refused("", [&] { std::filesystem::resize_file(part, 300); });
  expect_refused("damaged", [&] {
    H5File file = H5File::open_append(part);
    file.write_rows<real>("/params/u", {{0, 1}}, std::vector<real>{77});
    file.close();
  });
  // Whole, but not what was saved.
  expect_refused("not the file that the checkpoint was saved with", [&] {
    H5File file = H5File::open_append(part);
    const std::vector<real> values(static_cast<std::size_t>(file.shape("/params/u")[0]), real{1});
    file.write_rows<real>("/params/u", {{0, static_cast<i64>(values.size())}}, values);
    ContentSum sum;
    sum.add<real>(0, values);
    file.set_attribute("/params/u", "checksum", sum.value());
    file.close();
  });
}

TEST_F(Checkpoint, PartsOfCheckpointsThatAreGoneGoToo) {
  State all(test::grid_of_all(), true);
  const std::string folder = at("kept");
  CheckpointFolder store(all.grid, folder, 2, {0, {}, 7, "", Tokenizer(), "x"}, CheckpointFiles::per_node);
  i64 size = 0;
  for (i64 step = 0; step < 5; ++step) {
    size = store.save({all.params, *all.adam, step});
    EXPECT_EQ(static_cast<i64>(parts_in(folder).size()), std::min<i64>(step + 1, 2)) << "all ranks are on one node";
  }
  EXPECT_GT(size, 0);
  store.save({all.params, *all.adam, 4});  // again: other parts take their place
  const std::vector<std::string> parts = parts_in(folder);
  ASSERT_EQ(parts.size(), 2U);
  comm::barrier(comm_);
  // What a kill between the parts and the checkpoint leaves, and a foreign file.
  if (comm_.root()) {
    std::filesystem::copy_file(parts[0], folder + "/step-0000000009.0123456789abcdef.part-0.h5");
    std::ofstream(folder + "/step-0000000004.notes.txt") << "mine";
  }
  comm::barrier(comm_);
  std::vector<std::string> passed_over;
  EXPECT_EQ(newest_whole_checkpoint(comm_, folder, passed_over), folder + "/step-0000000004.h5");
  store.save({all.params, *all.adam, 5});
  EXPECT_EQ(parts_in(folder).size(), 2U);
  EXPECT_TRUE(std::filesystem::exists(folder + "/step-0000000004.notes.txt"));
}

TEST_F(Checkpoint, HoldsMomentsOfTouchedRowsAscending) {
  State all(test::grid_of_all(), true);
  const H5File file = open_for_all(comm_, save(all, folder_));
  std::vector<i64> row, update;
  for (i64 r = 0; r < k_rows; ++r) {
    i64 last = 0;
    for (i64 s = 1; s <= 3; ++s) last = (r + 2 * s) % 5 == 0 ? s : last;
    if (last > 0) row.push_back(r), update.push_back(last);
  }
  EXPECT_EQ(file.read<i64>("/adam/rows/u/row"), row);
  EXPECT_EQ(file.read<i64>("/adam/rows/u/update"), update);
  EXPECT_EQ(file.shape("/adam/rows/u/first"), (Shape{static_cast<i64>(row.size()), k_cols}));
  EXPECT_EQ(file.shape("/adam/rows/empty/second"), (Shape{0, k_cols}));
  EXPECT_EQ(file.shape("/params/u"), Shape{k_rows * k_cols});
  EXPECT_FALSE(file.exists("/adam/first/u"));
  EXPECT_TRUE(file.exists("/adam/first/e/w"));
}

TEST_F(Checkpoint, WithImpossibleRowsIsRefused) {
  State all(test::grid_of_all(), true);
  const auto refused = [&](const char* dataset, std::vector<i64> values) {
    const std::string path = save(all, folder_);
    if (comm_.root()) {
      H5File file = H5File::open_append(path);
      const i64 count = static_cast<i64>(file.read<i64>(dataset).size());
      values.resize(static_cast<std::size_t>(count), values.back());
      file.write_rows<i64>(dataset, {{0, count}}, values);
      ContentSum sum;  // so that it is not taken for damage
      sum.add<i64>(0, values);
      file.set_attribute(dataset, "checksum", sum.value());
      file.close();
    }
    comm::barrier(comm_);
    return test::problem_on_all(comm_, [&] { load_checkpoint(all.grid, path, all.params, &*all.adam); });
  };
  EXPECT_MENTIONS(refused("/adam/rows/u/row", {4, 4}), "/adam/rows/u/row does not ascend from 0 to 22");
  EXPECT_MENTIONS(refused("/adam/rows/u/update", {3, 4}), "/adam/rows/u/update holds 4, the checkpoint is of step 3");
}

TEST_F(Checkpoint, WithOneOtherNumberAnywhereIsRefused) {
  State all(test::grid_of_all(), true);
  const std::string path = save(all, folder_);
  std::vector<std::string> datasets;
  for (const char* group : {"/params", "/params/e", "/adam/first", "/adam/second/e", "/adam/rows/u", "/expert_offset/e"}) {
    const H5File file = open_for_all(comm_, path);
    for (const std::string& name : file.list(group)) {
      if (!file.is_group(group + ("/" + name)) && file.shape(group + ("/" + name))[0] > 0) datasets.push_back(group + ("/" + name));
    }
  }
  EXPECT_GE(datasets.size(), 10U);
  for (const std::string& dataset : datasets) {
    const std::string damaged = at("damaged.h5");
    if (comm_.root()) {
      std::filesystem::copy_file(path, damaged, std::filesystem::copy_options::overwrite_existing);
      H5File file = H5File::open_append(damaged);
      std::vector<double> values = file.read<double>(dataset);
      values.back() += 1;
      if (file.type_name(dataset) == "int64") file.write_rows<i64>(dataset, {{0, file.shape(dataset)[0]}}, std::vector<i64>(values.begin(), values.end()));
      else file.write_rows<real>(dataset, {{0, file.shape(dataset)[0]}}, std::vector<real>(values.begin(), values.end()));
      file.close();
    }
    comm::barrier(comm_);
    EXPECT_MENTIONS(test::problem_on_all(comm_, [&] { load_checkpoint(all.grid, damaged, all.params, &*all.adam); }), dataset + " is damaged");
  }
}

// Wherever a byte of the file is another one, it is either seen, or does not belong to what is read (a description, say).
TEST_F(Checkpoint, WithAnyByteChangedIsRefusedOrHarmless) {
  State all(test::grid_of_all(), true), truth(test::grid_of_me(), true);
  const std::string path = save(all, folder_), damaged = at("damaged.h5");
  const i64 size = static_cast<i64>(std::filesystem::file_size(path));
  i64 refused = 0, harmless = 0;
  for (i64 trial = 0; trial < 200; ++trial) {
    const i64 place = static_cast<i64>(Stream(8, Purpose::test).below(static_cast<std::uint64_t>(trial), static_cast<std::uint64_t>(size)));
    if (comm_.root()) {
      std::filesystem::copy_file(path, damaged, std::filesystem::copy_options::overwrite_existing);
      std::fstream file(damaged, std::ios::in | std::ios::out | std::ios::binary);
      file.seekg(place);
      const char was = static_cast<char>(file.get());
      file.seekp(place);
      file.put(static_cast<char>(was ^ (1 << (trial % 8))));
    }
    comm::barrier(comm_);
    State again(test::grid_of_all(), false);
    const std::string problem = test::problem_on_all(comm_, [&] {
      const CheckpointInfo info = read_checkpoint_info(comm_, damaged);
      load_checkpoint(again.grid, damaged, again.params, &*again.adam);
      if (info.step != 3 || info.vocab != 7) user_error("step {}, vocab {}", info.step, info.vocab);
    });
    problem.empty() ? ++harmless : ++refused;
    if (problem.empty()) expect_part_of(again, truth);
  }
  EXPECT_GT(refused, 20);
  EXPECT_GT(harmless + refused, 199);
}

TEST_F(Checkpoint, ThatIsDamagedIsPassedOverForAnOlderOne) {
  State all(test::grid_of_all(), true);
  const std::string folder = at("several");
  CheckpointFolder store(all.grid, folder, 0, {0, {}, 7, "", Tokenizer(), "x"});
  std::vector<std::string> path;
  for (const i64 step : {3, 4, 5}) {
    store.save({all.params, *all.adam, step});
    path.push_back(fmt::format("{}/step-{:010d}.h5", folder, step));
  }
  std::vector<std::string> passed_over;
  EXPECT_EQ(newest_whole_checkpoint(comm_, folder, passed_over), path[2]);
  EXPECT_TRUE(passed_over.empty());
  if (comm_.root()) std::filesystem::resize_file(path[2], std::filesystem::file_size(path[2]) / 2);
  comm::barrier(comm_);
  EXPECT_EQ(newest_whole_checkpoint(comm_, folder, passed_over), path[1]);
  ASSERT_EQ(passed_over.size(), 1U);
  EXPECT_MENTIONS(passed_over[0], path[2]);
  if (comm_.root()) {
    for (const std::string& p : path) std::filesystem::resize_file(p, 100);
  }
  comm::barrier(comm_);
  passed_over.clear();
  EXPECT_MENTIONS(test::problem_on_all(comm_, [&] { newest_whole_checkpoint(comm_, folder, passed_over); }), "no older checkpoint is whole");
  EXPECT_EQ(newest_whole_checkpoint(comm_, at("nowhere"), passed_over = {}), "");
}

TEST_F(Checkpoint, OfTheLeastLossStaysBesideTheNewest) {
  State all(test::grid_of_all(), true);
  const std::string folder = at("best");
  CheckpointFolder store(all.grid, folder, 2, {0, {}, 7, "", Tokenizer(), "x"});
  const auto steps = [&] {
    std::vector<i64> found;
    for (i64 step = 0; step < 10; ++step) {
      if (std::filesystem::exists(fmt::format("{}/step-{:010d}.h5", folder, step))) found.push_back(step);
    }
    comm::barrier(comm_);
    return found;
  };
  const std::optional<double> none;
  const std::vector<std::optional<double>> loss = {none, 3.0, 1.5, none, 2.0, 1.5, 1.0, none, none};
  const std::vector<std::vector<i64>> kept = {{0}, {0, 1}, {1, 2}, {2, 3}, {2, 3, 4}, {2, 4, 5}, {5, 6}, {6, 7}, {6, 7, 8}};
  for (i64 step = 0; step < 9; ++step) {
    train::TrainState state{all.params, *all.adam, step};
    state.validation_loss = loss[step];
    store.save(state);
    EXPECT_EQ(steps(), kept[step]) << "after step " << step;
  }
}

}  // namespace
}  // namespace pleiad::io
