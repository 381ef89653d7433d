"""Orders that users give: paths of numpy, opt_einsum and other plans, and contraction trees of cotengra, read as one value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any, Protocol

import numpy as np

from tnkit.core.checks import shown
from tnkit.core.network import Elementwise, Network
from tnkit.core.wording import plural
from tnkit.paths.foreign import RULE, Path, is_tree, pairwise_path, read_tree
from tnkit.paths.optimizers import Optimizer

__all__ = ["GivenOrder", "Order", "OrderTree", "read_order"]


class OrderTree(Protocol):
    """A contraction tree of cotengra."""

    sliced_inds: Any

    def get_path(self) -> Any:
        """Its path."""


#: What an optimizer's place takes: its name, itself, or the order as a path, one a region, or a tree.
Order = str | Optimizer | Sequence[Any] | np.ndarray | OrderTree


@dataclass(frozen=True)
class GivenOrder:
    """A pairwise path a region, inner regions first, and the indices that are sliced."""

    paths: tuple[tuple[tuple[int, ...], ...], ...]
    sliced: tuple[str, ...] = ()


def read_order(given: Any, net: Network) -> GivenOrder | None:
    """What was given in the place of an optimizer, where that is an order already; else None.

    ::

        read_order([(0, 1), (0, 1)], net)
        # GivenOrder(paths=(((0, 1), (0, 1)),), sliced=())

    Parameters
    ----------
    given
        A path (pairs of positions: opt_einsum's and numpy's, with or without the word ``"einsum_path"`` or the description beside
        it); a path that numbers results from the number of nodes on ("SSA"), which no path of positions can be mistaken for; a
        contraction tree of cotengra with its slices; or, for a network with activations, one of them a region, as ``plan.paths``.
    net
        The network.

    Raises
    ------
    TypeError, ValueError
        A path that does not fit the network; the step is named.
    """
    if isinstance(given, str) or callable(given):
        return None
    regions = list(_inner_first(net))
    each = _one_a_region(given, len(regions))
    if len(each) != len(regions):
        raise ValueError(
            f"plan: {plural(len(each), 'path')} given for {plural(len(regions), 'region')} of {net!r}; one a region, the innermost first"
        )
    found = [
        _read(one, region, k if len(each) > 1 else None)
        for k, (one, region) in enumerate(zip(each, regions, strict=True))
    ]
    inner = next((i for _, sliced in found[:-1] for i in sliced), None)
    if inner is not None:
        raise ValueError(
            f"plan: a contraction tree slices index {inner!r} inside an activation, where sums do not add up"
        )
    return GivenOrder(tuple(tuple(path) for path, _ in found), found[-1][1])


def _inner_first(net: Network) -> Iterator[Network]:
    """All regions as they run."""
    stack = [(net, False)]
    while stack:
        region, seen = stack.pop()
        if seen:
            yield region
            continue
        stack.append((region, True))
        bodies = [b for n in region.nodes if isinstance(n, Elementwise) for b in n.bodies]
        stack += [(b, False) for b in reversed(bodies)]


def _one_a_region(given: Any, regions: int) -> Sequence[Any]:
    """The orders of the regions, from one for a network of one region, or from a sequence of them."""
    given = _bare(given)
    if is_tree(given):
        return (given,)
    if not isinstance(given, (list, tuple, np.ndarray)) or getattr(given, "ndim", 2) != 2:
        raise TypeError(f"{RULE}, not {shown(given)}")
    nested = any(is_tree(_bare(one)) or _holds_sequences(one) for one in given)
    if not nested and regions > 1 and len(given):
        raise ValueError(
            f"plan: one path is given for {regions} regions; give one a region, as plan.paths of another plan"
        )
    return [_bare(one) for one in given] if nested else (given,)


def _bare(given: Any) -> Any:
    """The path alone, of (path, description) and of opt_einsum's description itself."""
    if hasattr(given, "opt_cost") and hasattr(given, "path"):
        return given.path
    pair = isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], (list, tuple))
    if pair and (isinstance(given[1], str) or hasattr(given[1], "opt_cost")):
        given = given[0]
    if isinstance(given, (list, tuple)) and len(given) and isinstance(given[0], str) and given[0] == "einsum_path":
        return given[1:]
    return given


def _holds_sequences(one: Any) -> bool:
    """Whether it is a path itself, not a step; a pair of strings is a step with names in the place of positions."""
    if not isinstance(one, (list, tuple)) or (len(one) > 1 and all(isinstance(k, str) for k in one)):
        return False
    return any(isinstance(k, (list, tuple, np.ndarray, str)) for k in one)


def _read(given: Any, net: Network, region: int | None) -> tuple[Path, tuple[str, ...]]:
    where = "" if region is None else f" of region {region}"
    n = len(net.nodes)
    if is_tree(given):
        whole = [node.inds for node in net.nodes]
        count = Counter(i for term in (*map(set, whole), net.output) for i in term)
        reduced = [tuple(i for i in dict.fromkeys(term) if count[i] > 1) for term in whole]  # as optimisers are asked
        terms = reduced if [*map(len, given.inputs)] == [*map(len, reduced)] else whole
        return read_tree(given, terms, net.sizes, f"the contraction tree{where}")
    path = [_step(step, k, where) for k, step in enumerate(given)]
    numbers = sorted(k for step in path for k in step)
    if n > 2 and numbers == list(range(len(numbers))) and len(numbers) == n + len(path) - 1:
        path = _of_numbers(path, n, where)
    return pairwise_path(path, n, f"plan: the path{where}", whole=True), ()


def _step(step: Any, k: int, where: str) -> tuple[int, ...]:
    try:
        found = () if isinstance(step, (set, frozenset, bytes, str)) else tuple(index(p) for p in step)
    except TypeError:
        found = ()
    if not found or any(isinstance(p, bool) for p in step):
        raise TypeError(f"plan: step {k} of the path{where} is a tuple of positions, not {shown(step)}")
    return found


def _of_numbers(path: Path, n: int, where: str) -> Path:
    """A path of numbered results as one of positions."""
    live, out = list(range(n)), []
    for k, step in enumerate(path):
        missing = [p for p in step if p not in live]
        if missing:
            raise ValueError(f"plan: step {k} of the path{where}, {step}, uses result {missing[0]} before it is made")
        out.append(tuple(live.index(p) for p in step))
        live = [p for p in live if p not in step] + [n + k]
    return out
