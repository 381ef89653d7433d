"""The least-squares problem of a multilinear network and a target, and the two steps that lower its error.

The target and the model are both networks (a dense array is a network of one node), so one implementation serves both.
Two closed networks hold all that is needed: <model|target> and <model|model>.  Their environments give the gradient by each
node, and environments of two nodes give the blocks of the Gauss-Newton matrix; an alternating step solves one block on its
diagonal, a Gauss-Newton step the whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import hypot, prod
from typing import Any

import numpy as np

from tnkit.core.names import renamed
from tnkit.core.network import Network
from tnkit.core.node import Node
from tnkit.decompose.messages import Messages
from tnkit.execution.arrays import conj, dtype_name, real
from tnkit.execution.backend import Backend

__all__ = ["Problem", "Progress", "alternate", "gauss_newton", "stalled"]

Arrays = dict[str, Any]

#: Least weight of the old array in a step, relative to the mean of the normal matrix's diagonal: keeps solvable what is
#: singular because a bond is larger than it needs to be.  In single precision the gradient's rounding would else fill the
#: directions in which nothing is gained.
_FLOOR, _FLOOR_SINGLE = 1e-13, 1e-6
#: Gauss-Newton steps in which the arrays' own norm counts, half as much in each.
_PULLS = 30


@dataclass
class Progress:
    """Who is told the error of each sweep, and whether to go on.

    Attributes
    ----------
    callback
        ``callback(sweep, error)``, whose true answer ends the search; or None.
    lost, part
        The error of the whole is ``hypot(lost, part * error)`` of what is fitted.
    sweep
        Sweeps so far, of all starts.
    stopped
        Whether the search is to end.
    """

    callback: Callable[[int, float], Any] | None = None
    lost: float = 0.0
    part: float = 1.0
    sweep: int = 0
    stopped: bool = False

    def told(self, error: float) -> bool:
        """Tell an error; whether the search is to end."""
        if self.callback is not None and not self.stopped:
            self.sweep += 1
            self.stopped = bool(self.callback(self.sweep, hypot(self.lost, self.part * error)))
        return self.stopped


@dataclass(frozen=True)
class _NodeAxes:
    """The axes of a node: shared open ones (solved apart), summed ones (the unknowns), its own open ones (columns)."""

    apart: tuple[str, ...]
    rows: tuple[str, ...]
    columns: tuple[str, ...]


class Problem:
    """min ||target - net||, and the arrays that the search stands at.

    Parameters
    ----------
    net
        A multilinear network without ties.
    arrays
        Array name -> array of a wide dtype, constants included.
    target, target_arrays
        A multilinear network of the same shape, of the dtype that its contractions are to run in.
    size
        Norm of the target.
    error
        ``error(arrays)``: the relative error of ``net`` with other arrays.
    backend
        The array library.
    dtype
        What the result will be cast to: no error below its rounding is looked for.
    """

    def __init__(
        self, net: Network, arrays: Arrays, target: Network, target_arrays: Arrays, size: float,
        error: Callable[[Arrays], float], backend: Backend, dtype: str = "float64",
    ) -> None:  # fmt: skip
        self.backend, self.size, self._error = backend, size, error
        self.resolved = 2e-7 if dtype in ("float32", "complex64") else 1e-12  # an error that is rounding
        self.arrays = dict(arrays)
        model, eyes = _plain(renamed(net, "n"))
        twin = model.relabel(lambda i: i if i.startswith("o.") else f"c{i}", lambda n: f"c{n}")
        goal = renamed(target, "t")
        self.wide = dtype_name(next(iter(arrays.values())))
        self.narrow = dtype_name(next(iter(target_arrays.values())))
        self.floor = _FLOOR if self.narrow == self.wide else _FLOOR_SINGLE
        given = {f"n.{node.name}": arrays[node.array] for node in net.nodes if isinstance(node, Node)}
        given |= {name: backend.like(eye, next(iter(arrays.values()))) for name, eye in eyes.items()}
        bras = {f"c{n}": self.conj(x) for n, x in given.items()}
        sizes = {**model.sizes, **twin.sizes}
        self.gram = Messages(Network((*model.nodes, *twin.nodes), (), sizes), {**given, **bras}, backend)
        both = Network((*goal.nodes, *twin.nodes), (), {**goal.sizes, **twin.sizes})
        fixed = {
            node.name: target_arrays[node.array.removeprefix("t.")] for node in goal.nodes if isinstance(node, Node)
        }
        self.right = Messages(both, {**fixed, **{n: self._narrowed(x) for n, x in bras.items()}}, backend)
        self.nodes = {node.name: node for node in net.nodes if isinstance(node, Node) and not node.fixed}
        self.inds = {name: model[f"n.{name}"].inds for name in self.nodes}
        self.lone = len(model.nodes) == 1
        self.open = {name: _node_axes(model, f"n.{name}") for name in self.nodes}
        self.sizes, self.entries = model.sizes, prod(net.shape)
        order = {leaf: k for k, leaf in enumerate(_depth_first(self.right))}
        self.order = sorted(self.nodes, key=lambda n: order[self.right.leaf[f"cn.{n}"]])

    def conj(self, x: Any) -> Any:
        """The complex conjugate; of real arrays, the array."""
        return conj(x, self.backend)

    def _narrowed(self, x: Any) -> Any:
        return x if self.narrow == self.wide else self.backend.cast(x, self.narrow)

    def widened(self, x: Any) -> Any:
        """In the dtype that systems are solved in."""
        return x if self.narrow == self.wide else self.backend.cast(x, self.wide)

    def array(self, node: str) -> Any:
        """The node's array."""
        return self.arrays[self.nodes[node].array]

    def set(self, node: str, array: Any) -> None:
        """Give a node another array."""
        self.arrays[self.nodes[node].array] = array
        bra = self.conj(array)
        self.gram.set(f"n.{node}", array)
        self.gram.set(f"cn.{node}", bra)
        self.right.set(f"cn.{node}", self._narrowed(bra))

    def set_all(self, arrays: Arrays) -> None:
        """Give every node another array."""
        for name, node in self.nodes.items():
            self.set(name, arrays[node.array])

    @cached_property
    def unknowns(self) -> int:
        """Entries of all arrays that are sought."""
        return sum(prod(self.array(n).shape) for n in self.nodes)

    def block(self, row: str, column: str) -> Any:
        """Derivative of the gradient by ``row`` by the array of ``column``, as a matrix."""
        rows = tuple(i if i.startswith("o.") else f"c{i}" for i in self.inds[row])
        columns = tuple(f"v{i}" if i.startswith("o.") and i in rows else i for i in self.inds[column])
        eyes = {
            f"eye {i}": (self._eye(self.sizes[i]), (i, f"v{i}")) for i in rows if f"v{i}" in columns
        } | self._one()  # fmt: skip
        found = self.gram.between(f"n.{column}", f"cn.{row}", (*rows, *columns), eyes)
        return self.backend.reshape(found, prod(found.shape[: len(rows)]), -1)

    def normal(self, node: str) -> Any:
        """The normal matrices of one node, of shape (apart, rows, rows)."""
        split = self.open[node]
        output = (*split.apart, *(f"c{i}" for i in split.rows), *split.rows)
        found = self.gram.between(f"n.{node}", f"cn.{node}", output, self._one())
        size = prod(self.sizes[i] for i in split.rows)
        return self.backend.reshape(found, -1, size, size)

    def _one(self) -> dict[str, tuple[Any, tuple[str, ...]]]:
        """A node without neighbours has the number 1 as its environment, which takes a node to say."""
        return {"one": (self.backend.reshape(self._eye(1)), ())} if self.lone else {}

    def _eye(self, size: int) -> Any:
        return self.backend.like(np.eye(size), next(iter(self.arrays.values())))

    def gradient(self, node: str) -> Any:
        """<d model|target - model>: the steepest descent of half the squared error, of the node's shape."""
        return self.widened(self.right.into(f"cn.{node}")) - self.gram.into(f"cn.{node}")

    def error(self) -> float:
        """The relative error where the search stands."""
        return self.measure(self.arrays)

    def measure(self, arrays: Arrays) -> float:
        """The relative error of other arrays, infinite where they overflow."""
        with np.errstate(over="ignore", invalid="ignore"):
            error = self._error(arrays)
        return error if error < np.inf else np.inf

    def mass(self, arrays: Arrays) -> float:
        """Sum of the squares of all sought entries."""
        norms = (self.backend.norm(arrays[node.array]) for node in self.nodes.values())
        return float(sum(float(n) ** 2 for n in norms))


