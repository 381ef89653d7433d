"""What the explorer shows: networks over a grid of settings, with their counts and costs, as tables for docs/explorer/index.html.

Every figure is asked of the package: ``num_params`` of the network of a call, FLOPs and the largest tensor of its plan.  A count's
formula could be translated into JavaScript; an order of contraction cannot, for it is found by a search.  So there are tables, and
no formula stands on the page.  ``python docs/rendering/explorer_tables.py [FAMILY ...]`` computes them anew (a quarter of an hour for all).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import tnkit as tk
from tnkit_nn.budgets import balanced

OUT = Path(__file__).parents[1] / "explorer" / "tables"
Settings = Mapping[str, int]

SIDES = (64, 256, 768, 4096)
RANKS = (1, 2, 4, 8, 16, 32)
DIGITS = {"digits": (2, 3, 4)}
BY_RANK = {**DIGITS, "rank": RANKS}
#: Rows of data that a layer is given.
BATCHES = (1, 32, 1024)
WEIGHT = {"rows": SIDES, "cols": SIDES}
STATE = {"sites": (4, 6, 8, 10, 12), "dim": (2, 3, 4)}


@dataclass(frozen=True)
class Shown:
    """A choice on the page.

    Attributes
    ----------
    builder
        Its name in the gallery.
    call
        The call, with settings and parts (:func:`parts`) in braces.
    axes
        Setting -> its values, beside those of the shape.
    weight
        Whether it is a weight (rows, columns), or a state (sites and their size).
    drawn
        Settings that the picture has whatever is chosen, where a network of many nodes could not be read.
    """

    builder: str
    call: str
    axes: Mapping[str, Sequence[int]] = field(default_factory=lambda: BY_RANK)
    weight: bool = True
    drawn: Settings = field(default_factory=dict)

    @property
    def grid(self) -> dict[str, Sequence[int]]:
        """Every setting and its values, the shape's first."""
        return {**(WEIGHT if self.weight else STATE), **self.axes}

    def points(self) -> Iterator[dict[str, int]]:
        """All settings, the last changing first: the order of the tables."""
        yield from (dict(zip(self.grid, values, strict=True)) for values in product(*self.grid.values()))

    def spelled(self, settings: Settings) -> str:
        """The call for these settings."""
        made = {
            name: make(*map(settings.__getitem__, of))
            for name, (of, make) in PARTS.items()
            if f"{{{name}}}" in self.call
        }
        return self.call.format(**{**settings, **made})

    def build(self, settings: Settings) -> tk.Network:
        """The network of the call."""
        return eval(self.spelled(settings), {"tk": tk})  # type: ignore[no-any-return]


def _in_turn(rows: int, cols: int, digits: int) -> tuple[int, ...]:
    return tuple(n for pair in zip(balanced(rows, digits), balanced(cols, digits), strict=True) for n in pair)


def _columns(digits: int, depth: int) -> list[list[tuple[int, ...]]]:
    """Gates on every digit of the rows, of the columns, and so on."""
    gates = [[(k,) for k in range(digits)], [(digits + k,) for k in range(digits)]]
    return [gates[k % 2] for k in range(depth - 1)]


