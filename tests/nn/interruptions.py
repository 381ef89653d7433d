"""The commands killed, or interrupted by Ctrl-C, at random moments, and run again to the end: ``python -m tests.nn.interruptions``.

Every result has to be that of an undisturbed run; Ctrl-C has to end in one line and status 130; no process may be left behind.
``--each 20`` disturbs each of the three commands 20 times in each way (the default), and a table is printed.  ``--fresh 6`` of them
are new processes of Python, disturbed at their imports too, two workers with compare; the others are forks of this one.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib.backends.backend_agg
import matplotlib.backends.backend_svg
import matplotlib.figure  # noqa: F401
import scipy.stats  # noqa: F401
import torch
import torch._dynamo

import tnkit_nn.cli.compare
import tnkit_nn.cli.compress
import tnkit_nn.cli.train  # noqa: F401  for the forks: all that a command imports on its way, seconds for each of them otherwise
from tnkit.cli import main
from tnkit_nn import data, zoo

RECIPE = """
order = "together"
[[layers]]
select = "fc1"
family = "mpo"
budget = 300
[stage2]
epochs = 3
lr = 0.03
batch = 20
"""
LINE = "tnkit {}: interrupted; the same command goes on from what it has kept in --out"
EARLY = "tnkit: interrupted"  # during the imports
IN_A_ROW = 3  # disturbances of a folder before its run is left in peace


def commands(folder):
    """Name -> arguments and the files that have to be the same, times apart."""
    torch.manual_seed(0)
    data.load("digits")  # its library too, for the forks
    zoo.save(zoo.build("mlp"), folder / "weights.safetensors")
    (folder / "recipe.toml").write_text(RECIPE)
    compress = ["--weights", str(folder / "weights.safetensors"), "--recipe", str(folder / "recipe.toml")]
    return {
        "train": (["--epochs", "4", "--limit", "200"], ("results.json", "model.safetensors")),
        "compress": ([*compress, "--limit", "200"], ("results.json", "model.safetensors", "dense.safetensors")),
        "compare": (
            ["--limit", "60", "--shapes", "cp", "--budgets", "100", "--seeds", "1", "--steps", "3", "--dense-steps", "3", "--rest", "none", "--workers", "1"], ("results.json",),
        ),
    }  # fmt: skip


@dataclass
class Tally:
    """What happened."""

    disturbed: int = 0
    ended_before: int = 0  # the run was faster than the signal
    unlike: list = field(default_factory=list)  # results that are not the undisturbed ones, or a run that did not go on
    spoken: list = field(default_factory=list)  # Ctrl-C: other words, or another status
    left: int = 0  # processes left behind
    early: int = 0  # before the first line of tnkit was reached: Python's own traceback or status


#: What differs from one run to the next: times, and the command, which names the folder.
UNLIKE = ("seconds", "command", "ms", "dense_ms", "step_ms", "dense_step_ms")


def timeless(path):
    """A file's content without times, and without the command."""
    if path.suffix != ".json":
        return path.read_bytes()

    def strip(x):
        if isinstance(x, dict):
            return {k: strip(v) for k, v in x.items() if k not in UNLIKE}
        return [strip(v) for v in x] if isinstance(x, list) else x

    return strip(json.loads(path.read_text()))


def started(name, arguments, out, fresh=True):
    """The command in a session of its own: a new process, or, much faster, a fork."""
    if not fresh:
        return Fork([name, *arguments, "--out", str(out)], out.with_suffix(".err"))
    run = [sys.executable, "-m", "tnkit", name, *arguments, "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with open(out.with_suffix(".err"), "wb") as said:
        return subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True, env=environment)


class Fork:
    """As a Popen: this process, which has imported everything, as the command."""

    def __init__(self, words, said):
        self.returncode, self.pid = None, os.fork()
        if self.pid:
            return
        os.setsid()
        torch.set_num_threads(1)  # threads do not survive a fork
        signal.signal(
            signal.SIGINT, lambda *_: (os.write(2, f"{EARLY}\n".encode()), os._exit(130))
        )  # as a new process has it
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115  pytest has its own
        sys.argv, status = ["tnkit", *words], 1
        try:
            status = main()
        except SystemExit as stop:
            status = stop.code
        finally:
            sys.stderr.flush()
            os._exit(status)

    def wait(self, timeout):
        end = time.monotonic() + timeout
        while self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > end:
                raise subprocess.TimeoutExpired("tnkit", timeout)
            else:
                time.sleep(0.002)
        return self.returncode

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)


