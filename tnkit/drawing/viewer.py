"""The viewer: a contraction step by step, as one page without a request, for a browser or a notebook.

The page is written here as data (networks, where their nodes stand, the steps of their plans in :attr:`Plan.timeline`'s words)
and joined with the files of ``viewer_page``, which draw it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from tnkit.core.checks import a_file_name, sequence, shown, text
from tnkit.core.network import Network
from tnkit.core.wording import plural
from tnkit.core.writing import replacing
from tnkit.drawing.scene import printable
from tnkit.drawing.viewer_data import Order, network_data
from tnkit.planning.plan import Plan
from tnkit.planning.planner import plan

__all__ = ["Viewer", "view"]

#: Bytes of a page at most, so that it is opened at once and can be sent.
MOST_BYTES = 300_000
#: Nodes of a network at most.
MOST_NODES = 2000
#: Up to so many nodes, orders are shown beside tnkit's own where a network is given.
_SEVERAL_ORDERS = 150

_SCRIPTS = ("model.js", "scene.js", "timeline.js", "card.js", "main.js")


@dataclass(frozen=True, repr=False)
class Viewer:
    """A page that steps through contractions; a notebook shows it, :meth:`save` writes it.

    >>> tk.view(tk.tt((2, 3, 2), 2))
    Viewer(3 nodes, 1 order; .save("view.html") writes the page)

    Attributes
    ----------
    html
        The whole page: style, script and data, without a request.
    """

    html: str
    _about: str = ""

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page; a file that is there is replaced once the new one is whole.

        >>> tk.view(tk.tt((2, 3, 2), 2)).save("view.html")  # doctest: +SKIP
        PosixPath('view.html')

        Raises
        ------
        TypeError
            What is no path.
        ValueError
            A path with a character that no file's name can have.
        OSError
            A folder that is not there, or cannot be written to.
        """
        target = Path(a_file_name(path, "view: save"))
        with replacing(target) as temporary:
            temporary.write_text(self.html, encoding="utf-8")
        return target

    def __repr__(self) -> str:
        return f'Viewer({self._about}; .save("view.html") writes the page)'

    def _repr_html_(self) -> str:
        style = "width: 100%; height: 860px; border: 0"
        return f'<iframe srcdoc="{escape(self.html)}" title="A contraction, step by step" style="{style}"></iframe>'

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self._repr_html_()}


def view(
    net_or_plan: Network | Plan, *others: Network | Plan, names: Sequence[str] | None = None, title: str | None = None
) -> Viewer:
    """Step through the contraction of networks, in one or several orders, in a page of its own.

    >>> net = tk.tt((2, 3, 2), 2)
    >>> tk.view(tk.plan(net), tk.plan(net, [(1, 2), (0, 1)]), names=["left to right", "right to left"])
    Viewer(3 nodes, 2 orders; .save("view.html") writes the page)

    The page lights the pair that merges next and the bonds that are summed, and shows the step's equation, shapes, FLOPs and
    bytes, the contraction tree and the memory over time.  Of a network without nonlinear nodes, readers can choose the pairs
    themselves and compare with the best order shown.

    Parameters
    ----------
    net_or_plan, *others
        Plans, each an order of its network; several plans of one network stand side by side.  Of a network, tnkit's own order
        is shown, beside ``greedy`` and the order in which the nodes are listed where they differ.
    names
        A name a value, for its order; by default what is known of it.
    title
        The heading of the page.

    Returns
    -------
    Viewer
        ``.html`` is the page, ``.save(path)`` writes it; a notebook shows it.

    Raises
    ------
    TypeError
        What is neither a Network nor a Plan; names or a title that are no strings.
    ValueError
        Another number of names than of values, or a name twice; a network of more than 2,000 nodes; a page of more than
        300 kB.
    """
    given = (net_or_plan, *others)
    for value in given:
        if not isinstance(value, (Network, Plan)):
            hint = "; tk.plan(net, path) makes a plan of a path" if isinstance(value, (list, tuple)) else ""
            raise TypeError(f"view: a Network or a Plan is needed, not {shown(value)}{hint}")
    own = None if names is None else [text(name, "view: a name") for name in sequence(names, "view: names")]
    if own is not None and len(own) != len(given):
        raise ValueError(f"view: names has one name for each network or plan, {len(given)}, not {len(own)}")
    heading = "A contraction, step by step" if title is None else text(title, "view: title")
    grouped: dict[Network, list[Order]] = {}
    for k, value in enumerate(given):
        net = value if isinstance(value, Network) else value.network
        _check_size(net)
        orders = _orders_of(value) if isinstance(value, Network) else [Order("", "", value)]
        grouped.setdefault(net, []).extend(_named(orders, own[k] if own else None))
    data = [
        network_data(net, _told_apart(orders), f"net{k + 1}" if k else "net")
        for k, (net, orders) in enumerate(grouped.items())
    ]
    page = _page(heading, data)
    if len(page.encode()) > MOST_BYTES:
        raise ValueError(
            f"view: the page would take {len(page.encode()) / 1000:.0f} kB, at most {MOST_BYTES / 1000:.0f} kB are written: give "
            f"fewer plans, or a part of the network ({max(len(net.leaves) for net in grouped)} nodes)"
        )
    count, nodes = sum(len(net["orders"]) for net in data), sum(len(net["nodes"]) for net in data)
    networks = f"{len(data)} networks, " if len(data) > 1 else ""
    return Viewer(page, f"{networks}{plural(nodes, 'node')}, {plural(count, 'order')}")


