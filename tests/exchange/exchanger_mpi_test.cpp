// The exchange over MPI against the exchange on one rank, on whatever number of ranks this is run, forward and backward.
#include "exchange/every_exchanger.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/exchange/choice.hpp"

namespace pleiad::exchange {
namespace {

using test::my_rows, test::normal_matrix, test::same_bits;

/// A case, its truth on one rank, and the same on all ranks.
struct Compared {
  Compared(const Case& c, ExpertPlacement rule, const comm::Communicator& comm, Combine combine)
      : Compared(c, rule, comm, AllToAllExchanger(comm, combine)) {}
  Compared(const Case& c, ExpertPlacement rule, const comm::Communicator& comm, const Exchanger& exchanger)
      : all(sample_assignment(c, 11)),
        map(rule, widths_of(c.experts), comm.size()),
        lanes(c.lanes, c.sequences, c.seq_len, comm.size(), comm.rank()),
        mine(test::tokens_of(all, lanes.first_token(), lanes.my_tokens())) {
    const i64 tokens = lanes.tokens();
    const Matrix x = normal_matrix(tokens, c.width, 1), d_y = normal_matrix(tokens, c.width, 2), before = normal_matrix(tokens, c.width, 3);
    const LaneLayout whole(c.lanes, c.sequences, c.seq_len, 1, 0);
    truth = run(LocalExchanger(), all, ExpertMap(rule, widths_of(c.experts), 1), 0, whole, x, d_y, before);
    here = run(exchanger, mine, map, comm.rank(), lanes, my_rows(x, lanes), my_rows(d_y, lanes), my_rows(before, lanes));
    const auto first = truth.d_weight.begin() + all.offset[lanes.first_token()];
    d_weight.assign(first, first + mine.entries());
  }

