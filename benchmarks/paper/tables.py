"""docs/paper.md out of ``benchmarks/paper/*.json``: the paper's systems as they were measured, and what the figures say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import array_tables
from digests import older
from table_cells import (
    against_left_out,
    against_preferred,
    at_best_rates,
    cifar100_head,
    cifar100_scratch,
    cifar_whole,
    figures,
    grown,
    heads,
    orders,
    small_vgg_convs,
    vgg16_convs,
    vgg16_head,
)
from table_parts import Gap, gaps
from table_rates import rates
from table_rows import Against, against_best, deep, grouped, preferred, searched, with_whole_counts

from tnkit_nn.approximation.methods import RATES
from tnkit_nn.comparison.replicas import REST_RATES

__all__ = [
    "Against", "Gap", "against_best", "against_left_out", "against_preferred", "at_best_rates", "deep", "gaps", "grouped", "heads", "page", "preferred",
    "with_whole_counts",
]  # fmt: skip

HERE = Path(__file__).parent
TARGET = HERE.parents[1] / "docs" / "paper.md"

INTRO = """# The paper's systems, measured

Rendered by `python benchmarks/paper/tables.py` from the results beside it; each study is one command of `benchmarks/paper/studies.py`,
`deep.py` or `search.py` that goes on where it was interrupted. Accuracies are per cent of all 10,000 test images where nothing else
is said, and no choice was made on these but where a note says so; after a mean stands the range over the seeds, from the smallest to the
largest. *Parameters* are trained ones, as they are stored. Intervals are of each difference by itself, at 95 %; p-values are corrected
for their number in a table's column (Holm), and *more* and *less* go by them. In italics behind the versions: what of the code has changed since a table was made (*before digests*: nobody knows); changes after
which a reference run gives the same numbers, to the last bit, are not named (`reference.py`).
"""

SETUP = f"""## How it was measured, and what the labels mean

Data: MNIST's four IDX files and the binary versions of CIFAR-10 and CIFAR-100, each in the folder that `--data-dir` names; a tenth of the training images,
5,000 at most, is the validation part, by class, of which comparisons read 2,000. A trained VGG-16 (`--vgg16
FILE`) is what `tnkit train --model vgg16` writes. Two cores of a server without an accelerator, but for whole models on CIFAR-10 (an
H200, shared by a dozen processes).

Comparisons (`deep.py`, `search.py`): Adam (0.9, 0.99), warm-up and cosine, batches of 128, for the dense models too (1,500 steps where nothing else is said, a
rate of 3e-3; a seed is a dense model, a data order and a start of its own). Learning rates {", ".join(f"{r:g}" for r in RATES)} of the weight's parameters, with
{", ".join(f"{r:g}" for r in REST_RATES)} of what else is trained, from the approximation and from a random start: all six are trained, and validation images choose
one of them and its best moment. In tables that say so, a rate is tried beyond the lowest or the highest (a quarter, four times) as long as that is the best, twice at most. Compressions (`studies.py`) have one rate, and dense models of 4 epochs on the same images.

A weight is a tensor whose indices are the *digits* of its row and of its column, in mixed radix (120 x 400 as 6 5 4 x 10 8 5).

- `mpo`: TT-matrix, each core has a digit of the row and one of the column (Novikov et al. 2015); `tt`: tensor train on prime factors
  (quantised); `ring`: tensor ring; `tree`: hierarchical Tucker over the digits of row and column in turn; `low_rank`: one matrix product; `rank1`: of rank one
- `adtn depth d`: the paper's brick wall with ReLU, or what is named; *periodic*: bricks over the ends; *sequential*: rows' digits before
  columns', else in turn; *sites of 4*: two binary digits each
- `circuit depth d`: a TT-matrix, then d - 1 times: a sine of every entry, and a Kronecker product of one small matrix a digit (a column
  of single-site gates) on the row's digits, then the column's, in turn; with 4, 3, 5 or 2 digits a side, whichever is the first within
  5 % of the budget
- `hashed`: parameters shared by a random hash (Chen et al. 2015); `subspace`: a random subspace (Li et al. 2018)
- `frozen_random`: a random weight; `picked`: every output is one input; `pooled`: a mean of neighbouring inputs; none has parameters
- `removed`: the layer left out; what follows takes its inputs, and so has more parameters than before (`fc2` of LeNet-5 33,600 instead of
  10,080), is drawn anew and trained as long as all others in both trainings; with the other layers frozen, a weight of zeros
- `dense`: the trained weight as it is; `dense_trained_on`: trained as long as the networks

