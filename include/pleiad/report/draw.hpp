// From figures to SVG: scripts and data into a folder, one gnuplot process over all of them, the pictures made fit to stand in a page.
#pragma once
#include <string>
#include <vector>

#include "pleiad/report/figure.hpp"

namespace pleiad::report {

/// The program that `name` means: a path if it has a slash, else looked for in PATH. UserError that names Debian's package if there is none.
std::string find_gnuplot(const std::string& name);

/// Writes script and data of every figure that is not absent into `folder` and draws them there. Returns the SVG texts, by figure; empty for
/// absent ones. UserError with gnuplot's message if it fails.
std::vector<std::string> draw(const std::vector<Figure>& figures, const std::string& folder, const std::string& gnuplot);

/// An SVG file of gnuplot as an element of a page: no XML head, ids that begin with `prefix`, no definitions and groups that nothing uses,
/// crisp images, `title` as its name.
std::string inline_svg(const std::string& file, const std::string& prefix, const std::string& title);

}  // namespace pleiad::report
