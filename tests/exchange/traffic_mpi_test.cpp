// Bytes and messages: what the plan claims and what the dry run predicts, against what really goes through MPI. The MPI call that
// carries an exchange is intercepted (the profiling interface of the MPI standard) and counted.
#include <map>

#include "exchange/sample_problem.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/exchange/dry_run.hpp"

namespace {

struct Seen {
  long long bytes = 0, messages = 0;
  std::map<int, long long> to;  // bytes by destination
  void add(int count, MPI_Datatype type, int rank) {
    int size = 0;
    PMPI_Type_size(type, &size);
    bytes += static_cast<long long>(count) * size;
    to[rank] += static_cast<long long>(count) * size;
    ++messages;
  }
} seen;

}  // namespace

// A message counts even if it is empty.
extern "C" int MPI_Isend(const void* data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm, MPI_Request* request) {
  seen.add(count, type, to);
  return PMPI_Isend(data, count, type, to, tag, comm, request);
}

namespace pleiad::exchange {
namespace {

class TrafficOf : public testing::TestWithParam<Case> {};

TEST_P(TrafficOf, PlanDryRunAndMpiAgree) {
  const Case& c = GetParam();
  const comm::Communicator comm = comm::Communicator::world();
  const i64 ranks = comm.size();
  const routing::Assignment all = sample_assignment(c, 11);
  const LaneLayout lanes(c.lanes, c.sequences, c.seq_len, ranks, comm.rank());
  const routing::Assignment mine = test::tokens_of(all, lanes.first_token(), lanes.my_tokens());
  const std::vector<i64> widths(static_cast<std::size_t>(c.experts), 1);
  const Matrix x(mine.tokens(), c.width);
  for (const auto& [combine, rule] : {std::pair{Combine::home, ExpertPlacement::block}, std::pair{Combine::owner, ExpertPlacement::round_robin}}) {
    const ExpertMap map(rule, widths, ranks);
    const AllToAllExchanger exchanger(comm, combine);
    Matrix kept, y(x.rows(), x.cols()), d_x(x.rows(), x.cols());
    const auto experts_at_work = [&](RoundTrip& trip, const ExchangePlan& plan, bool forward) {
      pretend_experts(plan.at_experts, map.owned_by(comm.rank()), trip.arrive(), trip.landing(), forward, [](i64, real*, i64) {});
      const std::vector<real> d_row_weight(forward ? 0 : static_cast<std::size_t>(plan.rows()));
      trip.leave(d_row_weight);
      trip.finish();
    };
    std::vector<real> d_weight(mine.expert.size());

    seen = {};
    const ExchangePlan plan = exchanger.make_plan(mine, map, lanes, c.width);
    experts_at_work(*exchanger.start_forward(x, mine, plan, kept, y), plan, true);
    EXPECT_EQ(plan.traffic.forward_bytes, seen.bytes);
    EXPECT_EQ(plan.traffic.forward_messages, seen.messages);

    std::map<int, long long> to = seen.to;
    seen = {};
    experts_at_work(*exchanger.start_backward(y, mine, plan, d_x, d_weight), plan, false);
    EXPECT_EQ(plan.traffic.backward_bytes, seen.bytes);
    EXPECT_EQ(plan.traffic.backward_messages, seen.messages);

    std::vector<i64> counted(static_cast<std::size_t>(ranks), 0), pretended;
    for (const auto& part : {to, seen.to}) {
      for (const auto& [rank, bytes] : part) counted[rank] += bytes;
    }
    EXPECT_EQ(plan.bytes_to, counted);

    const std::vector<Traffic> predicted = DryRunExchanger(ranks, combine).traffic_per_rank(all, map, lanes, c.width, &pretended);
    EXPECT_EQ(pretended, comm::all_gather<i64>(comm, plan.bytes_to)) << "every pair of ranks";
    ASSERT_EQ(static_cast<i64>(predicted.size()), ranks);
    const Traffic& t = predicted[comm.rank()];
    EXPECT_EQ(t.forward_bytes, plan.traffic.forward_bytes);
    EXPECT_EQ(t.forward_messages, plan.traffic.forward_messages);
    EXPECT_EQ(t.backward_bytes, plan.traffic.backward_bytes);
    EXPECT_EQ(t.backward_messages, plan.traffic.backward_messages);
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, TrafficOf, testing::ValuesIn(cases()), [](const auto& of) { return std::string(of.param.name); });

}  // namespace
}  // namespace pleiad::exchange
