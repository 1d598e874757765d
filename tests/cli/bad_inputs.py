#!/usr/bin/env python3
"""Every bad input: one clear line that names the thing, exit code 2, no hang, nothing created or changed; on 1 and on 2 ranks."""
# PROCESSORS 2
# TIMEOUT 480
import concurrent.futures
import os
import shutil
import sys
import threading

import h5py
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from _program import MPIRUN, PLEIAD, SOURCE, TMP, Checks, pleiad, run  # noqa: E402

TINY = """
[model]
width = 16
layers = 2
heads = 2
seq_len = 16
dense_width = 16
[moe]
experts = 3
expert_width = 8
k = 2
[train]
steps = 3
batch_sequences = 4
lanes = 4
eval_windows = 4
sample_tokens = 0
[data]
corpus = corpus.h5
[checkpoint]
every = 2
"""


class Case:
    """arguments: of the program. says: what the line must contain. On several ranks also: cwd_of_rank, folders of ranks 0 and 1."""

    def __init__(self, what, arguments, says, ranks=(1, 2), env=None, cwd_of_rank=None, code=2, usage=False):
        self.what, self.arguments, self.says, self.ranks = what, arguments, says, ranks
        self.env, self.cwd_of_rank, self.code, self.usage = env, cwd_of_rank, code, usage


CASES = []


def case(what, arguments, *says, **options):
    CASES.append(Case(what, arguments.split() if isinstance(arguments, str) else arguments, says, **options))


def setting(what, pairs, *says, **options):
    """train with --set"""
    pairs = [pairs] if isinstance(pairs, str) else pairs
    arguments = ["train", "--config", "tiny.ini", "--out", "new"]
    for pair in pairs:
        arguments += ["--set", pair]
    case(what, arguments, *says, **options)


