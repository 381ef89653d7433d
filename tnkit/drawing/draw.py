"""Pictures of networks and plans, drawn as in the literature: nodes, bonds, open legs, boxes around nonlinearities.

matplotlib is imported only here and only when something is drawn.
"""

from __future__ import annotations

import cmath
import re
from collections.abc import Sequence
from io import StringIO
from itertools import islice
from math import log2, pi
from typing import Any

import numpy as np

from tnkit.core.checks import a_network, flag, shown
from tnkit.core.extras import need
from tnkit.core.network import Network, folded
from tnkit.core.node import Node
from tnkit.drawing.edges import Route, add_dots, legs_of, routes_of
from tnkit.drawing.placement import (
    LEG,
    RADIUS,
    Box,
    Spots,
    Vertex,
    Wire,
    boxes_of,
    spots_of,
    wires_of,
)
from tnkit.planning.plan import Plan

__all__ = ["draw", "to_svg"]

BLUE, GREY, DIM = "#9ecae1", "#d9d9d9", "#555555"
HALO = {"fc": "white", "ec": "none", "alpha": 0.6, "pad": 0.2}
TIED = ("#fdae6b", "#a1d99b", "#bcbddc", "#fc9272", "#dfc27d", "#80cdc1", "#fa9fb5", "#c7e9b4")


# -- the order of a plan ----------------------------------------------------------------------------------------------
def _merges(plan: Plan) -> list[tuple[set[str], set[str]]]:
    """The leaves on both sides of every contraction, in order; read from the paths, as tied nodes share a slot."""
    paths = iter(plan.paths)
    pairs: list[tuple[set[str], set[str]]] = []

    def merged(net: Network, bodies: list[set[str]]) -> set[str]:
        inner = iter(bodies)
        live = [{n.name} if isinstance(n, Node) else set().union(*islice(inner, len(n.bodies))) for n in net.nodes]
        for pair in next(paths):
            if len(pair) == 2:
                a, b = live[pair[0]], live[pair[1]]
                pairs.append((a, b))
                live = [group for k, group in enumerate(live) if k not in pair] + [a | b]
        return set().union(*live)

    folded(plan.network, merged)
    return pairs


def _step_labels(pairs: Sequence[tuple[set[str], set[str]]], spots: Spots, routes: Sequence[Route]) -> list[complex]:
    """Where each contraction's number goes: on an index that the pair shares, else between the two groups."""
    placed: list[complex] = []
    nodes = [at for at, _ in spots.values()]
    for a, b in pairs:
        joins = [r for r in routes if not a.isdisjoint(r.wire.leaves) and not b.isdisjoint(r.wire.leaves)]
        tries = [r.at(0.5) for r in joins if r.wire.kind == "edge"]
        if len(tries) < len(joins):  # a hyperedge: between the groups' nearest nodes, or on a line of the smaller group
            near = min(
                ((spots[u][0], spots[v][0]) for u in sorted(a) for v in sorted(b)),
                key=lambda z: round(abs(z[0] - z[1]), 6),
            )
            tries += [sum(near) / 2] if abs(near[0] - near[1]) < 1.2 else []
            tries += [r.at(0.55) for r in joins if r.wire.kind == "dot" and r.ends[0] in min(a, b, key=len)]
        between = sum(sum(spots[v][0] for v in sorted(group)) / len(group) for group in (a, b)) / 2
        tries += [between + r * cmath.rect(1, k * pi / 4) for r in (0, 0.45, 0.8, 1.2, 1.6) for k in range(8)]
        free = (z for z in tries if all(abs(z - p) > 0.3 for p in placed) and all(abs(z - p) > 0.4 for p in nodes))
        placed.append(next(free, tries[0]))
    return placed


# -- the drawing ------------------------------------------------------------------------------------------------------
def _matplotlib() -> Any:
    need("drawing", "matplotlib.figure")
    import matplotlib.figure
    import matplotlib.patches
    import matplotlib.path

    return matplotlib


def _shown(name: str) -> str:
    """A name without the characters that XML, and so an SVG, cannot hold."""
    return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]", "\N{REPLACEMENT CHARACTER}", name)


