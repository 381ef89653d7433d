"""Ways to adapt a model, from ``examples/results/adapters.json``: docs/neural-networks.md."""

from __future__ import annotations

from scipy.stats import ttest_rel
from table_parts import table

from rendering.common import Records, aged, example, name, percent, spread


def table_of() -> str:
    """Test accuracy of every way to adapt a model: mean and standard deviation over the seeds, and beside LoRA seed by seed."""
    ways: dict[str, Records] = {}
    for row in example("adapters")["records"]:
        ways.setdefault(row["way"], []).append(row)
    lines = []
    for way, rows in ways.items():
        beside = [r["test"] - other["test"] for r, other in zip(rows, ways["low_rank"], strict=True)]
        rates = sorted({r["rate"] for r in rows})
        lines.append(
            [ADAPTED.get(way, name(way)), f"{rows[0]['parameters']:,}", spread(r["test"] for r in rows), percent(r["val"] for r in rows),
             "" if way == "low_rank" else spread(beside), "" if way == "nothing" else ", ".join(f"{rate:g}" for rate in rates)]
        )  # fmt: skip
    heads = [
        "trained beside the head",
        "parameters",
        "test accuracy, %",
        "validation, %",
        "minus low rank, points",
        "rates chosen",
    ]
    return table(heads, lines)


ADAPTED = {
    "nothing": "nothing, nor the head",
    "head alone": "nothing",
    "all weights": "all weights",
    "low_rank": "low rank (LoRA)",
}


def said() -> str:
    """How the adapters are beside low rank, seed by seed, by a paired t test."""
    rows = example("adapters")["records"]
    reached = {way: [r["test"] for r in rows if r["way"] == way] for way in dict.fromkeys(r["way"] for r in rows)}
    others = [way for way in reached if way not in ("low_rank", "nothing", "head alone", "all weights")]
    tests = {way: ttest_rel(reached[way], reached["low_rank"]).pvalue for way in others}
    least = min(tests, key=lambda way: tests[way])
    told = tests[least] * len(others) < 0.05
    verdict = (
        f"{name(least)} differs significantly from low rank" if told else "no difference from low rank is significant"
    )
    return (
        f"Over {len(reached['low_rank'])} seeds {verdict}: the smallest p is {tests[least]:.3f} ({name(least)}), before a correction for "
        f"{len(others)} comparisons.{aged('adapters')}"
    )