# ---- keys and values ----
case("config: an empty file", "train --config empty.h5 --out new", "data.corpus is missing")
setting("unknown key", "moe.expert=4", "moe.expert", "unknown", "experts")
setting("unknown key in a section that only training reads", "train.step=4", "train.step ", "unknown", "steps")
setting("key of another router", "moe.load_loss=0.1", "moe.load_loss", "unknown")
setting("unknown section", "model2.width=4", "model2", "model, moe, train")
setting("text for a whole number", "model.width=wide", "model.width = wide", "whole number")
setting("number with a fraction for a whole number", "moe.experts=2.5", "moe.experts = 2.5", "whole number")
setting("whole number with rest", "train.steps=10x", "train.steps = 10x", "whole number")
setting("whole number beyond 64 bits", "train.steps=99999999999999999999", "train.steps = 9999", "whole number")
setting("empty value", "model.width=", "model.width", "whole number")
setting("text for a number", "train.learning_rate=fast", "train.learning_rate = fast", "number")
setting("nan for a number", "train.learning_rate=nan", "train.learning_rate = nan", "number")
setting("infinity for a number", "moe.balance_loss=inf", "moe.balance_loss = inf", "number")
setting("a number beyond all numbers", "train.learning_rate=1e999", "train.learning_rate = 1e999", "number")
setting("a time to wait that is none", "parallel.stall_seconds=0.001", "parallel.stall_seconds = 0.001", "0.5")
setting("2^63 for a whole number", "train.seed=9223372036854775808", "train.seed = 9223372036854775808", "whole number")
setting("a power of ten for a whole number", "train.steps=1e3", "train.steps = 1e3", "whole number")
# (without moe.expert_width, which would be refused first)
case("a list without end", "train --config widths.ini --out new --set moe.expert_widths=" + ",".join(["16777216x8"] * 8), "moe.expert_widths", "comma-separated")
setting("negative learning rate", "train.learning_rate=-1", "train.learning_rate = -1", "from 0")
setting("text for a truth value", "moe.renormalize=maybe", "moe.renormalize = maybe", "true or false")
setting("unknown choice", "moe.router=topq", "moe.router = topq", "topk", "noisy_topk", "dense")
setting("unknown preset", "moe.preset=gpt", "moe.preset = gpt", "switch", "gshard", "mixtral")
setting("unknown activation", "moe.activation=tanh", "moe.activation = tanh", "swiglu")
setting("unknown placement", "moe.placement=best", "moe.placement = best", "round_robin")
setting("negative width", "model.width=-32", "model.width = -32", "from 2")
setting("zero width", "model.width=0", "model.width = 0", "from 2")
setting("negative expert width", "moe.expert_width=-8", "moe.expert_width = -8", "from 1")
setting("zero expert width", "moe.expert_width=0", "moe.expert_width = 0", "from 1")
setting("no experts", "moe.experts=0", "moe.experts = 0", "from 1")
setting("zero batch", "train.batch_sequences=0", "train.batch_sequences = 0", "from 1")
setting("negative steps", "train.steps=-1", "train.steps = -1", "from 0")
setting("k > experts", "moe.k=4", "moe.k = 4", "moe.experts is 3")
setting("k = 0", "moe.k=0", "moe.k = 0", "at least 1")
setting("negative capacity", "moe.capacity_factor=-1", "moe.capacity_factor = -1", "from 0")
case("expert_widths: wrong count", "train --config widths.ini --set moe.expert_widths=8,8 --out new", "moe.expert_widths", "2", "3")
case("expert_widths: a zero", "train --config widths.ini --set moe.expert_widths=8,0,8 --out new", "moe.expert_widths = 8,0,8", "from 1")
case("expert_widths: a negative", "train --config widths.ini --set moe.expert_widths=8,-1,8 --out new", "moe.expert_widths = 8,-1,8", "from 1")
case("expert_widths: not a list", "train --config widths.ini --set moe.expert_widths=8;8;8 --out new", "moe.expert_widths = 8;8;8", "comma-separated")
setting("expert_width and expert_widths", "moe.expert_widths=8,8,8", "moe.expert_width", "moe.expert_widths", "contradicts")
setting("swiglu with biases", ["moe.activation=swiglu", "moe.expert_bias=true"], "expert_bias", "swiglu")
setting("load loss with k = experts", ["moe.router=noisy_topk", "moe.k=3", "moe.load_loss=1"], "moe.load_loss = 1", "moe.k", "3")
setting("unknown objective", "train.objective=bert", "train.objective = bert", "causal, masked")
setting("no token to be guessed", ["train.objective=masked", "train.mask_share=0"], "train.mask_share = 0", "above 0")
setting("more than all tokens to be guessed", "train.mask_share=1.5", "train.mask_share = 1.5", "1")
setting("a router that looks at later tokens", "moe.router=expert_choice", "moe.router = expert_choice", "moe.allow_noncausal = true")
setting("a rule that looks at later tokens", ["moe.router=damoe", "moe.k_rule=budget"], "moe.router = damoe", "moe.allow_noncausal = true")
setting("causal rule with an importance that is not", ["moe.router=damoe", "moe.k_rule=causal", "moe.importance=column"], "moe.k_rule = causal", "column")
setting("threshold above 1", ["moe.router=threshold", "moe.threshold=1.5"], "moe.threshold = 1.5", "from 0 to 1")
setting("generated expert without width", ["moe.hyper=true", "moe.hyper_bottleneck=0"], "moe.hyper_bottleneck = 0")
setting("generated expert and adapter", ["moe.hyper=true", "moe.adapter=shared"], "moe.adapter = shared", "moe.hyper = true")
setting("adapter of another kind", "moe.adapter=each", "moe.adapter = each", "none, shared, per_expert")
setting("adapter without width", ["moe.adapter=shared", "moe.adapter_width=0"], "moe.adapter_width = 0", "from 1")
setting("width of an adapter that is not there", "moe.adapter_width=4", "moe.adapter_width = 4", "unknown")
setting("adapters of a million experts", ["moe.router=peer", "moe.adapter=per_expert"], "moe.adapter = per_expert", "moe.router = peer", "shared")
setting("mean number of experts below 1", ["moe.router=matched_topk", "moe.mean_k=0.5"], "moe.mean_k = 0.5", "from 1 to 3")
setting("mean number of experts above all", ["moe.router=matched_topk", "moe.mean_k=3.1"], "moe.mean_k = 3.1", "from 1 to 3")
setting("k beside mean_k", ["moe.router=matched_topk", "moe.mean_k=1.5"], "moe.k = 2", "unknown", "mean_k")
setting("histogram without weight", ["moe.router=random_k", "moe.k_histogram=0,0"], "moe.k_histogram = 0,0", "above 0")
setting("histogram longer than the experts", ["moe.router=random_k", "moe.k_histogram=1,1,1,1"], "moe.k_histogram = 1,1,1,1", "K = 4", "moe.experts is 3")
setting("histogram that is no list", ["moe.router=random_k", "moe.k_histogram=1:2"], "moe.k_histogram = 1:2", "comma-separated", "from 0")
setting("split that does not divide the width", "moe.split=3", "moe.split = 3", "moe.expert_width = 8")
setting("no split", "moe.split=0", "moe.split = 0", "from 1")
setting("k > experts after the split", ["moe.split=2", "moe.k=7"], "moe.k = 7", "moe.experts x moe.split is 6")
case("split and expert_widths", "train --config widths.ini --set moe.expert_widths=8,8,8 --set moe.split=2 --out new", "moe.split", "moe.expert_widths", "contradicts")
setting("router that does not exist", "moe.router=base", "moe.router = base", "topk", "expert_choice", "hash", "peer")
setting("unknown distribution of widths", "moe.width_distribution=bell", "moe.width_distribution = bell", "geometric")
setting("heads do not divide the width", "model.heads=3", "model.heads = 3", "16")
setting("head of odd width", "model.heads=16", "model.heads = 16", "even")
setting("lanes not a power of two", "train.lanes=6", "train.lanes = 6", "power of two")
setting("a block that does not exist", "moe.layers=5", "moe.layers = 5", "from 0 to 1")
setting("blocks not ascending", "moe.layers=1,0", "moe.layers = 1,0", "ascend")
setting("vocabulary other than the corpus has", "model.vocab=100", "vocab", "100", "256")
setting("data groups that do not divide the ranks", "parallel.data_groups=3", "data_groups", "3")
setting("more data groups than ranks", "parallel.data_groups=4", "data_groups", "4")
setting("exchange.kind = local on 2 ranks", "exchange.kind=local", "exchange.kind = local", "all_to_all", ranks=(2,))
setting("exchange.kind = dry_run on 2 ranks", "exchange.kind=dry_run", "exchange.kind = dry_run", "all_to_all", ranks=(2,))
setting("experts of one row are not lent", ["moe.router=peer", "parallel.shadow=2"], "parallel.shadow = 2", "moe.router = peer")
setting("lending where every token goes everywhere", ["exchange.kind=gather", "exchange.combine=owner", "parallel.shadow=1"], "parallel.shadow = 1", "exchange.kind = gather", "all_to_all", ranks=(2,))
setting("--set without a value", "moe.k", "moe.k", "section.key=value")
setting("--set without a section", "k=2", "k=2", "section.key=value")
setting("--set with nothing", "=", "section.key=value")

