#!/usr/bin/env python3
"""Every router has its section in docs/routing.md, and every such section its router.

Compares the lines PLEIAD_ROUTER(name) of include/pleiad/routing/variants.def with the headings "## name"; headings that are
not plain lower-case names ("## Options of all routers") are free.

    check_docs.py SOURCE_DIR     exit 1 and one line per difference; 77 (skipped) while there is no registry
    check_docs.py --self-test
"""
import re
import sys
import tempfile
from pathlib import Path


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
    print(f"self-test: {len(cases)} cases")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    if sys.argv[1] == "--self-test":
        return self_test()
    problems = compare(Path(sys.argv[1]))
    if problems is None:
        print("skipped: no include/pleiad/routing/variants.def")
        sys.exit(77)
    for text in problems:
        print(f"error: {text}")
    print(f"{len(problems)} differences")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
