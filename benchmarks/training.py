"""Training with a network in the place of a weight, beside the dense layer: time of a step, and peak memory.

Steps: forward, backward to the arrays and an optimiser's step of a linear layer of 4096 x 4096 at 256 rows, its weight dense or a
wall of depth 3.  Low rank: a weight of rank 64, beside ``left @ right``.  Small layers: the way that ``TNLinear`` takes, beside the
best of all its ways and of a dense layer whose weight is built before it is called, forward and with backward.  Memory: the peak
of three steps in a process of its own.
``python benchmarks/training.py [--threads 2] [--seconds 1] [--only steps] [--quick]``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

import torch
from generate import both, quiet
from timing import medians, report
from torch import Tensor, nn

import tnkit as tk
import tnkit_nn as tknn
from tnkit.planning.calibration import spelled_seconds

SIZE, ROWS, DEPTH, RANK = 4096, 256, 3, 64
OPTIMIZERS = {"SGD": torch.optim.SGD, "Adam": torch.optim.Adam}

#: Small layers: (inputs, outputs), and their networks by name.
LAYERS = ((16, 10), (64, 10), (64, 64), (120, 84), (256, 256))
NETWORKS: dict[str, Callable[[int, int], tk.Network]] = {
    "low rank 4": lambda i, o: tk.low_rank((o, i), 4),
    "TT-matrix rank 2": lambda i, o: tk.mpo(DIGITS[o], DIGITS[i], 2),
    "TT-matrix rank 8": lambda i, o: tk.mpo(DIGITS[o], DIGITS[i], 8),
    "ring rank 3": lambda i, o: tk.ring((*DIGITS[o], *DIGITS[i]), 3),
}
DIGITS = {10: (5, 2), 16: (4, 4), 64: (8, 8), 84: (12, 7), 120: (12, 10), 256: (16, 16)}
BATCHES = (1, 16, 256)
WITHIN = 1.2


def wall() -> tk.Network:
    return tk.adtn((SIZE, SIZE), depth=DEPTH)


def layer(kind: str, seed: int = 0) -> nn.Linear:
    """The dense layer, or one whose weight is a wall."""
    torch.manual_seed(seed)
    made = nn.Linear(SIZE, SIZE)
    return made if kind == "dense" else tknn.parametrize_(made, "weight", wall())


def training_step(model: nn.Module, x: Tensor, optimizer: str) -> Callable[[], None]:
    optimiser = OPTIMIZERS[optimizer](model.parameters(), lr=1e-4)

    def step() -> None:
        optimiser.zero_grad()
        model(x).square().mean().backward()
        optimiser.step()

    return step


# -- cases ------------------------------------------------------------------------------------------------------------
def steps(clock: dict[str, Any]) -> tuple[list[list[str]], dict[str, Any]]:
    """A training step of the wall, in steps of the dense layer; and the wall's products alone, by the plan's operations."""
    x = torch.randn(ROWS, SIZE)
    calls = {
        f"{kind}, {name}": training_step(layer(kind), x, name) for name in OPTIMIZERS for kind in ("dense", "wall")
    }
    took = medians(calls, **clock)
    rows = []
    for name in OPTIMIZERS:
        dense, ours = took[f"dense, {name}"], took[f"wall, {name}"]
        rows.append([f"step, wall of depth {DEPTH}, {name}", spelled_seconds(ours), "dense step", spelled_seconds(dense), f"{ours / dense:.2f}x"])  # fmt: skip
    return rows, took


def products(clock: dict[str, Any]) -> tuple[list[list[str]], dict[str, Any]]:
    """The operations of a step at the speed of one large product: what no order of the same work goes below."""
    plan = tk.plan(wall(), itemsize=4)
    dense = 4 * ROWS * SIZE**2  # forward, and the gradient of the weight
    counted = dense + 3 * plan.flops + plan.recomputed
    a, b = torch.randn(ROWS, SIZE), torch.randn(SIZE, SIZE)
    rate = 2 * ROWS * SIZE**2 / medians({"product": lambda: a @ b}, **clock)["product"]
    row = ["its operations as large products", spelled_seconds(counted / rate), "the dense layer's", spelled_seconds(dense / rate), f"{counted / dense:.2f}x"]  # fmt: skip
    return [row], {"wall": counted, "dense": dense, "rate": rate}


def low_rank(clock: dict[str, Any]) -> tuple[list[list[str]], dict[str, Any]]:
    """A weight of low rank, beside the one product that makes it."""
    module = nn.Linear(SIZE, SIZE, bias=False)
    tknn.parametrize_(module, "weight", tk.low_rank((SIZE, SIZE), RANK))
    mine = list(module.parameters())
    pair = [nn.Parameter(torch.randn(SIZE, RANK)), nn.Parameter(torch.randn(RANK, SIZE))]
    ways: dict[str, tuple[Callable[[], Tensor], list[Any]]] = {
        "network": (lambda: module.weight, mine), "left @ right": (lambda: pair[0] @ pair[1], pair),
    }  # fmt: skip
    module.train()
    seed = torch.randn(SIZE, SIZE)
    found = {
        "forward": medians({n: quiet(make) for n, (make, _) in ways.items()}, **clock),
        "both": medians({n: both(make, params, seed) for n, (make, params) in ways.items()}, **clock),
    }
    rows = [
        [f"weight of rank {RANK}, {what}", spelled_seconds(t["network"]), "left @ right", spelled_seconds(t["left @ right"]), f"{t['network'] / t['left @ right']:.2f}x"]
        for what, t in (("forward", found["forward"]), ("forward + backward", found["both"]))
    ]  # fmt: skip
    return rows, found


def small(clock: dict[str, Any]) -> tuple[list[list[str]], dict[str, Any]]:
    """How often the way that a small layer takes is within 1.2 times the best, over all layers, networks and batches."""
    lost: dict[str, list[float]] = {"forward": [], "forward + backward": []}
    cases: dict[str, Any] = {}
    for (inputs, outputs), (name, make) in ((sizes, network) for sizes in LAYERS for network in NETWORKS.items()):
        for rows in BATCHES:
            case = f"{inputs} x {outputs}, {name}, batch {rows}"
            mine, cases[case] = small_case(make(inputs, outputs), inputs, outputs, rows, clock)
            for kind, took in cases[case].items():
                lost[kind].append(took[mine] / min(took.values()))
            cases[case]["chosen"] = mine
    rows_out = [
        [f"small layers, {kind}", f"{sum(r <= WITHIN for r in ratios) / len(ratios):.1%} of {len(ratios)}", f"within {WITHIN}x of the best way", "worst", f"{max(ratios):.2f}x"]
        for kind, ratios in lost.items()
    ]  # fmt: skip
    return rows_out, cases


def small_case(
    net: tk.Network, inputs: int, outputs: int, rows: int, clock: dict[str, Any]
) -> tuple[str, dict[str, dict[str, float]]]:
    """Times of every way: the layer's plans, its weight built, and torch's layer with a built weight; which one it takes."""
    chosen = tknn.TNLinear(inputs, outputs, net, batch=rows)
    routes = list(dict.fromkeys((None, *(route for _, route in chosen.routes))))
    made: dict[str, nn.Module] = {}
    for k, route in enumerate(routes):
        way = made[f"plan {k}" if k else "built"] = tknn.TNLinear(inputs, outputs, net, batch=rows)
        way.routes = ((2**62, route),)
    mine = list(made)[routes.index(chosen._route(rows))]
    made["nn.Linear"] = tknn.parametrize_(nn.Linear(inputs, outputs), "weight", net)
    x = torch.randn(rows, inputs)
    calls = {name: (lambda module=module: module(x)) for name, module in made.items()}
    params = {name: list(module.parameters()) for name, module in made.items()}
    seed = torch.randn(rows, outputs)
    clock = {**clock, "settle": True}  # the code of another way would be at hand for the next
    return mine, {
        "forward": medians({n: quiet(c) for n, c in calls.items()}, **clock),
        "forward + backward": medians({n: both(c, params[n], seed) for n, c in calls.items()}, **clock),
    }


# -- memory -----------------------------------------------------------------------------------------------------------
def resident(key: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def peak_here(kind: str, optimizer: str) -> None:
    """Print the resident memory of three steps at most, with the layer, beyond what the libraries take by themselves."""
    torch.set_num_threads(1)
    few = nn.Linear(16, 16)
    tknn.parametrize_(few, "weight", tk.adtn((16, 16), depth=2))
    training_step(few, torch.randn(4, 16), optimizer)()
    before = resident("VmRSS")
    model, x = layer(kind), torch.randn(ROWS, SIZE)
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    step = training_step(model, x, optimizer)
    for _ in range(3):
        step()
    print(json.dumps(resident("VmHWM") - before))


def memory(clock: dict[str, Any]) -> tuple[list[list[str]], dict[str, Any]]:
    """Peaks of processes of their own, and how many weights the wall takes beyond the dense layer."""
    rows, found = [], {}
    weight = 4 * SIZE**2
    for name in OPTIMIZERS:
        peaks = {}
        for kind in ("dense", "wall"):
            command = [sys.executable, __file__, "--peak", kind, name]
            run = subprocess.run(
                command, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
            )
            peaks[kind] = json.loads(run.stdout)
        beyond = (peaks["wall"] - peaks["dense"]) / weight
        rows.append([f"peak memory, {name}", f"{peaks['wall'] / 2**20:.0f} MiB", "dense step", f"{peaks['dense'] / 2**20:.0f} MiB", f"{beyond:+.1f} weights"])  # fmt: skip
        found[name] = peaks
    return rows, found


CASES = {"steps": steps, "products": products, "low rank": low_rank, "small": small, "memory": memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=inf)
    parser.add_argument("--only", default="", help="part of a case's name: steps, products, low rank, small, memory")
    parser.add_argument("--quick", action="store_true", help="shorter, for a look")
    parser.add_argument("--peak", nargs=2, metavar=("KIND", "OPTIMIZER"), help="print the peak of one, in this process")
    args = parser.parse_args()
    if args.peak:
        peak_here(*args.peak)
        return
    torch.set_num_threads(args.threads)
    rows, records = [], {}
    for name, case in CASES.items():
        if args.only not in name:
            continue
        usual = 0.02 if name == "small" else 1.0 if args.quick else 6.0
        clock = {"threads": args.threads, "seconds": min(args.seconds, usual)}
        some, records[name] = case(clock)
        rows += some
        for row in some:
            print(row, flush=True)
    report(
        f"training-{args.threads}", ["what", "tnkit", "beside", "takes", "ratio"], rows, records, args.threads, whole=not args.only,
    )  # fmt: skip


if __name__ == "__main__":
    main()
