"""A comparison's records written out: tables, plots, a verdict in plain words, and one self-contained HTML page."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tnkit_nn.comparison.report.page import page
from tnkit_nn.comparison.report.plots import PLOTS, png
from tnkit_nn.comparison.report.tables import table
from tnkit_nn.comparison.statistics import Records, answer, paired_table, verdict
from tnkit_nn.storage import replacing

__all__ = ["write_report"]


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_report(records: Records, out: str | os.PathLike[str], title: str) -> dict[str, Path]:
    """Write ``results.json``, ``table.md``, ``paired.md``, ``verdict.md``, the plots and ``index.html`` into the folder ``out``.

    Returns
    -------
    dict
        File name -> path.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, bytes] = {"results.json": (json.dumps(list(records), indent=1) + "\n").encode()}
    files["table.md"] = (table(records, "github") + "\n").encode()
    files["paired.md"] = (paired_table(records, "github") + "\n").encode()
    files["verdict.md"] = (f"{answer(records)}\n\n" + "".join(f"- {line}\n" for line in verdict(records))).encode()
    files |= {name: png(records, name) for name in PLOTS}
    files["index.html"] = page(records, title, {n: files[n] for n in PLOTS}).encode()
    for name, content in files.items():
        _write(folder / name, content)
    return {name: folder / name for name in files}
