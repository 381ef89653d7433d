"""Contraction trees along a sweep: one tensor takes up the network index by index, and its border stays small.

Lattices, strips and cylinders have no small cuts that halve them well, but a border that moves through them is never wider than
they are.  Greedy searches lose it from a thousand nodes on, in an order of the nodes that does not happen to follow the lattice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from itertools import combinations
from math import log2

from tnkit.paths.contraction_tree import Steps

__all__ = ["swept_steps"]

#: Tensors that are taken up together are multiplied first while their product has so few bits.
_SMALL = 6.0


class _Graph:
    """Which tensors carry an index, and which indices a tensor has; all numbered."""

    def __init__(self, inputs: Sequence[Sequence[str]], output: Sequence[str], sizes: Mapping[str, int]) -> None:
        number: dict[str, int] = {}
        for t in inputs:
            for i in t:
                number.setdefault(i, len(number))
        self.terms = [tuple(dict.fromkeys(number[i] for i in t)) for t in inputs]
        self.users: list[list[int]] = [[] for _ in number]
        for k, term in enumerate(self.terms):
            for j in term:
                self.users[j].append(k)
        self.bits = [log2(sizes[name]) for name in number]
        self.kept = {number[name] for name in output}

    def distances(self, start: int) -> list[int]:
        """Steps from a tensor to every tensor; -1 where there is no way."""
        found: list[int] = [-1] * len(self.terms)
        found[start] = 0
        seen: set[int] = set()
        line = [start]
        for k in line:
            for i in self.terms[k]:
                if i in seen:
                    continue
                seen.add(i)
                for other in self.users[i]:
                    if found[other] < 0:
                        found[other] = found[k] + 1
                        line.append(other)
        return found

    def parts(self) -> list[list[int]]:
        """The connected parts."""
        found: list[list[int]] = []
        seen: set[int] = set()
        for k in range(len(self.terms)):
            if k not in seen:
                found.append([other for other, d in enumerate(self.distances(k)) if d >= 0])
                seen.update(found[-1])
        return found

    def degree(self, k: int) -> int:
        """Tensors beside a tensor, counted once an index."""
        return sum(len(self.users[i]) - 1 for i in self.terms[k])


def swept_steps(
    inputs: Sequence[Sequence[str]], output: Sequence[str], sizes: Mapping[str, int], ends: int = 4
) -> Steps:
    """Steps between numbered tensors (results from ``len(inputs)`` on), of the best of several sweeps.

    Parameters
    ----------
    inputs, output, sizes
        The network.
    ends
        Tensors far from one another that sweeps begin at, alone and in pairs: from a corner, and from a side.
    """
    graph = _Graph(inputs, output, sizes)
    steps: Steps = []
    parts: list[int] = []  # one a connected part
    for part in graph.parts():
        tries = [_Sweep(graph, when, part, len(inputs) + len(steps)) for when in _directions(graph, part, ends)]
        best = min(tries, key=lambda t: t.bits)
        steps += best.steps
        parts.append(best.whole)
    for k, other in enumerate(parts[1:]):
        steps.append((parts[0] if k == 0 else len(inputs) + len(steps) - 1, other))
    return steps


def _directions(graph: _Graph, part: Sequence[int], ends: int) -> list[list[int]]:
    """Which tensors come early: distances from far tensors, and sums of two, which are the distance from a side of a lattice."""
    first = min(part, key=lambda k: (graph.degree(k), k))
    for _ in range(2):
        far = graph.distances(first)
        first = min(part, key=lambda k: (-far[k], graph.degree(k), k))
    found = [graph.distances(first)]
    while len(found) < min(ends, len(part)):
        near = [min(d) for d in zip(*found, strict=True)]
        found.append(graph.distances(min(part, key=lambda k: (-near[k], graph.degree(k), k))))
    pairs = [[x + y for x, y in zip(a, b, strict=True)] for a, b in combinations(found, 2)]
    return [*found, *pairs]


class _Sweep:
    """One sweep through a connected part: its steps, its last result, and the bits of what its steps cost together."""

    def __init__(self, graph: _Graph, when: Sequence[int], part: Sequence[int], new: int) -> None:
        self.graph, self.new = graph, new
        self.steps: Steps = []
        self.waiting = set(part)
        self.left = [len(on) for on in graph.users]  # tensors that carry an index and wait
        self.border: set[int] = set()
        self.when = [min(when[k] for k in on) for on in graph.users]
        self.entered: dict[
            int, int
        ] = {}  # ties go to what stands on the border for longest: neighbours follow one another
        self.heap: list[tuple[float, int, int, int, int]] = []
        self.version = [0] * len(graph.users)
        self.whole = min(part, key=lambda k: (when[k], graph.degree(k), k))
        self.bits = self.run()

    def run(self) -> float:
        """Close the cheapest index of the border until all is taken up."""
        graph, bits = self.graph, self.graph.bits
        near = self.take(self.whole)
        wide, cost = sum(bits[i] for i in self.border), 0.0
        while True:
            for i in near & self.border:
                if self.left[i]:
                    self.version[i] += 1
                    heappush(self.heap, (round(self.growth(i), 6), self.when[i], self.entered[i], i, self.version[i]))
                elif i not in graph.kept:
                    self.border.remove(i)
                    wide -= bits[i]
            while self.heap and self.version[self.heap[0][3]] != self.heap[0][4]:
                heappop(self.heap)
            if not self.heap:
                return log2(cost + 1.0)
            i = heappop(self.heap)[3]
            group = [k for k in graph.users[i] if k in self.waiting]
            opened = {j for k in group for j in graph.terms[k]} - self.border
            wide += sum(bits[j] for j in opened)
            cost += 2.0 ** min(wide, 1000.0)
            near = set().union(*[self.take(k) for k in group])
            for one in _multiplied(graph, group, self):
                self.whole = self.join(self.whole, one)

    def growth(self, i: int) -> float:
        """Bits by which the border grows where an index is closed."""
        count: dict[int, int] = {}
        for k in self.graph.users[i]:
            if k in self.waiting:
                for j in self.graph.terms[k]:
                    count[j] = count.get(j, 0) + 1
        return sum(
            self.graph.bits[j] * ((j in self.graph.kept or self.left[j] > c) - (j in self.border))
            for j, c in count.items()
        )

    def take(self, k: int) -> set[int]:
        """Take a tensor up; the indices whose closing may cost another thing now."""
        self.waiting.remove(k)
        for i in self.graph.terms[k]:
            self.left[i] -= 1
            self.border.add(i)
            self.entered.setdefault(i, len(self.entered))
        return {j for i in self.graph.terms[k] for other in self.graph.users[i] for j in self.graph.terms[other]}

    def join(self, a: int, b: int) -> int:
        """A step; the number of its result."""
        self.steps.append((a, b))
        self.new += 1
        return self.new - 1


def _multiplied(graph: _Graph, group: Sequence[int], sweep: _Sweep) -> list[int]:
    """A few products of a group's tensors, none of them large."""
    found: list[int] = []
    held: set[int] = set()
    for k in group:
        both = held | set(graph.terms[k])
        if found and sum(graph.bits[i] for i in both) <= _SMALL:
            found[-1], held = sweep.join(found[-1], k), both
        else:
            found.append(k)
            held = set(graph.terms[k])
    return found
