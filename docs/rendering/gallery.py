"""The gallery of all builders: docs/gallery.md and its pictures, from the registries and from docs/rendering/gallery.toml.

``make docs`` fills the page in (docs/render.py), and writes a picture a builder into docs/gallery/.
"""

from __future__ import annotations

import inspect
import re
import tomllib
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from table_parts import table

import tnkit as tk
from rendering.common import DOCS
from tnkit_nn.families import BASELINES, KINDS

ENTRIES = Path(__file__).with_suffix(".toml")
PICTURES = DOCS / "gallery"
#: Module of tnkit.builders -> heading.
GROUPS = {
    "chains": "Chains", "trees": "Stars and trees", "circuits": "Deep networks", "lattices": "Lattices", "structured": "Structured matrices",
}  # fmt: skip
#: The weight and the budget of the table of families.
WEIGHT, BUDGET = (64, 64), 400


@cache
def entries() -> dict[str, dict[str, Any]]:
    """What is said of each builder, by its name."""
    return tomllib.loads(ENTRIES.read_text(encoding="utf-8"))


def ordered() -> list[str]:
    """The builders, group by group."""
    return sorted(tk.BUILDERS, key=lambda name: list(GROUPS).index(_module(name)))


def _module(name: str) -> str:
    return tk.BUILDERS[name].__module__.rpartition(".")[2]


def _net(name: str) -> tk.Network:
    return tk.BUILDERS[name](**tk.EXAMPLES[name])


def formula(name: str) -> str:
    """The number of parameters in words, from the docstring of the builder (tests hold its formula against the networks)."""
    returned = (inspect.getdoc(tk.BUILDERS[name]) or "").partition("Returns\n-------\n")[2]
    body = re.split(r"\n\n\w+\n-+\n", returned)[0]
    text = re.split(r"\b[Pp]arameters:? ", " ".join(body.split()), maxsplit=1)[1]
    text = re.sub(r":func:`(?:tnkit\.)?(\w+)`", r"`\1`", text).replace("``", "`")
    return text if text.endswith(".") else text + "."


def call(name: str) -> str:
    """The call that the picture shows."""
    given = ", ".join(f"{argument}={value!r}" for argument, value in tk.EXAMPLES[name].items())
    return f"tk.{name}({given})"


def picture(name: str) -> str:
    """The network of the call."""
    return tk.to_svg(_net(name))


def pictures() -> dict[Path, str]:
    """File -> picture, for every builder."""
    return {PICTURES / f"{name}.svg": picture(name) for name in tk.BUILDERS}


def overview() -> str:
    """A row a builder: what it is, its call's count, where its arrays come from."""
    lines = []
    for name in ordered():
        net, entry = _net(name), entries()[name]
        lines.append(
            [f"[`{name}`](#{anchor(name)}): {entry['title']}", f"{net.num_params:,}", f"{_size(net):,}", _codes(entry["decomposition"])]
        )  # fmt: skip
    return table(["builder", "parameters", "for entries", "arrays from"], lines)


def sections() -> str:
    """Every builder with its picture, group by group."""
    out = []
    for module, names in groupby(ordered(), _module):
        out.append(f"## {GROUPS[module]}")
        out += map(_section, names)
    return "\n\n".join(out)


def _section(name: str) -> str:
    net, entry = _net(name), entries()[name]
    families = f"- **Families:** {_codes(entry['families'])}.\n" if entry["families"] else ""
    seen = f"{len(list(net.leaves))} tensors, {len(net.output)} open indices"
    return (
        f"### {_heading(name)}\n\n![{name}: {seen}](gallery/{name}.svg)\n\n"
        f"- **Call:** `{call(name)}`. It has {net.num_params:,} parameters for {_size(net):,} entries.\n"
        f"- **Parameters:** {formula(name)}\n- **Holds:** {entry['holds']}\n- **Limits:** {entry['limits']}\n"
        f"- **Use it when:** {entry['when']}\n- **Arrays from:** {_codes(entry['decomposition'])}.\n{families}"
        f"- **Source:** {entry['source']}.\n\n```python\n{entry['check'].strip()}\n```"
    )


def families() -> str:
    """A row a family of a comparison: its builder, and the network that it gives one weight and one budget."""
    builder = {family: name for name, entry in entries().items() for family in entry["families"]}
    lines = []
    for family, kind in KINDS.items():
        depth = {} if kind.least_depth is None else {"depth": max(3, kind.least_depth)}
        net = kind.build(WEIGHT, BUDGET, **depth, **({"activation": kind.activation} if kind.activation else {}))
        lines.append(
            [f"`{family}`", f"[`{builder[family]}`](#{anchor(builder[family])})", kind.activation or "none", f"{net.num_params:,}",
             "yes" if family in BASELINES else "by name"]
        )  # fmt: skip
    heads = [
        "family",
        "builder",
        "activation",
        f"parameters for {WEIGHT[0]} x {WEIGHT[1]}, budget {BUDGET}",
        "shown by default",
    ]
    return table(heads, lines)


def _heading(name: str) -> str:
    return f"`{name}`: {entries()[name]['title']}"


def anchor(name: str) -> str:
    """Of a heading, as GitHub and mkdocs make it."""
    return re.sub(r"[^\w\- ]", "", _heading(name).lower()).replace(" ", "-")


def _codes(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _size(net: tk.Network) -> int:
    size = 1
    for n in net.shape:
        size *= n
    return size
