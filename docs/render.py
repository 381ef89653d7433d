"""The figures of README.md and of the pages beside this file, filled in from the results in ``benchmarks/paper`` and ``examples/results``.

``make docs`` runs it.  What stands between ``<!-- rendered: NAME -->`` and ``<!-- end -->`` is made by ``BLOCKS[NAME]``; a test
compares the pages with what the results give.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from statistics import mean, stdev
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "paper"
# tables.py is of the page of all results, whose p-values are shown here too
sys.path[:0] = [str(RESULTS), str(ROOT / "docs")]
import array_tables  # noqa: E402
import explorer_page  # noqa: E402
import gallery_page  # noqa: E402
import physics_figures  # noqa: E402
import tables  # noqa: E402
import tools_table  # noqa: E402
from scipy.stats import ttest_rel  # noqa: E402
from table_parts import table  # noqa: E402

from tnkit_nn.comparison.measure import Measure  # noqa: E402
from tnkit_nn.comparison.paired import NO_STATEMENT  # noqa: E402
from tnkit_nn.comparison.report.tables import rows as table_rows  # noqa: E402
from tnkit_nn.comparison.result import Comparison  # noqa: E402
from tnkit_nn.comparison.statistics import against_controls, deep_against_shallow, outcomes  # noqa: E402

Records = list[dict[str, Any]]

#: Label in the results -> what a reader calls it.
NAMES = {
    "mpo": "TT-matrix", "tt": "TT", "tucker": "Tucker", "cp": "CP", "ring": "ring", "tree": "tree", "low_rank": "low rank", "rank1": "rank 1",
    "hashed": "hash", "hashed 424": "hash", "subspace": "random subspace", "frozen_random": "frozen random", "picked": "picked features",
    "pooled": "pooled features", "removed": "layer left out", "dense": "dense", "dense_trained_on": "dense, trained on", "small_dense": "small dense model",
    "adtn depth 3": "ADTN, ReLU, depth 3", "adtn 424": "ADTN", "mpo 424": "TT-matrix", "adtn": "ADTN", "circuit": "circuit", "small dense": "small dense model",
}  # fmt: skip
READINGS = {"frozen": "other layers frozen", "trained": "other layers fine-tuned"}


def name(label: str) -> str:
    """A row's name: ``adtn sin depth 3`` is "ADTN, sine, depth 3"."""
    if label in NAMES:
        return NAMES[label]
    for short, long in {"adtn": "ADTN", "sin": "sine", "relu": "ReLU", **NAMES}.items():
        label = re.sub(rf"\b{short}\b", long, label)
    label = label.replace(", no fewer", " (no fewer)")
    return re.sub(r"(?<! a) (sine|ReLU|linear|depth)", r", \1", label)


@cache
def results(study: str) -> dict[str, Any]:
    """A study's committed file."""
    found: dict[str, Any] = json.loads((RESULTS / f"{study}.json").read_text())
    return found


def groups(study: str, budget: int) -> dict[str, Records]:
    """Rows of a budget, and those without one: label -> records."""
    return tables.grouped([r for r in tables.with_whole_counts(results(study)) if r["budget"] in (budget, None)])


def percent(values: Iterable[float], digits: int = 1) -> str:
    """The mean, per cent."""
    return f"{100 * mean(values):.{digits}f}"


def accuracy(rows: Records, reading: str = "frozen") -> str:
    """Mean test accuracy over the seeds, per cent."""
    return percent(r[f"test_{reading}"] for r in rows)


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
    shown = "p < 0.001" if gap.p < 0.001 else f"p = {gap.p:.3f}"
    if gap.refused:
        return f"{shown}, but the better one has more parameters: no statement"
    return f"no significant difference, {shown}" if gap.p >= 0.05 else shown


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
    tested = {label: gap for label, gap in gaps.items() if gap.other == deep and gap.p is not None}
    kinds = {
        "Significantly worse": [x for x, gap in tested.items() if gap.p < 0.05 and gap.points < 0 and not gap.refused],
        "Significantly better": [x for x, gap in tested.items() if gap.p < 0.05 and gap.points > 0 and not gap.refused],
        "No statement, since the one ahead has more parameters": [x for x, gap in tested.items() if gap.refused],
        "No significant difference": [x for x, gap in tested.items() if gap.p >= 0.05],
    }
    told = [f"{words}: {', '.join(map(name, labels))}." for words, labels in kinds.items() if labels]
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
def heads(study: str, model: str | None = None) -> dict[str, list[float]]:
    """Two linear layers replaced: head -> accuracies."""
    out: dict[str, list[float]] = {}
    for cell in results(study)["cells"]:
        if cell.get("model") == model:
            out.setdefault(cell["head"], []).append(cell["result"]["accuracy"])
    return out


