// Bytes and messages: what the plan claims and what the dry run predicts, against what really goes through MPI. The MPI call that
// carries an exchange is intercepted (the profiling interface of the MPI standard) and counted.
#include <map>
#include <numeric>
#include <set>

#include "exchange/sample_problem.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/comm/messages.hpp"
#include "pleiad/exchange/dry_run.hpp"

namespace {

struct Seen {
  long long bytes = 0, messages = 0;
  std::map<int, long long> to;  // bytes by destination
  void add(int count, MPI_Datatype type, int rank, bool first) {
    int size = 0;
    PMPI_Type_size(type, &size);
    bytes += static_cast<long long>(count) * size;
    to[rank] += static_cast<long long>(count) * size;
    messages += first;
  }
} seen;

}  // namespace

// A message counts even if it is empty, and once if it goes in pieces.
extern "C" int MPI_Isend(const void* data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm, MPI_Request* request) {
  seen.add(count, type, to, tag < pleiad::comm::k_more);
  return PMPI_Isend(data, count, type, to, tag, comm, request);
}

namespace pleiad::exchange {
namespace {

/// What one way to travel claims for this rank, what MPI saw and what a dry run says.
void compare(const Exchanger& exchanger, const DryRunExchanger& dry_run, const Case& c, ExpertPlacement rule, const comm::Communicator& comm) {
  const i64 ranks = comm.size();
  const routing::Assignment all = sample_assignment(c, 11);
  const LaneLayout lanes(c.lanes, c.sequences, c.seq_len, ranks, comm.rank());
  const routing::Assignment mine = test::tokens_of(all, lanes.first_token(), lanes.my_tokens());
  const ExpertMap map(rule, std::vector<i64>(static_cast<std::size_t>(c.experts), 1), ranks);
  const Matrix x(mine.tokens(), c.width);
  Kept kept;
  Matrix y(x.rows(), x.cols()), d_x(x.rows(), x.cols());
  const auto experts_at_work = [&](RoundTrip& trip, const ExchangePlan& plan, bool forward) {
    pretend_experts(plan.at_experts, map.owned_by(comm.rank()), trip.begin(), trip.landing(), forward, [](i64, real*, i64) {}, chunks_of(plan));
    const std::vector<real> d_row_weight(forward ? 0 : static_cast<std::size_t>(plan.rows()));
    trip.leave(d_row_weight);
    trip.finish();
  };
  std::vector<real> d_weight(mine.expert.size());

  seen = {};
  const ExchangePlan plan = exchanger.make_plan(mine, map, lanes, c.width);
  experts_at_work(*exchanger.start_forward(x, mine, plan, kept, y), plan, true);
  const Seen forward = seen;
  seen = {};
  experts_at_work(*exchanger.start_backward(y, mine, plan, d_x, d_weight), plan, false);
  const Seen backward = seen;

  // What goes through shared memory is no message.
  std::vector<i64> pretended;
  const std::vector<Traffic> predicted = dry_run.traffic_per_rank(all, map, lanes, c.width, &pretended);
  EXPECT_EQ(pretended, comm::all_gather<i64>(comm, plan.bytes_to)) << "every pair of ranks";
  EXPECT_EQ(std::accumulate(plan.bytes_to.begin(), plan.bytes_to.end(), i64{0}), plan.traffic.bytes());
  const bool shared = dynamic_cast<const HierarchicalExchanger*>(&exchanger) != nullptr;
  EXPECT_EQ(shared ? plan.traffic.between_bytes : plan.traffic.bytes(), forward.bytes + backward.bytes);
  if (!shared) {
    EXPECT_EQ(plan.traffic.forward_bytes, forward.bytes);
    EXPECT_EQ(plan.traffic.backward_bytes, backward.bytes);
    std::vector<i64> counted(static_cast<std::size_t>(ranks), 0);
    for (const auto& part : {forward.to, backward.to}) {
      for (const auto& [rank, bytes] : part) counted[rank] += bytes;
    }
    EXPECT_EQ(plan.bytes_to, counted);
  }
  EXPECT_EQ(plan.traffic.forward_messages, forward.messages);
  EXPECT_EQ(plan.traffic.backward_messages, backward.messages);
  ASSERT_EQ(static_cast<i64>(predicted.size()), ranks);
  const Traffic& t = predicted[comm.rank()];
  EXPECT_EQ(t.forward_bytes, plan.traffic.forward_bytes);
  EXPECT_EQ(t.forward_messages, plan.traffic.forward_messages);
  EXPECT_EQ(t.backward_bytes, plan.traffic.backward_bytes);
  EXPECT_EQ(t.backward_messages, plan.traffic.backward_messages);
  EXPECT_EQ(t.between_bytes, plan.traffic.between_bytes);
}

class TrafficOf : public testing::TestWithParam<Case> {};

TEST_P(TrafficOf, PlanDryRunAndMpiAgree) {
  const comm::Communicator comm = comm::Communicator::world();
  for (const auto& [combine, rule] : {std::pair{Combine::home, ExpertPlacement::block}, std::pair{Combine::owner, ExpertPlacement::round_robin}}) {
    for (const NodeLayout& nodes : node_layouts(comm.size())) {
      compare(AllToAllExchanger(comm, combine, nodes), DryRunExchanger(nodes, combine, Kind::all_to_all), GetParam(), rule, comm);
      for (const i64 chunks : {2, 3}) {
        compare(AllToAllExchanger(comm, combine, nodes, Reach::needed, chunks), DryRunExchanger(nodes, combine, Kind::all_to_all, chunks), GetParam(), rule, comm);
        compare(AllToAllExchanger(comm, combine, nodes, Reach::needed, chunks, ChunksOf::tokens),
                DryRunExchanger(nodes, combine, Kind::all_to_all, chunks, ChunksOf::tokens), GetParam(), rule, comm);
        if (combine == Combine::home) continue;
        compare(AllToAllExchanger(comm, combine, nodes, Reach::all, chunks, ChunksOf::tokens), DryRunExchanger(nodes, combine, Kind::gather, chunks, ChunksOf::tokens),
                GetParam(), rule, comm);
      }
      if (combine == Combine::owner) {
        compare(AllToAllExchanger(comm, combine, nodes, Reach::all), DryRunExchanger(nodes, combine, Kind::gather), GetParam(), rule, comm);
      }
      for (const i64 chunks : {1, 3}) {
        compare(HierarchicalExchanger(comm, combine, nodes, nodes.nodes() > 1 ? chunks : 1), DryRunExchanger(nodes, combine, Kind::hierarchical, chunks), GetParam(), rule, comm);
      }
    }
  }
}

// Counted from scratch: every distinct pair of token and node, not its own, is one row there, and with sums on the node one row back, each in both passes.
TEST_P(TrafficOf, ANodeGetsATokenOnce) {
  const Case& c = GetParam();
  const comm::Communicator comm = comm::Communicator::world();
  const routing::Assignment all = sample_assignment(c, 11);
  const LaneLayout lanes(c.lanes, c.sequences, c.seq_len, comm.size(), comm.rank());
  const ExpertMap map(ExpertPlacement::round_robin, std::vector<i64>(static_cast<std::size_t>(c.experts), 1), comm.size());
  for (const NodeLayout& nodes : node_layouts(comm.size())) {
    i64 rows = 0, entries = 0, tables = 0;
    for (i64 r = 0; r < comm.size(); ++r) {
      const Range tokens{lanes.sequences_of(r).begin * c.seq_len, lanes.sequences_of(r).count * c.seq_len};
      for (i64 t = tokens.begin; t < tokens.end(); ++t) {
        std::set<i64> there;
        for (i64 i = all.offset[t]; i < all.offset[t + 1]; ++i) {
          const i64 node = nodes.node_of(map.owner(all.expert[i]));
          if (!all.kept[i] || node == nodes.node_of(r)) continue;
          there.insert(node);
          ++entries;
        }
        rows += static_cast<i64>(there.size());
      }
    }
    for (i64 from = 0; from < nodes.nodes(); ++from) {
      for (i64 to = 0; to < nodes.nodes(); ++to) {
        if (from != to) tables += ticket_table_bytes(static_cast<i64>(nodes.ranks_of(from).size()), static_cast<i64>(nodes.ranks_of(to).size()));
      }
    }
    const routing::Assignment mine = test::tokens_of(all, lanes.first_token(), lanes.my_tokens());
    const ExchangePlan plan = HierarchicalExchanger(comm, Combine::owner, nodes).make_plan(mine, map, lanes, c.width);
    const i64 number = static_cast<i64>(sizeof(real)), ticket = 2 * static_cast<i64>(sizeof(std::int32_t)) + number;
    EXPECT_EQ(comm::sum_over<i64>(comm, plan.traffic.between_bytes), 4 * rows * c.width * number + entries * (ticket + number) + rows * static_cast<i64>(sizeof(std::int32_t)) + tables);
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, TrafficOf, testing::ValuesIn(cases()), [](const auto& of) { return std::string(of.param.name); });

}  // namespace
}  // namespace pleiad::exchange
