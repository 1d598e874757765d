// Every way for rows to travel.
#pragma once
#include "exchange/sample_problem.hpp"

namespace pleiad::exchange {

constexpr ExpertPlacement k_rules[] = {ExpertPlacement::block, ExpertPlacement::round_robin, ExpertPlacement::balanced};

inline std::vector<i64> widths_of(i64 experts) {
  std::vector<i64> widths;
  for (i64 e = 0; e < experts; ++e) widths.push_back(1 + e * e % 7);
  return widths;
}

/// work(exchanger, rule) for every kind, with and without chunks, with every rule of placement at least once.
template <class Work>
void for_each_exchanger(const comm::Communicator& comm, Combine combine, Work work) {
  for (const ExpertPlacement rule : k_rules) {
    work(AllToAllExchanger(comm, combine), rule);
    for (const i64 chunks : {2, 3, 64}) work(AllToAllExchanger(comm, combine, nodes_of(comm), Reach::needed, chunks), rule);
    for (const i64 chunks : {1, 3, 64}) work(AllToAllExchanger(comm, combine, nodes_of(comm), Reach::needed, chunks, ChunksOf::tokens), rule);
    if (combine == Combine::home) continue;
    work(AllToAllExchanger(comm, combine, nodes_of(comm), Reach::all), rule);
    for (const i64 chunks : {2, 64}) work(AllToAllExchanger(comm, combine, nodes_of(comm), Reach::all, chunks, ChunksOf::tokens), rule);
  }
  std::size_t number = 0;
  for (const NodeLayout& nodes : node_layouts(comm.size())) {
    SCOPED_TRACE("node layout " + std::to_string(number));
    for (const i64 chunks : {1, 2, 64}) work(HierarchicalExchanger(comm, combine, nodes, chunks), k_rules[number++ % 3]);
  }
}

}  // namespace pleiad::exchange