One row alone: `compare(replace(study.task, data_dir=DIR), [f for f in study.rows() if f.label == "mpo"], study.budgets)` of `tnkit_nn`
with `study = deep.STUDIES["lenet5-fc1"]`; `f.build((120, 400), 400)` is its network.
"""


STUDIES = {
    "orders": orders,
    "figures": figures,
    "vgg16-head": vgg16_head,
    "cifar100-head": cifar100_head,
    "cifar100-alexnet-head": cifar100_scratch,
    "cifar100-zfnet-head": cifar100_scratch,
    "grown": grown,
    "cifar-whole": cifar_whole,
    "cifar-whole-cifar100": cifar_whole,
    "vgg16-convs": vgg16_convs,
    "small-vgg-convs": small_vgg_convs,
    "lenet5-fc1": deep,
    "search-150": searched,
    "fc2-fc1": deep,
    "fc2-fc1-fresh": deep,
    "fc2-fc1-question": deep,
    "lenet5-fc1-kinds-400": deep,
    "lenet5-fc1-kinds-1000": deep,
    "lenet5-fc1-long": deep,
    "lenet5-fc1-decide": deep,
    "lenet5-fc1-confirm": deep,
    "lenet5-fc1-question": deep,
    "lenet5-fc1-question-long": deep,
    "lenet5-fc1-smallest": deep,
    "lenet5-fc1-smallest-confirm": deep,
    "lenet5-fc1-large": deep,
    "lenet5-conv2": deep,
    "lenet5-conv2-confirm": deep,
    "lenet5-conv2-question": deep,
    "lenet5-conv2-question-long": deep,
    "wide-conv": deep,
    "lenet5-joint": deep,
    "lenet5-three": deep,
    "lenet5-all": deep,
    "fc2-fc1-large": deep,
    "fc2-all": deep,
    "rates": rates,
}


def command(name: str, found: dict[str, Any]) -> str:
    """What was run."""
    options = found.get("options", {})
    if name == "rates":
        return f"`python benchmarks/paper/rates.py --data-dir DIR --places {len({(c['place'], c['budget']) for c in found['cells']})}`"
    if "records" in found:
        search = [f"--budget {options['budget']}", f"--tries {options['tries']}"] if options else []
        parts = ["search.py" if search else f"deep.py {name}", "--data-dir DIR", *search]
    else:
        data = options.get("data", "cifar10")
        parts = [
            f"studies.py {name.removesuffix(f'-{data}')}",
            "--data-dir DIR",
            *(["--vgg16 FILE"] if name in ("vgg16-head", "cifar100-head") else []),
        ]
        parts += [] if data == "cifar10" else [f"--data {data}"]
        for option, plain in (("epochs", 6), ("dense_epochs", 40), ("limit", None)):
            if options.get(option, plain) != plain:
                parts.append(f"--{option.replace('_', '-')} {options[option]}")
        parts += ["--device cuda", "--workers 6"] if options.get("device") == "cuda" else []
    return f"`python benchmarks/paper/{' '.join(parts)}`"


def edges(found: dict[str, Any]) -> str:
    """How many rows of a budget chose the lowest rate of those tried, beyond which there may be a better one, and the highest."""
    rows = {
        (r["label"], r["budget"]): r["chosen_frozen"]
        for r in found.get("records", ())
        if r["budget"] and (r.get("chosen_frozen") or {}).get("rate")
    }
    if not rows or not found.get("rates"):
        return ""
    # all that a sweep without further rates tried
    first = {"lowest": min(found["rates"]), "highest": max(found["rates"])}
    low, high = (sum(c["rate"] == c.get(end, rate) for c in rows.values()) for end, rate in first.items())
    if any("lowest" in c for c in rows.values()):
        beyond = sum(not first["lowest"] <= c["rate"] <= first["highest"] for c in rows.values())
        return f"{beyond} of {len(rows)} rows chose a rate beyond the first three, {low} the lowest that was tried for them, {high} the highest; "
    return f"{low} of {len(rows)} rows chose the lowest rate of those tried ({first['lowest']:g}), {high} the highest ({first['highest']:g}); "


def section(name: str, found: dict[str, Any]) -> str:
    """A study's part of the page: its title, its command, its tables, its versions."""
    title, _, rest = STUDIES[name](found).partition("\n\n")
    versions = ", ".join(f"{k} {v}" for k, v in found["versions"].items())
    hours = sum(r.get("seconds", 0) for r in found.get("records", ())) / 3600
    took = f"{hours:.1f} core-hours for the rows, dense models apart; " if hours else ""
    age = older(found.get("digests"))
    return "\n\n".join(
        [title, command(name, found), rest, f"{took}{edges(found)}{versions}{f'; *{age}*' if age else ''}."]
    )


def page() -> str:
    """The page."""
    files = {name: HERE / f"{name}.json" for name in STUDIES}
    parts = [section(name, json.loads(path.read_text())) for name, path in files.items() if path.exists()]
    return (
        "\n\n".join(part.strip() for part in [INTRO, (HERE / "summary.md").read_text(encoding="utf-8"), SETUP, *parts])
        + "\n"
    )


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
    print(f"wrote {TARGET}")
    array_tables.FIGURE.write_text(array_tables.figure())