# ---- configuration files ----
case("no such config", "train --config none.ini --out new", "none.ini", "No such file")
case("config is a folder", "train --config folder --out new", "folder", "cannot be read")
case("config: a line that is nothing", "train --config broken.ini --out new", "broken.ini", "section", "key = value")
case("config: key given twice", "train --config twice.ini --out new", "twice.ini", "train.steps", "twice")
case("config: key outside a section", "train --config nosection.ini --out new", "nosection.ini", "steps", "[section]")
case("config: unknown section", "train --config section.ini --out new", "training", "sections are")
case("config: is an HDF5 file", "train --config corpus.h5 --out new", "corpus.h5: is not a text file")
case("config on one rank only needs rank 0", "train --config none.ini --out new", "none.ini", ranks=(2,))

case("config: one long line", "train --config long.ini --out new", "long.ini line 1", "key = value")
case("config: a line that took Boost's messages for ever", "train --config percent.ini --out new", "percent.ini line 1", "key = value")

# ---- what only looks like a file: pipes must not hang, links are followed to where they lead ----
for odd, says in (("fifo", "pipe"), ("/dev/null", "device"), ("dangling", "No such file"), ("loop", "symbolic links"), ("link_to_folder", "link_to_folder")):
    case(f"config: {odd}", f"train --config {odd} --out new", odd, says if odd != "dangling" else "dangling")
    case(f"corpus: {odd}", f"train --config tiny.ini --out new --set data.corpus={odd}", odd, says)
    case(f"inspect: {odd}", f"inspect {odd}", odd, says)
    case(f"verify: {odd}", f"verify {odd}", odd, says)
    if odd != "link_to_folder":
        case(f"eval: {odd}", f"eval {odd}", odd, says)
        case(f"init: {odd}", f"train --init {odd} --out new", odd, says)
        case(f"data build: {odd}", f"data build --out new.h5 {odd}", odd)
        case(f"report: {odd}", f"report {odd}", odd)
        case(f"resume: {odd}", f"train --resume {odd}", odd)

# ---- arguments ----
case("no such command", "tarin --config tiny.ini", "tarin", "train, eval")
case("an option that does not exist", "train --config tiny.ini --out new --fast", "fast", "--help")
case("an abbreviated option", "train --conf tiny.ini --out new", "conf", "--help")
case("option without its value", "train --config", "config")
case("option given twice", "train --config tiny.ini --config tiny.ini --out new", "config")
case("a word too many", "train --config tiny.ini --out new extra", "extra")
case("train: nothing", "train", "--config")
case("train: no --out", "train --config tiny.ini", "--out")
case("train: --resume without a folder", "train --resume", "--out")
case("train: --stop-at with text", "train --config tiny.ini --out new --stop-at soon", "stop-at", "soon")
case("train: --stop-at negative", "train --config tiny.ini --out new --stop-at -5", "--stop-at -5", "at least 0")
case("eval: nothing", "eval", "checkpoint")
case("sample: nothing", "sample", "checkpoint")
case("data: nothing", "data", "build, synth, labelled, pairs or info")
case("report: nothing", "report", "no run given")
case("report: no such run", "report none", "none", "No such file")
case("report: a folder without a run", "report folder", "folder/run.h5", "No such file")
case("report: a corpus", "report corpus.h5", "corpus.h5", "pleiad-run/1")
case("report: table cannot be written", "report run --csv none/table.csv", "--csv none/table.csv", "there is no folder none")
case("data: unknown", "data make", "make", "build, synth, labelled, pairs or info")
case("data build: nothing", "data build", "text file")
case("data build: no --out", "data build text.txt", "--out")
case("data synth: nothing", "data synth", "--out")
case("data info: nothing", "data info", "data file")
case("inspect: nothing", "inspect", "file")
case("verify: nothing", "verify", "file")
case("sample: negative temperature", "sample run --temperature -1", "--temperature", "-1", "at least 0")
case("sample: temperature nan", "sample run --temperature nan", "--temperature", "nan")
case("sample: empty prompt", ["sample", "run", "--prompt", ""], "--prompt", "empty")
case("sample: negative number of tokens", "sample run --tokens -5", "--tokens", "-5")
case("sample: negative top-k", "sample run --top-k -1", "--top-k", "-1")
case("split: nothing", "split", "checkpoint")
case("split: no --experts", "split dense --out new.h5", "--experts")
case("split: no --out", "split dense --experts 4", "--out")
case("split: experts that do not divide the width", "split dense --experts 5 --out new.h5", "--experts 5", "16", "model.dense_width")
case("split: more experts than hidden units", "split dense --experts 32 --out new.h5", "--experts 32", "16")
case("split: one expert", "split dense --experts 1 --out new.h5", "--experts 1", "at least 2")
case("split: text for a number", "split dense --experts some --out new.h5", "some")
case("split: a model with experts", "split run --experts 4 --out new.h5", "run/checkpoints", "blocks 0,1", "already")
case("split: a block that does not exist", "split dense --experts 4 --layers 7 --out new.h5", "layers = 7", "from 0 to 1")
case("split: no block", "split dense --experts 4 --layers none --out new.h5", "--layers none")
case("split: --out exists", "split dense --experts 4 --out corpus.h5", "--out corpus.h5", "exists already")
case("split: folder of --out is missing", "split dense --experts 4 --out none/new.h5", "--out none/new.h5", "no folder")
case("split: --set of what it decides itself", "split dense --experts 4 --set moe.expert_width=3 --out new.h5", "moe.expert_width=3", "split itself")
case("split: --set of what would add parameters", "split dense --experts 4 --set moe.adapter=shared --out new.h5", "moe.adapter=shared", "split itself")
case("split: --set of another section", "split dense --experts 4 --set model.width=3 --out new.h5", "model.width=3", "[moe]")
case("split: --set of an unknown key", "split dense --experts 4 --set moe.p=0.5 --out new.h5", "moe.p", "unknown")
case("split: a corpus", "split corpus.h5 --experts 4 --out new.h5", "corpus.h5", "pleiad-checkpoint/2")
case("sweep: no value", "eval run --sweep moe.k=", "--sweep moe.k=", "a,b,c")
case("sweep: an empty value", "eval run --sweep moe.k=1,,2", "--sweep moe.k=1,,2", "a,b,c")
case("sweep: no section", "eval run --sweep k=1,2", "--sweep k=1,2", "section.key")
case("sweep: a key twice", "eval run --sweep moe.k=1 --sweep moe.k=2", "--sweep moe.k", "twice")
case("sweep: unknown key", "eval run --sweep moe.threshold=0.5,1", "moe.threshold", "unknown")
case("sweep: unknown key of training", "eval run --sweep train.step=1,2", "train.step ", "unknown")
case("sweep: the last value is wrong", "eval run --sweep moe.k=1,2,9", "moe.k = 9", "moe.experts is 3")
case("sweep: --csv without a sweep", "eval run --csv new.csv", "--csv new.csv", "--sweep")
case("sweep: --csv exists", "eval run --sweep moe.k=1 --csv text.txt", "--csv text.txt", "exists already")
case("sweep: folder of --csv is missing", "eval run --sweep moe.k=1 --csv none/new.csv", "--csv none/new.csv", "no folder")
case("eval: unknown split", "eval run --split held", "--split", "held", "validation, train or test")
case("eval: a corpus has no test part", "eval run --split test", "corpus.h5", "no test part")
case("eval: negative windows", "eval run --windows -1", "--windows", "-1")

