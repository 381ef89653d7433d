"""docs/paper.md out of ``benchmarks/paper/*.json``: the paper's systems as they were measured, and what the figures say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from tabulate import tabulate

from tnkit_nn.approximation import RATES
from tnkit_nn.budgets import keeps
from tnkit_nn.comparison.paired import difference as paired
from tnkit_nn.comparison.paired import holm
from tnkit_nn.comparison.replicas import REST_RATES
from tnkit_nn.families import SHARED

HERE = Path(__file__).parent
IMAGES = 10_000  # of every test set
TARGET = HERE.parents[1] / "docs" / "paper.md"

INTRO = """# The paper's systems, measured

Rendered by `python benchmarks/paper/tables.py` from the results beside it; each study is one command of `benchmarks/paper/studies.py`,
`deep.py` or `search.py` that goes on where it was interrupted. Accuracies are per cent of all 10,000 test images where nothing else
is said, and no choice was made on these but where a note says so; after a mean stands the range over the seeds, from the smallest to the
largest. *Parameters* are trained ones, as they are stored. Intervals are of each difference by itself, at 95 %; p-values are corrected
for their number (Holm).
"""

SETUP = f"""## How it was measured, and what the labels mean

Data: MNIST's four IDX files and CIFAR-10's binary version, each in the folder that `--data-dir` names; a tenth of the training images,
5,000 at most, is the validation part, by class, of which comparisons read 2,000. A trained VGG-16 (`--vgg16
FILE`) is what `tnkit train --model vgg16` writes. Two cores of a server without an accelerator, but for whole models on CIFAR-10 (an
H200, shared by a dozen processes).

Comparisons (`deep.py`, `search.py`): Adam (0.9, 0.99), warm-up and cosine, batches of 128, for the dense models too (1,500 steps, a
rate of 3e-3; a seed is a dense model, a data order and a start of its own). Learning rates {", ".join(f"{r:g}" for r in RATES)} of the weight's parameters, with
{", ".join(f"{r:g}" for r in REST_RATES)} of what else is trained, from the approximation and from a random start: all six are trained, and validation images choose
one of them and its best moment. Compressions (`studies.py`) have one rate, and dense models of 4 epochs on the same images.

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


def row(values: Sequence[float]) -> str:
    """Mean and spread, per cent."""
    low, high = 100 * min(values), 100 * max(values)
    return f"{100 * mean(values):.2f}" + (f" ({low:.2f} to {high:.2f})" if len(values) > 1 else "")


def difference(one: Sequence[float], other: Sequence[float], images: int = IMAGES) -> str:
    """Mean paired difference with its 95 % interval, in points, and what that says."""
    points, low, high = (100 * x for x in paired(one, other, images)[:3])
    said = "no significant difference" if low <= 0 <= high else "more" if low > 0 else "less"
    return f"{points:+.2f} ({low:+.2f} to {high:+.2f}): {said}"


def orders(found: dict[str, Any]) -> str:
    """Orders at equal training."""
    kinds: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for cell in found["cells"]:
        kinds.setdefault((cell["family"], cell["order"], cell["stage1"], cell["rest"]), []).append(cell["result"])
    lines = []
    for (family, order, stage1, rest), results in kinds.items():
        after = [r["accuracy_after"] for r in results]
        base = [r["accuracy_after"] for r in kinds[family, "together", "auto", "all"]]
        numbers = sum(layer["num_params"] for layer in results[0]["layers"])
        against = "" if (order, stage1, rest) == ("together", "auto", "all") else difference(after, base)
        lines.append([
            family, order, "yes" if stage1 == "auto" else "no", rest, numbers, f"{results[0]['params_after']:,}", row([r["accuracy_stage1"] for r in results]),
            row(after), against,
        ])  # fmt: skip
    table = tabulate(
        lines, ["family", "order", "approximation", "other layers", "parameters", "whole model", "approximated", "fine-tuned", "difference to *together*"], tablefmt="pipe",
        disable_numparse=True,
    )  # fmt: skip
    dense = {cell["seed"]: cell["result"]["accuracy_before"] for cell in found["cells"]}
    options, count = found["options"], 60000 if found["options"]["limit"] is None else found["options"]["limit"]
    return f"""## In which order? LeNet-5 on MNIST

`conv2`, `fc1` and `fc2` (2,400 + 48,000 + 10,080 weights) into networks of 400 + 1,000 + 600 parameters, {options["epochs"]} epochs of fine-tuning *in all*,
shared out over the layers where these go one after another; {count:,} training images at most. Dense models: {row(list(dense.values()))}. *Other layers*: which
of them are fine-tuned too. *Approximated*: every weight as the approximation left it, all else as it was; where a sequence trains more than its networks, later
weights had been trained on by then. Last column: paired over seeds, 95 % interval of three seeds (wide: with three seeds only large
differences can be shown). The controls of these layers are in the tables of all layers below.

{table}"""


