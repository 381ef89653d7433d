"""Contraction orders of tnkit, opt_einsum and cotengra: how far each is from the best known, and what it takes to find them.

``python benchmarks/order.py [--seconds 25] [--only TEXT]`` prints, for every network and finder, the excess in log10
multiply-adds over the best path that any of them found (a long search of cotengra for multiply-adds alone among them) and
the CPU milliseconds, and writes ``out/bench/order.json``.  tnkit's ``auto`` and ``hyper`` count what is written beside the
multiply-adds, so an excess of up to 0.2 is their choice; ``cost`` in the records is both (of writing: 84 multiply-adds an
entry, as in :mod:`tnkit.paths.optimizers`).
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import cotengra as ctg
import networkx as nx
import numpy as np
import opt_einsum as oe
from timing import report

import tnkit as tk
from tnkit.paths.contraction_tree import ContractionTree, numbered_steps
from tnkit.paths.optimizers import WRITE, find_path
from tnkit.testing import path_flops


def norm(net: tk.Network) -> tk.Network:
    """The inner product of a network with another of its kind, over all its open indices."""
    other = net.relabel(lambda i: i if i in net.output else i + "'", lambda n: n + "'", lambda a: a + "'")
    return tk.Network((*net.nodes, *other.nodes), (), {**net.sizes, **other.sizes})


def closed(net: tk.Network) -> tk.Network:
    """The network with a vector on every open index."""
    return tk.Network((*net.nodes, *(tk.Node(f"end_{i}", (i,), fixed=True) for i in net.output)), (), net.sizes)


def regular(nodes: int, bond: int, seed: int) -> tk.Network:
    """A random graph of three edges a node."""
    return tk.from_graph(nx.random_regular_graph(3, nodes, seed=seed), bond=bond)


def hypernetwork(nodes: int, seed: int) -> tk.Network:
    """Nodes of two to four indices out of 1.2 a node, sizes 2 to 4: most indices are on several nodes, three are open."""
    rng = np.random.default_rng(seed)
    names = [f"x{k}" for k in range(int(1.2 * nodes))]
    sizes = {i: int(rng.integers(2, 5)) for i in names}
    leaves = [
        tk.Node(f"A{k}", tuple(rng.choice(names, size=rng.integers(2, 5), replace=False).tolist()))
        for k in range(nodes)
    ]
    used = [i for i in names if any(i in leaf.inds for leaf in leaves)]
    return tk.Network(tuple(leaves), tuple(used[:3]), {i: sizes[i] for i in used})


def ising(rows: int, seed: int | None = None) -> tk.Network:
    """A square of spins, one hyperedge each, and a matrix a bond: the vertical bonds first, or all shuffled."""
    cells = [(i, j) for i in range(rows) for j in range(rows)]
    pairs = [((i, j), (i + di, j + dj)) for di, dj in ((1, 0), (0, 1)) for i, j in cells if max(i + di, j + dj) < rows]
    if seed is not None:
        pairs = [pairs[k] for k in np.random.default_rng(seed).permutation(len(pairs))]
    nodes = tuple(tk.Node(f"{a}{b}", (f"s{a}", f"s{b}")) for a, b in pairs)
    return tk.Network(nodes, (), {i: 2 for node in nodes for i in node.inds})


def grid(rows: int, bond: int) -> tk.Network:
    """A square lattice without open indices."""
    return tk.from_graph(nx.grid_2d_graph(rows, rows), bond=bond)


CASES: dict[str, Callable[[], tk.Network]] = {
    "MPS inner product, 100 sites": lambda: norm(tk.mps((2,) * 100, 16)),
    "tree inner product, 32 leaves": lambda: norm(tk.tree((4,) * 32, 8)),
    "tree, 16 leaves": lambda: tk.tree((2,) * 16, 8),
    "MERA inner product, 32 sites": lambda: norm(tk.mera((2,) * 32, 4)),
    "MERA, 16 sites": lambda: tk.mera((2,) * 16, 4),
    "brick wall 16 x 3, open": lambda: tk.brick_wall(16, depth=3),
    "brick wall 24 x 4, closed": lambda: closed(tk.brick_wall(24, depth=4, start="vectors")),
    "brick wall 20 x 3, norm": lambda: norm(tk.brick_wall(20, depth=3)),
    "PEPS 6x6, norm": lambda: norm(tk.peps(6, 6, 2, 3)),
    "PEPS 6x6, closed": lambda: closed(tk.peps(6, 6, 2, 4)),
    "PEPS 4x4, open": lambda: tk.peps(4, 4, 2, 3),
    "3-regular, 60 nodes, bond 2": lambda: regular(60, 2, 0),
    "3-regular, 60 nodes, bond 3": lambda: regular(60, 3, 1),
    "3-regular, 100 nodes, bond 2": lambda: regular(100, 2, 2),
    "3-regular, 100 nodes, bond 3": lambda: regular(100, 3, 3),
    "hypernetwork, 30 nodes": lambda: hypernetwork(30, 2),
    "hypernetwork, 40 nodes": lambda: hypernetwork(40, 0),
    "hypernetwork, 80 nodes": lambda: hypernetwork(80, 1),
    "lattice 14 x 14, bond 2": lambda: grid(14, 2),
    "lattice 24 x 24, bond 2": lambda: grid(24, 2),
    "Ising 24 x 24": lambda: ising(24),
    "Ising 24 x 24, shuffled": lambda: ising(24, 0),
    "Ising 32 x 32": lambda: ising(32),
    "Ising 32 x 32, shuffled": lambda: ising(32, 0),
}


#: From so many nodes on, finders that take minutes are left out; no tree is sought for longer.
LARGE = 500


def finders(nodes: int) -> dict[str, Any]:
    """Name -> optimizer, made anew for every network; the peers seek the fewest multiply-adds."""
    quiet = {"parallel": False, "progbar": False, "optlib": "random"}
    found = {
        "tnkit auto": "auto",
        "tnkit hyper": "hyper",
        "opt_einsum greedy": oe.paths.greedy,
        "opt_einsum random-greedy-128": oe.RandomGreedy(max_repeats=128, max_time=60),
        "cotengra random-greedy-128": ctg.RandomGreedyOptimizer(max_repeats=128, seed=0),
        "cotengra hyper-greedy-64": ctg.HyperOptimizer(
            methods=["greedy"], max_repeats=64 if nodes < LARGE else 8, **quiet
        ),
    }
    slow = ("opt_einsum random-greedy-128", "cotengra random-greedy-128")
    return {who: one for who, one in found.items() if nodes < LARGE or who not in slow}


def problem(net: tk.Network) -> tuple[list[tuple[str, ...]], tuple[str, ...], dict[str, int]]:
    """What an optimizer is asked, in one letter an index."""
    letter = {i: oe.get_symbol(k) for k, i in enumerate(net.sizes)}
    inputs = [tuple(letter[i] for i in dict.fromkeys(node.inds)) for node in net.nodes]
    return inputs, tuple(letter[i] for i in net.output), {letter[i]: n for i, n in net.sizes.items()}


def cost(asked: Any, path: Any) -> float:
    """Multiply-adds and writes of a path, as ``hyper`` weighs them."""
    return ContractionTree(*asked, numbered_steps(path, len(asked[0])), WRITE).total


def measured(asked: Any, optimizer: Any) -> dict[str, float]:
    """log10 of a path's multiply-adds and cost, and the median CPU seconds of finding it (once if that takes long)."""
    seconds: list[float] = []
    while not seconds or (sum(seconds) < 0.5 and len(seconds) < 5):
        begin = time.process_time()
        path = find_path(*asked, optimizer)
        seconds.append(time.process_time() - begin)
    flops = math.log10(path_flops(*asked, path))
    return {"flops": flops, "cost": math.log10(cost(asked, path)), "seconds": statistics.median(seconds)}


