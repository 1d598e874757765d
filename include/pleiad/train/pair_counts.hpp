// How often an expert and a label (latent domain, vocabulary number) met, kept sparse: at a million experts a dense table would not fit.
// The figures are made of whole numbers only, so they have the same bits on any number of ranks.
#pragma once
#include <vector>

#include "pleiad/comm/communicator.hpp"

namespace pleiad::train {

class PairCounts {
 public:
  /// Labels are 0 .. labels-1.
  explicit PairCounts(i64 labels) : labels_(labels) {}
  /// One meeting on this rank.
  void add(i64 expert, i64 label);
  /// Mutual information of expert and label over the entropy of the label, 0 .. 1; 0 where labels have no entropy. collective.
  double information(const comm::Communicator& world);
  /// Dense [labels x experts] over all ranks. collective.
  std::vector<i64> table(const comm::Communicator& world, i64 experts);

 private:
  struct Pair {
    i64 key, count;  // expert * labels + label
  };
  void settle();

  i64 labels_;
  std::vector<i64> pending_;  // keys not counted yet
  std::vector<Pair> pairs_;   // by key, each once
};

}  // namespace pleiad::train
