"""A picture as a value: circles, curves, plates and words, with the roles of their colours; what draws them comes after."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Bezier", "Circle", "Item", "Plate", "Scene", "Words", "printable"]


@dataclass(frozen=True)
class Circle:
    """A filled circle; ``fill`` is a role of :mod:`tnkit.drawing.themes`, or ``#rrggbb``."""

    at: complex
    radius: float
    fill: str
    gid: str
    rim: str = "rim"
    width: float = 0.9


@dataclass(frozen=True)
class Bezier:
    """A line of two points, or a Bezier curve of three or four; the width is in points."""

    points: tuple[complex, ...]
    width: float
    color: str
    gid: str
    dotted: bool = False


@dataclass(frozen=True)
class Plate:
    """A rectangle with round corners, from the lower left to the upper right."""

    low: complex
    high: complex
    fill: str
    rim: str
    gid: str


@dataclass(frozen=True)
class Words:
    """Text; ``across`` is where its point is: -1 at its left end, 0 in the middle, 1 at its right end."""

    at: complex
    text: str
    size: float
    color: str
    gid: str
    across: int = 0
    bold: bool = False
    halo: bool = False  #: the ground shines around it
    tag: tuple[str, str] | None = None  #: fill and rim of a plate behind it

    @property
    def reach(self) -> tuple[float, float]:
        """Half its width and half its height, in units: letters are about 0.6 wide and 1.2 high, of their size."""
        rows = self.text.split("\n")
        return 0.3 * self.size / 72 * max(map(len, rows)), 0.6 * self.size / 72 * len(rows)

    @property
    def cover(self) -> tuple[float, float]:
        """The same with the plate behind it, which is round where the text is short."""
        wide, high = self.reach
        if self.tag is None:
            return wide, high
        return (wide + 0.05, high + 0.02) if len(self.text) > 2 else (high + 0.03, high + 0.03)

    @property
    def centre(self) -> complex:
        """Its middle."""
        return self.at - self.across * self.reach[0]


Item = Circle | Bezier | Plate | Words


@dataclass(frozen=True)
class Scene:
    """What is drawn, from the back to the front, and the corners of it; a unit is an inch."""

    items: tuple[Item, ...]
    low: complex
    high: complex
    title: str = ""  #: written above the picture
    about: str = ""  #: what it shows, for those who do not see it


def printable(name: str) -> str:
    """A name without the characters that XML, and so an SVG, cannot hold."""
    return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]", "\N{REPLACEMENT CHARACTER}", name)
