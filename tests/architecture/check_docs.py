#!/usr/bin/env python3
"""Every router has its section in docs/routing.md, and every such section its router; what the page quotes of the code is true.

Compares the lines PLEIAD_ROUTER(name) of include/pleiad/routing/variants.def with the headings "## name"; headings that are
not plain lower-case names ("## Options of all routers") are free.

Every code block of the section "## How to add a variant" quotes the file whose path stands last, in backticks, on the line before it. Its
lines must occur in that file, whole and in the same order; "..." stands for any lines, blanks at either end do not count.

    check_docs.py SOURCE_DIR     exit 1 and one line per difference; 77 (skipped) while there is no registry
    check_docs.py --self-test
"""
import re
import sys
import tempfile
from pathlib import Path

EXAMPLE = "How to add a variant"


def compare(root):
    registry = root / "include/pleiad/routing/variants.def"
    page = root / "docs/routing.md"
    if not registry.exists():
        return None
    code = re.sub(r"//[^\n]*|/\*.*?\*/", "", registry.read_text(encoding="utf-8"), flags=re.S)
    routers = re.findall(r"^\s*PLEIAD_ROUTER\(\s*(\w+)\s*[,)]", code, re.M)
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    headings = re.findall(r"^## +`?([a-z][a-z0-9_]*)`? *$", text, re.M)
    problems = [f"router {name} has no section \"## {name}\" in docs/routing.md" for name in routers if name not in headings]
    problems += [f"docs/routing.md describes {name}, which is not in variants.def" for name in headings if name not in routers]
    for where, names in (("variants.def", routers), ("docs/routing.md", headings)):
        problems += [f"{name} stands twice in {where}" for name in sorted(set(names)) if names.count(name) > 1]
    if not routers:
        problems.append("variants.def names no router")
    return problems


def quotations(text):
    """(line number, path or None, quoted lines) of every code block of the section with the worked example."""
    found, inside, before, path, quoted, start = [], False, "", None, None, 0
    for number, line in enumerate(text.splitlines(), 1):
        if quoted is None and line.startswith("## "):
            inside = line == f"## {EXAMPLE}"
        if line.startswith("```") and inside:
            if quoted is None:
                names = re.findall(r"`([^`\s]+/[^`\s]+\.\w+)`$", before)
                path, quoted, start = (names[-1] if names else None), [], number
            else:
                found.append((start, path, quoted))
                quoted = None
        elif quoted is not None:
            quoted.append(line.strip())
        if line.strip():
            before = line.rstrip()
    return found


def check_quotations(root):
    page = root / "docs/routing.md"
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    problems = []
    for number, path, quoted in quotations(text):
        where = f"docs/routing.md:{number}"
        if path is None or not (root / path).is_file():
            problems.append(f"{where}: quotes {path or 'no file: name it last on the line before, in backticks'}, which does not exist")
            continue
        rest = iter([line.strip() for line in (root / path).read_text(encoding="utf-8").splitlines()])
        for line in quoted:
            if line and line != "..." and line not in rest:  # goes on in `rest` behind the line it finds
                problems.append(f"{where}: '{line}' is not in {path}, or not in this order")
                break
    if f"## {EXAMPLE}\n" in text and not quotations(text):
        problems.append(f"docs/routing.md: '{EXAMPLE}' quotes no code")
    return problems


def self_test_of_quotations():
    code = "// head\nint f() {\n  return 1;\n}\nint g() {\n  return 2;\n}\n"
    cases = [
        ("int f() {\n  return 1;\n}", 0),
        ("int f() {\n...\nint g() {", 0),
        ("  int g() {\nreturn 2;", 0),
        ("int f() {\n  return 3;\n}", 1),
        ("int g() {\nint f() {", 1),
        ("int f()", 1),
        ("return 1;\nreturn 1;", 1),
    ]
    pages = [(f"## {EXAMPLE}\n\nlook: `src/a.cpp`\n\n```cpp\n{quoted}\n```\n", expected) for quoted, expected in cases]
    pages += [
        (f"## {EXAMPLE}\n\nlook\n```cpp\nint f() {{\n```\n", 1),
        (f"## {EXAMPLE}\n\n`src/b.cpp`\n```cpp\nint f() {{\n```\n", 1),
        (f"## {EXAMPLE}\n\nnothing quoted\n", 1),
        ("## Another\n\n```\nint h() {\n```\n", 0),
        (f"## {EXAMPLE}\n\n`src/a.cpp`\n```cpp\nint f() {{\n```\n\nthen `src/a.cpp`\n```cpp\nint h() {{\n```\n## Another\n```\nx\n```\n", 1),
    ]
    for page, expected in pages:
        with tempfile.TemporaryDirectory() as directory:
            root = Path(directory)
            (root / "docs").mkdir()
            (root / "src").mkdir()
            (root / "docs/routing.md").write_text(page)
            (root / "src/a.cpp").write_text(code)
            problems = check_quotations(root)
            assert len(problems) == expected, (page, problems)
    return len(pages)


def self_test():
    cases = [
        ("PLEIAD_ROUTER(top_k)\n", "# Routing\n## top_k\n## Options of all\n", 0),
        ("PLEIAD_ROUTER(top_k)\nPLEIAD_ROUTER(hash)\n", "## top_k\n", 1),
        ("PLEIAD_ROUTER(top_k)\n", "## `top_k`\n## hash\n", 1),
        ("// PLEIAD_ROUTER(name)\nPLEIAD_ROUTER(top_k)\n", "## top_k\n```\n## hash\n```\n", 0),
        ("PLEIAD_ROUTER(top_k)\n", "", 1),
        ("\n", "## Options\n", 1),
    ]
    for registry, page, expected in cases:
        with tempfile.TemporaryDirectory() as directory:
            root = Path(directory)
            (root / "include/pleiad/routing").mkdir(parents=True)
            (root / "docs").mkdir()
            (root / "include/pleiad/routing/variants.def").write_text(registry)
            (root / "docs/routing.md").write_text(page)
            problems = compare(root)
            assert len(problems) == expected, (registry, page, problems)
    print(f"self-test: {len(cases) + self_test_of_quotations()} cases")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    if sys.argv[1] == "--self-test":
        return self_test()
    problems = compare(Path(sys.argv[1]))
    if problems is None:
        print("skipped: no include/pleiad/routing/variants.def")
        sys.exit(77)
    problems += check_quotations(Path(sys.argv[1]))
    for text in problems:
        print(f"error: {text}")
    print(f"{len(problems)} differences")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