# ---- HDF5 files that are not what is asked for ----
FILES = {  # kind: (good file, command line with the file as FILE)
    "corpus": ("corpus.h5", "train --config tiny.ini --out new --set data.corpus=FILE"),
    "examples": ("labelled.h5", "train --config tiny.ini --out new --set data.corpus=FILE"),
    "checkpoint": ("run/checkpoints/step-0000000003.h5", "eval FILE"),
    "golden layer": ("layer.h5", "verify FILE"),
    "golden model": ("model.h5", "verify FILE"),
    "inspected file": ("corpus.h5", "inspect FILE"),
}
CUTS = {"1 byte": 1, "8 bytes": 8, "100 bytes": 100, "2000 bytes": 2000, "half": 0.5, "all but one byte": -1}
for kind, (good, line) in FILES.items():
    name = kind.split()[-1]
    case(f"{kind}: missing", line.replace("FILE", "none.h5"), "none.h5", "No such file")
    case(f"{kind}: empty", line.replace("FILE", "empty.h5"), "empty.h5", "not an HDF5 file")
    case(f"{kind}: a text file", line.replace("FILE", "text.txt"), "text.txt", "not an HDF5 file")
    case(f"{kind}: a folder", line.replace("FILE", "folder"), "folder")
    for cut in CUTS:
        case(f"{kind}: cut at {cut}", line.replace("FILE", f"cut {kind} {cut}.h5".replace(" ", "_")), f"cut_{kind} {cut}.h5".replace(" ", "_"))
    if kind != "inspected file":
        case(f"{kind}: HDF5 of nobody", line.replace("FILE", "foreign.h5"), "foreign.h5", "format")
        other = "run/run.h5" if kind != "checkpoint" else "corpus.h5"
        case(f"{kind}: another of our formats", line.replace("FILE", other), other, "format", "/1")
case("sample: a corpus for a checkpoint", "sample corpus.h5", "corpus.h5", "pleiad-checkpoint/2")
case("data info: a checkpoint", "data info run/checkpoints/step-0000000003.h5", "step-0000000003.h5", "pleiad-corpus/1")
case("corpus with damaged content", "train --config tiny.ini --out new --set data.corpus=damaged.h5", "damaged.h5", "300")
case("corpus with another token", "train --config tiny.ini --out new --set data.corpus=changed.h5", "changed.h5", "/train/tokens is damaged", "checksum")
case("corpus with another window", "train --config tiny.ini --out new --set data.corpus=window.h5", "window.h5", "header is damaged", "checksum")
case("labelled texts with another label", "train --config tiny.ini --out new --set data.corpus=relabelled.h5", "relabelled.h5", "/train/label is damaged", "checksum")
case("corpus without its tokens", "train --config tiny.ini --out new --set data.corpus=lacking.h5", "lacking.h5", "tokens")
case("checkpoint without a weight", "eval lacking_checkpoint.h5", "lacking_checkpoint.h5", "wq")
case("checkpoint with a weight of another shape", "eval shape_checkpoint.h5", "shape_checkpoint.h5", "wq")
case("incomplete checkpoint", "eval incomplete_checkpoint.h5", "incomplete_checkpoint.h5", "incomplete")

# ---- a file on one rank only ----
for here, there, bad in (("a", "b", 1), ("b", "a", 0)):
    ranks = {"ranks": (2,), "cwd_of_rank": (here, there)}
    case(f"corpus missing on rank {bad}", "train --config tiny.ini --out new", "corpus.h5", f"rank {bad}", **ranks)
    case(f"checkpoint missing on rank {bad}", "eval checkpoint.h5", "checkpoint.h5", f"rank {bad}", **ranks)
    case(f"sample: checkpoint missing on rank {bad}", "sample checkpoint.h5", "checkpoint.h5", f"rank {bad}", **ranks)
    case(f"verify: layer file missing on rank {bad}", "verify layer.h5", "layer.h5", f"rank {bad}", **ranks)
    case(f"verify: model file missing on rank {bad}", "verify model.h5", "model.h5", f"rank {bad}", **ranks)
case("another corpus on rank 1", "train --config tiny.ini --out new", "corpus.h5", "differs", ranks=(2,), cwd_of_rank=("a", "c"))

