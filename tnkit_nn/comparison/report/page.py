"""A comparison as one self-contained page that answers first: a sentence, a figure, a table; all else is folded under them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from tnkit_nn.comparison.conditions import edges
from tnkit_nn.comparison.measure import Measure, average, measure_of
from tnkit_nn.comparison.records import Records, records_of
from tnkit_nn.comparison.report.compute import compute_cells, compute_headers, costs_known
from tnkit_nn.comparison.report.facts import facts
from tnkit_nn.comparison.report.figures import PlotView, kind_of, views
from tnkit_nn.comparison.report.hero import NARROW, WIDE, hero
from tnkit_nn.comparison.report.pictures import pictures
from tnkit_nn.comparison.report.scale import Scale, scale_of
from tnkit_nn.comparison.report.strips import interval_strip, reach, seeds_strip
from tnkit_nn.comparison.report.tables import TableRow, cells, headers, rows
from tnkit_nn.comparison.sentences import answer, headline, verdict
from tnkit_nn.comparison.statistics import (
    READINGS,
    Runs,
    against_controls,
    deep_against_shallow,
    paired_cells,
    paired_headers,
    short,
    starts_cells,
    starts_headers,
)  # fmt: skip
from tnkit_nn.pages.render import footer, render

__all__ = ["page", "summary"]

_PACKAGE = "tnkit_nn.comparison.report"
#: Columns that are shown from the start, besides the readings that there are and the last one's gain.
_SHOWN = ("family", "parameters", "error (baseline)")
#: A folded table of more rows stands in its own file only.
_FOLDED = 600
#: With more rows than this, nothing is drawn against FLOPs and time.
_MANY = 300
#: With more rows than this, the table begins with one budget.
_ONE_BUDGET = 30


@dataclass(frozen=True)
class _Column:
    """A column of the table: whether it is shown from the start, and the reading whose seeds stand in its cells."""

    name: str
    what: str
    shown: bool
    reading: str | None


def page(records: Records, title: str) -> str:
    """The page; ``title`` is that of the browser's tab."""
    records = records_of(records, "page")
    first, every, measure = records[0], rows(records), measure_of(records)
    found = _views(records, every)
    budgets = sorted({r.budget for r in every if r.budget is not None})
    families = _described(every)
    forms = {"wide": WIDE, "narrow": NARROW}
    return render(
        "page.html.j2", _PACKAGE, title=title, kicker=_kicker(first), headline=f"{headline(records)}.", answer=answer(records),
        views=[(v, {name: hero(v, form, budgets) for name, form in forms.items()}) for v in found], budgets=budgets,
        missing=list(dict.fromkeys(name for v in found for name in v.missing)),
        labels=list(dict.fromkeys(line.label for v in found for line in v.lines)), begins=_begins(every), readings={r: n for r, n in READINGS.items() if any(v.name.startswith(r) for v in found)},
        against=_against(found), columns=_columns(records, measure), groups=_groups(records, every, measure), strips=_strips_said(records, measure),
        facts=facts(records), families=families, families_at={label: k for k, label in enumerate(families, 1)}, pairs=_pairs(records), pictures=pictures(records), headers=headers(measure),
        verdict=verdict(records), controls=_controls(records), starts=_starts(records, measure), compute=_compute(records, measure),
        first=first, edges=edges(records), elsewhere=max(r["trained_elsewhere"] for r in records), seeds=sorted({r["seed"] for r in records}),
        several=", " in first["layer"], measure=measure, footer=footer(first["machine"], first["versions"], first["command"]),
    )  # fmt: skip


def summary(records: Records) -> str:
    """The answer, the figure and the table as a piece of HTML: what a notebook shows."""
    records = records_of(records, "summary")
    every, measure, found = rows(records), measure_of(records), views(records, ["params"])
    return render(
        "summary.html.j2", _PACKAGE, headline=headline(records), answer=answer(records), figure=hero(found[0], WIDE) if found else "",
        reading=READINGS.get(found[0].name.split("-")[0]) if found else None, headers=headers(measure), rows=[(r.tip, cells(r, measure)) for r in every],
    )  # fmt: skip


def _views(records: Records, every: Sequence[TableRow]) -> list[PlotView]:
    """What the switches show: against parameters alone where there are very many rows."""
    return views(records) if len(every) <= _MANY else views(records, ["params"])


def _kicker(first: Mapping[str, Any]) -> str:
    """What was compared, in a few words."""
    where = f", {'layers' if ', ' in first['layer'] else 'layer'} {first['layer']}" if first["layer"] else ""
    return f"Deep or shallow? {first['title']}{where}"


def _against(found: Sequence[PlotView]) -> dict[str, str]:
    """The horizontal axes that there are, in a word."""
    words = {"params": "parameters", "flops": "FLOPs", "time": "time"}
    return {key: word for key, word in words.items() if any(v.name.endswith(key) and v.measure for v in found)}


# -- the table ------------------------------------------------------------------------------------------------------
def _columns(records: Records, measure: Measure) -> list[_Column]:
    both = any(r["test_trained"] is not None for r in records) and any(r["test_frozen"] is not None for r in records)
    last = "gain " if both else "gain"
    names = {name: r for r, name in READINGS.items() if any(x[f"test_{r}"] is not None for x in records)}
    begins = {*_SHOWN, *names, last}
    return [
        _Column(name.strip() if name != "gain " else "gain, fine-tuned", what, name in begins, names.get(name))
        for name, what in headers(measure).items()
    ]  # fmt: skip


