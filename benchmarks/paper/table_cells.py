"""The tables of studies that are made of cells (``studies.py``): orders, figures, heads and convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from typing import Any, NamedTuple

from grown import RATES
from table_parts import Gap, Seeds, gaps, noted, row
from tabulate import tabulate


def orders(found: dict[str, Any]) -> str:
    """Orders at equal training."""
    kinds: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for cell in found["cells"]:
        kinds.setdefault((cell["family"], cell["order"], cell["stage1"], cell["rest"]), []).append(cell)
    after = {kind: {cell["seed"]: cell["result"]["accuracy_after"] for cell in cells} for kind, cells in kinds.items()}
    base = {kind: (kind[0], "together", "auto", "all") for kind in kinds}
    against = gaps({kind: (after[kind], after[base[kind]]) for kind in kinds if kind != base[kind]})
    lines = []
    for kind, cells in kinds.items():
        (family, order, stage1, rest), results = kind, [cell["result"] for cell in cells]
        numbers = sum(layer["num_params"] for layer in results[0]["layers"])
        lines.append([
            family, order, "yes" if stage1 == "auto" else "no", rest, numbers, f"{results[0]['params_after']:,}", row([r["accuracy_stage1"] for r in results]),
            row(list(after[kind].values())), str(against.get(kind, "")),
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


def heads(found: dict[str, Any], model: str | None = None) -> dict[str, Seeds]:
    """Two linear layers replaced, of one model where there are several: head -> accuracies."""
    out: dict[str, dict[int, float]] = {}
    for cell in _of_model(found, model):
        out.setdefault(cell["head"], {})[cell["seed"]] = cell["result"]["accuracy"]
    return out


def _of_model(found: dict[str, Any], model: str | None) -> list[dict[str, Any]]:
    return [cell for cell in found["cells"] if model in (None, cell.get("model"))]


def against_left_out(found: dict[str, Seeds]) -> dict[str, Gap]:
    """Head -> its difference to the layers left out, of the heads that have as many seeds."""
    out = found["left out"]
    return gaps({head: (of, out) for head, of in found.items() if head != "left out" and len(of) == len(out)})


def _heads(found: dict[str, Any], model: str | None = None, weights: str = "18.9 million") -> str:
    """A row a head, beside the two layers left out."""
    rows, lines = heads(found, model), []
    against = against_left_out(rows)
    counts = {cell["head"]: cell["result"]["numbers"] for cell in _of_model(found, model)}
    for head, of in rows.items():
        numbers = {"dense": weights, "dense trained on": weights}.get(head, counts[head])
        lines.append([head, numbers, row(list(of.values())), str(against.get(head, ""))])
    return tabulate(
        lines,
        ["the two layers", "parameters in them", "test accuracy", "difference to *left out*"],
        tablefmt="pipe",
        disable_numparse=True,
    )


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


def cifar100_head(found: dict[str, Any]) -> str:
    """The same heads on a set on which a head could count."""
    options = found["options"]
    train = "all training images" if options["limit"] is None else f"{options['limit']:,} training images"
    return f"""## The same heads on CIFAR-100

A VGG-16 from scratch takes 36 minutes an epoch on two cores, so it was not trained: the convolutions up to the fourth pool stay as CIFAR-10 left
them (what they make of the images is computed once). The last three convolutions and the three linear layers are trained on CIFAR-100 from
there, {options["dense_epochs"]} epochs without augmentation. Then the two large linear layers are replaced as above, and they, the biases and the
last layer (409,700 parameters; 51,300 where the two are left out) are trained for {options["epochs"]} epochs on {train}. One dense model; the seeds are of
the heads. *Dense* is the model as it was trained, on all images: the other rows are to be compared with each other. *Small dense*:
Linear(512, 1), ReLU, Linear(1, 100), whose one ReLU gives the same for all images where the accuracy is 1 %.{noted(found)}

{_heads(found)}"""


def cifar100_scratch(found: dict[str, Any]) -> str:
    """The same heads on a model that was trained on CIFAR-100 alone."""
    options, name = found["options"], {"alexnet": "AlexNet", "zfnet": "ZFNet"}[found["cells"][0]["model"]]
    train = "all training images" if options["limit"] is None else f"{options['limit']:,} training images"
    return f"""## CIFAR-100 from scratch: {name}

