"""What docs/explorer/index.html knows beside the tables: families, their calls and their pictures, from the registries.

``make docs`` writes docs/explorer/families.js and docs/explorer/pictures/ (docs/render.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import tnkit as tk
from rendering import gallery
from rendering.common import DOCS
from rendering.explorer_tables import BATCHES, FAMILIES, PARTS, STATE, WEIGHT, Shown, dense

EXPLORER = DOCS / "explorer"
INDEX = EXPLORER / "families.js"
PICTURES = EXPLORER / "pictures"
#: Settings by which a picture differs; the others are those of a network that can be read.
PICTURED = ("sites", "digits", "depth", "passes")
TYPICAL = {"rows": 256, "cols": 256, "rank": 4, "dim": 2}


def drawings(name: str) -> Iterator[tuple[Path, dict[str, int]]]:
    """The pictures of a family: file, and the settings of the network in it."""
    shown = FAMILIES[name]
    axes = [axis for axis in shown.grid if axis in PICTURED]
    for values in product(*(shown.grid[axis] for axis in axes)):
        settings = {**TYPICAL, **dict(zip(axes, values, strict=True)), **shown.drawn}
        yield PICTURES / f"{'-'.join([name, *map(str, values)])}.svg", settings


def pictures() -> dict[Path, str]:
    """File -> picture, for all families."""
    found = (drawing for name in FAMILIES for drawing in ((name, *one) for one in drawings(name)))
    return {
        path: tk.to_svg(FAMILIES[name].build(settings), labels=False, sizes=False) for name, path, settings in found
    }


def index() -> str:
    """The page's data, as a script that it loads."""
    data = {
        "families": {name: _family(name, shown) for name, shown in FAMILIES.items()},
        "parts": {name: _part(of, make) for name, (of, make) in PARTS.items()},
        "batches": BATCHES,
        "dense": {f"{r},{c}": [dense(r, c, b) for b in BATCHES] for r, c in product(WEIGHT["rows"], WEIGHT["cols"])},
    }  # fmt: skip
    return f"const explorer = {json.dumps(data, indent=1, ensure_ascii=False)};\nexplorer.tables = {{}};\n"


def _family(name: str, shown: Shown) -> dict[str, Any]:
    entry = gallery.entries()[shown.builder]
    return {
        "title": entry["title"], "builder": shown.builder, "kind": "weight" if shown.weight else "state", "call": shown.call,
        "axes": {axis: list(values) for axis, values in shown.grid.items()},
        "pictured": [axis for axis in shown.grid if axis in PICTURED], "drawn": dict(shown.drawn),
        "formula": gallery.formula(shown.builder), "holds": entry["holds"], "limits": entry["limits"],
        "anchor": gallery.anchor(shown.builder),
    }  # fmt: skip


def _part(of: tuple[str, ...], make: Any) -> Mapping[str, Any]:
    """A part of calls: the settings that it depends on, and its text for all their values."""
    grids = {**WEIGHT, **STATE, "digits": (2, 3, 4), "depth": (2, 3, 4)}
    return {
        "of": of,
        "values": {",".join(map(str, values)): repr(make(*values)) for values in product(*(grids[axis] for axis in of))},
    }  # fmt: skip


def write() -> None:
    """Write the page's data and pictures; the tables are written by rendering/explorer_tables.py."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    INDEX.write_text(index(), encoding="utf-8")
    for path, drawn in pictures().items():
        path.write_text(drawn, encoding="utf-8")
