"""A comparison's records as a table, plots, a verdict in plain words, and one self-contained HTML page."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from tabulate import tabulate

import tnkit as tk
from tnkit_nn.files import replacing

__all__ = ["Row", "rows", "table", "verdict", "write_report"]

Records = Sequence[Mapping[str, Any]]
HEADERS = (
    "family", "budget", "numbers", "error (chance)", "acc. fit", "acc. rest frozen", "acc. rest trained", "s/seed",
)  # fmt: skip
_COLOURS = {
    "adtn depth 1": "#9ecae1", "adtn depth 2": "#4292c6", "adtn depth 3": "#08519c", "mpo": "#d94801", "tt": "#fd8d3c",
    "tucker": "#238b45", "cp": "#74c476", "ring": "#a63603", "low_rank": "#7a5195", "hashed": "#636363",
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One family at one budget over its seeds; each figure is (mean, sample standard deviation)."""

    label: str
    family: str
    budget: int | None
    num_params: int
    error: tuple[float, float]
    chance: float
    fit: tuple[float, float]
    frozen: tuple[float, float]
    trained: tuple[float, float] | None
    seconds: float
    network: str | None


def _spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation; NaN for the latter where there is one value."""
    return mean(values), stdev(values) if len(values) > 1 else nan


def rows(records: Records) -> list[Row]:
    """Records gathered by family and budget, in their order."""
    groups: dict[tuple[str, int | None], list[Mapping[str, Any]]] = {}
    for r in records:
        groups.setdefault((r["label"], r["budget"]), []).append(r)
    return [
        Row(
            label, g[0]["family"], budget, g[0]["num_params"], _spread([r["error"] for r in g]), g[0]["chance"],
            _spread([r["accuracy_fit"] for r in g]), _spread([r["accuracy_frozen"] for r in g]),
            None if g[0]["accuracy_trained"] is None else _spread([r["accuracy_trained"] for r in g]), mean([r["seconds"] for r in g]), g[0]["network"],
        )
        for (label, budget), g in groups.items()
    ]  # fmt: skip


def _percent(x: tuple[float, float] | None) -> str:
    return "–" if x is None else _plus_minus(100 * x[0], 100 * x[1], 1)


def _plus_minus(centre: float, spread: float, digits: int) -> str:
    return f"{centre:.{digits}f}" + ("" if isnan(spread) else f" ± {spread:.{digits}f}")


def _cells(row: Row) -> tuple[str, ...]:
    budget = "" if row.budget is None else str(row.budget)
    error = f"{_plus_minus(*row.error, 3)} ({row.chance:.3f})"
    return (
        row.label, budget, str(row.num_params), error, _percent(row.fit), _percent(row.frozen), _percent(row.trained),
        f"{row.seconds:.1f}",
    )  # fmt: skip


def table(records: Records, style: str = "simple") -> str:
    """The table as text (any tabulate style): mean ± standard deviation over seeds, accuracies in per cent on test."""
    return str(tabulate([_cells(r) for r in rows(records)], HEADERS, tablefmt=style, disable_numparse=True))


def verdict(records: Records) -> list[str]:
    """For every budget and reading: deep against shallow against hashed, by differences paired over seeds.

    Deep is the best ADTN of depth 2 and more, shallow the best other network, each picked by its mean; a difference counts
    only where zero lies outside its 95 % interval (paired t).  Picking the best of several favours whoever has more entries, so
    this is a reading aid, not a test of a hypothesis that was fixed beforehand.
    """
    out = []
    for budget in sorted({r["budget"] for r in records if r["budget"] is not None}):
        for key, name in (("accuracy_frozen", "rest frozen"), ("accuracy_trained", "rest trained")):
            runs: dict[str, list[float]] = {}
            for r in records:
                if r["budget"] == budget:
                    runs.setdefault(r["label"], []).append(r[key])
            deep = [k for k in runs if k.startswith("adtn") and k != "adtn depth 1"]
            shallow = [k for k in runs if k not in deep and k != "hashed"]
            if not deep or not shallow:
                continue
            best = max(deep, key=lambda k: mean(runs[k]))
            rival = max(shallow, key=lambda k: mean(runs[k]))
            parts = [_difference(best, other, runs) for other in (rival, "hashed") if other in runs]
            out.append(f"Budget {budget}, {name}: " + "; ".join(parts) + ".")
    controls = {r.label: r.trained for r in rows(records) if r.budget is None and r.label != "dense" and r.trained}
    if controls:
        top = max(controls, key=lambda label: controls[label][0])
        out.append(f"With the rest trained, a layer of no numbers ({top}) reaches {_percent(controls[top])} % on test.")
    return out


def _difference(a: str, b: str, runs: Mapping[str, Sequence[float]]) -> str:
    diffs = [100 * (x - y) for x, y in zip(runs[a], runs[b], strict=True)]
    centre, spread = _spread(diffs)
    if len(diffs) < 2:
        return f"{a} {centre:+.1f} points against {b} (one seed: no spread, no verdict)"
    from scipy.stats import t

    half = float(t.ppf(0.975, len(diffs) - 1)) * spread / len(diffs) ** 0.5
    word = "better than" if centre > half else "worse than" if centre < -half else "not told apart from"
    return f"{a} is {word} {b} ({centre:+.1f} points, 95 % interval ± {half:.1f})"


# -- pictures -------------------------------------------------------------------------------------------------------
def _figure(records: Records, keys: Sequence[tuple[str, str]]) -> Any:
    from matplotlib.figure import Figure

    every = rows(records)
    figure = Figure(figsize=(5.6 * len(keys), 4.6), layout="constrained")
    for axis, (key, title) in zip(figure.subplots(1, len(keys), squeeze=False)[0], keys, strict=True):
        factor = 1 if key == "error" else 100
        for label in dict.fromkeys(r.label for r in every if r.budget is not None):
            points = sorted((r for r in every if r.label == label), key=lambda r: r.num_params)
            axis.errorbar(
                [r.num_params for r in points], [factor * getattr(r, key)[0] for r in points],
                [factor * getattr(r, key)[1] for r in points], label=label, color=_COLOURS.get(label), capsize=2,
                marker="s" if label == "hashed" else "o", ms=4, lw=1.3, ls="--" if label == "hashed" else "-",
            )  # fmt: skip
        for k, r in enumerate(r for r in every if r.budget is None and key != "error" and getattr(r, key)):
            axis.axhline(
                factor * getattr(r, key)[0], color="0.55", ls=(0, (1, 1 + k)), lw=1.2, label=f"{r.label} (control)"
            )
        if key == "error":
            axis.plot(
                *zip(*sorted({(r.num_params, r.chance) for r in every if r.budget is not None}), strict=True),
                "k:",
                label="chance",
            )
        axis.set(xscale="log", xlabel="numbers stored for the layer", title=title)
        axis.set_ylabel("relative error" if key == "error" else "test accuracy, %")
        if key != "error":  # stretched towards 100 %, where the differences are
            axis.set_yscale(
                "function", functions=(lambda a: -np.log10(102 - np.minimum(a, 101)), lambda y: 102 - 10.0**-y)
            )
            axis.set_yticks([10, 50, 70, 80, 90, 95, 98, 100])
        axis.grid(alpha=0.3)
    axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


PLOTS = {
    "accuracy.png": (("frozen", "rest frozen"), ("trained", "rest trained")),
    "error.png": (("error", "stage 1: Euclidean fit of the weight"),),
}


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_report(records: Records, out: str | os.PathLike[str], title: str) -> dict[str, Path]:
    """Write ``results.json``, ``table.md``, the plots and ``index.html`` into the folder ``out``.

    Returns
    -------
    dict
        File name -> path.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, bytes] = {"results.json": (json.dumps(list(records), indent=1) + "\n").encode()}
    files["table.md"] = (table(records, "github") + "\n").encode()
    for name, keys in PLOTS.items():
        buffer = io.BytesIO()
        _figure(records, keys).savefig(buffer, dpi=130, format="png")
        files[name] = buffer.getvalue()
    files["index.html"] = _page(records, title, {n: files[n] for n in PLOTS}).encode()
    for name, content in files.items():
        _write(folder / name, content)
    return {name: folder / name for name in files}


