// What the experts know: of latent domains, and of the input token.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "pleiad/core/error.hpp"
#include "pleiad/report/run_figures.hpp"

namespace pleiad::report {

namespace {

/// Why a run says nothing about domains; empty if it does.
std::string without_domains(const RunData& d) {
  if (!d.file.exists("/domains")) return "The data of this run have no known domains.";
  if (d.eval_step.empty()) return "The run has not been evaluated yet.";
  return "";
}

/// Domain names at their rows.
std::string domain_tics(const std::vector<std::string>& names) {
  std::string tics = "set ytics (";
  for (std::size_t i = 0; i < names.size(); ++i) tics += fmt::format("{}{} {}", i ? ", " : "", tic_label(names[i]), i);
  return tics + ") font ',12'";
}

/// Row [domains x experts] of one layer: the domain's share of entries at each group of experts over the fair share.
HeatMap domain_map(const RunData& d, std::size_t layer, const std::vector<double>& row, std::size_t domains, const ExpertGroups& groups) {
  HeatMap map{d.layer_name(layer), groups.label(), "", "share / fair share", groups.centres(), {}, {}};
  const std::size_t n = static_cast<std::size_t>(groups.experts);
  for (std::size_t domain = 0; domain < domains; ++domain) {
    const std::span<const double> experts = std::span(row).subspan((layer * domains + domain) * n, n);
    const double mean = std::accumulate(experts.begin(), experts.end(), 0.0) / static_cast<double>(n);
    map.y.push_back(static_cast<double>(domain));
    map.value.push_back(groups.means(experts));
    for (double& x : map.value.back()) x = mean > 0 ? x / mean : NAN;
  }
  return map;
}

Figure domain_figure(const RunData& d) {
  Figure f{.id = d.id + "-domains", .title = "Experts by domain"};
  const std::string missing = without_domains(d);
  if (!missing.empty()) return absent_figure(f.id, f.title, missing);
  const std::vector<double> row = read_last_row(d.file, "/evaluation/expert_domain_tokens");
  if (row.empty())
    return absent_figure(f.id, f.title, fmt::format("The record does not list single experts: there are {:.0f}, more than 4,096.", d.run.experts));
  const std::vector<std::string> names = d.file.read_texts("/domains");
  const ExpertGroups groups(static_cast<i64>(row.size() / (d.blocks.size() * names.size())));
  std::vector<HeatMap> maps;
  for (const std::size_t layer : d.layers) maps.push_back(domain_map(d, layer, row, names.size(), groups));
  const double top = color_top(maps);
  for (HeatMap& map : maps) {
    map.top = top;
    add_heat_map(f, map, {domain_tics(names), "set xtics auto"});
  }
  lay_out_panels(f);
  f.caption = fmt::format(
      "Share of each latent domain's kept assignments that goes to each expert, over the fair share 1/{}, in the evaluation after step {:.0f}; a row "
      "is even where all of it is 1.{}",
      groups.experts, d.eval_step.back(), d.layers_note());
  return f;
}

Figure knowledge_figure(const RunData& d) {
  Figure f{.id = d.id + "-alignment", .title = "Alignment of experts with domains and tokens"};
  Panel domains{.title = "domain", .y_label = "alignment [1]"}, tokens{.title = "input token", .y_label = "alignment [1]"};
  const std::string missing = without_domains(d);
  if (missing.empty() && add_layer_lines(d, f, domains, "alignment")) f.panels.push_back(domains);
  if (add_layer_lines(d, f, tokens, "token_alignment")) f.panels.push_back(tokens);
  if (f.panels.empty()) return absent_figure(f.id, f.title, "The run has not been evaluated yet.");
  for (Panel& p : f.panels) p.settings.push_back("set yrange [0:*]");
  lay_out_panels(f);
  f.caption =
      "Mutual information of expert and domain over the entropy of the domain, and of expert and input token over the entropy of the token; 0: "
      "experts know nothing of it, 1: everything. Held-out." +
      std::string(missing.empty() ? "" : " " + missing) + d.layers_note();
  return f;
}

}  // namespace

std::vector<Figure> alignment_figures(const RunData& d) { return {domain_figure(d), knowledge_figure(d)}; }

}  // namespace pleiad::report
