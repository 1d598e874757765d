// pleiad score TRANSLATIONS --reference FILE: BLEU and chrF of a file of translations, as pleiad sample --input writes it.
#include <fstream>
#include <iostream>

#include "pleiad/app/arguments.hpp"
#include "pleiad/app/commands.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/report/translation_scores.hpp"

namespace pleiad::app {

namespace {

report::Lines read_lines(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  report::Lines lines;
  for (std::string line; std::getline(in, line);) {
    if (line.ends_with('\r')) line.pop_back();
    lines.push_back(line);
  }
  if (!in.is_open() || in.bad()) user_error("{}: cannot be read", path);
  if (lines.empty()) user_error("{}: has no lines", path);
  return lines;
}

}  // namespace

int run_score(const comm::Communicator& world, const Arguments& arguments) {
  namespace options = boost::program_options;
  options::options_description description("options");
  description.add_options()("translations", options::value<std::string>(), "a text file, a translation on each line")(
      "reference", options::value<std::vector<std::string>>()->composing(), "a text file of reference translations, line by line; may be repeated");
  Values values;
  const std::string usage =
      "usage: pleiad score TRANSLATIONS --reference FILE [--reference FILE ...]\n"
      "BLEU and chrF of the whole file, as SacreBLEU counts them (tokenizer 13a, case counts, exponential smoothing; chrF2 without words).";
  if (!parse_arguments(world, arguments, usage, description, "translations", values)) return k_exit_ok;
  const std::string file = value_or<std::string>(values, "translations", "");
  const auto names = value_or<std::vector<std::string>>(values, "reference", {});
  if (file.empty() || names.empty()) user_error("score: needs translations and --reference FILE; usage: pleiad score TRANSLATIONS --reference FILE");
  const report::Lines translations = read_lines(file);
  std::vector<report::Lines> references;
  for (const std::string& name : names) {
    references.push_back(read_lines(name));
    if (references.back().size() != translations.size()) user_error("{} has {} lines, {} has {}: line i of one belongs to line i of the other", file, translations.size(), name, references.back().size());
  }
  const report::Bleu b = report::bleu(translations, references);
  std::cout << fmt::format("BLEU {:.2f}  (precisions {:.1f}, {:.1f}, {:.1f}, {:.1f} %; brevity penalty {:.3f}; {} tokens, {} in the references)\nchrF {:.2f}\n", b.score, b.precisions[0],
                           b.precisions[1], b.precisions[2], b.precisions[3], b.brevity_penalty, b.translation_length, b.reference_length, report::chrf(translations, references));
  return k_exit_ok;
}

}  // namespace pleiad::app