# ---- corpora ----
case("empty text", "data build --out new.h5 nothing.txt", "empty")
case("text is missing", "data build --out new.h5 none.txt", "none.txt", "does not exist")
case("text is a folder", "data build --out new.h5 folder", "folder")
case("one text of two is missing", "data build --out new.h5 text.txt none.txt", "none.txt")
case("corpus file exists", "data build --out corpus.h5 text.txt", "corpus.h5", "exists already", "force")
case("data build: folder is missing", "data build --out none/new.h5 text.txt", "none/new.h5")
case("data build: below a file", "data build --out text.txt/new.h5 text.txt", "text.txt/new.h5")
case("data build: all held out", "data build --out new.h5 --validation 1 text.txt", "validation", "1")
case("data build: negative held out", "data build --out new.h5 --validation -0.1 text.txt", "validation", "-0.1")
case("data build: unknown tokenizer", "data build --out new.h5 --tokenizer words text.txt", "--tokenizer", "words", "bytes or sentencepiece")
case("data labelled: nothing", "data labelled", "--train")
case("data labelled: no validation", "data labelled --train good.tsv --out new.h5", "--validation", "missing")
case("data labelled: no --out", "data labelled --train good.tsv --validation good.tsv", "--out")
case("data labelled: file is missing", "data labelled --train none.tsv --validation good.tsv --out new.h5", "none.tsv", "does not exist")
case("data labelled: column 0", "data labelled --train good.tsv --validation good.tsv --out new.h5 --text-column 0", "--text-column 0", "1 to 1000")
case("data labelled: one column for both", "data labelled --train good.tsv --validation good.tsv --out new.h5 --text-column 2", "--label-column 2", "text")
case("data labelled: column that is not there", "data labelled --train good.tsv --validation good.tsv --out new.h5 --label-column 3", "good.tsv line 1", "column 3")
case("data labelled: unknown label", "data labelled --train good.tsv --validation other.tsv --out new.h5", "other.tsv", "'maybe'", "training part")
case("data labelled: file exists", "data labelled --train good.tsv --validation good.tsv --out corpus.h5", "corpus.h5", "exists already", "force")
case("data labelled: tokenizer of no file", "data labelled --train good.tsv --validation good.tsv --out new.h5 --tokenizer-of none.h5", "none.h5", "No such file")
case("data build: tokenizer of a file without one", "data build --out new.h5 --tokenizer-of run/run.h5 text.txt", "run/run.h5", "pleiad-run/1", "pleiad-corpus/1")
case("data build: two tokenizers", "data build --out new.h5 --tokenizer-of corpus.h5 --vocab 300 text.txt", "--tokenizer-of corpus.h5", "--vocab")
case("data pairs: one file", "data pairs --train text.txt --validation text.txt,text.txt --out new.h5", "--train text.txt", "SOURCE,TARGET")
case("data pairs: three files", "data pairs --train a,b,c --validation a,b --out new.h5", "--train a,b,c", "SOURCE,TARGET")
case("data pairs: not as many lines", "data pairs --train text.txt,good.tsv --validation good.tsv,good.tsv --out new.h5", "good.tsv has 4", "as many")
case("train: data of no known format", ["train", "--config", "tiny.ini", "--out", "new", "--set", "data.corpus=run/run.h5"], "run/run.h5", "pleiad-run/1", "pleiad-corpus/1")
case("train: no pair fits the sequence", ["train", "--config", "tiny.ini", "--out", "new", "--set", "data.corpus=pairs.h5", "--set", "model.seq_len=2"],
     "pairs.h5", "model.seq_len = 2")
case("eval: data of another task", "eval run --corpus labelled.h5", "labelled.h5", "classifier", "lm")
case("sample: of masked tokens", "sample masked --prompt x", "masked", "writes no text", "eval")
case("eval: with another objective", "eval masked --set train.objective=causal", "corpus.h5", "task lm", "masked_lm")
case("sample: --input for a language model", "sample run --input text.txt", "--input", "--prompt")
case("sample: --out without --input", "sample run --out new.txt", "--out", "--input")
case("sample: no beam", "sample run --beam 0", "--beam", "0", "from 1")
case("sample: length penalty nan", "sample run --length-penalty nan", "--length-penalty", "nan")
case("data synth: unknown domain", "data synth --out new.h5 --tokens 5000 --domains easy,french", "french", "brackets")
case("data synth: no domain", "data synth --out new.h5 --tokens 5000 --domains ,", "domain")
case("data synth: no tokens", "data synth --out new.h5 --tokens 0", "tokens", "0")
case("data synth: negative document", "data synth --out new.h5 --tokens 5000 --document -4", "document", "-4")
case("data synth: negative seed", "data synth --out new.h5 --tokens 5000 --seed -1", "--seed", "-1")
case("data synth: text for a number", "data synth --out new.h5 --tokens many", "many")
case("data synth: corpus file exists", "data synth --out corpus.h5 --tokens 5000", "corpus.h5", "exists already", "force")
setting("validation part shorter than a window", "model.seq_len=2000", "validation", "2001")
setting("training part shorter than a window", "model.seq_len=100000", "train", "100001")
case("eval: corpus with another tokenizer", "eval run --corpus words.h5", "words.h5", "vocabulary of 300", "256")
case("eval: no corpus of that name", "eval run --corpus none.h5", "none.h5", "No such file")
case("eval: --set with another shape", "eval run --set moe.experts=4", "router/w", "[3, 16]", "[4, 16]")
case("eval: --set of an unknown key", "eval run --set moe.expert=4", "moe.expert", "unknown")
case("train: no corpus", "train --config nocorpus.ini --out new", "data.corpus", "pleiad data")

