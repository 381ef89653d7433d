"""Compressing a trained model: the approximation and the fine-tuning in schedule, resumable, with a report.

The schedule is a list of steps, each of one layer or (``together``) of all: the weights become networks (the approximation), then these are
trained on the task (the fine-tuning).  Everything drawn follows from the recipe's seed, and everything found is written before the next
thing begins, so that a compression killed at any moment goes on where it was and ends with the same numbers.
"""

from __future__ import annotations

import copy
import os
import time
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import safetensors.torch
from torch import Tensor, nn

import tnkit as tk
from tnkit.core.checks import flag
from tnkit_nn.adapter.atomic import all_or_nothing
from tnkit_nn.adapter.parametrize import parametrize_
from tnkit_nn.approximation import approximate
from tnkit_nn.checks import a_folder, a_kind, a_module, a_path
from tnkit_nn.compression.recipe import ORDERS, Compression
from tnkit_nn.compression.result import Compressed, LayerReport, packed, save_compressed
from tnkit_nn.compression.selection import substitutes, trained_groups
from tnkit_nn.compression.workdir import ACCURACY, BEFORE, Folder
from tnkit_nn.data.splits import Split
from tnkit_nn.storage import alone, own_tensors
from tnkit_nn.training.evaluation import accuracy, answers, trial, worse
from tnkit_nn.training.loop import Epoch, train

__all__ = ["compress_"]

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
    """Compress a trained model in place; where that fails or is interrupted, the model is put back to what it was.

    Parameters
    ----------
    model
        A trained model of linear and convolutional layers, whose weights are replaced (``parametrize_``).
    recipe
        A :class:`~tnkit_nn.compression.recipe.Compression`, or a TOML file of one.
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
        A layer that is not there, a network larger than its weight or that the approximation cannot fit, a weight that layers share, fewer
        epochs than steps, a folder of another model, recipe or data, or of something else, or one that another process is at work
        in, or a damaged file in it.
    FloatingPointError
        The fine-tuning found no finite numbers at any rate tried; what was done before is kept in ``out``.
    OSError
        ``out`` cannot be written to, the disk being full, say; the file is named.
    """
    a_module(model, "compress_: model")
    a_kind(data, Split, "compress_: data")
    progress, out = flag(progress, "compress_: progress"), None if out is None else a_folder(out, "compress_: out")
    if not isinstance(recipe, Compression):
        recipe = Compression.load(a_path(recipe, "compress_: recipe, unless it is a Compression,"))
    recipe = _changed(recipe, changes)
    chosen = substitutes(model, recipe)
    schedule = _schedule(list(chosen), recipe)
    epochs = _epochs(recipe, len(schedule))
    trial(model, data.val[0], "compress_: the model", repr(data.name), data.num_classes)
    begin = time.perf_counter()
    if out is not None:
        Path(out).mkdir(parents=True, exist_ok=True)
    with (
        TemporaryDirectory() if out is None else nullcontext(out) as folder,
        alone(Path(folder), "this compression"),
        all_or_nothing(model, values=True),
    ):
        files = Folder(Path(folder), model, recipe, data, begin)
        before = files.once("before", BEFORE, lambda: _before(model, data))
        reports: list[LayerReport] = []
        steps = []
        untuned = copy.deepcopy(model)  # every weight as the approximation made it
        for k, layers in enumerate(schedule):
            for layer in layers:
                reports.append(_approximation_step(model, untuned, layer, chosen[layer], recipe, files, progress))
            fitted = files.once(f"step-{k}-fitted", ACCURACY, lambda: {"accuracy": accuracy(model, data.test)})
            done = [r.layer for r in reports]
            history, factor, seconds = _fine_tuning_step(model, done, recipe, epochs[k], k, data, files, progress)
            tuned = files.once(f"step-{k}-tuned", ACCURACY, lambda: {"accuracy": accuracy(model, data.test)})
            steps.append({
                "layers": list(layers), "epochs": epochs[k], "accuracy_stage1": fitted["accuracy"],
                "accuracy_stage2": tuned["accuracy"], "rate_factor": factor, "seconds": seconds,
                "history": [asdict(e) for e in history],
            })  # fmt: skip
        if before["classes"] > 1 and int(answers(model, data.val).count_nonzero()) == 1:
            warnings.warn(
                "the compressed model gives every input one class: a network in it may be dead; another seed, stage1 'skip' (a "
                "random start) or more parameters may help",
                stacklevel=2,
            )
        stage1 = files.once("stage1", ACCURACY, lambda: {"accuracy": accuracy(untuned, data.test)})
        save_compressed(model, files.path / "model.safetensors")
        result = Compressed(
            model, tuple(reports), before["accuracy"], stage1["accuracy"], steps[-1]["accuracy_stage2"], tuple(steps),
            before["params"], sum(p.numel() for p in model.parameters()), before["bytes"],
            (files.path / "model.safetensors").stat().st_size, files.spent(),
        )  # fmt: skip
        files.report(result.report())
    return result


