#include "pleiad/bench/exchange.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "pleiad/comm/collectives.hpp"

namespace pleiad::bench {

namespace {

i64 sum(std::span<const i64> v) { return std::accumulate(v.begin(), v.end(), i64{0}); }

/// Rows carry their identity: the number of the token first, then numbers that follow from it. All are whole and exact.
real identity(i64 token, i64 column) { return static_cast<real>(column == 0 ? token : (31 * token + 17 * column) % 1021); }

}  // namespace

ExchangeBench::ExchangeBench(LayerBench& layer, const exchange::Exchanger& exchanger, exchange::Combine combine)
    : layer_(layer), exchanger_(exchanger), combine_(combine) {
  layer_.forward(layer_.x(), true, pass_);
  const i64 tokens = layer_.x().rows(), width = layer_.x().cols();
  plan_ = exchanger_.make_plan(assignment(), layer_.layer().expert_map(), layer_.lanes(), width);
  x_.resize(tokens, width);
  y_.resize(tokens, width);
  d_x_.resize(tokens, width);
  for (i64 t = 0; t < tokens; ++t) {
    for (i64 j = 0; j < width; ++j) x_(t, j) = identity(layer_.lanes().first_token() + t, j);
  }
  d_row_weight_.resize(static_cast<std::size_t>(plan_.rows()));
  d_weight_.resize(assignment().expert.size());
  // What comes home was sent there by entries or by rows.
  const std::vector<i64>& received = combine_ == exchange::Combine::home ? plan_.send_entries : plan_.send_rows;
  raw_send_.resize(std::max(sum(rows_there()), sum(rows_home())), width);
  raw_recv_.resize(std::max(sum(plan_.recv_rows), sum(received)), width);
}

Timed ExchangeBench::forward() {
  return {[this] {
    const auto trip = exchanger_.start_forward(x_, assignment(), plan_, kept_, y_);
    trip->arrive();
    trip->landing();
    trip->leave({});
    trip->finish();
  }};
}

Timed ExchangeBench::backward() {
  return {[this] {
    const auto trip = exchanger_.start_backward(x_, assignment(), plan_, d_x_, d_weight_);
    trip->arrive();
    trip->landing();
    trip->leave(d_row_weight_);
    trip->finish();
  }};
}

Timed ExchangeBench::raw(bool self) {
  const comm::Communicator& group = layer_.grid().expert_group();
  const auto counts = [&](std::vector<i64> rows) {
    if (!self) rows[static_cast<std::size_t>(group.rank())] = 0;
    return rows;
  };
  const std::vector<i64> there = counts(rows_there()), arriving = counts(plan_.recv_rows), home = counts(rows_home());
  const std::vector<i64> returning = counts(combine_ == exchange::Combine::home ? plan_.send_entries : plan_.send_rows);
  return {[this, &group, there, arriving, home, returning] {
    comm::all_to_all_rows<real>(group, raw_send_.data(), there, raw_recv_.data(), arriving, raw_send_.cols());
    comm::all_to_all_rows<real>(group, raw_send_.data(), home, raw_recv_.data(), returning, raw_send_.cols());
  }};
}

double ExchangeBench::bytes() const {
  const std::size_t me = static_cast<std::size_t>(layer_.grid().expert_group().rank());
  const i64 rows = sum(rows_there()) - rows_there()[me] + sum(rows_home()) - rows_home()[me];
  return static_cast<double>(comm::sum_over<i64>(layer_.grid().world(), rows * x_.cols())) * sizeof(real);
}

/// Rows that are not whole tokens, in ascending order for each expert.
i64 ExchangeBench::wrong_rows(ConstMatrixView arrived) const {
  const experts::ExpertRows& rows = plan_.at_experts;
  const i64 group = layer_.grid().world().rank() / layer_.grid().expert_group().size(), ranks = layer_.grid().expert_group().size();
  const i64 begin = layer_.lanes().sequences_of(group * ranks).begin * layer_.lanes().seq_len();
  const i64 end = layer_.lanes().sequences_of((group + 1) * ranks - 1).end() * layer_.lanes().seq_len();
  i64 wrong = 0;
  for (const experts::ExpertRun& run : rows.runs) {
    i64 before = begin;
    for (i64 r = run.begin; r < run.end; ++r) {
      const real* row = arrived.row(rows.token[static_cast<std::size_t>(r)]);
      const i64 token = static_cast<i64>(row[0]);
      bool right = token >= before && token < end;  // heads may choose the same expert
      for (i64 j = 0; j < arrived.cols && right; ++j) right = row[j] == identity(token, j);
      wrong += !right;
      before = std::max(before, token);
    }
  }
  return wrong;
}

std::vector<Check> ExchangeBench::check() {
  const comm::Communicator& world = layer_.grid().world();
  const auto trip = exchanger_.start_forward(x_, assignment(), plan_, kept_, y_);
  const ConstMatrixView arrived = trip->arrive();
  const i64 wrong = comm::sum_over<i64>(world, wrong_rows(arrived)), all = comm::sum_over<i64>(world, plan_.rows());
  const experts::Landing out = trip->landing();
  const experts::ExpertRows& rows = plan_.at_experts;
  for (i64 r = 0; r < rows.rows(); ++r) {
    const real* from = arrived.row(rows.token[static_cast<std::size_t>(r)]);
    real* to = out.into.row(out.place[static_cast<std::size_t>(r)]);
    for (i64 j = 0; j < arrived.cols; ++j) to[j] = out.add ? to[j] + rows.weight[static_cast<std::size_t>(r)] * from[j] : from[j];
  }
  trip->leave({});
  trip->finish();
  double worst = 0;
  for (i64 t = 0; t < y_.rows(); ++t) {
    double weight = 0;
    for (i64 i = assignment().offset[t]; i < assignment().offset[t + 1]; ++i) weight += assignment().kept[i] ? static_cast<double>(assignment().weight[i]) : 0;
    for (i64 j = 0; j < y_.cols(); ++j) {
      const double exact = weight * static_cast<double>(x_(t, j)), error = std::abs(static_cast<double>(y_(t, j)) - exact) / std::max(std::abs(exact), 1.0);
      if (!(error <= worst)) worst = error;  // NaN stays
    }
  }
  comm::all_reduce_max<double>(world, std::span(&worst, 1));
  return {{fmt::format("rows of {} that experts do not see as sent", all), static_cast<double>(wrong), 0},
          {"results at home of experts that return what they got", worst, sizeof(real) == 4 ? 1e-5 : 1e-12}};
}

}  // namespace pleiad::bench