# ---- output folders ----
case("--out already holds a run", "train --config tiny.ini --out run", "run", "already holds a run", "--resume")
case("--out is a link to nothing", "train --config tiny.ini --out dangling", "--out dangling", "symbolic link to nowhere")
case("--out below a regular file", "train --config tiny.ini --out corpus.h5/run", "corpus.h5/run", "--out")
case("--out is a regular file", "train --config tiny.ini --out text.txt", "text.txt", "--out")
case("--out where nobody may write", "train --config tiny.ini --out /proc/pleiad", "/proc/pleiad", "--out")
case("verify: --out below a regular file", "verify layer.h5 --out text.txt/x", "text.txt/x", "--out")
case("verify: --out is a regular file", "verify layer.h5 --out text.txt", "text.txt", "--out")
if os.getuid() != 0:
    case("--out below a folder without permission", "train --config tiny.ini --out readonly/run", "readonly/run", "ermission")
    case("--out is a folder without permission", "train --config tiny.ini --out readonly", "readonly", "ermission")
    case("data build into a folder without permission", "data build --out readonly/new.h5 text.txt", "readonly/new.h5", "ermission")

# ---- resume ----
case("resume: no such folder", "train --resume none", "none")
case("resume: a folder without a run", "train --resume folder", "folder")
case("resume: a file", "train --resume text.txt", "--resume text.txt: is a file", "folder of the run")
case("continue: a file", "train --continue --config tiny.ini --out run/run.h5", "--out run/run.h5")
case("resume: no run to continue, with --config", "train --config tiny.ini --out new --resume", "new")
case("resume with another moe.k", "train --resume run --set moe.k=1", "moe.k = 1", "2")
case("resume with another width", "train --resume run --set model.width=32", "model.width = 32", "16")
case("resume with another seed", "train --resume run --set train.seed=9", "train.seed = 9", "1")
case("resume with another configuration file", "train --config other.ini --resume run", "moe.expert_width = 9", "8")
case("continue with another configuration file", "train --continue --config other.ini --out run", "--continue", "moe.expert_width = 9", "8")
case("resume with another corpus", "train --resume run --set data.corpus=other.h5", "other.h5", "not the corpus")
case("resume: every checkpoint is cut", "train --resume cut_run", "step-0000000003.h5", "no older checkpoint is whole")

# ---- init ----
case("init: no such file", "train --init none.h5 --out new", "none.h5", "No such file")
case("init: a folder without a checkpoint", "train --init folder --out new", "folder", "no checkpoint")
case("init: empty name", ["train", "--init", "", "--out", "new"], "--init", "empty")
case("init: no --out", "train --init run", "--out")
case("init and resume", "train --init run --resume run", "--init run", "--resume", "one of the two")
case("init: --out holds a run", "train --init dense --out run", "run", "already holds a run")
case("init: another width", "train --init run --config tiny.ini --set model.width=32 --out new", "embed", "[256, 16]", "[256, 32]")
case("init: another number of experts", "train --init run --config tiny.ini --set moe.experts=4 --out new", "router/w", "[3, 16]", "[4, 16]")
case("init: other expert widths", "train --init run --config other.ini --out new", "blocks/0/ffn/experts/w_in", "widths")
case("init: a dense model for one with experts", "train --init dense --config tiny.ini --out new", "router/w")
case("init: a model with experts for a dense one", "train --init run --config tiny.ini --set moe.layers=none --out new", "blocks/0/ffn/experts/0/w_in")
case("init: another width, for another task", "train --init run --config tiny.ini --set data.corpus=labelled.h5 --set model.width=32 --out new", "embed", "[256, 16]", "[256, 32]")
case("init: fewer blocks, for another task", "train --init masked --config tiny.ini --set data.corpus=labelled.h5 --set model.layers=1 --out new", "blocks/1/", "does not have")
case("init: a dense model for one with experts and another task", "train --init dense --config tiny.ini --set train.objective=masked --out new", "router/w")
case("init: fewer blocks than the checkpoint has", "train --init run --config tiny.ini --set model.layers=1 --out new", "blocks/1/", "does not have")
case("eval: fewer blocks than the checkpoint has", "eval run --set model.layers=1", "blocks/1/", "does not have")
case("init: corpus with another vocabulary", "train --init wide_checkpoint.h5 --out new", "corpus.h5", "another tokenizer", "300", "256")
case("resume from a checkpoint without moments", "train --resume momentless --set train.steps=4", "step-0000000003.h5", "moments", "--init")

# ---- match ----
case("match: no such run", "train --config tiny.ini --match none --out new", "none/run.h5", "No such file")
case("match: a dense run", "train --config tiny.ini --match dense --set moe.router=matched_topk --out new", "--match dense", "no experts")
case("match: a router that takes nothing", "train --config tiny.ini --match run --out new", "--match run", "matched_topk or random_k", "topk")
case("match: experts too wide to be matched", "train --config tiny.ini --match run --set moe.router=matched_topk --set moe.expert_width=800 --out new", "--match run", "from 1 to 3")
case("capacity in evaluation", "train --config tiny.ini --set moe.capacity_factor=1 --set moe.eval_capacity=train --out new", "eval_capacity", "later tokens", "allow_noncausal")
case("match: a record without a histogram", "train --config tiny.ini --match old --set moe.router=random_k --out new", "--match old", "k_histogram")
case("match and resume", "train --resume run --match run", "--match run", "new run")

# ---- SLURM ----
slurm = {"env": {"SLURM_NTASKS": "4"}, "ranks": (1,)}
for line in ("train --config tiny.ini --out new", "eval run", "split dense --experts 4 --out new.h5", "sample run", "verify layer.h5"):
    case(f"4 SLURM tasks and a world of 1: {line.split()[0]}", line, "SLURM_NTASKS", "4", **slurm)