def convolutions() -> dict[str, dict[int, float]]:
    """Twelve convolutions replaced: kind -> seed -> accuracy, at the rate that validation images prefer."""
    rates: dict[str, dict[float, Records]] = {}
    for cell in results("vgg16-convs")["cells"]:
        rates.setdefault(cell["convs"], {}).setdefault(cell["rate"], []).append(
            {**cell["result"], "seed": cell["seed"]}
        )
    chosen = {kind: max(of.values(), key=lambda rows: mean(r["val"] for r in rows)) for kind, of in rates.items()}
    return {kind: {r["seed"]: r["accuracy"] for r in rows} for kind, rows in chosen.items()}


def said(one: Sequence[float], other: Sequence[float]) -> str:
    """What the 95 % interval of a difference paired over seeds says, by itself."""
    words = tables.difference(one, other).rpartition(": ")[2]
    return {"less": "worse", "more": "better"}.get(words, words)


def of_both(one: dict[int, float], other: dict[int, float]) -> str:
    """The same for the seeds that both have."""
    seeds = sorted(one.keys() & other.keys())
    return said([one[s] for s in seeds], [other[s] for s in seeds])


def finding() -> str:
    """The three rows of the README."""
    rows = groups("lenet5-fc1-confirm", 400)
    deep, shallow = tables.preferred(rows, "frozen")
    gaps = tables.against_best(rows, "frozen")
    vgg, convs = heads("cifar-whole", "vgg16"), convolutions()
    kept = said(vgg["adtn 424"], vgg["left out"])
    behind = {of_both(convs[kind], convs["mpo"]) for kind in ("circuit", "adtn")}
    lines = [
        ["LeNet-5 `fc1` on MNIST, other layers frozen: 48,000 weights in about 400 parameters", f"circuit {accuracy(rows[deep])}",
         f"{name(shallow.split()[0])} {accuracy(rows[shallow])}", f"hash {accuracy(rows['hashed'])}",
         "deep and shallow: no significant difference" if gaps[shallow].p >= 0.05
         else "the one ahead has more parameters: no statement" if gaps[shallow].refused else "deep and shallow differ"],
        ["VGG-16 on CIFAR-10, two linear layers: 18.9 million weights in 424 parameters", f"ADTN {percent(vgg['adtn 424'])}",
         f"TT-matrix {percent(vgg['mpo 424'])}", f"left out {percent(vgg['left out'])}, frozen random {percent(vgg['frozen random'])}",
         f"ADTN and left out: {kept}"],
        ["VGG-16 on CIFAR-10, twelve convolutions: about 1,000 parameters each", f"circuit {percent(convs['circuit'].values())}, ADTN {percent(convs['adtn'].values())}",
         f"TT-matrix {percent(convs['mpo'].values())}", f"hash {percent(convs['hashed'].values())}",
         "both deep networks are worse than the TT-matrix" if behind == {"worse"} else "no significant difference"],
    ]  # fmt: skip
    better = [
        gaps[shallow].p < 0.05 and gaps[shallow].points < 0 and not gaps[shallow].refused,
        said(vgg["adtn 424"], vgg["mpo 424"]) == "better",
        "better" in behind,
    ]
    claim = f"Rows in which a deep network is shown to be better than the best shallow one: {sum(better) or 'none'}."
    return f"{table(['test accuracy, %', 'deep', 'shallow', 'control', 'so'], lines)}\n\n{claim}"


