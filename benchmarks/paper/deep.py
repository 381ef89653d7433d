"""Is there a deep network that beats every shallow one and every control at an equal count?  One command a study.

``python benchmarks/paper/deep.py STUDY --data-dir DIR`` (MNIST, and CIFAR-10 for ``wide-conv``; studies are the keys of ``STUDIES``) runs ``tnkit_nn.compare`` on the
study's families and goes on where it was interrupted; the page is in ``out/paper/STUDY/``, the records in
``benchmarks/paper/STUDY.json``, from which ``benchmarks/paper/tables.py`` renders docs/paper.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from math import prod
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from cells import bar
from digests import kept_in, place
from four_convs import WIDEST
from joint import LAYERS, WEIGHT
from setup import Setup

import tnkit as tk
from tnkit_nn.approximation.methods import RATES
from tnkit_nn.budgets import balanced, grow, in_turn, near_budget, step_ranks
from tnkit_nn.comparison.compare import compare
from tnkit_nn.comparison.report.files import write_report
from tnkit_nn.families import CONTROLS, KINDS, SHARED, Family, families
from tnkit_nn.searches.deep import adtn_near, circuit_near
from tnkit_nn.searches.shallow import by_rank, tree_near
from tnkit_nn.storage import read_record, replacing
from tnkit_nn.versions import versions

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Comparison:
    """What is compared, and how it is shown.

    Attributes
    ----------
    rows
        The families.
    small
        Whether small dense models are a control (of whole models).
    title, note
        Of its part of docs/paper.md: what the families were chosen on, for one.
    """

    task: Setup
    budgets: tuple[int, ...]
    rows: Callable[[], list[Family]]
    small: bool = False
    title: str = ""
    note: str = ""


SHALLOW = ["mpo", "tt", "tucker", "cp", "ring", "tree"]


def wall(depth: int, activation: str | None = "sin", name: str = "", **more: Any) -> Family:
    """An ADTN of any kind."""
    label = " ".join(["adtn", activation or "linear", *([name] if name else []), f"depth {depth}"])
    return Family("adtn", label, partial(adtn_near, depth=depth, activation=activation, **more), depth)


def every() -> list[Family]:
    """Shallow families, the paper's ADTN and the one with sines (the better recipe), circuits of four depths."""
    shallow = ["mpo", "tt", "tucker", "cp", "ring", "low_rank"]
    return [*families(shallow), *families(["adtn"], (3,)), wall(2), wall(3), *families(["circuit"], (2, 3, 4, 5))]


def best() -> list[Family]:
    """Those that were best on FC-2 at 400 numbers."""
    return [*families(["mpo", "cp", "ring"]), *families(["circuit"], (3, 5))]


def kinds() -> list[Family]:
    """What could make a deep network win: activation and depth, periodic walls, the sites' order and size, trees, MERA, circuits."""
    grid = [*(wall(d, fn) for d in range(2, 6) for fn in ("relu", "sin")), wall(3, "leaky_relu"), wall(3, "tanh")]
    walls = [
        wall(1, None), *grid, wall(3, None), wall(2, "sin", "periodic", periodic=True), wall(3, "sin", "periodic", periodic=True),
        wall(3, "sin", "sequential", order="sequential"),
    ]  # fmt: skip
    deep = [
        Family("tree", "tree sin", partial(tree_near, activation="sin"), 2),
        Family("mera", "mera", partial(by_rank, tk.mera)),
        Family("mera", "mera sin", partial(by_rank, tk.mera, activation="sin"), 2),
    ]
    return [*families(["mpo", "cp", "ring", "tree"]), *walls, *deep, *families(["circuit"], (2, 3, 4, 5))]


def kinds_of_4() -> list[Family]:
    """The same, and walls whose sites are all of size 4, which start at 984 numbers."""
    return [*kinds(), wall(2, "sin", "sites of 4", merged=7)]


def longer() -> list[Family]:
    """Some of the best of each kind, for a longer training."""
    return [*families(["mpo", "cp", "ring"]), wall(3), *families(["circuit"], (3, 5))]


def of_3_digits(depth: int) -> Family:
    """A circuit of three digits a side, where the family tries four first."""
    return Family(
        "circuit", f"circuit of 3 digits depth {depth}", partial(circuit_near, depth=depth, digits=(3,)), depth
    )