{name} is trained on CIFAR-100 for {options["dense_epochs"]} epochs (batches of 256, crops and flips). What its convolutions make of the images is
computed once. Then its two large linear layers (2^22 + 2^24 weights) are replaced as above, and they, the biases and the last layer
(409,700 parameters; 102,500 where the two are left out) are trained for {options["epochs"]} epochs on {train}. One dense model; the seeds are of
the heads. *Dense* is the model as it was trained, on all images: the other rows are to be compared with each other. *Small dense*:
Linear(1024, 1), ReLU, Linear(1, 100), whose one ReLU gives the same for all images where the accuracy is 1 %.{noted(found)}

{_heads(found, weights="21.0 million")}"""


def grown(found: dict[str, Any]) -> str:
    """A network that becomes deep between two trainings, beside deep ones from the start and shallow ones."""
    rows: dict[str, dict[int, dict[str, Any]]] = {}
    for cell in found["cells"]:
        rows.setdefault(cell["row"], {})[cell["seed"]] = cell["result"]
    options, mine, lines = found["options"], ("circuit, grown between", "circuit, lifted before"), []
    last = {label: {s: r["after"]["test"] for s, r in results.items()} for label, results in rows.items()}
    numbers = {label: next(iter(results.values()))["numbers"] for label, results in rows.items()}
    columns = [
        gaps(
            {label: (last[one], last[label]) for label in rows if label != one},
            {label: (numbers[one], numbers[label]) for label in rows},
        )
        for one in mine
    ]
    for label, results in rows.items():
        reached = [row([r[when]["test"] for r in results.values()]) for when in ("before", "middle", "after")]
        lines.append([label, numbers[label], *reached, *(str(column.get(label, "")) for column in columns)])
    heads = [
        "network",
        "parameters",
        "as it begins",
        "after the first training",
        "after the second",
        *(f"*{one}* less this one" for one in mine),
    ]
    rates = [r[when]["rate"] for results in rows.values() for r in results.values() for when in ("middle", "after")]
    low, high = (sum(rate == edge for rate in rates) for edge in (min(RATES), max(RATES)))
    return f"""## Deep from the start, or grown in the middle? LeNet-5's fc1 on MNIST

Every row is trained twice with all other layers frozen, {options["epochs"]} epochs in all of at most {options["limit"] or 60000:,} images (batches of 64), each
time in one cycle of the rate that validation images prefer. The circuit has a sine and gates around a TT-matrix. *Grown between*: this TT-matrix is
trained first, then the circuit goes on from it (`tk.init.lifted`). *Lifted before*: the circuit begins at the approximated TT-matrix. All but the
random start begin at the approximated dense weight. Of three shallow families the smallest network
with no fewer parameters than the circuit, and two more on its own digits.
{len(rows[mine[0]])} seeds, each with a dense model of its own; differences are paired, with their 95 % interval. Rates
are tried one further each time the best is at the edge, from {min(RATES):g} to {max(RATES):g}; of {len(rates)} trainings {low} took the lowest of these, {high} the highest.{noted(found)}

{tabulate(lines, heads, tablefmt="pipe", disable_numparse=True)}"""


def cifar_whole(found: dict[str, Any]) -> str:
    """The same with everything trained on, and on two more models."""
    options, parts = found["options"], []
    data = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}[options.get("data", "cifar10")]
    for model, weights in (("vgg16", "18.9 million"), ("alexnet", "21.0 million"), ("zfnet", "21.0 million")):
        if _of_model(found, model):
            parts.append(f"### {model}\n\n{_heads(found, model, weights)}")
    title = f"""## The headline with the whole model trained on: VGG-16, AlexNet and ZFNet on {data}

Each trained for {options["dense_epochs"]} epochs (batches of 256), its two large linear layers (2^21 + 2^24 weights, of AlexNet and ZFNet 2^22 + 2^24) replaced
by networks of 424 parameters in all, from a random start, or by a control; then *everything* trained on for {options["epochs"]} epochs with crops and
flips, at one rate for all that is no network's parameter. One dense model each; the seeds are of the fine-tuning.{noted(found)}"""
    return "\n\n".join([title, *parts])


Results = dict[float, list[dict[str, Any]]]

#: Convolutions without parameters of their own.
FREE = ("frozen random",)


def _by_rate(found: dict[str, Any]) -> dict[str, Results]:
    """Kind of convolution -> rate -> results, each with its seed."""
    kinds: dict[str, Results] = {}
    for cell in found["cells"]:
        result = {**cell["result"], "seed": cell["seed"]}
        kinds.setdefault(cell["convs"], {}).setdefault(cell["rate"], []).append(result)
    return kinds


class Kind(NamedTuple):
    """A kind of convolution at its rate: seed -> accuracy, and the parameters of the whole model."""

    accuracies: Seeds
    validation: float
    numbers: int


