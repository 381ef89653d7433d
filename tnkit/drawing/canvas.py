"""A scene on an Axes of matplotlib, which is imported here alone, and only when something is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from tnkit.core.extras import need
from tnkit.drawing.scene import Bezier, Circle, Plate, Scene, Words, printable
from tnkit.drawing.themes import DARK, LIGHT

__all__ = ["on_axes"]


def on_axes(scene: Scene, ax: Any, theme: str) -> Any:
    """Draw on an Axes; None makes a figure, without pyplot, of a size that fits."""
    mpl = _matplotlib()
    colours = DARK if theme == "dark" else LIGHT
    ax, unit = _canvas(mpl, scene, ax, colours)
    pen = _Pen(mpl, ax, unit, colours)
    for k, item in enumerate(scene.items):
        pen.draw(item, 1 + k / len(scene.items))
    if scene.title:
        ax.set_title(_spelled(scene.title, pen.known), fontsize=9, color=colours["dim"], parse_math=False)
    return ax


def _matplotlib() -> Any:
    need("drawing", "matplotlib.figure")
    import matplotlib.figure
    import matplotlib.patches
    import matplotlib.path

    return matplotlib


def _canvas(mpl: Any, scene: Scene, ax: Any, colours: Mapping[str, str]) -> tuple[Any, float]:
    """An Axes whose limits hold the scene (an inch a unit, if it is made here), and its points per unit."""
    size = scene.high - scene.low
    if ax is None:
        inches = min(1.0, 16 / max(size.real, size.imag))
        title = 0.3 if scene.title else 0.0
        height = size.imag * inches + title
        figure = mpl.figure.Figure(figsize=(max(size.real * inches, 2.5), height), facecolor=colours["ground"])
        ax = figure.add_axes((0, 0, 1, 1 - title / height))
    ax.set(xlim=(scene.low.real, scene.high.real), ylim=(scene.low.imag, scene.high.imag), aspect="equal")
    ax.set_axis_off()
    extent = ax.get_window_extent()
    return ax, min(extent.width / size.real, extent.height / size.imag) * 72 / ax.figure.dpi


def _letters() -> frozenset[int]:
    """Characters that the fonts of matplotlib's settings can draw, thin and bold; by default those of DejaVu Sans."""
    from matplotlib import font_manager

    def letters(weight: str) -> set[int]:
        found = []
        for name in font_manager.FontProperties().get_family():
            with suppress(ValueError):  # a family that is not installed
                wanted = font_manager.FontProperties(family=name, weight=weight)
                found.append(font_manager.findfont(wanted, fallback_to_default=False))
        found = found or [font_manager.findfont(font_manager.FontProperties(weight=weight))]
        return set().union(*(font_manager.get_font(font).get_charmap() for font in found))

    return frozenset(letters("normal") & letters("bold"))


def _spelled(text: str, known: frozenset[int]) -> str:
    """A text in which a character that the fonts lack is its code, as Python writes it, where an empty box would stand."""
    return "".join(c if c == "\n" or ord(c) in known else c.encode("unicode_escape").decode() for c in text)


class _Pen:
    """An Axes, and the points that one unit of length has on it."""

    def __init__(self, mpl: Any, ax: Any, unit: float, colours: Mapping[str, str]) -> None:
        self.mpl, self.ax, self.unit, self.colours = mpl, ax, unit, colours
        self.thin = max(0.4, min(1.3, unit / 72))
        self.known = _letters()

    def draw(self, item: Circle | Bezier | Plate | Words, order: float) -> None:
        """One item, above those of a lower order."""
        if isinstance(item, Words):
            self._words(item, order)
        elif isinstance(item, Bezier):
            self._curve(item, order)
        elif isinstance(item, Circle):
            place = (item.at.real, item.at.imag)
            look = {"fc": self._colour(item.fill), "ec": self._colour(item.rim), "lw": item.width * self.thin}
            self.ax.add_patch(
                self.mpl.patches.Circle(place, item.radius, gid=printable(item.gid), zorder=order, **look)
            )
        else:
            size = item.high - item.low
            look = {"fc": self._colour(item.fill), "ec": self._colour(item.rim), "lw": 0.8, "gid": printable(item.gid)}
            self.ax.add_patch(
                self.mpl.patches.FancyBboxPatch(
                    (item.low.real, item.low.imag), size.real, size.imag, boxstyle="round,pad=0,rounding_size=0.2",
                    zorder=order, **look,
                )
            )  # fmt: skip

    def _colour(self, role: str) -> str:
        return role if role[0] == "#" else self.colours[role]

    def _curve(self, item: Bezier, order: float) -> None:
        path = self.mpl.path.Path
        codes = [path.MOVETO] + [(path.LINETO, path.CURVE3, path.CURVE4)[len(item.points) - 2]] * (len(item.points) - 1)
        look: dict[str, Any] = {"ec": self._colour(item.color), "lw": item.width * self.thin, "capstyle": "round"}
        if item.dotted:
            look["ls"] = (0, (1, 2))
        shape = path([(z.real, z.imag) for z in item.points], codes)
        patch = self.mpl.patches.PathPatch(shape, fill=False, gid=printable(item.gid), zorder=order, **look)
        self.ax.add_patch(patch)

    def _words(self, item: Words, order: float) -> None:
        """Text whose size follows the drawing's scale, within what can be read."""
        look: dict[str, Any] = {"color": self._colour(item.color), "weight": "bold" if item.bold else "normal"}
        if item.halo:
            look["bbox"] = {"fc": self.colours["ground"], "ec": "none", "alpha": 0.6, "pad": 0.2}
        if item.tag:
            style = "circle,pad=0.15" if item.bold else "round,pad=0.2"
            fill, rim = map(self._colour, item.tag)
            look["bbox"] = {"fc": fill, "ec": rim, "lw": 0.6, "boxstyle": style}
        self.ax.text(
            item.at.real, item.at.imag, _spelled(printable(item.text), self.known), fontsize=max(3.5, min(11.0, item.size * self.unit / 72)),
            gid=printable(item.gid), parse_math=False, ha=("left", "center", "right")[item.across + 1], va="center",
            linespacing=0.95, zorder=order, **look,
        )  # fmt: skip
