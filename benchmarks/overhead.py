"""What a plan costs beside its own products: the floor, every peer, numpy and torch; medians and ratios.

``floor`` is a plan's products alone, in its order, on operands that are ready: neither a view nor a lookup between them.
``cotengra`` and ``opt_einsum`` are their expressions, made once with the plan's own path.  Rows named ``einsum`` are one call by an
equation, the floor aside: warm, as in a loop of DMRG, beside ``opt_einsum.contract`` and the expressions; cold, the median of all
equations of ``tests/execution/equations.txt``, what was kept forgotten before each call.
``python benchmarks/overhead.py [--seconds 1] [--only MPS]``.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cotengra as ctg
import numpy as np
import opt_einsum as oe
import torch
from threadpoolctl import threadpool_limits
from timing import medians, report

import tnkit as tk
from tnkit.execution import einsum
from tnkit.execution.codegen import execute
from tnkit.planning import planner
from tnkit.planning.calibration import spelled_seconds
from tnkit_nn import TORCH

Call = Callable[[], Any]
SITES = 32


def amplitude(sites: int = SITES, rank: int = 8) -> tk.Network:
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
    f"MPS amplitude, {SITES} sites, rank 8": amplitude(),
    "TT layer 1024, rank 8, batch 1": tt_layer(1024, 8, 1),
    "TT layer 1024, rank 8, batch 32": tt_layer(1024, 8, 32),
    "TT layer 4096, rank 8, batch 1": tt_layer(4096, 8, 1),
    "TT layer 4096, rank 8, batch 32": tt_layer(4096, 8, 32),
    "brick wall, 14 sites, linear, 2 blocks": tk.brick_wall(14, depth=2),
}


class _Recorder:
    """A namespace that notes the operands of every product."""

    def __init__(self, xp: Any, seen: list[tuple[Any, Any]]) -> None:
        self.xp, self.seen = xp, seen

    def matmul(self, a: Any, b: Any) -> Any:
        flat = a.reshape(-1, a.shape[-1]) if len(a.shape) > 2 >= len(b.shape) else a  # torch folds it itself
        self.seen.append((flat, b))
        return self.xp.matmul(a, b)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.xp, name)


def floor(plan: tk.Plan, arrays: dict[str, Any], backend: tk.Backend) -> Call:
    """The plan's products as one straight-line function on operands that are ready."""
    seen: list[tuple[Any, Any]] = []
    recorder = _Recorder(backend.xp, seen)
    own = replace(backend, xp=recorder, broadcast=recorder.matmul)
    own = replace(own, group=lambda step, operands: execute(step.whole, operands, own))
    tk.run(plan, arrays, own)
    names = [f"a{k}, b{k}" for k in range(len(seen))]
    lines = "\n        ".join(f"matmul({pair})" for pair in names)
    space: dict[str, Any] = {}
    exec(f"def make(matmul, {', '.join(names)}):\n    def floor():\n        {lines}\n    return floor", space)
    return space["make"](backend.xp.matmul, *(x for pair in seen for x in pair))


def peers(net: tk.Network, operands: Sequence[Any], path: Any) -> dict[str, Call]:
    """Expressions of the peers, with the plan's path."""
    shapes = [a.shape for a in operands]
    expression = oe.contract_expression(tk.to_einsum(net), *shapes, optimize=path)
    inputs, output = [leaf.inds for leaf in net.leaves], net.output
    other = ctg.array_contract_expression(inputs, output, dict(net.sizes), optimize=path)
    return {"opt_einsum": lambda: expression(*operands), "cotengra": lambda: other(*operands)}