def _begins(every: Sequence[TableRow]) -> int | None:
    """The budget that the table begins with: the largest, where there are many rows; None for all of them."""
    budgets = [r.budget for r in every if r.budget is not None]
    return max(budgets) if budgets and len(every) > _ONE_BUDGET and len(set(budgets)) > 1 else None


def _groups(records: Records, every: Sequence[TableRow], measure: Measure) -> list[dict[str, Any]]:
    """The rows of each budget, the largest first, then those without one; within, the best on test examples first."""
    kinds = {(r["label"], r["budget"]): kind_of(r) for r in records}
    runs, scale = {reading: Runs(records, reading) for reading in READINGS}, _strip_scale(records, measure)
    found: dict[int | None, list[TableRow]] = {}
    for row in every:
        found.setdefault(row.budget, []).append(row)
    order = sorted((b for b in found if b is not None), reverse=True) + [None] * (None in found)
    return [
        {
            "budget": budget,
            "rows": [
                (row.label, kinds[row.label, budget], cells(row, measure), _strips(row, runs, scale, measure))
                for row in sorted(found[budget], key=lambda r: -_rank(r, measure))
            ],
        }
        for budget in order
    ]


def _rank(row: TableRow, measure: Measure) -> float:
    score = row.test_trained or row.test_frozen
    return measure.order(score[0]) if score else -float("inf")


def _values(records: Records, measure: Measure) -> list[float]:
    keys = [f"test_{reading}" for reading in READINGS]
    found = [measure.factor * r[k] for r in records for k in keys if r["budget"] is not None and r[k] is not None]
    return sorted(v for v in found if isfinite(v))


def _strip_scale(records: Records, measure: Measure) -> Scale:
    """From where all but the worst tenth of the seeds begin, to the best one."""
    values = _values(records, measure)
    cut = len(values) // 10
    return scale_of(values[cut:] if measure.larger else values[: len(values) - cut], measure, 0.02)


def _strips_said(records: Records, measure: Measure) -> str:
    """The ends of the strips, as text."""
    values = _values(records, measure)
    cut = len(values) // 10
    values = values[cut:] if measure.larger else values[: len(values) - cut]
    low, high = (measure.number(v / measure.factor) for v in (values[0], values[-1])) if values else ("", "")
    return f"{low} to {high} {measure.unit}".rstrip() if values else ""


def _strips(row: TableRow, runs: Mapping[str, Runs], scale: Scale, measure: Measure) -> dict[str, str]:
    """Reading -> the drawing of its seeds."""
    seeds = {reading: runs[reading].test.get((row.label, row.budget)) for reading in READINGS}
    shown = {reading: [measure.factor * v for v in values] for reading, values in seeds.items() if values}
    return {reading: seeds_strip(values, average(values), scale) for reading, values in shown.items()}


# -- what is folded -------------------------------------------------------------------------------------------------
def _pairs(records: Records) -> dict[str, Any]:
    """The best deep network and its shallow rivals."""
    measure, found = measure_of(records), deep_against_shallow(records)
    far = reach(found)
    heads = ("best deep", "budget", "other layers", "shallow rival", measure.gaps, "95 % CI", "p (Holm)", "in words")
    body = [
        (
            (
                d.one, str(d.budget), short(d.reading), d.other, d.number, d.bounds, d.p_text,
                ": ".join(filter(None, [d.words if d.seeds > 1 else "one seed", d.refused])) + d.careful,
            ),
            interval_strip(d, far),
        )
        for d in found
    ]  # fmt: skip
    return {"headers": heads, "rows": body, "file": "verdict.md", "gap": 4, "count": len(found)}


def _controls(records: Records) -> dict[str, Any]:
    """Every network against the controls."""
    found, measure = against_controls(records), measure_of(records)
    far = reach(found)
    few = len(found) <= _FOLDED
    body = [(row, interval_strip(d, far)) for row, d in zip(paired_cells(records), found, strict=True)] if few else []
    return {"headers": paired_headers(measure), "rows": body, "file": "paired.md", "gap": 4, "count": len(found)}


def _starts(records: Records, measure: Measure) -> dict[str, Any]:
    body = starts_cells(records)
    shown = body if len(body) <= _FOLDED else []
    return {"headers": starts_headers(measure), "rows": [(row, "") for row in shown], "file": "starts.md", "gap": -1, "count": len(body)}  # fmt: skip


def _compute(records: Records, measure: Measure) -> dict[str, Any] | None:
    """The table of forwards, and the examples of a batch."""
    if not costs_known(records):
        return None
    body = compute_cells(records)
    shown = body if len(body) <= _FOLDED else []
    return {
        "headers": tuple(compute_headers(measure)), "rows": [(row, "") for row in shown], "file": "compute.md", "gap": -1, "count": len(body),
        "words": compute_headers(measure), "batch": next(r["forward"]["batch"] for r in records if r["forward"].get("ms")),
    }  # fmt: skip


def _described(every: Sequence[TableRow]) -> dict[str, str]:
    """Label -> what it is: networks first, as in the records."""
    ordered = sorted(every, key=lambda r: r.kind == "control")
    return {r.label: r.tip for r in ordered if r.description}
