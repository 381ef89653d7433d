"""Ranks for a budget: as good as looking at all of them on small trees, and found soon on long chains."""

import itertools

import numpy as np
import pytest
from work import counted

import tnkit as tk

SMALL = {
    "tt": tk.tt((3, 4, 2, 4, 3), 3), "mps": tk.mps((2,) * 6, 3), "star": tk.from_einsum("abc,ai,bj,ck->ijk", {**dict.fromkeys("abc", 3), **dict.fromkeys("ijk", 4)}),
    "tree": tk.tree((3,) * 4, 3), "two nodes": tk.tt((5, 4), 4),
}  # fmt: skip


def falling(net, seed, rate):
    """Arrays whose bonds have falling singular values, about."""
    arrays = tk.init.normal(net, seed=seed)
    for node in net.nodes:
        for axis, i in enumerate(node.inds):
            if i not in net.output:
                shape = [-1 if k == axis else 1 for k in range(len(node.inds))]
                arrays[node.array] = arrays[node.array] * rate ** np.arange(net.sizes[i]).reshape(shape)
    return arrays


@pytest.mark.parametrize("rate", [1.0, 0.6])
@pytest.mark.parametrize("name", SMALL)
def test_no_ranks_are_better(name, rate):
    net = SMALL[name]
    bonds = [i for i in net.sizes if i not in net.output]
    for seed in range(2):
        arrays = falling(net, seed, rate)
        every = {}
        for ranks in itertools.product(*(range(1, net.sizes[b] + 1) for b in bonds)):
            found = tk.round(net, arrays, rank=dict(zip(bonds, ranks, strict=True)), method="svd")
            every.setdefault(found.network.num_params, []).append(found.error)
        counts = sorted(every)
        for budget in np.linspace(counts[0], counts[-1], 5).astype(int):
            best = min(e for n in counts if n <= budget for e in every[n])
            found = tk.round(net, arrays, budget=int(budget))
            assert found.network.num_params <= budget
            assert found.error <= 1.02 * best + 1e-12, (seed, budget, found.error, best)


@pytest.mark.parametrize("budget", [68, 156])
def test_what_one_bond_gives_up_another_takes(budget):
    """A bond lowered once pays for another raised several times; what is left over is used too."""
    net = tk.from_einsum("abc,ai,bj,ck->ijk", {**dict.fromkeys("abc", 5), **dict.fromkeys("ijk", 6)})
    arrays = falling(net, 0, 1.0)
    every = [
        tk.round(net, arrays, rank=dict(zip("abc", r, strict=True))) for r in itertools.product(range(1, 6), repeat=3)
    ]
    best = min(e.error for e in every if e.network.num_params <= budget)
    assert tk.round(net, arrays, budget=budget).error == pytest.approx(best, rel=1e-3)


@pytest.mark.slow
def test_a_chain_of_two_hundred_sites():
    net = tk.mps((2,) * 200, 16)
    arrays = falling(net, 0, 0.8)
    work, found = counted(tk.round, net, arrays, budget=20_000)
    assert work < 3_000_000  # .5 s; an hour when every pair of bonds was looked at
    assert 19_800 <= found.network.num_params <= 20_000
    assert found.error == pytest.approx(float(tk.distance(net, arrays, *found) / tk.norm(net, arrays)), rel=1e-6)
    equal = [tk.round(net, arrays, rank=r) for r in range(1, 12)]
    assert found.error < 0.9 * min(e.error for e in equal if e.network.num_params <= 20_000)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_what_fits_is_kept(library):
    net = tk.mps((2,) * 12, 4)
    arrays = falling(net, 0, 1.0)
    if library == "torch":
        torch = pytest.importorskip("torch")
        arrays = {n: torch.asarray(x) for n, x in arrays.items()}
    least = tk.round(net, arrays, tol=1e-12)
    for budget in (least.network.num_params, net.num_params, 10**30):
        found = tk.round(net, arrays, budget=budget)
        assert found.error < 1e-12 and found.network.num_params == least.network.num_params
