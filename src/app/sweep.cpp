#include "pleiad/app/sweep.hpp"

#include <algorithm>
#include <cmath>

#include "pleiad/core/error.hpp"

namespace pleiad::app {

Sweep Sweep::parse(const std::string& text) {
  const std::size_t equals = text.find('='), dot = text.find('.');
  const auto bad = [&] { user_error("--sweep {}: has the form section.key=a,b,c, such as moe.threshold=0.5,0.9,1", text); };
  if (equals == std::string::npos || dot == std::string::npos || dot > equals) bad();
  Sweep s{text.substr(0, equals), {}};
  for (std::size_t begin = equals + 1; begin <= text.size();) {
    const std::size_t comma = std::min(text.find(',', begin), text.size());
    if (comma == begin) bad();
    s.values.push_back(text.substr(begin, comma - begin));
    begin = comma + 1;
  }
  if (s.values.empty()) bad();
  return s;
}

std::vector<std::vector<std::string>> grid_of(const std::vector<Sweep>& sweeps) {
  std::vector<std::vector<std::string>> points{{}};
  for (std::size_t i = 0; i < sweeps.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (sweeps[j].key == sweeps[i].key) user_error("--sweep {}: is given twice; list all values in one", sweeps[i].key);
    }
    std::vector<std::vector<std::string>> longer;
    for (const auto& point : points) {
      for (const std::string& value : sweeps[i].values) {
        longer.push_back(point);
        longer.back().push_back(sweeps[i].key + "=" + value);
      }
    }
    points = std::move(longer);
  }
  return points;
}

SweepRow SweepRow::of(const std::vector<std::string>& point, const train::EvalReport& r) {
  SweepRow row;
  for (const std::string& setting : point) row.values.push_back(setting.substr(setting.find('=') + 1));
  row.loss = r.loss;
  if (r.floor) row.above_floor = r.loss - *r.floor;
  if (!model::predicts_next(r.task)) row.accuracy = r.accuracy;
  for (const train::LayerFigures& layer : r.figures) row.mean_k += layer.mean_k / static_cast<double>(r.figures.size());
  row.expert_flops_per_token = r.expert_flops_per_token;
  return row;
}

namespace {

bool has_floor(const std::vector<SweepRow>& rows) {
  return std::ranges::any_of(rows, [](const SweepRow& r) { return r.above_floor.has_value(); });
}

bool has_accuracy(const std::vector<SweepRow>& rows) {
  return std::ranges::any_of(rows, [](const SweepRow& r) { return r.accuracy.has_value(); });
}

}  // namespace

std::string sweep_table(const std::vector<Sweep>& sweeps, const std::vector<SweepRow>& rows) {
  std::vector<std::size_t> width;
  std::string table;
  for (const Sweep& s : sweeps) {
    width.push_back(s.key.size());
    for (const std::string& v : s.values) width.back() = std::max(width.back(), v.size());
    table += fmt::format("{:>{}}  ", s.key, width.back());
  }
  table += fmt::format("{:>8}  {}{:>10}  {:>7}  {:>18}\n", "loss", has_floor(rows) ? "above floor  " : "", has_accuracy(rows) ? "accuracy %" : "perplexity", "mean K", "expert flops/token");
  for (const SweepRow& r : rows) {
    for (std::size_t i = 0; i < width.size(); ++i) table += fmt::format("{:>{}}  ", r.values[i], width[i]);
    table += fmt::format("{:>8.4f}  ", r.loss);
    if (has_floor(rows)) table += fmt::format("{:>11}  ", r.above_floor ? fmt::format("{:.4f}", *r.above_floor) : "");
    table += fmt::format("{:>10.4f}  {:>7.3f}  {:>18.0f}\n", r.accuracy ? 100 * *r.accuracy : std::exp(r.loss), r.mean_k, r.expert_flops_per_token);
  }
  return table;
}

std::string sweep_csv(const std::vector<Sweep>& sweeps, const std::vector<SweepRow>& rows) {
  std::string csv;
  for (const Sweep& s : sweeps) csv += s.key + ",";
  csv += fmt::format("loss,{}{},mean_k,expert_flops_per_token\n", has_floor(rows) ? "above_floor," : "", has_accuracy(rows) ? "accuracy" : "perplexity");
  for (const SweepRow& r : rows) {
    for (const std::string& v : r.values) csv += v + ",";
    csv += fmt::format("{},", r.loss);
    if (has_floor(rows)) csv += (r.above_floor ? fmt::format("{}", *r.above_floor) : "") + ",";
    csv += fmt::format("{},{},{}\n", r.accuracy ? *r.accuracy : std::exp(r.loss), r.mean_k, r.expert_flops_per_token);
  }
  return csv;
}

}  // namespace pleiad::app