def members(session):
    """Processes of a session that are alive."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def disturb(process, how, moment):
    """Wait, send the signal; whether the process was still there."""
    try:
        process.wait(moment)
        return False
    except subprocess.TimeoutExpired:
        pass
    if how == "kill":
        process.kill()  # it alone: its workers have to see that it is gone
    else:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    process.wait(120)
    return True


def check(tally, name, how, process, said):
    """The words and the status after Ctrl-C, and the processes left."""
    for _ in range(200):
        if not members(process.pid):
            break
        time.sleep(0.1)
    else:
        tally.left += 1
        for pid in members(process.pid):
            os.kill(pid, signal.SIGKILL)
    if how == "kill":
        return
    lines = [line for line in said.replace("\r", "\n").splitlines() if line.strip()]
    if process.returncode == 0:  # it was done
        tally.ended_before += 1
    elif process.returncode == -signal.SIGINT or ("Traceback" in said and "/tnkit" not in said):
        tally.early += 1
    elif process.returncode != 130 or "Traceback" in said or not lines or lines[-1] not in (EARLY, LINE.format(name)):
        tally.spoken.append((process.returncode, said[-400:]))


def disturbed(name, arguments, files, whole, takes, how, count, folder, seed, fresh):
    """Folders in which runs are disturbed, each a few times, and then run to the end."""
    tally, draw, k = Tally(), random.Random(f"{seed}-{name}-{how}-{fresh}"), 0
    words = [*arguments, "--workers", "2"] if fresh and name == "compare" else arguments  # the last of an option counts
    while tally.disturbed < count:
        out = folder / f"{name}-{how}-{fresh}-{k}"
        k += 1
        for _ in range(min(IN_A_ROW, count - tally.disturbed)):
            process = started(name, words, out, fresh)
            if not disturb(process, how, draw.uniform(0, takes)):
                break
            tally.disturbed += 1
            check(tally, name, how, process, out.with_suffix(".err").read_text(errors="replace"))
        last = started(name, arguments, out, fresh=False)
        if last.wait(900):
            tally.unlike.append((out.name, out.with_suffix(".err").read_text()[-400:]))
            continue
        tally.unlike += [(out.name, f) for f in files if timeless(out / f) != whole[f]]
        tally.unlike += [(out.name, f"left {p.name}") for p in out.rglob("*.part")]
        shutil.rmtree(out)
    return tally


def starting(name):
    """Seconds until a new process has imported what the command needs."""
    begin = time.monotonic()
    subprocess.run([sys.executable, "-m", "tnkit", name, "--help"], check=True, capture_output=True)
    return time.monotonic() - begin


def measured(each, fresh, seed=0, only=("train", "compress", "compare")):
    """(command, signal, fresh or fork) -> Tally: ``each`` in all, ``fresh`` of them in new processes.

    The undisturbed run is a fork, and one process: what new processes and workers leave is compared with that.
    """
    found = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, (arguments, files) in commands(folder).items():
            if name not in only:
                continue
            out, begin = folder / name, time.monotonic()
            if started(name, arguments, out, fresh=False).wait(900):
                raise RuntimeError(out.with_suffix(".err").read_text())
            takes = time.monotonic() - begin
            whole = {f: timeless(out / f) for f in files}
            for new, count in ((True, fresh), (False, each - fresh)):
                if not count:
                    continue
                # a new process imports everything, and so does each of its workers
                time_of = takes + starting(name) * (2 if name == "compare" else 1) if new else takes
                for how in ("kill", "int"):
                    way = "new" if new else "fork"
                    t = found[name, how, way] = disturbed(
                        name, arguments, files, whole, time_of, how, count, folder, seed, new
                    )
                    print(f"{name} {how} {way} (undisturbed {time_of:.1f} s): {t}", file=sys.stderr, flush=True)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=20)
    parser.add_argument("--fresh", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = measured(given.each, given.fresh, given.seed)
    print("| command | signal | process | disturbed | other results | other words | processes left | before tnkit |")
    print("|---|---|---|---|---|---|---|---|")
    for (name, how, way), t in found.items():
        print(f"| {name} | {how} | {way} | {t.disturbed} | {len(t.unlike)} | {len(t.spoken)} | {t.left} | {t.early} |")
    sys.exit(any(t.unlike or t.spoken or t.left for t in found.values()))