class _Pen:
    """An Axes, the points that one unit of length has on it, and whether names are written."""

    def __init__(self, ax: Any, unit: float, labels: bool) -> None:
        self.ax, self.unit, self.labels = ax, unit, labels
        self.mpl = _matplotlib()

    def text(self, at: complex, text: str, size: float, gid: str, **style: Any) -> None:
        """Text whose size follows the drawing's scale, within what can be read."""
        size = max(3.5, min(11.0, size * self.unit / 72))
        style = {"ha": "center", "va": "center", "zorder": 8, **style}
        self.ax.text(at.real, at.imag, _shown(text), fontsize=size, gid=_shown(gid), parse_math=False, **style)

    def curve(self, points: Sequence[complex], size: int, gid: str) -> None:
        """A line, or a Bezier curve of second or third order; its width grows with the logarithm of the bond."""
        path = self.mpl.path.Path
        codes = [path.MOVETO] + [(path.LINETO, path.CURVE3, path.CURVE4)[len(points) - 2]] * (len(points) - 1)
        width = min(6.0, 0.7 + 0.65 * log2(size)) * max(0.4, min(1.3, self.unit / 72))
        shape = path([(z.real, z.imag) for z in points], codes)
        style = {"fill": False, "ec": "#444444", "lw": width, "capstyle": "round"}
        self.ax.add_patch(self.mpl.patches.PathPatch(shape, gid=_shown(gid), zorder=3, **style))

    def circle(self, at: complex, radius: float, color: str, gid: str, zorder: float) -> None:
        """A filled circle."""
        edge = {"ec": "#333333", "lw": 0.9 * min(1.3, self.unit / 72)}
        self.ax.add_patch(
            self.mpl.patches.Circle((at.real, at.imag), radius, fc=color, gid=_shown(gid), zorder=zorder, **edge)
        )


def _draw_boxes(pen: _Pen, boxes: Sequence[Box]) -> None:
    for name, fn, (left, bottom, right, top), height in boxes:
        shape = pen.mpl.patches.FancyBboxPatch(
            (left, bottom), right - left, top - bottom, boxstyle="round,pad=0,rounding_size=0.2", gid=_shown(f"box:{name}"),
            fc="#fff7e6" if height % 2 else "#fdebc8", ec="#d08700", lw=0.8, zorder=1 - 0.5 * height / (height + 1),
        )  # fmt: skip
        pen.ax.add_patch(shape)
        tag = {"fc": "#fff7e6", "ec": "#d08700", "lw": 0.5, "boxstyle": "round,pad=0.2"}
        pen.text(complex(right - 0.12, top), fn, 8, f"fn:{name}", color="#8a5a00", ha="right", zorder=7, bbox=tag)


def _beside_line(route: Route, busy: Sequence[complex], lines: Sequence[complex]) -> complex:
    """Where an edge's name stands: beside its middle, or further along if that is taken by names, nodes or lines."""
    along = route.stop - route.start
    side = along * 1j / abs(along)
    bow = route.control - (route.start + route.stop) / 2
    if abs(bow) > 1e-9:  # outside of the curve, so that parallel edges keep their names apart
        side = bow / abs(bow)
    elif (round(side.imag, 6), side.real) < (0, 0):
        side = -side
    offset = (0.15 + 0.028 * len(route.wire.ind) * abs(side.real)) * side
    tries = [route.at(t) + sign * offset for t in (0.5, 0.4, 0.6, 0.32, 0.68) for sign in (1, -1)]

    def room(at: complex) -> float:
        apart = min((abs(at - z) for z in busy), default=1.0)
        return min(apart, 0.34) + min(0.15, *(abs(at - z) for z in lines), 0.15)

    return max(tries, key=lambda at: round(room(at), 3))


