// Text on its way to a terminal or a table, and from people.
#pragma once
#include <string>

#include "pleiad/core/real.hpp"

namespace pleiad {

/// Control characters become '?': text from a file must not move the cursor.
std::string harmless(std::string text);
/// A field of a CSV file (RFC 4180): in quotes where it holds a comma, a quote or a line end.
std::string csv_field(const std::string& text);
/// One word of a shell's command line: as it is, or in double quotes where the shell would read something into it.
std::string shell_word(const std::string& text);
/// Every `from` in `text` becomes `to`. pre: `from` is not empty.
void replace_all(std::string& text, const std::string& from, const std::string& to);
/// Seconds of a time limit in SLURM's notation: minutes, minutes:seconds, hours:minutes:seconds, days-hours and so on; -1 if it is none.
i64 seconds_of_time_limit(const std::string& time);

}  // namespace pleiad
