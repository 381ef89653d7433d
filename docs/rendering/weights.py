"""Weights in few parameters, from the studies of ``benchmarks/paper``: README.md and docs/findings.md."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

import tables
from table_parts import p_of, table

from rendering.common import READINGS, Records, accuracy, groups, name, percent, results
from tnkit_nn.comparison.paired import NO_STATEMENT, NONE

FC1 = [
    "circuit depth 2", "circuit depth 3", "adtn depth 3", "adtn sin depth 2", "adtn sin depth 3", "mpo", "ring", "cp", "tucker", "tt",
    "hashed", "subspace", "frozen_random", "picked", "pooled", "removed", "dense", "dense_trained_on",
]  # fmt: skip
WHOLE = ["circuit depth 3", "adtn sin depth 3", "mpo", "ring", "cp", "hashed", "small dense", "dense"]


# -- deep against shallow -------------------------------------------------------------------------------------------
def grid(study: str, labels: Sequence[str], columns: Sequence[tuple[int, str]]) -> str:
    """Accuracies of rows at budgets, each with its parameters."""
    shown = [(groups(study, budget), reading) for budget, reading in columns]

    def cell(label: str, of: dict[str, Records], reading: str) -> str:
        rows = of[label]
        count = f" ({rows[0]['num_params']:,})" if rows[0]["budget"] else ""
        return accuracy(rows, reading) + count

    lines = [[name(x), *(cell(x, of, reading) if x in of else "" for of, reading in shown)] for x in labels]
    return table(["test accuracy, % (parameters)", *(f"about {b:,}, {READINGS[r]}" for b, r in columns)], lines)


def outcome(gap: tables.Against) -> str:
    """What a p-value says of a row against another."""
    shown = p_of(gap.p, "= ")
    if gap.words == NO_STATEMENT:
        return f"{shown}, but the better one has more parameters: {NO_STATEMENT}"
    return f"{NONE}, {shown}" if gap.words == NONE else shown


def best(study: str, budget: int, reading: str = "frozen") -> str:
    """The best deep and the best shallow network, and the hash, in words."""
    rows = groups(study, budget)
    (deep, shallow), gaps = tables.preferred(rows, reading), tables.against_best(rows, reading)
    said = [
        f"{len(rows['hashed'])} seeds, about {budget:,} parameters, {READINGS[reading]}.",
        f"Best deep network: {name(deep)}, {accuracy(rows[deep], reading)} %.",
        f"Best shallow network: {name(shallow)}, {accuracy(rows[shallow], reading)} % ({outcome(gaps[shallow])}).",
        f"Hash: {accuracy(rows['hashed'], reading)} % ({outcome(gaps['hashed'])}).",
    ]
    return " ".join(said)


def rivals(study: str, budget: int, reading: str = "frozen") -> str:
    """Which rivals at an equal count are worse than the best deep network, which better, and which neither."""
    rows = groups(study, budget)
    (deep, _), gaps = tables.preferred(rows, reading), tables.against_best(rows, reading)
    tested = {label: gap.words for label, gap in gaps.items() if gap.other == deep}
    kinds = {
        "Significantly worse": "worse",
        "Significantly better": "better",
        "No statement, since the one ahead has more parameters": NO_STATEMENT,
        "No significant difference": NONE,
    }
    by_words = {told: [x for x, words in tested.items() if words == asked] for told, asked in kinds.items()}
    told = [f"{words}: {', '.join(map(name, labels))}." for words, labels in by_words.items() if labels]
    return f"Its rivals with as many parameters. {' '.join(told)}"


def against(study: str, budget: int, labels: Sequence[str], reading: str = "frozen") -> str:
    """Rows with their differences to the best deep network (of deep ones: to the best shallow one) and p-values."""
    rows = groups(study, budget)
    gaps = tables.against_best(rows, reading)
    lines = []
    for label in labels:
        gap, count = gaps[label], rows[label][0]["num_params"]
        tested = outcome(gap) if gap.p is not None else ""
        lines.append(
            [name(label), f"{count:,}", accuracy(rows[label], reading), f"{gap.points:+.2f}", name(gap.other), tested]
        )
    return table(["weight", "parameters", "test accuracy, %", "difference", "to", "p-value (Holm)"], lines)


# -- studies that are not of records --------------------------------------------------------------------------------
def said(gap: tables.Gap) -> str:
    """What a difference says."""
    return {"less": "worse", "more": "better"}.get(gap.words, gap.words)


def finding() -> str:
    """The rows of the README."""
    vgg, convs = tables.heads(results("cifar-whole"), "vgg16"), tables.at_best_rates(results("vgg16-convs"))
    kept, beside = tables.against_left_out(vgg), tables.gaps({"adtn": (vgg["adtn 424"], vgg["mpo 424"])})
    best, gaps = tables.against_preferred(convs)
    assert best == "mpo"  # the row says so
    behind = {kind: said(gaps[kind]) for kind in ("circuit", "adtn")}
    vgg = {head: percent(of.values()) for head, of in vgg.items()}
    convs = {kind: percent(of.accuracies.values()) for kind, of in convs.items()}
    single = [
        of_one_layer("LeNet-5, MNIST: `fc1`, 48,000 weights in about 400", "lenet5-fc1-confirm", 400),
        of_one_layer("LeNet-5, MNIST: `conv2`, 2,400 weights in about 150", "lenet5-conv2-question", 150, "lenet5-conv2-confirm"),
        of_one_layer("small VGG, CIFAR-10: `conv4`, 73,728 weights in about 1,000", "wide-conv", 1000),
    ]  # fmt: skip
    lines = [
        *(line for line, _ in single),
        ["VGG-16, CIFAR-10: two linear layers, 18.9 million weights in 424", f"ADTN {vgg['adtn 424']}",
         f"TT-matrix {vgg['mpo 424']}", f"left out {vgg['left out']}, frozen random {vgg['frozen random']}",
         f"ADTN and left out: {said(kept['adtn 424'])}"],
        ["VGG-16, CIFAR-10: twelve convolutions in about 1,000 each", f"circuit {convs['circuit']}, ADTN {convs['adtn']}",
         f"TT-matrix {convs['mpo']}", f"hash {convs['hashed']}", _of_both(behind)],
    ]  # fmt: skip
    better = [*(ahead for _, ahead in single), said(beside["adtn"]) == "better", "better" in behind.values()]
    claim = f"Rows in which a deep network is shown to be better than the best shallow one: {sum(better) or 'none'}."
    return f"{table(['test accuracy, %', 'deep', 'shallow', 'control', 'so'], lines)}\n\n{claim}"


def _of_both(behind: dict[str, str]) -> str:
    """What is said of two deep networks beside the TT-matrix."""
    if set(behind.values()) == {"worse"}:
        return "both deep ones are worse than the TT-matrix"
    if len(set(behind.values())) == 1:
        return f"deep and shallow: {behind['adtn']}"
    return "; ".join(f"{name(kind)} and TT-matrix: {words}" for kind, words in behind.items())


def of_one_layer(what: str, study: str, budget: int, controls: str = "") -> tuple[list[str], bool]:
    """A row of :func:`finding` on one layer, the others frozen, and whether deep is better; the hash may be of another study."""
    rows = groups(study, budget)
    deep, shallow = tables.preferred(rows, "frozen")
    gap = tables.against_best(rows, "frozen")[shallow]
    hashed = groups(controls or study, budget)["hashed"]
    deep_is = {"better": "worse", "worse": "better"}.get(gap.words)  # the words are of the shallow one
    so = f"deep is {deep_is}, {outcome(gap)}" if deep_is else f"deep and shallow: {outcome(gap)}".partition(", p")[0]
    line = [
        what, f"{name(deep).split()[0].strip(',')} {accuracy(rows[deep])}",
        f"{name(shallow).split()[0]} {accuracy(rows[shallow])}", f"hash {accuracy(hashed)}",
        so,
    ]  # fmt: skip
    return line, deep_is == "better"


def layers_of_vgg() -> str:
    """Two linear layers of three models, everything trained on."""
    kinds = ["dense", "dense trained on", "adtn 424", "mpo 424", "hashed 424", "frozen random", "picked", "left out"]
    models = {"vgg16": "VGG-16", "alexnet": "AlexNet", "zfnet": "ZFNet"}
    found = {model: tables.heads(results("cifar-whole"), model) for model in models}
    gaps = {model: tables.against_left_out(of) for model, of in found.items()}

    def cell(model: str, kind: str) -> str:
        reached, gap = percent(found[model][kind].values()), gaps[model].get(kind)
        return reached if gap is None else f"{reached} ({said(gap)})"

    lines = [[name(kind), *(cell(model, kind) for model in models)] for kind in kinds]
    return table(["the two layers", *models.values()], lines)


def convolutions_of_vgg() -> str:
    """Twelve convolutions in few parameters, each beside the TT-matrix."""
    rows = tables.at_best_rates(results("vgg16-convs"))
    best, gaps = tables.against_preferred(rows)
    found = {kind: of.accuracies for kind, of in rows.items()}
    lines = [
        [name(k), str(len(found[k])), percent(found[k].values()), said(gaps[k]) if k in gaps else ""]
        for k in sorted(found, key=lambda kind: -mean(found[kind].values()))
    ]
    return table(["the convolutions", "seeds", "test accuracy, %", f"against the {name(best)}"], lines)


def on_all_images() -> str:
    """ADTNs after minutes on one core, all of MNIST."""
    kinds: dict[tuple[str, str], Records] = {}
    for cell in results("figures")["cells"]:
        kinds.setdefault((cell["what"], cell["family"]), []).append(cell["result"])
    lines = [
        [what.rpartition(", ")[0] if what.split()[-1].isdigit() else what, name(family),
         f"{sum(layer['num_params'] for layer in rows[0]['layers']):,}", percent(r["accuracy_after"] for r in rows),
         percent(r["accuracy_before"] for r in rows), f"{max(r['seconds'] for r in rows):.0f}"]
        for (what, family), rows in kinds.items()
    ]  # fmt: skip
    return table(["layers", "network", "parameters", "test accuracy, %", "dense, %", "seconds"], lines)
