"""Bases of a lattice's bonds in which both sides are the same size, before boundaries are cut."""

import numpy as np
import pytest

from tnkit.approx import boundary
from tnkit.approx.simple_graph import Tracked

H = W = 4


def bonds():
    down = [((y, x), 1, (y + 1, x), 0) for y in range(H - 1) for x in range(W)]
    return [*down, *[((y, x), 3, (y, x + 1), 2) for y in range(H) for x in range(W - 1)]]


def sizes_apart(rows):
    """How far the Gram matrices of a bond's two sides lie apart, each of trace 1, for every bond."""
    found = []
    for (y, x), i, (b, a), j in bonds():
        sides = [
            np.moveaxis(t.value, k, 0).reshape(t.value.shape[k], -1) for t, k in ((rows[y][x], i), (rows[b][a], j))
        ]
        one, other = (m @ m.conj().T / np.linalg.norm(m) ** 2 for m in sides)
        found.append(np.abs(one - other.conj()).max())
    return np.array(found)


def value(rows):
    net = [
        [f"{'v' if k < 2 else 'h'}{y + (k == 1)}{x + (k == 3)}" for k in range(4)] for y in range(H) for x in range(W)
    ]
    names = {i: k for k, i in enumerate(dict.fromkeys(i for inds in net for i in inds))}
    given = [
        z
        for inds, t in zip(net, [t for row in rows for t in row], strict=True)
        for z in (t.value, [names[i] for i in inds])
    ]
    return np.einsum(*given, [], optimize="greedy")


@pytest.mark.parametrize("seed", range(5))
def test_both_sides_of_every_bond_are_the_same_size(seed, monkeypatch):
    """What changes a tensor changes all its bonds: they are looked at again, on whichever side it is."""
    monkeypatch.setattr(boundary, "_SWEEPS", 50)
    rng = np.random.default_rng(seed)
    shapes = [
        [(2 if y else 1, 2 if y < H - 1 else 1, 2 if x else 1, 2 if x < W - 1 else 1) for x in range(W)]
        for y in range(H)
    ]
    rows = [[Tracked(rng.normal(size=s)) for s in row] for row in shapes]
    made = boundary._balanced(rows)
    assert sizes_apart(rows).max() > 0.3 and sizes_apart(made).max() < boundary._EVEN
    assert value(made) == pytest.approx(value(rows), rel=1e-9)

    looked_at = []
    monkeypatch.setattr(boundary, "_balance", lambda *bond: looked_at.append(bond))
    boundary._balanced(made)
    assert len(looked_at) == len(bonds())  # nothing turns: once each