def more_peers(net: tk.Network, operands: Sequence[Any], path: Any) -> dict[str, Call]:
    """Libraries of networks rather than of expressions, and a path searched at every call; for the amplitude."""
    import quimb.tensor as qtn
    import tensornetwork as google

    backend = "numpy" if isinstance(operands[0], np.ndarray) else "pytorch"
    equation = tk.to_einsum(net)
    network = qtn.TensorNetwork([qtn.Tensor(x, n.inds) for x, n in zip(operands, net.leaves, strict=True)])
    chain = [i for k in range(SITES) for i in net.leaves[k].inds]
    label = {i: k for k, i in enumerate(sorted(set(chain), key=chain.index), 1)}  # along the chain, as ncon contracts
    labels = [[label[i] for i in n.inds] for n in net.leaves]
    found: dict[str, Call] = {
        "quimb": lambda: network.contract(output_inds=(), optimize=path),
        "opt_einsum, path each call": lambda: oe.contract(equation, *operands),
        "tensornetwork": lambda: google.ncon(operands, labels, backend=backend),
    }
    if backend == "pytorch":
        found["TensorKrowch"] = _tensorkrowch(operands)
    return found


def _tensorkrowch(operands: Sequence[Any]) -> Call:
    """Its own model of a matrix product state, traced."""
    import tensorkrowch as krowch

    cores, vectors = operands[:SITES], torch.stack(list(operands[SITES:]))[None]
    model = krowch.models.MPS(tensors=[c.clone() for c in cores])
    model.trace(vectors)
    return lambda: model(vectors)


#: Equations called again and again, and the shapes of their operands: environment, state, operators, environment.
EINSUMS = {
    "einsum, DMRG at two sites, rank 8": (
        "awb,bstd,wvsp,vxtq,dxc->apqc", ((8, 5, 8), (8, 2, 2, 8), (5, 5, 2, 2), (5, 5, 2, 2), (8, 5, 8))
    ),
    "einsum, DMRG at one site, rank 8": ("awb,bsd,wvsp,dvc->apc", ((8, 5, 8), (8, 2, 8), (5, 5, 2, 2), (8, 5, 8))),
    "einsum, matrices 4 x 4": ("ab,bc,cd->ad", ((4, 4), (4, 4), (4, 4))),
}  # fmt: skip


def einsum_row(name: str, library: str, seconds: float) -> tuple[list[str], dict[str, Any]]:
    """A warm equation beside the peers' calls; the gain is over ``opt_einsum.contract``."""
    equation, shapes = EINSUMS[name]
    rng = np.random.default_rng(0)
    operands = [rng.standard_normal(shape) for shape in shapes]
    operands = [torch.as_tensor(x) for x in operands] if library == "torch" else operands
    made = oe.contract_expression(equation, *shapes)
    calls: dict[str, Call] = {
        "tnkit": lambda: tk.einsum(equation, *operands),
        "opt_einsum.contract": lambda: oe.contract(equation, *operands),
        "opt_einsum.contract_expression": lambda: made(*operands),
        "cotengra.einsum": lambda: ctg.einsum(equation, *operands),
    }
    want = np.asarray(calls["opt_einsum.contract"]())
    assert all(np.allclose(np.asarray(call()), want) for call in calls.values())
    return _row(name, library, medians(calls, seconds=seconds), "opt_einsum.contract")


def cold_row(few: bool) -> tuple[list[str], dict[str, Any]]:
    """The median of all equations' cold calls, of up to nine operands or of more; the gain is over opt_einsum, or cotengra."""
    found: dict[str, list[float]] = {}
    lines = (
        (Path(__file__).parents[1] / "tests" / "execution" / "equations.txt").read_text(encoding="utf-8").splitlines()
    )
    for line in lines:
        equation, _, given = line.partition("  ")
        terms = equation.split("->")[0].split(",")
        if (len(terms) <= 9) is not few:
            continue
        letters, _, sizes = given.partition(" ")
        known = dict(zip(letters, map(int, sizes), strict=True)) or {c: 2 + ord(c) % 4 for c in equation}
        rng = np.random.default_rng(0)
        operands = [rng.standard_normal([known[c] for c in term]) for term in terms]
        calls: dict[str, Call] = {
            "tnkit": lambda e=equation, x=operands: tk.einsum(e, *x),
            "tnkit, from_einsum and contract": lambda e=equation, k=known, x=operands: _by_network(e, k, x),
            "opt_einsum.contract": lambda e=equation, x=operands: oe.contract(e, *x),
            "cotengra.einsum": lambda e=equation, x=operands: ctg.einsum(e, *x, cache_expression=False),
        }
        for way, call in calls.items():
            found.setdefault(way, []).append(statistics.median(_cold(call) for _ in range(5)))
    took = {way: statistics.median(times) for way, times in found.items()}
    name = f"einsum, cold, {len(found['tnkit'])} equations of {'up to 9' if few else 'more'} operands"
    return _row(name, "numpy", took, "opt_einsum.contract" if few else "cotengra.einsum")


