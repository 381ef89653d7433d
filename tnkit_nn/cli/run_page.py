"""The pages of a compression and of a training: the answer first, then the curves, the tables, and what was set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tnkit as tk
from tnkit.core.extras import MissingExtra, need
from tnkit.core.wording import plural
from tnkit_nn.cli.curves import NARROW, Curve, chart
from tnkit_nn.comparison.record import machine
from tnkit_nn.pages.render import as_data_uri, footer, render
from tnkit_nn.storage import replacing
from tnkit_nn.training.goal import value_with_unit
from tnkit_nn.versions import command

__all__ = ["compression_page", "training_page", "write_page"]

_HERE = "tnkit_nn.cli"
#: Networks of more leaves are told, not drawn: no line of such a picture can be followed.
_MOST = 60

#: Heads of the table of layers, and what they mean.
_WORDS = {
    "error": "relative error of the weight after the approximation: 0 is exact, 1 is as good as a weight of zeros",
    "baseline error": "what keeping n of N coordinates of a random orthogonal basis gives, for n parameters of N weights",
    "after the approximation": "every weight is a network, nothing has been trained since",
    "compression": "weights for each parameter that is kept",
}


def write_page(path: Path, page: str | None) -> list[str]:
    """Write a page whole or not at all; the names of the files, none where there is no page."""
    if page is None:
        return []
    with replacing(path) as part:
        part.write_text(page, encoding="utf-8")
    return [path.name]


def _possible() -> bool:
    """Whether what a page needs is there: a command that trains needs it for nothing else."""
    try:
        need("a page", "jinja2")
    except MissingExtra:
        return False
    return True


# -- compression ----------------------------------------------------------------------------------------------------------
def compression_page(results: Mapping[str, Any], nets: Mapping[str, tk.Network], recipe: str) -> str | None:
    """The page of a compression; None without jinja2, which the extra ``compare`` brings.

    Parameters
    ----------
    results
        As ``results.json`` of ``tnkit compress`` has them.
    nets
        Name of a layer or of its weight -> its network.
    recipe
        The text of the recipe.
    """
    if not _possible():
        return None
    headline, answer = _compressed(results)
    forms = [_fine_tuning(results, size) for size in (None, NARROW)]
    return render(
        "compress.html.j2", _HERE, title=f"Compression: {results['title']}", kicker=f"tnkit compress: {results['title']}", headline=_kept(headline),
        answer=_kept(answer), facts=_facts(results), forms=[form for form in forms if form], part=results["part"], examples=results["examples"],
        metric=(results["metric"] or {}).get("name", ""), rows=_layer_rows(results), steps=_step_rows(results), pictures=_pictures(nets), words=_WORDS,
        recipe=recipe.strip(), footer=footer(machine(), results["versions"], command()),
    )  # fmt: skip


def _compressed(results: Mapping[str, Any]) -> tuple[str, str]:
    """The title and the sentence: by rule, from the figures alone."""
    smaller = (
        f"{results['ratio']:.1f} times fewer parameters" if results["ratio"] >= 1 else "More parameters than before"
    )
    counts = f"The model has {results['params_after']:,} parameters instead of {results['params_before']:,}"
    before, after, fit = (results[f"metric_{when}"] for when in ("before", "after", "fit"))
    if results["metric"] is None or before is None or after is None:
        return (
            f"{smaller}, error {results['error']:.3f}",
            f"{counts}; the error of its weights is {results['error']:.3f}.",
        )
    name, unit = results["metric"]["name"], results["metric"]["unit"]
    was, now = value_with_unit(before, unit), value_with_unit(after, unit)
    turn = "equal" if was == now else "better" if (after > before) == results["metric"]["larger"] else "worse"
    difference = f"{100 * (after - before):+.2f} points" if unit == "%" else f"{after - before:+.4g}"
    said = f"{counts}. On the {results['part']} {results['examples']}, {name} goes from {was} to {now} ({difference})"
    middle = f"; without any fine-tuning it is {value_with_unit(fit, unit)}" if fit is not None else ""
    tail = "" if turn == "equal" else f", {name} is {turn}"
    return f"{smaller}{tail}: {was} → {now}", f"{said}{middle}."


def _facts(results: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    found = [
        ("parameters", f"{results['params_after']:,}", f"of {results['params_before']:,}"),
        ("bytes on disk", f"{results['bytes_after']:,}", f"of {results['bytes_before']:,}"),
        ("error of the weights", f"{results['error']:.3f}", f"baseline {results['chance']:.3f}"),
        ("time", _time(results["seconds"]), "interruptions left out"),
    ]
    if results["metric"] is not None and results["metric_after"] is not None:
        unit = results["metric"]["unit"]
        shown = (value_with_unit(results[f"metric_{when}"], unit) for when in ("after", "before"))
        found.insert(0, (f"{results['part']} {results['metric']['name']}", next(shown), f"of {next(shown)}"))
    return found


def _layer_rows(results: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {
            "layer": r["layer"], "shape": " × ".join(map(str, r["shape"])), "network": r["family"], "parameters": f"{r['num_params']:,} of {r['dense_params']:,}",
            "compression": f"{r['ratio']:,.1f}×", "error": f"{r['error']:.3f}", "baseline error": f"{r['chance']:.3f}",
            "bytes": f"{r['bytes_after']:,} of {r['bytes_before']:,}", "found by": r["method"], "time": _time(r["seconds"]),
        }
        for r in results["layers"]
    ]  # fmt: skip


def _step_rows(results: Mapping[str, Any]) -> list[dict[str, str]]:
    unit = (results["metric"] or {"unit": ""})["unit"]

    def shown(value: float | None) -> str:
        return "" if value is None else value_with_unit(value, unit)

    return [
        {
            "layers": ", ".join(s["layers"]), "after the approximation": shown(s["metric_fit"]), "epochs": str(s["epochs"]),
            "after the fine-tuning": shown(s["metric_after"]), "rates": f"× {s['rate_factor']:g}", "time": _time(s["seconds"]),
        }
        for s in results["steps"]
    ]  # fmt: skip


def _fine_tuning(results: Mapping[str, Any], size: tuple[int, int, int] | None) -> str:
    """The metric over all fine-tunings, one after another: validation as lines, the part that is judged as points."""
    if results["metric"] is None:
        return ""
    lines, judged, marks, begun = [], [(0.0, results["metric_before"])], [], 0
    for s in results["steps"]:
        marks.append((float(begun), ", ".join(s["layers"])))
        judged.append((float(begun), s["metric_fit"]))
        lines += [(float(begun + e["epoch"]), e["val_metric"]) for e in s.get("history") or ()]
        begun += s["epochs"]
        judged.append((float(begun), s["metric_after"]))
    curves = [
        Curve("validation", lines, "control"), Curve(results["part"], judged, "read", joined=False),
    ]  # fmt: skip
    percent = results["metric"]["unit"] == "%"
    options = {} if size is None else {"size": size}
    return chart(curves, results["metric"]["name"], "epochs of fine-tuning", percent=percent, marks=marks, **options)


def _pictures(nets: Mapping[str, tk.Network]) -> list[dict[str, str]]:
    """Each network once, however many layers have it; drawn where a drawing can be read."""
    layers: dict[tk.Network, list[str]] = {}
    for name, net in nets.items():
        layers.setdefault(net, []).append(name)
    found = []
    for net, names in layers.items():
        picture = as_data_uri(tk.to_svg(net).encode(), "image/svg+xml") if len(net.leaves) <= _MOST else ""
        said = f"{plural(len(net.leaves), 'tensor')}, {net.num_params:,} parameters"
        found.append({"layers": ", ".join(names), "said": said, "picture": picture})
    return found


# -- training -------------------------------------------------------------------------------------------------------------
def training_page(results: Mapping[str, Any], examples: str = "examples") -> str | None:
    """The page of a training; None without jinja2, which the extra ``compare`` brings.

    Parameters
    ----------
    results
        As ``results.json`` of ``tnkit train`` has them.
    examples
        What the examples of the data are called.
    """
    if not _possible():
        return None
    metric, history = results["metric"], results["history"]
    name, unit, part = metric["name"], metric["unit"], results["part"]
    value = value_with_unit(results["value"], unit)
    answer = f"After {plural(len(history), 'epoch')} the model of {results['parameters']:,} parameters has {name} {value} on the {part} {examples}"
    pictures = [_training_charts(history, metric, size) for size in (None, NARROW)]
    took = sum(e["seconds"] for e in history)
    facts = [
        (f"{part} {name}", value, f"seed {results['seed']}"), ("parameters", f"{results['parameters']:,}", str(results["model"])),
        ("epochs", f"{len(history)}", _time(took)),
    ]  # fmt: skip
    return render(
        "train.html.j2", _HERE, title=f"Training: {results['title']}", kicker=f"tnkit train: {results['title']}",
        headline=_kept(f"{part.capitalize()} {name} {value}"), answer=_kept(f"{answer}{_best(history, metric)}."), facts=facts, forms=pictures,
        settings={k: str(v) for k, v in results["recipe"].items()} | {"data": str(results["data"]), "seed": str(results["seed"])},
        epochs=_epoch_rows(history, unit), footer=footer(machine(), results["versions"], command()),
    )  # fmt: skip


def _best(history: Sequence[Mapping[str, Any]], metric: Mapping[str, Any]) -> str:
    """When validation was best: what says whether the end is the best."""
    read = [(e["val_metric"], e["epoch"]) for e in history if e["val_metric"] is not None]
    if not read:
        return "; there is no validation part"
    best, epoch = max(read, key=lambda r: (r[0] if metric["larger"] else -r[0], -r[1]))
    last = value_with_unit(read[-1][0], metric["unit"])
    said = value_with_unit(best, metric["unit"])
    if said == last:
        return f"; validation ends at its best, {said}"
    return f"; validation was best after epoch {epoch} ({said}) and ends at {last}"


def _training_charts(
    history: Sequence[Mapping[str, Any]], metric: Mapping[str, Any], size: tuple[int, int, int] | None
) -> list[str]:
    """The metric, and the losses."""
    options: dict[str, Any] = {} if size is None else {"size": size}

    def points(key: str) -> list[tuple[float, float | None]]:
        return [(e["epoch"], e[key]) for e in history]

    one = chart(
        [Curve("validation", points("val_metric"), "read")],
        metric["name"],
        "epoch",
        percent=metric["unit"] == "%",
        **options,
    )
    losses = [Curve("validation", points("val_loss"), "read"), Curve("training", points("loss"), "control")]
    return [picture for picture in (one, chart(losses, "loss", "epoch", **options)) if picture]


def _epoch_rows(history: Sequence[Mapping[str, Any]], unit: str) -> list[dict[str, str]]:
    def shown(value: float | None, unit: str = "") -> str:
        return "" if value is None else value_with_unit(value, unit)

    return [
        {
            "epoch": str(e["epoch"]), "training loss": shown(e["loss"]), "validation loss": shown(e["val_loss"]),
            "validation metric": shown(e["val_metric"], unit), "rates": f"× {e['rate_factor']:g}", "time": _time(e["seconds"]),
        }
        for e in history
    ]  # fmt: skip


def _kept(text: str) -> str:
    """Text in which a number and its % are never on two lines."""
    return text.replace(" %", "\u00a0%")


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
