"""Pictures of networks and plans, drawn as in the literature: nodes, bonds, open legs, boxes around nonlinearities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

from tnkit.core.checks import a_mapping, a_network, flag, one_of, sequence, shown
from tnkit.core.inside import all_indices
from tnkit.core.network import Network
from tnkit.drawing.canvas import on_axes
from tnkit.drawing.placement import LAYOUTS
from tnkit.drawing.sketch import Look, sketch
from tnkit.drawing.svg import svg_of
from tnkit.drawing.themes import colour_of
from tnkit.drawing.tikz import tikz_of
from tnkit.planning.plan import Plan

__all__ = ["draw", "to_svg", "to_tikz"]

Positions = Mapping[str, Any]


def draw(
    net_or_plan: Network | Plan,
    ax: Any = None,
    *,
    labels: bool = True,
    sizes: bool = True,
    pos: Positions | None = None,
    layout: str | None = None,
    color: str | Mapping[str, str] | None = None,
    highlight: str | Iterable[str] = (),
    theme: str = "light",
) -> Any:
    """Draw a network, or a plan: its network with the contractions numbered.

    >>> ax = tk.draw(tk.mps((2,) * 3, 4), highlight=["core_1", "b2"])
    >>> ax.figure.savefig("chain.pdf")
    >>> sorted(artist.get_gid() for artist in ax.get_children() if str(artist.get_gid()).startswith(("node", "open")))
    ['node:core_0', 'node:core_1', 'node:core_2', 'open:i0', 'open:i1', 'open:i2']

    Circles are arrays: grey ones are fixed, tied ones share a colour.  Lines are indices, the wider the larger; a free
    end is an open index, a black dot an index of three ends or more, a loop a trace, an end in a dot a sum.  A box is
    an Elementwise node: what is inside is contracted in full, then the function named on it is applied.

    Where nodes stand follows from the structure alone, never from names.  A network of more than 40 nodes is drawn in part, and
    says how many are not: ``... 28 more ...``.

    Parameters
    ----------
    net_or_plan
        What to draw.
    ax
        A matplotlib Axes to draw on, neither polar nor in space; None makes a figure (without pyplot) of a size that fits.
    labels
        Whether anything is written: names of nodes and indices, where there are few enough to be read.
    sizes
        Whether the sizes of bonds are written beside their names.
    pos
        Node -> (x, y), for some nodes or for all, in units in which neighbours are about 1 apart.
    layout
        How nodes are placed: ``"row"``, ``"line"``, ``"ring"``, ``"star"``, ``"fan"``, ``"tree"``, ``"layers"``, ``"grid"``,
        ``"periodic"``, ``"mirror"`` or ``"springs"``.  None takes the first of them that fits.
    color
        One colour for all nodes, or node -> colour: ``"#rrggbb"``, or a name such as ``"gold"``.
    highlight
        Names of nodes and indices that are drawn in orange.
    theme
        ``"light"`` or ``"dark"``.

    Returns
    -------
    matplotlib.axes.Axes
        Its ``figure`` can be saved.  Each drawn thing has a gid: ``node:A``, ``edge:i``, ``open:i``, ``dot:i``,
        ``box:act``, ``order:1`` and so on.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    TypeError, ValueError
        An unknown node, index, colour, layout or theme; a place that is not two finite numbers; a layout that does not fit.
    """
    net = _drawable(net_or_plan, "draw")
    if ax is not None and not (callable(getattr(ax, "add_patch", None)) and getattr(ax, "name", "") == "rectilinear"):
        raise TypeError(f"draw: ax is an Axes of matplotlib with straight axes in a plane, or None, not {shown(ax)}")
    theme = one_of(theme, "draw: theme", ("light", "dark"))
    return on_axes(sketch(net_or_plan, _look(net, "draw", labels, sizes, pos, layout, color, highlight)), ax, theme)


def to_svg(
    net_or_plan: Network | Plan,
    *,
    labels: bool = True,
    sizes: bool = True,
    pos: Positions | None = None,
    layout: str | None = None,
    color: str | Mapping[str, str] | None = None,
    highlight: str | Iterable[str] = (),
    theme: str = "auto",
) -> str:
    """The picture of :func:`draw` as a standalone SVG, for an HTML page; equal input gives equal text.

    >>> tk.to_svg(tk.tt((2, 2), 2))[:4]
    '<svg'

    It needs no other package.

    Parameters
    ----------
    net_or_plan, labels, sizes, pos, layout, color, highlight
        As for :func:`draw`.
    theme
        ``"auto"``: dark where the reader's system is dark, by ``prefers-color-scheme``; or ``"light"``, or ``"dark"``.

    Returns
    -------
    str
        An SVG document without date or other metadata, its text as text.  Each drawn thing has an id, as its gid in :func:`draw`.

    Raises
    ------
    TypeError, ValueError
        As :func:`draw`.
    """
    net = _drawable(net_or_plan, "to_svg")
    theme = one_of(theme, "to_svg: theme", ("auto", "light", "dark"))
    return svg_of(sketch(net_or_plan, _look(net, "to_svg", labels, sizes, pos, layout, color, highlight)), theme)


def to_tikz(
    net_or_plan: Network | Plan,
    *,
    labels: bool = True,
    sizes: bool = True,
    pos: Positions | None = None,
    layout: str | None = None,
    color: str | Mapping[str, str] | None = None,
    highlight: str | Iterable[str] = (),
) -> str:
    r"""The picture of :func:`draw` as a ``tikzpicture``, for a paper; equal input gives equal text.

    >>> print(tk.to_tikz(tk.tt((2, 2), 2)).split("\n")[0])
    \begin{tikzpicture}[x=1in, y=1in, line cap=round]

    Parameters
    ----------
    net_or_plan, labels, sizes, pos, layout, color, highlight
        As for :func:`draw`.

    Returns
    -------
    str
        LaTeX that needs the package ``tikz`` alone; nodes stand where :func:`draw` puts them.

    Raises
    ------
    TypeError, ValueError
        As :func:`draw`.
    """
    net = _drawable(net_or_plan, "to_tikz")
    return tikz_of(sketch(net_or_plan, _look(net, "to_tikz", labels, sizes, pos, layout, color, highlight)))


# -- what users give --------------------------------------------------------------------------------------------------
def _drawable(value: Any, who: str) -> Network:
    return value.network if isinstance(value, Plan) else a_network(value, f"{who}: net_or_plan")


def _look(net: Network, who: str, labels: Any, sizes: Any, pos: Any, layout: Any, color: Any, highlight: Any) -> Look:
    nodes = {leaf.name for leaf in net.leaves}
    return Look(
        flag(labels, f"{who}: labels"), flag(sizes, f"{who}: sizes"), _positions(pos, nodes, who),
        None if layout is None else one_of(layout, f"{who}: layout", LAYOUTS), _colours(color, nodes, who),
        _marked(highlight, net, nodes, who), who,
    )  # fmt: skip


def _known(name: Any, nodes: set[str], what: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{what} names nodes by strings, not {shown(name)}")
    if name not in nodes:
        raise ValueError(f"{what}: no node {shown(name)}; there are {_listed(nodes)}")
    return name


def _listed(names: Iterable[str]) -> str:
    first = sorted(names)
    return ", ".join(first[:8]) + (f" and {len(first) - 8} more" if len(first) > 8 else "")


def _positions(pos: Any, nodes: set[str], who: str) -> dict[str, complex]:
    found: dict[str, complex] = {}
    for name, place in ({} if pos is None else a_mapping(pos, who, "pos")).items():
        _known(name, nodes, f"{who}: pos")
        rule = f"{who}: pos of node {name!r} is two finite numbers, (x, y), not {shown(place)}"
        xy = tuple(place) if isinstance(place, (tuple, list)) or getattr(place, "shape", None) == (2,) else ()
        if len(xy) != 2 or any(isinstance(x, bool) or not isinstance(x, Real) for x in xy):
            raise TypeError(rule)
        if not all(abs(x) < 1e12 for x in xy):  # nan is not
            raise ValueError(rule)
        found[name] = complex(float(xy[0]), float(xy[1]))
    taken: dict[tuple[int, int], str] = {}
    grain = 1e-9 * max((abs(at) for at in found.values()), default=0.0) or 1.0  # what is nearer cannot be drawn out
    for name, at in found.items():
        first = taken.setdefault((round(at.real / grain), round(at.imag / grain)), name)
        if first != name:
            raise ValueError(f"{who}: pos gives every node a place of its own; {first!r} and {name!r} have the same")
    return found


def _colours(color: Any, nodes: set[str], who: str) -> dict[str, str]:
    if color is None:
        return {}
    if isinstance(color, str):
        return dict.fromkeys(nodes, colour_of(color, f"{who}: color"))
    if not isinstance(color, Mapping):
        raise TypeError(f"{who}: color is one colour, or a mapping from nodes to colours, not {shown(color)}")
    return {
        _known(name, nodes, f"{who}: color"): colour_of(c, f"{who}: color of node {name!r}")
        for name, c in color.items()
    }


def _marked(highlight: Any, net: Network, nodes: set[str], who: str) -> frozenset[str]:
    names = (highlight,) if isinstance(highlight, str) else _names(highlight, who)
    if not names:
        return frozenset()
    indices = all_indices(net)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"{who}: highlight has names of nodes and indices, not {shown(name)}")
        if name not in nodes and name not in indices:
            raise ValueError(
                f"{who}: highlight has names of nodes and indices; {shown(name)} is neither. Nodes: {_listed(nodes)}; "
                f"indices: {_listed(indices)}"
            )
    return frozenset(names)


def _names(highlight: Any, who: str) -> tuple[Any, ...]:
    return tuple(highlight) if isinstance(highlight, (set, frozenset)) else sequence(highlight, f"{who}: highlight")
