"""What a comparison returns: its records, and what is made of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tnkit.core.checks import text
from tnkit.core.extras import MissingExtra
from tnkit.core.wording import plural
from tnkit_nn.checks import a_folder, a_path
from tnkit_nn.comparison.records import frame, records_of
from tnkit_nn.comparison.report.files import write_report
from tnkit_nn.comparison.report.page import summary
from tnkit_nn.comparison.report.plots import plot
from tnkit_nn.comparison.report.tables import table
from tnkit_nn.comparison.sentences import answer, verdict
from tnkit_nn.storage import parsed

__all__ = ["Comparison"]


class Comparison(list[dict[str, Any]]):
    """The records of a comparison, a list of dicts: ``print(found)`` shows the table and the verdict, a notebook the plot too.

    >>> task = tknn.Task("mlp", "digits", limit=100)
    >>> found = tknn.compare(task, ["mpo"], budgets=[300], seeds=1, dense_steps=20, fit_steps=5, tune_steps=5)
    >>> isinstance(found, tknn.Comparison), len(found.frame()) == len(found)
    (True, True)
    >>> type(found.verdict()).__name__, type(found.plot("error")).__name__
    ('str', 'Figure')
    >>> "index.html" in found.save("out"), tknn.Comparison.load("out") == found
    (True, True)

    Parameters
    ----------
    records
        Of one comparison; those that an earlier version wrote are upgraded.

    Raises
    ------
    TypeError, ValueError
        No records.
    """

    def __init__(self, records: Iterable[Mapping[str, Any]]) -> None:
        super().__init__(records_of(records, "Comparison"))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Comparison:
        """The records that :meth:`save`, :func:`compare` or ``tnkit compare`` wrote, of earlier versions too.

        Parameters
        ----------
        path
            The folder, or its ``results.json``.

        Raises
        ------
        FileNotFoundError
            There is none, or no ``results.json`` in the folder.
        TypeError, ValueError
            No path; a file that is no JSON, or whose records are not those of a comparison.
        """
        file = a_path(path, "Comparison.load: path")
        file = file / "results.json" if file.is_dir() else file
        if not file.is_file():
            raise FileNotFoundError(f"Comparison.load: path: no such file: {file}")
        found = parsed(file.read_bytes(), file, "compare again, or save the comparison again")
        return cls(records_of(found, f"Comparison.load: {file}"))

    def __repr__(self) -> str:
        if not self:
            return "Comparison(no records)"
        first, rows = self[0], len({(r["label"], r["budget"]) for r in self})
        seeds = len({r["seed"] for r in self})
        what = ", ".join(filter(None, [first["title"], first["layer"]]))
        return f"Comparison({what}: {plural(rows, 'row')} of {plural(seeds, 'seed')})"

    def __str__(self) -> str:
        return f"{table(self)}\n\n{self.verdict()}" if self else repr(self)

    def _repr_html_(self) -> str | None:
        try:
            return summary(self) if self else None
        except MissingExtra:  # the notebook then shows the text
            return None

    def verdict(self) -> str:
        """What the records say: the answer in one sentence, then a line for each comparison, and how all was made."""
        return "\n".join([answer(self), "", *verdict(self)])

    def frame(self) -> Any:
        """The records as a pandas DataFrame (:func:`tnkit_nn.frame`)."""
        return frame(self)

    def plot(self, kind: str = "test") -> Any:
        """A plot as a matplotlib Figure (:func:`tnkit_nn.plot`)."""
        return plot(self, kind)

    def save(self, folder: str | os.PathLike[str], title: str | None = None) -> dict[str, Path]:
        """Write records, tables, plots, verdict and page into a folder: file name -> path."""
        title = None if title is None else text(title, "Comparison.save: title")
        return write_report(self, a_folder(folder, "Comparison.save: folder"), title)