def figures(found: dict[str, Any]) -> str:
    """What one network reaches on all images."""
    kinds: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for cell in found["cells"]:
        kinds.setdefault((cell["what"], cell["family"]), []).append(cell["result"])
    lines = [
        [
            what, family, sum(layer["num_params"] for layer in results[0]["layers"]), f"{results[0]['params_after']:,}",
            row([r["accuracy_before"] for r in results]), row([r["accuracy_after"] for r in results]),
            f"{max(r['seconds'] for r in results):.0f}",
        ]
        for (what, family), results in kinds.items()
    ]  # fmt: skip
    heads = ["what", "family", "parameters", "whole model", "dense", "compressed", "seconds"]
    return f"""## How good is an ADTN after minutes on one core? MNIST, all training images

Sines, depth 3, from a random start; 6 epochs (`fc1` of LeNet-5 with the other layers frozen) or 8 (all large layers of LeNet-5 with everything
trained; `fc1` of FC-2 with the head trained), batches of 256. One rate for all networks; FC-2's head has the rate of the
heads below, five times that of a first try, which gave 96.72 (756) and 97.38 (724) on these test images. *Seconds*: the longest of three
seeds, on one core beside another such run. A TT-matrix beside it where more than the layer is trained; for the frozen rows every rival is in the tables below.

{tabulate(lines, heads, tablefmt="pipe", disable_numparse=True)}"""


def _heads(found: dict[str, Any], weights: str = "18.9 million", images: int = IMAGES) -> str:
    """A row a head, beside the two layers left out."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for cell in found["cells"]:
        kinds.setdefault(cell["head"], []).append(cell["result"])
    lines = []
    for head, results in kinds.items():
        values = [r["accuracy"] for r in results]
        numbers = {"dense": weights, "dense trained on": weights}.get(head, results[0]["numbers"])
        against = (
            difference(values, [r["accuracy"] for r in kinds["left out"]], images)
            if len(values) == len(kinds["left out"]) and head != "left out"
            else ""
        )
        lines.append([head, numbers, row(values), against])
    return tabulate(
        lines,
        ["the two layers", "parameters in them", "test accuracy", "difference to *left out*"],
        tablefmt="pipe",
        disable_numparse=True,
    )


def noted(found: dict[str, Any]) -> str:
    """What a results file says of itself."""
    return f" {found['note']}" if found.get("note") else ""


def vgg16_head(found: dict[str, Any]) -> str:
    """The headline and its controls."""
    options = found["options"]
    train = "all training images" if options["limit"] is None else f"{options['limit']:,} training images at most"
    return f"""## The headline's own controls: VGG-16 on CIFAR-10

The paper compresses the two large linear layers of VGG-16 (2^21 + 2^24 weights) into 424 parameters in all and reports 90.17 % -> 91.74 %. Here the
convolutional part of a trained VGG-16 stays as it is (its features are computed once), the two layers are replaced, and they, the
biases and the last layer are trained for {options["epochs"]} epochs on {train}. *Fitted first*: from the approximation, which finds
next to nothing in so few parameters (errors 0.9996 to 0.9999), else from a random start. *Small dense*: Linear(512, 1), ReLU, Linear(1, 10).

{_heads(found)}"""


def cifar_whole(found: dict[str, Any]) -> str:
    """The same with everything trained on, and on two more models."""
    options, parts = found["options"], []
    for model, weights in (("vgg16", "18.9 million"), ("alexnet", "21.0 million"), ("zfnet", "21.0 million")):
        cells = [cell for cell in found["cells"] if cell["model"] == model]
        parts.append(f"### {model}\n\n{_heads({'cells': cells}, weights)}")
    title = f"""## The headline with the whole model trained on: VGG-16, AlexNet and ZFNet on CIFAR-10

