"""A comparison as one self-contained HTML page: readable on a phone, tables that are sorted by a click, the networks drawn."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import tnkit as tk
from tnkit.core.extras import need
from tnkit_nn.comparison.report.tables import HEADERS, cells, rows
from tnkit_nn.comparison.statistics import (
    PAIRED_HEADERS,
    READINGS,
    STARTS_HEADERS,
    Records,
    answer,
    paired_cells,
    starts_cells,
    verdict,
)
from tnkit_nn.families import CONTROLS

__all__ = ["page"]


def page(records: Records, title: str, plots: Mapping[str, bytes]) -> str:
    """The page, with the plots (file name -> PNG) in it."""
    need("a comparison's page", "jinja2")
    from jinja2 import Environment, PackageLoader

    every = rows(records)
    drawings = [
        {"label": r.label if len(r.networks) == 1 else f"{r.label}, {layer}", "budget": r.budget, **_drawn(network)}
        for r in every
        for layer, network in r.networks.items()
    ]
    tables = {
        "Table": ([(h.strip(), what) for h, what in HEADERS.items()], [cells(r) for r in every]),
        "Against the controls": ([(h, "") for h in PAIRED_HEADERS], paired_cells(records)),
        "With and without the approximation": ([(h, "") for h in STARTS_HEADERS], starts_cells(records)),
    }
    loader = PackageLoader("tnkit_nn.comparison", "report")
    template = Environment(loader=loader, autoescape=True, trim_blocks=True).get_template("page.html.j2")
    return template.render(
        title=title, tables=tables, headers=HEADERS, answer=answer(records), verdict=verdict(records), drawings=drawings, controls=CONTROLS,
        plots=[{"name": n, "data": base64.b64encode(p).decode()} for n, p in plots.items()], first=records[0],
        elsewhere=max(r["trained_elsewhere"] for r in records), seeds=sorted({r["seed"] for r in records}),
        readings=READINGS, several=", " in records[0]["layer"],
    )  # fmt: skip


def _drawn(network: str) -> dict[str, Any]:
    """A network's count, and its drawing as a data URI, so that ids of several drawings cannot collide in one page."""
    net = tk.from_json(network)
    code = base64.b64encode(tk.to_svg(net).encode()).decode()
    return {"params": net.num_params, "svg": f"data:image/svg+xml;base64,{code}"}
