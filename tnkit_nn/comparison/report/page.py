"""A comparison as one self-contained HTML page: readable on a phone, tables that are sorted by a click, the networks drawn."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import tnkit as tk
from tnkit.core.extras import need
from tnkit_nn.comparison.measure import measure_of
from tnkit_nn.comparison.records import Records, records_of
from tnkit_nn.comparison.report.tables import TableRow, cells, headers, rows
from tnkit_nn.comparison.statistics import (
    READINGS,
    answer,
    paired_cells,
    paired_headers,
    starts_cells,
    starts_headers,
    verdict,
)

__all__ = ["page", "summary"]


def page(records: Records, title: str, plots: Mapping[str, bytes]) -> str:
    """The page, with the plots (file name -> PNG) in it."""
    records = records_of(records, "page")
    every, measure = rows(records), measure_of(records)
    drawings = [
        {"label": r.label if len(r.networks) == 1 else f"{r.label}, {layer}", "budget": r.budget, **_drawn(network)}
        for r in every
        for layer, network in r.networks.items()
    ]
    tables = {
        "Table": _table(records, every),
        "Against the controls": ([(h, "") for h in paired_headers(measure)], _plain(paired_cells(records))),
        "With and without the approximation": (
            [(h, "") for h in starts_headers(measure)],
            _plain(starts_cells(records)),
        ),
    }
    return _rendered(
        "page.html.j2", title=title, tables=tables, headers=headers(measure), answer=answer(records), verdict=verdict(records),
        drawings=drawings, families=_described(every), plots=_encoded(plots), first=records[0],
        elsewhere=max(r["trained_elsewhere"] for r in records), seeds=sorted({r["seed"] for r in records}),
        readings=READINGS, several=", " in records[0]["layer"], measure=measure,
    )  # fmt: skip


def summary(records: Records, plots: Mapping[str, bytes]) -> str:
    """The answer, the table and the plots as a piece of HTML, made of the page's parts: what a notebook shows."""
    records = records_of(records, "summary")
    return _rendered(
        "summary.html.j2", answer=answer(records), table=_table(records, rows(records)), plots=_encoded(plots)
    )


def _rendered(template: str, **values: Any) -> str:
    need("a comparison's page", "jinja2")
    from jinja2 import Environment, PackageLoader

    loader = PackageLoader("tnkit_nn.comparison", "report")
    return Environment(loader=loader, autoescape=True, trim_blocks=True).get_template(template).render(**values)


def _table(records: Records, every: list[TableRow]) -> tuple[Any, ...]:
    """Headers and rows of the first table: what a family is stands beside its name as a tooltip."""
    measure = measure_of(records)
    return [(h.strip(), what) for h, what in headers(measure).items()], [(r.tip, cells(r, measure)) for r in every]


def _plain(body: list[tuple[str, ...]]) -> list[tuple[str, tuple[str, ...]]]:
    return [("", row) for row in body]


def _described(every: list[TableRow]) -> dict[str, str]:
    """Label -> what it is: networks first, as in the records."""
    ordered = sorted(every, key=lambda r: r.kind == "control")
    return {r.label: r.tip for r in ordered if r.description}


def _encoded(plots: Mapping[str, bytes]) -> list[dict[str, str]]:
    return [{"name": n, "data": base64.b64encode(p).decode()} for n, p in plots.items()]


def _drawn(network: str) -> dict[str, Any]:
    """A network's count, and its drawing as a data URI, so that ids of several drawings cannot collide in one page."""
    net = tk.from_json(network)
    code = base64.b64encode(tk.to_svg(net).encode()).decode()
    return {"params": net.num_params, "svg": f"data:image/svg+xml;base64,{code}"}
