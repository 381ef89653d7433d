"""One's own model, data, loss and metric, from ``examples/results``: docs/your-own.md."""

from __future__ import annotations

from functools import cache
from typing import Any

from table_parts import table

from rendering.common import aged, example, name
from tnkit_nn.comparison.measure import Measure
from tnkit_nn.comparison.paired import NO_STATEMENT
from tnkit_nn.comparison.report.tables import rows as table_rows
from tnkit_nn.comparison.result import Comparison
from tnkit_nn.comparison.statistics import against_controls, deep_against_shallow, outcomes

OWN = ["lstm", "segmenter", "regression", "gpt", "dict_output", "streaming"]


@cache
def compared(file: str) -> dict[str, Any]:
    """What an example found, its records as a comparison."""
    found = example(file)
    return found | {"records": Comparison(found["records"])}


def table_of(reading: str) -> str:
    """The best deep and the best shallow network of every example, beside the controls."""
    controls = [
        "dense_trained_on",
        "hashed",
        "subspace",
        *(["removed", "small_dense"] if reading == "trained" else ["frozen_random"]),
    ]
    lines = []
    for file in OWN:
        records = compared(file)["records"]
        of = {row.label: row for row in table_rows(records)}
        gaps = [d for d in deep_against_shallow(records) if d.reading == reading]
        measure = gaps[0].measure
        deep, *shallow = (
            f"{name(label)}: {_reached(of[label], reading, measure)} ({of[label].num_params})"
            for label in (gaps[0].one, *(d.other for d in gaps))
        )
        lines.append(
            [
                f"{file}, {measure.name}{measure.of_unit}{measure.direction}", deep, "; ".join(shallow), "; ".join(dict.fromkeys(map(_worded, gaps))),
                *(_reached(of[label], reading, measure) for label in controls),
            ]
        )  # fmt: skip
    heads = [
        "example",
        "best deep (parameters)",
        "shallow rivals (parameters)",
        "deep or shallow",
        *map(name, controls),
    ]
    return table(heads, lines)


def _worded(gap: Any) -> str:
    """What a difference says, with its p-value where there is a significant one."""
    if gap.p >= 0.05:
        return str(gap.words)
    return f"{gap.refused}: no statement" if gap.refused else f"deep is {gap.words}, p {gap.p_text}"


def _reached(row: Any, reading: str, measure: Measure) -> str:
    """Mean and standard deviation over the seeds."""
    middle, spread = getattr(row, f"test_{reading}")
    return f"{measure.number(middle)} ± {measure.number(spread)}"


def said() -> str:
    """How often a deep network was better, against a shallow one and against the hash; how long it took."""
    found = [compared(file) for file in OWN]
    pairs = [deep_against_shallow(e["records"]) for e in found]
    hashed = [
        d for e, mine in zip(found, pairs, strict=True) for d in against_controls(e["records"])
        if (d.one, d.reading) in {(best.one, best.reading) for best in mine} and d.other == "hashed"
    ]  # fmt: skip
    better, asked, worse, of = map(sum, zip(*map(outcomes, pairs), strict=True))
    shallow = (
        f"The best deep network is significantly better than the best shallow one with no fewer parameters in {better or 'none'} of {asked} comparisons. "
        f"It is worse than the best one with no more in {worse or 'none'} of {of}."
    )
    won, lost, refused = (sum(d.words == w for d in hashed) for w in ("better", "worse", NO_STATEMENT))
    hash_said = f"Against the hash it is better in {won} of {len(hashed)} comparisons, and worse in {lost}."
    if refused:
        hash_said += f" In {refused} the one that is ahead has more parameters, so nothing is said."
    seeds = sorted({d.seeds for mine in pairs for d in mine})
    seconds = sorted(e["seconds"]["processor"] for e in found)
    return (
        f"{shallow} {hash_said} There are {' or '.join(map(str, seeds))} seeds. "
        f"A script took {seconds[0]:.0f} to {seconds[-1]:.0f} seconds of one processor, on a machine that did other work too.{aged(*OWN)}"
    )
