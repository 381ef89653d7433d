"""Orders that follow the axes of the result, for tensors too large to be permuted at every step.

Three ideas, all by indices and sizes alone.  :func:`places` says where each index belongs among the axes of the result.
:func:`intervals` is the best contraction tree of which every part is a run of neighbouring nodes.  :func:`windows` takes a
network in which one tensor is far larger than all others (a state, with gates on it) and contracts the small tensors over a
few neighbouring axes into one matrix first, so that the large one is read once a window and never permuted: on a brick
wall, the staircase of windows over five sites.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from math import log2, prod

import numpy as np

from tnkit.paths.contraction_tree import linear_path
from tnkit.planning.strides import LEAST_COLUMNS, WIDENED, WIDEST

__all__ = ["intervals", "large_term", "places", "windows"]

Inds = tuple[str, ...]
Path = list[tuple[int, ...]]

#: Largest matrix of a window: 64 (binary) or 81 (ternary sites) runs at the speed of a large product; more only multiplies more.
_LARGEST_WINDOW = 96
#: A state has at least so many entries, and so many times those of every other tensor.
_STATE, _TIMES = 2**10, 8
#: Nanoseconds an entry that the other direction must save.
_TURN = 1.0
#: Above this many nodes, no places and no intervals are looked for (their cost grows as the cube).
_MANY_NODES = 80


def _entries(inds: Sequence[str], sizes: Mapping[str, int]) -> int:
    return prod(sizes[i] for i in inds)


def large_term(terms: Sequence[Inds], sizes: Mapping[str, int]) -> int | None:
    """Position of the tensor that is far larger than all others, if there is one."""
    entries = [_entries(t, sizes) for t in terms]
    k = max(range(len(terms)), key=entries.__getitem__)
    others = max((e for j, e in enumerate(entries) if j != k), default=entries[k])
    return k if len(terms) > 1 and entries[k] >= _STATE and entries[k] >= _TIMES * others else None


def places(terms: Sequence[Inds], output: Inds, sizes: Mapping[str, int], turned: int = 0) -> dict[str, float]:
    """Index -> where it belongs, 0 to 1: axes of the result and of a state are pinned, the others lie between their nodes.

    The nodes' places are the harmonic ones: each is the mean of its neighbours' and of the pinned axes that it carries.
    The last ``turned`` axes of result and state lie before the first, below 0.
    """
    big = large_term(terms, sizes)
    if len(terms) > _MANY_NODES:
        return {}
    pinned: dict[str, float] = {}
    for axes in (terms[big] if big is not None else (), output):
        here = [k - len(axes) if k >= len(axes) - turned else k for k in range(len(axes))]
        pinned |= {i: (k + 0.5) / len(axes) for k, i in zip(here, axes, strict=True)}
    nodes = [k for k in range(len(terms)) if k != big]
    row = {k: r for r, k in enumerate(nodes)}
    matrix, right = np.eye(len(nodes)) * 1e-9, np.full(len(nodes), 0.5e-9)  # what hangs on no pin stands in the middle
    users: dict[str, list[int]] = {}
    for k in nodes:
        for i in terms[k]:
            users.setdefault(i, []).append(k)
    for i, on in users.items():
        for a in on:
            if i in pinned:
                matrix[row[a], row[a]] += 1
                right[row[a]] += pinned[i]
            for b in on:
                if a != b:
                    matrix[row[a], row[a]] += 1
                    matrix[row[a], row[b]] -= 1
    where = np.linalg.solve(matrix, right) if nodes else np.empty(0)
    return {i: float(np.mean([where[row[k]] for k in on])) for i, on in users.items() if i not in pinned} | pinned


@np.errstate(over="ignore")  # what is beyond any float costs more than all else
def intervals(
    terms: Sequence[Inds], output: Inds, sizes: Mapping[str, int], bytes_weight: float = 168.0
) -> Path | None:
    """The cheapest tree whose every part is a run of nodes in the order of their places; None for too many nodes.

    By dynamic programming over runs (as for a chain of matrices), vectorised over where a run is cut.  The cost of a step is
    its operations plus ``bytes_weight`` times the entries of its result.
    """
    n = len(terms)
    if not 2 < n <= _MANY_NODES:
        return None
    rank = places(terms, output, sizes)
    order = sorted(range(n), key=lambda k: np.mean([rank[i] for i in terms[k]]) if terms[k] else 0.0)
    names = sorted({i for t in terms for i in t})
    carried = np.array([[i in terms[k] for i in names] for k in order])
    total = np.concatenate([np.zeros((1, len(names)), int), np.cumsum(carried, 0)])
    outside = total[-1] + np.array([i in output for i in names])
    logs = np.array([log2(sizes[i]) for i in names])  # not numpy's, which takes no size beyond 64 bits
    first, last = np.triu_indices(n + 1, 1)
    inside = total[last] - total[first]
    size = np.zeros((n + 1, n + 1))
    size[first, last] = ((inside > 0) & (inside < outside)) @ logs
    best, cut = np.zeros((n + 1, n + 1)), np.zeros((n + 1, n + 1), int)
    for length in range(2, n + 1):
        for a in range(n - length + 1):
            b = a + length
            m = np.arange(a + 1, b)
            here = (size[a, m] + size[m, b] + size[a, b]) / 2  # exact without hyperedges
            cost = best[a, m] + best[m, b] + 2 * 2.0**here
            pick = int(np.argmin(cost))
            best[a, b], cut[a, b] = cost[pick] + bytes_weight * 2.0 ** size[a, b], m[pick]
    steps: list[tuple[int, int]] = []
    done: dict[tuple[int, int], int] = {}
    stack = [(0, n)]
    while stack:
        a, b = stack[-1]
        halves = [(a, int(cut[a, b])), (int(cut[a, b]), b)]
        if b - a == 1:
            done[a, b] = order[a]
        elif all(h in done for h in halves):
            steps.append((done[halves[0]], done[halves[1]]))
            done[a, b] = n + len(steps) - 1
        else:
            stack += [h for h in halves if h not in done]
            continue
        stack.pop()
    return linear_path(steps, n)


# -- windows ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Window:
    gates: tuple[int, ...]
    axes: Inds  # of the state afterwards
    time: float
    turn: bool = False  # whether the order of the axes must be asked for
    alone: bool = False


@dataclass
class _WindowSearch:
    """The search: gates still to be applied -> cheapest windows, from one end of the state to the other."""

    gates: Mapping[int, Inds]
    sizes: Mapping[str, int]
    rank: Mapping[str, float]
    leftwards: bool
    ring: Sequence[Mapping[str, float]] = ()  # the places with the last k axes before the first

    def __post_init__(self) -> None:
        self.known: dict[frozenset[int], tuple[float, tuple[_Window, ...]] | None] = {}

    def best(self, left: frozenset[int], axes: Inds) -> tuple[float, tuple[_Window, ...]] | None:
        """Time and windows for the gates in ``left``, in nanoseconds an entry of the state; None if they cannot be applied."""
        if not left:
            return 0.0, ()
        if left not in self.known:
            found: tuple[float, tuple[_Window, ...]] | None = None
            for few in self.options(left, axes):
                rest = self.best(left.difference(*(w.gates for w in few)), few[-1].axes)
                time = sum(w.time for w in few)
                if rest is not None and (found is None or time + rest[0] < found[0]):
                    found = time + rest[0], (*few, *rest[1])
            self.known[left] = found
        return self.known[left]

    def options(self, left: frozenset[int], axes: Inds) -> list[tuple[_Window, ...]]:
        """Windows that begin at the foremost axis where one can, or behind it up to the first of a single gate."""
        ends = range(len(axes))
        found: dict[tuple[int, ...], _Window] = {}
        for end in reversed(ends) if self.leftwards else ends:
            for width in range(1, len(axes) + 1):
                a, b = (end - width + 1, end + 1) if self.leftwards else (end, end + width)
                if a < 0 or b > len(axes) or _entries(axes[a:b], self.sizes) > _LARGEST_WINDOW:
                    break
                window = self.window(left, axes, a, b, axes[end])
                if window is not None:
                    found.setdefault(window.gates, window)
            if any(len(gates) == 1 for gates in found):
                break
        windows = list(found.values()) or [w for g in sorted(left) if (w := self.alone(g, axes))][:1]
        turns = self.turns(left, axes) if self.ring and len(left) == len(self.gates) else []
        return [*((w,) for w in windows), *turns]

    def turns(self, left: frozenset[int], axes: Inds) -> list[tuple[_Window, ...]]:
        """Three windows that apply what joins the last axes to the first: the last go to the front and then back."""
        found = []
        for c in range(1, len(axes)):
            if _entries(axes[-c:], self.sizes) > _LARGEST_WINDOW:
                break
            self.rank = self.ring[c]
            away = self.window(left, axes, len(axes) - c, len(axes), axes[-1])
            single = [] if away is None else [self.only(g, axes, len(axes) - c) for g in away.gates]
            for one in (away, *single):
                if one is not None:
                    found += self.closed(left.difference(one.gates), self.turned(one, axes[-c:], -1))
        self.rank = self.ring[0]
        return found

    def only(self, g: int, axes: Inds, first: int) -> _Window | None:
        """One gate alone on the last axes."""
        return self.window(frozenset((g,)), axes, first, len(axes), axes[-1])

    def turned(self, window: _Window, block: Inds, way: int) -> _Window:
        """The window with its block of the axes, all that it leaves alone too, brought to the other end."""
        new = [i for i in window.axes if i in block or self.gates_of(window, i)]
        rest = tuple(i for i in window.axes if i not in new)
        n, k = _entries(new, self.sizes), _entries(block, self.sizes)
        time = self.time(k, n, _entries(rest, self.sizes), window.axes)
        return _Window(window.gates, (*new, *rest) if way < 0 else (*rest, *new), time, True)

    def gates_of(self, window: _Window, index: str) -> bool:
        return any(index in self.gates[g] for g in window.gates)

    def closed(self, left: frozenset[int], away: _Window) -> list[tuple[_Window, ...]]:
        """A window across the joint, and one that brings the axes back, after ``away``."""
        found: list[tuple[_Window, ...]] = []
        axes, rank = away.axes, self.rank
        joint = sum(rank[i] < 0 for i in axes)
        for b in range(joint + 1, len(axes)):
            if _entries(axes[joint - 1 : b], self.sizes) > _LARGEST_WINDOW:
                break
            across = self.window(left, axes, joint - 1, b, axes[joint - 1])
            if across is None:
                continue
            now, rest = across.axes, left.difference(across.gates)
            c = next((k for k, i in enumerate(now) if rank[i] >= 0), 0)
            if any(rank[i] < 0 for i in now[c:]):
                continue
            whole = self.window(rest, now, 0, c, now[0]) if c else None
            for g in () if whole is None else (whole.gates, *((g,) for g in whole.gates)):
                self.rank = self.ring[0]
                back = self.window(frozenset(g), now, 0, c, now[0])
                self.rank = rank
                if back is not None and set(back.gates) == set(g):
                    last = self.turned(back, now[:c], 1)
                    found.append((away, replace(across, turn=True), last))
        return found

    def window(self, left: frozenset[int], axes: Inds, a: int, b: int, needed: str) -> _Window | None:
        """All gates that act within the axes ``a`` to ``b``, one after another, if they use ``needed`` and a run of axes."""
        live, applied, outside = set(axes[a:b]), [], set(axes) - set(axes[a:b])
        waiting, found = sorted(left), True
        while found:
            found = False
            for g in list(waiting):
                inds = set(self.gates[g])
                if not inds & outside and self.fits(inds & live, inds - live):
                    live ^= inds
                    applied.append(g)
                    waiting.remove(g)
                    found = True
        k = tuple(i for i in axes[a:b] if any(i in self.gates[g] for g in applied))
        at = axes.index(k[0]) if k else 0
        if not k or needed not in k or axes[at : at + len(k)] != k:
            return None
        n = tuple(sorted(live - (set(axes[a:b]) - set(k)), key=lambda i: self.rank.get(i, 0.0)))
        columns = _entries(axes[at + len(k) :], self.sizes)
        time = self.time(_entries(k, self.sizes), _entries(n, self.sizes), columns, axes)
        return _Window(tuple(applied), (*axes[:at], *n, *axes[at + len(k) :]), time)

    def alone(self, g: int, axes: Inds) -> _Window | None:
        """One gate on axes that lie apart, which costs copies: the brick that closes a periodic wall."""
        shared = [i for i in axes if i in self.gates[g]]
        new = tuple(i for i in self.gates[g] if i not in shared)
        if not shared or not self.fits(set(shared), set(new)):
            return None
        rest = tuple(i for i in axes if i not in shared)
        return _Window((g,), tuple(sorted((*rest, *new), key=lambda i: self.rank.get(i, 0.0))), 8.0, alone=True)

    def fits(self, shared: set[str], new: set[str]) -> bool:
        return bool(shared) and _entries(tuple(new), self.sizes) <= _entries(tuple(shared), self.sizes)

    def time(self, k: int, n: int, columns: int, axes: Inds) -> float:
        """Nanoseconds an entry, forward and backward on average, fitted to what products of these shapes took."""
        large = _entries(axes, self.sizes) >= WIDENED
        if large and columns < LEAST_COLUMNS and k * columns <= WIDEST:  # a matrix over all of them
            k, n, columns = k * columns, n * columns, 1
        rows = 1.0 if k < 16 else 0.0
        return (
            n / 42  # the multiplications, at full speed
            + 0.55  # reading and writing the state
            + (
                rows if columns == 1 else 4.0 if columns < LEAST_COLUMNS else 50 / (k * columns)
            )  # short products, or a copy
            + 10_000 / _entries(axes, self.sizes)  # the call
        )


def windows(
    terms: Sequence[Inds], output: Inds, sizes: Mapping[str, int], leftwards: bool = False
) -> tuple[Path, dict[int, Inds]] | None:
    """Path that applies small tensors to a state window by window, from the first axis to the last or back.

    With it, the order of the axes after those steps where it is not that of their places.  None where there is no state, where
    an index is on more than two tensors, or where the gates cannot be applied without the state growing.
    """
    big = large_term(terms, sizes)
    count: dict[str, int] = {}
    for t in (*terms, output):
        for i in t:
            count[i] = count.get(i, 0) + 1
    if big is None or len(terms) > 4 * _MANY_NODES or any(c != 2 for c in count.values()):
        return None
    gates = {k: t for k, t in enumerate(terms) if k != big}
    rank = places(terms, output, sizes)
    ring: list[dict[str, float]] = []
    found = _best_way(_WindowSearch(gates, sizes, rank, leftwards), terms[big])
    if found is not None and any(w.alone for w in found[1]) and _entries(terms[big], sizes) >= WIDENED:
        ring = [rank, *(places(terms, output, sizes, c) for c in range(1, len(terms[big])))]
        found = _best_way(_WindowSearch(gates, sizes, rank, leftwards, ring), terms[big])
    if found is None:
        return None
    steps: list[tuple[int, int]] = []
    now = big

    def merge(a: int, b: int) -> int:
        steps.append((a, b))
        return len(terms) + len(steps) - 1

    orders: dict[int, Inds] = {}
    for window in found[1]:
        now = merge(reduce(merge, _nearest_gates(window.gates, gates)), now)
        if window.turn:
            orders[len(steps) - 1] = window.axes
    return linear_path(steps, len(terms)), orders


def _best_way(sweep: _WindowSearch, axes: Inds) -> tuple[float, tuple[_Window, ...]] | None:
    """The cheaper direction."""
    both = [
        replace(sweep, leftwards=way).best(frozenset(sweep.gates), axes)
        for way in (sweep.leftwards, not sweep.leftwards)
    ]
    # short products at one end may cost more than what steps that are sliced together save
    return min((w for w in both if w is not None), key=lambda w: w[0] + (_TURN if w is both[1] else 0.0), default=None)


def _nearest_gates(chosen: tuple[int, ...], gates: Mapping[int, Inds]) -> list[int]:
    """Gates of a window, each joined to what it shares most with: a window's matrix is made of a handful."""
    left, done = list(chosen[1:]), [chosen[0]]
    seen = set(gates[chosen[0]])
    while left:
        g = max(left, key=lambda k: len(seen & set(gates[k])))
        left.remove(g)
        done.append(g)
        seen ^= set(gates[g])
    return done
