"""Circuits: the brick wall, and the ADTN that fills a weight with one.

A block is two columns of bricks: one on the even pairs of sites (0,1), (2,3), ..., one on the odd pairs (1,2), (3,4), ...
A brick is a tensor (out, out, in, in).  Between blocks the tensor goes through an activation; the last block is linear.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest

from tnkit.activations import Activation, resolve
from tnkit.builders.chains import check_shape, whole
from tnkit.network import AnyNode, Network, Node
from tnkit.shapes import site_dims, split_axes

__all__ = ["adtn", "brick_wall"]

STARTS = ("constant", "vectors", "open")


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
        ``brick_{column}_{site}``, output ``i0 ... i(Q-1)``.  Parameters with Q sites of size d, open ends, none tied:
        d^4 (Q-1) a block; in the first block d^2 floor(Q/2) + d^4 (Q-1-floor(Q/2)) with constant start (``full=False``),
        plus d Q with learned vectors.  For d = 2, depth 1: Q = 21 has 200, Q = 24 has 224 (arXiv 2305.06058: 424 for
        VGG-16's two layers).

    Raises
    ------
    ValueError
        Fewer than 2 sites, depth below 1, an unknown start, an odd number of sites with periodic ends.
    """
    sites, depth = whole(sites, "brick_wall: sites"), whole(depth, "brick_wall: depth")
    dims = check_shape(dim if isinstance(dim, Iterable) else [dim] * sites, "brick_wall", least=2)
    if len(dims) != sites:
        raise ValueError(f"brick_wall: {len(dims)} local dimensions for {sites} sites")
    if depth < 1:
        raise ValueError(f"brick_wall: depth {depth} is below 1")
    if start not in STARTS:
        raise ValueError(f"brick_wall: start {start!r} is not one of {STARTS}")
    if periodic and sites % 2:
        raise ValueError(f"brick_wall: periodic ends need an even number of sites, not {sites}")
    if share is not None and whole(share, "brick_wall: share") < 1:
        raise ValueError(f"brick_wall: share {share} is below 1")
    if activation is not None:
        activation = resolve(activation)
    even = [(s, s + 1) for s in range(0, sites - 1, 2)]
    odd = [(s, s + 1) for s in range(1, sites - 1, 2)]
    if periodic and sites > 2:
        odd.append((sites - 1, 0))
    now = [f"x{s}" for s in range(sites)]
    sizes = {f"x{s}": d for s, d in enumerate(dims)}
    nodes: list[AnyNode] = list(_start(sites, start, {s for p in even for s in p} if not full else set()))
    ins = tuple(now) if start == "open" else ()
    for column in range(2 * depth):
        for k, (a, b) in enumerate(odd if column % 2 else even):
            outs = f"s{a}_{column}", f"s{b}_{column}"
            sizes |= {outs[0]: dims[a], outs[1]: dims[b]}
            inner = () if column == 0 and start == "constant" and not full else (now[a], now[b])
            array = "" if share is None else f"brick_{column}_shared{k % share}_{dims[a]}x{dims[b]}"
            nodes.append(Node(f"brick_{column}_{a}", (*outs, *inner), array))
            now[a], now[b] = outs
        block, last = column // 2, column == 2 * depth - 1
        if column % 2 and not last and activation is not None:
            body = _network(nodes, (*now, *ins), sizes)
            nodes = list(body.activate(activation, f"act_{block}").nodes)
    net = _network(nodes, (*now, *ins), sizes)
    return net.relabel(inds={i: f"i{s}" for s, i in enumerate(now)})


def _start(sites: int, start: str, absorbed: set[int]) -> list[Node]:
    if start == "open":
        return []
    if start == "vectors":
        return [Node(f"start_{s}", (f"x{s}",)) for s in range(sites)]
    return [Node(f"start_{s}", (f"x{s}",), fixed="e0") for s in range(sites) if s not in absorbed]


def _network(nodes: Sequence[AnyNode], output: tuple[str, ...], sizes: dict[str, int]) -> Network:
    used = {i for node in nodes for i in node.inds}
    return Network(tuple(nodes), output, {i: n for i, n in sizes.items() if i in used})


def adtn(
    shape: Sequence[int],
    depth: int = 3,
    activation: str | Activation | None = "relu",
    dim: int | Sequence[int] | None = None,
    order: str = "sequential",
    scale: bool = False,
    start: str = "constant",
    periodic: bool = False,
    share: int | None = None,
    full: bool = False,
) -> Network:
    """Automatically differentiable tensor network (arXiv 2305.06058) that fills a weight of ``shape``.

    Parameters
    ----------
    shape
        The weight's shape, any number of axes.
    depth
        Blocks of the brick wall; the activation stands between them, the last block is linear.
    activation
        As for :func:`brick_wall`; the paper's is ReLU.
    dim
        None: each axis is split into its prime factors up to 5, an axis with a larger prime factor being padded to the next
        size without one (mixed local dimensions waste no entries; a large prime would cost a brick of its fourth power).
        An int: sites of that size, padded where the axis is no power of it.  A sequence: the sites' sizes, axis by axis,
        whose products reach the axes' sizes.
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
        Output ``i0, i1, ...`` axis by axis, to be read as the weight by :func:`tnkit.shapes.detensorize` (a reshape where
        nothing is padded).  Parameters as for :func:`brick_wall`, plus 1 with ``scale``.

    Raises
    ------
    ValueError
        A shape with fewer than two sites, an unknown order, and what :func:`brick_wall` refuses.
    """
    shape = check_shape(shape, "adtn")
    if order not in ("sequential", "interleaved"):
        raise ValueError(f"adtn: order {order!r} is not 'sequential' or 'interleaved'")
    if start == "open":
        raise ValueError("adtn: start='open' leaves input legs that are no part of a weight; use brick_wall")
    groups = _groups(shape, dim)
    labels = [[(axis, k) for k in range(len(g))] for axis, g in enumerate(groups)]
    flat = [x for g in labels for x in g]
    wall = flat if order == "sequential" else [x for row in zip_longest(*labels) for x in row if x is not None]
    net = brick_wall(len(wall), [groups[axis][k] for axis, k in wall], depth, activation, start, periodic, share, full)
    net = net.relabel(inds={f"i{s}": f"i{flat.index(x)}" for s, x in enumerate(wall)})
    nodes = (*net.nodes, Node("scale", ())) if scale else net.nodes
    return Network(nodes, tuple(f"i{s}" for s in range(len(flat))), net.sizes)


def _groups(shape: tuple[int, ...], dim: int | Sequence[int] | None) -> list[tuple[int, ...]]:
    if isinstance(dim, Iterable):
        groups = split_axes(check_shape(dim, "adtn dim"), shape)
    else:
        groups = [site_dims(n, None if dim is None else whole(dim, "adtn: dim")) for n in shape]
    if sum(map(len, groups)) < 2:
        raise ValueError(f"adtn: shape {shape} has fewer than two sites")
    return groups
