"""Colours of pictures by what they are for, on a light ground and on a dark one; colours that users give."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tnkit.core.checks import shown

__all__ = ["DARK", "LIGHT", "NAMED", "TIED", "colour_of"]

#: How many colours tied nodes have before they repeat.
TIED = 8

#: Role -> colour.
LIGHT: Mapping[str, str] = {
    "ground": "#ffffff", "line": "#4d5561", "rim": "#333a45", "ink": "#15181d", "dim": "#5b6470", "leg": "#b3302e", "dot": "#15181d",
    "node": "#9ecae1", "fixed": "#d9d9d9", "mark": "#e8590c", "box0": "#fdebc8", "box1": "#fff7e6", "boxline": "#d08700",
    "boxink": "#80530a", "step": "#fee391", "stepline": "#cc4c02", "stepink": "#15181d",
    "tied0": "#fdae6b", "tied1": "#a1d99b", "tied2": "#bcbddc", "tied3": "#fc9272", "tied4": "#dfc27d", "tied5": "#80cdc1",
    "tied6": "#fa9fb5", "tied7": "#c7e9b4",
}  # fmt: skip
DARK: Mapping[str, str] = {
    **LIGHT, "ground": "#14171c", "line": "#aab4c0", "rim": "#e4e8ee", "dim": "#b3bcc8", "leg": "#ff8f86", "dot": "#eef1f5",
    "node": "#7fb2d1", "fixed": "#a3a3a3", "mark": "#ff9d4d", "box0": "#3a2f18", "box1": "#2a2415", "boxline": "#d9a13a",
    "boxink": "#f2cf8d", "step": "#f2cf5b", "stepline": "#ff9d4d",
}  # fmt: skip

#: Colours that may be given by name, as CSS has them.
NAMED: Mapping[str, str] = {
    "black": "#000000", "white": "#ffffff", "gray": "#808080", "grey": "#808080", "silver": "#c0c0c0", "red": "#ff0000",
    "maroon": "#800000", "orange": "#ffa500", "gold": "#ffd700", "yellow": "#ffff00", "olive": "#808000", "lime": "#00ff00",
    "green": "#008000", "teal": "#008080", "cyan": "#00ffff", "blue": "#0000ff", "navy": "#000080", "skyblue": "#87ceeb",
    "purple": "#800080", "violet": "#ee82ee", "magenta": "#ff00ff", "pink": "#ffc0cb", "salmon": "#fa8072", "brown": "#a52a2a",
    "tan": "#d2b48c",
}  # fmt: skip


def colour_of(value: Any, what: str) -> str:
    """A colour as ``#rrggbb``; TypeError for no text, ValueError for an unknown one.

    >>> colour_of("gold", "color"), colour_of("#FA0", "color")
    ('#ffd700', '#ffaa00')
    """
    rule = f"{what} is '#rrggbb', '#rgb' or a name ({', '.join(NAMED)})"
    if not isinstance(value, str):
        raise TypeError(f"{rule}, not {shown(value)}")
    text = value.lower()
    if text in NAMED:
        return NAMED[text]
    if re.fullmatch("#[0-9a-f]{6}", text):
        return text
    if re.fullmatch("#[0-9a-f]{3}", text):
        return "#" + "".join(2 * digit for digit in text[1:])
    raise ValueError(f"{rule}, not {shown(value)}")
