"""Runs that are killed at random moments and go on: after every kill the newest checkpoint is whole and none is lost, and what a run ends with is bit for
bit what an undisturbed one does. Used by kills.py (a few kills) and experiments/kill_trial (many)."""
import atexit
import collections
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time

from _program import MPIRUN, PLEIAD, environment, pleiad
from _runs import same

CONFIG = """[model]
width = 16
layers = 2
heads = 2
seq_len = 16
[train]
steps = {steps}
batch_sequences = 8
lanes = 8
warmup_steps = 5
learning_rate = 0.003
eval_every = 60
eval_windows = 8
sample_every = 60
sample_tokens = 4
[data]
corpus = corpus.h5
[checkpoint]
every = 6
[metrics]
record_routing = sampled
record_every = 7
"""
EXPERTS = ["moe.experts=5", "moe.expert_width=12"]
WIDTHS = ["moe.experts=6", "moe.expert_widths=30,24,20,2,3,1", "moe.placement=block"]
KEYS = ["moe.heads=2", "moe.k=3", "moe.query_dim=8"]

# Every kind of state that a step depends on: moments of whole experts and of rows, balancing biases, statistics of batch norm, generated experts, owners that change.
VARIANTS = {
    "switch": ["moe.preset=switch", *EXPERTS],
    "peer": ["moe.preset=peer", "moe.sub_keys=12", *KEYS],
    "pkm": ["moe.preset=pkm", "moe.sub_keys=9", "train.sparse_adam=dense", *KEYS],
    "hypermoe": ["moe.preset=hypermoe", *EXPERTS],
    "deepseek": ["moe.preset=deepseek", *EXPERTS],
    "moved": ["moe.preset=mixtral", "parallel.rebalance=always", "parallel.rebalance_every=10", *WIDTHS],
}
MOST_RANKS = 4
STOPPED = 75          # exit code of a run that was told to stop and saved
PATIENCE = 60         # seconds in which a job must be over once a rank is gone, also on a machine with much to do
STEP = re.compile(r"step-(\d+)\.h5")
GOING_ON = re.compile(r"going on from \S*step-(\d+)\.h5")


class Broken(Exception):
    """What must hold does not."""


def descendants(pid):
    """Processes below a process, of those that are there now."""
    found = []
    for task in os.listdir(f"/proc/{pid}/task") if os.path.isdir(f"/proc/{pid}/task") else []:
        try:
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                children = [int(child) for child in file.read().split()]
        except OSError:
            continue
        for child in children:
            found += [child, *descendants(child)]
    return found


