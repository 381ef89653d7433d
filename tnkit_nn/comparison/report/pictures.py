"""Each family drawn once, as small inline SVG in the page's colours: tnkit's own drawing, without its names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any
from xml.etree import ElementTree

import tnkit as tk
from tnkit_nn.comparison.records import Records
from tnkit_nn.comparison.report.figures import kind_of

__all__ = ["Picture", "pictures"]

#: What a drawn thing's id begins with -> its class: edge, node, box, dot.
_CLASSES = {
    "node": "n", "box": "b", "dot": "d", "ones": "d", "edge": "e", "line": "e", "open": "e", "trace": "e", "sum": "e", "cut": "e", "hidden": "e",
}  # fmt: skip
_GEOMETRY = ("d", "cx", "cy", "r", "x", "y", "width", "height", "rx")
#: All pictures of a page together have at most so many characters: what is too much is told, not drawn.
_ROOM = 400_000


@dataclass(frozen=True)
class Picture:
    """A family's network: ``svg`` is empty where there was no room for it."""

    label: str
    kind: str
    about: str
    budget: int | None
    layer: str
    params: int
    tensors: int
    svg: str


def pictures(records: Records) -> list[Picture]:
    """Every family with a network, drawn once: at its smallest budget, in the first of its layers."""
    first: dict[str, Mapping[str, Any]] = {}
    for r in sorted(records, key=lambda r: r["budget"] or 0):
        if r["networks"]:
            first.setdefault(r["label"], r)
    found, room = [], _ROOM
    for r in sorted(first.values(), key=lambda r: list(dict.fromkeys(x["label"] for x in records)).index(r["label"])):
        layer, text = next(iter(r["networks"].items()))
        net = tk.from_json(text)
        svg = _drawn(net) if room > 0 else ""
        room -= len(svg)
        about = ", ".join(filter(None, [r["description"], r["activation"] and f"activation {r['activation']}"]))
        several = layer if len(r["networks"]) > 1 else ""
        found.append(Picture(r["label"], kind_of(r), about, r["budget"], several, net.num_params, len(net.leaves), svg))
    return found


def _drawn(net: tk.Network) -> str:
    """Tnkit's own picture with the page's classes in place of its ids and colours, of which a page has one set only."""
    root = ElementTree.fromstring(tk.to_svg(net, labels=False, sizes=False))
    width, height = (float(x) for x in (root.get("viewBox") or "0 0 100 100").split()[2:])
    parts, functions = list[str](), list[tuple[float, str]]()
    for shape in root.iter():
        name, _, rest = (shape.get("id") or "").partition(":")
        if name == "fn":
            functions.append((float(shape.get("y") or 0), "".join(shape.itertext())))
        elif name in _CLASSES and rest:
            grey = name == "node" and "f-fixed" in (shape.get("class") or "")
            parts.append(_shape(shape, "c" if grey else _CLASSES[name]))
    if functions:  # their names stand to the right of all boxes, where no node is
        size, right = 11 * max(width / 190, height / 108, 1.6), width - 4
        below = -size
        for y, said in sorted(functions):  # names at one height stand under one another
            below = max(y, below + size)
            parts.append(_function(below, said, size, right))
        width = right + 0.62 * size * max(len(said) for _, said in functions)
    scale = max(width / 230, height / 108, 1.6)  # nodes of small networks are of one size; large networks shrink to fit
    return (
        f'<svg viewBox="-6 -6 {width + 12:.0f} {height + 12:.0f}" width="{(width + 12) / scale:.0f}" height="{(height + 12) / scale:.0f}" '
        f'aria-hidden="true">{"".join(parts)}</svg>'
    )


def _shape(shape: ElementTree.Element, cls: str) -> str:
    """A path, a circle or a rectangle: its geometry alone."""
    tag = shape.tag.rpartition("}")[2]
    kept = " ".join(f'{k}="{_short(shape.get(k) or "")}"' for k in _GEOMETRY if shape.get(k))
    return f'<{escape(tag)} class="{cls}" {kept}/>'


def _function(y: float, said: str, size: float, x: float) -> str:
    return f'<text class="f" font-size="{size:.0f}" x="{x:.0f}" y="{y:.0f}">{escape(said)}</text>'


def _short(numbers: str) -> str:
    """Coordinates with one digit behind the point; whatever else stands there is escaped."""
    return escape(re.sub(r"-?\d+\.\d+", lambda m: f"{float(m[0]):.1f}".removesuffix(".0"), numbers))
