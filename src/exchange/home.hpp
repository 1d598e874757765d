// How a trip ends: what came home is added up there. Shared by the exchangers over MPI.
#pragma once
#include <algorithm>
#include <span>

#include "pleiad/exchange/plan.hpp"
#include "pleiad/ops/vec.hpp"
#include "pleiad/routing/assignment.hpp"

namespace pleiad::exchange {

/// How often messages are moved on before a tile. Once takes in about one piece of each connection and gives out as many as it takes; each time MPI may
/// offer the core to others, who on a busy machine then have it for milliseconds.
inline constexpr int k_looks = 4;

/// How one direction of travel ends: forward sums weighted results, backward adds gradients and brings those of the weights.
struct Home {
  MatrixView sum;
  std::span<real> d_weight;  // empty forward
  bool forward;
};

/// Adds up what plan.home lists, token by token: forward in place of what was there, backward to it. `row_of(slot)` is a row that came back; `weighted`:
/// it is multiplied by the weight of its assignment.
template <class RowOf>
void sum_at_home(const Home& home, const ExchangePlan& plan, const routing::Assignment& a, bool weighted, RowOf row_of) {
  const i64 width = home.sum.cols;
  const HomeEntry *e = plan.home.data(), *end = e + plan.home.size();
  for (i64 t = 0; t < home.sum.rows; ++t) {
    real* to = home.sum.row(t);
    if (home.forward) std::fill_n(to, width, real{0});
    for (; e != end && e->token == t; ++e) {
      weighted ? ops::vec::axpy(a.weight[static_cast<std::size_t>(e->entry)], row_of(e->slot), to, width) : ops::vec::add(row_of(e->slot), to, width);
    }
  }
}

}  // namespace pleiad::exchange
