#include "pleiad/report/series.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "pleiad/io/run_summary.hpp"

namespace pleiad::report {

namespace {

i64 row_width(const io::Shape& shape) { return std::accumulate(shape.begin() + 1, shape.end(), i64{1}, std::multiplies<>()); }

/// Calls use(row number, values) for every row; memory for a few MiB at a time.
void for_each_row(const io::H5File& file, const std::string& dataset, const std::function<void(i64, std::span<const double>)>& use) {
  if (!file.exists(dataset)) return;
  const io::Shape shape = file.shape(dataset);
  if (shape.empty() || shape[0] == 0) return;
  const i64 width = row_width(shape), piece = std::max<i64>(1, (i64{1} << 19) / std::max<i64>(1, width));
  if (width == 0) user_error("'{}' is damaged: {} has rows without numbers", file.path(), dataset);  // which can be of any number
  std::vector<double> values;
  for (i64 first = 0; first < shape[0]; first += piece) {
    const i64 count = std::min(piece, shape[0] - first);
    values.resize(static_cast<std::size_t>(count * width));
    file.read_rows<double>(dataset, {{first, count}}, values);
    for (i64 r = 0; r < count; ++r)
      use(first + r, std::span<const double>(values).subspan(static_cast<std::size_t>(r * width), static_cast<std::size_t>(width)));
  }
}

/// Whole numbers are -1 there, others NaN; rounding may leave a true zero a little below zero.
bool lost(double x) { return !(std::isfinite(x) && x > -0.5); }

std::vector<double> column(const io::H5File& file, const std::string& dataset) {
  std::vector<double> values;
  for_each_row(file, dataset, [&](i64, std::span<const double> row) { values.push_back(lost(row[0]) ? NAN : row[0]); });
  return values;
}

/// Running sums; what was lost counts nothing.
std::vector<double> summed(std::vector<double> values) {
  double total = 0;
  for (double& x : values) x = total += std::isnan(x) ? 0 : x;
  return values;
}

}  // namespace

double RunCurves::done(Axis axis, double step) const {
  if (axis == Axis::steps) return step;
  const std::vector<double>& sums = axis == Axis::tokens ? tokens : axis == Axis::flops ? flops : seconds;
  if (step < 1 || sums.empty()) return 0;
  return sums[std::min(sums.size(), static_cast<std::size_t>(step)) - 1];
}

RunCurves read_curves(const std::string& path) {
  const io::H5File file = io::open_run(path);
  return {column(file, "/steps/task_loss"),       summed(column(file, "/steps/tokens")), summed(column(file, "/steps/flops")),
          summed(column(file, "/steps/seconds")), column(file, "/evaluation/step"),      column(file, "/evaluation/loss"),
          column(file, "/evaluation/accuracy")};
}

Binned read_binned(const io::H5File& file, const std::string& dataset, i64 bins) {
  Binned b;
  if (!file.exists(dataset)) return b;
  const io::Shape shape = file.shape(dataset);
  if (shape.empty() || shape[0] == 0) return b;
  const i64 rows = shape[0];
  bins = std::min(bins, rows);
  b.width = row_width(shape);
  b.mean.assign(static_cast<std::size_t>(bins), std::vector<double>(static_cast<std::size_t>(b.width)));
  std::vector<std::vector<double>> count = b.mean;
  for (i64 i = 0; i < bins; ++i) b.step.push_back(static_cast<double>(i * rows / bins + 1 + (i + 1) * rows / bins) / 2);
  i64 bin = 0;
  for_each_row(file, dataset, [&](i64 r, std::span<const double> row) {
    while (r >= (bin + 1) * rows / bins) ++bin;
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (lost(row[i])) continue;
      b.mean[static_cast<std::size_t>(bin)][i] += row[i];
      count[static_cast<std::size_t>(bin)][i] += 1;
    }
  });
  for (std::size_t i = 0; i < b.mean.size(); ++i) {
    for (std::size_t j = 0; j < b.mean[i].size(); ++j) b.mean[i][j] = count[i][j] > 0 ? b.mean[i][j] / count[i][j] : NAN;
  }
  return b;
}

std::vector<std::vector<double>> read_all_rows(const io::H5File& file, const std::string& dataset) {
  std::vector<std::vector<double>> rows;
  for_each_row(file, dataset, [&](i64, std::span<const double> row) {
    rows.emplace_back(row.begin(), row.end());
    for (double& x : rows.back()) x = lost(x) ? NAN : x;
  });
  return rows;
}

std::vector<double> read_last_row(const io::H5File& file, const std::string& dataset) {
  if (!file.exists(dataset)) return {};
  const io::Shape shape = file.shape(dataset);
  if (shape.empty() || shape[0] == 0) return {};
  std::vector<double> row(static_cast<std::size_t>(row_width(shape)));
  file.read_rows<double>(dataset, {{shape[0] - 1, 1}}, row);
  return row;
}

std::vector<double> read_sum(const io::H5File& file, const std::string& dataset) {
  std::vector<double> sum;
  for_each_row(file, dataset, [&](i64, std::span<const double> row) {
    sum.resize(row.size());
    for (std::size_t i = 0; i < row.size(); ++i) sum[i] += lost(row[i]) ? 0 : row[i];
  });
  return sum;
}

}  // namespace pleiad::report
