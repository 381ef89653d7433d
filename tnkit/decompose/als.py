"""Fitting any multilinear network to a target: alternating least squares, with Gauss-Newton steps where it crawls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, log2, prod, sqrt
from typing import Any

from tnkit import init
from tnkit.core.checks import a_function, a_mapping, a_network
from tnkit.core.decomposition import Decomposition, Pair, network_of
from tnkit.core.network import Network
from tnkit.core.node import Node
from tnkit.core.numbers import real_number, whole_number
from tnkit.core.structure import check_multilinear
from tnkit.decompose.fitting import Problem, Progress, alternate, gauss_newton, stalled
from tnkit.decompose.ranks import check_tol
from tnkit.decompose.sweep import check_target
from tnkit.decompose.truncate import safely_scaled
from tnkit.execution.arrays import check_linear, double_name, dtype_name, is_complex
from tnkit.execution.backend import Backend
from tnkit.execution.inputs import check_arrays
from tnkit.execution.powers import times, unit
from tnkit.execution.run import run
from tnkit.planning.planner import plan

__all__ = [
    "Aim",
    "SearchOptions",
    "als",
    "check_array",
    "checked_options",
    "checked_target",
    "dense_goal",
    "fitted",
    "improve",
    "rescaled_start",
    "search",
]

#: Multiply-adds that Gauss-Newton steps may take: all of one start among others, all of the last run (some ten seconds).
_WORK_START, _WORK = 2e9, 4e10
#: Sweeps before steps that are dear.
_SWEEPS = 60
#: Entries up to which a target is fitted in double precision whatever its own: that is no dearer.
_SMALL = 2**14
#: Starts of one search: more are a number given by mistake.
_STARTS = 10**6
#: Up to this many nodes: a step contracts an environment of every two of them.
_NODES = 16
#: Three sweeps that lower the error by less than this part of it crawl.
_CRAWL = 0.1
#: Two starts whose errors differ by less than this part have found the same minimum, taken for the least there is.
_SAME = 1e-6
#: Weight of the arrays' norm when Gauss-Newton steps begin: large enough to leave swamps, too small to lead to zero.
_PULL = 0.3


def als(
    x: Any, net: Network | Pair, arrays: Mapping[str, Any] | None = None, *, sweeps: int = 300, tol: float | None = None,
    ridge: float = 1e-3, restarts: int = 8, seed: int = 0, callback: Callable[[int, float], Any] | None = None,
    backend: Backend | None = None,
) -> Decomposition:  # fmt: skip
    """Fit a network to an array by alternating least squares (Kolda and Bader 2009, section 3.4, for any network).

    >>> net = tk.ring((4, 4, 4), rank=2)
    >>> x = tk.contract(net, tk.init.normal(net))
    >>> found = tk.als(x, net, tol=1e-6)
    >>> found.error < 1e-6, found.network == net
    (True, True)
    >>> tk.ring_svd(x, rank=2).error > found.error  # singular values do not find it
    True

    One node at a time is set to the best array for the others, from its environment.  Where that crawls and the arrays are
    small (2000 parameters), Levenberg-Marquardt steps on all nodes take over; where they are large, sweeps are extrapolated.

    Parameters
    ----------
    x
        Array of shape ``net.shape``, real or complex.
    net
        Any multilinear network: loops, hyperedges, traces, open indices on several nodes, fixed nodes; or a Decomposition, for
        its network and its arrays.
    arrays
        Its fixed arrays (constants may be left out).  Those of the other nodes are the start: all of them or none.
    sweeps
        Most sweeps over the nodes and Gauss-Newton steps of the final run.
    tol
        Relative error that is good enough: the search ends there.
    ridge
        Weight of a node's old array in its step, times the error so far: lowered as the search converges, so that it biases
        nothing.
    restarts
        Starts (seeds ``seed``, ``seed + 1``, ...) of which the best after a short run is continued, when none is given.
    seed
        Of the starts (:func:`tnkit.init.normal`).
    callback
        ``callback(sweep, error)`` after each sweep and each Gauss-Newton step, counted from 1 over all starts (``restarts=1`` gives
        one curve); the error is that of the arrays at hand.  Where it returns a true value the search ends with the best so far.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    Decomposition
        ``net`` and all its arrays but constants, given fixed ones as they are and the others in the dtype and on the device
        of ``x``; the error is measured entry by entry.

    Raises
    ------
    TypeError
        No Network, or an array of another library.
    KeyError
        A fixed array, or some of a start, that is missing.
    ValueError
        A nonlinear or tied node; another shape than the network's (the index is named); no entries, or some not finite; a
        negative ``tol`` or ``ridge``, fewer than one sweep or start; an array that requires a gradient.
    """
    x, scale, backend = checked_target(x, "als", backend)
    network, arrays = network_of(net, arrays, "als")
    check_multilinear(a_network(network, "als"), "als")
    options = checked_options("als", sweeps, tol, ridge, restarts, seed, callback)
    for i, n in zip(network.output, x.shape, strict=False):
        if n != network.sizes[i]:
            raise ValueError(
                f"als: x has size {n} along index {i!r} (shape {tuple(x.shape)}), the network {network.shape}"
            )
    if len(x.shape) != len(network.output):
        raise ValueError(f"als: x has shape {tuple(x.shape)}, the network {network.shape} (indices {network.output})")
    start, count = dict({} if arrays is None else a_mapping(arrays, "als")), len(network.parameters)
    if not count:
        x, scale = x * scale, 1.0
    each = scale ** (1 / max(1, count))  # what every array takes of the target's scale
    start = rescaled_start(start, network.parameters, log2(scale), backend)
    found = fitted("als", network, start, dense_goal(x, network, backend), options, backend)
    for n in network.parameters:
        found = found.scaled(n, each)
    return found


def rescaled_start(start: dict[str, Any], names: Sequence[str], power: float, backend: Backend) -> dict[str, Any]:
    """A start of a target over two to a power: every array as large as every other, for the scale may be in one of them."""
    if not power:
        return start
    found = {n: unit(start[n], backend) for n in names if n in start and backend.holds(start[n])}
    total = sum(p for _, p in found.values())
    if len(found) < len(names) or not isfinite(total):
        return start  # no start, or one that is refused by name
    return start | {n: times(x, (total - power) / len(found), backend) for n, (x, _) in found.items()}


@dataclass(frozen=True)
class Aim:
    """What is fitted: a network, its norm, how the relative error of arrays is measured, the dtype of the result."""

    net: Network
    arrays: dict[str, Any]
    size: float
    error: Callable[[dict[str, Any]], float]
    dtype: str


def dense_goal(x: Any, net: Network, backend: Backend) -> Aim:
    """An array as what ``net`` is fitted to."""
    narrow, whole, size = dtype_name(x), plan(net), float(backend.norm(x))

    def error(arrays: dict[str, Any]) -> float:
        made = run(whole, {n: backend.cast(a, narrow) for n, a in arrays.items()}, backend)
        return float(backend.norm(x - made)) / size

    one = Network((Node("x", net.output),), net.output, {i: net.sizes[i] for i in net.output})
    wide = backend.cast(x, double_name(x)) if prod(net.shape) <= _SMALL else x
    return Aim(one, {"x": wide}, size, error, narrow)


def fitted(
    what: str, net: Network, given: Mapping[str, Any] | None, goal: Aim, options: SearchOptions, backend: Backend
) -> Decomposition:  # fmt: skip
    """Arrays of ``net`` that come nearest to a goal, from a start that is given or from several that are drawn."""
    like = next(iter(goal.arrays.values()))
    like = backend.cast(backend.zeros((1,), like), double_name(like))
    given = dict(given or {})
    full = _checked_start(what, net, given, like, backend)
    fixed = {n: backend.numpy(a) for n, a in full.items() if n not in net.parameters}

    def drawn(k: int) -> dict[str, Any]:
        std = goal.size / sqrt(prod(net.shape)) or 1.0
        made = init.normal(net, seed=options.seed + k, std=std, dtype=dtype_name(like), arrays=fixed)
        return full | {n: backend.like(made[n], like) for n in net.parameters}

    if not net.parameters or not goal.size:  # nothing to find, or zeros, which are what all arrays are so far
        arrays, error = full | {n: 0 * full[n] for n in net.parameters}, goal.error(full) if goal.size else 0.0
    elif given.keys() & set(net.parameters):
        error, arrays = search(net, goal, [full], replace(options, restarts=1), backend)
    else:
        error, arrays = search(net, goal, map(drawn, range(options.restarts)), options, backend)
    made = {n: backend.cast(arrays[n], goal.dtype) if n in net.parameters else given.get(n) for n in net.array_shapes}
    methods = {node.name: "als" for node in net.nodes if isinstance(node, Node) and not node.fixed}
    return Decomposition(net, {n: a for n, a in made.items() if a is not None}, error, methods)


def _checked_start(what: str, net: Network, given: Mapping[str, Any], like: Any, backend: Backend) -> dict[str, Any]:
    """All arrays in double precision: those given, constants, and zeros for those that are to be drawn."""
    missing = [n for n in net.parameters if n not in given]
    if missing and len(missing) < len(net.parameters):
        there = next(n for n in net.parameters if n in given)
        raise KeyError(f"{what}: a start has all arrays or none; {there!r} is there, {missing[0]!r} is not")
    zeros = {n: backend.zeros(net.array_shapes[n], like) for n in missing}
    wide = dict(given)
    for name, a in given.items():
        if backend.holds(a):  # what is not is named below
            check_array(name, a, what, backend)
            if is_complex(a) and not is_complex(like):
                raise ValueError(f"{what}: array {name!r} is {dtype_name(a)}, but the target is real")
            wide[name] = backend.cast(a, dtype_name(like))
    return check_arrays(net, {**zeros, **wide}, backend)


def search(
    net: Network, goal: Aim, starts: Iterable[dict[str, Any]], options: SearchOptions, backend: Backend
) -> tuple[float, dict[str, Any]]:  # fmt: skip
    """The best of the starts after a short run each, continued; a start that comes near enough is the last one.

    Returns
    -------
    float, dict
        Relative error and arrays.
    """
    count, sweeps, tol, ridge = options.restarts, options.sweeps, options.tol, options.ridge
    progress = options.progress
    found: list[tuple[float, Problem]] = []
    for arrays in starts:
        problem = Problem(net, arrays, goal.net, goal.arrays, goal.size, goal.error, backend, goal.dtype)
        cheap = _newton_steps(problem, _WORK_START)
        short = min(sweeps, 120 if cheap else 20) if count > 1 else 0
        found.append((improve(problem, short, min(cheap, short), tol, ridge, _PULL, progress)[-1], problem))
        found = sorted(found, key=lambda f: f[0])[:2]
        if found[0][0] <= max(tol, problem.resolved) or progress.stopped:
            break
        if len(found) > 1 and found[1][0] <= found[0][0] * (1 + _SAME):
            break
    error, problem = found[0]
    left = 0 if progress.stopped else sweeps - short
    if not cheap and left:  # steps are dear: only where sweeps do not get there
        errors = improve(problem, min(left, _SWEEPS), 0, tol, ridge, 0.0, progress)
        error, left = errors[-1], left - _SWEEPS if len(errors) > _SWEEPS else 0
    if left > 0 and not progress.stopped:
        pull = 0.0 if cheap and count > 1 else _PULL
        error = improve(problem, left, _newton_steps(problem, _WORK), tol, ridge, pull, progress)[-1]
    return error, problem.arrays


def _newton_steps(problem: Problem, work: float) -> int:
    """Gauss-Newton steps that this many multiply-adds pay for (a system takes n^3 / 3); too few to be of use are none."""
    steps = int(3 * work / problem.unknowns**3)
    return steps if steps >= 24 and len(problem.nodes) <= _NODES else 0


def improve(
    problem: Problem, sweeps: int, jumps: int, tol: float, ridge: float, pull: float, progress: Progress
) -> list[float]:
    """Lower a problem's error by sweeps; where they crawl, by Gauss-Newton steps, at most ``jumps``.

    Returns
    -------
    list
        The errors after each sweep or step.
    """
    tol = max(tol, problem.resolved)
    errors, stride = [problem.error()], 1.0
    least = 1e-6 if jumps else 1e-5  # on large arrays a sweep that gains so little is not worth its time
    while len(errors) <= sweeps and errors[-1] > tol and not stalled(errors, least):
        before = dict(problem.arrays)
        # round and round: to and fro would do the ends twice, and leave no direction to go on in
        for node in problem.order:
            alternate(problem, node, ridge * min(1.0, errors[-1]))
        errors.append(problem.error())
        if not jumps and len(errors) > 3:
            stride = _extrapolate(problem, before, errors, stride)
        if progress.told(errors[-1]):
            break
        if jumps and stalled(errors, _CRAWL, 3):
            return errors + gauss_newton(problem, min(jumps, sweeps + 1 - len(errors)), tol, pull, progress)
    return errors


def _extrapolate(problem: Problem, before: dict[str, Any], errors: list[float], stride: float) -> float:
    """Go on in a sweep's direction where that lowers the error; how far to try next (Rajih, Comon and Harshman 2008)."""
    after = problem.arrays
    ahead = {n: a + stride * (a - before[n]) for n, a in after.items()}
    error = problem.measure(ahead)
    if not error < errors[-1]:
        return max(0.5, 0.4 * stride)
    problem.set_all(ahead)
    errors[-1] = error
    return min(1.6 * stride, 50.0)


