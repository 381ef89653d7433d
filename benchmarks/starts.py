"""Where a classifier of many sites starts: accuracy after five epochs, and the time of a step, beside TensorKrowch's MPSLayer.

``python benchmarks/starts.py [--only TEXT]``: scikit-learn's digits, 64 pixels, a matrix product state of rank 10 with a class
index in the middle.  Features are (1, x) or (cos, sin) of a pixel.  Each start is trained by Adam at three rates, of which the one
that is best on the validation part is shown; ours drawn (``tk.init.normal``) and near the identity (``tk.init.near_identity``), and
TensorKrowch's with its ``randn_eye``, which is meant for (1, x).  Every way has the same examples in the same order.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from math import pi
from typing import Any

import numpy as np
import torch
from timing import medians, report
from torch import Tensor, nn

import tnkit as tk
import tnkit_nn as tknn

SITES, RANK, CLASSES, BATCH = 64, 10, 10, 50
RATES = (1e-3, 3e-3, 1e-2)
SEEDS, EPOCHS = 3, 5


def digits(kind: str) -> dict[str, tuple[Tensor, Tensor]]:
    """Features of shape (images, 64, 2) and labels, in three parts."""
    with np.load(_file()) as found:
        x, y = torch.tensor(found["x"], dtype=torch.float32), torch.tensor(found["y"])
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x, y = x[order], y[order]
    other = torch.stack(
        [torch.ones_like(x), x] if kind == "(1, x)" else [torch.cos(pi / 2 * x), torch.sin(pi / 2 * x)], -1
    )
    return {
        name: (other[rows], y[rows])
        for name, rows in (("train", slice(1200)), ("val", slice(1200, 1400)), ("test", slice(1400, None)))
    }


def _file() -> str:
    """The digits as a file beside the results: scikit-learn need not be where the peers are."""
    from pathlib import Path

    path = Path("out/bench/digits.npz")
    if not path.exists():
        from sklearn.datasets import load_digits

        path.parent.mkdir(parents=True, exist_ok=True)
        found = load_digits()
        np.savez(path, x=found.data / 16, y=found.target)
    return str(path)


def classifier() -> tk.Network:
    """A chain of 64 sites, each with a row of data, and the label in the middle."""
    nodes, sizes = [], {"batch": BATCH, "class": CLASSES, "c": RANK}
    for k in range(SITES):
        left, right = [f"b{k}"] * (k > 0), [f"b{k + 1}"] * (k < SITES - 1)
        if k == SITES // 2:
            nodes.append(tk.Node("label", [*left, "class", "c"]))
            left = ["c"]
        nodes += [tk.Node(f"core_{k}", [*left, f"i{k}", *right]), tk.Node(f"x_{k}", ["batch", f"i{k}"], fixed=True)]
        sizes |= {f"i{k}": 2, **dict.fromkeys(right, RANK)}
    return tk.Network(nodes, ["batch", "class"], sizes)


def drawn(data: Tensor, seed: int) -> nn.Module:
    """As TNModule draws it."""
    return tknn.TNModule(classifier(), dynamic="batch", seed=seed)


def near_identity(data: Tensor, seed: int) -> nn.Module:
    """From near the identity, knowing some examples."""
    some = {f"x_{k}": data[:200, k].numpy() for k in range(SITES)}
    arrays = tk.init.near_identity(classifier(), seed=seed, dtype="float32", arrays=some)
    return tknn.TNModule(classifier(), arrays, dynamic="batch")


def krowch(data: Tensor, seed: int) -> nn.Module:
    """TensorKrowch's layer, traced, as its documentation has it."""
    import tensorkrowch

    torch.manual_seed(seed)
    layer = tensorkrowch.models.MPSLayer(
        n_features=SITES + 1, in_dim=2, out_dim=CLASSES, bond_dim=RANK, init_method="randn_eye", std=0.02
    )
    layer.auto_stack, layer.auto_unbind = True, False
    layer.trace(data[:1])
    return layer


WAYS: dict[str, Callable[[Tensor, int], nn.Module]] = {
    "drawn": drawn, "near_identity": near_identity, "TensorKrowch, randn_eye": krowch,
}  # fmt: skip


def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    """Forward, backward, and the optimiser's step."""
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()


def accuracy(model: nn.Module, part: tuple[Tensor, Tensor]) -> float:
    """Part of the images that are told rightly."""
    with torch.no_grad():
        return float((model(part[0]).argmax(1) == part[1]).float().mean())


def learned(way: str, parts: dict[str, tuple[Tensor, Tensor]], rate: float, epochs: int, seed: int) -> dict[str, float]:
    """Accuracies after some epochs."""
    x, y = parts["train"]
    model = WAYS[way](x, seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    draw = torch.Generator().manual_seed(seed)
    begin = time.process_time()
    for _ in range(epochs):
        for some in torch.randperm(len(x), generator=draw).split(BATCH):
            step(model, optimizer, x[some], y[some])
    spent = time.process_time() - begin
    return {"rate": rate, "seconds": spent, **{part: accuracy(model, parts[part]) for part in ("val", "test")}}


def step_times(ways: list[str], parts: dict[str, tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Medians of a step of every way, taken in turn."""
    x, y = (a[:BATCH] for a in parts["train"])
    calls: dict[str, Callable[[], Any]] = {}
    for way in ways:
        model = WAYS[way](x, 0)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        calls[way] = lambda model=model, optimizer=optimizer: step(model, optimizer, x, y)
    return medians(calls, seconds=3.0)


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="ways whose name has this")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    ways = [way for way in WAYS if asked.only in way]
    rows, records = [], []
    for kind in ("(1, x)", "(cos, sin)"):
        parts = digits(kind)
        times = step_times(ways, parts)
        for way in ways:
            tries = [[learned(way, parts, rate, EPOCHS, seed) for seed in range(SEEDS)] for rate in RATES]
            best = max(tries, key=lambda found: float(np.median([f["val"] for f in found])))
            tests = [f["test"] for f in best]
            rows.append(
                [kind, way, f"{best[0]['rate']:g}", f"{100 * float(np.median(tests)):.1f}", f"{100 * min(tests):.1f}",
                 f"{1e3 * times[way]:.2f}", f"{times[way] / times[ways[0]]:.2f}"]
            )  # fmt: skip
            records.append({"features": kind, "way": way, "step": times[way], "tries": tries})
            print(rows[-1], flush=True)
    headers = ["features", "start", "rate", "test accuracy, %", "worst seed, %", "a step, ms", "over the first"]
    report("starts", headers, rows, records, whole=not asked.only)


if __name__ == "__main__":
    main()