def _plain(model: Network) -> tuple[Network, dict[str, np.ndarray]]:
    """The model with every index of a sought node carried by another one too, by constants that change nothing.

    A trace becomes two indices and a delta, an index that is summed on the node alone gets a node of ones.
    """
    nodes: list[Node] = []
    more: list[Node] = []
    arrays: dict[str, np.ndarray] = {}
    sizes = dict(model.sizes)
    for node in model.nodes:
        assert isinstance(node, Node)
        inds: list[str] = []
        for k, i in enumerate(node.inds):
            alone = model.edges[i].count(node.name) == len(model.edges[i]) and i not in model.output
            name = i
            if not node.fixed and i in node.inds[:k]:
                name = f"{i}.{k}.{node.name}" if not i.startswith("o.") else f"n{i}.{k}.{node.name}"
                sizes[name] = sizes[i]
                more.append(Node(f"{node.name}.delta.{k}", (i, name), fixed=True))
                arrays[more[-1].name] = np.eye(sizes[i])
            elif not node.fixed and alone and node.inds.count(i) == 1:
                more.append(Node(f"{node.name}.ones.{k}", (i,), fixed=True))
                arrays[more[-1].name] = np.ones(sizes[i])
            inds.append(name)
        nodes.append(Node(node.name, tuple(inds), fixed=bool(node.fixed)))
    return Network((*nodes, *more), model.output, sizes), arrays