# -- checks -----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class SearchOptions:
    """What a search is told: as Python's own numbers."""

    sweeps: int
    tol: float
    ridge: float
    restarts: int
    seed: int
    progress: Progress


def checked_options(
    what: str, sweeps: Any, tol: Any, ridge: Any, restarts: Any, seed: Any, callback: Any
) -> SearchOptions:
    """What a search is told, or an error that names it."""
    return SearchOptions(
        whole_number(sweeps, f"{what}: sweeps", 1),
        check_tol(tol, what),
        real_number(ridge, f"{what}: ridge", positive=False),
        whole_number(restarts, f"{what}: restarts", 1, _STARTS),
        whole_number(seed, f"{what}: seed", 0),
        Progress(None if callback is None else a_function(callback, f"{what}: callback")),
    )


def checked_target(x: Any, what: str, backend: Backend | None) -> tuple[Any, float, Backend]:
    """A target in the range of its squares, what it was divided by, and its library; see :func:`als` for what is refused."""
    x, backend = check_target(x, what, backend)
    if backend.tracked(x):
        raise ValueError(f"{what}: x requires a gradient, which does not pass through iterations; detach it")
    x, _, scale = safely_scaled(x, what, backend)
    return x, scale, backend


def check_array(name: str, a: Any, what: str, backend: Backend) -> None:
    """A given array: of numbers, without a gradient, and finite."""
    if reason := backend.unread(a):
        raise TypeError(f"{what}: array {name!r} {reason}")
    check_linear(name, a, what)
    if backend.tracked(a):
        raise ValueError(
            f"{what}: array {name!r} requires a gradient, which does not pass through iterations; detach it"
        )
    if not bool(backend.numpy(backend.xp.all(backend.xp.isfinite(a)))):
        raise ValueError(f"{what}: array {name!r} has entries that are not finite")
