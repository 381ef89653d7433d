"""A tree fitted to the product of two, node by node: what is best at a node is what the others leave of the product there."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import numpy as np

from tnkit.algebra.pairs import Legs, Pair, in_double, squared_norm
from tnkit.core.decomposition import Decomposition
from tnkit.core.structure import TreeNetwork
from tnkit.decompose.gauge import fold, gathered, held, placed, unfold
from tnkit.decompose.rounding import tour
from tnkit.decompose.truncate import orthonormal
from tnkit.execution.arrays import conj, double_name, dtype_name, is_single
from tnkit.execution.local import contracted
from tnkit.execution.powers import Power, unit

__all__ = ["improved"]

#: Part of the error by which a sweep has to lower it to be followed by another.
_GAIN = 3e-6


def improved(
    pair: Pair, start: Decomposition, root: str, sweeps: int, told: Callable[[float], bool] = lambda error: False
) -> Decomposition:
    """The tree nearest to the product that sweeps over the nodes find (Verstraete and Cirac 2004), its bonds as they are.

    Parameters
    ----------
    start
        A tree of the pair's shape, with its names.
    root
        The node that ends as the centre.
    sweeps
        Most of them; they end where they gain nothing.  With none the centre alone is set to the best array.
    told
        Called with the error after each sweep; a true answer ends them.
    """
    backend, given = pair.backend, next(iter(start.arrays.values()))
    pair = in_double(pair)  # the error is the root of what is left of 1
    tree, arrays, root, power = held(start.network, start.arrays, root, "fit", backend)
    arrays = {n: backend.cast(x, double_name(x)) if is_single(x) else x for n, x in arrays.items()}
    gathered(tree, arrays, root, power, backend)
    search = _Search(pair, tree, arrays)
    for node, _, bond in reversed(tree.down(root)):
        search.send(node, bond)
    total, shift = squared_norm(pair)
    error = np.inf
    for left in range(sweeps, -1, -1):
        x, power = search.best(root)
        arrays[tree.array[root]] = x
        kept = _part(float(backend.norm(x)) ** 2, 2 * (power + pair.power), float(total), shift)
        before, error = error, sqrt(max(1.0 - kept, 0.0))
        if (left < sweeps and told(error)) or not left or error >= before * (1 - _GAIN):
            break
        for here, _, bond, _ in tour(tree, root):
            arrays[tree.array[here]], _ = search.best(here)
            matrix, rows = unfold(tree, arrays, here, bond, backend)
            fold(tree, arrays, here, bond, orthonormal(matrix, backend)[0], rows, backend)
            search.send(here, bond)
    if is_single(given):
        arrays = {n: backend.cast(x, dtype_name(given)) for n, x in arrays.items()}
    made = placed(tree, arrays, root, power + pair.power, backend)
    return Decomposition(*made, error, dict.fromkeys(tree.bonds, "fit"))


def _part(a: float, p: Power, b: float, q: Power) -> float:
    return a * 2.0 ** (p - q) / b if b > 0 else 1.0


class _Search:
    """The tree sought, and what lies behind each bond of both: ``<tree|product>`` on one side of it."""

    def __init__(self, pair: Pair, tree: TreeNetwork, arrays: dict[str, Any]) -> None:
        self.pair, self.tree, self.arrays = pair, tree, arrays
        self.behind: dict[tuple[str, str], tuple[Any, Power]] = {}

    def _near(self, node: str, but: str = "") -> tuple[list[tuple[Any, Legs]], Power]:
        found = [(self.behind[n, b], b) for n, b in self.tree.links[node].items() if b != but]
        return [(x, ((3, b), (1, b), (2, b))) for (x, _), b in found], sum((p for (_, p), _ in found), 0.0)

    def best(self, node: str) -> tuple[Any, Power]:
        """The best array of a node, the others isometries towards it; and its power of two."""
        near, power = self._near(node)
        legs = tuple(i if i in self.pair.sizes else (3, i) for i in self.tree.inds[node])
        x, more = unit(contracted([*self.pair.parts(node), *near], legs, self.pair.backend), self.pair.backend)
        return x, power + more

    def send(self, node: str, bond: str) -> None:
        """What lies behind a bond, the node being the last of it."""
        near, power = self._near(node, bond)
        mine = tuple(i if i in self.pair.sizes else (3, i) for i in self.tree.inds[node])
        parts = [*self.pair.parts(node), *near, (conj(self.arrays[self.tree.array[node]], self.pair.backend), mine)]
        x, more = unit(contracted(parts, ((3, bond), (1, bond), (2, bond)), self.pair.backend), self.pair.backend)
        self.behind[node, bond] = x, power + more
