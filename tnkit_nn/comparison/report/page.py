"""A comparison as one self-contained HTML page: readable on a phone, tables that are sorted by a click, the networks drawn."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import tnkit as tk
from tnkit.core.extras import need
from tnkit_nn.comparison.report.tables import HEADERS, cells, rows
from tnkit_nn.comparison.statistics import PAIRED_HEADERS, STARTS_HEADERS, Records, paired_cells, starts_cells, verdict
from tnkit_nn.families import CONTROLS

__all__ = ["page"]


def page(records: Records, title: str, plots: Mapping[str, bytes]) -> str:
    """The page, with the plots (file name -> PNG) in it."""
    need("a comparison's page", "jinja2")
    from jinja2 import Environment

    every = rows(records)
    drawings = [
        {"label": r.label if len(r.networks) == 1 else f"{r.label}, {layer}", "budget": r.budget, **_drawn(network)}
        for r in every
        for layer, network in r.networks.items()
    ]
    tables = {
        "Table": ([(h.strip(), what) for h, what in HEADERS.items()], [cells(r) for r in every]),
        "Against the controls": ([(h, "") for h in PAIRED_HEADERS], paired_cells(records)),
        "With and without stage 1": ([(h, "") for h in STARTS_HEADERS], starts_cells(records)),
    }
    template = Environment(autoescape=True, trim_blocks=True).from_string(PAGE)
    return template.render(
        title=title, tables=tables, headers=HEADERS, verdict=verdict(records), drawings=drawings, controls=CONTROLS,
        plots=[{"name": n, "data": base64.b64encode(p).decode()} for n, p in plots.items()], first=records[0],
        elsewhere=max(r["trained_elsewhere"] for r in records), seeds=sorted({r["seed"] for r in records}),
    )  # fmt: skip


def _drawn(network: str) -> dict[str, Any]:
    """A network's count, and its drawing as a data URI, so that ids of several drawings cannot collide in one page."""
    net = tk.from_json(network)
    code = base64.b64encode(tk.to_svg(net).encode()).decode()
    return {"numbers": net.num_params, "svg": f"data:image/svg+xml;base64,{code}"}


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{{ title }}</title>
<style>
 body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 75rem; padding: 1rem; color: #222; overflow-wrap: break-word; }
 h1 { font-size: 1.6rem; line-height: 1.2; } .text { max-width: 46rem; }
 .wide { overflow-x: auto; max-height: 80vh; border: 1px solid #ddd; }
 table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; white-space: nowrap; }
 th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid #ddd; background: #fff; }
 thead th { position: sticky; top: 0; z-index: 1; background: #f4f4f4; padding: 0; }
 th:first-child, td:first-child { position: sticky; left: 0; text-align: left; box-shadow: 1px 0 #ddd; }
 thead th:first-child { z-index: 2; }
 th button { font: inherit; font-weight: 600; border: 0; background: none; padding: .4rem .6rem; width: 100%; text-align: inherit; cursor: pointer; }
 th button:after { content: " \\2195"; color: #999; } th[aria-sort=ascending] button:after { content: " \\2191"; color: #222; }
 th[aria-sort=descending] button:after { content: " \\2193"; color: #222; }
 img { max-width: 100%; } .plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1rem; align-items: start; }
 .nets { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 16rem), 1fr)); gap: 1rem; }
 figure { margin: 0; border: 1px solid #ddd; border-radius: 6px; padding: .5rem; } figcaption { font-size: .85rem; }
 .nets img { width: 100%; height: 14rem; object-fit: contain; } dt { font-weight: 600; } dd { margin: 0 0 .3rem 1rem; }
</style></head><body>
<h1>{{ title }}</h1>
<p class="text">{% if ", " in first.layer %}The weights of layers <b>{{ first.layer }}</b>{% else %}The weight of layer <b>{{ first.layer }}</b>{% endif %} of {{ first.model }} ({{ first.layer_params }} of its {{ first.model_dense }}
numbers), trained on {{ first.data }}{% if first.dense_steps %} for {{ first.dense_steps }} steps{% else %} beforehand{% endif %}, {{ "are" if ", " in first.layer else "is" }} replaced by networks of about equal counts. Mean ± standard deviation over {{ seeds|length }} seed{{ "s" if seeds|length > 1 }}{% if seeds[0] %} ({{ seeds[0] }}{% if seeds|length > 1 %} to {{ seeds[-1] }}{% endif %}){% endif %}, each
with its own {{ "dense model, start" if first.dense_steps else "start" }} and data order, the same for all rows. Accuracies are on {{ first.test_images }} test images.{% if first.rest != "none" %} "Rest
trained" trains {% if first.rest == "head" %}the {{ "first " if ", " in first.layer }}layer's bias and what stands after it{% else %}all else{% endif %} too, up to
{{ elsewhere }} further numbers.{% endif %} The fit took {{ first.fit_steps }} steps, fine-tuning {{ first.tune_steps }}, for every row. Learning rates and starts (fitted or random) were swept alike for all rows and chosen on
validation images. What shrinks is storage, not arithmetic: the weight is made anew before it is used ("decode" tells at what cost).</p>
<h2>In words</h2><ul class="text">{% for line in verdict %}<li>{{ line }}</li>{% endfor %}</ul>
{% for name, (head, body) in tables.items() %}
<h2>{{ name }}</h2>
{% if loop.index == 2 %}<p class="text">Differences are paired over seeds, intervals are Student's t, p-values are corrected by
Holm's method for the networks that stand against one control at one budget. They do not cover the choice of the test images.</p>{% endif %}
<div class="wide" tabindex="0"><table><thead><tr>{% for h, what in head %}<th scope="col" title="{{ what }}"><button type="button">{{ h }}</button></th>{% endfor %}</tr></thead>
<tbody>{% for row in body %}<tr>{% for c in row %}<td>{{ c }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div>
{% endfor %}
<h2>Curves</h2><div class="plots">{% for p in plots %}<img alt="{{ p.name }}" src="data:image/png;base64,{{ p.data }}">{% endfor %}</div>
<h2>The networks</h2><div class="nets">{% for d in drawings %}<figure><img alt="{{ d.label }}" src="{{ d.svg }}">
<figcaption><b>{{ d.label }}</b>{% if d.budget %}, budget {{ d.budget }}{% endif %}: {{ d.numbers }} numbers</figcaption></figure>{% endfor %}</div>
<h2>What the columns and the controls are</h2><dl class="text">{% for k, v in headers.items() %}<dt>{{ k }}</dt><dd>{{ v }}</dd>{% endfor %}
{% for k, v in controls.items() %}<dt>{{ k }}</dt><dd>{{ v }}</dd>{% endfor %}</dl>
<p><small>{% for k, v in first.versions.items() %}{{ k }} {{ v }} {% endfor %}</small></p>
<script>
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((th, k) => th.addEventListener("click", () => {
    const up = th.getAttribute("aria-sort") !== "ascending";
    const value = tr => { const t = tr.cells[k].textContent, n = parseFloat(t); return isNaN(n) ? t : n; };
    const order = (x, y) => typeof x === typeof y ? (x > y) - (x < y) : typeof x === "number" ? -1 : 1;
    heads.forEach(h => h.removeAttribute("aria-sort"));
    th.setAttribute("aria-sort", up ? "ascending" : "descending");
    [...body.rows].sort((a, b) => order(value(a), value(b)) * (up ? 1 : -1)).forEach(tr => body.append(tr));
  }));
}
</script></body></html>
"""
