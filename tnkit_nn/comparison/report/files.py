"""A comparison's records written out: tables, plots, a verdict in plain words, and one self-contained HTML page."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tnkit.core.checks import text
from tnkit_nn.checks import a_folder
from tnkit_nn.comparison.records import Records, csv_of, parquet_of, records_of
from tnkit_nn.comparison.report.compute import compute_table, costs_known
from tnkit_nn.comparison.report.page import page
from tnkit_nn.comparison.report.plots import drawn, plot, png
from tnkit_nn.comparison.report.tables import table
from tnkit_nn.comparison.sentences import answer, verdict
from tnkit_nn.comparison.statistics import paired_table, starts_table
from tnkit_nn.storage import replacing
from tnkit_nn.strict import strict

__all__ = ["write_report"]


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_report(records: Records, out: str | os.PathLike[str], title: str | None = None) -> dict[str, Path]:
    """Write a comparison into the folder ``out``.

    ``results.json`` and ``results.csv`` have the records (``results.parquet`` too, where pyarrow is installed), ``table.md``,
    ``paired.md``, ``starts.md``, ``compute.md`` and ``verdict.md`` what they say, the PNG files show it. ``index.html`` answers first and has all of it.

    Returns
    -------
    dict
        File name -> path.
    """
    records = records_of(records, "write_report")
    title = f"Deep or shallow? {records[0]['title']}" if title is None else text(title, "write_report: title")
    folder = a_folder(out, "write_report: out")
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, bytes] = {
        "results.json": (json.dumps([strict(r) for r in records], indent=1, allow_nan=False) + "\n").encode()
    }
    files["results.csv"] = csv_of(records).encode()
    if (parquet := parquet_of(records)) is not None:
        files["results.parquet"] = parquet
    files["table.md"] = (table(records, "github") + "\n").encode()
    files["paired.md"] = (paired_table(records, "github") + "\n").encode()
    files["starts.md"] = (starts_table(records, "github") + "\n").encode()
    if costs_known(records):
        files["compute.md"] = (compute_table(records, "github") + "\n").encode()
    files["verdict.md"] = (f"{answer(records)}\n\n" + "".join(f"- {line}\n" for line in verdict(records))).encode()
    files |= {f"{kind}.png": png(plot(records, kind)) for kind in drawn(records)}
    files["index.html"] = page(records, title).encode()
    for name, content in files.items():
        _write(folder / name, content)
    return {name: folder / name for name in files}