#: Shallow networks on as many digits a side as a circuit has, of the studies of seeds 15 to 39: (family, digits) -> network of the rows' and
#: the columns' digits, of ranks that make about 400 numbers of LeNet-5's fc1 on three digits, 150 on five.
SAME_DIGITS: dict[tuple[str, int], Callable[[Sequence[int], Sequence[int]], tk.Network]] = {
    ("mpo", 3): lambda out, in_: tk.mpo(out, in_, (2, 3)),
    ("ring", 3): lambda out, in_: in_turn(out, in_, tk.ring, (3, 3, 3, 3, 4, 4)),
    ("tree", 3): lambda out, in_: in_turn(out, in_, tk.tree, 3),
    ("tree", 5): lambda out, in_: in_turn(out, in_, tk.tree, 2),
}


def of_these_digits(shape: Sequence[int], budget: int, name: str, digits: int) -> tk.Network:
    """A network of :data:`SAME_DIGITS`, whatever the budget."""
    return SAME_DIGITS[name, digits](balanced(shape[0], digits), balanced(shape[1], digits))


def same(digits: int) -> list[Family]:
    """The shallow networks of so many digits."""
    return [
        Family(name, f"{name} on its digits", partial(of_these_digits, name=name, digits=d))
        for name, d in SAME_DIGITS
        if d == digits
    ]


def on_the_same_digits(shape: Sequence[int], budget: int, name: str, digits: int, than: int) -> tk.Network:
    """A TT-matrix (``mpo``) or a ring of at least ``than`` numbers on so many digits a side, whatever the budget."""
    out, in_ = balanced(shape[0], digits), balanced(prod(shape[1:]), digits)
    if name == "mpo":
        make, bonds = partial(tk.mpo, out, in_), digits - 1
    else:
        make, bonds = partial(in_turn, out, in_, tk.ring), 2 * digits
    return near_budget(chain(grow(make, than), step_ranks(make, bonds, than)), than, at_least=True)


def ring_on_its_digits(digits: int, than: int) -> Family:
    """A ring over digits of rows and columns in turn, as many as a circuit has, where the family takes all rows' first."""
    return Family("ring", "ring on its digits", partial(on_the_same_digits, name="ring", digits=digits, than=than))


def decisive() -> list[Family]:
    """Every shallow family, and the circuits that seeds 0 to 2 preferred after 2,500 steps, of four digits a side and of three."""
    return [*families(SHALLOW), *families(["circuit"], (3,)), of_3_digits(2), of_3_digits(3)]


def confirmed() -> list[Family]:
    """The circuit that was best in the decisive study, once more on fresh seeds, beside the shallow families near it, others on its own
    digits, itself without its sine, and the best of the paper's walls."""
    linear = Family(
        "circuit", "the circuit without a sine", partial(circuit_near, depth=2, digits=(3,), activation=None)
    )
    return [*families(["mpo", "cp", "ring", "tree"]), *same(3), linear, wall(3), of_3_digits(2)]


def smallest() -> list[Family]:
    """Every shallow family, the walls and the circuit of depth 2, which are the deep networks that have about 150 numbers, each without its
    activation too, and a tree on the circuit's digits."""
    linear = Family("circuit", "the circuit without a sine", partial(circuit_near, depth=2, activation=None))
    walls = [wall(2), wall(2, "relu"), wall(2, None)]
    return [*families(SHALLOW), *same(5), *walls, linear, *families(["circuit"], (2,))]


def no_fewer(shape: Sequence[int], budget: int, name: str, than: int) -> tk.Network:
    """A family's network of at least ``than`` numbers, whatever the budget."""
    return KINDS[name].build(shape, than, at_least=True)


def smallest_confirmed() -> list[Family]:
    """The best of :func:`smallest`, beside the shallow families near it with no fewer numbers than its 156."""
    return [*at_least(["mpo", "tucker", "cp", "ring", "tree"], 156), wall(2)]


def at_least(names: Sequence[str], than: int) -> list[Family]:
    """Families at a network of at least so many numbers."""
    return [Family(name, f"{name}, no fewer", partial(no_fewer, name=name, than=than)) for name in names]


def question() -> list[Family]:
    """The circuit that led at about 400 numbers, itself without its sine, and the shallow families near it with no fewer than its 397, a ring
    on its digits among them (the TT-matrix is on them)."""
    linear = Family(
        "circuit", "the circuit without a sine", partial(circuit_near, depth=2, digits=(3,), activation=None)
    )
    shallow = [*at_least(["ring", "cp", "mpo"], 397), ring_on_its_digits(3, 397)]
    return [*shallow, linear, *at_least(["tree"], 397), of_3_digits(2)]


def few() -> list[Family]:
    """For whole models: every shallow family, a wall and a circuit."""
    return [*families(SHALLOW), wall(3), *families(["circuit"], (3,))]


