"""Looks at what pleiad report writes: _report.py WHAT ARGS..., exit code 0 if it is right."""
import csv
import html
import json
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as tree
from pathlib import Path

import h5py
import numpy as np


def near(got, expected, what, tolerance=1e-9):
    assert abs(got - expected) <= tolerance * max(1, abs(expected)), f"{what}: {got}, expected {expected}"


def index(folder):
    """Writes sweep.json for the twelve runs of report.sh."""
    points = [{"name": f"e{e}-k{k}-s{s}", "identity": "", "id": f"{e}{k}{s}", "config_sum": "", "settings": {"moe.experts": str(e), "moe.k": str(k)}, "seed": s, "ranks": 2, "sizes": {}}
              for e in (4, 8) for k in (1, 2) for s in (1, 2, 3)]
    content = {"format": "pleiad-sweep-index/1", "name": "twelve", "definition": "", "config": "", "keys": ["moe.experts", "moe.k"], "points": points}
    Path(folder, "sweep.json").write_text(json.dumps(content))


def record(folder, e, k, s):
    return h5py.File(f"{folder}/points/e{e}-k{k}-s{s}/run.h5")


def last_losses(folder, e, k):
    return np.array([record(folder, e, k, s)["evaluation/loss"][-1] for s in (1, 2, 3)])


def configurations(file, folder):
    rows = list(csv.DictReader(open(file)))
    assert len(rows) == 4, rows
    for row in rows:
        e, k = int(row["moe.experts"]), int(row["moe.k"])
        losses = last_losses(folder, e, k)
        near(float(row["loss_nats"]), losses.mean(), "mean")
        near(float(row["loss_nats_deviation"]), losses.std(ddof=1), "deviation")
        flops = np.mean([record(folder, e, k, s)["steps/flops"][()].sum() for s in (1, 2, 3)])
        near(float(row["training_flops"]), flops, "training FLOPs")
        assert row["seeds"] == "3"


def differences(file, folder):
    rows = {r["metric"]: r for r in csv.DictReader(open(file))}
    a = np.concatenate([last_losses(folder, e, 1) for e in (4, 8)])
    b = np.concatenate([last_losses(folder, e, 2) for e in (4, 8)])
    row, d = rows["loss_nats"], b - a
    near(float(row["mean_a"]), a.mean(), "mean of A")
    near(float(row["difference"]), d.mean(), "difference")
    reach = 2.570581836 * d.std(ddof=1) / np.sqrt(6)  # Student's t, 5 degrees of freedom
    near(float(row["low"]), d.mean() - reach, "low end", 1e-8)
    near(float(row["high"]), d.mean() + reach, "high end", 1e-8)


def figures(file):
    """id -> content of every figure of a page."""
    found = re.findall(r'<figure id="([^"]*)"[^>]*>(.*?)</figure>', Path(file).read_text(), re.S)
    assert len(found) == len({i for i, _ in found}), "two figures have the same id"
    return dict(found)


def page(file, count):
    text = Path(file).read_text()
    assert len(text.encode()) < 5e6, f"{len(text.encode())} bytes"
    every = figures(file)
    assert len(every) == int(count), f"{len(every)} figures, expected {count}"
    for name, content in every.items():
        assert ("<svg" in content) != ('class="absent"' in content), f"{name}: neither a picture nor a sentence"
    pictures = re.findall(r"<svg.*?</svg>", text, re.S)
    ids = []
    for picture in pictures:
        ids += [e.get("id") for e in tree.fromstring(picture).iter() if e.get("id")]
        for name in re.findall(r"href='#([^']*)'", picture):
            assert f"id='{name}'" in picture, f"{name} is used and not defined"
    assert len(ids) == len(set(ids)), "two elements have the same id"
    rest = re.sub(r'xmlns(:xlink)?="http://www\.w3\.org/[^"]*"', "", text)
    assert "http" not in rest, re.search(r".{60}http.{60}", rest, re.S)
    assert "<script" not in text and not re.search(r'(src|href)=["\'](?!#|data:)', text), "the page refers to something else"


def present(file, *names):
    every = figures(file)
    for name in names:
        assert "<svg" in every[name] and "<figcaption>" in every[name], f"{name}: {every[name][:300]}"


def absent(file, *expected):
    every = figures(file)
    for item in expected:
        name, words = item.split("=", 1)
        assert "<svg" not in every[name] and words in html.unescape(every[name]), f"{name}: {every[name][:300]}"