Each trained for {options["dense_epochs"]} epochs (batches of 256), its two large linear layers (2^21 + 2^24 weights, of AlexNet and ZFNet 2^22 + 2^24) replaced
by networks of 424 parameters in all, from a random start, or by a control; then *everything* trained on for {options["epochs"]} epochs with crops and
flips, at one rate for all that is no network's parameter. One dense model each; the seeds are of the fine-tuning.{noted(found)}"""
    return "\n\n".join([title, *parts])


def vgg16_convs(found: dict[str, Any]) -> str:
    """VGG-16's convolutions in few numbers, each kind at the rate that validation prefers."""
    kinds: dict[str, dict[float, list[dict[str, Any]]]] = {}
    for cell in found["cells"]:
        kinds.setdefault(cell["convs"], {}).setdefault(cell["rate"], []).append(
            {**cell["result"], "seed": cell["seed"]}
        )
    chosen: dict[str, tuple[float, dict[int, dict[str, Any]]]] = {}
    for what, rates in kinds.items():
        rate = max(rates, key=lambda r: mean(result["val"] for result in rates[r]))
        chosen[what] = rate, {result["seed"]: result for result in rates[rate]}
    best = max(chosen, key=lambda what: mean(r["val"] for r in chosen[what][1].values()))
    lines = []
    for what, (rate, results) in chosen.items():
        both = sorted(results.keys() & chosen[best][1].keys())
        pairs = [[chosen[w][1][seed]["accuracy"] for seed in both] for w in (what, best)]
        against = "" if what == best else difference(*pairs)
        other = [f"{r:g}: {row([x['accuracy'] for x in results])}" for r, results in kinds[what].items() if r != rate]
        accuracies = row([r["accuracy"] for r in results.values()])
        whole = next(iter(results.values()))["numbers"]
        lines.append([what, f"{whole:,}", f"{rate:g}", len(results), accuracies, against, *other])
    heads = [
        "convolutions",
        "whole model",
        "rate",
        "seeds",
        "test accuracy",
        f"difference to *{best}*",
        "at the other rate",
    ]
    options = found["options"]
    return f"""## Layers that a model cannot go without: VGG-16's convolutions

Twelve of its thirteen convolutions, 14.7 million weights, in about 1,000 parameters each (12,000 in all), from a random start; the first one, all
normalisations and a last linear layer of 512 features are trained with them for {options["epochs"]} epochs with crops and flips; the two large linear
layers are left out. Their parameters have one of two rates, all else at a fifth of it; validation images choose the rate, over all seeds.
*Small dense*: a VGG-16 so narrow that it has as many parameters as the others in all. *Whole model*: trained parameters.{noted(found)}

{tabulate(lines, heads, tablefmt="pipe", disable_numparse=True)}"""


READINGS = {"frozen": "other layers frozen", "trained": "bias and head trained too"}


HOW = """Bold is the deep network (of depth 2 or more), italic the shallow one,
that validation images prefer among those that keep the budget (5 % over it at most). *Difference*: of a deep network to the shallow one in italics, of all
other rows to the deep one in bold, in points, paired over seeds, ± half of the 95 % interval; p (Holm) for the deep networks among each
other, and among the rivals at an equal count (shallow networks, hashed, subspace). The pair of bold and italic is in both, with the
larger p. Where no word follows p there is no significant difference, which with three seeds says little: see the interval. †: one of the
two has over a tenth more parameters."""
SHARED_OUT = """;
the budget is shared out over the layers by the square roots of their sizes, and all else (biases, the first convolution) is frozen as it was
trained. *Small dense*: the same model so narrow that it has as many parameters *in all*, trained from the start for as long as the others were in both trainings"""


def deep(found: dict[str, Any]) -> str:
    """Deep against every shallow family and every control, at equal counts."""
    records, task = found["records"], found["task"]
    parts = []
    for budget in sorted({r["budget"] for r in records if r["budget"]}):
        parts.append(f"### Budget {budget}\n\n{_rows([r for r in records if r['budget'] in (budget, None)])}")
    size = records[0]["layer_params"]
    names = [task["layer"]] if isinstance(task["layer"], str) else task["layer"]
    fresh = " that the families were not chosen on" if task.get("first_seed") else ""
    text = f"""## {found.get("title") or "Deep or shallow?"} {", ".join(f"`{n}`" for n in names)} of {task["model"]} on MNIST ({size:,} weights)

{task["seeds"]} seeds{fresh}, {task["limit"]:,} training images, {task["tune_steps"]} steps of 128 images for every row{SHARED_OUT if len(names) > 1 else ""}. {HOW}{noted(found)}"""
    return "\n\n".join([text, *parts])


