"""The scale of a network's regions: measured and set in one pass, from the innermost region to the outermost.

Each region's value is computed once and used by the next, so the pass costs about one forward.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, inf, isfinite, log, prod
from typing import Any

import numpy as np

from tnkit.core.activations import ACTIVATIONS, function
from tnkit.core.checks import a_mapping, a_network
from tnkit.core.names import unused
from tnkit.core.network import Elementwise, Network, inside_out, levels
from tnkit.core.node import Node
from tnkit.core.pairing import paired
from tnkit.core.spelling import function_name
from tnkit.core.structure import only_function
from tnkit.execution.codegen import execute
from tnkit.execution.elementwise import BLOCK, blockwise, in_place
from tnkit.execution.inputs import check_arrays, constant
from tnkit.execution.library import values
from tnkit.execution.log_rms import crossing, log_rms, value_blocks
from tnkit.execution.numpy import NUMPY
from tnkit.execution.run import run
from tnkit.planning.plan import Plan
from tnkit.planning.planner import plan
from tnkit.planning.steps import Program, ReduceStep, last_use, renumbered

__all__ = ["Arrays", "UnreachableError", "calibrated", "rms"]

Arrays = dict[str, np.ndarray]

#: Above so many entries the norm is contracted as a network <T, T> instead of forming the tensor, unless an array is as large.
_FORM = 2**22
#: Tensors of up to so many entries are measured in double precision, whatever dtype is asked for.
_WIDE = 2**20


@paired
def rms(net: Network, arrays: Mapping[str, Any]) -> float:
    """Root mean square of the contracted tensor's entries.

    >>> net = tk.tt((4, 4, 4), 2)
    >>> round(tk.init.rms(net, tk.init.normal(net, std=0.02)), 6)
    0.02

    Multilinear networks larger than 2^22 entries are measured by contracting <T, T>, so the tensor is never formed.

    Raises
    ------
    KeyError, TypeError, ValueError
        From :func:`tnkit.check_arrays`.
    """
    full = check_arrays(
        a_network(net, "rms"), {n: _wide(values(n, a, "rms")) for n, a in a_mapping(arrays, "rms").items()}
    )
    if not net.multilinear:
        return exp(log_rms(np.asarray(run(plan(net), full))))
    found = _Scaled(net, full, [leaf.array for leaf in net.leaves]).log_rms(_forms(net, full))
    return exp(found) if found < 709 else inf


def calibrated(
    net: Network, arrays: Arrays, std: float | None, kind: np.dtype[Any] | None, amplitude: float = 1.0,
    held: Collection[str] = (),
) -> Arrays:  # fmt: skip
    """The arrays with trained ones rescaled: root mean square ``amplitude`` before each activation, ``std`` at the end.

    Large tensors are formed in ``kind`` (None: in the arrays' own precision).  Arrays that are ``held`` stay as they are.
    """
    try:
        return _Calibration(net, arrays, kind, True, amplitude, held).run(std)
    except _OutOfRangeError:  # rare: again, in double precision, with what a search for other factors needs
        return _Calibration(net, arrays, None, False, amplitude, held).run(std)


class UnreachableError(ValueError):
    """A root mean square that no scale of its arguments gives the outermost function."""


class _OutOfRangeError(Exception):
    """A region's tensor came out as 0 or past the largest float, or a function's values all as 0."""


@dataclass
class _Calibration:
    """One pass: the arrays so far, and the values of bodies that their function has not used yet."""

    net: Network
    arrays: Arrays
    kind: np.dtype[Any] | None
    lean: bool  # the value of a function is let go of as soon as it is used
    amplitude: float = 1.0  # root mean square before each activation
    held: Collection[str] = ()  # arrays that stay as they are
    values: dict[int, np.ndarray] = field(default_factory=dict)
    factors: dict[int, float] = field(default_factory=dict)  # what the values are still to be multiplied by
    own: dict[int, list[str]] = field(default_factory=dict)
    functions: list[tuple[Network, Elementwise]] = field(default_factory=list)  # those outermost

    def __post_init__(self) -> None:
        uses: dict[str, set[int]] = {}
        for region in levels(self.net):
            for node in region.nodes:
                if isinstance(node, Node):
                    uses.setdefault(node.array, set()).add(id(region))
        self.once = {name for name, where in uses.items() if len(where) == 1} & set(self.net.parameters) - set(
            self.held
        )
        self.arrays = dict(self.arrays)

    def run(self, std: float | None) -> Arrays:
        """The arrays to scale."""
        self.functions = _outermost_functions(self.net) if std is not None else []
        later = {id(region) for region, _ in self.functions}
        for region in (part for part in inside_out(self.net) if isinstance(part, Network)):
            if region is self.net:
                self.outermost(std)
            elif id(region) not in later:  # a function of a function is measured with the outermost one
                self.inner(region)
        return self.arrays

    def measured(self, net: Network, form: bool | None = None) -> tuple[_Scaled, list[str], float]:
        """A region, which of its arrays scale it, and the log of its root mean square."""
        region, local = self.region(net)
        own = [n.array for n in region.nodes if isinstance(n, Node) and n.array in self.once]
        found = _Scaled(region, local, own, self.kind, self.lean)
        return found, own, found.log_rms(_forms(region, local) if form is None else form)

    def region(self, net: Network) -> tuple[Network, Arrays]:
        """The network with the value of a function in the place of each, and the arrays of it all."""
        nodes: list[Node] = []
        local: Arrays = {}
        for node in net.nodes:
            if isinstance(node, Elementwise):
                local[node.name] = self.applied(node)
                nodes.append(Node(node.name, node.inds, fixed=True))
            else:
                nodes.append(node)
                given = node.array in self.arrays
                local[node.array] = self.arrays[node.array] if given else constant(str(node.fixed), _shape(node, net))
        return Network(tuple(nodes), net.output, net.sizes), local

    def scale(self, own: Sequence[str], log_factor: float) -> None:
        """Share a factor out over arrays; in halves, for it may be past the largest float."""
        half = exp(log_factor / (2 * len(own))) if log_factor > -inf else 0.0
        with np.errstate(all="ignore"):
            made = {name: self.arrays[name] * half * half for name in set(own)}
        if half and not all(_kept(made[n], self.arrays[n]) for n in made):
            made = _levelled({n: self.arrays[n] for n in made}, Counter(own), log_factor)
        self.arrays |= made

    def inner(self, net: Network) -> None:
        """Scale a body's arrays; its value is kept for its function."""
        found, own, size = self.measured(net, True)
        assert found.value is not None
        if own and isfinite(size):
            by = log(self.amplitude) - size
            self.scale(own, by)
            self.factors[id(net)] = exp(found.shift + by)
        self.values[id(net)], self.own[id(net)] = found.value, own

    def outermost(self, std: float | None) -> None:
        if only_function(self.net) is not None:
            if std is not None:
                self.reach(std)
            return
        if not any(isinstance(n, Node) and n.array in self.once for n in self.net.nodes):
            return
        _, own, size = self.measured(self.net)
        if isfinite(size):
            self.scale(own, (log(1.0 if std is None else std) if std != 0 else -inf) - size)

    def value_of(self, body: Network) -> np.ndarray:
        """A body's value, taken out."""
        value = self.values.pop(id(body))
        if id(body) in self.factors:
            value *= np.asarray(self.factors.pop(id(body)), value.dtype)
        return value

    def values_for(self, node: Elementwise) -> list[np.ndarray]:
        """The values of its bodies, all with the axes of the first, taken out."""
        return [np.transpose(self.value_of(body), _axes(body.output, node.inds)) for body in node.bodies]

    def applied(self, node: Elementwise) -> np.ndarray:
        """The value of a function; a ReLU of nothing but negative entries is given the other sign, as good a draw, and alive."""
        if (
            self.lean
            and len(node.bodies) == 1
            and self.values[id(node.bodies[0])].size > BLOCK
            and node.fn in ACTIVATIONS
        ):
            value = self.values.pop(id(node.bodies[0]))
            if not in_place(str(node.fn), value, self.factors.pop(id(node.bodies[0]), 1.0)):
                raise _OutOfRangeError  # its argument is gone, and the other sign is wanted
            return value
        plain = self.values_for(node)
        value = _applied(node.fn, plain)
        if value.any() or len(node.bodies) > 1:
            return value
        names = self.own[id(node.bodies[0])]
        odd = next((n for n in names if names.count(n) % 2), None)
        if odd is None:
            return value
        self.arrays[odd] = -self.arrays[odd]
        return _applied(node.fn, [-plain[0]])

    def reach(self, std: float) -> None:
        """Scale what the outermost function is given until its own root mean square is ``std``.

        Where it is given functions, it is what these are given that is scaled.
        """
        taken = [body for _, node in self.functions for body in node.bodies if only_function(body) is None]
        node = self.functions[0][1]
        where = f"init: std {std:g} cannot be reached: the outermost node {node.name!r} is {function_name(node.fn)}"
        if not all(self.own[id(body)] for body in taken):
            raise UnreachableError(f"{where}, and no trained array scales its argument")
        size = self.size_at(node) if len(self.functions) == 1 else self.size_of_functions_at(taken)
        found = crossing(lambda t: size(exp(t)), log(std)) if std else -inf if size(0.0) == -inf else None
        if found is None:
            raise UnreachableError(f"{where}, whose values do not get there; use std=None, or an array after it")
        for body in taken:
            self.scale(self.own[id(body)], found)

    def size_at(self, node: Elementwise) -> Callable[[float], float]:
        """The log of a function's root mean square, at a factor of all that it takes."""
        plain = self.values_for(node)
        return lambda factor: log_rms(value_blocks(node.fn, plain, factor))

    def size_of_functions_at(self, taken: Sequence[Network]) -> Callable[[float], float]:
        """The same of functions of functions, all computed at each factor."""
        leaves = {id(body): self.value_of(body) for body in taken}
        leaves = {key: np.asarray(x, np.result_type(x, np.float64)) for key, x in leaves.items()}

        def size(factor: float) -> float:
            with np.errstate(all="ignore"):
                made = {key: x * factor for key, x in leaves.items()}
                for region, node in reversed(self.functions):
                    given = [np.transpose(made.pop(id(body)), _axes(body.output, node.inds)) for body in node.bodies]
                    made[id(region)] = np.transpose(_applied(node.fn, given), _axes(node.inds, region.output))
            return log_rms(made[id(self.net)])

        return size


def _axes(have: Sequence[str], want: Sequence[str]) -> list[int]:
    """Where each wanted index stands."""
    return [have.index(i) for i in want]


def _outermost_functions(net: Network) -> list[tuple[Network, Elementwise]]:
    """The network, if it is a function, and those inside that such a function is given and that are functions too: inner ones later."""
    found, todo = [], [net]
    while todo:
        node = only_function(region := todo.pop())
        if node is not None:
            found.append((region, node))
            todo += node.bodies
    return found


class _Scaled:
    """A multilinear region, its arrays, and by which factor, e^shift, what is formed of them is smaller than the true value."""

    def __init__(
        self, net: Network, arrays: Arrays, own: Sequence[str], kind: np.dtype[Any] | None = None, lean: bool = False
    ) -> None:
        self.net, self.arrays, self.own, self.kind, self.lean = net, arrays, own, kind, lean
        self.value: np.ndarray | None = None
        self.shift = 0.0

    def log_rms(self, form: bool) -> float:
        """Log of the root mean square; in double precision, and with other factors, where it is 0 or past the largest float."""
        measure = self.formed if form else self.norm
        narrow = prod(self.net.shape) > _WIDE and self.kind is not None
        size = measure(self.arrays, self.kind if narrow else None)
        if isfinite(size) or not self.own:
            return size
        if self.lean:
            raise _OutOfRangeError
        return self.searched(measure)

    def searched(self, measure: Callable[[Arrays, Any], float]) -> float:
        """The same with the arrays as large as another, times a factor that is searched until the result is a number."""
        logs = {n: log_rms(self.arrays[n]) for n in self.own}
        if not all(map(isfinite, logs.values())):
            return -inf
        total, low, high, at, step = sum(logs[n] for n in self.own), -inf, inf, 0.0, 0.5
        for _ in range(60):
            if abs(at) > 700:  # e^at is no float: the tensor is zero whatever the size of its arrays
                break
            unit = {n: a * exp(-logs[n] / 2) * exp(-logs[n] / 2 + at) for n, a in self.arrays.items() if n in logs}
            size = measure({**self.arrays, **unit}, None)
            self.shift = total - len(self.own) * at
            if isfinite(size):
                return size + self.shift
            low, high = (at, high) if size == -inf else (low, at)
            step *= 2
            at = (low + high) / 2 if low > -inf and high < inf else low + step if low > -inf else high - step
        return -inf

    def formed(self, arrays: Arrays, kind: np.dtype[Any] | None) -> float:
        """By forming the tensor, which is left in ``value``."""
        way = plan(self.net)
        given = {name: a.astype(_working(a, kind), copy=False) for name, a in arrays.items()}
        shared = way.output < len(way.inputs) or any(isinstance(s, ReduceStep) for s in way.steps)
        if self.lean:
            arrays.clear()
        with np.errstate(all="ignore"):
            made = np.asarray(run(way, given) if not self.lean else _used_up(way, given))
            self.value = made.copy() if shared or not made.flags.writeable else made
            return log_rms(self.value)

    def norm(self, arrays: Arrays, kind: np.dtype[Any] | None) -> float:
        """By <T, T>; every kept index is averaged over where it is summed, so that no product of sizes can overflow."""
        net, nodes, twins = self.net, list[Node](), dict[str, Any]()
        arrays = {name: _wide(a) for name, a in arrays.items()}
        kept, open_, mark = set(net.output), set(net.output), unused("*", net)
        for node in net.nodes:
            assert isinstance(node, Node)
            mean = prod(net.sizes[i] for i in open_.intersection(node.inds))
            open_ -= set(node.inds)
            nodes.append(Node(node.name + mark, tuple(i if i in kept else i + mark for i in node.inds)))
            twins[node.name + mark] = np.conj(arrays[node.array]) / mean
        sizes = {**net.sizes} | {i + mark: n for i, n in net.sizes.items() if i not in kept}
        both = Network((*net.nodes, *nodes), (), sizes)
        with np.errstate(all="ignore"):
            square = float(np.real(run(plan(both), {**{n: arrays[n] for n in net.array_shapes}, **twins})))
        return log(square) / 2 if 0 < square < inf else inf if not square < inf else -inf


def _used_up(plan: Plan, arrays: Arrays) -> Any:
    """The plan's result; an array is let go of with the last step that reads it, the caller's dict of them too."""
    slots: dict[int, Any] = {k: arrays.pop(name) for k, name in enumerate(plan.inputs)}
    for step, dead in zip(plan.steps, plan.last_use, strict=True):
        operands = tuple(dict.fromkeys(step.operands))
        one = (renumbered(step, tuple(operands.index(s) for s in step.operands), len(operands)),)
        program = Program(one, len(operands), last_use(one, len(operands)))
        slots[step.target] = execute(program, [slots[s] for s in operands], NUMPY)
        for s in dead:
            del slots[s]
    return slots[plan.output]


# -- numbers ------------------------------------------------------------------------------------------------------------
def _forms(net: Network, arrays: Arrays) -> bool:
    """Whether to form the tensor: it is small, or no larger than what there is already."""
    return prod(net.shape) <= max(_FORM, 2 * max(a.size for a in arrays.values()))


def _kept(made: np.ndarray, before: np.ndarray) -> bool:
    """Whether a scaled array lost no digits: its largest entry is a normal number, or there was none."""
    return bool(np.finfo(made.dtype).tiny <= np.abs(made).max() < inf) or not before.any()


def _levelled(arrays: Mapping[str, np.ndarray], uses: Mapping[str, int], log_factor: float) -> Arrays:
    """Arrays of far sizes times a factor that their dtypes do not hold if it is shared evenly: all of one size."""
    sizes = {n: log(float(np.abs(a).max())) for n, a in arrays.items()}
    level = (log_factor + sum(uses[n] * s for n, s in sizes.items())) / sum(uses.values())
    made = {}
    for name, a in arrays.items():
        half = exp((level - sizes[name]) / 2)
        with np.errstate(over="ignore", under="ignore"):
            made[name] = (_wide(a) * half * half).astype(a.dtype)
        if not _kept(made[name], a):
            raise ValueError(
                f"init: array {name!r} would have entries up to e^{level:.0f}, which {a.dtype} cannot hold"
            )
    return made


def _applied(fn: Any, plain: Sequence[np.ndarray]) -> np.ndarray:
    if fn == "identity":
        return plain[0]
    return blockwise(function(fn), *plain) if fn in ACTIVATIONS else np.asarray(function(fn)(np, *plain))


def _working(a: np.ndarray, kind: np.dtype[Any] | None) -> np.dtype[Any]:
    """Double precision, or single where that is asked for and the array is none wider in kind."""
    if kind is None or kind.itemsize // (2 if kind.kind == "c" else 1) > 4:
        return np.result_type(a, np.float64)
    return np.dtype("complex64" if kind.kind == "c" or a.dtype.kind == "c" else "float32")


def _wide(a: np.ndarray) -> np.ndarray:
    return np.asarray(a, np.result_type(a, np.float64))


def _shape(node: Node, net: Network) -> tuple[int, ...]:
    return tuple(net.sizes[i] for i in node.inds)
