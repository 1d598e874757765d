// A rate that was measured at the crossings of two ascending axes, such as operations per second over the rows and the width of a matrix product.
#pragma once
#include <vector>

#include "pleiad/core/real.hpp"

namespace pleiad::sim {

class RateTable {
 public:
  RateTable() = default;
  /// rates [rows.size() x widths.size()], width after width of the first number of rows, then of the next.
  /// pre: both axes ascend, are above 0 and not empty; rates are above 0 and as many as there are crossings.
  RateTable(std::vector<double> rows, std::vector<double> widths, std::vector<double> rates);

  struct Answer {
    double rate = 0;
    bool measured = true;  ///< false: asked for outside of the axes
  };
  /// Between crossings the logarithm of the rate is interpolated, linearly in the logarithms of both axes. Below an axis the rate falls in proportion, so that
  /// smaller work takes the time of the least that was measured; beyond it the rate stays. pre: both above 0; a table that holds something.
  Answer at(double row, double width) const;

  bool empty() const { return rates_.empty(); }
  const std::vector<double>& rows() const { return rows_; }
  const std::vector<double>& widths() const { return widths_; }
  const std::vector<double>& rates() const { return rates_; }
  bool operator==(const RateTable&) const = default;

 private:
  std::vector<double> rows_, widths_, rates_;
};

}  // namespace pleiad::sim
