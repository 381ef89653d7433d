"""Memory that plans promise, beside what is measured: slices within a limit, checkpoints against recomputation.

Every row is a process of its own: resident memory at most (above what the libraries take), beside ``plan.peak`` or
``plan.peak_backward``; the operations done twice, as torch counts them, beside ``plan.recomputed``; and the time.
``python benchmarks/memory.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from typing import Any

import networkx as nx
import torch
from timing import report
from torch.utils.flop_counter import FlopCounterMode

import tnkit as tk
from tnkit.execution.inputs import check_arrays
from tnkit.planning.calibration import spelled_seconds

#: name -> (network, optimizer, limits as shares of the plain plan's peak, with backward)
CASES: dict[str, tuple[Any, str, tuple[float, ...], bool]] = {
    "3-regular graph, 40 nodes, bond 8": (
        lambda: tk.from_graph(nx.random_regular_graph(3, 40, seed=3), bond=8), "random-greedy", (1, 0.5, 0.1), False,
    ),
    "PEPS 4 x 9, rank 5, all open": (lambda: tk.peps(4, 5, 2, 4), "auto", (1, 0.8), False),
    "brick wall, 22 sites, 4 blocks, tanh": (lambda: tk.brick_wall(22, 2, 4, "tanh"), "auto", (1, 0.8, 0.6, 0), True),
    "brick wall, 4^11, 3 blocks, relu": (lambda: tk.brick_wall(11, 4, 3, "relu"), "auto", (1, 0.8, 0.6, 0), True),
    "brick wall, 24 sites, 3 blocks, relu": (lambda: tk.brick_wall(24, 2, 3, "relu"), "auto", (1, 0), True),
}  # fmt: skip

#: Freed memory goes back to the system at once; glibc would keep up to 64 MiB of it, which is its choice and not the plan's.
RETURNED = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}


def planned(case: str, share: float) -> tk.Plan:
    """The plain plan, or one within a share of its peak; 0 is the least memory that checkpoints reach."""
    make, optimizer, _, backward = CASES[case]
    plain = tk.plan(make(), optimizer, itemsize=4)
    if share == 1:
        return plain
    if backward:
        return tk.plan(plain.network, optimizer, itemsize=4, checkpoint=share * plain.peak_backward if share else True)
    return tk.plan(plain.network, optimizer, itemsize=4, memory_limit=share * plain.peak)


def resident(key: str) -> int:
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith(key))


def once(plan: tk.Plan, backward: bool, arrays: dict[str, torch.Tensor], seed: torch.Tensor | None) -> None:
    if backward:
        tk.run(plan, arrays).backward(seed)
        return
    with torch.no_grad():
        tk.run(plan, arrays)


def measure(case: str, share: float) -> None:
    """Print what one plan takes, as JSON."""
    torch.set_num_threads(1)
    backward = CASES[case][3]
    plan = planned(case, share)
    small = tk.brick_wall(6, 2, 2, "tanh")
    for net in (small, plan.network):
        full = check_arrays(net, tk.init.normal(net, seed=0, dtype="float32"))
        arrays = {n: torch.as_tensor(a).requires_grad_(backward and n in net.parameters) for n, a in full.items()}
        seed = torch.ones(net.shape) if backward else None
        if net is small:
            once(tk.plan(small), backward, arrays, seed)  # what the libraries take by themselves
    torch.ones(300, 300) @ torch.ones(300, 300)
    given = sum(a.numel() for a in arrays.values()) + (0 if seed is None else seed.numel())
    before = resident("VmRSS")
    with open("/proc/self/clear_refs", "w") as f:
        f.write("5")
    begin = time.process_time()
    once(plan, backward, arrays, seed)
    took = time.process_time() - begin
    peak = resident("VmHWM") - before + 4 * given
    with FlopCounterMode(display=False) as counter:
        once(plan, backward, arrays, seed)
    print(
        json.dumps(
            {
                "case": case, "share": share, "backward": backward, "measured": peak,
                "predicted": plan.peak_backward if backward else plan.peak, "flops": plan.flops,
                "recomputed": plan.recomputed if backward else 0, "counted": counter.get_total_flops(), "seconds": took,
                "slices": plan.sliced.counts if plan.sliced else (),
            }
        )
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=2, metavar=("CASE", "SHARE"), help="measure one plan, in this process")
    parser.add_argument("--only", default="", help="part of a case's name")
    args = parser.parse_args()
    if args.one:
        measure(args.one[0], float(args.one[1]))
        return
    rows, records = [], []
    for case, (_, _, shares, backward) in CASES.items():
        if args.only not in case:
            continue
        plain: dict[str, Any] = {}
        for share in shares:
            command = [sys.executable, __file__, "--one", case, str(share)]
            found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, env=RETURNED).stdout)
            plain = plain or found
            again = found["counted"] - plain["counted"]
            rows.append(
                (
                    case, "plain" if share == 1 else "least" if share == 0 else f"{share:.0%}",
                    f"{found['predicted'] / 2**20:.0f}", f"{found['measured'] / 2**20:.0f}",
                    f"{found['measured'] / found['predicted']:.2f}",
                    f"{(found['recomputed'] - plain['recomputed']) / 1e9:.2f}" if backward else "",
                    f"{again / 1e9:.2f}", spelled_seconds(found["seconds"]),
                )
            )  # fmt: skip
            records.append(found)
            print(rows[-1], flush=True)
    headers = [
        "network", "limit", "predicted MiB", "measured MiB", "ratio", "GFLOP twice, predicted", "counted", "CPU time",
    ]  # fmt: skip
    report("memory", headers, rows, records, whole=not args.only)


if __name__ == "__main__":
    main()