def _draw_edges(pen: _Pen, spots: Spots, routes: Sequence[Route]) -> None:
    """Edges and the hyperedges' lines and dots; names where there are few enough."""
    named = pen.labels and len(routes) <= 25
    busy = [at for at, _ in spots.values()]
    for k, route in enumerate(routes):
        ind, dot = route.wire.ind, route.wire.kind == "dot"
        for points, gid in zip(route.pieces, (f"line:{ind}:{k}" if dot else f"edge:{ind}", f"cut:{ind}"), strict=False):
            pen.curve(points, route.wire.size, gid)
            if route.cut and pen.labels:  # the stumps say where they go on, however many edges there are
                out = points[1] - points[0]
                side = "left" if out.real > 0 else "right"
                pen.text(points[1] + 0.06 * out, ind, 7, f"label:{ind}", color=DIM, ha=side)
        if named and not dot and not route.cut:
            lines = [r.at(t) for r in routes if r is not route for t in np.linspace(0.1, 0.9, 17)]
            busy.append(_beside_line(route, busy, lines))
            pen.text(busy[-1], ind, 7, f"label:{ind}", color=DIM, bbox=HALO)
    for wire in {route.wire.ind: route.wire for route in routes if route.wire.kind == "dot"}.values():
        at = spots[(wire.ind,)][0]
        pen.circle(at, 0.07, "black", f"dot:{wire.ind}", 6)
        if named and not wire.open:  # an open one is named at its free end
            pen.text(at + 0.15, wire.ind, 7, f"label:{wire.ind}", color=DIM, ha="left", va="bottom")


def _draw_legs(pen: _Pen, spots: Spots, wires: Sequence[Wire], legs: dict[str, tuple[Vertex, complex]]) -> None:
    """Open ends, sums over a lone index, and traces."""
    named = pen.labels and len(legs) <= 60
    for wire in (w for w in wires if w.ind in legs):
        v, way = legs[wire.ind]
        at, color, text = spots[v][0], DIM, wire.ind
        end = at + (LEG if isinstance(v, str) else 0.42) * way
        if wire.kind == "trace":
            ears = [at + 0.95 * way * cmath.rect(1, side) for side in (0.6, -0.6)]
            pen.curve([at, *ears, at], wire.size, f"trace:{wire.ind}")
        elif wire.open:
            pen.curve([at, end], wire.size, f"open:{wire.ind}")
            color, text = "#b03030", f"{wire.ind}:{wire.size}"
        else:  # the leg ends in a dot: a vector of ones
            pen.curve([at, end], wire.size, f"sum:{wire.ind}")
            pen.circle(end, 0.05, "black", f"ones:{wire.ind}", 6)
        if named:
            aside = abs(way.real) > 0.4
            style = {"ha": "center" if not aside else "left" if way.real > 0 else "right", "color": color}
            pen.text(end + 0.11 * way - (0.06 * way.real if aside else 0), text, 7, f"label:{wire.ind}", **style)


def _draw_nodes(pen: _Pen, net: Network, spots: Spots) -> None:
    arrays = [leaf.array for leaf in net.leaves if not leaf.fixed]
    tied = list(dict.fromkeys(a for a in arrays if arrays.count(a) > 1))
    for leaf in net.leaves:
        at = spots[leaf.name][0]
        color = GREY if leaf.fixed else TIED[tied.index(leaf.array) % len(TIED)] if leaf.array in tied else BLUE
        pen.circle(at, RADIUS, color, f"node:{leaf.name}", 5)
        if pen.labels and len(net.leaves) <= 40:
            head, _, tail = leaf.name.partition("_")
            text = f"{head}\n{tail.replace('_', ',')}" if tail and len(leaf.name) > 4 else leaf.name
            longest = max(1, *map(len, text.split("\n")))
            pen.text(at, text, max(5.5, min(9.0, 52 / longest)), f"name:{leaf.name}", linespacing=0.95)


