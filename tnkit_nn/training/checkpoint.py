"""The state of a training: taken, put back, and kept in one file that a restarted run continues from."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from tnkit.core.checks import shown
from tnkit_nn.fingerprint import class_print
from tnkit_nn.storage import damaged, fill_, first_difference, misfit, parsed, read_tensors, write_tensors

__all__ = ["capture", "model_values", "restore", "resume", "structure", "write_state"]

KEY = "tnkit.train"
VERSION = 3
BEST = "best."
WAY = "delete it to train from the start"

#: What is kept of an epoch: the fields of :class:`tnkit_nn.training.loop.Epoch`.
EPOCH = {"epoch", "loss", "val_loss", "val_metric", "rate_factor", "seconds", "val_spread"}

State = dict[str, Tensor]


def structure(model: nn.Module) -> dict[str, str]:
    """What a model is made of, beside its values: name of a module -> its class, the source of one's own, and options."""
    return {n: f"{class_print(type(m))}({re.sub('0x[0-9a-f]+', '', m.extra_repr())})" for n, m in model.named_modules()}


def model_values(model: nn.Module) -> State:
    """Copies of all values of a model, by name."""
    return {n: v.detach().clone() for n, v in model.state_dict().items()}


def capture(model: nn.Module, optimizer: Optimizer) -> State:
    """Copies of all values of a model and its optimiser, by name."""
    state = {f"model.{n}": v for n, v in model_values(model).items()}
    for k, moments in optimizer.state_dict()["state"].items():
        state |= {f"optimizer.{k}.{key}": v.detach().clone() for key, v in moments.items() if v is not None}
    return state


def restore(model: nn.Module, optimizer: Optimizer, state: State, what: str = "state") -> None:
    """Put the values of :func:`capture` back; ValueError, beginning with ``what``, where they are another model's."""
    fill_(model, _part(state, "model."), what)
    optimizer.load_state_dict({"state": _moments(state), "param_groups": optimizer.state_dict()["param_groups"]})


def _part(state: State, prefix: str) -> State:
    return {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}


def _moments(state: State) -> dict[int, State]:
    """Number of a parameter -> what the optimiser keeps of it; a name that is none gets the number -1."""
    moments: dict[int, State] = {}
    for name, v in _part(state, "optimizer.").items():
        k, _, key = name.partition(".")
        moments.setdefault(int(k) if k.isdecimal() else -1, {})[key] = v
    return moments


def write_state(
    path: str | os.PathLike[str],
    model: nn.Module,
    optimizer: Optimizer,
    run: Mapping[str, Any],
    so_far: Mapping[str, Any],
    best: State,
) -> None:
    """Write the state, the model's best values where they are others, what run it belongs to and how far that is, whole or not at all."""
    text = json.dumps({"version": VERSION, "run": run, "so_far": so_far})
    write_tensors(path, {**capture(model, optimizer), **{BEST + n: v for n, v in best.items()}}, {KEY: text})


def resume(
    path: str | os.PathLike[str], model: nn.Module, optimizer: Optimizer, run: Mapping[str, Any]
) -> tuple[dict[str, Any], State] | None:
    """Put the state of a file back and return how far it is and the best values kept; None where there is no file.

    Raises
    ------
    ValueError
        No checkpoint of a training, or one of another run; the message names the first thing that differs.
    """
    if not Path(path).exists():
        return None
    state, metadata = read_tensors(path, WAY)
    if KEY not in metadata:
        raise ValueError(f"{path}: not a checkpoint of a training")
    kept = parsed(metadata[KEY], path, WAY)
    if not isinstance(kept, dict) or not {"version", "run", "so_far"} <= kept.keys():
        raise ValueError(f"{path}: not a checkpoint of a training")
    version, its, so_far = kept["version"], kept["run"], kept["so_far"]
    if version != VERSION:
        raise ValueError(f"{path}: version {version} of a checkpoint; this tnkit reads version {VERSION}")
    differs = first_difference(_extensible(its), _extensible(json.loads(json.dumps(run))))
    if differs:
        raise ValueError(f"{path}: belongs to another run: {differs}")
    _check_so_far(path, so_far, run["recipe"]["epochs"])
    best = {n.removeprefix(BEST): v for n, v in state.items() if n.startswith(BEST)}
    wrong = misfit(model.state_dict(), best, numbers=True) if best else ""
    wrong = wrong or misfit(model.state_dict(), _part(state, "model."), numbers=True)
    if wrong:
        raise ValueError(f"{path}: belongs to another model: {wrong}")
    _check_moments(path, optimizer, _moments(state))
    restore(model, optimizer, state, f"{path}: belongs to another model")
    return dict(so_far), best


def _extensible(run: Any) -> Any:
    """A run without its number of epochs: one that is finished goes on where more are asked for."""
    recipe = run.get("recipe") if isinstance(run, dict) else None
    return {**run, "recipe": {k: v for k, v in recipe.items() if k != "epochs"}} if isinstance(recipe, dict) else run


def _check_so_far(path: str | os.PathLike[str], so_far: Any, epochs: int) -> None:
    """How far a training is: the epochs' figures from the first on, and the factor of the rates."""
    if not isinstance(so_far, dict) or not isinstance(so_far.get("history"), list):
        raise damaged(path, "it does not say how far the training is", WAY)
    if not _positive(so_far.get("factor")):
        raise damaged(path, f"its factor is {shown(so_far.get('factor'))}, not a positive number", WAY)
    history = so_far["history"]
    if len(history) > epochs:
        raise ValueError(
            f"{path}: {len(history)} epochs are done, and the recipe has {epochs}; ask for as many or more"
        )
    for k, epoch in enumerate(history, 1):
        if not isinstance(epoch, dict) or set(epoch) != EPOCH or epoch["epoch"] != k:
            raise damaged(path, f"what it has of epoch {k} is {shown(epoch)}", WAY)
        if not all(type(v) in (int, float) or (v is None and name.startswith("val_")) for name, v in epoch.items()):
            raise damaged(path, f"what it has of epoch {k} is not all numbers: {shown(epoch)}", WAY)


def _positive(value: Any) -> bool:
    return type(value) in (int, float) and value > 0


def _check_moments(path: str | os.PathLike[str], optimizer: Optimizer, moments: dict[int, State]) -> None:
    """What an optimiser keeps is of its parameters: one of the same names for each, in the parameter's shape or a number."""
    params = [p for group in optimizer.param_groups for p in group["params"]]
    names = {frozenset(moment) for moment in moments.values()}
    if not set(moments) <= set(range(len(params))) or len(names) > 1:  # a parameter without gradient has none
        raise damaged(path, "what it has of the optimiser is not of these parameters", WAY)
    for k, moment in moments.items():
        for name, v in moment.items():
            if (v.numel() != 1 or name != "step") and v.shape != params[k].shape:
                raise damaged(path, f"optimizer.{k}.{name} is {tuple(v.shape)}, not {tuple(params[k].shape)}", WAY)
