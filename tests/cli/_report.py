"""Looks at what pleiad report writes: _report.py WHAT ARGS..., exit code 0 if it is right."""
import csv
import html
import json
import re
import shutil
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


def predicted(file, *paths):
    rows = iter(csv.DictReader(open(file)))
    for path in paths:
        with h5py.File(path) as f:
            p = f["predictions"]
            for i, n in enumerate(p["ranks"][()]):
                row, seconds, wait = next(rows), p["seconds"][i], f[f"ranks/{n}/wait_seconds"][()].mean()
                assert (row["file"], int(row["ranks"]), int(row["nodes"]), int(row["tokens"])) == (path, n, p["nodes"][i], p["tokens"][i]), row
                for name in ("seconds", "efficiency", "tokens_per_second"):
                    near(float(row[name]), p[name][i], name)
                near(float(row["waiting"]), wait / seconds, "waiting")
                near(float(row["computing"]) + float(row["travelling"]) + float(row["waiting"]), 1, "shares")
                near(float(row["memory_bytes"]), sum(d[()] for d in f[f"ranks/{n}/memory"].values()).max(), "memory")
    assert next(rows, None) is None, "more rows than predictions"


def damaged_prediction(path, program):
    """Every dataset away, or shorter, or of the wrong kind: one sentence and exit code 2."""
    names = []
    with h5py.File(path) as f:
        f.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    assert len(names) > 40, names
    # What may be missing, and what nobody reads because it follows from the rest.
    optional, unread = ("/expert_rows", "/notes"), ("predictions/efficiency", "predictions/tokens_per_second", "predictions/slowest_rank", "predictions/critical_path")
    for name in names:
        if name in unread:
            continue
        for what in ("away", "shorter", "text for numbers"):
            shutil.copy(path, "cut.h5")
            with h5py.File("cut.h5", "a") as f:
                numbers = f[name].dtype.kind in "fiu"
                if what == "away" and name.endswith(optional) or what == "shorter" and (not f[name].shape or name.endswith("/notes")) or what.startswith("text") and not numbers:
                    continue
                values = f[name][()]
                del f[name]
                if what == "shorter":
                    f[name] = values[..., :-1]
                elif what != "away":
                    f[name] = "none"
            done = subprocess.run([program, "report", "cut.h5"], capture_output=True, text=True)
            assert done.returncode == 2 and done.stderr.count("\n") == 1 and "cut.h5" in done.stderr, f"{name} {what}: exit code {done.returncode}, {done.stderr}"


def predicted_numbers(kept, strong, weak):
    with h5py.File(strong) as s, h5py.File(weak) as w:
        (_, time_s), (_, time_w), _ = blocks(f"{kept}/scaling-time.dat")
        (_, speed_s), (_, speed_w), _ = blocks(f"{kept}/scaling-speed.dat")
        # The weak one was predicted for 64, 8 and 1 ranks.
        seconds_s, seconds_w = s["predictions/seconds"][()], w["predictions/seconds"][()][::-1]
        np.testing.assert_allclose(time_s, np.c_[[1, 8, 64], 1e3 * seconds_s, 1e3 * seconds_s[0] / [1, 8, 64]], rtol=1e-12)
        np.testing.assert_allclose(time_w, np.c_[[1, 8, 64], 1e3 * seconds_w, [1e3 * seconds_w[0]] * 3], rtol=1e-12)
        np.testing.assert_allclose(speed_s[:, 1], 100 * seconds_s[0] / seconds_s / [1, 8, 64], rtol=1e-12)
        np.testing.assert_allclose(speed_w[:, 1], 100 * seconds_w[0] / seconds_w, rtol=1e-12)
        _, path = blocks(f"{kept}/file1-path.dat")[0]
        np.testing.assert_allclose(path[:, 1:].sum(axis=1), 100, rtol=1e-9)
        _, phases = blocks(f"{kept}/file1-phases.dat")[0]
        np.testing.assert_allclose(phases[:, 1:].sum(axis=1), 1e3 * s["ranks/64/phase_seconds"][()].sum(axis=1), rtol=1e-9)
        (_, of_8), (_, of_64) = blocks(f"{kept}/file1-rows.dat")
        for n, drawn in ((8, of_8), (64, of_64)):
            rows = np.sort(s[f"ranks/{n}/expert_rows"][()].sum(axis=0))[::-1]
            np.testing.assert_allclose(drawn, np.c_[np.linspace(0, 100, n), rows / rows.mean()], rtol=1e-9, atol=1e-9)
        busy = np.sort(1 - s["ranks/64/wait_seconds"][()] / seconds_s[2])[::-1]
        np.testing.assert_allclose(blocks(f"{kept}/file1-busy.dat")[1][1][:, 1], 100 * busy, rtol=1e-9)


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
