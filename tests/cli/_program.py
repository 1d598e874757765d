"""Shared by the Python tests of this folder: starts the program, counts failures."""
import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import threading

PLEIAD = os.environ["PLEIAD"]
PLEIAD_F64 = os.environ["PLEIAD_F64"]
SOURCE = os.environ["PLEIAD_SOURCE"]
TMP = os.environ["TEST_TMP"]
MPIRUN = os.environ.get("MPIRUN", "mpirun")

# As in experiments/env.sh: containers, root, more ranks than cores, no comments of mpirun on our exit codes.
ENVIRONMENT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "OMPI_MCA_mpi_yield_when_idle": "1",
    "OMPI_MCA_pml": "ob1",
    "OMPI_MCA_btl": "self,vader",
    "OMPI_MCA_btl_vader_single_copy_mechanism": "none",
    "OMPI_MCA_btl_base_warn_component_unused": "0",
    "OMPI_MCA_orte_execute_quiet": "1",
    "OMPI_MCA_odls_base_sigkill_timeout": "0",  # when a rank ends with an error mpirun otherwise waits a second
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}


LOCAL = threading.local()


def own_tmpdir():
    """One per thread: Open MPI jobs that start and end at the same time in one folder remove each other's files."""
    if not hasattr(LOCAL, "tmpdir"):
        LOCAL.tmpdir = tempfile.mkdtemp(prefix="pleiad")
        atexit.register(shutil.rmtree, LOCAL.tmpdir, ignore_errors=True)
    return LOCAL.tmpdir


def environment(extra=None):
    env = {**ENVIRONMENT, **os.environ, "TMPDIR": own_tmpdir()}
    env.update(extra or {})
    return env


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def __str__(self):
        return f"exit code {self.code}\n{self.out[-1500:]}{self.err[-1500:]}"


def run(command, cwd=None, env=None, timeout=60):
    """Code 124 on a timeout, as of timeout(1)."""
    process = subprocess.Popen(command, cwd=cwd, env=environment(env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, errors="replace")
    try:
        out, err = process.communicate(timeout=timeout)
        # libevent inside mpirun, when a rank ends early
        err = "".join(line for line in err.splitlines(True) if not line.startswith("[warn] "))
        return Result(process.returncode, out, err)
    except subprocess.TimeoutExpired:
        process.terminate()  # mpirun passes it on to its ranks
        try:
            out, err = process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
        return Result(124, out, err + "\nno end in time")


def pleiad(arguments, ranks=1, program=None, **options):
    program = program or PLEIAD
    launcher = [] if ranks == 1 else [MPIRUN, "-n", str(ranks)]
    return run(launcher + [program] + [str(a) for a in arguments], **options)


class Checks:
    """One line per behaviour."""

    def __init__(self):
        self.count = self.failed = 0

    def report(self, what, problems):
        self.count += 1
        if not problems:
            print(f"ok      {what}", flush=True)
            return
        self.failed += 1
        print(f"FAILED  {what}", flush=True)
        for line in "\n".join(str(p) for p in problems).splitlines()[:14]:
            print(f"        | {line}", flush=True)

    def finish(self):
        if self.count == 0:
            sys.exit("nothing was checked")
        print(f"{self.count - self.failed} of {self.count} passed", flush=True)
        sys.exit(1 if self.failed else 0)