def layers_of_vgg() -> str:
    """Two linear layers of three models, everything trained on."""
    kinds = ["dense", "dense trained on", "adtn 424", "mpo 424", "hashed 424", "frozen random", "picked", "left out"]
    models = {"vgg16": "VGG-16", "alexnet": "AlexNet", "zfnet": "ZFNet"}
    found = {model: heads("cifar-whole", model) for model in models}

    def cell(of: dict[str, list[float]], kind: str) -> str:
        if kind == "left out" or len(of[kind]) != len(of["left out"]):
            return percent(of[kind])
        return f"{percent(of[kind])} ({said(of[kind], of['left out'])})"

    lines = [[name(kind), *(cell(of, kind) for of in found.values())] for kind in kinds]
    return table(["the two layers", *models.values()], lines)


def convolutions_of_vgg() -> str:
    """Twelve convolutions in few parameters, each beside the TT-matrix."""
    found = convolutions()
    order = sorted(found, key=lambda kind: -mean(found[kind].values()))
    lines = [
        [name(k), str(len(found[k])), percent(found[k].values()), "" if k == "mpo" else of_both(found[k], found["mpo"])]
        for k in order
    ]
    return table(["the convolutions", "seeds", "test accuracy, %", "against the TT-matrix"], lines)


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


FC1 = [
    "circuit depth 2", "circuit depth 3", "adtn depth 3", "adtn sin depth 2", "adtn sin depth 3", "mpo", "ring", "cp", "tucker", "tt",
    "hashed", "subspace", "frozen_random", "picked", "pooled", "removed", "dense", "dense_trained_on",
]  # fmt: skip
WHOLE = ["circuit depth 3", "adtn sin depth 3", "mpo", "ring", "cp", "hashed", "small dense", "dense"]


# -- one's own model, data, loss and metric --------------------------------------------------------------------------
OWN = ["lstm", "segmenter", "regression", "gpt", "dict_output", "streaming"]


@cache
def example(file: str) -> dict[str, Any]:
    """What a script of ``examples/`` found at full size."""
    found: dict[str, Any] = json.loads((ROOT / "examples" / "results" / f"{file}.json").read_text())
    return found | {"records": Comparison(found["records"])}


def own(reading: str) -> str:
    """The best deep and the best shallow network of every example, beside the controls."""
    controls = [
        "dense_trained_on",
        "hashed",
        "subspace",
        *(["removed", "small_dense"] if reading == "trained" else ["frozen_random"]),
    ]
    lines = []
    for file in OWN:
        records = example(file)["records"]
        of = {row.label: row for row in table_rows(records)}
        gaps = [d for d in deep_against_shallow(records) if d.reading == reading]
        measure = gaps[0].measure
        deep, *shallow = (
            f"{name(label)}: {_reached(of[label], reading, measure)} ({of[label].num_params})"
            for label in (gaps[0].one, *(d.other for d in gaps))
        )
        lines.append(
            [
                f"{file}, {measure.name}{measure.of_unit}{measure.direction}", deep, "; ".join(shallow), "; ".join(dict.fromkeys(map(_worded, gaps))),
                *(_reached(of[label], reading, measure) for label in controls),
            ]
        )  # fmt: skip
    heads = [
        "example",
        "best deep (parameters)",
        "shallow rivals (parameters)",
        "deep or shallow",
        *map(name, controls),
    ]
    return table(heads, lines)


def _worded(gap: Any) -> str:
    """What a difference says, with its p-value where there is a significant one."""
    if gap.p >= 0.05:
        return str(gap.words)
    return f"{gap.refused}: no statement" if gap.refused else f"deep is {gap.words}, p {gap.p_text}"


def _reached(row: Any, reading: str, measure: Measure) -> str:
    """Mean and standard deviation over the seeds."""
    middle, spread = getattr(row, f"test_{reading}")
    return f"{measure.number(middle)} ± {measure.number(spread)}"