def draw(net_or_plan: Network | Plan, ax: Any = None, *, labels: bool = True) -> Any:
    """Draw a network, or a plan: its network with the contractions numbered.

    Circles are arrays: grey ones are fixed, tied ones share a colour.  Lines are indices, the wider the larger; a free
    end is an open index, a black dot an index of three ends or more, a loop a trace, an end in a dot a sum.  A box is
    an Elementwise node: what is inside is contracted in full, then the function named on it is applied.

    Parameters
    ----------
    net_or_plan
        What to draw.
    ax
        A matplotlib Axes to draw on; None makes a figure (without pyplot) of a size that fits.
    labels
        Whether names of nodes and indices are written, where there are few enough to be read.

    Returns
    -------
    matplotlib.axes.Axes
        Its ``figure`` can be saved.  Each drawn thing has a gid: ``node:A``, ``edge:i``, ``open:i``, ``dot:i``,
        ``box:act``, ``order:1`` and so on.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    net = net_or_plan.network if isinstance(net_or_plan, Plan) else a_network(net_or_plan, "draw: net_or_plan")
    labels = flag(labels, "draw: labels")
    if ax is not None and not callable(getattr(ax, "add_patch", None)):
        raise TypeError(f"draw: ax is an Axes of matplotlib, or None, not {shown(ax)}")
    wires = wires_of(net)
    spots = spots_of(net, wires)
    add_dots(spots, wires)
    routes = routes_of(spots, wires)
    legs = legs_of(spots, wires, routes)
    boxes = boxes_of(net, spots)
    points = [at for at, _ in spots.values()] + [route.at(t) for route in routes for t in (0.49, 0.5)]
    points += [spots[v][0] + 0.7 * way for v, way in legs.values()]
    points += [complex(*corner) for _, _, rim, _ in boxes for corner in (rim[:2], rim[2:])]
    pen = _Pen(*_canvas(ax, points, 0.3 if isinstance(net_or_plan, Plan) else 0.0), labels)
    _draw_boxes(pen, boxes)
    _draw_edges(pen, spots, routes)
    _draw_legs(pen, spots, wires, legs)
    _draw_nodes(pen, net, spots)
    if isinstance(net_or_plan, Plan):
        _draw_order(pen, net_or_plan, spots, routes)
    return pen.ax


def _canvas(ax: Any, points: Sequence[complex], title: float) -> tuple[Any, float]:
    """An Axes whose limits hold the points (an inch a unit, if it is made here), and its points per unit."""
    low = complex(min(z.real for z in points) - 0.5, min(z.imag for z in points) - 0.4)
    size = complex(max(z.real for z in points) + 0.5, max(z.imag for z in points) + 0.4) - low
    if ax is None:
        inches = min(1.0, 16 / max(size.real, size.imag))
        height = size.imag * inches + title
        figure = _matplotlib().figure.Figure(figsize=(max(size.real * inches, 2.5), height))
        ax = figure.add_axes((0, 0, 1, 1 - title / height))
    ax.set(xlim=(low.real, low.real + size.real), ylim=(low.imag, low.imag + size.imag), aspect="equal")
    ax.set_axis_off()
    extent = ax.get_window_extent()
    return ax, min(extent.width / size.real, extent.height / size.imag) * 72 / ax.figure.dpi


def _draw_order(pen: _Pen, plan: Plan, spots: Spots, routes: Sequence[Route]) -> None:
    pairs = _merges(plan)
    for k, at in enumerate(_step_labels(pairs, spots, routes), 1):
        style = {"fc": "#fee391", "ec": "#cc4c02", "lw": 0.7, "boxstyle": "circle,pad=0.15"}
        pen.text(at, str(k), 7, f"order:{k}", weight="bold", zorder=9, bbox=style)
    pen.ax.set_title(f"{len(pairs)} contractions, {plan.flops:,} FLOPs", fontsize=9)


def to_svg(net_or_plan: Network | Plan) -> str:
    """The picture of :func:`draw` as a standalone SVG, for an HTML page; equal input gives equal text.

    Parameters
    ----------
    net_or_plan
        What to draw.

    Returns
    -------
    str
        An SVG document without date or other metadata, its text as text.
    """
    if not isinstance(net_or_plan, Plan):
        a_network(net_or_plan, "to_svg: net_or_plan")
    mpl = _matplotlib()
    out = StringIO()
    with mpl.rc_context({"svg.hashsalt": "tnkit", "svg.fonttype": "none"}):
        draw(net_or_plan).figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()