def kernels() -> list[Family]:
    """For a convolution: every shallow family, walls and circuits that have 150 or 400 numbers (BTT and Monarch begin at 332)."""
    structured = ["low_rank", "kronecker", "lokr", "block_term", "augmented_tree"]
    return [*families([*SHALLOW, *structured]), wall(2), wall(3), *families(["circuit"], (2, 3))]


def wide_kernel() -> list[Family]:
    """For a wider convolution: those of :func:`kernels` that were not far behind there, and deeper circuits."""
    shallow = ["mpo", "tt", "tucker", "cp", "ring", "tree", "kronecker", "block_term"]
    return fair([*families(shallow), wall(2), wall(3), *families(["circuit"], (2, 3, 4))])


def _no_fewer_than_any(shape: Sequence[int], budget: int, name: str, deep: Sequence[Family]) -> tk.Network:
    """A family's network of at least as many numbers as the largest of some deep ones near a budget."""
    return no_fewer(shape, budget, name, max(f.build(shape, budget).num_params for f in deep))


def fair(rows: Sequence[Family]) -> list[Family]:
    """The same families, no shallow one with fewer numbers than a deep one, weight by weight."""
    deep = [f for f in rows if f.depth]
    shallow = [
        Family(f.name, f"{f.label}, no fewer", partial(_no_fewer_than_any, name=f.name, deep=deep))
        for f in rows
        if not f.depth
    ]
    return [*shallow, *deep]


def kernels_no_fewer() -> list[Family]:
    """:func:`kernels`, no shallow family with fewer numbers than a deep one."""
    return fair(kernels())


def three_layers() -> list[Family]:
    """For several layers at once, in one network or in one each: no shallow family has fewer numbers than a deep one."""
    return fair([*families(SHALLOW), wall(2), wall(3), *families(["circuit"], (2, 3))])


def kernel_confirmed() -> list[Family]:
    """The circuit that led :func:`kernels` at about 150 numbers, itself without its sines, the wall, and the shallow families near it with no
    fewer than its 155 (those of the TT-matrix and of one ring are on the circuit's digits)."""
    linear = Family("circuit", "the circuit without sines", partial(circuit_near, depth=3, activation=None))
    shallow = [*at_least(["mpo", "ring", "kronecker", "block_term", "cp"], 155), ring_on_its_digits(4, 155)]
    return [*shallow, linear, wall(2), *families(["circuit"], (3,))]


def kernel_question() -> list[Family]:
    """The circuit of :func:`kernel_confirmed` once more, and the two shallow families that came nearest."""
    return [*families(["circuit"], (3,)), *at_least(["mpo", "kronecker"], 155)]


def large_layer() -> list[Family]:
    """For FC-2's layer of 401,408 weights: the families that came near the best there, no shallow one with fewer numbers than a deep one."""
    return fair([*families(["mpo", "cp", "ring", "tree"]), wall(3), *families(["circuit"], (2, 3))])


def large() -> list[Family]:
    """Those of :func:`few`, and a low rank, which has 1,296 numbers at least on FC-2."""
    return [*few(), *families(["low_rank"])]