def _by_network(equation: str, sizes: dict[str, int], operands: Sequence[Any]) -> Any:
    net = tk.from_einsum(equation, sizes)
    return tk.contract(net, dict(zip((n.name for n in net.nodes), operands, strict=True)))


def _cold(call: Call) -> float:
    for kept in (planner._cached_plan, planner._known_by_name, einsum._planned):
        kept.cache_clear()
    begin = time.process_time()
    call()
    return time.process_time() - begin


def _row(name: str, library: str, took: dict[str, float], peer: str) -> tuple[list[str], dict[str, Any]]:
    ours, theirs = took["tnkit"], took[peer]
    print(name, library, {way: spelled_seconds(t) for way, t in took.items()}, flush=True)
    cells = [
        name,
        library,
        spelled_seconds(ours),
        "",
        "",
        f"{spelled_seconds(theirs)} ({peer})",
        f"{theirs / ours:.2f}x",
    ]
    return cells, {"case": name, "library": library, "seconds": took}


def main() -> None:
    """Time every case with every library."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--only", default="", help="part of a case's name")
    args = parser.parse_args()
    torch.set_num_threads(1)
    threadpool_limits(1)  # numpy's products too: CPU time counts every thread
    warnings.filterwarnings("ignore")
    rows, records = [], []
    for name, net in CASES.items():
        if args.only not in name:
            continue
        rng = np.random.default_rng(0)
        drawn = tk.init.normal(net, seed=0, dtype="float32")
        arrays = {n: drawn.get(n, rng.standard_normal(s).astype("float32")) for n, s in net.array_shapes.items()}
        for library, backend in (("numpy", tk.NUMPY), ("torch", TORCH)):
            values = {n: torch.as_tensor(a) for n, a in arrays.items()} if library == "torch" else arrays
            operands = [values[leaf.array] for leaf in net.leaves]
            plan = tk.plan(net, itemsize=4)
            calls: dict[str, Call] = {"tnkit": lambda p=plan, v=values, o=backend: tk.run(p, v, o)}
            calls |= peers(net, operands, plan.path)
            if not net.output:
                calls |= more_peers(net, operands, plan.path)
            want = np.asarray(calls["tnkit"]())
            for way, call in calls.items():
                with torch.no_grad():
                    got = np.asarray(call()).reshape(want.shape)
                assert np.linalg.norm(got - want) < 1e-4 * np.linalg.norm(want), f"{way} is wrong"
            calls["floor"] = floor(plan, values, backend)
            with torch.no_grad():
                took = medians(calls, seconds=args.seconds)
            ours, bound = took["tnkit"], took["floor"]
            best = min((t, way) for way, t in took.items() if way not in ("tnkit", "floor"))
            records.append({"case": name, "library": library, "seconds": took})
            cells = [name, library, spelled_seconds(ours), spelled_seconds(bound), f"{ours / bound:.2f}x"]
            rows.append([*cells, f"{spelled_seconds(best[0])} ({best[1]})", f"{best[0] / ours:.2f}x"])
            print(rows[-1], {w: f"{spelled_seconds(t)} ({t / bound:.2f}x)" for w, t in took.items()}, flush=True)
    for name in EINSUMS:
        for library in ("numpy", "torch") if args.only in name else ():
            more = einsum_row(name, library, args.seconds)
            rows.append(more[0])
            records.append(more[1])
    for few in (True, False) if args.only in "einsum, cold" else ():
        more = cold_row(few)
        rows.append(more[0])
        records.append(more[1])
    headers = ["case", "library", "tnkit", "floor", "over the floor", "best peer", "gain"]
    report("overhead", headers, rows, records, whole=not args.only)


if __name__ == "__main__":
    main()
