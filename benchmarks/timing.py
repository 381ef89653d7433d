"""What every benchmark shares: interleaved medians, the environment, a table on the screen and JSON under ``out/bench``."""

from __future__ import annotations

import gc
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
from tabulate import tabulate

PEERS = (
    "torch", "numpy", "opt_einsum", "cotengra", "quimb", "tensornetwork", "tensorkrowch", "tensorly", "tensorly-torch",
    "torchTT", "tntorch", "peft",
)  # fmt: skip


def clock(threads: int) -> Callable[[], float]:
    """CPU time on one thread (other processes do not count), wall time on several."""
    return time.process_time if threads == 1 else time.perf_counter


def medians(
    calls: Mapping[str, Callable[[], Any]],
    *,
    threads: int = 1,
    seconds: float = 1.0,
    least: int = 5,
    wait: Callable[[], Any] | None = None,
    settle: bool = False,
) -> dict[str, float]:
    """Median seconds of a call, all taken in turn so that a slow moment of the machine meets every one of them.

    Parameters
    ----------
    calls
        Name -> function without arguments.
    threads
        Decides the clock.
    seconds
        Time spent on each call, about.
    least
        Runs of each at least, after two to warm up.
    wait
        Waits until a device has done what it was given (``torch.cuda.synchronize``); the clock is then wall time.
    settle
        Each timed call follows one of its own: a way that frees gigabytes leaves the kernel work that the next call pays for.
    """
    now = clock(threads) if wait is None else lambda: (wait(), time.perf_counter())[1]
    repeats = {}
    for name, call in calls.items():
        call()
        begin = now()
        call()
        repeats[name] = max(1, int(2e-4 / max(now() - begin, 1e-9)))  # short calls are timed several at once
    times: dict[str, list[float]] = {name: [] for name in calls}
    spent = dict.fromkeys(calls, 0.0)
    gc.disable()
    try:
        while any(len(times[n]) < least or spent[n] < seconds for n in calls):
            for name, call in calls.items():
                if len(times[name]) >= least and spent[name] >= seconds:
                    continue
                count = repeats[name]
                if settle:
                    call()
                begin = now()
                for _ in range(count):
                    call()
                took = now() - begin
                times[name].append(took / count)
                spent[name] += took
    finally:
        gc.enable()
    return {name: statistics.median(t) for name, t in times.items()}


def environment(threads: int, device: str = "") -> dict[str, Any]:
    """What the figures were taken with; ``device`` is the name of an accelerator."""
    found = {}
    for name in PEERS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(), "machine": platform.machine(), "processor": _processor(),
        "cores": os.cpu_count(), "threads": threads, "load": round(psutil.getloadavg()[0], 1), "packages": found,
        "device": device,
    }  # fmt: skip


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


def report(
    name: str, headers: Sequence[str], rows: Sequence[Sequence[Any]], records: Any, threads: int = 1, *,
    device: str = "", whole: bool = True,
) -> None:  # fmt: skip
    """Print the table; if ``whole``, write it and the records as ``out/bench/<name>.json`` too (a temporary name first)."""
    print(tabulate(rows, headers, disable_numparse=True), flush=True)
    if not whole:  # some cases alone must not stand for all
        return
    out = Path("out/bench")
    out.mkdir(parents=True, exist_ok=True)
    table = tabulate(rows, headers, tablefmt="github", disable_numparse=True)
    text = json.dumps({"environment": environment(threads, device), "table": table, "results": records}, indent=1)
    temporary = out / f"{name}.json.tmp"
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(out / f"{name}.json")
