"""A scene as a tikzpicture, for LaTeX."""

from __future__ import annotations

from tnkit.drawing.scene import Bezier, Circle, Item, Plate, Scene, Words, printable
from tnkit.drawing.themes import LIGHT

__all__ = ["tikz_of"]

#: What TeX would read otherwise, or cannot; a straight quote is in no font of its own encoding, OT1.
_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "…": r"\dots{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedblright{}", "\N{REPLACEMENT CHARACTER}": "?",
    **dict.fromkeys("\t\r\N{NEXT LINE}", " "), **{chr(k): "?" for k in range(0x7F, 0xA0) if k != 0x85},
}  # fmt: skip


def tikz_of(scene: Scene) -> str:
    """The picture, an inch a unit; its colours are defined in it."""
    items = scene.items
    if scene.title:
        top = complex((scene.low.real + scene.high.real) / 2, scene.high.imag + 0.15)
        items = (*items, Words(top, scene.title, 9, "dim", "title"))
    used: dict[str, str] = {}
    body = [line for item in items for line in _drawn(item, used)]
    colours = [rf"  \definecolor{{{name}}}{{HTML}}{{{color[1:].upper()}}}" for color, name in used.items()]
    return "\n".join(
        [
            r"\begin{tikzpicture}[x=1in, y=1in, line cap=round]",
            *colours,
            *(f"  {line}" for line in body),
            r"\end{tikzpicture}",
        ]
    )


def _color(role: str, used: dict[str, str]) -> str:
    """A colour's name, which says what it is for, or which one it is."""
    color = role if role[0] == "#" else LIGHT[role]
    return used.setdefault(color, "tn" + (role[1:] if role[0] == "#" else role))


def _xy(z: complex) -> str:
    return f"({z.real:.3f},{z.imag:.3f})".replace("-0.000", "0.000")


def _drawn(item: Item, used: dict[str, str]) -> list[str]:
    if isinstance(item, Circle):
        look = f"fill={_color(item.fill, used)}, draw={_color(item.rim, used)}, line width={item.width:.2f}pt"
        return [rf"\filldraw[{look}] {_xy(item.at)} circle [radius={item.radius:.3f}];"]
    if isinstance(item, Bezier):
        return [_curve(item, used)]
    if isinstance(item, Plate):
        look = f"fill={_color(item.fill, used)}, draw={_color(item.rim, used)}, line width=0.80pt, rounded corners=8pt"
        return [rf"\filldraw[{look}] {_xy(item.low)} rectangle {_xy(item.high)};"]
    return [_words(item, used)]


def _curve(item: Bezier, used: dict[str, str]) -> str:
    look = f"draw={_color(item.color, used)}, line width={item.width:.2f}pt" + (", dotted" if item.dotted else "")
    start, *control, stop = item.points
    if len(control) == 1:  # TikZ draws cubic curves
        control = [start + 2 / 3 * (control[0] - start), stop + 2 / 3 * (control[0] - stop)]
    bend = f"-- {_xy(stop)}" if not control else f".. controls {_xy(control[0])} and {_xy(control[1])} .. {_xy(stop)}"
    return rf"\draw[{look}] {_xy(start)} {bend};"


def _words(item: Words, used: dict[str, str]) -> str:
    anchor = {-1: "west", 0: "center", 1: "east"}[item.across]
    size = rf"\fontsize{{{item.size:.1f}}}{{{1.1 * item.size:.1f}}}\selectfont"
    look = f"anchor={anchor}, inner sep=1pt, text={_color(item.color, used)}, font={size}\\sffamily"
    look += r"\bfseries" if item.bold else ""
    if item.tag:
        look += f", fill={_color(item.tag[0], used)}, draw={_color(item.tag[1], used)}" + (
            ", circle" if item.bold else ""
        )
    if "\n" in item.text:
        look += ", align=center"
    text = r"\\{}".join(  # what follows a line break in square brackets would be its length
        "".join(_SPECIAL.get(c, c) for c in printable(row)) for row in item.text.split("\n")
    )
    return rf"\node[{look}] at {_xy(item.at)} {{{text}}};"
