"""Approximate contraction of networks that are too large to be contracted exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from tnkit.approx.boundary import Cut, boundary_value
from tnkit.approx.compression import contract_compressed
from tnkit.approx.grids import lattice_rows
from tnkit.approx.propagation import Rounds, bethe
from tnkit.approx.simple_graph import Graph, Tracked, as_graph, simplified
from tnkit.core.caller import warn_caller
from tnkit.core.checks import a_mapping, a_network, flag, one_of
from tnkit.core.keywords import keywords_of
from tnkit.core.network import Elementwise, Network
from tnkit.core.numbers import real_number, whole_number
from tnkit.core.pairing import paired
from tnkit.execution.arrays import floating, one_dtype
from tnkit.execution.backend import Backend
from tnkit.execution.inputs import check_arrays
from tnkit.execution.library import backend_of
from tnkit.execution.powers import whole

__all__ = ["ApproximateResult", "contract_approx"]

#: What the argument ``method`` of :func:`contract_approx` may be.
METHODS = ("auto", "boundary", "compressed", "bp")


@dataclass(frozen=True, eq=False)
class ApproximateResult:
    """What :func:`tnkit.contract_approx` returns with ``full=True``.

    Attributes
    ----------
    value, exponent
        The result is ``value * 10**exponent``; the exponent is 0 without ``strip_exponent``.
    error
        What was seen to be lost.  Cuts: the square root of the sum of their squared relative errors.  Belief propagation: the
        largest change of a message in the last round.  An estimate for the value, not a bound; 0 where nothing was cut.
    method
        What ran: ``"exact"``, ``"boundary"``, ``"compressed"``, ``"bp"``; several with commas for a network in parts.
    largest_bond
        The largest bond that was kept by a cut; 1 where nothing was cut.
    converged
        Whether the messages of belief propagation stand still; True for the other methods.
    """

    value: Any
    exponent: Any
    error: float
    method: str
    largest_bond: int
    converged: bool


@dataclass(frozen=True)
class _Way:
    """The arguments: how a part is contracted."""

    method: str
    cut: Cut
    rounds: int
    damping: float
    settled: Rounds


@keywords_of(rank="max_bond")
@paired
def contract_approx(
    net: Network,
    arrays: Mapping[str, Any],
    *,
    max_bond: int | None = None,
    tol: float | None = None,
    method: str = "auto",
    strip_exponent: bool = False,
    full: bool = False,
    rounds: int = 500,
    damping: float = 0.0,
    backend: Backend | None = None,
) -> Any:
    """Contract a network approximately: bonds that grow beyond ``max_bond`` are cut.

    >>> net = tk.peps(6, 6, 1, 2)  # a lattice of 6 x 6 sites
    >>> draw = np.random.default_rng(0)
    >>> arrays = {name: draw.random(shape) for name, shape in net.array_shapes.items()}
    >>> closed, arrays = tk.isel(net, arrays, {i: 0 for i in net.output})
    >>> exact = tk.contract(closed, arrays)
    >>> found = tk.contract_approx(closed, arrays, max_bond=4, full=True)
    >>> found.method, bool(abs(found.value / exact - 1) < 1e-4)
    ('boundary', True)

    Parameters
    ----------
    net
        A network without functions; hyperedges, traces and open indices are allowed.
    arrays
        Its arrays; constants may be left out.
    max_bond
        The largest bond that a cut leaves.  Needed unless ``tol`` is given, or for belief propagation.
    tol
        Each cut may lose this part of the norm of what it cuts.
    method
        ``"boundary"``: a square lattice with open sides, from two sides to its middle.  The lattice is found in the graph: names
        and order do not matter.  It has no open indices.  ``"compressed"``: any graph, two tensors at a time.  ``"bp"``: belief
        propagation, for graphs with few short loops; exact on trees.  ``"auto"``: the boundary of a lattice, and else compressed.
    strip_exponent
        Return a pair: the result is ``value * 10**exponent``, however large or small it is.
    full
        Return an object with ``value``, ``exponent``, ``error``, ``method``, ``largest_bond`` and ``converged``.
    rounds, damping
        Of belief propagation: the most rounds of messages; the part of the old message that is kept, from 0 to below 1.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    array
        As :func:`tnkit.contract`.  It is computed in double precision on the CPU and has the dtype and device of the arrays.
        With torch it is differentiable: the gradient is that of the contraction in which all cuts stay as they are.

    Raises
    ------
    KeyError, TypeError
        From :func:`tnkit.check_arrays`.
    ValueError
        A network with a function, by the name of its node; ``method="boundary"`` for what is no lattice; open indices on more
        than one tensor for belief propagation; neither ``max_bond`` nor ``tol``.

    Warns
    -----
    RuntimeWarning
        Messages that do not stand still after all rounds; a result out of the range of its dtype.
    """
    _check_multilinear(a_network(net, "contract_approx"))
    way = _way(max_bond, tol, method, rounds, damping)
    strip, whole_report = flag(strip_exponent, "contract_approx: strip_exponent"), flag(full, "contract_approx: full")
    backend = backend_of(backend, a_mapping(arrays, "contract_approx"))
    given = one_dtype(check_arrays(net, floating(arrays, backend), backend), backend)
    _check_seen(given, backend)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        found, power, methods = _contracted(simplified(as_graph(net, given, backend)), way)
    if way.settled.change > _STILL:
        warn_caller(
            f"contract_approx: the messages still change by {way.settled.change:.1e} after {rounds} rounds; give more rounds, or "
            "damping=0.5",
            RuntimeWarning,
        )
    value = whole(_as_given(found, next(iter(given.values())), backend), power, strip, "contract_approx", backend)
    if not whole_report:
        return value
    error = way.settled.change if method == "bp" else sqrt(way.cut.lost)
    number, exponent = value if strip else (value, 0.0)
    return ApproximateResult(number, exponent, error, methods, way.cut.widest, way.settled.change <= _STILL)


#: A message that changes by less stands still.
_STILL = 1e-10


def _check_multilinear(net: Network) -> None:
    for node in net.nodes:
        if isinstance(node, Elementwise):
            raise ValueError(
                f"contract_approx: node {node.name!r} is a function, whose network is contracted in full first: "
                "contract it with tk.contract, and give the result as an array"
            )


def _way(max_bond: Any, tol: Any, method: Any, rounds: Any, damping: Any) -> _Way:
    one_of(method, "contract_approx: method", METHODS)
    tol = real_number(0.0 if tol is None else tol, "contract_approx: tol", positive=False, below=1.0)
    if max_bond is not None:
        max_bond = whole_number(max_bond, "contract_approx: max_bond", 1)
    elif not tol and method != "bp":
        raise ValueError("contract_approx: max_bond or tol says what is cut; neither was given")
    rounds = whole_number(rounds, "contract_approx: rounds", 1)
    damping = real_number(damping, "contract_approx: damping", positive=False, below=1.0)
    return _Way(method, Cut(max_bond or 2**62, tol), rounds, damping, Rounds())


def _check_seen(arrays: Mapping[str, Any], backend: Backend) -> None:
    for name, x in arrays.items():
        if reason := backend.unread(x):
            raise TypeError(f"contract_approx: array {name!r} {reason}")
    if backend.unseen(list(arrays.values())) or not all(_readable(x, backend) for x in arrays.values()):
        raise TypeError(
            "contract_approx: the values of the arrays cannot be read here (torch.func, vmap, torch.compile, jit), and they decide what is cut"
        )


def _readable(x: Any, backend: Backend) -> bool:
    try:
        backend.numpy(backend.constant(x))
    except (RuntimeError, TypeError, ValueError):
        return False
    return True


def _contracted(graph: Graph, way: _Way) -> tuple[Tracked, float, str]:
    """Value, power of two, and the methods that ran, over all connected parts."""
    made = Graph({}, {}, graph.output)
    ran: list[str] = []
    for part in graph.components():
        (x, power), name = _part(part, way)
        made.power += power
        made.put(len(made.tensors), x, part.output)
        ran.append(name)
    return *made.whole(), ", ".join(dict.fromkeys(ran))


def _part(graph: Graph, way: _Way) -> tuple[tuple[Tracked, float], str]:
    """A connected part, by its method."""
    if len(graph.tensors) == 1:
        return graph.whole(), "exact"
    if way.method == "bp":
        _check_one_open(graph)
        return bethe(graph, way.rounds, _STILL, way.damping, way.settled), "bp"
    rows = None if way.method == "compressed" else lattice_rows(graph)
    if rows is not None:
        x, power = boundary_value(rows, way.cut)
        return (x, power + graph.power), "boundary"
    if way.method == "boundary":
        hint = f": indices {', '.join(graph.output[:3])} are open" if graph.output else ""
        raise ValueError(
            f"contract_approx: method 'boundary' is for a square lattice with open sides and no open indices{hint}; "
            "method='compressed' takes any network"
        )
    return contract_compressed(graph, way.cut), "compressed"


def _check_one_open(graph: Graph) -> None:
    holders = {graph.ends[i][0]: i for i in graph.output}
    if len(holders) > 1:
        some = list(holders.values())
        raise ValueError(
            f"contract_approx: method 'bp' takes open indices of one tensor alone; {some[0]!r} and {some[1]!r} are on two: "
            "use method='compressed', or fix one of them"
        )


def _as_given(x: Tracked, like: Any, backend: Backend) -> Any:
    """The result in the dtype and device of the arrays."""
    if x.live is None:
        return backend.like(x.value, like)
    name = str(like.dtype).rpartition(".")[2]
    return backend.cast(x.live, name)
