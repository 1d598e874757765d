// What a point of a sweep would be as a run: the base configuration with its settings, read by the same components that training uses.
#pragma once
#include <map>

#include "pleiad/app/data_setup.hpp"
#include "pleiad/sweep/plan.hpp"

namespace pleiad::app {

class SweepResolver : public sweep::Resolver {
 public:
  /// `base`: the text of the base configuration, `name` what it is called in messages. Works by itself on one rank.
  SweepResolver(std::string base, std::string name);
  sweep::Resolved resolve(const std::vector<sweep::Setting>& settings, i64 ranks, std::optional<double> mean_k) override;

 private:
  const Data& data(const std::string& corpus, std::optional<double> mask_share);

  std::string base_, name_;
  comm::Communicator self_;
  std::map<std::pair<std::string, std::optional<double>>, Data> data_;  // by path and mask_share: read once
};

}  // namespace pleiad::app
