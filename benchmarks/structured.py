"""Structured linear layers beside a dense one and beside the same product written in torch by hand.

``by hand`` is what the papers' codes do: batched matrix products and transposed views for Monarch and BTT, one batched product a
level for the butterfly, one einsum for sums of Kronecker products.
``python benchmarks/structured.py [--threads 2] [--seconds 1] [--only monarch]``.
"""

from __future__ import annotations

import argparse
import statistics
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from math import log2
from typing import Any

import torch
from layers import quiet, step
from timing import medians, report
from torch import Tensor, nn

import tnkit as tk
import tnkit_nn as tknn
from tnkit.planning.calibration import spelled_seconds

Params = Sequence[Tensor]


def monarch(arrays: Params, x: Tensor) -> Tensor:
    """Two block-diagonal products: blocks (i1, o0, i0), then (o0, o1, i1)."""
    first, second = arrays
    digits = x.reshape(len(x), first.shape[2], first.shape[0])
    between = torch.bmm(digits.permute(2, 0, 1), first.mT)  # i1, row, o0
    return torch.bmm(between.permute(2, 1, 0), second.mT).permute(1, 0, 2).reshape(len(x), -1)


def btt(arrays: Params, x: Tensor) -> Tensor:
    """As Monarch, with a bond: cores (i1, o0, b, i0), then (o0, o1, b, i1)."""
    first, second = arrays
    i1, o0, b, i0 = first.shape
    digits = x.reshape(len(x), i0, i1)
    between = torch.bmm(digits.permute(2, 0, 1), first.reshape(i1, o0 * b, i0).mT)  # i1, row, o0 b
    between = between.reshape(i1, len(x), o0, b).permute(2, 1, 3, 0).reshape(o0, len(x), b * i1)
    return torch.bmm(between, second.reshape(o0, -1, b * i1).mT).permute(1, 0, 2).reshape(len(x), -1)


def butterfly(arrays: Params, x: Tensor) -> Tensor:
    """One batched product of 2 x 2 matrices a level."""
    rows, levels = len(x), len(arrays)
    for k, level in enumerate(arrays):
        before, after = 2**k, 2 ** (levels - 1 - k)
        x = torch.einsum("paoi,npia->npoa", level.reshape(before, after, 2, 2), x.reshape(rows, before, 2, after))
    return x.reshape(rows, -1)


def kronecker(arrays: Params, x: Tensor) -> Tensor:
    left, right = arrays
    return torch.einsum("rab,rcd,nbd->nac", left, right, x.reshape(len(x), left.shape[2], -1)).reshape(len(x), -1)


def cases(n: int) -> dict[str, tuple[tk.Network, Callable[[Params, Tensor], Tensor]]]:
    """Networks of n x n, and the product by hand."""
    half = (2 ** (int(log2(n)) // 2),) * 2
    return {
        "Monarch": (tk.monarch(half, half), monarch),
        "BTT rank 4": (tk.btt(half, half, 4), btt),
        "butterfly": (tk.butterfly(n, n), butterfly),
        "Kronecker rank 4": (tk.kronecker(half, half, 4), kronecker),
    }


class ByHand(nn.Module):
    def __init__(self, multiply: Callable[[Params, Tensor], Tensor], arrays: Params) -> None:
        super().__init__()
        self.arrays, self.multiply = nn.ParameterList([a.detach().clone() for a in arrays]), multiply

    def forward(self, x: Tensor) -> Tensor:
        return self.multiply(list(self.arrays), x)


def measured(name: str, n: int, batch: int, clock: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """A row of the table, and the record behind it."""
    net, multiply = cases(n)[name]
    ours = tknn.TNLinear(n, n, net, bias=False, batch=batch)
    layers = {"tnkit": ours, "dense": nn.Linear(n, n, bias=False), "by hand": ByHand(multiply, list(ours.parameters()))}
    with torch.no_grad():
        layers["dense"].weight.copy_(ours.weight)
    x = torch.randn(batch, n, requires_grad=True)
    want = layers["dense"](x).detach()
    for way, layer in layers.items():
        error = float((layer(x).detach() - want).norm() / want.norm())
        assert error < 1e-4, f"{way} is wrong: {error}"
    seed = torch.randn_like(want)
    took = {
        "forward": medians({w: quiet(v, x.detach()) for w, v in layers.items()}, **clock),
        "both": medians({w: step(v, x, seed) for w, v in layers.items()}, **clock),
    }
    cells, gains = [f"{name}, {n}, batch {batch}", f"{net.num_params / n**2:.1%}"], {}
    for kind, times in took.items():
        gains[kind] = {w: times[w] / times["tnkit"] for w in ("dense", "by hand")}
        cells += [spelled_seconds(times["tnkit"]), *(f"{gain:.2f}x" for gain in gains[kind].values())]
    return cells, {"case": cells[0], **took, "gains": gains, "routes": str(ours)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--only", default="", help="part of a case's name")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.filterwarnings("ignore")
    rows, records = [], []
    run = partial(measured, clock={"threads": args.threads, "seconds": args.seconds})
    for n, name, batch in product((1024, 4096), cases(4), (1, 32, 256)):
        if args.only.lower() in f"{name}, {n}, batch {batch}".lower():
            cells, record = run(name, n, batch)
            rows.append(cells)
            records.append(record)
            print(cells, flush=True)
    if not records:
        parser.error(f"argument --only: no case has {args.only!r} in its name")
    middle = [
        f"{statistics.median(r['gains'][kind][way] for r in records):.2f}x"
        for kind in ("forward", "both")
        for way in ("dense", "by hand")
    ]
    rows.append(["median", "", "", *middle[:2], "", *middle[2:]])
    headers = ["layer, N, batch", "parameters", "forward", "over dense", "over by hand"]
    headers += ["forward + backward", "over dense", "over by hand"]
    report(f"structured-{args.threads}", headers, rows, records, args.threads, whole=not args.only)


if __name__ == "__main__":
    main()
