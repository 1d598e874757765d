// Whole training runs: the same bits on any number of ranks, in any number of pieces; and what the loop reports.
#include <numeric>
#include <set>

#include "pleiad/comm/collectives.hpp"
#include "train/same_state.hpp"

namespace pleiad::train {
namespace {

using model::Keys, model::with, model::k_tiny_moe;

void expect_same_figures(const std::vector<LayerFigures>& here, const std::vector<LayerFigures>& truth) {
  ASSERT_EQ(here.size(), truth.size());
  for (std::size_t l = 0; l < here.size(); ++l) {
    const LayerFigures &a = here[l], &b = truth[l];
    EXPECT_EQ(a.load.imbalance, b.load.imbalance);
    EXPECT_EQ(a.load.flops_imbalance, b.load.flops_imbalance);
    EXPECT_EQ(a.load.dead, b.load.dead);
    EXPECT_EQ(a.load.overloaded, b.load.overloaded);
    EXPECT_EQ(a.use.usage, b.use.usage);
    EXPECT_EQ(a.use.unevenness, b.use.unevenness);
    EXPECT_EQ(a.mean_k, b.mean_k);
    EXPECT_EQ(a.flops_per_token, b.flops_per_token);
    EXPECT_EQ(a.width_flops_share, b.width_flops_share);
    EXPECT_EQ(a.k_by_position, b.k_by_position);
    EXPECT_EQ(a.importance_by_position, b.importance_by_position);
  }
}

void expect_same_records(const KeepingSink& here, const KeepingSink& truth) {
  ASSERT_EQ(here.records.size(), truth.records.size());
  for (std::size_t i = 0; i < here.records.size(); ++i) {
    EXPECT_EQ(here.records[i].loss.total, truth.records[i].loss.total) << "step " << i + 1;
    EXPECT_EQ(here.records[i].grad_norm, truth.records[i].grad_norm) << "step " << i + 1;
    EXPECT_EQ(here.records[i].flops, truth.records[i].flops) << "step " << i + 1;
    EXPECT_EQ(here.records[i].flops_per_token, truth.records[i].flops_per_token) << "step " << i + 1;
    expect_same_figures(here.records[i].figures, truth.records[i].figures);
  }
}

const Keys k_peer = {{"preset", "peer"}, {"layers", "1"}, {"sub_keys", "16"}, {"heads", "2"}, {"k", "2"}, {"query_dim", "4"}};
const Keys k_runs[] = {
    with(k_tiny_moe, {{"preset", "switch"}, {"layers", "all"}}),
    with(k_tiny_moe, {{"preset", "mixtral"}, {"placement", "balanced"}}),
    with(k_tiny_moe, {{"router", "noisy_topk"}, {"k", "2"}, {"load_loss", "0.1"}, {"importance_loss", "0.1"}, {"placement", "round_robin"}}),
    with(k_tiny_moe, {{"preset", "damoe"}, {"capacity_factor", "1"}}),
    {{"router", "peer"}, {"sub_keys", "5"}, {"heads", "2"}, {"k", "3"}, {"query_dim", "4"}, {"layers", "1"}},
    {{"preset", "dense"}},
    k_peer,
    {{"preset", "pkm"}, {"layers", "all"}, {"sub_keys", "6"}, {"heads", "2"}, {"k", "3"}, {"query_dim", "4"}},
};

TEST(Trainer, TwentyStepsGiveTheBitsOfOneRank) {
  for (const Keys& moe : k_runs) {
    const Keys train = {{"steps", "20"}, {"grad_clip", "0.5"}, {"warmup_steps", "5"}, {"eval_every", "10"}};
    TinyRun here(test::grid_of_all(), moe, train), truth(test::grid_of_me(), moe, train);
    here.trainer->run(*here.state, 20);
    truth.trainer->run(*truth.state, 20);
    EXPECT_EQ(here.state->step, 20);
    expect_same_records(here.sink, truth.sink);
    expect_same_parameters(here, truth);
    EXPECT_EQ(here.sink.evaluations.size(), 2u);
    for (std::size_t i = 0; i < std::min(here.sink.evaluations.size(), truth.sink.evaluations.size()); ++i) {
      const EvalReport &a = here.sink.evaluations[i].second, &b = truth.sink.evaluations[i].second;
      EXPECT_EQ(a.loss, b.loss);
      EXPECT_EQ(a.expert_domain_tokens, b.expert_domain_tokens);
      EXPECT_EQ(a.alignment, b.alignment);
      EXPECT_EQ(a.token_alignment, b.token_alignment);
      EXPECT_EQ(a.active_parameters, b.active_parameters);
      EXPECT_EQ(a.flops_per_token, b.flops_per_token);
      expect_same_figures(a.figures, b.figures);
    }
    EXPECT_EQ(here.sink.samples.back().text, truth.sink.samples.back().text);
  }
}

// Experts of very different width on the ranks in blocks: the placement has to change, and nothing else may.
TEST(Trainer, MovesExpertsBetweenStepsWithoutAnyoneNoticing) {
  const Keys train = {{"steps", "24"}, {"grad_clip", "0.5"}, {"warmup_steps", "5"}, {"eval_every", "10"}};
  const Keys moe = {{"preset", "mixtral"}, {"layers", "all"}, {"experts", "18"}, {"expert_widths", "20,18,16,15,3,2,1,3,2,1,2,3,1,2,3,1,2,3"}};
  TinyRun here(test::grid_of_all(), moe, train), truth(test::grid_of_me(), moe, train);
  here.balance({PlacementConfig::When::always, 6});
  here.trainer->run(*here.state, 24);
  truth.trainer->run(*truth.state, 24);
  expect_same_records(here.sink, truth.sink);
  expect_same_parameters(here, truth);
  for (std::size_t i = 0; i < here.sink.evaluations.size(); ++i) EXPECT_EQ(here.sink.evaluations[i].second.loss, truth.sink.evaluations[i].second.loss);

  const i64 ranks = here.tiny.grid.world().size();
  if (ranks == 1) {
    EXPECT_TRUE(here.sink.placements.empty()) << "one rank has nothing to move";
    return;
  }
  ASSERT_EQ(here.sink.placements.size(), 3u) << "looks after 6, 12 and 18 steps; none after the last";
  const PlacementRecord& first = here.sink.placements.front();
  EXPECT_EQ(first.step, 6);
  EXPECT_LT(first.peak_after, first.peak_before);
  EXPECT_GT(first.moved, 0);
  EXPECT_EQ(first.moved, first.wanted);
  EXPECT_GT(first.bytes, 0);
  EXPECT_GT(first.gain, 0);
}

TEST(Trainer, LeavesExpertsWhereMovingThemDoesNotPay) {
  const Keys train = {{"steps", "4"}, {"eval_every", "0"}};
  TinyRun run(test::grid_of_all(), with(k_tiny_moe, {{"preset", "switch"}, {"layers", "all"}, {"expert_widths", "1,1,1,1"}}), train);
  run.balance({PlacementConfig::When::worth, 2});
  const Owners before = owners_of(*run.tiny.model);
  run.trainer->run(*run.state, 4);
  for (const PlacementRecord& r : run.sink.placements) {
    EXPECT_EQ(r.moved > 0, r.wanted > 0 && r.gain > r.cost);
    if (r.moved == 0) {
      EXPECT_EQ(r.bytes, 0);
    }
  }
  if (run.sink.placements.empty() || run.sink.placements.front().moved == 0) {
    EXPECT_EQ(owners_of(*run.tiny.model), before);
  }
}

TEST(Trainer, CannotMoveExpertsThatLieInOrder) {
  TinyRun run(test::grid_of_all(), k_peer, {{"steps", "4"}});
  if (run.tiny.grid.world().size() == 1) return run.balance({PlacementConfig::When::always, 2});
  const std::string message = test::message_of<UserError>([&] { run.balance({PlacementConfig::When::always, 2}); });
  EXPECT_TRUE(test::contains(message, "moe.router = peer")) << message;
}

TEST(Trainer, MovesEveryExpertOfOneRowWithDenseAdamAndThoseWithTokensWithLazy) {
  const Keys train = {{"steps", "20"}, {"eval_every", "0"}};
  TinyRun start(test::grid_of_all(), k_peer, train), lazy(test::grid_of_all(), k_peer, train), dense(test::grid_of_all(), k_peer, with(train, {{"sparse_adam", "dense"}})),
      truth(test::grid_of_me(), k_peer, with(train, {{"sparse_adam", "dense"}}));
  for (TinyRun* run : {&lazy, &dense, &truth}) run->trainer->run(*run->state, 20);
  expect_same_parameters(dense, truth);
  EXPECT_NE(lazy.sink.records.back().loss.task, dense.sink.records.back().loss.task);
  for (const ParamInfo& p : lazy.tiny.params.infos()) {
    if (!p.row_block()) continue;
    RowMoments &few = lazy.adam->row_moments({p.index}), &same = dense.adam->row_moments({p.index});
    EXPECT_LT(few.rows.count(), p.shape[0]) << "the test needs experts without tokens";
    for (i64 row = 0; row < p.rows; ++row) {
      const bool moved = std::memcmp(start.tiny.params.value(ParamId{p.index}).row(row), lazy.tiny.params.value(ParamId{p.index}).row(row), static_cast<std::size_t>(p.cols) * sizeof(real)) != 0;
      EXPECT_EQ(moved, few.rows.slot(row) >= 0) << p.name << ", row " << row;
    }
    for (const i64 update : same.update) EXPECT_EQ(update, 20);
  }
}

TEST(Trainer, LeavesRoutersAndNothingElseWithARateOfZero) {
  const std::set<std::string> product_keys = {"w_query", "sub_keys_1", "sub_keys_2", "bn_gamma", "bn_beta"};
  const std::pair<Keys, std::set<std::string>> cases[] = {
      {with(k_tiny_moe, {{"preset", "mixtral"}, {"hyper", "true"}}), {"w"}},
      {with(k_tiny_moe, {{"router", "noisy_topk"}, {"k", "2"}}), {"w", "w_noise"}},
      {with(k_tiny_moe, {{"preset", "damoe"}}), {"w"}},
      {k_peer, product_keys},
      {k_runs[7], product_keys},
  };
  for (const auto& [moe, expected] : cases) {
    const Keys train = {{"steps", "4"}, {"eval_every", "0"}, {"router_learning_rate", "0"}};
    TinyRun start(test::grid_of_all(), moe, train), end(test::grid_of_all(), moe, train);
    end.trainer->run(*end.state, 4);
    std::set<std::string> stayed;
    for (const ParamInfo& p : end.tiny.params.infos()) {
      if (!p.trainable || p.row_block()) continue;
      const std::span<const real> a = start.tiny.params.value(ParamId{p.index}).flat(), b = end.tiny.params.value(ParamId{p.index}).flat();
      if (std::ranges::equal(a, b)) stayed.insert(p.name.substr(p.name.rfind('/') + 1));
    }
    EXPECT_EQ(stayed, expected) << moe.begin()->second;
  }
}

// One block of two carries four experts; three of 24 tokens' 40 selections were dropped.
TEST(StepFlops, CountAdaptersByTokenOrBySelectionAndExpertsByWhatWasKept) {
  const auto flops = [](const Keys& keys) {
    model::TinyModel tiny(test::grid_of_me(), model::k_tiny_model, with(k_tiny_moe, keys));
    model::LayerStatistics s;
    s.expert_tokens = {9, 10, 8, 10};
    s.used = {0, 1, 2, 3};
    s.selected = 40;
    const model::MoeLayer& moe = *tiny.model->blocks()[tiny.model->moe_layers().front()].moe();
    return step_flops(tiny.model->fixed_flops_per_token(), layer_facts(tiny.model->moe_config(), moe), {&s}, 24);
  };
  const double none = flops({}), row = 4.0 * 8 * 3;  // of an adapter of width 3 beside a stream of width 8
  EXPECT_EQ(flops({{"adapter", "shared"}, {"adapter_width", "3"}}) - none, 3 * 24 * row);
  EXPECT_EQ(flops({{"adapter", "per_expert"}, {"adapter_width", "3"}}) - none, 3 * 40 * row);
  EXPECT_EQ(flops({{"hyper", "true"}, {"hyper_bottleneck", "3"}}) - none, 3 * 24 * row);
}

TEST(Trainer, LearnsALanguageThatCanBeLearnt) {
  TinyRun run(test::grid_of_all(), k_runs[1], {{"steps", "60"}, {"eval_every", "0"}});
  run.trainer->run(*run.state, 60);
  EXPECT_GT(run.sink.records.front().loss.task, 1.7);
  EXPECT_LT(run.sink.records.back().loss.task, 1.2);
  EXPECT_LT(run.sink.evaluations.back().second.loss, 1.2) << "on windows it has not seen";
}

TEST(Trainer, GoesOnWhereItStopped) {
  const Keys train = {{"steps", "12"}};
  TinyRun whole(test::grid_of_all(), k_runs[0], train), pieces(test::grid_of_all(), k_runs[0], train);
  whole.trainer->run(*whole.state, 12);
  pieces.trainer->run(*pieces.state, 5);
  pieces.trainer->run(*pieces.state, 12);
  expect_same_records(pieces.sink, whole.sink);
  expect_same_parameters(pieces, whole);
}

TEST(Trainer, ReportsEvaluatesSamplesAndSavesWhenItShould) {
  TinyRun run(test::grid_of_all(), k_runs[1], {{"steps", "7"}, {"eval_every", "3"}, {"sample_every", "4"}, {"warmup_steps", "2"}});
  run.config.checkpoint_every = 5;
  run.trainer->run(*run.state, 7);
  std::vector<i64> steps, evaluated, sampled;
  for (const StepRecord& r : run.sink.records) steps.push_back(r.step);
  for (const auto& [step, report] : run.sink.evaluations) evaluated.push_back(step);
  for (const Sample& s : run.sink.samples) sampled.push_back(s.step);
  EXPECT_EQ(steps, (std::vector<i64>{1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(evaluated, (std::vector<i64>{3, 6, 7}));
  EXPECT_EQ(sampled, (std::vector<i64>{4, 7}));
  EXPECT_EQ(run.store.steps, (std::vector<i64>{5, 7}));
  EXPECT_EQ(run.sink.checkpoints.back(), (std::pair<i64, i64>{7, 42}));
  EXPECT_EQ(run.sink.samples.back().text.size(), 7u) << "prompt and five tokens";

  const StepRecord& r = run.sink.records.front();
  EXPECT_DOUBLE_EQ(r.learning_rate, 0.005);
  EXPECT_EQ(r.tokens, 12 * 4);
  const std::size_t ranks = static_cast<std::size_t>(run.tiny.grid.world().size());
  EXPECT_EQ(r.phase_seconds.size(), ranks * static_cast<std::size_t>(k_phase_count));
  EXPECT_EQ(r.bytes.size(), ranks);
  EXPECT_EQ(r.messages.size(), ranks);
  EXPECT_EQ(r.between_bytes, std::vector<i64>(ranks, 0)) << "all ranks are on one node";
  if (ranks > 1) {
    EXPECT_GT(r.bytes[0], 0);
  } else {
    EXPECT_EQ(r.bytes[0], 0);
  }
}

// Whatever the grid: rows of each rank's experts, and bytes from rank to rank, add up to what is known of the layers.
void expect_ranks_add_up(comm::ProcessGrid grid, const Keys& moe) {
  const std::size_t ranks = static_cast<std::size_t>(grid.world().size());
  TinyRun run(std::move(grid), moe, {{"steps", "2"}});
  run.trainer->run(*run.state, 2);
  const LayerFacts facts = layer_facts(run.tiny.model->moe_config(), *run.tiny.model->blocks()[run.tiny.model->moe_layers().front()].moe());
  for (const StepRecord& r : run.sink.records) {
    const std::size_t layers = r.figures.size();
    EXPECT_EQ(r.expert_rows.size(), layers * ranks);
    EXPECT_EQ(r.pair_bytes.size(), ranks * ranks);
    for (std::size_t l = 0; l < layers; ++l) {
      i64 rows = 0;
      double flops = 0;
      for (std::size_t rank = 0; rank < ranks; ++rank) rows += r.expert_rows[l * ranks + rank], flops += r.expert_flops[l * ranks + rank];
      EXPECT_DOUBLE_EQ(static_cast<double>(rows), r.figures[l].mean_k * static_cast<double>(r.tokens));
      EXPECT_DOUBLE_EQ(flops, r.figures[l].expert_flops_per_token * static_cast<double>(r.tokens));
    }
    for (std::size_t from = 0; from < ranks; ++from) {
      i64 sent = 0, pairs = 0;
      for (std::size_t l = 0; l < layers; ++l) sent += r.bytes[l * ranks + from];
      for (std::size_t to = 0; to < ranks; ++to) pairs += r.pair_bytes[from * ranks + to];
      EXPECT_EQ(pairs, sent) << "rank " << from;
      EXPECT_EQ(r.pair_bytes[from * ranks + from], 0);
    }
  }
}

TEST(Trainer, ReportsRowsOfEachRankAndBytesOfEachPairOfRanks) {
  for (const Keys& moe : {k_runs[0], with(k_tiny_moe, {{"preset", "mixtral"}, {"expert_widths", "3,9,4,1"}}), k_peer}) {
    expect_ranks_add_up(test::grid_of_all(), moe);
    if (comm::Communicator::world().size() == 4) expect_ranks_add_up(comm::ProcessGrid(comm::Communicator::world(), 2), moe);
  }
}

// Many tokens and few small experts, so that lending pays.
TEST(Trainer, WithLentExpertsARunIsNearlyTheSameAndAResumedOneExactly) {
  const Keys moe = with(k_tiny_moe, {{"preset", "mixtral"}, {"layers", "all"}, {"expert_widths", "3,2,1,3"}});
  const Keys train = {{"steps", "10"}, {"batch_sequences", "96"}, {"warmup_steps", "5"}};
  TinyRun lends(test::grid_of_all(), moe, train, 6, 3), again(test::grid_of_all(), moe, train, 6, 3), truth(test::grid_of_all(), moe, train);
  lends.trainer->run(*lends.state, 10);
  again.trainer->run(*again.state, 4);
  again.trainer->run(*again.state, 10);
  truth.trainer->run(*truth.state, 10);
  expect_same_records(again.sink, lends.sink);
  expect_same_parameters(again, lends);
  const std::size_t ranks = static_cast<std::size_t>(lends.tiny.grid.world().size());
  for (std::size_t i = 0; i < 10; ++i) {
    const StepRecord &a = lends.sink.records[i], &b = truth.sink.records[i];
    EXPECT_NEAR(a.loss.task, b.loss.task, 2e-5 * b.loss.task) << "step " << i + 1;
    EXPECT_NEAR(a.grad_norm, b.grad_norm, 1e-3 * b.grad_norm) << "step " << i + 1;
    const auto sum = [](const std::vector<i64>& v) { return std::accumulate(v.begin(), v.end(), i64{0}); };
    EXPECT_EQ(sum(a.expert_rows), sum(b.expert_rows));
    EXPECT_EQ(sum(a.pair_bytes), sum(a.bytes));
    EXPECT_EQ(sum(b.shadows) + sum(b.shadow_bytes), 0);
    EXPECT_EQ(sum(a.shadows) > 0, ranks > 1);
    EXPECT_EQ(sum(a.bytes) < sum(b.bytes), ranks > 1);
  }
}

TEST(Trainer, CountsBytesBetweenRanksOfOneExpertGroupOnly) {
  if (comm::Communicator::world().size() != 4) return;
  TinyRun run(comm::ProcessGrid(comm::Communicator::world(), 2), k_runs[0], {{"steps", "1"}});
  run.trainer->run(*run.state, 1);
  for (std::size_t from = 0; from < 4; ++from) {
    for (std::size_t to = 0; to < 4; ++to) EXPECT_EQ(run.sink.records[0].pair_bytes[4 * from + to] > 0, from / 2 == to / 2 && from != to) << from << " to " << to;
  }
}

TEST(Trainer, EveryPhaseOfAStepIsTimedAndTogetherTheyFitIntoIt) {
  TinyRun run(test::grid_of_all(), k_runs[1], {{"steps", "3"}});
  run.trainer->run(*run.state, 3);
  for (const StepRecord& r : run.sink.records) {
    double sum = 0;
    for (const Phase p : {Phase::data, Phase::embed, Phase::attention, Phase::norm, Phase::router, Phase::plan, Phase::exchange,
                          Phase::expert, Phase::dense_ffn, Phase::head, Phase::grad_sync, Phase::optimizer}) {
      sum += r.phase_seconds[static_cast<std::size_t>(p)];  // of rank 0
      EXPECT_GT(r.phase_seconds[static_cast<std::size_t>(p)], 0) << phase_name(p);
    }
    if (run.tiny.grid.world().root()) {
      EXPECT_LE(sum, r.seconds) << "a phase is charged twice";
    }
    // What lies between two steps is in the record of the second.
    EXPECT_EQ(r.phase_seconds[static_cast<std::size_t>(Phase::metrics)] > 0, r.step > 1);
  }
}

TEST(Trainer, TracesTheSecondStepOfAPartAndEveryMultiple) {
  TinyRun run(test::grid_of_all(), k_runs[1], {{"steps", "8"}});
  run.config.trace_every = 3;
  run.trainer->run(*run.state, 4);
  run.trainer->run(*run.state, 8);
  std::vector<i64> traced;
  for (const StepRecord& r : run.sink.records) {
    if (!r.trace) continue;
    traced.push_back(r.step);
    const bool root = run.tiny.grid.world().root();
    EXPECT_EQ(r.trace->events.empty(), !root);
    if (!root) continue;
    // Of every rank and phase exactly the time that the record gives.
    std::vector<double> seconds(r.phase_seconds.size(), 0.0);
    StepTrace::Event step, last;
    for (const StepTrace::Event& e : r.trace->events) {
      EXPECT_LE(e.begin, e.end);
      if (e.phase == StepTrace::k_whole_step) {
        step = last = e;
        last.end = last.begin - 1'000'000'000;  // what lies between two steps comes before
        continue;
      }
      EXPECT_EQ(e.rank, step.rank);
      EXPECT_GE(e.begin, last.end) << "two phases of a rank at the same time";
      const Phase p = static_cast<Phase>(e.phase);
      const bool beside = p == Phase::metrics || p == Phase::evaluate || p == Phase::checkpoint;
      EXPECT_TRUE(beside || (e.begin >= step.begin && e.end <= step.end)) << phase_name(p);
      // The last norm, the counts of all blocks, and gradients that are summed after backward belong to none.
      const bool both = p == Phase::norm || p == Phase::plan || p == Phase::grad_sync;
      EXPECT_EQ(e.block >= 0, p == Phase::attention || p == Phase::router || p == Phase::exchange || p == Phase::expert || p == Phase::dense_ffn ||
                                  (both && e.block >= 0)) << phase_name(p);
      seconds[static_cast<std::size_t>(e.rank * k_phase_count + e.phase)] += static_cast<double>(e.end - e.begin) * 1e-9;
      last = e;
    }
    for (std::size_t i = 0; i < seconds.size(); ++i) EXPECT_NEAR(seconds[i], r.phase_seconds[i], 1e-6) << "rank and phase " << i;
  }
  EXPECT_EQ(traced, (std::vector<i64>{2, 3, 6}));
}

TEST(Evaluate, IsTheSameForAnyBatchAndCountsEveryWindowOnce) {
  TinyRun run(test::grid_of_all(), k_runs[1], {{"steps", "1"}}, 13);
  PhaseTimes times;
  const auto report = [&](i64 batch, i64 most) {
    return evaluate(*run.tiny.model, run.tiny.params, run.source, run.tiny.grid, 8, batch, most, times);
  };
  const EvalReport all = report(13, 0), pieces = report(4, 0), some = report(4, 6);
  EXPECT_EQ(all.windows, 13);
  EXPECT_EQ(all.targets, 13 * 4);
  EXPECT_NEAR(pieces.loss, all.loss, 1e-6);
  EXPECT_EQ(pieces.domain_targets, all.domain_targets);
  EXPECT_EQ(all.domain_targets[0] + all.domain_targets[1], all.targets);
  EXPECT_NEAR(all.domain_loss[0] * static_cast<double>(all.domain_targets[0]) + all.domain_loss[1] * static_cast<double>(all.domain_targets[1]),
              all.loss * static_cast<double>(all.targets), 1e-6);
  EXPECT_EQ(all.floor, 0.25);
  EXPECT_EQ(some.windows, 6);
  EXPECT_EQ(some.targets, 24);
  i64 by_domain = 0;
  for (const i64 n : all.expert_domain_tokens[0]) by_domain += n;
  EXPECT_EQ(all.layers[0].kept(), 2 * all.targets) << "two experts per token, nothing dropped";
  EXPECT_EQ(by_domain, all.layers[0].kept());
  EXPECT_EQ(all.blocks, (std::vector<i64>{1}));
  EXPECT_EQ(all.layers[0].tokens, all.targets);
  EXPECT_EQ(all.layers[0].k_tokens, (std::vector<i64>{0, 0, all.targets, 0, 0}));
  EXPECT_EQ(pieces.layers[0].tokens, all.layers[0].tokens);
  EXPECT_EQ(all.figures[0].mean_k, 2);
  EXPECT_GE(all.token_alignment[0], 0);
  EXPECT_LE(all.token_alignment[0], 1);
  EXPECT_EQ(all.flops_per_token, run.tiny.model->fixed_flops_per_token() + all.expert_flops_per_token);
}

TEST(Evaluate, CountsTheParametersATokenMeets) {
  // Every expert for every token: all parameters are active.
  TinyRun run(test::grid_of_all(), with(k_tiny_moe, {{"k", "4"}, {"expert_bias", "true"}, {"layers", "all"}}), {{"steps", "1"}});
  PhaseTimes times;
  const EvalReport report = evaluate(*run.tiny.model, run.tiny.params, run.source, run.tiny.grid, 8, 6, 0, times);
  i64 dense = 0, experts = 0;
  for (const ParamInfo& p : run.tiny.params.infos()) (p.owner == Owner::replicated ? dense : experts) += p.trainable ? p.size() : 0;
  EXPECT_DOUBLE_EQ(report.active_parameters, static_cast<double>(dense + comm::sum_over<i64>(run.tiny.grid.world(), experts)));
  EXPECT_EQ(report.figures[1].load.dead, 0);
  EXPECT_EQ(report.figures[1].mean_k, 4);
}

TEST(Trainer, GathersTheRoutingOfTheStepsAskedFor) {
  const Keys train = {{"steps", "5"}};
  TinyRun here(test::grid_of_all(), k_runs[0], train), truth(test::grid_of_me(), k_runs[0], train);
  for (TinyRun* run : {&here, &truth}) {
    run->config.record_every = 2;
    run->trainer->run(*run->state, 5);
  }
  for (std::size_t i = 0; i < here.sink.records.size(); ++i) {
    const StepRecord &a = here.sink.records[i], &b = truth.sink.records[i];
    EXPECT_EQ(a.routing.has_value(), a.step % 2 == 0);
    if (!a.routing || !b.routing) continue;
    if (!here.tiny.grid.world().root()) {
      EXPECT_TRUE(a.routing->tokens.empty());
      continue;
    }
    EXPECT_EQ(a.routing->tokens, b.routing->tokens);
    EXPECT_EQ(a.routing->tokens.size(), 48u);
    EXPECT_EQ(a.routing->layers.size(), 2u);
    for (std::size_t l = 0; l < a.routing->layers.size(); ++l) {
      const RoutingSnapshot::Layer &x = a.routing->layers[l], &y = b.routing->layers[l];
      EXPECT_EQ(x.count, std::vector<std::int32_t>(48, 1));
      EXPECT_EQ(x.expert, y.expert);
      EXPECT_EQ(x.weight, y.weight);
      EXPECT_EQ(x.kept, y.kept);
      EXPECT_EQ(x.expert.size(), 48u);
    }
  }
}

TEST(Generate, IsDeterministicAndTheSameOnEveryRankAndAnyNumberOfRanks) {
  TinyRun here(test::grid_of_all(), k_runs[0], {{"steps", "1"}}), truth(test::grid_of_me(), k_runs[0], {{"steps", "1"}});
  const auto text = [](TinyRun& run, const SampleOptions& options) {
    return generate(*run.tiny.model, run.tiny.params, {3, 1}, options, run.tiny.grid);
  };
  for (const SampleOptions& options : {SampleOptions{30, 0.8, 0, 1}, SampleOptions{30, 1.5, 3, 2}, SampleOptions{10, 0, 0, 3}}) {
    const auto once = text(here, options);
    EXPECT_EQ(once, text(here, options));
    EXPECT_EQ(once, text(truth, options));
    EXPECT_EQ(once.size(), 2u + static_cast<std::size_t>(options.tokens));
    EXPECT_EQ(once[0], 3);
    for (const std::int32_t token : once) EXPECT_TRUE(token >= 0 && token < model::k_tiny_vocab);
  }
  EXPECT_NE(text(here, {30, 2, 0, 1}), text(here, {30, 2, 0, 2})) << "another seed, another text";
  EXPECT_EQ(text(here, {10, 0, 0, 1}), text(here, {10, 0, 0, 2})) << "temperature 0 draws nothing";
  EXPECT_EQ(text(here, {10, 0, 0, 1}), text(here, {10, 5, 1, 1})) << "top 1 is temperature 0";
}

}  // namespace
}  // namespace pleiad::train
