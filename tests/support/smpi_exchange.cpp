// The real exchange on simulated ranks, every row checked: tests/cli/smpi.sh compiles this and the rooms it needs for SimGrid's SMPI. A row is its token's number, in several forms; an
// expert makes of it a row that names token and expert; weights are small whole numbers. All sums are then exact in single precision, so whatever arrives, and whatever comes home, has one
// right value, on any number of ranks and in any order. Every rank knows the choices of all tokens.
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "pleiad/exchange/all_to_all.hpp"
#include "pleiad/exchange/hierarchical.hpp"

namespace pleiad::exchange {
namespace {

constexpr i64 k_width = 4, k_sequences_per_rank = 2, k_seq_len = 3, k_choices = 3;

struct Choice {
  i64 expert, weight;
  bool kept;
};

/// A number of a token's that looks like chance.
i64 mixed(i64 token, i64 i) { return (token * 7919 + i * 104729 + token * token % 1009 * 31) % 1000003; }

/// 0 to k_choices different experts, some dropped; every fifth token wants expert 1, so that one rank is crowded.
std::vector<Choice> choices_of(i64 token, i64 experts) {
  std::vector<Choice> all;
  for (i64 i = 0; i < mixed(token, 99) % (k_choices + 1); ++i) {
    const i64 expert = i == 0 && token % 5 == 0 ? 1 : mixed(token, i) % experts;
    if (std::ranges::any_of(all, [&](const Choice& c) { return c.expert == expert; })) continue;
    all.push_back({expert, 1 + mixed(token, 20 + i) % 3, mixed(token, 40 + i) % 7 != 0});
  }
  return all;
}

real identity(i64 token, i64 j) { return static_cast<real>(j == 0 ? token : j == 1 ? token % 13 : j == 2 ? 1 : -token); }
/// What expert e makes of a row of a token: both can be read from it.
real made(i64 token, i64 expert, i64 j) { return static_cast<real>(j == 0 ? token : j == 1 ? expert : j == 2 ? 1 : token % 17 + expert % 19); }

class Check {
 public:
  void that(bool good, const char* what, i64 rank, i64 a, i64 b) {
    ++checks_;
    if (!good && ++errors_ <= 5) std::printf("rank %ld: %s (%ld, %ld)\n", static_cast<long>(rank), what, static_cast<long>(a), static_cast<long>(b));
  }
  i64 checks() const { return checks_; }
  i64 errors() const { return errors_; }

 private:
  i64 checks_ = 0, errors_ = 0;
};

struct Problem {
  const comm::Communicator& comm;
  i64 experts;
  ExpertMap map;
  LaneLayout lanes;
  routing::Assignment mine;