def searched(found: dict[str, Any]) -> str:
    """The best deep and the best shallow network of a search, on fresh seeds."""
    options = found["options"]
    winners = "\n".join(
        f"- {kind}: groups of digits {best[0]['groups']}, ranks {best[0]['ranks']}, gates {best[0]['columns'] or 'none'}"
        for kind, best in found["best"].items()
    )
    return f"""## Searched with equal effort: `fc1` of LeNet-5, at most {options["budget"]} parameters, the other layers frozen

{options["tries"]} chains and rings of any groups of digits and ranks (*shallow*), and as many chains under one to five columns of gates with
sines between (*deep*), each tried on three seeds with {options["steps"]} steps at one rate and chosen by its validation accuracy. Below the two winners
beside the named families on {options["seeds"]} seeds that the search has not seen, {found["task"]["tune_steps"]} steps, rates and starts swept as everywhere. Marks as above.{noted(found)}

{_rows(found["records"])}

{winners}"""


def grouped(records: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Label -> its records, one a seed."""
    return {label: [r for r in records if r["label"] == label] for label in dict.fromkeys(r["label"] for r in records)}


def _rows(records: list[dict[str, Any]]) -> str:
    """A table of rows in both readings, or the one that there is."""
    groups = grouped(records)
    cells = {r: _cells(groups, r) for r in READINGS if any(x[f"test_{r}"] is not None for x in records)}
    lines = [[label, g[0]["num_params"], *chain(*(c[label] for c in cells.values()))] for label, g in groups.items()]
    headers = ["the weight is", "parameters", *chain(*((READINGS[r], "difference") for r in cells))]
    return str(tabulate(lines, headers, tablefmt="pipe", disable_numparse=True))


def _at_equal_count(record: dict[str, Any]) -> bool:
    """Whether it has a budget and keeps it; a small dense model has the others' count in all."""
    return record["label"] == "small dense" or (
        bool(record["budget"]) and keeps(record["num_params"], record["budget"])
    )


class Against(NamedTuple):
    """A row less the row that it is held against, in points: ± half of the 95 % interval, p where it is tested."""

    other: str
    points: float
    half: float
    p: float | None
    unequal: bool

    def __str__(self) -> str:
        tested = f" ({_p(self.p, self.points)})" if self.p is not None else ""
        return f"{self.points:+.2f} ± {self.half:.2f}{tested}{'†' if self.unequal else ''}"


def preferred(groups: dict[str, list[dict[str, Any]]], reading: str) -> tuple[str | None, str | None]:
    """The deep and the shallow network that validation images prefer, among those that keep the budget."""
    read = {label: g for label, g in groups.items() if g[0][f"test_{reading}"] is not None}
    networks = [x for x, g in read.items() if _at_equal_count(g[0]) and x not in (*SHARED, "small dense")]

    def best(labels: list[str]) -> str | None:
        return max(labels, key=lambda label: mean(r[f"val_{reading}"] for r in read[label]), default=None)

    return best([x for x in networks if _deep(read[x])]), best([x for x in networks if not _deep(read[x])])


def _deep(group: list[dict[str, Any]]) -> bool:
    return (group[0]["depth"] or 0) > 1


def against_best(groups: dict[str, list[dict[str, Any]]], reading: str) -> dict[str, Against]:
    """Label -> its difference: of deep networks to the best shallow one, of all others to the best deep one.

    The best deep and the best shallow network are one pair that is tested twice, among the deep networks and among the rivals: both
    rows show the larger p-value.
    """
    key = f"test_{reading}"
    read = {label: g for label, g in groups.items() if g[0][key] is not None}
    bold, italic = preferred(groups, reading)
    to_best = {label: italic if _deep(g) else bold for label, g in read.items()}
    against = {label: best for label, best in to_best.items() if best is not None}
    gaps = {label: paired(*([r[key] for r in read[x]] for x in (label, to)), IMAGES) for label, to in against.items()}
    tested = [x for x in gaps if _at_equal_count(read[x][0])]
    ps = {}
    for family in ([x for x in tested if _deep(read[x])], [x for x in tested if not _deep(read[x])]):
        ps |= dict(zip(family, holm([gaps[label][3] for label in family]), strict=True))
    if bold in ps and italic in ps:
        ps[bold] = ps[italic] = max(ps[bold], ps[italic])
    out = {}
    for label, (points, high) in ((label, (100 * gap[0], 100 * gap[2])) for label, gap in gaps.items()):
        counts = sorted(read[x][0]["num_params"] for x in (label, against[label]))
        unequal = label in ps and label != "small dense" and counts[1] > 1.1 * counts[0]
        out[label] = Against(against[label], points, high - points, ps.get(label), unequal)
    return out


def _cells(groups: dict[str, list[dict[str, Any]]], reading: str) -> dict[str, tuple[str, str]]:
    """Label -> accuracies, bold and italic those of the two best networks, and the difference."""
    against, (bold, italic) = against_best(groups, reading), preferred(groups, reading)
    out = {}
    for label, group in groups.items():
        values = [r[f"test_{reading}"] for r in group]
        mark = {bold: "**", italic: "*"}.get(label, "")
        text = "" if values[0] is None else f"{mark}{row(values)}{mark}"
        out[label] = text, str(against[label]) if label in against else ""
    return out


def _p(p: float, points: float) -> str:
    """A p-value, and what it shows."""
    said = "" if p >= 0.05 else ": less" if points < 0 else ": more"
    return f"p {'< 0.001' if p < 0.001 else f'{p:.3f}'}{said}"


STUDIES = {
    "orders": orders,
    "figures": figures,
    "vgg16-head": vgg16_head,
    "cifar-whole": cifar_whole,
    "vgg16-convs": vgg16_convs,
    "lenet5-fc1": deep,
    "search-150": searched,
    "fc2-fc1": deep,
    "fc2-fc1-fresh": deep,
    "lenet5-fc1-kinds-400": deep,
    "lenet5-fc1-kinds-1000": deep,
    "lenet5-fc1-long": deep,
    "lenet5-fc1-decide": deep,
    "lenet5-fc1-confirm": deep,
    "lenet5-fc1-smallest": deep,
    "lenet5-fc1-smallest-confirm": deep,
    "lenet5-fc1-large": deep,
    "lenet5-conv2": deep,
    "lenet5-all": deep,
    "fc2-fc1-large": deep,
    "fc2-all": deep,
}


def command(name: str, found: dict[str, Any]) -> str:
    """What was run."""
    options = found.get("options", {})
    if "records" in found:
        search = [f"--budget {options['budget']}", f"--tries {options['tries']}"] if options else []
        parts = ["search.py" if search else f"deep.py {name}", "--data-dir DIR", *search]
    else:
        parts = [f"studies.py {name}", "--data-dir DIR", *(["--vgg16 FILE"] if name == "vgg16-head" else [])]
        for option, plain in (("epochs", 6), ("dense_epochs", 40), ("limit", None)):
            if options.get(option, plain) != plain:
                parts.append(f"--{option.replace('_', '-')} {options[option]}")
        parts += ["--device cuda", "--workers 6"] if options.get("device") == "cuda" else []
    return f"`python benchmarks/paper/{' '.join(parts)}`"


def section(name: str, found: dict[str, Any]) -> str:
    """A study's part of the page: its title, its command, its tables, its versions."""
    title, _, rest = STUDIES[name](found).partition("\n\n")
    versions = ", ".join(f"{k} {v}" for k, v in found["versions"].items())
    hours = sum(r.get("seconds", 0) for r in found.get("records", ())) / 3600
    took = f"{hours:.1f} core-hours for the rows, dense models apart; " if hours else ""
    return "\n\n".join([title, command(name, found), rest, f"{took}{versions}."])


def page() -> str:
    """The page."""
    files = {name: HERE / f"{name}.json" for name in STUDIES}
    parts = [section(name, json.loads(path.read_text())) for name, path in files.items() if path.exists()]
    return "\n\n".join(part.strip() for part in [INTRO, (HERE / "summary.md").read_text(), SETUP, *parts]) + "\n"


if __name__ == "__main__":
    TARGET.write_text(page())
    print(f"wrote {TARGET}")