def _check_size(net: Network) -> None:
    if len(net.leaves) > MOST_NODES:
        raise ValueError(
            f"view: a network of at most {MOST_NODES:,} nodes is drawn, got {len(net.leaves):,}: merge nodes (tk.merge), or give a part"
        )


def _listed(inputs: Any, output: Any, sizes: Any, memory_limit: Any = None) -> list[tuple[int, int]]:
    """The order in which people write networks down: the first two, then the next, and so on."""
    count = len(inputs)
    return [(0, 1 if k == 0 else count - 1 - k) for k in range(count - 1)]


def _orders_of(net: Network) -> list[Order]:
    """Tnkit's order, and those beside it that differ and that can be planned."""
    found = [Order("auto", "tnkit's own choice", plan(net))]
    if len(net.leaves) > _SEVERAL_ORDERS:
        return found
    for name, about, search in (
        ("greedy", "the least growth first", "greedy"),
        ("as listed", "one node after another", _listed),
    ):
        try:
            order = Order(name, about, plan(net, search))
        except ValueError:  # a tensor of more axes than an array has
            continue
        if all(order.plan.paths != other.plan.paths for other in found):
            found.append(order)
    return found


def _named(orders: list[Order], name: str | None) -> list[Order]:
    """The orders of one value under its name, which goes before theirs where there are several."""
    if name is None:
        return orders
    return [Order(name if len(orders) == 1 else f"{name}, {o.name}", o.about, o.plan) for o in orders]


def _told_apart(orders: list[Order]) -> list[Order]:
    """The orders with names: those that have none are counted; ValueError for a name twice."""
    if len(orders) == 1 and not orders[0].name:
        return [Order("plan", "", orders[0].plan)]
    named = [Order(o.name or f"plan {k + 1}", o.about, o.plan) for k, o in enumerate(orders)]
    names = [o.name for o in named]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"view: each order has a name of its own, got {twice!r} twice: give names=")
    return named


def _page(title: str, data: list[dict[str, Any]]) -> str:
    """The page, joined from its files."""
    from importlib.resources import files  # when asked for: importing tnkit need not pay for it

    folder = files("tnkit.drawing") / "viewer_page"
    written = (
        json.dumps(data, separators=(",", ":"), ensure_ascii=True).replace("</", "<\\/").replace("<!--", "<\\u0021--")
    )
    parts = {
        "title": escape(printable(title)),
        "style": (folder / "style.css").read_text(encoding="utf-8").strip(),
        "script": "\n".join((folder / name).read_text(encoding="utf-8").strip() + "\n" for name in _SCRIPTS),
        "data": written,
    }
    page, rest = "", (folder / "page.html").read_text(encoding="utf-8")
    while "{{" in rest:  # from left to right, so that nothing inside a part is taken for a place
        before, _, after = rest.partition("{{")
        name, _, rest = after.partition("}}")
        page += before + parts[name]
    return page + rest
