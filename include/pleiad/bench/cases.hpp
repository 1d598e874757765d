// The standard cases of the benchmarks: sizes by name, so that figures of different machines and days speak of the same work.
#pragma once
#include <string>
#include <vector>

#include "pleiad/bench/roofs.hpp"

namespace pleiad::bench {

/// Products of one expert's pass, `in` forward, `d_x` and `d_w` backward, one after the other for all experts of a layer.
struct ProductCase {
  std::string name, what;
  ProductShape shape;
};
std::vector<ProductCase> product_cases();

/// A layer or a model, as settings section.key=value of a configuration of training.
struct ModelCase {
  std::string name, what;
  std::vector<std::string> settings;
};
std::vector<ModelCase> layer_cases();
std::vector<ModelCase> exchange_cases();
/// Between nodes of one rank with 200 Mbit/s experts and exchange take about as long on one core of 2025.
std::vector<ModelCase> overlap_cases();
std::vector<ModelCase> step_cases();

/// What an option --case may say and does: all of them, or those asked for in the order of the list. UserError naming `bench` for another name.
template <class Case>
std::vector<Case> chosen_cases(const std::string& bench, std::vector<Case> all, const std::vector<std::string>& names);

}  // namespace pleiad::bench