def blocks(file):
    """Tables of a data file, with the names of their columns."""
    result = []
    for part in Path(file).read_text().split("\n\n\n"):
        lines = part.strip().split("\n")
        names = [c.strip() for c in [l for l in lines if l.startswith("#")][-1][1:].split("\t")]
        values = np.array([[float(x) for x in l.split("\t")] for l in lines if not l.startswith("#")])
        assert len(names) == values.shape[1], (file, names, values.shape)
        assert all("[" in n for n in names if not n.startswith("block")), names
        result.append((names, values))
    return result


def numbers(kept, folder):
    first = record(folder, 4, 1, 1)
    runs = [record(folder, 4, 1, s) for s in (1, 2, 3)]
    # Curves: the second block is the held-out loss of the first configuration.
    _, held = blocks(f"{kept}/loss-tokens.dat")[1]
    losses = np.array([r["evaluation/loss"][()] for r in runs])
    np.testing.assert_allclose(held[:, 1], losses.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(held[:, 2], losses.std(axis=0, ddof=1), rtol=1e-9)
    tokens = np.cumsum(first["steps/tokens"][()])
    np.testing.assert_array_equal(held[:, 0], tokens[first["evaluation/step"][()] - 1])
    # Load: 12 steps, each a column.
    _, load = blocks(f"{kept}/run1-load-tokens.dat")[0]
    n = first["routing/expert_tokens"][:, 0, :].astype(float)
    np.testing.assert_allclose(load[:, 2].reshape(4, 12), (n / n.mean(axis=1, keepdims=True)).T, rtol=1e-12)
    # Figures of every evaluation are there digit for digit.
    held_out = {b[1].shape: b for b in blocks(f"{kept}/run1-entropy.dat")}[(3, 3)][1]
    np.testing.assert_array_equal(held_out[:, 1:], first["evaluation/entropy"][()])
    np.testing.assert_array_equal(held_out[:, 0], first["evaluation/step"][()])
    _, histogram = blocks(f"{kept}/run1-k-histogram.dat")[0]
    k = first["evaluation/k_histogram"][-1].astype(float)
    np.testing.assert_allclose(histogram[:, 1:].T, 100 * (k / k.sum(axis=1, keepdims=True))[:, : len(histogram)], rtol=1e-12)
    _, drops = blocks(f"{kept}/run1-drops.dat")[0]
    np.testing.assert_allclose(drops[:, 1:], 100 * first["routing/dropped"][()] / first["steps/tokens"][()][:, None], rtol=1e-12)
    _, phases = blocks(f"{kept}/run1-phases.dat")[0]
    np.testing.assert_allclose(phases[:, 1:].sum(axis=1), 1000 * first["ranks/2/phase_seconds"][()].sum(axis=2).mean(axis=0), rtol=1e-9)
    _, pairs = blocks(f"{kept}/run1-pairs.dat")[0]
    np.testing.assert_allclose(pairs[:, 2].reshape(2, 2), first["pairs/2/bytes"][()].sum(axis=0) / 12, rtol=1e-12)
    # The Pareto front is the one of the means.
    every, front = (b[1] for b in blocks(f"{kept}/pareto.dat"))
    best = [p for p in every if not any(q[0] <= p[0] and q[1] <= p[1] and (q[0] < p[0] or q[1] < p[1]) for q in every)]
    assert sorted(map(tuple, front)) == sorted(map(tuple, best)), (front, best)


MEASURE = """<script>
addEventListener("load", () => {
  const bad = [...document.querySelectorAll("figure")].filter(f => {
    const shown = f.querySelector("svg, .absent"), box = shown.getBoundingClientRect();
    return !(box.width > 100 && box.height > 20 && (shown.tagName != "svg" || (box.height > 60 && shown.getBBox().width > 100)));
  });
  const images = [...document.querySelectorAll("image")].filter(i => !(i.getBoundingClientRect().width > 20));
  document.body.dataset.measured = JSON.stringify([document.querySelectorAll("figure").length, bad.map(f => f.id), images.length, document.documentElement.scrollWidth > innerWidth]);
});
</script>"""


def browser(file, program):
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "page.html")
        copy.write_text(Path(file).read_text().replace("</body>", MEASURE + "</body>"))
        command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
                   "--disable-sync", f"--user-data-dir={folder}/profile", "--window-size=1400,1000", "--enable-logging=stderr", "--dump-dom", copy.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not console, console
    measured = re.search(r'data-measured="([^"]*)"', done.stdout)
    assert measured, done.stderr[-2000:]
    count, bad, images, sideways = json.loads(html.unescape(measured.group(1)))
    assert count == len(figures(file)) and not bad and images == 0 and not sideways, (count, bad, images, sideways)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
