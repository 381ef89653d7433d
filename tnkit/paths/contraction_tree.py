"""Better contraction trees out of good ones: small parts of a tree are replaced by the best arrangement of their leaves.

A part is a node of the tree with a few nodes below it; what stands outside a part sees its indices alone, so each can be
solved exactly, by dynamic programming, without a look at the rest (the subtree reconfiguration of cotengra, Gray and
Kourtis, arXiv 2002.01935).  The cost is that of a plan: multiply-adds, and what is written.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from heapq import heappop, heappush
from math import prod

__all__ = ["ContractionTree", "Steps", "linear_path", "numbered_steps", "pairwise_steps", "refine_"]

Inds = Sequence[str]
Steps = list[tuple[int, int]]


def linear_path(steps: Iterable[Sequence[int]], n: int) -> list[tuple[int, ...]]:
    """Steps between numbered tensors (results numbered from ``n`` on) as a path of positions."""
    live, path = list(range(n)), []  # rising numbers at all times: what is appended has the largest
    for new, step in enumerate(steps, n):
        at = sorted(bisect_left(live, k) for k in step)
        for k in reversed(at):
            del live[k]
        live.append(new)
        path.append(tuple(at))
    return path


def numbered_steps(path: Iterable[Sequence[int]], n: int) -> Steps:
    """A path of pairs of positions as steps between numbered tensors."""
    live, steps = list(range(n)), []
    for new, (a, b) in enumerate(path, n):
        second, first = live.pop(max(a, b)), live.pop(min(a, b))
        steps.append((first, second))
        live.append(new)
    return steps


def pairwise_steps(steps: Iterable[Sequence[int]], n: int) -> Steps:
    """The steps without those of a single tensor, renumbered."""
    number, out = list(range(n)), []
    for step in steps:
        if len(step) == 1:
            number.append(number[step[0]])
        else:
            a, b = step
            out.append((number[a], number[b]))
            number.append(n + len(out) - 1)
    return out


class ContractionTree:
    """A binary contraction tree: tensors are numbered, inputs first.

    Attributes
    ----------
    legs
        Indices of every tensor, numbered as they first occur.
    kids
        Result -> the two tensors that it is made of.
    costs
        Result -> multiply-adds of its step plus ``write`` times its entries.
    root
        The result that is the whole.
    """

    def __init__(
        self, inputs: Sequence[Inds], output: Inds, sizes: Mapping[str, int], steps: Steps, write: int
    ) -> None:
        number: dict[str, int] = {}  # sets of numbers have one order in every process, sets of strings have not
        for t in inputs:
            for i in t:
                number.setdefault(i, len(number))
        self.n, self.write = len(inputs), write
        self.sizes = [sizes[i] for i in number]
        self.legs = [frozenset([number[i] for i in t]) for t in inputs]
        self.kids: dict[int, tuple[int, int]] = {}
        count = _term_counts([*self.legs, frozenset([number[i] for i in output])])
        for a, b in steps:
            self.kids[len(self.legs)] = (a, b)
            self.legs.append(_result_inds(self.legs[a], self.legs[b], count))
        self.root = len(self.legs) - 1
        self.costs = {k: self._cost(a, b, self.legs[k]) for k, (a, b) in self.kids.items()}

    @property
    def total(self) -> float:
        """Cost of all steps."""
        return sum(self.costs.values())

    @property
    def path(self) -> list[tuple[int, ...]]:
        """The tree as a path of positions."""
        number = {k: k for k in range(self.n)}
        out: Steps = []
        stack = [self.root] if self.kids else []
        while stack:
            waiting = [c for c in self.kids[stack[-1]] if c not in number]
            if waiting:
                stack += waiting
                continue
            k = stack.pop()
            a, b = self.kids[k]
            number[k] = self.n + len(out)
            out.append((number[a], number[b]))
        return linear_path(out, self.n)

    def part(self, root: int, leaves: int) -> tuple[list[int], list[int]]:
        """Up to ``leaves`` nodes that ``root`` is made of, and the results between; the dearest are taken apart first."""
        inner: list[int] = []
        ends: list[int] = []
        heap = [(0.0, root)]
        while heap and len(ends) + len(heap) < leaves:
            k = heappop(heap)[1]
            inner.append(k)
            for c in self.kids[k]:
                if c < self.n:
                    ends.append(c)
                else:
                    heappush(heap, (-self.costs[c], c))
        return ends + [k for _, k in heap], inner

    def solve_(self, ends: Sequence[int], inner: Sequence[int]) -> bool:
        """Arrange a part anew (``inner[0]`` is its root); whether that is cheaper."""
        from cotengrust import optimize_optimal

        inputs, output = [self.legs[k] for k in ends], self.legs[inner[0]]
        letter = {i: chr(192 + k) for k, i in enumerate(dict.fromkeys(i for t in inputs for i in t))}
        found = optimize_optimal(
            [[letter[i] for i in t] for t in inputs], [letter[i] for i in output],
            {letter[i]: self.sizes[i] for i in letter}, minimize=f"combo-{self.write}", simplify=False, use_ssa=True,
        )  # fmt: skip
        count = _term_counts([*inputs, output])
        names = [*ends, *reversed(inner)]  # numbers are used again, the root's for the root
        before, old = sum(self.costs[k] for k in inner), {k: self.legs[k] for k in inner}
        new: list[tuple[int, tuple[int, int], float]] = []
        for k, step in zip(reversed(inner), found, strict=True):
            a, b = names[step[0]], names[step[1]]
            self.legs[k] = _result_inds(self.legs[a], self.legs[b], count)
            new.append((k, (a, b), self._cost(a, b, self.legs[k])))
        if not sum(cost for *_, cost in new) < before * (1 - 1e-9):
            for k, legs in old.items():
                self.legs[k] = legs
            return False
        for k, kids, cost in new:
            self.kids[k], self.costs[k] = kids, cost
        return True

    def weighed(self, write: int) -> ContractionTree:
        """A copy in which writing has another weight."""
        tree = copy(self)
        tree.write, tree.legs, tree.kids = write, list(self.legs), dict(self.kids)
        tree.costs = {k: tree._cost(a, b, tree.legs[k]) for k, (a, b) in tree.kids.items()}
        return tree

    def _cost(self, a: int, b: int, result: frozenset[int]) -> float:
        sizes = self.sizes  # floats: an outer product of thousands of axes is infinite, not an error
        space = prod([sizes[i] for i in self.legs[a] | self.legs[b]], start=1.0)
        return space + self.write * prod([sizes[i] for i in result], start=1.0)


def _term_counts(terms: Iterable[Iterable[int]]) -> dict[int, int]:
    count: dict[int, int] = {}
    for t in terms:
        for i in t:
            count[i] = count.get(i, 0) + 1
    return count


def _result_inds(a: frozenset[int], b: frozenset[int], count: dict[int, int]) -> frozenset[int]:
    """Indices of the product of two tensors; ``count``, of the tensors that carry an index, is brought up to date."""
    for i in a & b:
        count[i] -= 1
    return frozenset([i for i in a | b if count[i] > 1])


def refine_(tree: ContractionTree, leaves: int, solves: int) -> ContractionTree:
    """Solve parts of up to ``leaves`` nodes, the dearest first, until nothing gets cheaper or ``solves`` are done."""
    done: set[tuple[int, ...]] = set()
    changed = True
    while changed:
        changed = False
        for root in sorted(tree.costs, key=lambda k: -tree.costs[k]):
            ends, inner = tree.part(root, leaves)
            key = (root, *sorted(ends))
            if len(ends) < 3 or key in done:
                continue
            if solves == 0:
                return tree
            solves -= 1
            done.add(key)
            changed |= tree.solve_(ends, inner)
    return tree