def _page(records: Records, title: str, plots: Mapping[str, bytes]) -> str:
    from jinja2 import Environment

    every = rows(records)
    drawings = [
        {"label": r.label, "budget": r.budget, "numbers": r.num_params, "svg": _inline_svg(r.network)}
        for r in every
        if r.network
    ]
    template = Environment(autoescape=True).from_string(PAGE)
    first = records[0]
    return template.render(
        title=title, headers=HEADERS, cells=[_cells(r) for r in every], verdict=verdict(records), drawings=drawings,
        plots=[{"name": n, "data": base64.b64encode(p).decode()} for n, p in plots.items()], first=first,
        seeds=len({r["seed"] for r in records}),
    )  # fmt: skip


def _inline_svg(network: str) -> str:
    """The drawing as a data URI, so that ids of several drawings cannot collide in one page."""
    svg = tk.to_svg(tk.from_json(network))
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
 body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 70rem; padding: 1rem; color: #222; }
 .wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }
 th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #ddd; } th:first-child, td:first-child { text-align: left; }
 th { cursor: pointer; background: #f4f4f4; position: sticky; top: 0; } th:after { content: " \\2195"; color: #999; }
 img { max-width: 100%; } .nets { display: grid; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); gap: 1rem; }
 figure { margin: 0; border: 1px solid #ddd; border-radius: 6px; padding: .5rem; } figcaption { font-size: .85rem; }
 .nets img { width: 100%; height: 14rem; object-fit: contain; }
</style></head><body>
<h1>{{ title }}</h1>
<p>The weight of layer <b>{{ first.layer }}</b> ({{ first.layer_params }} numbers) is replaced by networks of about equal
counts. Mean ± standard deviation over {{ seeds }} seeds, each with its own dense model, start and data order. The error is
relative and Euclidean, after fitting the trained weight, beside what a random family of as many numbers reaches (chance).
Accuracies are on test images: right after the fit; fine-tuned with the rest of the model frozen (the layer's numbers, and
nothing else, are trained); and with the rest trained too ({{ first.trained_elsewhere }} further numbers). Learning rates and
starts (fitted or random) were swept alike for all and chosen on validation images.</p>
<h2>In words</h2><ul>{% for line in verdict %}<li>{{ line }}</li>{% endfor %}</ul>
<h2>Table</h2><div class="wide"><table><thead><tr>{% for h in headers %}<th>{{ h }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in cells %}<tr>{% for c in row %}<td>{{ c }}</td>{% endfor %}</tr>{% endfor %}</tbody></table></div>
<h2>Plots</h2>{% for p in plots %}<p><img alt="{{ p.name }}" src="data:image/png;base64,{{ p.data }}"></p>{% endfor %}
<h2>The networks</h2><div class="nets">{% for d in drawings %}<figure><img alt="{{ d.label }}" src="{{ d.svg }}">
<figcaption><b>{{ d.label }}</b>, budget {{ d.budget }}: {{ d.numbers }} numbers</figcaption></figure>{% endfor %}</div>
<p><small>{% for k, v in first.versions.items() %}{{ k }} {{ v }} {% endfor %}</small></p>
<script>
document.querySelectorAll("th").forEach((th, k) => th.addEventListener("click", () => {
  const body = th.closest("table").tBodies[0], up = th.dataset.up = th.dataset.up === "1" ? "" : "1";
  const value = tr => { const t = tr.cells[k].textContent, n = parseFloat(t); return isNaN(n) ? t : n; };
  [...body.rows].sort((a, b) => { const x = value(a), y = value(b);
    return (typeof x === typeof y ? (x > y) - (x < y) : typeof x === "number" ? -1 : 1) * (up ? 1 : -1); })
    .forEach(tr => body.append(tr));
}));
</script></body></html>
"""
