#!/usr/bin/env python3
"""Keeps the floors of the house (docs/architecture.md): reads every include and every namespace in include/ and src/.

    check_floors.py SOURCE_DIR     exit 1 and one line per violation; sizes over budget are warnings
    check_floors.py --self-test    plants every kind of violation and expects each to be caught
"""
import re
import sys
import tempfile
from pathlib import Path

FLOOR = {"core": 0, "ops": 1, "comm": 1, "routing": 2, "experts": 2, "exchange": 3, "model": 4, "train": 5, "sim": 5, "io": 6, "sweep": 7, "report": 7, "bench": 7, "app": 8}

# Who may see which library: pattern of the header, rooms, name.
GUARDED = [
    (r"hdf5(_hl)?\.h|H5\w+\.h", {"io"}, "HDF5"),
    (r"mpi\.h", {"comm", "io"}, "MPI"),
    (r"(cblas|lapacke|openblas_config|f77blas)\.h", {"ops"}, "BLAS"),
    (r"boost/math/.*", {"report"}, "Boost.Math"),
    (r"boost/(?!math/).*", {"app"}, "Boost"),
    (r"sentencepiece_\w+\.h", {"io"}, "SentencePiece"),
    (r"(dnnl|oneapi/|omp\.h).*", {"ops"}, "oneDNN"),
    (r"(simgrid|smpi|xbt)/.*", {"sim"}, "SimGrid"),
    (r"(gtest|gmock)/.*", set(), "GoogleTest"),
]
BUDGET = {".hpp": 150, ".cpp": 400}
SUFFIXES = {".hpp", ".cpp", ".def", ".in"}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)
NAMESPACE = re.compile(r"^[ \t]*(?:inline[ \t]+)?namespace[ \t]+([\w:]+)[ \t\n]*\{", re.M)