def _kinds(kinds: dict[str, Results], chosen: dict[str, float]) -> dict[str, Kind]:
    out = {}
    for what, rate in chosen.items():
        at = kinds[what][rate]
        accuracies = {result["seed"]: result["accuracy"] for result in at}
        out[what] = Kind(accuracies, mean(r["val"] for r in at), at[0]["numbers"])
    return out


def against_preferred(rows: dict[str, Kind]) -> tuple[str, dict[str, Gap]]:
    """The kind that validation images prefer, and how all others differ from it."""
    best = max(rows, key=lambda what: rows[what].validation)
    others = [what for what in rows if what != best]
    counts = {what: (rows[what].numbers, rows[best].numbers) for what in others if what not in FREE}
    return best, gaps({what: (rows[what].accuracies, rows[best].accuracies) for what in others}, counts)


def _convs(kinds: dict[str, Results], chosen: dict[str, float], titles: Sequence[str]) -> str:
    """A row a kind at its rate, held against the one that validation images prefer, and what it reaches at others."""
    rows, lines = _kinds(kinds, chosen), []
    best, against = against_preferred(rows)
    for what, kind in rows.items():
        other = [
            f"{r:g}: {row([x['accuracy'] for x in results])}"
            for r, results in sorted(kinds[what].items())
            if r != chosen[what]
        ]
        lines.append([
            what, f"{kind.numbers:,}", f"{chosen[what]:g}", len(kind.accuracies), row(list(kind.accuracies.values())),
            str(against.get(what, "")), "; ".join(other),
        ])  # fmt: skip
    headers = ["convolutions", "whole model", "rate", "seeds", "test accuracy", f"difference to *{best}*", *titles]
    return tabulate(lines, headers, tablefmt="pipe", disable_numparse=True)


def at_best_rates(found: dict[str, Any]) -> dict[str, Kind]:
    """Kinds of VGG-16's convolutions, each at the rate that validation images prefer."""
    kinds = _by_rate(found)
    return _kinds(kinds, _best_rates(kinds))


def _best_rates(kinds: dict[str, Results]) -> dict[str, float]:
    return {what: max(rates, key=lambda r: mean(x["val"] for x in rates[r])) for what, rates in kinds.items()}


def vgg16_convs(found: dict[str, Any]) -> str:
    """VGG-16's convolutions in few numbers, each kind at the rate that validation prefers."""
    kinds, options = _by_rate(found), found["options"]
    return f"""## Layers that a model cannot go without: VGG-16's convolutions

Twelve of its thirteen convolutions, 14.7 million weights, in about 1,000 parameters each (12,000 in all), from a random start; the first one, all
normalisations and a last linear layer of 512 features are trained with them for {options["epochs"]} epochs with crops and flips; the two large linear
layers are left out. Their parameters have one of two rates, all else at a fifth of it; validation images choose the rate, over all seeds.
*Small dense*: a VGG-16 so narrow that it has as many parameters as the others in all. *Whole model*: trained parameters.{noted(found)}

{_convs(kinds, _best_rates(kinds), ["at the other rate"])}"""


def small_vgg_convs(found: dict[str, Any]) -> str:
    """A small VGG's convolutions, each kind at the rate that was best at seed 0, which no edge of the rates is."""
    kinds, options = _by_rate(found), found["options"]
    first = {
        what: {rate: r["val"] for rate, results in rates.items() for r in results if r["seed"] == 0}
        for what, rates in kinds.items()
    }
    chosen = {what: max(tried, key=lambda rate: tried[rate]) for what, tried in first.items()}
    epochs = [r["epochs"] for what, rate in chosen.items() for r in kinds[what][rate]]
    return f"""## A small VGG's convolutions, trained until validation gains no more

A VGG-16 of a quarter of the channels, without its two large linear layers, on CIFAR-10. Twelve of its thirteen convolutions become deep networks of
about 500 parameters each, or shallow ones and a hash of no fewer than the larger of these, from a random start; everything else is trained with
them, with crops and flips. A training ends when ten epochs bring nothing to validation, after {options["epochs"]} at most; the best epochs were {min(epochs)} to
{max(epochs)}. Rates are tried at seed 0, one further each time the best is at the edge; all seeds have the best one. All else has a fifth of it.
*Small dense*: a VGG-16 so narrow that it has as many parameters in all. *Whole model*: trained parameters.{noted(found)}

{_convs(kinds, chosen, ["at other rates, seed 0"])}"""
