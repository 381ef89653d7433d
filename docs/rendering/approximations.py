"""Ways to approximate a weight, from ``benchmarks/paper/approximation.json``: docs/approximation.md."""

from __future__ import annotations

from collections import Counter
from statistics import mean

import tables
from table_parts import table

from rendering.common import name, percent, results


def methods() -> str:
    """Errors of the ways to approximate one weight."""
    found = results("approximation")["methods"]
    ways = list(found[0]["errors"])
    lines = [
        [name(row["family"]), str(row["budget"]), *("" if e is None else f"{e:.3f}" for e in row["errors"].values())]
        for row in found
    ]
    return table(["family", "budget", *ways], lines)


def demo() -> str:
    """The demo's rows before there was one approximation, and now."""
    before, now = (tables.grouped(results("approximation")[when]) for when in ("before", "now"))
    heads = ["family", "budget", "parameters", "error, before", "now", "found by"]
    for reading in ("after it", "frozen", "trained"):
        heads += [f"{reading}, before", "now"]
    lines = []
    for budget in (100, 300, 1000):
        for label in before:
            old, new = ([r for r in rows[label] if r["budget"] == budget] for rows in (before, now))
            if not old or not new[0]["approximation"]:
                continue
            ways = Counter(way for r in new for way in r["approximation"].values())
            line = [name(label), str(budget), f"{new[0]['num_params']:,}"]
            line += [f"{mean(r['error'] for r in rows):.3f}" for rows in (old, new)]
            line += ["; ".join(f"{way} ({n})" if len(ways) > 1 else way for way, n in ways.items())]
            for key in ("test_fit", "test_frozen", "test_trained"):
                line += [percent(r[key] for r in rows) for rows in (old, new)]
            lines.append(line)
    return table(heads, lines)
