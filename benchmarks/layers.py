"""TT-linear layers beside every peer, forward and forward + backward: 12 cases, one process, one thread by default.

A weight of N x N as four cores; the peers contract as they are shipped; ``reconstruct`` builds the weight by one einsum and
multiplies.  ``predicted`` is what the layer prints, by the rates of this CPU (run ``tk.calibrate()`` first: the defaults are those
of another one).  ``python benchmarks/layers.py [--threads 2] [--seconds 1] [--device cuda]``.
"""

from __future__ import annotations

import argparse
import statistics
import warnings
from collections.abc import Callable
from functools import partial
from itertools import product
from math import prod
from typing import Any

import opt_einsum as oe
import torch
from timing import medians, report
from torch import Tensor

import tnkit as tk
import tnkit_nn as tknn
from tnkit.planning.calibration import spelled_seconds

DIMS = {1024: (4, 8, 8, 4), 4096: (8, 8, 8, 8)}


def _cores(dims: tuple[int, ...], rank: int) -> list[Tensor]:
    """Cores (rank, out, in, rank) whose weight has the scale of nn.Linear."""
    generator = torch.Generator().manual_seed(0)
    n, k = prod(dims), len(dims)
    std = ((1 / (3 * n)) ** 0.5 / rank ** ((k - 1) / 2)) ** (1 / k)
    ranks = (1, *(rank,) * (k - 1), 1)
    shapes = [(ranks[j], d, d, ranks[j + 1]) for j, d in enumerate(dims)]
    return [torch.randn(shape, generator=generator, device="cpu") * std for shape in shapes]


def ours(dims: tuple[int, ...], rank: int, batch: int, cores: list[Tensor]) -> Callable[[Tensor], Tensor]:
    net = tk.mpo(dims, dims, rank)
    bonds = {i: rank for i in net.sizes if i not in net.output}  # the builder would cap the outer ones at 16
    net = tk.Network(net.nodes, net.output, {**net.sizes, **bonds})
    shapes = net.array_shapes
    arrays = {name: core.reshape(shapes[name]) for name, core in zip(shapes, cores, strict=True)}
    return tknn.TNLinear(prod(dims), prod(dims), net, bias=False, arrays=arrays, batch=batch)


def opt_einsum(dims: tuple[int, ...], rank: int, batch: int, cores: list[Tensor]) -> Callable[[Tensor], Tensor]:
    shapes = [tuple(c.shape) for c in cores]
    letters = "Aawb,bcxd,deyf,fgzB,twxyz->taceg"
    expr = oe.contract_expression(letters, *shapes, (batch, *dims))
    params = torch.nn.ParameterList(cores)

    def forward(x: Tensor) -> Tensor:
        return expr(*params, x.reshape(-1, *dims)).reshape(len(x), -1)

    forward.parameters = params.parameters  # type: ignore[attr-defined]
    return forward


def reconstruct(dims: tuple[int, ...], rank: int, batch: int, cores: list[Tensor]) -> Callable[[Tensor], Tensor]:
    shapes = [tuple(c.shape) for c in cores]
    expr = oe.contract_expression("Aawb,bcxd,deyf,fgzB->acegwxyz", *shapes)
    params = torch.nn.ParameterList(cores)

    def forward(x: Tensor) -> Tensor:
        return x @ expr(*params).reshape(prod(dims), -1).T

    forward.parameters = params.parameters  # type: ignore[attr-defined]
    return forward


def tltorch(dims: tuple[int, ...], rank: int, batch: int, cores: list[Tensor], how: str) -> Callable[[Tensor], Tensor]:
    from tltorch import FactorizedLinear

    layer = FactorizedLinear(
        dims, dims, bias=False, factorization="blocktt", rank=[1, rank, rank, rank, 1], implementation=how
    )
    with torch.no_grad():
        for mine, core in zip(layer.weight.factors, cores, strict=True):
            assert mine.shape == core.shape, (mine.shape, core.shape)
            mine.copy_(core)
    return layer


def torchtt(dims: tuple[int, ...], rank: int, batch: int, cores: list[Tensor]) -> Callable[[Tensor], Tensor]:
    from torchtt.nn import LinearLayerTT

    with torch.device("cpu"):  # its initialiser calls numpy
        layer = LinearLayerTT(list(dims), list(dims), [1, rank, rank, rank, 1], dtype=torch.float32, initializer="He")
    layer.to(cores[0].device)
    with torch.no_grad():
        for mine, core in zip(layer.cores, cores, strict=True):
            assert mine.shape == core.shape, (mine.shape, core.shape)
            mine.copy_(core)

    def forward(x: Tensor) -> Tensor:
        return layer(x.reshape(-1, *dims)).reshape(len(x), -1)

    forward.parameters = lambda: iter(layer.cores)  # type: ignore[attr-defined]
    return forward