  Problem(const comm::Communicator& c, i64 lanes_count)
      : comm(c), experts(2 * c.size() + 3), map(ExpertPlacement::round_robin, std::vector<i64>(static_cast<std::size_t>(experts), 1), c.size()), lanes(lanes_count, k_sequences_per_rank * c.size(), k_seq_len, c.size(), c.rank()) {
    mine.experts = experts;
    for (i64 t = 0; t < lanes.my_tokens(); ++t) {
      for (const Choice& choice : choices_of(lanes.first_token() + t, experts)) {
        mine.expert.push_back(static_cast<std::int32_t>(choice.expert));
        mine.weight.push_back(static_cast<real>(choice.weight));
        mine.kept.push_back(choice.kept);
      }
      mine.offset.push_back(mine.entries());
    }
  }
  i64 token(i64 local) const { return lanes.first_token() + local; }
};

/// The experts' part of one pass: what arrived must be exactly what the choices of all tokens say, expert by expert, in the order of the tokens.
void work(const Problem& p, const ExchangePlan& plan, ConstMatrixView rows, const experts::Landing& landing, bool forward, std::vector<real>& d_row_weight, Check& check) {
  const std::vector<i64>& mine = p.map.owned_by(p.comm.rank());
  std::vector<std::vector<std::pair<i64, i64>>> wanted(mine.size());  // token and weight
  for (i64 t = 0; t < p.lanes.tokens(); ++t) {
    for (const Choice& c : choices_of(t, p.experts)) {
      const auto place = std::ranges::find(mine, c.expert);
      if (c.kept && place != mine.end()) wanted[static_cast<std::size_t>(place - mine.begin())].emplace_back(t, c.weight);
    }
  }
  std::size_t expected = 0;
  for (const auto& w : wanted) expected += w.size();
  check.that(static_cast<std::size_t>(plan.rows()) == expected, "rows of experts", p.comm.rank(), plan.rows(), static_cast<i64>(expected));
  const experts::ExpertRows& at = plan.at_experts;
  for (const experts::ExpertRun& run : at.runs) {
    const auto& of_expert = wanted[static_cast<std::size_t>(run.expert)];
    check.that(static_cast<std::size_t>(run.end - run.begin) == of_expert.size(), "rows of an expert", p.comm.rank(), run.end - run.begin, static_cast<i64>(of_expert.size()));
    for (i64 r = run.begin; r < run.end && r - run.begin < static_cast<i64>(of_expert.size()); ++r) {
      if (landing.pace) landing.pace->reach(r);
      const auto [token, weight] = of_expert[static_cast<std::size_t>(r - run.begin)];
      const real* row = rows.row(at.token[static_cast<std::size_t>(r)]);
      for (i64 j = 0; j < k_width; ++j) check.that(row[j] == (forward ? identity(token, j) : -identity(token, j)), "a row that arrived", p.comm.rank(), token, j);
      check.that(at.weight[static_cast<std::size_t>(r)] == static_cast<real>(weight), "the weight of a row", p.comm.rank(), token, weight);
      d_row_weight[static_cast<std::size_t>(r)] = static_cast<real>(token % 1000 + mine[static_cast<std::size_t>(run.expert)]);
      real* to = landing.into.row(landing.place[static_cast<std::size_t>(r)]);
      for (i64 j = 0; j < k_width; ++j) {
        const real value = made(token, mine[static_cast<std::size_t>(run.expert)], j);
        to[j] = landing.add ? to[j] + (forward ? at.weight[static_cast<std::size_t>(r)] : 1) * value : value;
      }
    }
  }
}

void both_passes(const Problem& p, const Exchanger& exchanger, Check& check) {
  const i64 tokens = p.lanes.my_tokens(), rank = p.comm.rank();
  Matrix x(tokens, k_width), d_y(tokens, k_width), y(tokens, k_width), d_x(tokens, k_width);
  for (i64 t = 0; t < tokens; ++t) {
    for (i64 j = 0; j < k_width; ++j) x.row(t)[j] = identity(p.token(t), j), d_y.row(t)[j] = -identity(p.token(t), j), y.row(t)[j] = 1e30f, d_x.row(t)[j] = static_cast<real>(j + 1);
  }
  const ExchangePlan plan = exchanger.make_plan(p.mine, p.map, p.lanes, k_width);
  std::vector<real> d_row_weight(static_cast<std::size_t>(plan.rows())), d_weight(p.mine.expert.size(), 1e30f);
  Kept kept;
  auto trip = exchanger.start_forward(x, p.mine, plan, kept, y);
  ConstMatrixView rows = trip->begin();
  work(p, plan, rows, trip->landing(), true, d_row_weight, check);
  trip->leave({});
  trip->finish();
  trip = exchanger.start_backward(d_y, p.mine, plan, d_x, d_weight);
  rows = trip->begin();
  work(p, plan, rows, trip->landing(), false, d_row_weight, check);
  trip->leave(d_row_weight);
  trip->finish();
  for (i64 t = 0; t < tokens; ++t) {
    i64 entry = p.mine.offset[static_cast<std::size_t>(t)];
    real sum[k_width] = {}, d_sum[k_width] = {1, 2, 3, 4};
    for (const Choice& c : choices_of(p.token(t), p.experts)) {
      check.that(d_weight[static_cast<std::size_t>(entry++)] == (c.kept ? static_cast<real>(p.token(t) % 1000 + c.expert) : 0), "the gradient of a weight", rank, p.token(t), c.expert);
      for (i64 j = 0; j < k_width && c.kept; ++j) sum[j] += static_cast<real>(c.weight) * made(p.token(t), c.expert, j), d_sum[j] += made(p.token(t), c.expert, j);
    }
    for (i64 j = 0; j < k_width; ++j) {
      check.that(y.row(t)[j] == sum[j], "a sum that came home", rank, p.token(t), j);
      check.that(d_x.row(t)[j] == d_sum[j], "a gradient that came home", rank, p.token(t), j);
    }
  }
}

/// `few`: numbers of ways, in the order below, such as 15; nothing: all.
int run(const std::string& few) {
  const comm::Communicator world = comm::Communicator::world();
  i64 lanes = 1;
  while (lanes < world.size()) lanes *= 2;
  const Problem p(world, lanes);
  const NodeLayout nodes = nodes_of(world);
  if (world.root()) std::printf("%ld ranks on %ld nodes, %ld experts, %ld tokens\n", static_cast<long>(world.size()), static_cast<long>(nodes.nodes()), static_cast<long>(p.experts), static_cast<long>(p.lanes.tokens()));
  i64 errors = 0;
  int ways = 0;
  const auto one = [&](const char* what, const Exchanger& exchanger) {
    if (const char number = static_cast<char>('1' + ways++); !few.empty() && few.find(number) == std::string::npos) return;
    Check check;
    both_passes(p, exchanger, check);
    long all[2] = {static_cast<long>(check.checks()), static_cast<long>(check.errors())};
    MPI_Allreduce(MPI_IN_PLACE, all, 2, MPI_LONG, MPI_SUM, world.native());
    errors += all[1];
    if (world.root()) std::printf("%-28s %9ld numbers checked, %ld wrong, %.3f ms simulated so far\n", what, all[0], all[1], 1e3 * MPI_Wtime());
    std::fflush(stdout);
  };
  one("flat, summed at home", AllToAllExchanger(world, Combine::home, nodes));
  one("flat, summed by the owner", AllToAllExchanger(world, Combine::owner, nodes));
  one("flat in 2 chunks", AllToAllExchanger(world, Combine::home, nodes, Reach::needed, 2));
  one("gather", AllToAllExchanger(world, Combine::owner, nodes, Reach::all));
  one("hierarchical, at home", HierarchicalExchanger(world, Combine::home, nodes, 1));
  one("hierarchical, by the owner", HierarchicalExchanger(world, Combine::owner, nodes, 1));
  one("hierarchical in 2 chunks", HierarchicalExchanger(world, Combine::home, nodes, 2));
  return errors == 0 ? 0 : 1;
}

}  // namespace
}  // namespace pleiad::exchange

// What SMPI lacks of the functions that the exchange calls; smpi.sh gives them other names. Whoever polls must let simulated time pass.
extern "C" int MPI_Get_elements_x(MPI_Status* status, MPI_Datatype type, MPI_Count* count) {
  int n = 0, bytes = 0;
  MPI_Get_count(status, MPI_BYTE, &bytes);
  MPI_Type_size(type, &n);
  *count = bytes / std::max(n, 1);
  return MPI_SUCCESS;
}

extern "C" int sched_yield() noexcept {
  usleep(1);
  return 0;
}

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  const int code = pleiad::exchange::run(argc > 1 ? argv[1] : "");
  MPI_Finalize();
  return code;
}
