"""The table of docs/tools.md, from the record that ``python -m tests.nn.adapter.test_tools`` writes."""

from __future__ import annotations

import json
import re
from typing import Any

from rendering.common import DOCS

RECORD = DOCS / "results" / "tools.json"
#: Verdict -> what a reader is told.
WORDS = {"refused": "refused", "limit": "the tool's own limit", "no such thing": "no such thing"}
_CLASS = re.compile(r"\b(Parametrized)?[A-Z]\w+|\bweight_\w+|\bin_proj_weight")


def rendered() -> str:
    """A row a tool: for how many kinds it works, and what else there is."""
    found = json.loads(RECORD.read_text(encoding="utf-8"))
    lines = ["| tool | works for | otherwise |", "| --- | --- | --- |"]
    for row in found["rows"]:
        works = len(found["kinds"]) - sum(len(o["kinds"]) for o in row["others"])
        told = f" (largest difference {row['difference']:.0e})" if "difference" in row else ""
        others = "<br>".join(map(_other, _merged(row["others"])))
        lines.append(f"| {row['tool']} | {works} of {len(found['kinds'])}{told} | {others} |")
    kinds = "; ".join(found["kinds"])
    used = ", ".join(f"{package} {number}" for package, number in found["versions"].items())
    return "\n".join([*lines, "", "| of what | |", "| --- | --- |", f"| kinds | {kinds} |", f"| versions | {used} |"])


def _merged(others: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Cells whose messages differ in names of classes and weights alone, under the first message."""
    out: dict[tuple[str, str], dict[str, Any]] = {}
    for o in others:
        alike = _CLASS.sub("", o["message"])
        known = out.setdefault((o["verdict"], alike[-60:]), {**o, "kinds": []})
        known["kinds"] = known["kinds"] + o["kinds"]
    return list(out.values())


def _other(other: dict[str, Any]) -> str:
    """A verdict, its kinds and its message, as a part of a cell."""
    message = other["message"].replace("`", "").replace("|", "/")
    return f"{WORDS[other['verdict']]}: {'; '.join(other['kinds'])} (`{message}`)"