def make_files(folder):
    """Everything the cases use, once per number of ranks."""
    def path(name):
        return os.path.join(folder, name)

    def write(name, text):
        with open(path(name), "w", encoding="utf-8") as file:
            file.write(text)

    def must(*arguments):
        result = pleiad(arguments, cwd=folder)
        if result.code != 0:
            sys.exit(f"FAILED  cannot prepare: {' '.join(arguments)}\n{result}")

    os.makedirs(folder)
    rng = np.random.default_rng(3)
    words = ["alpha", "beta", "gamma", "delta", "night", "river", "stone", "grass"]
    write("text.txt", " ".join(rng.choice(words, 3000)))
    write("other.txt", " ".join(rng.choice(words[:5], 3000)))
    write("nothing.txt", "")
    write("empty.h5", "")
    write("tiny.ini", TINY)
    write("other.ini", TINY.replace("expert_width = 8", "expert_width = 9"))
    write("widths.ini", TINY.replace("expert_width = 8\n", ""))
    write("broken.ini", TINY + "\nthis is no option\n")
    write("twice.ini", TINY.replace("steps = 3", "steps = 3\nsteps = 4"))
    write("nosection.ini", "steps = 4\n" + TINY)
    write("section.ini", TINY.replace("[train]", "[training]"))
    write("long.ini", "word " * 100000 + "\n")
    write("percent.ini", "[%%%%%%%%invalid_line%%%%%%%%%%%%%%%%%'%%%%%%%%%%%%%\n")
    write("crlf.ini", TINY.replace("\n", "\r\n"))
    write("mark.ini", "\ufeff" + TINY)
    os.mkfifo(path("fifo"))
    os.symlink("nowhere", path("dangling"))
    os.symlink("loop", path("loop"))
    os.symlink("folder", path("link_to_folder"))
    write("nocorpus.ini", TINY.replace("corpus = corpus.h5", ""))
    os.makedirs(path("folder"))
    must("data", "build", "--out", "corpus.h5", "text.txt")
    must("data", "build", "--out", "other.h5", "other.txt")
    os.makedirs(path("a folder of \u00fc \u96ea"))
    os.symlink("../corpus.h5", path("a folder of \u00fc \u96ea/a corpus \u00e9.h5"))
    shutil.copy(path("tiny.ini"), path("a folder of \u00fc \u96ea/tiny \u00e4.ini"))
    os.symlink("run", path("link_to_run"))
    must("train", "--config", "tiny.ini", "--out", "run")
    must("train", "--config", "tiny.ini", "--set", "moe.preset=dense", "--set", "moe.layers=none", "--out", "dense")
    must("train", "--config", "tiny.ini", "--set", "train.objective=masked", "--out", "masked")
    write("good.tsv", "a good text\tyes\na bad one\tno\nanother\tyes\nthe last\tno\n")
    write("other.tsv", "a good text\tyes\nof another label\tmaybe\n")
    must("data", "labelled", "--train", "good.tsv", "--validation", "good.tsv", "--out", "labelled.h5")
    must("data", "pairs", "--train", "good.tsv,good.tsv", "--validation", "good.tsv,good.tsv", "--out", "pairs.h5")
    shutil.copy(os.path.join(SOURCE, "tests/golden/switch_top1_capacity.h5"), path("layer.h5"))
    shutil.copy(os.path.join(SOURCE, "tests/golden/model_switch.h5"), path("model.h5"))
    with h5py.File(path("foreign.h5"), "w") as file:
        file["/weights"] = np.zeros((3, 4))

    checkpoint = path("run/checkpoints/step-0000000003.h5")
    for kind, (good, _) in FILES.items():
        with open(path(good), "rb") as file:
            content = file.read()
        for cut, size in CUTS.items():
            size = int(len(content) * size) if isinstance(size, float) else size
            with open(path(f"cut {kind} {cut}.h5".replace(" ", "_")), "wb") as file:
                file.write(content[:size])

    def changed(source, name, action):
        shutil.copy(source, path(name))
        with h5py.File(path(name), "r+") as file:
            action(file)

    def replaced(file, name, values):
        attributes = dict(file[name].attrs)
        del file[name]
        file[name] = values
        for key, value in attributes.items():
            file[name].attrs[key] = value

    def token_300(file):
        tokens = file["train/tokens"][()]
        tokens[17] = 300
        file["train/tokens"][...] = tokens

    changed(path("corpus.h5"), "damaged.h5", token_300)

    def add_one(name):
        def action(file):
            values = file[name][()]
            values[2] ^= 1
            file[name][...] = values

        return action

    changed(path("corpus.h5"), "changed.h5", add_one("train/tokens"))
    changed(path("labelled.h5"), "relabelled.h5", add_one("train/label"))
    changed(path("corpus.h5"), "window.h5", lambda file: file.attrs.modify("window_alignment", np.int64(2)))
    os.makedirs(path("old"))
    changed(path("run/run.h5"), "old/run.h5", lambda file: file.pop("evaluation/k_histogram"))
    changed(path("corpus.h5"), "lacking.h5", lambda file: file.pop("train/tokens"))
    changed(checkpoint, "lacking_checkpoint.h5", lambda file: file.pop("params/blocks/1/attn/wq"))
    changed(checkpoint, "shape_checkpoint.h5", lambda file: replaced(file, "params/blocks/1/attn/wq", np.zeros((16, 8), "f4")))
    changed(checkpoint, "wide_checkpoint.h5", lambda file: file.attrs.modify("vocab", 300))
    changed(checkpoint, "incomplete_checkpoint.h5", lambda file: file.attrs.pop("complete"))

    # another tokenizer with the same vocabulary or not: a SentencePiece model where that is built in
    made = pleiad(["data", "build", "--tokenizer", "sentencepiece", "--vocab", "300", "--out", "words.h5", "text.txt"], cwd=folder)
    if made.code != 0:
        CASES[:] = [c for c in CASES if "words.h5" not in c.arguments]

    for name in "abc":
        os.makedirs(path(name))
        write(f"{name}/tiny.ini", TINY)
    for name in ("corpus.h5", "layer.h5", "model.h5"):
        shutil.copy(path(name), path(f"a/{name}"))
    shutil.copy(path("other.h5"), path("c/corpus.h5"))
    shutil.copy(checkpoint, path("a/checkpoint.h5"))
    shutil.copytree(path("run"), path("cut_run"))
    for name in os.listdir(path("cut_run/checkpoints")):  # one alone is passed over
        os.truncate(path(f"cut_run/checkpoints/{name}"), 5000)
    shutil.copytree(path("run"), path("momentless"))
    with h5py.File(path("momentless/checkpoints/step-0000000003.h5"), "r+") as file:
        del file["adam"]
    os.makedirs(path("readonly"))
    os.chmod(path("readonly"), 0o555)