def own_said() -> str:
    """How often a deep network was better, against a shallow one and against the hash; how long it took."""
    found = [example(file) for file in OWN]
    pairs = [deep_against_shallow(e["records"]) for e in found]
    hashed = [
        d for e, mine in zip(found, pairs, strict=True) for d in against_controls(e["records"])
        if (d.one, d.reading) in {(best.one, best.reading) for best in mine} and d.other == "hashed"
    ]  # fmt: skip
    better, asked, worse, of = map(sum, zip(*map(outcomes, pairs), strict=True))
    shallow = (
        f"The best deep network is significantly better than the best shallow one with no fewer parameters in {better or 'none'} of {asked} comparisons. "
        f"It is worse than the best one with no more in {worse or 'none'} of {of}."
    )
    won, lost, refused = (sum(d.words == w for d in hashed) for w in ("better", "worse", NO_STATEMENT))
    hash_said = f"Against the hash it is better in {won} of {len(hashed)} comparisons, and worse in {lost}."
    if refused:
        hash_said += f" In {refused} the one that is ahead has more parameters, so nothing is said."
    seeds = sorted({d.seeds for mine in pairs for d in mine})
    seconds = sorted(e["seconds"]["processor"] for e in found)
    return (
        f"{shallow} {hash_said} There are {' or '.join(map(str, seeds))} seeds. "
        f"A script took {seconds[0]:.0f} to {seconds[-1]:.0f} seconds of one processor, on a machine that did other work too."
    )


# -- a real transformer ----------------------------------------------------------------------------------------------
MINILM = {
    "low_rank_aware": "low rank, activation-aware start", "first_layers": "first layers of the original", "linear_probe": "linear probe",
    "fine_tuned": "two layers fine-tuned",
}  # fmt: skip


@cache
def minilm(part: str) -> dict[str, Any]:
    """What examples/minilm.py found: its sizes and its rows."""
    found: dict[str, Any] = json.loads((ROOT / "examples" / "results" / "minilm.json").read_text())[part]
    return found


def minilm_distilled() -> str:
    """Cosine and agreement before and after the distillation, the best of each budget first."""
    whole, counts = 6 * 12 * 384**2, minilm("distilled")["size"]["sentences"]
    lines = []
    for row in sorted(minilm("distilled")["rows"], key=lambda row: (-row["share"], -row["after"]["cosine"])):
        label = MINILM.get(row["way"], name(row["way"])) if row["share"] else "all six layers left out"
        read = [f"{row[when][what]:.3f}" for what in ("cosine", "agreement") for when in ("before", "after")]
        lines.append(
            [f"{100 * row['share']:.0f} %", label + (f", {counts['train']:,} sentences" if row["part"] == "train" else ""),
             f"{row['parameters']:,}", f"{100 * row['parameters'] / whole:.1f}", *read, f"{row['rate']:g}", f"{row['fit_seconds']:.0f}",
             f"{row['train_seconds']:.0f}"]
        )  # fmt: skip
    heads = ["budget", "matrices", "parameters", "% of the original", "cosine, before", "after", "agreement, before", "after", "rate",
             "seconds, start", "training"]  # fmt: skip
    return table(heads, lines)


def minilm_said() -> str:
    """Sizes, steps, and whether the best of each budget is above a cosine of .9."""
    size, rows = minilm("distilled")["size"], minilm("distilled")["rows"]
    counts, rates = size["sentences"], ", ".join(f"{rate:g}" for rate in size["rates"])
    text = (
        f"Each row is trained on {size['short']} sentences in {-(-size['short'] // size['batch'])} steps, with one seed. "
        f"The row that says so has {counts['train']:,}. All are measured on {counts['test']} other sentences. "
        f"The rate of each kind is the best of {rates} on {counts['val']} validation sentences, at its first budget.\n"
    )
    if (planned := minilm("distilled")["planned"]) > len(rows):
        text = f"{len(rows)} of {planned} rows are measured so far; the script goes on with the others. {text}"
    for share in sorted({row["share"] for row in rows if row["share"]}, reverse=True):
        best = max((row for row in rows if row["share"] == share), key=lambda row: row["after"]["cosine"])
        reached = "above" if best["after"]["cosine"] > 0.9 else "not above"
        label = MINILM.get(best["way"], name(best["way"]))
        text += f"\n- At {100 * share:.0f} % the best row ({label}) ends at a cosine of {best['after']['cosine']:.3f}, {reached} 0.9."
    return text


