"""Overhead and speed of tnkit's plans beside opt_einsum and cotengra, in one process: medians and ratios.

Run by ``make bench``; prints a table and writes it as JSON, with the environment, under ``out/bench/``.
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cotengra as ctg
import numpy as np
import opt_einsum as oe
import torch
from tabulate import tabulate

import tnkit as tk
from tnkit_nn import TORCH


def median_us(call: Callable[[], Any], seconds: float = 0.5) -> float:
    """Median time of a call in microseconds, after a warm-up."""
    for _ in range(3):
        call()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return 1e6 * statistics.median(times)


def amplitude(sites: int = 32, rank: int = 8) -> tk.Network:
    """Scalar: a matrix product state against one product state."""
    state = tk.mps((2,) * sites, rank)
    ends = tuple(tk.Node(f"v_{k}", (f"i{k}",), fixed=True) for k in range(sites))
    return tk.Network((*state.nodes, *ends), (), state.sizes)


def tt_layer(n: int, rank: int, batch: int) -> tk.Network:
    """A TT-matrix of n x n contracted with a batch of inputs."""
    dims = {1024: (4, 8, 8, 4), 4096: (8, 8, 8, 8)}[n]
    weight = tk.mpo(dims, dims, rank)
    data = tk.Node("x", ("b", *(f"i{k}" for k in range(4))), fixed=True)
    return tk.Network((*weight.nodes, data), ("b", *(f"o{k}" for k in range(4))), {**weight.sizes, "b": batch})


CASES = {
    "MPS amplitude, 32 sites, rank 8": amplitude(),
    "TT layer 1024, rank 8, batch 1": tt_layer(1024, 8, 1),
    "TT layer 1024, rank 8, batch 32": tt_layer(1024, 8, 32),
    "TT layer 4096, rank 8, batch 32": tt_layer(4096, 8, 32),
    "brick wall, 14 sites, linear, 2 blocks": tk.brick_wall(14, depth=2),
}


def main() -> None:
    """Time every case with every library."""
    torch.set_num_threads(1)
    rows, records = [], []
    for name, net in CASES.items():
        rng = np.random.default_rng(0)
        arrays = {n: rng.standard_normal(s).astype("float32") for n, s in net.array_shapes.items()}
        for library in ("numpy", "torch"):
            ops = TORCH if library == "torch" else tk.NUMPY
            values = {n: torch.as_tensor(a) for n, a in arrays.items()} if library == "torch" else arrays
            operands = [values[leaf.array] for leaf in net.leaves]
            shapes = [a.shape for a in operands]
            plan = tk.plan(net, itemsize=4)
            peer = oe.contract_expression(net.to_einsum(), *shapes, optimize=plan.path)
            inputs, output = [leaf.inds for leaf in net.leaves], net.output
            other = ctg.array_contract_expression(inputs, output, dict(net.sizes), optimize=plan.path)
            us = {
                "tnkit": median_us(lambda p=plan, v=values, o=ops: tk.run(p, v, o)),
                "opt_einsum": median_us(lambda e=peer, a=operands: e(*a)),
                "cotengra": median_us(lambda e=other, a=operands: e(*a)),
            }
            records.append({"case": name, "library": library, "microseconds": us})
            best = min(us["opt_einsum"], us["cotengra"])
            rows.append([name, library, *(f"{t:.0f}" for t in us.values()), f"{best / us['tnkit']:.2f}x"])
    print(tabulate(rows, ["case", "library", "tnkit us", "opt_einsum us", "cotengra us", "best peer / tnkit"]))
    out = Path("out/bench")
    out.mkdir(parents=True, exist_ok=True)
    environment = {"python": platform.python_version(), "torch": torch.__version__, "machine": platform.machine()}
    text = json.dumps({"environment": environment, "results": records}, indent=1)
    (out / "overhead.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