def tensorkrowch(dims: tuple[int, ...], rank: int, batch: int, cores: list[Tensor]) -> Callable[[Tensor], Tensor]:
    import tensorkrowch as krowch

    class Layer(krowch.TensorNetwork):
        def __init__(self) -> None:
            super().__init__(name="tt")
            for k, core in enumerate(cores):
                node = krowch.ParamNode(
                    axes_names=("left", "out", "in", "right"), name=f"core_{k}", network=self, tensor=core.clone()
                )
                if k:
                    self.nodes_list[-1]["right"] ^ node["left"]
                    self.nodes_list.append(node)
                else:
                    self.nodes_list = [node]
            self.first = krowch.Node(shape=(1,), axes_names=("right",), name="first", network=self, init_method="ones")
            self.last = krowch.Node(shape=(1,), axes_names=("left",), name="last", network=self, init_method="ones")
            self.first["right"] ^ self.nodes_list[0]["left"]
            self.nodes_list[-1]["right"] ^ self.last["left"]

        def set_data_nodes(self) -> None:
            names = ("batch", *(f"in_{k}" for k in range(len(dims))))
            self.data = krowch.Node(shape=(1, *dims), axes_names=names, name="data", network=self, data=True)
            for k, node in enumerate(self.nodes_list):
                self.data[f"in_{k}"] ^ node["in"]

        def add_data(self, data: Tensor) -> None:
            if "data" not in self.nodes:
                self.set_data_nodes()
            self.nodes["data"].tensor = data

        def contract(self) -> krowch.Node:
            result = self.data
            for node in [*self.nodes_list, self.first, self.last]:
                result = result @ node
            return result

    layer = Layer()
    layer.trace(torch.zeros(1, *dims))

    def forward(x: Tensor) -> Tensor:
        y = layer(x.reshape(-1, *dims))
        return y.reshape(len(x), -1)

    forward.parameters = layer.parameters  # type: ignore[attr-defined]
    return forward


WAYS: dict[str, Callable[..., Callable[[Tensor], Tensor]]] = {
    "tnkit": ours,
    "opt_einsum": opt_einsum,
    "reconstruct": reconstruct,
    "tltorch": lambda *a: tltorch(*a, "factorized"),
    "tltorch dense": lambda *a: tltorch(*a, "reconstructed"),
    "torchTT": torchtt,
    "TensorKrowch": tensorkrowch,
}


def step(layer: Any, x: Tensor, seed: Tensor) -> Callable[[], None]:
    """Forward and backward, to the cores and the input."""
    params = [p for p in layer.parameters() if p.requires_grad]

    def call() -> None:
        for p in params:
            p.grad = None
        x.grad = None
        layer(x).backward(seed)

    return call


def quiet(layer: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], Tensor]:
    def call() -> Tensor:
        with torch.no_grad():
            return layer(x)

    return call


def _made(way: str, n: int, rank: int, batch: int, x: Tensor) -> Any:
    """A way's layer where ``x`` is; nothing if it does not run there."""
    try:
        layer = WAYS[way](DIMS[n], rank, batch, [c.to(x.device, copy=True) for c in _cores(DIMS[n], rank)])
        layer = layer.to(x.device) if isinstance(layer, torch.nn.Module) else layer
        layer(x)
    except (RuntimeError, TypeError, ValueError) as error:
        if way == "tnkit" or x.device.type == "cpu":
            raise
        print(f"{way} does not run on {x.device}: {error}")
        return None
    return layer


def measured(n: int, rank: int, batch: int, clock: dict[str, Any], device: str) -> tuple[list[str], dict[str, Any]]:
    """A row of the table, and the record behind it."""
    with torch.device(device):
        x = torch.randn(batch, n, requires_grad=True)
        layers = {way: _made(way, n, rank, batch, x) for way in WAYS}
    layers = {w: v for w, v in layers.items() if v is not None}
    want = layers["opt_einsum"](x).detach()
    for way, layer in layers.items():
        error = float((layer(x) - want).norm() / want.norm())
        assert error < 1e-4, f"{way} is wrong: {error}"
    seed = torch.randn_like(want)
    took = {
        "forward": medians({w: quiet(v, x.detach()) for w, v in layers.items()}, **clock),
        "both": medians({w: step(v, x, seed) for w, v in layers.items()}, **clock),
    }
    predicted = layers["tnkit"]._seconds
    cells = [f"{n}, rank {rank}, batch {batch}", spelled_seconds(predicted)]
    gains = {}
    for kind, times in took.items():
        best = min((t, w) for w, t in times.items() if w != "tnkit")
        gains[kind] = best[0] / times["tnkit"]
        cells += [spelled_seconds(times["tnkit"]), f"{spelled_seconds(best[0])} ({best[1]})", f"{gains[kind]:.2f}x"]
    return cells, {"case": cells[0], "predicted": predicted, **took, "gains": gains, "routes": str(layers["tnkit"])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--only", default="", help="part of a case's name")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.filterwarnings("ignore")
    cuda = args.device != "cpu"
    clock: dict[str, Any] = {"threads": args.threads, "seconds": args.seconds}
    if cuda:
        clock["wait"] = partial(torch.cuda.synchronize, args.device)
    rows, records = [], []
    for n, rank, batch in product((1024, 4096), (8, 32), (1, 32, 256)):
        if args.only in f"{n}, rank {rank}, batch {batch}":
            cells, record = measured(n, rank, batch, clock, args.device)
            rows.append(cells)
            records.append(record)
            print(cells, {w: spelled_seconds(t) for w, t in record["both"].items()}, flush=True)
    if not records:
        parser.error(f"argument --only: no case has {args.only!r} in its name")
    forward, both = (statistics.median(r["gains"][kind] for r in records) for kind in ("forward", "both"))
    off = statistics.median(
        max(a, b) / min(a, b) for a, b in ((r["predicted"], r["forward"]["tnkit"]) for r in records)
    )
    rows.append(["median", f"{off:.2f}x off", "", "", f"{forward:.2f}x", "", "", f"{both:.2f}x"])
    headers = ["N, rank, batch", "predicted", "forward", "best peer", "gain", "forward + backward", "best peer", "gain"]
    name = f"layers-{'cuda' if cuda else args.threads}"
    device = torch.cuda.get_device_name(args.device) if cuda else ""
    report(name, headers, rows, records, args.threads, device=device, whole=not args.only)


if __name__ == "__main__":
    main()
