"""Weights generated from brick walls, beside the naive way and every peer: time, gradients and peak memory.

``naive`` is one tensordot and one movedim a brick on the whole tensor.  Every way gives a matrix in memory, as a layer reads its
weight: the peers' results are views with their axes permuted, and are copied.  Copies are times over one copy of a float32 buffer of
the weight's size, taken in the same run.  ``python benchmarks/generate.py [--threads 2] [--only "Q=24"] [--quick]``;
``--device cuda`` runs the same cases there, beside a normal fill of the same shape too, and once more with every way captured as
a CUDA graph, without which the hundred small products of a plan wait for their launches.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from itertools import product
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from timing import medians, report
from torch import Tensor

import tnkit as tk
from tnkit.execution.inputs import check_arrays
from tnkit.planning.calibration import spelled_seconds

#: name -> (local dimensions, blocks, activation, periodic)
CASES: dict[str, tuple[tuple[int, ...], int, str | None, bool]] = {
    "Q=12, 3 blocks, relu": ((2,) * 12, 3, "relu", False),
    "Q=16, 3 blocks, relu": ((2,) * 16, 3, "relu", False),
    "Q=20, 3 blocks, relu": ((2,) * 20, 3, "relu", False),
    "Q=21, 3 blocks, relu": ((2,) * 21, 3, "relu", False),
    "Q=20, 3 blocks, tanh": ((2,) * 20, 3, "tanh", False),
    "Q=20, 3 blocks, sin": ((2,) * 20, 3, "sin", False),
    "Q=20, 3 blocks, relu, periodic": ((2,) * 20, 3, "relu", True),
    "4^10, 3 blocks, relu": ((4,) * 10, 3, "relu", False),
    "3^13, 3 blocks, relu": ((3,) * 13, 3, "relu", False),
    "2 3 4 5 6 ... (1,036,800), relu": ((2, 3, 4, 5, 6, 2, 3, 4, 5, 2, 3, 2), 3, "relu", False),
    "Q=20, 3 blocks, linear": ((2,) * 20, 3, None, False),
    "Q=24, 1 block": ((2,) * 24, 1, None, False),
    "Q=24, 3 blocks, relu": ((2,) * 24, 3, "relu", False),
    "Q=24, 3 blocks, linear": ((2,) * 24, 3, None, False),
}


def wall(case: str) -> tk.Network:
    dims, blocks, activation, periodic = CASES[case]
    return tk.brick_wall(len(dims), dims, depth=blocks, activation=activation, periodic=periodic)


def naive(net: tk.Network) -> Callable[[dict[str, Tensor]], Tensor]:
    """The wall as one writes it first: a product state of full size, and every brick on the whole tensor."""
    dims = net.shape

    def bricks(region: tk.Network, arrays: dict[str, Tensor]) -> Tensor:
        inner = [n for n in region.nodes if isinstance(n, tk.Elementwise)]
        if inner:
            fn = getattr(torch, str(inner[0].fn))
            now = fn(bricks(inner[0].bodies[0], arrays))
        else:
            now = torch.zeros(dims, device=next(iter(arrays.values())).device)
            now.view(-1)[:1].fill_(1.0)
        for node in region.nodes:
            if not node.name.startswith("brick_"):
                continue
            a = int(node.name.split("_")[-1])
            b = (a + 1) % len(dims)
            brick = arrays[node.array]
            if brick.ndim == 2:  # of the first column: what acts on [1, 0]
                brick = F.pad(brick[:, :, None, None], (0, dims[b] - 1, 0, dims[a] - 1))
            now = torch.movedim(torch.tensordot(brick, now, dims=([2, 3], [a, b])), (0, 1), (a, b))
        return now

    return lambda arrays: bricks(net, arrays)


def peers(net: tk.Network, arrays: dict[str, Tensor]) -> dict[str, Callable[[], Tensor]]:
    """The multilinear peers; a nonlinear wall has none."""
    if not net.multilinear:
        return {}
    import opt_einsum as oe

    leaves = list(net.leaves)
    operands = [arrays[n.array] for n in leaves]
    expression = oe.contract_expression(tk.to_einsum(net), *[tuple(x.shape) for x in operands])
    found = {"opt_einsum": lambda: expression(*operands)}
    if find_spec("quimb") is not None:
        import quimb.tensor as qtn

        network = qtn.TensorNetwork([qtn.Tensor(x, n.inds) for x, n in zip(operands, leaves, strict=True)])
        found["quimb"] = lambda: network.contract(output_inds=net.output).data
    return found


def both(make: Callable[[], Tensor], params: list[Tensor], seed: Tensor) -> Callable[[], None]:
    def call() -> None:
        for p in params:
            p.grad = None
        make().backward(seed)

    return call


def quiet(make: Callable[[], Tensor]) -> Callable[[], Tensor]:
    def call() -> Tensor:
        with torch.no_grad():
            return make()

    return call


def prepared(case: str, device: str = "cpu") -> tuple[tk.Network, Any, dict[str, Tensor], list[Tensor]]:
    net = wall(case)
    drawn = tk.init.normal(net, seed=0, dtype="float32")
    full = check_arrays(net, drawn)
    arrays = {n: torch.as_tensor(a, device=device).requires_grad_(n in net.parameters) for n, a in full.items()}
    return net, tk.plan(net, itemsize=4), arrays, [a for a in arrays.values() if a.requires_grad]


def memory(case: str) -> None:
    """Peak of forward + backward, in MiB: run in a process of its own."""
    net, plan, arrays, _ = prepared(case)
    seed = torch.ones(net.shape)
    small = tk.brick_wall(4, 2, depth=2, activation="relu")
    few = {
        n: torch.as_tensor(a).requires_grad_()
        for n, a in check_arrays(small, tk.init.normal(small, seed=0, dtype="float32")).items()
    }
    tk.run(tk.plan(small), few).sum().backward()  # what the libraries take by themselves
    before = _high_water(reset=True)
    tk.run(plan, arrays).backward(seed)
    print((_high_water() - before) / 2**20)


def _high_water(reset: bool = False) -> int:
    """Bytes resident now (after a reset), or at most since."""
    if reset:
        with open("/proc/self/clear_refs", "w") as f:
            f.write("5")
    key = "VmRSS" if reset else "VmHWM"
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith(key))


def peak_there(call: Callable[[], Any], device: str) -> float:
    """Peak of a call on an accelerator, in MiB, over what is held already."""
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    held = torch.cuda.memory_allocated(device)
    call()
    torch.cuda.synchronize(device)
    return (torch.cuda.max_memory_allocated(device) - held) / 2**20


def peak_here(case: str) -> float:
    """Peak of forward + backward in a process of its own, in MiB."""
    found = subprocess.run([sys.executable, __file__, "--memory", case], capture_output=True, text=True, check=True)
    return float(found.stdout.split()[0])


def as_matrix(make: Callable[[], Tensor]) -> Tensor:
    """The weight with its digits in two groups, for rows and columns."""
    made = make()
    return made.reshape(prod(made.shape[: made.ndim // 2]), -1)


def graphed(make: Callable[[], Tensor], params: list[Tensor]) -> Callable[[], Tensor]:
    """Forward and backward captured as CUDA graphs."""
    captured = torch.cuda.make_graphed_callables(lambda *_: make(), tuple(params))
    return lambda: captured(*params)


def measured(
    case: str, clock: dict[str, Any], device: str, quick: bool, capture: bool = False
) -> tuple[list[str], dict[str, Any]]:
    """A row of the table, and the record behind it."""
    net, plan, arrays, params = prepared(case, device)
    large, cuda = prod(net.shape) > 2**22, device != "cpu"
    ways: dict[str, Callable[[], Tensor]] = {"tnkit": lambda: tk.run(plan, arrays)}
    if not (quick and large):
        ways["naive"] = partial(naive(net), arrays)
    ways |= peers(net, arrays)
    if capture:
        ways.pop("quimb", None)  # its paths are looked for in every call
    ways = {name: partial(as_matrix, way) for name, way in ways.items()}
    want = ways["tnkit"]().detach()
    for name, way in list(ways.items()):
        if capture:
            ways[name] = graphed(way, params)
        error = float((ways[name]() - want).norm() / want.norm())
        assert error < 1e-4, f"{name} is wrong: {error}"
    seed, buffer, source = torch.randn_like(want), torch.empty_like(want).flatten(), torch.randn_like(want).flatten()
    bounds: dict[str, Callable[[], Any]] = {"copy": lambda: buffer.copy_(source)}
    if cuda:
        bounds["normal fill"] = lambda: torch.randn_like(want)
    clock = {**clock, "least": 3 if large else 7, "settle": large}
    forward = medians({**{n: quiet(w) for n, w in ways.items()}, **bounds}, **clock)
    step = medians({n: both(w, params, seed) for n, w in ways.items()}, **clock)
    one, predicted = 4 * prod(net.shape) / 2**20, plan.peak_backward / 2**20
    peak = peak_there(both(ways["tnkit"], params, seed), device) if cuda else peak_here(case)
    case += ", CUDA graph" if capture else ""
    cells = [case]
    for took in (forward, step):
        ratios = {n: took[n] / took["tnkit"] for n in took if n not in ("tnkit", "copy")}
        gains = [f"{r:.1f}x {n}" if r > 0.1 else f"{r:.2f}x {n}" for n, r in ratios.items()]
        cells += [spelled_seconds(took["tnkit"]), f"{took['tnkit'] / forward['copy']:.1f}", ", ".join(gains)]
    told = one >= 1 and not capture  # below, the process's own noise; a graph has its memory from before
    cells.append(f"{peak / one:.1f} ({predicted / one:.1f})" if told else "")
    return cells, {"case": case, "forward": forward, "both": step, "peak MiB": peak, "predicted MiB": predicted}


HEADERS = [
    "weight", "forward", "copies", "gain over", "forward + backward", "copies", "gain over", "peak, copies (predicted)",
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--only", default="", help="part of a case's name")
    parser.add_argument("--quick", action="store_true", help="leave the naive way out where it takes seconds")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--memory", help="print the peak memory of one case, in MiB")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.filterwarnings("ignore")
    if args.memory:
        memory(args.memory)
        return
    cuda = args.device != "cpu"
    clock: dict[str, Any] = {"threads": args.threads, "seconds": args.seconds}
    if cuda:
        clock["wait"] = partial(torch.cuda.synchronize, args.device)
    rows, records = [], []
    for case, capture in product([c for c in CASES if args.only in c], (False, True) if cuda else (False,)):
        cells, record = measured(case, clock, args.device, args.quick, capture)
        rows.append(cells)
        records.append(record)
        print(cells, flush=True)
    name = f"generate-{'cuda' if cuda else args.threads}"
    device = torch.cuda.get_device_name(args.device) if cuda else ""
    report(name, HEADERS, rows, records, args.threads, device=device, whole=not args.only)


if __name__ == "__main__":
    main()
