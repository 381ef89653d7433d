"""The ranks of a tree that lose least within a count of parameters."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from tnkit.core.structure import TreeNetwork

__all__ = ["ranks_within"]

#: Ranks whose error is looked at in a search: so many, and so many bonds truncated for it in all, but the starts and a few more.
_TRIALS, _TRUNCATED, _FEW = 300, 2000, 6
#: An error that is rounding.
_NOTHING = 1e-14
#: Ranks of one turn that are looked at, and bonds whose pairs make them.
_TURN, _PAIRED = 60, 24


@dataclass(frozen=True)
class _Table:
    """The bonds of a tree in its order, as arrays: what a rank more costs and gains.

    Attributes
    ----------
    bonds
        Names.
    ends
        (bonds, 2): places of the nodes that a bond joins.
    open
        Node -> product of its open sizes.
    gains
        What the second, third, ... rank of each bond gains, one bond after another, each with a zero at its end.
    first
        Place of each bond's first gain.
    most
        Largest rank of each bond.
    budget
        Most parameters.
    """

    bonds: tuple[str, ...]
    ends: np.ndarray
    open: np.ndarray
    gains: np.ndarray
    first: np.ndarray
    most: np.ndarray
    budget: int

    def sizes(self, ranks: np.ndarray) -> np.ndarray:
        """Node -> parameters at these ranks."""
        found = self.open.copy()
        for end in self.ends.T:
            np.multiply.at(found, end, ranks)
        return found

    def count(self, ranks: np.ndarray) -> int:
        """Parameters at these ranks."""
        return int(self.sizes(ranks).sum())

    def each(self, ranks: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Bond -> parameters that a rank more or less of it takes."""
        return (sizes[self.ends[:, 0]] + sizes[self.ends[:, 1]]) // ranks  # type: ignore[no-any-return]

    def gain(self, ranks: np.ndarray) -> np.ndarray:
        """Bond -> what a rank more gains; 0 where there is none."""
        return self.gains[self.first + ranks - 1]  # type: ignore[no-any-return]

    def loss(self, ranks: np.ndarray) -> np.ndarray:
        """Bond -> what a rank less loses; infinity where there is none."""
        return np.where(ranks > 1, self.gains[self.first + ranks - 2], np.inf)

    def missed(self, ranks: np.ndarray) -> float:
        """Sum of all that larger ranks would gain."""
        after = np.append(np.cumsum(self.gains[::-1])[::-1], 0.0)
        return float((after[self.first + ranks - 1] - after[self.first + self.most]).sum())


