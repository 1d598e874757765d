#!/usr/bin/env bash
# The quick mode of every study of experiments/studies, on made-up data, with one seed: each ends with its results; the same command again changes nothing; without data
# a study is skipped and says so.
# PROCESSORS 2
# TIMEOUT 900
# shellcheck source=tests/cli/_common.sh
source "$PLEIAD_SOURCE/tests/cli/_common.sh"
if [[ $PLEIAD == */sanitize/* ]]; then
    echo "skipped: too slow with sanitizers; nothing here that other tests do not run"
    exit 77
fi

mkdir -p data/{books,wikitext2,multi30k,cola,sst2}
python3 - <<'EOF'
import random
random.seed(1)
words = ["".join(random.choice("abcdefghijklmnoprstuvw") for _ in range(random.randint(2, 8))) for _ in range(900)]
sentence = lambda n: " ".join(random.choice(words[:40] if random.random() < 0.5 else words) for _ in range(n)) + "."
def text(name, lines, line):
    with open("data/" + name, "w") as f:
        f.writelines(line() + "\n" for _ in range(lines))
for name in ("books/a.txt", "books/b.txt"):
    text(name, 3000, lambda: sentence(random.randint(4, 16)))
text("wikitext2/valid.txt", 300, lambda: sentence(12))
for part, lines in (("train", 300), ("val", 30), ("test_2016_flickr", 10)):
    for language in ("en", "de", "fr"):
        text(f"multi30k/{part}.{language}", lines, lambda: sentence(random.randint(3, 6)))
for part, lines in (("in_domain_train", 200), ("in_domain_dev", 40), ("out_of_domain_dev", 40)):
    text(f"cola/{part}.tsv", lines, lambda: f"x\t{random.randint(0, 1)}\t\t{sentence(5)}")
for part, lines in (("train", 200), ("dev", 40), ("test", 40)):
    text(f"sst2/{part}.tsv", lines, lambda: f"{sentence(5)}\t{random.randint(0, 1)}")
EOF

for study in "$PLEIAD_SOURCE"/experiments/studies/*/run; do
    name=$(basename "$(dirname "$study")")
    quick() { "$study" --quick --data data --out "$name" --seeds 1 "$@"; }
    check "$name" quick
    ended() { tail -n 1 "$name/results.txt" && [[ $(grep -c '^== ' "$name/results.txt") -ge 4 ]]; }
    check "... ends with its results" ended
    cp "$name/results.txt" before.txt
    check "... once more" quick
    check "... changes nothing" cmp before.txt "$name/results.txt"
    "$study" --data nowhere >skipped.txt 2>&1
    check "... is skipped without data" says skipped.txt '^skipped: .*nowhere/.* is not there'
    check "... wants to know where they are" exits 2 "$study"
    check "... has help" "$study" --help
    if "$study" --help | grep -q -- --only; then
        part() { quick --out "$name-part" --only "$1" >part.txt 2>&1 && grep -q '^not run yet' "$name-part/results.txt" && cmp "$name-part/results.txt" "$name-part/results/results-$1.txt"; }
        case $name in
            peer) trained=isoflop ;;
            hmoe) trained=topk ;;
            hypermoe) trained=language ;;
            cross) trained=novels ;;
            *) trained=domains ;;
        esac
        check "... trains a part of it" part $trained
        no_other() {
            local other
            [[ -e $name-part/$trained || -e $name-part/$trained-1e10 ]] || return 1
            for other in main topp sst2 synthetic; do [[ ! -e $name-part/$other ]] || return 1; done
        }
        check "... and no other" no_other
    fi
done
finish
