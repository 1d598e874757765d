// Text on its way to a terminal or a table.
#pragma once
#include <string>

namespace pleiad {

/// Control characters become '?': text from a file must not move the cursor.
std::string harmless(std::string text);
/// A field of a CSV file (RFC 4180): in quotes where it holds a comma, a quote or a line end.
std::string csv_field(const std::string& text);

}  // namespace pleiad