def ranks_within(
    tree: TreeNetwork, squares: Mapping[str, np.ndarray], budget: int, lost: Callable[[Mapping[str, int]], float]
) -> dict[str, int]:
    """The ranks within a budget that lose least, as far as a search found.

    The product over bonds of the part of the squared norm that each keeps stands for what is kept of the whole.  Three starts:
    all values above one bound, as a tolerance keeps them; ranks of 1; equal ranks; each filled up by what is gained a number
    stored.  The best is then mended, one bond lowered or raised at a time and the others adapted, by the true error.

    Parameters
    ----------
    tree
        The network, its bonds as large as the singular values say.
    squares
        Bond -> squared singular values across it, falling.
    budget
        Most parameters.
    lost
        The error at these ranks, or what rises with it.
    """
    table, seen = _table(tree, squares, budget), dict[tuple[int, ...], float]()

    def value(ranks: np.ndarray) -> float:
        key = tuple(ranks.tolist())
        if key not in seen:
            seen[key] = lost(dict(zip(table.bonds, key, strict=True)))
        return seen[key]

    best = min((_filled(table, start) for start in _rank_starts(table)), key=value)
    trials = min(_TRIALS, len(seen) + max(_FEW, _TRUNCATED // len(table.bonds)))
    while len(seen) < trials and value(best) > _NOTHING:
        near = sorted(_near(table, best), key=table.missed)
        found = min(near[: min(trials - len(seen), _TURN)], key=value, default=best)
        if value(found) >= value(best) * (1 - 1e-9):
            break
        best = found
    return _useful(tree, dict(zip(table.bonds, best.tolist(), strict=True)))


def _table(tree: TreeNetwork, squares: Mapping[str, np.ndarray], budget: int) -> _Table:
    place = {node.name: k for k, node in enumerate(tree.net.nodes)}
    ends: dict[str, list[int]] = {b: [] for b in tree.bonds}
    for node, links in tree.links.items():
        for bond in links.values():
            ends[bond].append(place[node])
    bonds = set(tree.bonds)
    free = [prod(tree.net.sizes[i] for i in inds if i not in bonds) for inds in tree.inds.values()]
    gains = []
    for b in tree.bonds:
        s = squares[b]
        kept = np.maximum(np.cumsum(s)[:-1], np.finfo(float).tiny)
        gains += [np.log1p(s[1:] / kept), np.zeros(1)]  # log of the part that is kept with it, over that without
    most = np.array([len(squares[b]) for b in tree.bonds], np.int64)
    whole = sum(prod(tree.net.sizes[i] for i in inds) for inds in tree.inds.values())
    first = np.cumsum(most) - most
    return _Table(
        tree.bonds, np.array([ends[b] for b in tree.bonds], np.int64), np.array(free, np.int64), np.concatenate(gains),
        first, most, min(budget, whole),
    )  # fmt: skip


def _rank_starts(table: _Table) -> list[np.ndarray]:
    def last(ranks: Callable[[int], np.ndarray], count: int) -> np.ndarray:
        """The largest of these ranks that fit: their count rises with k."""
        return ranks(bisect(range(count), table.budget, key=lambda k: table.count(ranks(k))) - 1)

    bounds = np.append(np.inf, np.unique(table.gains[table.gains > 0])[::-1])
    level = last(lambda k: 1 + np.add.reduceat((table.gains >= bounds[k]).astype(np.int64), table.first), len(bounds))
    equal = last(lambda k: np.minimum(k + 1, table.most), int(table.most.max()))
    return [level, np.ones_like(table.most), equal]


def _near(table: _Table, ranks: np.ndarray) -> Iterator[np.ndarray]:
    """One bond raised, others lowered for it; or one lowered and another raised as far as that fits: of the likeliest bonds."""
    raised = np.flatnonzero(ranks < table.most)
    raised = raised[np.argsort(-table.gain(ranks)[raised], kind="stable")][:_PAIRED]
    lowered = np.flatnonzero(ranks > 1)
    lowered = lowered[np.argsort(table.loss(ranks)[lowered], kind="stable")][:_PAIRED]
    for b in raised.tolist():
        found = _lowered(table, _changed(ranks, b, 1), b)
        if found is not None:
            yield _filled(table, found)
    for b in lowered.tolist():
        other = _changed(ranks, b, -1)
        sizes = table.sizes(other)
        total, costs = int(sizes.sum()), table.each(other, sizes)
        for c in raised.tolist():
            steps = min(int(table.most[c] - ranks[c]), int((table.budget - total) // costs[c])) if c != b else 0
            yield _filled(table, _changed(other, c, steps))


def _changed(ranks: np.ndarray, bond: int, by: int) -> np.ndarray:
    found = ranks.copy()
    found[bond] += by
    return found


def _lowered(table: _Table, ranks: np.ndarray, kept: int) -> np.ndarray | None:
    """Less for the bonds that lose least a number stored, all but one, until the ranks fit."""
    sizes = table.sizes(ranks)
    while sizes.sum() > table.budget:
        costs = table.loss(ranks) / table.each(ranks, sizes)
        costs[kept] = np.inf
        b = int(np.argmin(costs))
        if not costs[b] < np.inf:
            return None
        ends = table.ends[b]
        sizes[ends] -= sizes[ends] // ranks[b]
        ranks[b] -= 1
    return ranks


def _filled(table: _Table, ranks: np.ndarray) -> np.ndarray:
    """One more for the bond that gains most a number stored, until nothing fits."""
    ranks, sizes = ranks.copy(), table.sizes(ranks)
    while True:
        costs = table.each(ranks, sizes)
        worth = np.where(costs <= table.budget - sizes.sum(), table.gain(ranks) / costs, 0.0)
        b = int(np.argmax(worth))
        if not worth[b] > 0:
            return ranks
        ends = table.ends[b]
        sizes[ends] += sizes[ends] // ranks[b]
        ranks[b] += 1


def _useful(tree: TreeNetwork, ranks: dict[str, int]) -> dict[str, int]:
    """No bond larger than the other indices of a node at its end."""
    sizes, changed = {**tree.net.sizes, **ranks}, True
    while changed:
        changed = False
        for node, links in tree.links.items():
            for b in links.values():
                others = prod(sizes[i] for i in tree.inds[node] if i != b)
                if sizes[b] > others:
                    sizes[b], changed = others, True
    return {b: sizes[b] for b in ranks}