def _node_axes(model: Network, name: str) -> _NodeAxes:
    inds = model[name].inds
    shared = {i for i in inds if len(model.edges[i]) > 1}
    return _NodeAxes(
        tuple(i for i in inds if i in model.output and i in shared),
        tuple(i for i in inds if i not in model.output),
        tuple(i for i in inds if i in model.output and i not in shared),
    )


def _depth_first(messages: Messages) -> list[int]:
    """The leaves in an order in which neighbours share what is behind them."""
    found, todo = [], [(len(messages.near) - 1, -1)]
    while todo:
        u, before = todo.pop()
        if u < len(messages.inds):
            found.append(u)
        todo += [(v, u) for v in messages.near[u] if v != before]
    return found


# -- steps ----------------------------------------------------------------------------------------------------------
def alternate(problem: Problem, node: str, ridge: float) -> None:
    """Set one node's array to the best one, the others as they are.

    ``(N + ridge I) step = gradient``: the ridge holds the array where it is, so that it biases nothing once steps vanish.
    """
    backend, split = problem.backend, problem.open[node]
    inds, old = problem.inds[node], problem.array(node)
    order = (*split.apart, *split.rows, *split.columns)
    axes = tuple(inds.index(i) for i in order)
    sizes = [problem.sizes[i] for i in order]
    rows = prod(problem.sizes[i] for i in split.rows)
    apart = prod(problem.sizes[i] for i in split.apart)
    wanted = problem.widened(problem.right.into(f"cn.{node}"))
    normal = problem.normal(node)
    now = backend.reshape(backend.permute(old, axes), apart, rows, -1)
    gradient = backend.reshape(backend.permute(wanted, axes), apart, rows, -1) - backend.xp.matmul(normal, now)
    scale = float(real(backend.xp.sum(backend.diagonal(normal, 1, 2)), backend)) / (apart * rows)
    if not scale > 0:
        return  # the other nodes contract to zero: no array is better than another
    system = normal + max(ridge, problem.floor) * scale * problem._eye(rows)
    found = backend.reshape(now + backend.xp.linalg.solve(system, gradient), *sizes)
    problem.set(node, backend.permute(found, tuple(order.index(i) for i in inds)))


