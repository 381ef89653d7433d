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

from tnkit_nn.storage import fill_, first_difference, read_tensors, write_tensors

__all__ = ["capture", "model_values", "restore", "resume", "structure", "write_state"]

KEY = "tnkit.train"
VERSION = 2
BEST = "best."

State = dict[str, Tensor]


def structure(model: nn.Module) -> dict[str, str]:
    """What a model is made of, beside its values: name of a module -> its class and options."""
    return {n: f"{type(m).__name__}({re.sub('0x[0-9a-f]+', '', m.extra_repr())})" for n, m in model.named_modules()}


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
    fill_(model, {n.removeprefix("model."): v for n, v in state.items() if n.startswith("model.")}, what)
    moments: dict[int, dict[str, Tensor]] = {}
    for name, v in state.items():
        if name.startswith("optimizer."):
            _, k, key = name.split(".")
            moments.setdefault(int(k), {})[key] = v
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})


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
    state, metadata = read_tensors(path)
    try:
        kept = json.loads(metadata[KEY])
        version, its, so_far = kept["version"], kept["run"], kept["so_far"]
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{path}: not a checkpoint of a training") from None
    if version != VERSION:
        raise ValueError(f"{path}: version {version} of a checkpoint; this tnkit reads version {VERSION}")
    differs = first_difference(its, json.loads(json.dumps(run)))
    if differs:
        raise ValueError(f"{path}: belongs to another run: {differs}")
    restore(model, optimizer, state, f"{path}: belongs to another model")
    best = {n.removeprefix(BEST): v for n, v in state.items() if n.startswith(BEST)}
    return dict(so_far), best
