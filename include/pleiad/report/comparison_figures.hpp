// Figures that set configurations side by side.
#pragma once
#include "pleiad/report/figure.hpp"
#include "pleiad/report/series.hpp"
#include "pleiad/report/tables.hpp"

namespace pleiad::report {

/// Curves are drawn of so many configurations, the best ones.
inline constexpr std::size_t k_curves = 20;

/// The configurations whose curves are drawn, in the order of the collection.
std::vector<std::size_t> drawn_configurations(const Collection& collection);

/// A sentence for captions where those are not all.
std::string choice_in_words(const Collection& collection);

/// Held-out and smoothed training loss against steps, tokens, training FLOPs and time; of classifiers also held-out accuracy against steps.
std::vector<Figure> loss_figures(const Collection& collection);
/// The last held-out quality of every run, with mean and deviation over seeds.
Figure seeds_figure(const Collection& collection);
/// Quality against forward FLOPs per token, with the Pareto front.
Figure front_figure(const Collection& collection);
/// Held-out loss at equal training FLOPs against the number of experts, and against their width.
std::vector<Figure> iso_flop_figures(const Collection& collection);

}  // namespace pleiad::report