def minilm_adapted() -> str:
    """Test accuracy of the adapters, mean and standard deviation over the seeds, at the rate that validation chose."""
    chosen: dict[str, Records] = {}
    rows = minilm("adapted")["rows"]
    for kind in dict.fromkeys(row["kind"] for row in rows):
        rate = max((r for r in rows if r["kind"] == kind and r["seed"] == 0), key=lambda r: r["val"])["rate"]
        chosen[kind] = [r for r in rows if r["kind"] == kind and r["rate"] == rate]
    lines = [
        [MINILM.get(kind, name(kind)), f"{of[0]['parameters']:,}", f"{of[0]['rate']:g}", str(len(of)), over_seeds(of),
         percent(r["val"] for r in of), ", ".join(percent([r["test"]]) for r in rows if r["kind"] == kind and r["seed"] == 0),
         f"{mean(r['seconds'] for r in of):.0f}"]
        for kind, of in chosen.items()
    ]  # fmt: skip
    heads = [
        "trained beside the head",
        "parameters",
        "rate",
        "seeds",
        "test accuracy, %",
        "validation, %",
        "first seed, at each rate",
        "seconds",
    ]
    size, planned = minilm("adapted")["size"], minilm("adapted")["planned"]
    text = (
        f"{size['sentences']['train']} sentences train in {size['epochs']} epochs, {size['sentences']['test']} others are the test. "
        f"The rate is the better of {' and '.join(f'{rate:g}' for rate in size['rates'])} on the validation part, with the first seed."
    )
    if planned > len(rows):
        text += f" {len(rows)} of {planned} trainings are done so far; the script goes on with the others."
    return f"{text}\n\n{table(heads, lines)}"


def over_seeds(rows: Records) -> str:
    """Mean test accuracy and its standard deviation, per cent; of one seed the accuracy alone."""
    values = [row["test"] for row in rows]
    return percent(values) + (f" ± {100 * stdev(values):.1f}" if len(values) > 1 else "")


# -- adapters ----------------------------------------------------------------------------------------------------------
def adapters() -> str:
    """Test accuracy of every way to adapt a model: mean and standard deviation over the seeds, and beside LoRA seed by seed."""
    ways: dict[str, Records] = {}
    for row in json.loads((ROOT / "examples" / "results" / "adapters.json").read_text())["records"]:
        ways.setdefault(row["way"], []).append(row)
    lines = []
    for way, rows in ways.items():
        beside = [r["test"] - other["test"] for r, other in zip(rows, ways["low_rank"], strict=True)]
        rates = sorted({r["rate"] for r in rows})
        lines.append(
            [ADAPTED.get(way, name(way)), f"{rows[0]['parameters']:,}", spread(r["test"] for r in rows), percent(r["val"] for r in rows),
             "" if way == "low_rank" else spread(beside), "" if way == "nothing" else ", ".join(f"{rate:g}" for rate in rates)]
        )  # fmt: skip
    heads = [
        "trained beside the head",
        "parameters",
        "test accuracy, %",
        "validation, %",
        "minus low rank, points",
        "rates chosen",
    ]
    return table(heads, lines)


ADAPTED = {
    "nothing": "nothing, nor the head",
    "head alone": "nothing",
    "all weights": "all weights",
    "low_rank": "low rank (LoRA)",
}


def adapters_said() -> str:
    """How the adapters are beside low rank, seed by seed, by a paired t test."""
    rows = json.loads((ROOT / "examples" / "results" / "adapters.json").read_text())["records"]
    reached = {way: [r["test"] for r in rows if r["way"] == way] for way in dict.fromkeys(r["way"] for r in rows)}
    others = [way for way in reached if way not in ("low_rank", "nothing", "head alone", "all weights")]
    tests = {way: ttest_rel(reached[way], reached["low_rank"]).pvalue for way in others}
    least = min(tests, key=lambda way: tests[way])
    told = tests[least] * len(others) < 0.05
    verdict = (
        f"{name(least)} differs significantly from low rank" if told else "no difference from low rank is significant"
    )
    return (
        f"Over {len(reached['low_rank'])} seeds {verdict}: the smallest p is {tests[least]:.3f} ({name(least)}), before a correction for "
        f"{len(others)} comparisons."
    )


def spread(values: Iterable[float]) -> str:
    """Mean and standard deviation, per cent."""
    found = [100 * v for v in values]
    return f"{mean(found):.1f} ± {stdev(found):.1f}"


# -- approximation ----------------------------------------------------------------------------------------------------
def approximation_methods() -> str:
    """Errors of the ways to approximate one weight."""
    found = results("approximation")["methods"]
    ways = list(found[0]["errors"])
    lines = [
        [name(row["family"]), str(row["budget"]), *("" if e is None else f"{e:.3f}" for e in row["errors"].values())]
        for row in found
    ]
    return table(["family", "budget", *ways], lines)