#: Part of a call -> the settings that it depends on, and what makes it.
PARTS: dict[str, tuple[tuple[str, ...], Any]] = {
    "out": (("rows", "digits"), balanced),
    "in_": (("cols", "digits"), balanced),
    "chain": (("rows", "cols", "digits"), lambda rows, cols, digits: (*balanced(rows, digits), *balanced(cols, digits))),
    "turns": (("rows", "cols", "digits"), _in_turn),
    "columns": (("digits", "depth"), _columns),
    "half": (("sites",), lambda sites: sites // 2),
}  # fmt: skip

#: What can be chosen on the page.
FAMILIES: dict[str, Shown] = {
    "mpo": Shown("mpo", "tk.mpo({out}, {in_}, rank={rank})"),
    "tt": Shown("tt", "tk.tt({chain}, rank={rank})"),
    "ring": Shown("ring", "tk.ring({chain}, rank={rank})"),
    "tucker": Shown("tucker", "tk.tucker({chain}, rank={rank})"),
    "cp": Shown("cp", "tk.cp({chain}, rank={rank})"),
    "block_term": Shown("block_term", "tk.block_term({chain}, rank={rank}, terms=2)"),
    "low_rank": Shown("low_rank", "tk.low_rank(({rows}, {cols}), rank={rank})", {"rank": RANKS}),
    "tree": Shown("tree", "tk.tree({turns}, rank={rank})"),
    "augmented_tree": Shown("augmented_tree", "tk.augmented_tree({turns}, rank={rank})"),
    "mera": Shown("mera", "tk.mera({turns}, rank={rank})"),
    "kronecker": Shown("kronecker", "tk.kronecker({out}, {in_}, rank={rank})"),
    "btt": Shown("btt", "tk.btt({out}, {in_}, rank={rank})"),
    "monarch": Shown("monarch", "tk.monarch({out}, {in_})", DIGITS),
    "butterfly": Shown("butterfly", "tk.butterfly({rows}, {cols}, passes={passes})", {"passes": (1, 2)}, drawn={"rows": 8, "cols": 8}),
    "adtn": Shown("adtn", "tk.adtn(({rows}, {cols}), depth={depth})", {"depth": (1, 2, 3, 4, 5)}, drawn={"rows": 16, "cols": 16}),
    "circuit": Shown(
        "circuit", "tk.circuit({chain}, {columns}, 'sin', start=tk.mpo({out}, {in_}, {rank}))",
        {**DIGITS, "rank": (1, 2, 4, 8), "depth": (2, 3, 4)},
    ),
    "mps": Shown("mps", "tk.mps(({dim},) * {sites}, rank={rank})", {"rank": RANKS}, weight=False),
    "tree_state": Shown("tree", "tk.tree(({dim},) * {sites}, rank={rank})", {"rank": RANKS}, weight=False),
    "mera_state": Shown("mera", "tk.mera(({dim},) * {sites}, rank={rank})", {"rank": RANKS}, weight=False),
    "peps": Shown("peps", "tk.peps(2, {half}, dim={dim}, rank={rank})", {"rank": (1, 2, 3, 4)}, weight=False),
    "brick_wall": Shown(
        "brick_wall", "tk.brick_wall({sites}, {dim}, depth={depth}, activation='tanh')", {"depth": (1, 2, 3, 4, 5)}, weight=False,
    ),
}  # fmt: skip


def figures(shown: Shown, settings: Settings) -> list[int]:
    """Parameters, FLOPs that form the tensor, its plan's largest tensor; of a weight, FLOPs of data through it."""
    net = shown.build(settings)
    made = tk.plan(net)
    found = [net.num_params, made.flops, made.largest]
    if shown.weight:  # one with activations has to be formed: 0
        found += [through(net, _row_inds(shown, net), batch) if net.multilinear else 0 for batch in BATCHES]
    return found


def _row_inds(shown: Shown, net: tk.Network) -> tuple[str, ...]:
    """The open indices of the rows' digits, which are as many as the columns'."""
    return net.output[::2] if "{turns}" in shown.call else net.output[: len(net.output) // 2]


def through(net: tk.Network, out: Sequence[str], batch: int) -> int:
    """FLOPs of so many rows of data through a weight as a network, in the order that the planner finds."""
    ins = tuple(i for i in net.output if i not in out)
    sizes = {"batch": batch, **{i: net.sizes[i] for i in ins}}
    data = tk.Network((tk.Node("data", ("batch", *ins), fixed=True),), ("batch", *ins), sizes)
    return tk.plan(net.join(data, ("batch", *out), on=ins)).flops


def dense(rows: int, cols: int, batch: int) -> int:
    """FLOPs of so many rows of data through a dense weight."""
    return tk.plan(tk.from_einsum("oi,bi->bo", {"o": rows, "i": cols, "b": batch})).flops


def table(shown: Shown) -> list[list[int]]:
    """A family's figures, one list a figure, each over all points."""
    return [list(column) for column in zip(*(figures(shown, settings) for settings in shown.points()), strict=True)]


def path(name: str) -> Path:
    """Where a family's table is."""
    return OUT / f"{name}.js"


def read(name: str) -> list[list[int]]:
    """A committed table."""
    return json.loads(path(name).read_text(encoding="utf-8").partition("] = ")[2].rstrip().removesuffix(";"))  # type: ignore[no-any-return]


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or FAMILIES:
        text = json.dumps(table(FAMILIES[name]), separators=(",", ":")).replace("],[", "],\n[")
        path(name).write_text(f'explorer.tables["{name}"] = {text};\n', encoding="utf-8")
        print(f"wrote {path(name).relative_to(OUT.parents[2])}", flush=True)
