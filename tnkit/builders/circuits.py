"""Circuits: columns of gates with activations between them; the brick wall, and the ADTN that fills a weight with one.

A gate is a tensor (outs..., ins...) on some of the sites.  A block of a brick wall is two columns of gates, the bricks: one on
the even pairs of sites (0,1), (2,3), ..., one on the odd pairs (1,2), (3,4), ...  Between its blocks the tensor goes through an
activation; the last block is linear.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from math import prod
from typing import Any, NamedTuple

from tnkit.builders.arguments import assembled, check_activation, check_count, check_shape, several
from tnkit.builders.registry import builder
from tnkit.core.activations import Activation
from tnkit.core.checks import flag, one_of, sequence, shown
from tnkit.core.decomposition import Pair, pair_of
from tnkit.core.network import AnyNode, Network
from tnkit.core.node import Node
from tnkit.core.numbers import whole_number
from tnkit.core.shapes import site_dims, split_axes
from tnkit.core.wording import plural

STARTS = ("constant", "vectors", "open")


def _in_wall(sites: int, dim: int, depth: int, activation: Any) -> int:
    """A wall on a constant start: d^4 a brick, d^2 for those of the first column."""
    first = sites // 2
    return dim**2 * first + dim**4 * (depth * (sites - 1) - first)


@builder(_in_wall, sites=6, dim=2, depth=2, activation="tanh")
def brick_wall(
    sites: int,
    dim: int | Sequence[int] = 2,
    depth: int = 3,
    activation: str | Activation | None = None,
    start: str = "constant",
    periodic: bool = False,
    share: int | None = None,
    full: bool = False,
) -> Network:
    """Brick-wall network of ``depth`` blocks (even pairs, then odd pairs) on a product state.

    ::

        |  |  |  |  |  |      output
        |  [==]  [==]  |      odd pairs
        [==]  [==]  [==]      even pairs      one block; the activation stands between blocks
        v  v  v  v  v  v      start

    >>> net = tk.brick_wall(6, depth=1)  # 3 bricks on the start, of 4 parameters each; 2 bricks of 16
    >>> net.num_params, net.shape
    (44, (2, 2, 2, 2, 2, 2))
    >>> tk.brick_wall(21, depth=1).num_params + tk.brick_wall(24, depth=1).num_params  # the 424 of VGG-16
    424
    >>> wall = tk.brick_wall(4, depth=2, start="open")  # an operator
    >>> wall.output
    ('i0', 'i1', 'i2', 'i3', 'x0', 'x1', 'x2', 'x3')

    Parameters
    ----------
    sites
        Number of sites, at least 2 (and even, if periodic).
    dim
        Local dimension: one int, or one a site.
    depth
        Blocks.
    activation
        Between blocks: a key of :data:`tnkit.ACTIVATIONS`, a function ``fn(xp, x)``, or None (one multilinear network).
    start
        ``"constant"``: every site starts as the vector [1, 0, ...] (the paper's); ``"vectors"``: as a learned vector;
        ``"open"``: with an open input leg ``x{site}``, so that the wall is an operator (output: outs, then ins).
    periodic
        Whether the odd column joins the last site to the first.
    share
        Bricks of a column repeat with this period and are tied where their shapes agree; 1 makes a column
        translation-invariant.  None: no bricks are tied.
    full
        With constant start vectors, the bricks of the first column see one input only.  By default they are stored as what
        acts, (out, out); with ``full`` as whole bricks on fixed vectors.

    Returns
    -------
    Network
        ``brick_{column}_{site}``, output ``i0 ... i(Q-1)``.  Parameters: with Q sites of size d, open ends, none tied, a
        block has d^4 (Q-1).  The first block has d^2 floor(Q/2) + d^4 (Q-1-floor(Q/2)) with constant start
        (``full=False``).  Learned vectors add d Q.  For d = 2, depth 1: Q = 21 has 200, Q = 24 has 224 (arXiv 2305.06058:
        424 for VGG-16's two layers).

    Raises
    ------
    TypeError, ValueError
        An argument of another kind; fewer than 2 sites, depth below 1, an unknown start or activation, an odd number of sites with
        periodic ends.
    MemoryError
        More than a million nodes.
    """
    return _wall("brick_wall", sites, dim, depth, activation, start, periodic, share, full)


def _wall(
    what: str, sites: int, dim: int | Sequence[int], depth: int, activation: str | Activation | None, start: str, periodic: bool,
    share: int | None, full: bool,
) -> Network:  # fmt: skip
    """A brick wall, refused by the name of the builder that was called."""
    sites, depth = whole_number(sites, f"{what}: sites"), whole_number(depth, f"{what}: depth")
    check_count(max(sites, 0) * max(depth, 1), what, f"{shown(sites)} sites and depth {shown(depth)}")
    if sites < 2 and not several(dim):
        raise ValueError(f"{what}: sites is a whole number of at least 2, not {sites}")
    dims = check_shape(dim if several(dim) else [whole_number(dim, f"{what}: dim")] * sites, what, least=2)
    if len(dims) != sites:
        raise ValueError(f"{what}: {len(dims)} local dimensions for {sites} sites")
    if depth < 1:
        raise ValueError(f"{what}: depth {depth} is below 1")
    start, activation = one_of(start, f"{what}: start", STARTS), check_activation(activation, what)
    periodic, full = flag(periodic, f"{what}: periodic"), flag(full, f"{what}: full")
    if periodic and sites % 2:
        raise ValueError(f"{what}: periodic ends need an even number of sites, not {sites}")
    if share is not None and whole_number(share, f"{what}: share") < 1:
        raise ValueError(f"{what}: share {share} is below 1")
    even = [(s, s + 1) for s in range(0, sites - 1, 2)]
    odd = [(s, s + 1) for s in range(1, sites - 1, 2)]
    if periodic and sites > 2:
        odd.append((sites - 1, 0))

    def bricks(column: int) -> list[_Gate]:
        return [
            _Gate(
                f"brick_{column}_{a}", (a, b),
                "" if share is None else f"brick_{column}_shared{k % share}_{dims[a]}x{dims[b]}",
            )
            for k, (a, b) in enumerate(odd if column % 2 else even)
        ]  # fmt: skip

    absorbs = start == "constant" and not full
    columns = [
        _Column(bricks(k), None if k % 2 or not k else activation, f"act_{k // 2 - 1}")
        for k in range(absorbs, 2 * depth)
    ]
    ins = tuple(f"x{s}" for s in range(sites)) if start == "open" else ()
    return _with_columns(_wall_start(sites, start, bricks(0) if absorbs else []), dims, columns, ins)


def _wall_start(sites: int, start: str, absorbing: Sequence[_Gate]) -> list[Node]:
    """What a wall acts on.  A first column that sees one input alone is a start itself."""
    if start == "open":
        return []
    if start == "vectors":
        return [Node(f"start_{s}", (f"x{s}",)) for s in range(sites)]
    first = [Node(g.name, tuple(f"x{s}" for s in g.sites), g.array) for g in absorbing]
    absorbed = {s for g in absorbing for s in g.sites}
    return [Node(f"start_{s}", (f"x{s}",), fixed="e0") for s in range(sites) if s not in absorbed] + first


def _in_circuit(dim: Sequence[int], columns: Any, start: Any) -> int:
    """A dense tensor for each group of the start, the square of that for each gate."""
    sizes: list[int] = [prod(dim[s] for s in g) for g in start]
    return sum(sizes) + sum(int(prod(dim[s] for s in g)) ** 2 for c in columns for g in c)


@builder(_in_circuit, dim=(3, 2, 4, 2), columns=[[(0,), (1, 3)], [(3, 2)]], start=[(0, 2), (3, 1)])
def circuit(
    dim: Sequence[int],
    columns: Sequence[Sequence[Sequence[int]]],
    activation: str | Activation | Sequence[str | Activation | None] | None = "sin",
    start: Network | Pair | Sequence[Sequence[int]] | None = None,
) -> Network:
    """Columns of gates, each on the sites that it names, with an activation before every column: any deep network of gates.

    ::

        |  |  |  |      output
        [==]  |  o      column 1: gates on (0, 1) and (3,)
        ~~~~~~~~~~      activation, on every entry of the tensor
        o  [=====]      column 0: gates on (0,) and (1, 2, 3)
        ~~~~~~~~~~      activation
        [=====]  o      start: a tensor a group, or any network

    >>> net = tk.circuit((2, 2, 2, 2), [[(0,), (1, 2, 3)], [(0, 1), (3,)]], "sin", start=[(0, 1, 2), (3,)])
    >>> net.shape, net.num_params  # the start 8 + 2, column 0: 4 + 64, column 1: 16 + 4
    ((2, 2, 2, 2), 98)
    >>> net.multilinear
    False
    >>> x = tk.contract(net, tk.init.normal(net))
    >>> x.shape
    (2, 2, 2, 2)

    A column of gates on single sites is a Kronecker product.  A start whose groups join digits of a weight's rows to digits of
    its columns is a TT-matrix of rank 1; :func:`tnkit.mpo` as the start gives it any rank.

    Parameters
    ----------
    dim
        Sizes of the sites.
    columns
        Column by column, the groups of sites that have a gate; other sites pass through.
    activation
        Before each column: one for all, or one a column; a key of :data:`tnkit.ACTIVATIONS`, a function ``fn(xp, x)``, or None.
    start
        Groups that cover each site once, with a dense tensor for each; or a network with an output of the sites' sizes in their
        order; or a Decomposition or a pair (network, arrays), whose network it is (:func:`tnkit.init.lifted` then gives arrays
        that begin there); or None, a vector a site.

    Returns
    -------
    Network
        ``start_{first site}`` (or the nodes of the given start), ``gate_{column}_{first site}``, output ``i0, i1, ...``.
        Parameters: those of the start, and for each gate the square of the product of its sites' sizes.

    Raises
    ------
    TypeError, ValueError
        An argument of another kind; a site that is not there, or is twice in a column or in the start, or in no group of the start; a start of another shape
        or with a node of a gate's name; several activations, but not one a column; an unknown activation.
    """
    dims = check_shape(dim, "circuit")
    columns = sequence(columns, "circuit: columns")
    many = isinstance(activation, Iterable) and not isinstance(activation, str) and not callable(activation)
    each = sequence(activation, "circuit: activation") if many else (activation,) * len(columns)
    if len(each) != len(columns):
        raise ValueError(f"circuit: {plural(len(each), 'activation')} for {plural(len(columns), 'column')}")
    inner: Mapping[str, int] = {}
    if isinstance(start, tuple) and start and isinstance(start[0], Network):
        start = pair_of(start, "circuit: start")[0]
    if isinstance(start, Network):
        if start.shape != dims:
            raise ValueError(f"circuit: the start has shape {start.shape}, the sites have sizes {dims}")
        names = {i: f"x{s}" for s, i in enumerate(start.output)}
        begin = start.relabel(inds=lambda i: names.get(i, f"start_{i}"))
        nodes, inner = list(begin.nodes), begin.sizes
    else:
        groups = _checked_groups([(s,) for s in range(len(dims))] if start is None else start, len(dims), "the start")
        if missing := set(range(len(dims))) - {s for g in groups for s in g}:
            raise ValueError(f"circuit: no group of the start has site {min(missing)}")
        nodes = [Node(f"start_{g[0]}", tuple(f"x{s}" for s in g)) for g in groups]
    made = []
    for k, (column, fn) in enumerate(zip(columns, each, strict=True)):
        gates = [_Gate(f"gate_{k}_{g[0]}", g) for g in _checked_groups(column, len(dims), f"column {k}")]
        made.append(_Column(gates, check_activation(fn, "circuit"), f"act_column_{k}"))
    return _with_columns(nodes, dims, made, sizes=inner)


def _checked_groups(groups: Any, sites: int, what: str) -> list[tuple[int, ...]]:
    """Groups of sites, each site at most once."""
    each = [sequence(g, f"circuit: a group of {what}") for g in sequence(groups, f"circuit: {what}")]
    out = [tuple(whole_number(s, f"circuit: a site of {what}") for s in g) for g in each]
    seen: set[int] = set()
    for group in out:
        if not group:
            raise ValueError(f"circuit: {what} has a group of no site")
        for s in group:
            if not 0 <= s < sites:
                raise ValueError(f"circuit: {what} names site {s}, of sites 0 to {sites - 1}")
            if s in seen:
                raise ValueError(f"circuit: {what} has site {s} twice")
            seen.add(s)
    return out


class _Gate(NamedTuple):
    """A tensor (outs..., ins...) on some sites."""

    name: str
    sites: tuple[int, ...]
    array: str = ""


class _Column(NamedTuple):
    """Gates side by side, and the activation before them."""

    gates: Sequence[_Gate]
    activation: str | Activation | None
    name: str


def _with_columns(
    start: Sequence[AnyNode], dims: Sequence[int], columns: Iterable[_Column], ins: tuple[str, ...] = (),
    sizes: Mapping[str, int] = {},
) -> Network:  # fmt: skip
    """Columns on top of start nodes, which leave ``x0, x1, ...`` open: output ``i0, i1, ...``, then ``ins``."""
    nodes, now = list(start), [f"x{s}" for s in range(len(dims))]
    sizes = {**sizes, **dict(zip(now, dims, strict=True))}
    for k, column in enumerate(columns):
        if column.activation is not None:
            body = assembled(nodes, (*now, *ins), sizes)
            nodes = list(body.activate(column.activation, column.name).nodes)
        for gate in column.gates:
            outs = [f"s{s}_{k}" for s in gate.sites]
            sizes |= {out: dims[s] for s, out in zip(gate.sites, outs, strict=True)}
            nodes.append(Node(gate.name, (*outs, *(now[s] for s in gate.sites)), gate.array))
            for s, out in zip(gate.sites, outs, strict=True):
                now[s] = out
    net = assembled(nodes, (*now, *ins), sizes)
    return net.relabel(inds={i: f"i{s}" for s, i in enumerate(now)})


def _in_adtn(shape: Sequence[int], depth: int, order: str, scale: bool) -> int:
    """A wall of binary sites, as many as hold each axis, and the factor."""
    return _in_wall(sum((n - 1).bit_length() for n in shape), 2, depth, None) + scale


@builder(_in_adtn, shape=(10, 12), depth=2, order="interleaved", scale=True)
def adtn(
    shape: Sequence[int],
    depth: int = 3,
    activation: str | Activation | None = "relu",
    dim: int | Sequence[int] | None = 2,
    order: str = "sequential",
    scale: bool = False,
    start: str = "constant",
    periodic: bool = False,
    share: int | None = None,
    full: bool = False,
) -> Network:
    """Automatically differentiable tensor network (arXiv 2305.06058) that fills a weight of ``shape``.

    >>> net = tk.adtn((512, 4096), depth=1)  # 9 + 12 sites of size 2: the layer of VGG-16 with 200 parameters
    >>> net.num_params, len(net.shape), 512 * 4096
    (200, 21, 2097152)
    >>> tk.detensorize(tk.contract(net, tk.init.normal(net)), (512, 4096)).shape
    (512, 4096)

    Parameters
    ----------
    shape
        The weight's shape, any number of axes.
    depth
        Blocks of the brick wall; the activation stands between them, the last block is linear.
    activation
        As for :func:`brick_wall`; the paper's is ReLU.
    dim
        An int: sites of that size, an axis being padded where it is no power of it.  By default 2, as in the paper: the
        count then grows with the logarithm of the weight's size, for every shape.  None: each axis is split into its prime
        factors up to 5 (an axis with a larger one is padded to the next size without), which pads less and stores more.  A
        sequence: the sites' sizes, axis by axis, whose products reach the axes' sizes.
    order
        Of the sites in the wall: ``"sequential"`` (all of the first axis, then the second ...) or ``"interleaved"`` (the
        axes' sites in turn).
    scale
        Whether a learned overall factor ``scale`` is added (one number).
    start, periodic, share, full
        As for :func:`brick_wall`.

    Returns
    -------
    Network
        Output ``i0, i1, ...`` axis by axis, to be read as the weight by :func:`tnkit.detensorize` (a reshape where
        nothing is padded).  Parameters as for :func:`brick_wall`, plus 1 with ``scale``.

    Raises
    ------
    TypeError, ValueError, MemoryError
        A shape with fewer than two sites, an unknown order, and what :func:`brick_wall` refuses.
    """
    shape = check_shape(shape, "adtn")
    order, scale = one_of(order, "adtn: order", ("sequential", "interleaved")), flag(scale, "adtn: scale")
    start = one_of(start, "adtn: start", STARTS)
    if start == "open":
        raise ValueError("adtn: start='open' leaves input legs that are no part of a weight; use brick_wall")
    groups = _site_groups(shape, dim)
    labels = [[(axis, k) for k in range(len(g))] for axis, g in enumerate(groups)]
    flat = [x for g in labels for x in g]
    wall = flat if order == "sequential" else [x for row in zip_longest(*labels) for x in row if x is not None]
    net = _wall(
        "adtn", len(wall), [groups[axis][k] for axis, k in wall], depth, activation, start, periodic, share, full
    )
    net = net.relabel(inds={f"i{s}": f"i{flat.index(x)}" for s, x in enumerate(wall)})
    nodes = (*net.nodes, Node("scale", ())) if scale else net.nodes
    return Network(nodes, tuple(f"i{s}" for s in range(len(flat))), net.sizes)


def _site_groups(shape: tuple[int, ...], dim: int | Sequence[int] | None) -> list[tuple[int, ...]]:
    if several(dim):
        groups = split_axes(check_shape(dim, "adtn dim"), shape)
    else:
        one = None if dim is None else whole_number(dim, "adtn: dim")
        if one is not None and one < 2:
            raise ValueError(f"adtn: dim: a local dimension is at least 2, not {shown(one)}")
        groups = [site_dims(n, one) for n in shape]
    if sum(map(len, groups)) < 2:
        raise ValueError(f"adtn: shape {shape} has fewer than two sites")
    return groups