  routing::Assignment all;
  ExpertMap map;
  LaneLayout lanes;
  routing::Assignment mine;
  Pass truth, here;
  std::vector<real> d_weight;  // of this rank's entries, from the truth
};

class Exchanging : public testing::TestWithParam<Case> {
 protected:
  const comm::Communicator comm_ = comm::Communicator::world();
};

TEST_P(Exchanging, WithSumsAtHomeGivesTheBitsOfOneRank) {
  for_each_exchanger(comm_, Combine::home, [&](const Exchanger& exchanger, ExpertPlacement rule) {
    const Compared c(GetParam(), rule, comm_, exchanger);
    EXPECT_TRUE(same_bits(c.here.y, my_rows(c.truth.y, c.lanes)));
    EXPECT_TRUE(same_bits(c.here.d_x, my_rows(c.truth.d_x, c.lanes)));
    EXPECT_TRUE(same_bits(c.here.d_weight, c.d_weight));
  });
}

TEST_P(Exchanging, WithSumsAtTheOwnerDiffersByRoundingOnly) {
  for_each_exchanger(comm_, Combine::owner, [&](const Exchanger& exchanger, ExpertPlacement rule) {
    const Compared c(GetParam(), rule, comm_, exchanger);
    EXPECT_TRUE(test::all_near(c.here.y.flat(), my_rows(c.truth.y, c.lanes).flat(), 1e-5));
    EXPECT_TRUE(test::all_near(c.here.d_x.flat(), my_rows(c.truth.d_x, c.lanes).flat(), 1e-5));
    EXPECT_TRUE(same_bits(c.here.d_weight, c.d_weight));
  });
}

TEST_P(Exchanging, BringsEveryExpertTheRowsItGetsOnOneRankInTheSameOrder) {
  for (const Combine combine : {Combine::home, Combine::owner}) {
    for_each_exchanger(comm_, combine, [&](const Exchanger& exchanger, ExpertPlacement rule) {
      const Compared c(GetParam(), rule, comm_, exchanger);
      const auto& experts = c.map.owned_by(comm_.rank());
      const experts::ExpertRows &here = c.here.plan.at_experts, &there = c.truth.plan.at_experts;
      std::size_t seen = 0;
      for (const experts::ExpertRun& truth : there.runs) {
        if (c.map.owner(truth.expert) != comm_.rank()) continue;
        ASSERT_LT(seen, here.runs.size());
        const experts::ExpertRun& run = here.runs[seen++];
        EXPECT_EQ(experts[run.expert], truth.expert);
        EXPECT_EQ(run.rows(), truth.rows()) << "expert " << truth.expert;
        if (run.rows() != truth.rows()) continue;
        EXPECT_TRUE(same_bits(test::rows_of(c.here.rows, run.begin, run.rows()), test::rows_of(c.truth.rows, truth.begin, run.rows())));
        EXPECT_TRUE(same_bits(test::rows_of(c.here.d_out, run.begin, run.rows()), test::rows_of(c.truth.d_out, truth.begin, run.rows())));
        for (i64 r = 0; r < run.rows(); ++r) EXPECT_EQ(here.weight[run.begin + r], there.weight[truth.begin + r]);
      }
      EXPECT_EQ(seen, here.runs.size());
    });
  }
}

TEST_P(Exchanging, SendsATokenOnceToEachRankThatNeedsIt) {
  const Compared c(GetParam(), ExpertPlacement::round_robin, comm_, Combine::home);
  std::vector<i64> rows(static_cast<std::size_t>(comm_.size()), 0), entries = rows;
  for (i64 t = 0; t < c.mine.tokens(); ++t) {
    std::vector<bool> needs(rows.size(), false);
    for (i64 i = c.mine.offset[t]; i < c.mine.offset[t + 1]; ++i) {
      if (!c.mine.kept[i]) continue;
      ++entries[c.map.owner(c.mine.expert[i])];
      needs[c.map.owner(c.mine.expert[i])] = true;
    }
    for (std::size_t r = 0; r < rows.size(); ++r) rows[r] += needs[r];
  }
  EXPECT_EQ(c.here.plan.send_rows, rows);
  EXPECT_EQ(c.here.plan.send_entries, entries);
}

TEST_P(Exchanging, PlanAgreesBetweenSenderAndReceiver) {
  const Compared c(GetParam(), ExpertPlacement::balanced, comm_, Combine::home);
  const ExchangePlan& plan = c.here.plan;
  EXPECT_EQ(comm::all_to_all_counts(comm_, plan.send_rows), plan.recv_rows);
  EXPECT_EQ(comm::all_to_all_counts(comm_, plan.send_entries), plan.recv_entries);

  i64 sent = 0, kept = 0, received = 0;
  for (const i64 n : plan.send_entries) sent += n;
  for (const i64 n : plan.recv_entries) received += n;
  std::vector<bool> used(static_cast<std::size_t>(sent), false);
  for (std::size_t i = 0; i < plan.return_slot.size(); ++i) {
    EXPECT_EQ(plan.return_slot[i] < 0, c.mine.kept[i] == 0);
    if (plan.return_slot[i] < 0) continue;
    ++kept;
    ASSERT_LT(plan.return_slot[i], sent);
    EXPECT_FALSE(used[plan.return_slot[i]]) << "two assignments share the place " << plan.return_slot[i];
    used[plan.return_slot[i]] = true;
  }
  EXPECT_EQ(kept, sent);
  EXPECT_EQ(plan.rows(), received);
  std::vector<std::int32_t> entries = plan.row_entry;
  std::ranges::sort(entries);
  for (std::size_t i = 0; i < entries.size(); ++i) EXPECT_EQ(entries[i], static_cast<std::int32_t>(i)) << "row_entry is no permutation";
  EXPECT_EQ(static_cast<i64>(plan.home.size()), sent);
}

// <D x, r> = <x, D^T r> with D = dispatch: what backward rests on.
TEST_P(Exchanging, DispatchAndItsAdjointAreTransposes) {
  for (const Combine combine : {Combine::home, Combine::owner}) {
    const Compared c(GetParam(), ExpertPlacement::block, comm_, combine);
    const AllToAllExchanger exchanger(comm_, combine);
    const Matrix x = normal_matrix(c.mine.tokens(), GetParam().width, 100 + static_cast<std::uint64_t>(comm_.rank()));
    const Matrix r = normal_matrix(c.here.plan.rows(), GetParam().width, 200 + static_cast<std::uint64_t>(comm_.rank()));
    Kept kept;
    Matrix y(x.rows(), x.cols()), back(x.rows(), x.cols());
    std::vector<real> d_row_weight(static_cast<std::size_t>(r.rows())), d_weight(c.mine.expert.size());
    const experts::ExpertRows& rows = c.here.plan.at_experts;
    const auto& experts = c.map.owned_by(comm_.rank());
    auto trip = exchanger.start_forward(x, c.mine, c.here.plan, kept, y);
    const Matrix dx = pretend_experts(rows, experts, trip->arrive(), trip->landing(), true, [](i64, real*, i64) {});
    trip->leave({});
    trip->finish();
    trip = exchanger.start_backward(x, c.mine, c.here.plan, back, d_weight);
    pretend_experts(rows, experts, trip->arrive(), trip->landing(), false, [&](i64 at, real* row, i64) { std::copy_n(r.row(at), x.cols(), row); });
    trip->leave(d_row_weight);
    trip->finish();
    double both[2] = {0, 0}, size = 1;
    for (std::size_t i = 0; i < dx.flat().size(); ++i) both[0] += static_cast<double>(dx.flat()[i]) * static_cast<double>(r.flat()[i]);
    for (std::size_t i = 0; i < x.flat().size(); ++i) both[1] += static_cast<double>(x.flat()[i]) * static_cast<double>(back.flat()[i]);
    comm::all_reduce_sum<double>(comm_, both);
    size += static_cast<double>(comm::sum_over<i64>(comm_, r.rows() * r.cols()));
    EXPECT_NEAR(both[0], both[1], 1e-6 * size);
  }
}

// Both add up what each rank made of a token, rank after rank.
TEST_P(Exchanging, GatherGivesTheBitsOfSumsAtTheOwner) {
  const Compared c(GetParam(), ExpertPlacement::round_robin, comm_, AllToAllExchanger(comm_, Combine::owner));
  const Compared all(GetParam(), ExpertPlacement::round_robin, comm_, AllToAllExchanger(comm_, Combine::owner, nodes_of(comm_), Reach::all));
  EXPECT_EQ(comm::all_gather_v<real>(comm_, c.here.y.flat()), comm::all_gather_v<real>(comm_, all.here.y.flat()));
  EXPECT_EQ(comm::all_gather_v<real>(comm_, c.here.d_x.flat()), comm::all_gather_v<real>(comm_, all.here.d_x.flat()));
}


INSTANTIATE_TEST_SUITE_P(Cases, Exchanging, testing::ValuesIn(cases()), [](const auto& of) { return std::string(of.param.name); });

class ChosenExchange : public testing::Test {
 protected:
  ExchangeChoice choose(const char* kind, Combine combine = Combine::home, const ExchangeLoad& load = {}) const {
    ExchangeConfig config;
    config.kind = kind;
    config.combine = combine;
    config.pretend_ranks = 4;
    return choose_exchange(config, world_, load);
  }
  const comm::Communicator world_ = comm::Communicator::world();
};

TEST_F(ChosenExchange, IsLocalOnOneRankAndSharesMemoryOnOneNode) {
  EXPECT_EQ(choose("auto").kind, world_.size() == 1 ? "local" : "hierarchical");
  for (const char* kind : {"all_to_all", "hierarchical", "gather"}) EXPECT_EQ(choose(kind).kind, kind);
  for (const char* kind : {"local", "dry_run"}) {
    if (world_.size() == 1) {
      EXPECT_EQ(choose(kind).kind, kind);
    } else {
      const std::string message = test::message_of<UserError>([&] { choose(kind); });
      EXPECT_TRUE(test::contains(message, std::string("exchange.kind = ") + kind)) << message;
      EXPECT_TRUE(test::contains(message, "all_to_all")) << message;
    }
  }
}

TEST_F(ChosenExchange, GathersInChunksOfTokensOnly) {
  ExchangeConfig config;
  config.kind = "gather";
  config.combine = Combine::owner;
  config.chunks = 3;
  EXPECT_EQ(choose_exchange(config, world_, {512, 64, 2, ChunksOf::tokens}).chunks, 3);
  const std::string message = test::message_of<UserError>([&] { choose_exchange(config, world_, {512, 64, 2}); });
  EXPECT_TRUE(test::contains(message, "exchange.chunks = 3")) << message;
}

TEST_F(ChosenExchange, IsTheSameOnAllRanksAndSaysWhatItRestsOn) {
  for (const Combine combine : {Combine::home, Combine::owner}) {
    const ExchangeChoice choice = choose("auto", combine, {512, 64, 2});
    const std::string words = choice.in_words();
    EXPECT_EQ(comm::broadcast(world_, words), words);
    EXPECT_EQ(choice.predictions.empty(), world_.size() == 1);
    if (world_.size() == 1) continue;
    EXPECT_EQ(choice.predictions.size(), combine == Combine::home ? 2u : 3u) << "a gather does not give the bits of one rank";
    EXPECT_EQ(choice.kind, name_of(choice.predictions.front().kind));
    EXPECT_GT(choice.machine.within.per_message, 0);
    EXPECT_GT(choice.machine.per_copied_byte, 0);
    EXPECT_TRUE(test::contains(words, "predicted")) << words;
  }
}

}  // namespace
}  // namespace pleiad::exchange
