"""The committed record of the table, from which docs/tools.md is rendered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .kinds import KINDS
from .table import FAILS, TOOLS, WORKS, expected, outcome

PATH = Path(__file__).parents[4] / "docs" / "results" / "tools.json"
PACKAGES = ("torch", "safetensors", "onnxruntime", "lightning", "accelerate", "transformers", "peft")


def row(name: str) -> dict[str, Any]:
    """A tool's row: the largest difference, if it tells one, and the cells that do not work, by verdict and message."""
    tool, others, differences = TOOLS[name], dict[tuple[str, str], list[str]](), list[float]()
    for kind in KINDS.values():
        verdict, message = outcome(tool, kind)
        if verdict != WORKS:
            rule = expected(tool, kind)
            message = rule.why if rule.why and verdict == rule.verdict else message
            others.setdefault((verdict, message), []).append(kind.name)
        elif message:
            differences.append(float(message))
    found: dict[str, Any] = {"tool": name}
    if differences:
        found["difference"] = max(differences)
    return found | {"others": [{"verdict": v, "message": m, "kinds": kinds} for (v, m), kinds in others.items()]}


def write(names: Sequence[str] = ()) -> None:
    """Run all, or the tools whose names have one of these parts, and write the record; SystemExit where a cell fails raw."""
    known = {row["tool"]: row for row in read()["rows"]} if names else {}
    for name in TOOLS:
        if not names or any(part in name for part in names):
            known[name] = row(name)
            print(name, flush=True)
    rows = [known[name] for name in TOOLS]
    versions = {package: version(package).partition("+")[0] for package in PACKAGES}
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(json.dumps({"versions": versions, "kinds": list(KINDS), "rows": rows}, indent=1) + "\n")
    failed = [(r["tool"], o) for r in rows for o in r["others"] if o["verdict"] == FAILS]
    if failed:
        raise SystemExit("\n".join(f"{tool}: {o['kinds']}: {o['message']}" for tool, o in failed))


def read() -> dict[str, Any]:
    """What is committed."""
    found: dict[str, Any] = json.loads(PATH.read_text())
    return found