def snapshot(folder):
    found = {}
    for at, folders, files in os.walk(folder):
        for name in folders:
            found[os.path.join(at, name)] = "folder"
        for name in files:
            status = os.lstat(os.path.join(at, name))  # links may lead nowhere
            found[os.path.join(at, name)] = (status.st_size, status.st_mtime_ns)
    return found


def run_case(c, ranks, folder):
    before = snapshot(folder)
    if c.cwd_of_rank:
        command = [MPIRUN]
        for at in c.cwd_of_rank:
            command += [":"] if len(command) > 1 else []
            command += ["-n", "1", "--wdir", os.path.join(folder, at), PLEIAD, *c.arguments]
        result = run(command, cwd=folder, env=c.env)
    else:
        result = pleiad(c.arguments, ranks, cwd=folder, env=c.env)
    problems = []
    if result.code != c.code:
        problems.append(f"exit code {result.code}, expected {c.code}")
    lines = [line for line in result.err.splitlines() if line.strip()]
    if len(lines) != 1 or not lines[0].startswith("pleiad: "):
        problems.append(f"expected one line that begins with 'pleiad: ', got {len(lines)}")
    problems += [f"the message does not say '{word}'" for word in c.says if word not in result.err]
    if result.out.strip():
        problems.append("something was printed on standard output")
    after = snapshot(folder)
    problems += [f"was created, removed or changed: {name}" for name in sorted(set(before.items()) ^ set(after.items()), key=str)]
    return problems + [str(result)] if problems else [], result


def good_inputs(checks, folder):
    """What looks odd and is right."""
    with open(os.path.join(folder, "blank.txt"), "w", encoding="utf-8") as file:
        file.write(" \n\t" * 2000)
    odd = "a folder of \u00fc \u96ea"
    for what, arguments in (
            ("a configuration and a run folder with spaces and other letters", ["train", "--config", f"{odd}/tiny \u00e4.ini", "--out", f"{odd}/my run \u00f6", "--set", f"data.corpus={odd}/a corpus \u00e9.h5"]),
            ("... evaluated", ["eval", f"{odd}/my run \u00f6"]),
            ("... resumed", ["train", "--resume", f"{odd}/my run \u00f6"]),
            ("... reported", ["report", f"{odd}/my run \u00f6", "--csv", f"{odd}/table \u00f1.csv"]),
            ("... inspected", ["inspect", f"{odd}/my run \u00f6/run.h5", f"{odd}/a corpus \u00e9.h5"]),
            ("a link to a run", ["eval", "link_to_run"]),
            ("a configuration with CRLF line ends", ["train", "--config", "crlf.ini", "--out", "crlf"]),
            ("a configuration that begins with a byte order mark", ["train", "--config", "mark.ini", "--out", "mark"]),
            ("minus nothing is nothing", ["train", "--config", "tiny.ini", "--out", "minus", "--set", "train.weight_decay=-0"])):
        result = pleiad(arguments, cwd=folder)
        checks.report(what, [] if result.code == 0 and not result.err else [str(result)])
    for what, arguments, env in (
            ("a corpus of white space only is fine", "data build --out blank.h5 blank.txt", None),
            ("... and can be trained on", "train --config tiny.ini --out blank --set data.corpus=blank.h5", None),
            ("SLURM_NTASKS does not matter to inspect", "inspect corpus.h5", {"SLURM_NTASKS": "4"}),
            ("SLURM_NTASKS does not matter to data", "data info corpus.h5", {"SLURM_NTASKS": "4"}),
            ("eval of a checkpoint without moments", "eval momentless", None),
            ("a new run from a checkpoint without moments", "train --init momentless --out from_momentless", None),
            ("one SLURM task is no contradiction", "eval run", {"SLURM_NTASKS": "1"}),
            ("eval of the good checkpoint", "eval run/checkpoints/step-0000000003.h5", None),
            ("an empty folder as --out", "train --config tiny.ini --out folder", None)):
        result = pleiad(arguments.split(), cwd=folder, env=env)
        checks.report(what, [] if result.code == 0 and not result.err else [str(result)])


def main():
    checks, lock = Checks(), threading.Lock()
    verbose = "-v" in sys.argv

    def all_cases(ranks):
        folder = os.path.join(TMP, f"ranks{ranks}")
        make_files(folder)
        for c in list(CASES):
            if ranks not in c.ranks:
                continue
            problems, result = run_case(c, ranks, folder)
            with lock:
                checks.report(f"{c.what} ({ranks} rank{'s' if ranks > 1 else ''})", problems)
                if verbose:
                    print("          " + result.err.strip())
        if ranks == 1:
            with lock:
                good_inputs(checks, folder)

    # Two at a time: one thread per number of ranks, each with files of its own. What goes wrong in one ends the test.
    with concurrent.futures.ThreadPoolExecutor() as threads:
        list(threads.map(all_cases, (1, 2)))
    checks.finish()


if __name__ == "__main__":
    main()