def long_search(asked: Any, seconds: float) -> float:
    """log10 multiply-adds of the best of a long search: greedy and by partitions, every tree reconfigured."""
    search = ctg.HyperOptimizer(
        methods=["greedy", "labels"], max_repeats=256, max_time=seconds, parallel=False, progbar=False, optlib="random",
        minimize="flops", reconf_opts={},
    )  # fmt: skip
    return math.log10(path_flops(*asked, find_path(*asked, search)))


def row(name: str, best: float, found: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Excess and milliseconds of every finder."""
    cells = [
        f"{found[w]['flops'] - best:.2f} {1e3 * found[w]['seconds']:7.1f}" if w in found else "" for w in finders(0)
    ]
    return [name, f"{best:.2f}", *cells]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=25.0, help="of the long search, a network (0: none)")
    parser.add_argument("--only", default="", help="networks whose name has this in it")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")  # cotengra names the partitioners that are not installed
    asked = problem(CASES["tree, 16 leaves"]())
    for optimizer in finders(0).values():  # imports, and what is compiled
        find_path(*asked, optimizer)
    records, rows = {}, []
    for name, make in CASES.items():
        if chosen.only not in name:
            continue
        asked = problem(make())
        found = {who: measured(asked, optimizer) for who, optimizer in finders(len(asked[0])).items()}
        best = min(f["flops"] for f in found.values())
        if chosen.seconds and len(asked[0]) < LARGE:
            best = min(best, long_search(asked, chosen.seconds))
        records[name] = {"nodes": len(asked[0]), "best": best, **found}
        rows.append(row(name, best, found))
        print(*rows[-1], sep="  ", flush=True)
    for title, over in (("mean", statistics.fmean), ("worst", max)):
        cells = []
        for who in finders(0):
            had = [r for r in records.values() if who in r]
            excess = over([r[who]["flops"] - r["best"] for r in had])
            cells.append(f"{excess:.2f} {1e3 * over([r[who]['seconds'] for r in had]):7.1f}")
        rows.append([title, "", *cells])
    report("order", ["network (excess log10, CPU ms)", "best", *finders(0)], rows, records, whole=not chosen.only)


if __name__ == "__main__":
    main()
