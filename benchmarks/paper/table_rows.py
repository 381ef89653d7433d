"""The tables of comparisons (``deep.py``, ``search.py``): deep networks, shallow ones and controls at equal counts."""

from __future__ import annotations

from itertools import chain
from math import inf, isnan
from statistics import mean
from typing import Any, NamedTuple

from setup import model_of
from table_parts import IMAGES, in_pairs, noted, p_of, row
from tabulate import tabulate

from tnkit_nn.budgets import keeps
from tnkit_nn.comparison.paired import NO_STATEMENT, NONE, UNEQUAL, holm, stated
from tnkit_nn.comparison.paired import difference as paired
from tnkit_nn.families import SHARED

SETS = {"mnist": "MNIST", "cifar10": "CIFAR-10"}
#: What :func:`stated` says -> what stands behind a p-value.
SAID = {NONE: "", "better": ": more", "worse": ": less", NO_STATEMENT: f": {NO_STATEMENT}"}
READINGS = {"frozen": "other layers frozen", "trained": "bias and head trained too"}


HOW = """Bold is the deep network (of depth 2 or more), italic the shallow one,
that validation images prefer among those that keep the budget (5 % over it at most) or are made to have *no fewer* parameters. *Difference*: of a deep network to the shallow one in italics, of all
other rows to the deep one in bold, in points, paired over seeds, ± half of the 95 % interval; p (Holm) for the deep networks among each
other, and among the rivals at an equal count (shallow networks, hashed, subspace). The pair of bold and italic is in both, with the
larger p. Where no word follows p there is no significant difference, which with three seeds says little: see the interval. *No statement*:
the row that is significantly ahead has more parameters than the other (a control without parameters apart). †: one of the two has over a
tenth more."""
SHARED_OUT = """;
the budget is shared out over the layers by the square roots of their sizes, and all else (biases, the first convolution) is frozen as it was
trained. *Small dense*: the same model so narrow that it has as many parameters *in all*, trained from the start for as long as the others were in both trainings"""


def deep(found: dict[str, Any]) -> str:
    """Deep against every shallow family and every control, at equal counts."""
    records, task = with_whole_counts(found), found["task"]
    parts = []
    for budget in sorted({r["budget"] for r in records if r["budget"]}):
        parts.append(f"### Budget {budget}\n\n{_rows([r for r in records if r['budget'] in (budget, None)])}")
    size = records[0]["layer_params"]
    names = [task["layer"]] if isinstance(task["layer"], str) else task["layer"]
    fresh = " that the families were not chosen on" if task.get("first_seed") else ""
    text = f"""## {found.get("title") or "Deep or shallow?"} {", ".join(f"`{n}`" for n in names)} of {task["model"]} on {SETS[task["data"]]} ({size:,} weights)

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


def with_whole_counts(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The records of a study, each with the parameters of its whole model: small dense models are held against those."""
    records = found["records"]
    whole = sum(p.numel() for p in model_of(found["task"]["model"]).parameters())
    return [
        {**r, "model_params": r["num_params"] + (0 if r["label"] == "small dense" else whole - r["layer_params"])}
        for r in records
    ]


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
    """Whether it is a fair rival: it keeps its budget, or was made for the deep network, of no fewer parameters or on the same digits.

    A small dense model has the others' count in all.
    """
    fair = record["label"] == "small dense" or record["label"].endswith((", no fewer", " on its digits"))
    return fair or (bool(record["budget"]) and keeps(record["num_params"], record["budget"]))


class Against(NamedTuple):
    """A row less the row that it is held against, in points: ± half of the 95 % interval; p, and what it says, where it is tested."""

    other: str
    points: float
    half: float
    p: float | None
    words: str | None
    unequal: bool

    def __str__(self) -> str:
        tested = f" ({p_of(self.p)}{SAID[self.words]})" if self.p is not None else ""
        return f"{self.points:+.2f} ± {self.half:.2f}{tested}{'†' if self.unequal else ''}"


def preferred(groups: dict[str, list[dict[str, Any]]], reading: str) -> tuple[str | None, str | None]:
    """The deep and the shallow network that validation images prefer, among those that keep the budget."""
    read = {label: g for label, g in groups.items() if g[0][f"test_{reading}"] is not None}
    networks = [x for x, g in read.items() if _at_equal_count(g[0]) and x not in (*SHARED, "small dense")]

    def best(labels: list[str]) -> str | None:
        reached = {label: mean(r[f"val_{reading}"] for r in read[label]) for label in labels}
        return max(reached, key=lambda label: -inf if isnan(reached[label]) else reached[label], default=None)

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
    gaps = {label: paired(*_by_seed(read[label], read[to], key), IMAGES) for label, to in against.items()}
    tested = [x for x in gaps if _at_equal_count(read[x][0])]
    ps = {}
    for family in ([x for x in tested if _deep(read[x])], [x for x in tested if not _deep(read[x])]):
        ps |= dict(zip(family, holm([gaps[label][3] for label in family]), strict=True))
    if bold in ps and italic in ps:
        ps[bold] = ps[italic] = max(ps[bold], ps[italic])
    out = {}
    for label, (points, high) in ((label, (100 * gap[0], 100 * gap[2])) for label, gap in gaps.items()):
        counts, p = _counts(read[label][0], read[against[label]][0]), ps.get(label)
        unequal = p is not None and label != "small dense" and max(counts) > UNEQUAL * min(counts)
        words = None if p is None else stated(p, points > 0, counts)
        out[label] = Against(against[label], points, high - points, p, words, unequal)
    return out


def _by_seed(one: list[dict[str, Any]], other: list[dict[str, Any]], key: str) -> tuple[list[float], list[float]]:
    """Two rows' values in the order of their seeds, which are the same."""
    first, second = ({r["seed"]: r[key] for r in group} for group in (one, other))
    if first.keys() != second.keys():
        raise ValueError(f"rows of a table have the same seeds, not {sorted(first)} and {sorted(second)}")
    return in_pairs(first, second)


def _counts(one: dict[str, Any], other: dict[str, Any]) -> tuple[int, int]:
    """Parameters of the weights of two rows; of whole models, where one of them is a small dense one."""
    key = "model_params" if "small dense" in (one["label"], other["label"]) else "num_params"
    return one[key], other[key]


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
