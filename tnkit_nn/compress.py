"""Compressing a trained model: stage 1 and stage 2 in schedule, resumable, with a report.

The schedule is a list of steps, each of one layer or (``together``) of all: the weights become networks (stage 1), then these are
trained on the task (stage 2).  Everything drawn follows from the recipe's seed, and everything found is written before the next
thing begins, so that a compression killed at any moment goes on where it was and ends with the same numbers.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from fnmatch import fnmatchcase
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from torch import Tensor, nn

import tnkit as tk
from tnkit_nn.baselines import families, keeps
from tnkit_nn.compressed import Compressed, LayerReport, packed, save_compressed
from tnkit_nn.data import Split
from tnkit_nn.evaluate import accuracy, answers, worse
from tnkit_nn.files import alone, read_json, replacing, write_json, write_tensors
from tnkit_nn.fit import FitResult
from tnkit_nn.recipe import ORDERS, Compression, Layers
from tnkit_nn.stage1 import approximate
from tnkit_nn.train import Epoch, Group, train
from tnkit_nn.weight import parametrize_

__all__ = ["compress_", "groups", "substitutes"]

#: Factor of the rates below which a fine-tuning that only does harm is given up.
_LEAST_RATE = 1 / 8


def compress_(
    model: nn.Module,
    recipe: Compression | str | os.PathLike[str],
    data: Split,
    *,
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
    **changes: Any,
) -> Compressed:
    """Compress a trained model in place.

    Parameters
    ----------
    model
        A trained model of linear and convolutional layers, whose weights are replaced (``parametrize_``).
    recipe
        A :class:`~tnkit_nn.recipe.Compression`, or a TOML file of one.
    data
        Trained on its training part; accuracies are of its test part.
    out
        A folder for checkpoints, logs (a line a step of either stage), the report and the compressed model.  Called again with
        the same model and recipe, the compression goes on where it was, and ends with the same numbers.
    progress
        Show bars.
    changes
        Fields of the recipe to be other: ``select`` (of its one entry of layers), ``order``, ``stage1``, ``stage2``, ``rest``, ...

    Returns
    -------
    Compressed
        :func:`dense` of its model is a model of the original class again.

    Raises
    ------
    ValueError
        A layer that is not there, a network larger than its weight, fewer epochs than steps, a folder of another model, recipe or
        data, or one that another process is at work in.
    FloatingPointError
        Stage 2 found no finite numbers at any rate tried; what was done before is kept.
    """
    recipe = _changed(recipe if isinstance(recipe, Compression) else Compression.load(recipe), changes)
    chosen = substitutes(model, recipe)
    schedule = _schedule(list(chosen), recipe)
    begin = time.perf_counter()
    if out is not None:
        Path(out).mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() if out is None else nullcontext(out) as folder, alone(Path(folder), "this compression"):
        files = _Folder(Path(folder), model, recipe, data, begin)
        before = files.once("before", lambda: _before(model, data, files.path))
        reports: list[LayerReport] = []
        steps, epochs = [], _epochs(recipe, len(schedule))
        untuned = copy.deepcopy(model)  # every weight as stage 1 made it
        for k, layers in enumerate(schedule):
            for layer in layers:
                reports.append(_stage1(model, untuned, layer, chosen[layer], recipe, files, progress))
            fitted = files.once(f"step-{k}-fitted", lambda: {"accuracy": accuracy(model, data.test)})
            done = [r.layer for r in reports]
            history, factor = _stage2(model, done, recipe, epochs[k], k, data, files, progress)
            tuned = files.once(f"step-{k}-tuned", lambda: {"accuracy": accuracy(model, data.test)})
            steps.append({
                "layers": list(layers), "epochs": epochs[k], "accuracy_stage1": fitted["accuracy"],
                "accuracy_stage2": tuned["accuracy"], "rate_factor": factor, "seconds": sum(e.seconds for e in history),
                "history": [asdict(e) for e in history],
            })  # fmt: skip
        if before["classes"] > 1 and int(answers(model, data.val).count_nonzero()) == 1:
            warnings.warn(
                "the compressed model gives every input one class: a network in it may be dead; another seed, stage1 'skip' (a "
                "random start) or more numbers may help",
                stacklevel=2,
            )
        stage1 = files.once("stage1", lambda: {"accuracy": accuracy(untuned, data.test)})
        save_compressed(model, files.path / "model.safetensors")
        result = Compressed(
            model, tuple(reports), before["accuracy"], stage1["accuracy"], steps[-1]["accuracy_stage2"], tuple(steps),
            before["params"], sum(p.numel() for p in model.parameters()), before["bytes"],
            (files.path / "model.safetensors").stat().st_size, files.spent(),
        )  # fmt: skip
        files.write("report", result.report())
    return result


def substitutes(model: nn.Module, recipe: Compression) -> dict[str, tuple[str, tk.Network]]:
    """Layer -> (family, network) for every layer that a recipe selects, in the model's order.

    Warns where the smallest network of a family is past the budget.

    Raises
    ------
    ValueError
        A name that selects nothing, or nothing with a weight (what there is, is named); a network of more numbers than the weight.
    """
    known = {
        n: m
        for n, m in model.named_modules()
        if isinstance(getattr(m, "weight", None), nn.Parameter) and m.weight.dim() > 1
    }
    for entry in recipe.layers:
        for pattern in entry.select:
            if not any(fnmatchcase(n, pattern) for n in known):
                raise ValueError(f"no layer {pattern!r} with a weight to compress; there are {', '.join(known)}")
    found = {}
    for name, module in known.items():
        first = next((e for e in recipe.layers if any(fnmatchcase(name, p) for p in e.select)), None)
        if first is not None:
            found[name] = _network(first, name, tuple(module.weight.shape))
    return found


def _network(entry: Layers, layer: str, shape: Sequence[int]) -> tuple[str, tk.Network]:
    (family,) = families([entry.family], [entry.depth], entry.activation)
    net = family.build(shape, entry.budget)
    if net.num_params > prod(shape):
        raise ValueError(
            f"layer {layer!r}: {family.label} for a budget of {entry.budget} has {net.num_params:,} numbers, its weight of shape "
            f"{tuple(shape)} only {prod(shape):,}"
        )
    if not keeps(net.num_params, entry.budget):
        warnings.warn(
            f"layer {layer!r}: the smallest {family.label} has {net.num_params:,} numbers, past its budget of {entry.budget:,}",
            stacklevel=4,
        )
    return family.label, net


def groups(model: nn.Module, layers: Sequence[str], rest: str, rest_lr: float) -> list[Group]:
    """What stage 2 trains: the networks of these layers, and the rest as the recipe says, as groups for :func:`train`.

    Parameters
    ----------
    model
        A model whose ``layers`` have networks as weights.
    layers
        Names of layers.
    rest
        ``frozen``, ``heads`` or ``all``.
    rest_lr
        Learning rate of the rest.
    """
    named = dict(model.named_parameters())
    own = {n: p for n, p in named.items() if any(n.startswith(f"{la}.parametrizations.weight.") for la in layers)}
    if rest == "frozen":
        return [Group(own)]
    names = list(named)
    first = min(k for k, n in enumerate(names) if n in own or any(n == f"{la}.bias" for la in layers))
    others = {n: p for k, (n, p) in enumerate(named.items()) if n not in own and (rest == "all" or k >= first)}
    return [Group(own), *([Group(others, lr=rest_lr)] if others else [])]


# -- the schedule ---------------------------------------------------------------------------------------------------
def _changed(recipe: Compression, changes: dict[str, Any]) -> Compression:
    if "select" in changes:
        if len(recipe.layers) != 1:
            raise ValueError(f"select stands for the layers of one entry; the recipe has {len(recipe.layers)}")
        changes = {**changes, "layers": (replace(recipe.layers[0], select=changes["select"]),)}
        del changes["select"]
    try:
        return replace(recipe, **changes)
    except TypeError:
        unknown = next(k for k in changes if k not in Compression.__dataclass_fields__)
        raise ValueError(f"a recipe has no {unknown!r}; it has {', '.join(Compression.__dataclass_fields__)}") from None


def _schedule(layers: list[str], recipe: Compression) -> list[tuple[str, ...]]:
    if recipe.order == "together":
        return [tuple(layers)]
    if recipe.order == "backward":
        return [(n,) for n in reversed(layers)]
    if recipe.order == "forward":
        return [(n,) for n in layers]
    if sorted(recipe.order) != sorted(layers):
        raise ValueError(
            f"order is {', '.join(ORDERS)}, or the layers selected, {', '.join(layers)}, in any order; not {', '.join(recipe.order)}"
        )
    return [(n,) for n in recipe.order]


def _epochs(recipe: Compression, steps: int) -> list[int]:
    """The epochs in all, shared out evenly; the last steps get what is over."""
    if recipe.stage2 is None:
        return [0] * steps
    if recipe.stage2.epochs < steps:
        raise ValueError(f"{recipe.stage2.epochs} epochs in all are too few for {steps} layers one after another")
    each, over = divmod(recipe.stage2.epochs, steps)
    return [each + (k >= steps - over) for k in range(steps)]


def _stage1(
    model: nn.Module,
    untuned: nn.Module,
    layer: str,
    chosen: tuple[str, tk.Network],
    recipe: Compression,
    files: _Folder,
    progress: bool,
) -> LayerReport:
    family, net = chosen
    weight = cast(Tensor, model.get_submodule(layer).weight).detach()
    options = {**asdict(recipe.stage1), "seed": recipe.seed, "progress": progress}
    found, seconds = files.arrays(layer, net, lambda: approximate(net, weight.cpu(), **options))
    for owner in (model, untuned):
        parametrize_(owner.get_submodule(layer), "weight", net, found.arrays)
    size = weight.element_size()
    return LayerReport(
        layer, tuple(weight.shape), family, weight.numel(), net.num_params, found.error, found.chance, float(weight.detach().norm()),
        seconds, size * weight.numel(), size * net.num_params + len(packed({layer: net})),
    )  # fmt: skip


def _stage2(
    model: nn.Module,
    layers: Sequence[str],
    recipe: Compression,
    epochs: int,
    k: int,
    data: Split,
    files: _Folder,
    progress: bool,
) -> tuple[tuple[Epoch, ...], float]:
    """The epochs of a step's fine-tuning, and the factor of the rates it took.

    A network that is trained too fast dies: its loss goes to that of guessing, finite all the time.  So a fine-tuning after which
    the model classifies worse than before (by more than three standard errors) is undone, and done again at half the rates.
    """
    if recipe.stage2 is None:
        return (), 1.0
    count = len(data.val[1])
    begin = files.once(f"step-{k}-val", lambda: {"accuracy": accuracy(model, data.val)})["accuracy"]
    before = {n: v.clone() for n, v in model.state_dict().items()}
    factor = 1.0
    while True:
        stage2 = replace(recipe.stage2, epochs=epochs, lr=factor * recipe.stage2.lr)
        name = f"step-{k}" if factor == 1 else f"step-{k}-rate-{factor}"
        history = train(
            model, data, stage2, seed=1000 * recipe.seed + k, groups=groups(model, layers, recipe.rest, factor * recipe.rest_lr),
            checkpoint=files.path / f"{name}.safetensors", log=files.path / f"{name}.jsonl", progress=progress,
        )  # fmt: skip
        # where train has put the model back to a better epoch, still a training gone wrong
        end = history[-1].val_accuracy
        if not worse(end, begin, count):
            return history, factor
        model.load_state_dict(before)
        told = f"step {k} ({', '.join(layers)}): {begin:.3f} of the validation part right before stage 2, {end:.3f} after it"
        if factor <= _LEAST_RATE:
            warnings.warn(f"{told}; left as stage 1 made it", stacklevel=3)
            return history, 0.0
        factor /= 2
        warnings.warn(f"{told}; undone, and again at {factor} of the rates", stacklevel=3)


def _before(model: nn.Module, data: Split, folder: Path) -> dict[str, Any]:
    """What a report needs of the dense model, and how many classes it gives."""
    given = int(answers(model, data.val).count_nonzero())
    return {"accuracy": accuracy(model, data.test), "classes": given, **_size(model, folder)}


def _size(model: nn.Module, folder: Path) -> dict[str, int]:
    """Numbers in a model, and bytes of its file."""
    path = folder / "dense.safetensors"
    write_tensors(path, model.state_dict())
    size = path.stat().st_size
    path.unlink()
    return {"params": sum(p.numel() for p in model.parameters()), "bytes": size}


def _digest(tensors: Mapping[str, Tensor]) -> str:
    made = hashlib.sha256()
    for name, t in tensors.items():
        made.update(name.encode())
        made.update(
            t.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes() if t.dim() else repr(t.item()).encode()
        )
    return made.hexdigest()


class _Folder:
    """What a compression has written, so that nothing is done twice."""

    def __init__(self, path: Path, model: nn.Module, recipe: Compression, data: Split, begin: float) -> None:
        self.path, self.begin = path, begin
        mine = {
            "recipe": json.loads(json.dumps(asdict(recipe))), "model": _digest(model.state_dict()),
            "data": [data.name, data.digest()],
        }  # fmt: skip
        self.before = self._read("spent").get("seconds", 0.0)
        run = self.once("run", lambda: mine)
        for key, value in mine.items():
            if run.get(key) != value:
                raise ValueError(f"{path} holds the compression of another {key}; give an empty folder")
        recipe.save(path / "recipe.toml")

    def _read(self, name: str) -> dict[str, Any]:
        file = self.path / f"{name}.json"
        found: dict[str, Any] = read_json(file) if file.exists() else {}
        return found

    def write(self, name: str, value: Mapping[str, Any]) -> None:
        """Write one result."""
        write_json(self.path / f"{name}.json", value)

    def once(self, name: str, make: Any) -> dict[str, Any]:
        """What was found before, or is found now and written."""
        found = self._read(name)
        if not found:
            found = make()
            self.write(name, found)
            self.spent()
        return found

    def spent(self) -> float:
        """Seconds so far, those before a restart included."""
        seconds = self.before + time.perf_counter() - self.begin
        self.write("spent", {"seconds": seconds})
        return seconds

    def arrays(self, layer: str, net: tk.Network, make: Any) -> tuple[FitResult, float]:
        """The arrays of stage 1, found before or now, and the seconds that it took."""
        name = f"stage1-{layer}"
        figures = self._read(name)  # written last: where they are, the arrays are
        if figures:
            found = FitResult(tk.load(self.path / f"{name}.tn")[1], (), figures["error"], figures["chance"])
            return found, figures["seconds"]
        begin = time.perf_counter()
        found = make()
        seconds = time.perf_counter() - begin
        lines = (json.dumps({"step": k, "error": error}) + "\n" for k, error in enumerate(found.history, 1))
        with replacing(self.path / f"{name}.jsonl") as temporary:
            temporary.write_text("".join(lines))
        tk.save(self.path / f"{name}.tn", net, found.arrays)
        self.write(name, {"error": found.error, "chance": found.chance, "seconds": seconds})
        return found, seconds