_LENET = Setup("lenet5", "mnist", "fc1", 3, 1500, 300, 600, limit=20000, rest="none")
_FC2 = Setup("fc2", "mnist", "fc1", 3, 1500, 200, 300, limit=20000, rest="none")
STUDIES = {
    "lenet5-fc1": Comparison(replace(_LENET, seeds=5, rest="head"), (150, 400), every),
    "lenet5-fc1-kinds-400": Comparison(_LENET, (400,), kinds, title="Which deep networks?"),
    "lenet5-fc1-kinds-1000": Comparison(_LENET, (1000,), kinds_of_4, title="Which deep networks?"),
    "lenet5-fc1-long": Comparison(
        replace(_LENET, seeds=5, tune_steps=2000), (400,), longer, title="Trained for longer:"
    ),
    "lenet5-fc1-decide": Comparison(
        replace(_LENET, seeds=10, first_seed=5, tune_steps=5000),
        (400,),
        decisive,
        title="Ten fresh seeds, 5,000 steps:",
        note="The circuits are those of 17 on the seeds 0 to 2 that validation images preferred after 2,500 steps.",
    ),
    "lenet5-fc1-confirm": Comparison(
        replace(_LENET, seeds=15, first_seed=15, tune_steps=5000),
        (400,),
        confirmed,
        title="The best of these on fifteen more:",
        note="The circuit is that of the table above which was best on these test images, with other seeds. "
        "Beside it stand three shallow networks on its own digits, itself without the sine, and the paper's wall with sines.",
    ),
    "lenet5-fc1-smallest": Comparison(
        replace(_LENET, seeds=10, first_seed=30, tune_steps=5000),
        (150,),
        smallest,
        title="As few numbers as there are, ten fresh seeds, 5,000 steps:",
        note="Nothing was chosen on other seeds: these are the kinds of depth 2 that have about 150 numbers.",
    ),
    "lenet5-fc1-smallest-confirm": Comparison(
        replace(_LENET, seeds=10, first_seed=40, tune_steps=5000),
        (166,),
        smallest_confirmed,
        title="The best of these once more, with no fewer numbers for its rivals:",
        note="The wall is that of the table above which was best, with other seeds. Of every shallow family the smallest network that has at "
        "least the wall's 156 numbers.",
    ),
    "lenet5-fc1-question": Comparison(
        replace(_LENET, seeds=20, first_seed=100, dense_steps=600, tune_steps=1000),
        (400,),
        question,
        title="The circuit at about 400 once more, twenty fresh seeds:",
        note="The circuit has 397 numbers. Of every shallow family the smallest network that has at least as many; the hash has 400. "
        "Dense models of 600 steps.",
    ),
    "lenet5-fc1-question-long": Comparison(
        replace(_LENET, seeds=20, first_seed=200, dense_steps=600, tune_steps=5000),
        (400,),
        question,
        title="The same question after 5,000 steps, twenty other seeds:",
        note="The circuit and dense models as above, other seeds, a longer training; the TT-matrix and one ring are on its own digits.",
    ),
    "lenet5-fc1-large": Comparison(_LENET, (1000, 3000, 10000), large, title="Larger budgets:"),
    "lenet5-conv2": Comparison(
        replace(_LENET, layer="conv2", seeds=5, first_seed=120, tune_steps=1500),
        (150, 400),
        kernels_no_fewer,
        title="A convolution:",
        note="Of every shallow family the smallest network that has at least as many numbers as the largest deep one.",
    ),
    "lenet5-conv2-confirm": Comparison(
        replace(_LENET, layer="conv2", seeds=10, first_seed=140, tune_steps=1500),
        (150,),
        kernel_confirmed,
        title="The circuit that led there, on ten fresh seeds:",
        note="The circuit is that of the table above which was best at about 150, with other seeds. No shallow network has fewer numbers than "
        "its 155; the TT-matrix and one ring are on its own digits.",
    ),
    "lenet5-conv2-question": Comparison(
        replace(_LENET, layer="conv2", seeds=20, first_seed=300, tune_steps=1500),
        (150,),
        kernel_question,
        title="Against the two nearest, on twenty more:",
        note="The circuit, the TT-matrix and the Kronecker sum of the table above, with other seeds.",
    ),
    "lenet5-conv2-question-long": Comparison(
        replace(_LENET, layer="conv2", seeds=10, first_seed=320, tune_steps=5000),
        (150,),
        kernel_question,
        title="The same after 5,000 steps:",
        note="The networks are those above, with other seeds.",
    ),
    "wide-conv": Comparison(
        Setup("four convolutions", "cifar10", WIDEST, 5, 1500, 300, 1500, limit=20000, rest="none", first_seed=400),
        (1000,),
        wide_kernel,
        title="A wider convolution:",
        note="No shallow network has fewer numbers than the largest deep one.",
    ),
    "lenet5-joint": Comparison(
        replace(_LENET, model="lenet5, one weight", layer=WEIGHT, seeds=5, first_seed=160),
        (1000,),
        three_layers,
        title="One network for three layers:",
        note="The weights of `conv2`, `fc1` and `fc2` stand one after another in one matrix, each in units of 1 / sqrt(inputs); one network makes it. "
        "The dense models choose their rate on validation. No shallow network has fewer numbers than the largest deep one.",
    ),
    "lenet5-three": Comparison(
        replace(_LENET, layer=LAYERS, seeds=5, first_seed=160),
        (1000,),
        three_layers,
        title="The same layers, a network each:",
        note="The seeds are those above. No shallow network has fewer numbers than the largest deep one, layer by layer.",
    ),
    "lenet5-all": Comparison(
        replace(_LENET, layer=("conv2", "fc1", "fc2", "fc3")),
        (150, 400, 1000, 2000, 3000, 10000),
        few,
        small=True,
        title="All layers:",
    ),
    "fc2-fc1": Comparison(_FC2, (400,), every),
    "fc2-fc1-fresh": Comparison(
        replace(_FC2, seeds=5, first_seed=3),
        (400,),
        best,
        title="The best of them on fresh seeds:",
        note="The families are the best of the table above.",
    ),
    "fc2-fc1-question": Comparison(
        replace(_FC2, seeds=5, first_seed=500, tune_steps=1500),
        (400,),
        large_layer,
        title="Five fresh seeds, 1,500 steps:",
        note="No shallow network has fewer numbers than the largest deep one.",
    ),
    "fc2-fc1-large": Comparison(_FC2, (150, 1000, 3000, 10000), large, title="Other budgets:"),
    "fc2-all": Comparison(
        replace(_FC2, layer=("fc1", "fc2")), (150, 400, 1000, 3000, 10000), few, small=True, title="All layers:"
    ),
}


