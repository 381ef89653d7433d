"""The tutorials as pages: a percent script of text and code becomes Markdown, with a notebook to download and solutions folded."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent
from typing import Any

import jupytext
import nbformat
from course_run import notebook, scripts
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from outside import relinked

SITE = Path(__file__).parents[1]
NOT_RUN = "Outputs are not shown: this site was built without running the tutorials. The tests run all of them."


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the tutorials into the menu, and the explorer, which is a page of its own beside the Markdown."""
    (gallery,) = (entry["Gallery"] for entry in config.nav if "Gallery" in entry)
    if (SITE / "explorer" / "index.html").exists():
        gallery.append({"Explorer": "explorer/index.html"})
    (course,) = (entry["Course"] for entry in config.nav if "Course" in entry)
    course.extend(f"course/{script.stem}.md" for script in scripts())
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add each tutorial as a page, as a notebook, and with its pictures."""
    titles = []
    for script in scripts():
        made = notebook(script)
        titles.append((script.stem, *_title(made.cells[0].source)))
        files.append(File.generated(config, f"course/{script.stem}.md", content=page(script.stem, made)))
        files.append(File.generated(config, f"course/{script.stem}.ipynb", content=jupytext.writes(made, fmt="ipynb")))
        for name, picture in pictures(script.stem, made):
            files.append(File.generated(config, f"course/{name}", content=picture))
    files.append(File.generated(config, "course/index.md", content=index(titles)))
    return files


def page(stem: str, made: nbformat.NotebookNode) -> str:
    """A tutorial as Markdown."""
    parts = [part for k, cell in enumerate(made.cells) if cell.source.strip() for part in _cell(stem, k, cell)]
    head, _, body = "\n\n".join(parts).partition("\n")
    note = f"[Download the notebook]({stem}.ipynb){{ download }}"
    if "digest" not in made.metadata:
        note += f"\n\n*{NOT_RUN}*"
    return f"{head}\n\n{note}\n{body}\n"


def _cell(stem: str, k: int, cell: nbformat.NotebookNode) -> Iterator[str]:
    if cell.cell_type == "markdown":
        yield relinked(cell.source, f"tutorials/{stem}.py", f"course/{stem}.md")
        return
    shown = "\n\n".join([f"```python\n{cell.source}\n```", *_outputs(stem, k, cell)])
    yield '??? success "Solution"\n\n' + indent(shown, "    ") if "solution" in cell.metadata.get("tags", []) else shown


def _outputs(stem: str, k: int, cell: nbformat.NotebookNode) -> Iterator[str]:
    for n, output in enumerate(cell.get("outputs", [])):
        data = output.get("data", {})
        if kind := _picture(data):
            yield f"![A picture, drawn by the cell above]({stem}-{k}-{n}.{kind}){{ .output }}"
        elif text := output.get("text") or data.get("text/plain"):
            yield f"```{{ .text .output }}\n{text.rstrip()}\n```"


def pictures(stem: str, made: nbformat.NotebookNode) -> Iterator[tuple[str, str | bytes]]:
    """File name -> picture, for all outputs that are one."""
    for k, cell in enumerate(made.cells):
        for n, output in enumerate(cell.get("outputs", [])):
            data = output.get("data", {})
            if (kind := _picture(data)) == "svg":
                yield f"{stem}-{k}-{n}.svg", data["image/svg+xml"]
            elif kind == "png":
                yield f"{stem}-{k}-{n}.png", base64.b64decode(data["image/png"])


def _picture(data: Any) -> str | None:
    return "svg" if "image/svg+xml" in data else "png" if "image/png" in data else None


def _title(text: str) -> tuple[str, str]:
    """The title of a tutorial and its first paragraph, as one line."""
    title = re.search(r"^# (?:\d+\. )?(.*)$", text, re.MULTILINE)
    first = re.search(r"^# [^\n]*\n\s*\n(.+?)(?:\n\s*\n|\Z)", text, re.MULTILINE | re.DOTALL)
    return title[1] if title else "", " ".join(first[1].split()) if first else ""


def index(titles: list[tuple[str, str, str]]) -> str:
    """The list of tutorials: title and first paragraph of each."""
    head = "# Course\n\nEach tutorial is a page here, a notebook to download and a script. Every `assert` is tested.\n"
    lines = [f"{k}. [{title}]({stem}.md). {first}" for k, (stem, title, first) in enumerate(titles, 1)]
    return "\n".join([head, *lines, ""])