def strip_comments(text):
    """Blanks comments and raw strings but keeps line numbers."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group(0)) if match.group(0)[0] in "/R" else match.group(0)
    return re.sub(r'R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/', blank, text, flags=re.S)


def check_include(room, path, quote, name):
    if name.startswith("pleiad/"):
        parts = name.split("/")
        other = parts[1] if len(parts) > 2 else None
        if other not in FLOOR:
            return f"includes {name}, which lies in no known room"
        if quote == "<":
            return f'includes <{name}>: our own headers are included with quotes'
        if other != room and FLOOR[other] > FLOOR[room]:
            return f"upward include of {name} (floor {FLOOR[other]}) from {room} (floor {FLOOR[room]})"
        if other != room and FLOOR[other] == FLOOR[room]:
            return f"sideways include of {name} from {room}: both on floor {FLOOR[room]}"
        return None
    for pattern, rooms, library in GUARDED:
        if re.fullmatch(pattern, name) and room not in rooms:
            allowed = " and ".join(sorted(rooms)) or "tests/"
            return f"includes {name}: {library} may be seen only by {allowed}"
    if quote == '"' and ("/" in name or not (path.parent / name).exists()):
        return f'includes "{name}": with quotes only pleiad/... or a private header in the same directory'
    return None


def check_namespaces(room, path, text):
    names = [(m.group(1), m.start(1)) for m in NAMESPACE.finditer(text)]
    own = "pleiad" if room == "core" else f"pleiad::{room}"
    for name, position in names:
        parts = name.split("::")
        if parts[0] != "pleiad" or len(parts) == 1:
            continue
        # A lower room may be opened for a forward declaration; a higher or neighbouring one may not.
        if parts[1] in FLOOR and parts[1] != room and FLOOR[parts[1]] >= FLOOR[room]:
            yield position, f"opens namespace {name} inside room {room}"
    ours = [name for name, _ in names if name.split("::")[0] == "pleiad"]
    if path.suffix in {".hpp", ".cpp"} and path.name != "main.cpp" and re.search(r"\w", re.sub(r"(?m)^[ \t]*#.*$", "", text)):
        if not any(name == own or name.startswith(own + "::") for name in ours):
            yield 0, f"never opens namespace {own}"


def room_of(path, root):
    parts = path.relative_to(root).parts
    inside = parts[2:] if parts[:2] == ("include", "pleiad") else parts[1:] if parts[0] == "src" else ()
    return inside[0] if len(inside) == 2 and inside[0] in FLOOR else None


def check_tree(root):
    """Returns (violations, warnings, number of files)."""
    violations, warnings, count = [], [], 0
    files = [p for top in ("include", "src") for p in sorted((root / top).rglob("*")) if p.is_file()]
    for path in files:
        where = path.relative_to(root)
        if path.name == "CMakeLists.txt" or path.name.startswith("."):
            continue
        count += 1
        room = room_of(path, root)
        if room is None:
            violations.append(f"{where}: lies in no known room ({', '.join(FLOOR)})")
            continue
        if path.suffix not in SUFFIXES:
            violations.append(f"{where}: unexpected kind of file (expected {', '.join(sorted(SUFFIXES))})")
            continue
        text = strip_comments(path.read_text(encoding="utf-8"))
        line = lambda position: text.count("\n", 0, position) + 1
        for match in INCLUDE.finditer(text):
            problem = check_include(room, path, match.group(1), match.group(2))
            if problem:
                violations.append(f"{where}:{line(match.start(1))}: {problem}")
        for position, problem in check_namespaces(room, path, text):
            violations.append(f"{where}:{line(position)}: {problem}")
        lines = text.count("\n")
        if lines > BUDGET.get(path.suffix, lines):
            warnings.append(f"{where}: {lines} lines, budget {BUDGET[path.suffix]}")
    return violations, warnings, count


def self_test():
    good = {
        "include/pleiad/core/a.hpp": '#pragma once\n#include <vector>\nnamespace pleiad {\n}\n',
        "include/pleiad/comm/c.hpp": '#pragma once\n#include <mpi.h>\n#include "pleiad/core/a.hpp"\nnamespace pleiad::comm {\n}\n',
        "src/io/f.cpp": '#include <hdf5.h>\n#include "pleiad/comm/c.hpp"\nnamespace pleiad::io {\n}\n',
        "src/model/m.cpp": '// #include "pleiad/app/x.hpp"\n/*\n#include <hdf5.h>\n*/\n#include "pleiad/comm/c.hpp"\nnamespace pleiad::model {\n}\n',
        "src/app/main.cpp": '#include <boost/program_options.hpp>\nint main() {}\n',
        "src/app/x.cpp": '#include "x_private.hpp"\nnamespace pleiad::app {\n}\n',
        "src/app/x_private.hpp": '#pragma once\nnamespace pleiad::app {\n}\n',
        "include/pleiad/routing/variants.def": "PLEIAD_ROUTER(top_k)\n",
        "src/CMakeLists.txt": "",
    }
    planted = [
        ("src/routing/up.cpp", '#include "pleiad/model/m.hpp"\nnamespace pleiad::routing {}\n', "upward include"),
        ("include/pleiad/routing/side.hpp", '  #  include "pleiad/experts/e.hpp"\nnamespace pleiad::routing {}\n', "sideways include"),
        ("src/sim/side.cpp", '#include "pleiad/train/t.hpp"\nnamespace pleiad::sim {}\n', "sideways include"),
        ("src/train/h5.cpp", "#include <hdf5.h>\nnamespace pleiad::train {}\n", "HDF5 may be seen only by io"),
        ("src/exchange/mpi.cpp", "#include <mpi.h>\nnamespace pleiad::exchange {}\n", "MPI may be seen only by comm and io"),
        ("src/experts/blas.cpp", '#include "cblas.h"\nnamespace pleiad::experts {}\n', "BLAS may be seen only by ops"),
        ("src/io/boost.cpp", "#include <boost/program_options.hpp>\nnamespace pleiad::io {}\n", "Boost may be seen only by app"),
        ("src/core/test.cpp", "#include <gtest/gtest.h>\nnamespace pleiad {}\n", "GoogleTest may be seen only by tests/"),
        ("src/core/angle.cpp", "#include <pleiad/core/a.hpp>\nnamespace pleiad {}\n", "with quotes"),
        ("src/core/dots.cpp", '#include "../app/x_private.hpp"\nnamespace pleiad {}\n', "private header"),
        ("src/cellar/x.cpp", "namespace pleiad::cellar {}\n", "no known room"),
        ("include/pleiad/loose.hpp", "namespace pleiad {}\n", "no known room"),
        ("src/core/unknown.cpp", '#include "pleiad/cellar/x.hpp"\nnamespace pleiad {}\n', "no known room"),
        ("src/ops/space.cpp", "namespace pleiad::comm {}\nnamespace pleiad::ops {}\n", "opens namespace pleiad::comm"),
        ("src/ops/none.cpp", "namespace pleiad {\nint f();\n}\n", "never opens namespace pleiad::ops"),
        ("src/core/notes.txt", "x\n", "unexpected kind of file"),
    ]
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)

        def write(name, text):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)

        for name, text in good.items():
            write(name, text)
        violations, _, _ = check_tree(root)
        assert not violations, f"false alarms: {violations}"
        for name, text, expected in planted:
            write(name, text)
            violations, _, _ = check_tree(root)
            assert len(violations) == 1 and name in violations[0] and expected in violations[0], f"{name}: {violations}"
            (root / name).unlink()
        write("src/core/long.cpp", "namespace pleiad {\n" + "\n" * 500 + "}\n")
        violations, warnings, _ = check_tree(root)
        assert not violations and len(warnings) == 1, (violations, warnings)
    print(f"self-test: {len(planted)} planted violations caught, no false alarm")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    if sys.argv[1] == "--self-test":
        return self_test()
    violations, warnings, count = check_tree(Path(sys.argv[1]))
    for text in warnings:
        print(f"warning: {text}")
    for text in violations:
        print(f"error: {text}")
    print(f"{count} files, {len(violations)} violations, {len(warnings)} warnings")
    sys.exit(1 if violations or count == 0 else 0)


if __name__ == "__main__":
    main()
