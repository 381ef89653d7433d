"""The pictures of the pages, drawn by the package when the site is built: ``<!-- picture: NAME -->`` becomes one."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import tnkit as tk


def chain() -> tk.Network:
    """The first network of the quick start."""
    sizes = dict(i=4, j=4, k=4, r=3, s=3)
    return tk.Network([tk.Node("A", "ir"), tk.Node("B", "rsj"), tk.Node("C", "sk")], "ijk", sizes)


def rule() -> tk.Network:
    """An open index, an edge, a hyperedge, and an index on two nodes that is kept."""
    nodes = [tk.Node("A", "ir"), tk.Node("B", "jr"), tk.Node("C", "kr"), tk.Node("D", "ks"), tk.Node("E", "s")]
    return tk.Network(nodes, "ijk", dict(i=2, j=3, k=4, r=5, s=6))


def order() -> tk.Plan:
    """The steps of a plan."""
    return tk.plan(tk.tt((4, 4, 4, 4), 3))


#: Name -> what is drawn, and what the picture shows in words.
PICTURES: dict[str, tuple[Callable[[], tk.Network | tk.Plan], str]] = {
    "chain": (chain, "Three nodes A, B and C in a row. The bonds r and s join them. The indices i, j and k are open."),
    "rule": (rule, "Nodes A, B and C share the hyperedge r. C and D share k, which is kept. D and E share the edge s."),
    "order": (order, "A tensor train of four nodes. Numbers on its bonds show the order in which its plan contracts them."),
    "wall": (lambda: tk.brick_wall(6, 2, 3, activation="relu"), "A brick wall of three blocks. One ReLU box holds the first block, a larger one the first two."),
    "ring": (lambda: tk.ring((3, 4, 5), rank=2), "A ring of three nodes, each with one open index."),
    "lattice": (lambda: tk.peps(4, 4, 2, 3), "A square lattice of four by four nodes, each with one open index."),
}  # fmt: skip
_PLACE = re.compile(r"^<!-- picture: ([\w-]+) -->$", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Draw the pictures."""
    for name, (made, _) in PICTURES.items():
        files.append(File.generated(config, f"pictures/{name}.svg", content=tk.to_svg(made())))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put them where the page asks for them; KeyError for one that nobody draws."""
    here = posixpath.dirname(page.file.src_uri) or "."

    def shown(found: re.Match[str]) -> str:
        address = posixpath.relpath(f"pictures/{found[1]}.svg", here)
        return f"![{PICTURES[found[1]][1]}]({address}){{ .drawn }}"

    return _PLACE.sub(shown, markdown)