def gauss_newton(problem: Problem, steps: int, tol: float, pull: float, progress: Progress) -> list[float]:
    """Levenberg-Marquardt steps on all arrays at once (Tomasi and Bro 2006 for CP), until none helps.

    Parameters
    ----------
    problem
        Left at the best arrays that were met.
    steps
        Most steps.
    tol
        Relative error at which to stop.
    pull
        Weight of the arrays' own norm in what is lowered, relative to the target's, and halved at each of the first steps:
        it keeps terms from growing against each other, in which plain steps crawl.
    progress
        Is told each error.

    Returns
    -------
    list
        The least error so far, after each step.
    """
    _balance(problem)
    best = state = problem.error(), dict(problem.arrays)
    weight = pull * problem.size**2 / max(problem.mass(state[1]), 1e-300)
    pulls = [weight / 2**k for k in range(_PULLS if pull else 0)]
    errors, damping = [state[0]], 1e-3
    for k in range(steps):
        weight = pulls[k] if k < len(pulls) else 0.0
        least = min(1e-5, 1e-3 * errors[-1])  # what is small already is likelier on its way to zero than noise
        if errors[-1] <= tol or (not weight and stalled(errors[len(pulls) :], least)):
            break
        if k == len(pulls) and state[0] > best[0]:
            state = best  # the pull led nowhere
            problem.set_all(state[1])
        found = _damped(problem, state, weight, damping)
        if found is not None:
            state, damping = found[0], max(found[1] / 5, 1e-12)
            problem.set_all(state[1])
            best = min(best, state, key=lambda s: s[0])
        elif not weight:
            break
        errors.append(best[0])
        if progress.told(errors[-1]):
            break
    if state[0] > best[0]:
        problem.set_all(best[1])
    return errors


def _damped(
    problem: Problem, state: tuple[float, Arrays], weight: float, damping: float
) -> tuple[tuple[float, Arrays], float] | None:
    """A step that lowers the error (and the arrays' norm, by ``weight``), with the damping it took; None if none does."""
    backend, nodes = problem.backend, list(problem.nodes)
    error, arrays = state
    matrix, scale = _all_normal_matrices(problem, nodes)
    gradient = backend.concat([backend.reshape(problem.gradient(n) - weight * problem.array(n), -1) for n in nodes], 0)
    counts = [prod(problem.array(n).shape) for n in nodes]
    ends = [0, *accumulate(counts)]
    now = (error * problem.size) ** 2 + weight * problem.mass(arrays)
    while damping < 1e8:
        held = backend.like(np.repeat(scale * (damping + problem.floor) + weight, counts), matrix)
        step = backend.xp.linalg.solve(matrix + held * backend.eye(held.shape[0], matrix), gradient)
        moved = dict(arrays)
        for k, n in enumerate(nodes):
            old = problem.array(n)
            moved[problem.nodes[n].array] = old + backend.reshape(step[ends[k] : ends[k + 1]], *old.shape)
        error = problem.measure(moved)
        if (error * problem.size) ** 2 + weight * problem.mass(moved) < now:
            return (error, moved), damping
        damping *= 8
    return None


def _balance(problem: Problem) -> None:
    """One norm for all sought arrays: what multiplies out to 1 is no matter to the result, but is to the damping."""
    norms = {n: float(problem.backend.norm(problem.array(n))) for n in problem.nodes}
    if all(0 < v < np.inf for v in norms.values()):
        mean = float(np.exp(np.mean(np.log(list(norms.values())))))
        for n, v in norms.items():
            problem.set(n, problem.array(n) * (mean / v))


def _all_normal_matrices(problem: Problem, nodes: list[str]) -> tuple[Any, np.ndarray]:
    """The Gauss-Newton matrix, and for each node the mean of its part of the diagonal (1 where that is 0)."""
    backend, blocks = problem.backend, {}
    for k, row in enumerate(nodes):
        for column in nodes[: k + 1]:
            blocks[row, column] = problem.block(row, column)
            if row != column:
                blocks[column, row] = problem.conj(backend.swap(blocks[row, column]))
    matrix = backend.concat([backend.concat([blocks[row, column] for column in nodes], 1) for row in nodes], 0)
    means = [
        float(real(backend.xp.sum(backend.diagonal(blocks[n, n], 0, 1)), backend)) / blocks[n, n].shape[0]
        for n in nodes
    ]
    return matrix, np.array([m if m > 0 else 1.0 for m in means])


def stalled(errors: list[float], least: float, over: int = 5) -> bool:
    """Whether the last steps lowered the error by less than a part ``least`` of it."""
    return len(errors) > over and errors[-1 - over] - errors[-1] <= least * errors[-1 - over]