# -- the schedule ---------------------------------------------------------------------------------------------------
def _changed(recipe: Compression, changes: dict[str, Any]) -> Compression:
    if "select" in changes:
        if "layers" in changes:
            raise ValueError("select or layers is changed, not both")
        if len(recipe.layers) != 1:
            raise ValueError(f"select stands for the layers of one entry; the recipe has {len(recipe.layers)}")
        changes = {**changes, "layers": (replace(recipe.layers[0], select=changes["select"]),)}
        del changes["select"]
    for name in changes:
        if name not in Compression.__dataclass_fields__:
            raise ValueError(f"a recipe has no {name!r}; it has {', '.join(Compression.__dataclass_fields__)}")
    return replace(recipe, **changes)


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


def _approximation_step(
    model: nn.Module,
    untuned: nn.Module,
    layer: str,
    chosen: tuple[str, tk.Network],
    recipe: Compression,
    files: Folder,
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
        seconds, size * weight.numel(), size * net.num_params + len(packed({layer: net})), found.method,
    )  # fmt: skip


def _fine_tuning_step(
    model: nn.Module,
    layers: Sequence[str],
    recipe: Compression,
    epochs: int,
    k: int,
    data: Split,
    files: Folder,
    progress: bool,
) -> tuple[tuple[Epoch, ...], float, float]:
    """The epochs of a step's fine-tuning, the factor of the rates it took, and its seconds, those of what was undone too.

    A network that is trained too fast dies: its loss goes to that of guessing, finite all the time.  So a fine-tuning after which
    the model classifies worse than before (by more than three standard errors) is undone, and done again at half the rates.
    """
    if recipe.stage2 is None:
        return (), 1.0, 0.0
    count = len(data.val[1])
    begin = files.once(f"step-{k}-val", ACCURACY, lambda: {"accuracy": accuracy(model, data.val)})["accuracy"]
    before = {n: v.clone() for n, v in model.state_dict().items()}
    factor, seconds = 1.0, 0.0
    while True:
        stage2 = replace(recipe.stage2, epochs=epochs, lr=factor * recipe.stage2.lr)
        name = f"step-{k}" if factor == 1 else f"step-{k}-rate-{factor}"
        history = train(
            model, data, stage2, seed=1000 * recipe.seed + k, groups=trained_groups(model, layers, recipe.rest, factor * recipe.rest_lr),
            checkpoint=files.path / f"{name}.safetensors", log=files.path / f"{name}.jsonl", progress=progress,
            after=lambda epoch: files.spent(),
        )  # fmt: skip
        seconds += sum(e.seconds for e in history)
        # where train has put the model back to a better epoch, still a training gone wrong
        end = history[-1].val_accuracy
        if not worse(end, begin, count):
            return history, factor, seconds
        model.load_state_dict(before)
        told = f"step {k} ({', '.join(layers)}): {begin:.3f} of the validation part right before the fine-tuning, {end:.3f} after it"
        if factor <= _LEAST_RATE:
            warnings.warn(f"{told}; left as the approximation made it", stacklevel=3)
            return history, 0.0, seconds
        factor /= 2
        warnings.warn(f"{told}; undone, and again at {factor} of the rates", stacklevel=3)


def _before(model: nn.Module, data: Split) -> dict[str, Any]:
    """What a report needs of the dense model: accuracy, how many classes it gives, parameters, and bytes of its file."""
    given, state = int(answers(model, data.val).count_nonzero()), own_tensors(model.state_dict())
    return {
        "accuracy": accuracy(model, data.test), "classes": given, "params": sum(p.numel() for p in model.parameters()),
        "bytes": len(safetensors.torch.save(state)),
    }  # fmt: skip
