"""The figures of README.md and of the pages beside this file, filled in from the results in ``benchmarks/paper`` and ``examples/results``.

``make docs`` runs it.  What stands between ``<!-- rendered: NAME -->`` and ``<!-- end -->`` is made by ``BLOCKS[NAME]``; a test
compares the pages with what the results give.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "benchmarks" / "paper"), str(ROOT / "docs")]
import array_tables  # noqa: E402
from rendering import adapters, approximations, explorer, gallery, minilm, own, physics, tools, weights  # noqa: E402
from rendering.common import READINGS, groups  # noqa: E402

#: Block -> what fills it.
BLOCKS: dict[str, Callable[[], str]] = {
    "finding": weights.finding,
    "fc1": lambda: weights.grid("lenet5-fc1", weights.FC1, [(150, "frozen"), (400, "frozen"), (400, "trained")]),
    "fc1-best": lambda: "\n".join(
        f"- {weights.best('lenet5-fc1', budget, reading)}" for budget in (150, 400) for reading in READINGS
    ),
    "fc1-larger": lambda: weights.grid(
        "lenet5-fc1-large", ["circuit depth 3", "adtn sin depth 3", "mpo", "ring", "cp", "hashed", "subspace"],
        [(1000, "frozen"), (3000, "frozen"), (10000, "frozen")],
    ),
    "fc1-long": lambda: weights.against("lenet5-fc1-confirm", 400, list(groups("lenet5-fc1-confirm", 400))[:12]),
    "fc1-long-best": lambda: f"{weights.best('lenet5-fc1-confirm', 400)} {weights.rivals('lenet5-fc1-confirm', 400)}",
    "fc1-question-best": lambda: f"{weights.best('lenet5-fc1-question', 400)} {weights.rivals('lenet5-fc1-question', 400)}",
    "fc1-small": lambda: weights.against(
        "lenet5-fc1-smallest-confirm", 166, list(groups("lenet5-fc1-smallest-confirm", 166))[:8]
    ),
    "fc1-small-best": lambda: f"{weights.best('lenet5-fc1-smallest-confirm', 166)} {weights.rivals('lenet5-fc1-smallest-confirm', 166)}",
    "conv2": lambda: weights.against("lenet5-conv2-confirm", 150, list(groups("lenet5-conv2-confirm", 150))[:12]),
    "conv2-best": lambda: f"{weights.best('lenet5-conv2-confirm', 150)} {weights.rivals('lenet5-conv2-confirm', 150)}",
    "conv2-question": lambda: weights.against("lenet5-conv2-question", 150, list(groups("lenet5-conv2-question", 150))),
    "conv2-long": lambda: weights.against(
        "lenet5-conv2-question-long", 150, list(groups("lenet5-conv2-question-long", 150))
    ),
    "fc2": lambda: "\n".join(
        f"- {weights.best(study, budget)}" for study, budget in (("fc2-fc1-fresh", 400), ("fc2-fc1-large", 10000))
    ),
    "wide": lambda: weights.against("wide-conv", 1000, list(groups("wide-conv", 1000))[:16]),
    "wide-best": lambda: f"{weights.best('wide-conv', 1000)} {weights.rivals('wide-conv', 1000)}",
    "joint-best": lambda: f"{weights.best('lenet5-joint', 1000)} {weights.rivals('lenet5-joint', 1000)}",
    "joint": lambda: weights.against("lenet5-joint", 1000, list(groups("lenet5-joint", 1000))[:12]),
    "lenet5-all": lambda: weights.grid("lenet5-all", weights.WHOLE, [(400, "frozen"), (1000, "frozen"), (10000, "frozen")]),
    "fc2-all": lambda: weights.grid("fc2-all", weights.WHOLE, [(400, "frozen"), (1000, "frozen"), (10000, "frozen")]),
    "vgg-linear": weights.layers_of_vgg,
    "vgg-convolutions": weights.convolutions_of_vgg,
    "all-images": weights.on_all_images,
    "approximation-methods": approximations.methods,
    "approximation-demo": approximations.demo,
    "own-frozen": lambda: own.table_of("frozen"),
    "own-trained": lambda: own.table_of("trained"),
    "own-said": own.said,
    "minilm-distilled": minilm.distilled,
    "minilm-said": minilm.told,
    "minilm-adapted": minilm.adapted,
    "adapters": adapters.table_of,
    "adapters-said": adapters.said,
    "tools": tools.rendered,
    "gallery-overview": gallery.overview,
    "gallery": gallery.sections,
    "gallery-families": gallery.families,
    "physics-evolution": physics.evolution,
    "physics-ground-state": physics.ground_state,
    "physics-ising": physics.ising,
    **array_tables.BLOCKS,
}  # fmt: skip
_BLOCK = re.compile(r"(<!-- rendered: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def pages() -> list[Path]:
    """The files that may have blocks."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def rendered(text: str) -> str:
    """A page with its blocks filled in; KeyError for a block that nothing makes."""
    return _BLOCK.sub(lambda found: f"{found[1]}{BLOCKS[found[2]]()}\n{found[3]}", text)


if __name__ == "__main__":
    for path, drawn in gallery.pictures().items():
        path.write_text(drawn, encoding="utf-8")
    explorer.write()
    for path in pages():
        text = path.read_text(encoding="utf-8")
        if (filled := rendered(text)) != text:
            path.write_text(filled, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