def send(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


class Run:
    """A run folder that is killed and continued until all its steps are done."""

    def __init__(self, variant, folder):
        self.variant, self.folder, self.ranks = variant, folder, 0
        self.checkpoints = os.path.join(folder, "checkpoints")
        self.newest = -1  # last step seen in a checkpoint

    def names(self):
        try:
            return os.listdir(self.checkpoints)
        except FileNotFoundError:
            return []

    def unfinished(self):
        return {name for name in self.names() if name.endswith(".partial")}

    def newest_step(self):
        return max((int(m.group(1)) for m in map(STEP.fullmatch, self.names()) if m), default=-1)


class Trial:
    def __init__(self, kills, seed, variants=None, steps=300, report=print):
        self.kills, self.seed, self.variants, self.steps, self.report = kills, seed, list(variants or VARIANTS), steps, report
        self.draw = random.Random(seed)
        self.counts = collections.Counter()
        self.seconds = {}        # of the undisturbed runs
        self.slowest_end = 0.0   # from the kill of one rank to the end of the job
        self.number = 0
        # Segments of shared memory of ranks that were killed stay; these will not.
        shared = tempfile.mkdtemp(prefix="pleiad-kills", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
        atexit.register(shutil.rmtree, shared, ignore_errors=True)
        self.settings = {f"OMPI_MCA_{part}_backing_directory": shared for part in ("btl_vader", "osc_sm")}

    # ---- starting ----
    def arguments(self, variant, folder, settings=()):
        return ["train", "--continue", "--config", "trial.ini", "--out", folder] + [word for s in [*VARIANTS[variant], *settings] for word in ("--set", s)]

    def prepare(self):
        made = pleiad(["data", "synth", "--out", "corpus.h5", "--tokens", "20000", "--document", "64", "--seed", "5"])
        if made.code:
            raise Broken(f"no corpus: {made}")
        with open("trial.ini", "w", encoding="ascii") as file:
            file.write(CONFIG.format(steps=self.steps))
        for variant in self.variants:
            begin = time.monotonic()
            done = pleiad(self.arguments(variant, f"whole-{variant}"), timeout=300)
            if done.code:
                raise Broken(f"{variant}, undisturbed: {done}")
            self.seconds[variant] = time.monotonic() - begin

    def start(self, run):
        """On another number of ranks than before, with another way to write and to travel."""
        run.ranks = self.draw.choice([n for n in range(1, MOST_RANKS + 1) if n != run.ranks])
        settings = [f"checkpoint.files={self.draw.choice(['one', 'per_node'])}", f"exchange.kind={self.draw.choice(['auto', 'all_to_all', 'hierarchical'])}"]
        launcher = [] if run.ranks == 1 else [MPIRUN, "-n", str(run.ranks)]
        with open(f"{run.folder}.txt", "w", encoding="utf-8") as output:
            return subprocess.Popen(launcher + [PLEIAD] + self.arguments(run.variant, run.folder, settings), env=environment(self.settings), stdin=subprocess.DEVNULL,
                                    stdout=output, stderr=subprocess.STDOUT)

    def ranks_of(self, run, process):
        """The processes of all ranks; fewer while they are being started."""
        return [process.pid] if run.ranks == 1 else [pid for pid in descendants(process.pid) if self.is_rank(pid)]

    @staticmethod
    def is_rank(pid):
        try:
            return os.path.samefile(f"/proc/{pid}/exe", PLEIAD)
        except OSError:
            return False

    # ---- aiming ----
    def await_save(self, run, process):
        """Until some save from now on has begun, and a random moment more."""
        saves, before = self.draw.randint(1, 10), run.unfinished()
        while process.poll() is None and saves > 0:
            now = run.unfinished()
            saves -= bool(now - before)
            before = now
            time.sleep(0.0003)
        time.sleep(self.draw.expovariate(1 / 0.004))

    def await_moment(self, run, process):
        """Any moment of what such a run takes: while it starts, cuts its record, trains, saves, or ends."""
        end = time.monotonic() + self.draw.uniform(0, 1.5 * self.seconds[run.variant])
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.002)

    # ---- one kill ----
    def kill_once(self, run):
        """True if the run was disturbed, False if it was done before."""
        self.number += 1
        at_save, how = self.number % 2 == 0, self.draw.choice(["one", "one", "all"])
        if at_save and self.draw.random() < 0.2:
            how = "term"
        process = self.start(run)
        (self.await_save if at_save else self.await_moment)(run, process)
        ranks = self.ranks_of(run, process)
        if process.poll() is not None or not ranks:
            return self.ended_first(run, process)
        hit = bool(run.unfinished())
        begin = time.monotonic()
        victims = ranks if how == "all" else [self.draw.choice(ranks)]
        send(victims, signal.SIGTERM if how == "term" else signal.SIGKILL)
        code = self.wait(run, process)
        took = time.monotonic() - begin
        if code == 0:
            return self.ended_first(run, process)
        what = f"{run.variant} on {run.ranks}, {'save' if at_save else 'any moment'}, {how}"
        if how == "term" and code != STOPPED:
            raise Broken(f"{what}: exit code {code}, not {STOPPED}\n{self.output(run)}")
        if how == "one":
            self.slowest_end = max(self.slowest_end, took)
        self.counts.update([f"of {how}", "at a save" if at_save else "at any moment", f"on {run.ranks} ranks", run.variant])
        self.counts["while a file was being written"] += hit
        self.look_at(run, what, stopped=how == "term")
        return True

    def wait(self, run, process):
        try:
            return process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            left = descendants(process.pid)
            send([*left, process.pid], signal.SIGKILL)
            process.wait()
            raise Broken(f"{run.variant} on {run.ranks} ranks: not over {PATIENCE} s after a rank was gone\n{self.output(run)}") from None

    def ended_first(self, run, process):
        code = self.wait(run, process)
        if code != 0:
            raise Broken(f"{run.variant} on {run.ranks} ranks: exit code {code} without a kill\n{self.output(run)}")
        self.look_at(run, "after its end")
        self.compare(run)
        return False

    def output(self, run):
        with open(f"{run.folder}.txt", encoding="utf-8", errors="replace") as file:
            return file.read()[-2000:]

    # ---- what must hold ----
    def look_at(self, run, what, stopped=False):
        """It went on from where the last part had come to; nothing is lost; what is there loads."""
        text, newest = self.output(run), run.newest_step()
        if "passed over a checkpoint" in text:
            raise Broken(f"{what}: a checkpoint was damaged\n{text}")
        began = GOING_ON.search(text)
        if began and int(began.group(1)) != run.newest:
            raise Broken(f"{what}: went on from step {began.group(1)}, the newest checkpoint was of step {run.newest}\n{text}")
        if newest < run.newest:
            raise Broken(f"{what}: the checkpoint of step {run.newest} is gone, the newest is {newest}")
        if stopped and newest < 0:
            raise Broken(f"{what}: saved nothing\n{text}")
        run.newest = newest
        if newest < 0:
            self.counts["before the first checkpoint"] += 1
        else:
            loads = pleiad(["eval", run.folder, "--windows", "1"])
            if loads.code:
                raise Broken(f"{what}: the checkpoint of step {newest} does not load: {loads}")
        if os.path.exists(f"{run.folder}/run.h5"):
            reads = pleiad(["inspect", f"{run.folder}/run.h5"])
            if reads.code:
                raise Broken(f"{what}: the record cannot be read: {reads}")

    def compare(self, run):
        problems = same(f"whole-{run.variant}", run.folder)
        if run.unfinished():
            problems.append(f"left over: {run.unfinished()}")
        if problems:
            raise Broken("\n".join([f"{run.folder} is not the undisturbed run:", *problems[:12]]))
        self.counts["runs compared"] += 1
        shutil.rmtree(run.folder)

    # ---- all of them ----
    def run(self):
        """Raises Broken where something does not hold; the run is left for a look."""
        begin = time.monotonic()
        self.prepare()
        self.report(f"seed {self.seed}: {self.kills} kills of {', '.join(self.variants)}; undisturbed runs take {', '.join(f'{s:.1f}' for s in self.seconds.values())} s")
        runs, made, done = {}, 0, 0
        while done < self.kills:
            variant = self.draw.choice(self.variants)
            if variant not in runs:
                made += 1
                runs[variant] = Run(variant, f"run-{made}-{variant}")
            if not self.kill_once(runs[variant]):
                del runs[variant]
                continue
            done += 1
            if done % max(1, self.kills // 20) == 0:
                spent = time.monotonic() - begin
                self.report(f"{done} of {self.kills} kills, {self.counts['runs compared']} runs ended, {spent:.0f} s, about {spent / done * (self.kills - done):.0f} s to go")
        for run in runs.values():
            self.ended_first(run, self.start_to_end(run))
        self.report(self.summary(time.monotonic() - begin))

    def start_to_end(self, run):
        process = self.start(run)
        process.wait(300)
        return process

    def summary(self, seconds):
        words = ", ".join(f"{count} {what}" for what, count in sorted(self.counts.items()))
        return f"{self.kills} kills in {seconds:.0f} s: {words}; slowest end after one rank was killed {self.slowest_end:.1f} s; every run ended in the bits of the undisturbed one"
