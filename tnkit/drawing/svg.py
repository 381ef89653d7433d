"""A scene as an SVG document, its text as text, light and dark in one file; no library is needed."""

from __future__ import annotations

from html import escape

from tnkit.drawing.scene import Bezier, Circle, Item, Plate, Scene, Words, printable
from tnkit.drawing.themes import DARK, LIGHT

__all__ = ["svg_of"]

_UNIT = 72  #: points a unit
_WIDEST = 1200  #: points on the page; a wider picture is shown smaller


def svg_of(scene: Scene, theme: str) -> str:
    """The document; ``theme`` is ``"auto"`` (as the reader's system), ``"light"`` or ``"dark"``."""
    size = scene.high - scene.low + (0.3j if scene.title else 0)
    width, height = max(2.5, size.real) * _UNIT, size.imag * _UNIT
    shift = (width - size.real * _UNIT) / 2
    top = scene.low.imag + size.imag
    seen: set[str] = set()
    drawn = "\n".join(_Pencil(scene.low.real - shift / _UNIT, top, seen).drawn(item) for item in scene.items)
    title = f'<text class="f-dim" x="{_n(width / 2)}" y="14" font-size="9" text-anchor="middle">{_text(scene.title)}</text>\n'
    scale = min(1.0, _WIDEST / width)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="tnkit" role="img" aria-label="{_text(scene.about)}" '
        f'width="{_n(width * scale)}pt" height="{_n(height * scale)}pt" viewBox="0 0 {_n(width)} {_n(height)}">\n'
        f"<title>{_text(scene.about)}</title>\n<style>{_style(theme)}</style>\n"
        f"{title if scene.title else ''}{drawn}\n</svg>\n"
    )


def _style(theme: str) -> str:
    text = ".tnkit text{font-family:'DejaVu Sans',Verdana,sans-serif;dominant-baseline:central}.tnkit path{stroke-linecap:round}"
    text += _rules(DARK if theme == "dark" else LIGHT, LIGHT if theme == "dark" else {})
    return text + (f"@media(prefers-color-scheme:dark){{{_rules(DARK, LIGHT)}}}" if theme == "auto" else "")


def _rules(colours: object, other: object) -> str:
    assert isinstance(colours, dict) and isinstance(other, dict)
    return "".join(f".tnkit .f-{role}{{fill:{c}}}.tnkit .s-{role}{{stroke:{c}}}" for role, c in colours.items())


def _n(x: float) -> str:
    return f"{x:.2f}".rstrip("0").rstrip(".")


def _text(text: str) -> str:
    return escape(printable(text))


def _id(gid: str) -> str:
    """A name as an attribute, where XML would read tabs and line breaks as spaces."""
    return _text(gid).translate({ord(c): f"&#{ord(c)};" for c in "\t\n\r"})


class _Pencil:
    """Items as elements, in points from the upper left; each id is given once."""

    def __init__(self, left: float, top: float, seen: set[str]) -> None:
        self.left, self.top, self.seen = left, top, seen

    def drawn(self, item: Item) -> str:
        if isinstance(item, Circle):
            return self._circle(item)
        if isinstance(item, Bezier):
            return self._curve(item)
        return self._plate(item) if isinstance(item, Plate) else self._words(item)

    def _xy(self, z: complex) -> tuple[str, str]:
        return _n((z.real - self.left) * _UNIT), _n((self.top - z.imag) * _UNIT)

    def _head(self, gid: str, fill: str = "", stroke: str = "") -> str:
        """The id and the colours: roles are classes, others are written as they are."""
        written = _id(gid)
        name = f' id="{written}"' if written not in self.seen else ""
        self.seen.add(written)
        roles = [f"{side}-{role}" for side, role in (("f", fill), ("s", stroke)) if role and role[0] != "#"]
        plain = [f' {side}="{c}"' for side, c in (("fill", fill), ("stroke", stroke)) if c[:1] == "#"]
        none = "" if fill else ' fill="none"'
        return name + (f' class="{" ".join(roles)}"' if roles else "") + "".join(plain) + none

    def _circle(self, item: Circle) -> str:
        x, y = self._xy(item.at)
        head = self._head(item.gid, item.fill, item.rim)
        return f'<circle{head} cx="{x}" cy="{y}" r="{_n(item.radius * _UNIT)}" stroke-width="{_n(item.width)}"/>'

    def _curve(self, item: Bezier) -> str:
        places = [" ".join(self._xy(z)) for z in item.points]
        path = f"M{places[0]}{' LQC'[len(places) - 1]}{' '.join(places[1:])}"
        dots = ' stroke-dasharray="2 4"' if item.dotted else ""
        return f'<path{self._head(item.gid, "", item.color)} d="{path}" stroke-width="{_n(item.width)}"{dots}/>'

    def _plate(self, item: Plate, radius: float = 0.2, width: float = 0.8) -> str:
        x, y = self._xy(complex(item.low.real, item.high.imag))
        size = item.high - item.low
        place = f'x="{x}" y="{y}" width="{_n(size.real * _UNIT)}" height="{_n(size.imag * _UNIT)}"'
        head = self._head(item.gid, item.fill, item.rim)
        return f'<rect{head} {place} rx="{_n(min(radius, size.imag / 2) * _UNIT)}" stroke-width="{_n(width)}"/>'

    def _words(self, item: Words) -> str:
        behind = ""
        if item.tag:
            cover = complex(*item.cover)
            plate = Plate(item.centre - cover, item.centre + cover, *item.tag, gid=f"tag:{item.gid}")
            behind = self._plate(plate, 0.5 if item.bold else 0.04, 0.6) + "\n"
        x, y = self._xy(item.at)
        rows = item.text.split("\n")
        step = 1.0 * item.size
        lines = "".join(
            f'<tspan x="{x}" dy="{_n(step if k else -step * (len(rows) - 1) / 2)}">{_text(text)}</tspan>'
            for k, text in enumerate(rows)
        )
        body = lines if len(rows) > 1 else _text(item.text)
        anchor = ("start", "middle", "end")[item.across + 1]
        look = (' font-weight="bold"' if item.bold else "") + (
            ' paint-order="stroke" stroke-width="2.5" stroke-opacity=".7"' if item.halo else ""
        )
        head = self._head(item.gid, item.color, "ground" if item.halo else "")
        return f'{behind}<text{head} x="{x}" y="{y}" font-size="{_n(item.size)}" text-anchor="{anchor}"{look}>{body}</text>'
