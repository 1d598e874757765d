// The series of a run record as plots need them: read in pieces, averaged over stretches of steps, rows lost in a crash left out.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "pleiad/io/h5.hpp"
#include "pleiad/report/statistics.hpp"

namespace pleiad::report {

/// What loss is drawn against: at row i what had been done after step i + 1.
enum class Axis { steps, tokens, flops, seconds };

struct RunCurves {
  std::vector<double> train_loss;              ///< by step; NaN where lost
  std::vector<double> tokens, flops, seconds;  ///< summed up to the step
  std::vector<double> eval_step, eval_loss, eval_accuracy;
  double done(Axis axis, double step) const;  ///< after so many steps
};
RunCurves read_curves(const std::string& path);

/// Means of a dataset [rows, ...] over stretches of its rows.
struct Binned {
  std::vector<double> step;               ///< centre of each bin; rows are steps from 1 on
  std::vector<std::vector<double>> mean;  ///< [bins][width of a row]; NaN where no row of the bin has a value
  i64 width = 0;                          ///< of a row
};
/// At most `bins` of them. What is NaN or -1 was lost.
Binned read_binned(const io::H5File& file, const std::string& dataset, i64 bins);

/// Rows of a dataset [rows, ...], each as one vector; lost values are NaN. No rows if it is not there.
std::vector<std::vector<double>> read_all_rows(const io::H5File& file, const std::string& dataset);
/// The last row, or nothing.
std::vector<double> read_last_row(const io::H5File& file, const std::string& dataset);
/// Sums over all rows.
std::vector<double> read_sum(const io::H5File& file, const std::string& dataset);

}  // namespace pleiad::report