def approximation_demo() -> str:
    """The demo's rows before there was one approximation, and now."""
    before, now = (tables.grouped(results("approximation")[when]) for when in ("before", "now"))
    heads = ["family", "budget", "parameters", "error, before", "now", "found by"]
    for reading in ("after it", "frozen", "trained"):
        heads += [f"{reading}, before", "now"]
    lines = []
    for budget in (100, 300, 1000):
        for label in before:
            old, new = ([r for r in rows[label] if r["budget"] == budget] for rows in (before, now))
            if not old or not new[0]["approximation"]:
                continue
            ways = Counter(way for r in new for way in r["approximation"].values())
            line = [name(label), str(budget), f"{new[0]['num_params']:,}"]
            line += [f"{mean(r['error'] for r in rows):.3f}" for rows in (old, new)]
            line += ["; ".join(f"{way} ({n})" if len(ways) > 1 else way for way, n in ways.items())]
            for key in ("test_fit", "test_frozen", "test_trained"):
                line += [percent(r[key] for r in rows) for rows in (old, new)]
            lines.append(line)
    return table(heads, lines)


#: Block -> what fills it.
BLOCKS: dict[str, Callable[[], str]] = {
    "finding": finding,
    "fc1": lambda: grid("lenet5-fc1", FC1, [(150, "frozen"), (400, "frozen"), (400, "trained")]),
    "fc1-best": lambda: "\n".join(
        f"- {best('lenet5-fc1', budget, reading)}" for budget in (150, 400) for reading in READINGS
    ),
    "fc1-larger": lambda: grid(
        "lenet5-fc1-large", ["circuit depth 3", "adtn sin depth 3", "mpo", "ring", "cp", "hashed", "subspace"],
        [(1000, "frozen"), (3000, "frozen"), (10000, "frozen")],
    ),
    "fc1-long": lambda: against("lenet5-fc1-confirm", 400, list(groups("lenet5-fc1-confirm", 400))[:12]),
    "fc1-long-best": lambda: f"{best('lenet5-fc1-confirm', 400)} {rivals('lenet5-fc1-confirm', 400)}",
    "fc1-small": lambda: against(
        "lenet5-fc1-smallest-confirm", 166, list(groups("lenet5-fc1-smallest-confirm", 166))[:8]
    ),
    "fc1-small-best": lambda: f"{best('lenet5-fc1-smallest-confirm', 166)} {rivals('lenet5-fc1-smallest-confirm', 166)}",
    "fc2": lambda: "\n".join(
        f"- {best(study, budget)}" for study, budget in (("fc2-fc1-fresh", 400), ("fc2-fc1-large", 10000))
    ),
    "lenet5-all": lambda: grid("lenet5-all", WHOLE, [(400, "frozen"), (1000, "frozen"), (10000, "frozen")]),
    "fc2-all": lambda: grid("fc2-all", WHOLE, [(400, "frozen"), (1000, "frozen"), (10000, "frozen")]),
    "vgg-linear": layers_of_vgg,
    "vgg-convolutions": convolutions_of_vgg,
    "all-images": on_all_images,
    "approximation-methods": approximation_methods,
    "approximation-demo": approximation_demo,
    "own-frozen": lambda: own("frozen"),
    "own-trained": lambda: own("trained"),
    "own-said": own_said,
    "minilm-distilled": minilm_distilled,
    "minilm-said": minilm_said,
    "minilm-adapted": minilm_adapted,
    "adapters": adapters,
    "adapters-said": adapters_said,
    "tools": tools_table.rendered,
    "gallery-overview": gallery_page.overview,
    "gallery": gallery_page.sections,
    "gallery-families": gallery_page.families,
    "physics-evolution": physics_figures.evolution,
    "physics-ground-state": physics_figures.ground_state,
    "physics-ising": physics_figures.ising,
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
    for path, drawn in gallery_page.pictures().items():
        path.write_text(drawn)
    explorer_page.write()
    for path in pages():
        text = path.read_text()
        if (filled := rendered(text)) != text:
            path.write_text(filled)
            print(f"wrote {path.relative_to(ROOT)}")