#: The code that a study depends on beside its own (``digests.PARTS``).
SOURCES = ("families", "approximation", "comparison")
#: What is kept of a record.
KEPT = (
    "label", "family", "depth", "budget", "num_params", "layer_params", "seed", "error", "baseline", "test_fit", "test_frozen",
    "test_trained", "val_frozen", "val_trained", "frozen_from", "trained_from", "chosen_frozen", "chosen_trained", "seconds",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--data-dir", required=True, help="folder of MNIST's files, CIFAR-10's for wide-conv")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", default="out/paper")
    parser.add_argument(
        "--so-far", action="store_true", help="run nothing: write the rows that are finished, and which are missing"
    )
    args = parser.parse_args()
    study = STUDIES[args.study]
    setup = replace(study.task, data_dir=args.data_dir)
    out = Path(args.out) / args.study
    if args.so_far:
        write_so_far(args.study, out)
        return
    digests = kept_in(out, place(study.rows), *SOURCES)
    torch.set_num_threads(1)
    with ProcessPoolExecutor(args.workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        records = compare(
            setup.task(study.small),
            study.rows(),
            study.budgets,
            executor=pool,
            out=out,
            progress=bar(args.study),
            **setup.options(),
        )
    write_report(records, out, f"Deep or shallow? {args.study}")
    save(args.study, records, **described(study), digests=digests)


def described(study: Comparison) -> dict[str, Any]:
    """What results say of their study."""
    return {"task": asdict(study.task), "rates": RATES, "title": study.title, "note": study.note}


def write_so_far(name: str, out: Path) -> None:
    """Write the rows of a study that are finished, in the order of a whole one; the note says which are missing."""
    study, found = STUDIES[name], finished_rows(out)
    asked = [(family.label, budget) for budget in study.budgets for family in study.rows()]
    asked += [(label, budget) for budget in study.budgets for label in SHARED if label != "small_dense" or study.small]
    asked += [(label, None) for label in CONTROLS if label not in SHARED]
    missing = [
        label if budget is None else f"{label} at {budget}" for label, budget in asked if (label, budget) not in found
    ]
    digests = json.loads((out / "digests.json").read_text())
    note = f"{study.note} Stopped before its last rows: {', '.join(missing)} are missing." if missing else study.note
    records = [record for row in asked for record in found.get(row, [])]
    save(name, records, **{**described(study), "note": note}, digests=digests)
    print(f"wrote {len(records)} records; missing: {', '.join(missing) or 'nothing'}")


def finished_rows(out: Path) -> dict[tuple[str, int | None], list[dict[str, Any]]]:
    """(label, budget) -> the records of a row, of the rows that an interrupted comparison has finished in a folder."""
    found = {}
    for path in (out / "jobs").glob("*.json"):
        kept = json.loads(path.read_text())
        rows = read_record(path, kept["job"], {"job": str})["result"]
        if isinstance(rows, list) and rows and "label" in rows[0]:
            found[rows[0]["label"], rows[0]["budget"]] = rows
    return found


def save(name: str, records: Sequence[Mapping[str, Any]], **more: Any) -> None:
    """Write what the tables need of a comparison, a record a line, whole or not at all."""
    lines = ",\n".join(json.dumps({k: r[k] for k in KEPT if k in r}) for r in map(_as_kept, records))
    head = json.dumps({**more, "versions": versions()})[:-1]
    with replacing(HERE / f"{name}.json") as temporary:
        temporary.write_text(f'{head},\n"records": [\n{lines}\n]}}\n')


def _as_kept(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """A small dense model stands in the column of the layer alone, beside the networks."""
    if record["label"] != "small_dense":
        return record
    moved = {
        f"{part}_{n}": record[f"{part}_trained"] if n == "frozen" else None
        for part in ("test", "val")
        for n in ("frozen", "trained")
    }
    return {**record, **moved, "label": "small dense", "family": "small dense"}


if __name__ == "__main__":
    main()
