#!/usr/bin/env python3
"""Whether every header includes what it needs of the standard headers that are precompiled, where a compiler would not notice (cmake/flags.cmake).

    check_headers.py SOURCE_DIR     exit 1 and one line per violation
    check_headers.py --self-test    plants every kind of violation and expects each to be caught

What a header names of those must be included by itself or by one of our headers that it includes. What else it needs, the build finds: it compiles each header alone.
"""
import re
import sys
import tempfile
from pathlib import Path

from check_floors import INCLUDE, strip_comments

# Standard header, and what shows that it is needed.
NEEDS = {
    "vector": r"std::vector\b",
    "string": r"std::(string|to_string)\b",
    "string_view": r"std::string_view\b",
    "span": r"std::span\b",
    "optional": r"std::(optional|nullopt)\b",
    "memory": r"std::(unique_ptr|shared_ptr|weak_ptr|make_unique|make_shared|allocator)\b",
    "map": r"std::(multi)?map\b",
    "functional": r"std::(function|hash|less|greater|plus)\b",
    "cstdint": r"std::u?int\d+_t\b",
    "algorithm": r"std::(ranges::|min\b|max\b|clamp\b|sort\b|fill\b|fill_n\b|copy\b|copy_n\b|any_of\b|all_of\b|lower_bound\b|upper_bound\b|stable_sort\b)",
    "cmath": r"std::(sqrt|exp|log|log2|abs|fabs|pow|floor|ceil|round|isnan|isinf|isfinite|tanh|erf|fma|expm1|log1p)\b",
    "fmt/format.h": r"\bfmt::",
}


def violations(root):
    include = Path(root) / "include"
    text, direct = {}, {}
    for path in sorted(include.rglob("*.hpp")):
        name = path.relative_to(include).as_posix()
        text[name] = strip_comments(path.read_text(encoding="utf-8"))
        direct[name] = {found for _, found in INCLUDE.findall(path.read_text(encoding="utf-8"))}

    def reached(name, seen):
        for other in direct.get(name, ()):
            if other not in seen:
                seen.add(other)
                reached(other, seen)
        return seen

    found = []
    for name in text:
        included = reached(name, {name})
        found += [f"include/{name}: names what <{header}> declares, which neither it nor a header of ours that it includes includes"
                  for header, pattern in NEEDS.items() if re.search(pattern, text[name]) and header not in included]
    return found


def self_test():
    example = {"vector": "std::vector<int> v;", "string": "std::string s;", "string_view": "std::string_view s;", "span": "std::span<int> s;", "optional": "std::optional<int> o;",
               "memory": "std::unique_ptr<int> p;", "map": "std::map<int, int> m;", "functional": "std::function<void()> f;", "cstdint": "std::uint64_t n;",
               "algorithm": "inline int f() { return std::min(1, 2); }", "cmath": "inline double f() { return std::sqrt(2.0); }", "fmt/format.h": 'inline auto f() { return fmt::format("a"); }'}
    assert example.keys() == NEEDS.keys()
    with tempfile.TemporaryDirectory() as folder:
        header = Path(folder) / "include" / "pleiad" / "core" / "a.hpp"
        header.parent.mkdir(parents=True)
        for name, line in example.items():
            header.write_text(f"#pragma once\n// std::vector of nothing\n{line}\n")
            assert len(violations(folder)) == 1 and f"<{name}>" in violations(folder)[0], name
            (header.parent / "b.hpp").write_text(f"#pragma once\n#include <{name}>\n")
            header.write_text(f'#pragma once\n#include "pleiad/core/b.hpp"\n{line}\n')
            assert not violations(folder), name
            (header.parent / "b.hpp").unlink()
    print("every planted violation was caught")


if __name__ == "__main__":
    if sys.argv[1:] == ["--self-test"]:
        self_test()
    else:
        problems = violations(sys.argv[1])
        print("\n".join(problems) if problems else "every header includes what it needs")
        sys.exit(1 if problems else 0)
