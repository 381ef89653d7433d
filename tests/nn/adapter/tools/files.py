"""Saved, loaded, copied and sent: what comes back computes what the dense twin computes."""

from __future__ import annotations

import copy
import io
import pickle
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from queue import Empty
from typing import Any

import torch
from torch import nn

from .kinds import KINDS, Kind, differ, gradients, oracle, pair, same


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


def loaded(kind: Kind, state: Any, want: Any, inputs: Any) -> None:
    """Another module of the kind takes the state, strictly, and then computes the same."""
    other = kind.made(seed=1)
    differ(other(*inputs), want)
    found = other.load_state_dict(state, strict=True)
    assert not found.missing_keys and not found.unexpected_keys
    same(other(*inputs), want)


def state_dict(kind: Kind) -> None:
    module, dense, inputs = pair(kind)
    state = {name: t.clone() for name, t in module.state_dict().items()}
    trained = dict(module.named_parameters())
    assert trained.keys() <= state.keys()
    loaded(kind, state, dense(*inputs), inputs)


def weights_only(kind: Kind) -> None:
    module, dense, inputs = pair(kind)
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    loaded(kind, torch.load(file, weights_only=True), dense(*inputs), inputs)


def safetensors(kind: Kind) -> None:
    from safetensors.torch import load_model, save_model

    module, dense, inputs = pair(kind)
    other = kind.made(seed=1)
    differ(other(*inputs), dense(*inputs))
    with folder() as path:
        save_model(module, str(path / "model.safetensors"))
        missing, unexpected = load_model(other, str(path / "model.safetensors"))
    assert not missing and not unexpected
    same(other(*inputs), dense(*inputs))


def independent(kind: Kind, module: nn.Module, other: nn.Module, dense: nn.Module, inputs: Any) -> None:
    """``other`` computes the same, trains, and is nobody's twin: a change of it leaves the first alone."""
    same(other(*inputs), dense(*inputs))
    same(gradients(other, inputs), oracle(kind, module, inputs))
    with torch.no_grad():
        for p in other.parameters():
            p.mul_(0.5).add_(0.1)
    differ(other(*inputs), dense(*inputs))
    same(module(*inputs), dense(*inputs))
    same(other(*inputs), kind.twin(other)(*inputs))


def whole_saved(kind: Kind) -> None:
    module, dense, inputs = pair(kind)
    with folder() as path:
        torch.save(module, path / "model.pt")
        other = torch.load(path / "model.pt", weights_only=False)
    independent(kind, module, other, dense, inputs)


def pickled(kind: Kind) -> None:
    module, dense, inputs = pair(kind)
    independent(kind, module, pickle.loads(pickle.dumps(module)), dense, inputs)


def deepcopied(kind: Kind) -> None:
    module, dense, inputs = pair(kind)
    module(*inputs)
    independent(kind, module, copy.deepcopy(module), dense, inputs)


def meta(kind: Kind) -> None:
    """Made without values; they come by ``to_empty`` and a state, or by a state that is assigned."""
    module, dense, inputs = pair(kind)
    state, want = module.state_dict(), dense(*inputs)
    for assign in (False, True):
        with torch.device("meta"):
            other = kind.made(seed=1)
        assert all(p.is_meta for p in other.parameters())
        if not assign:
            other.to_empty(device="cpu")
        other.load_state_dict(state, assign=assign)
        if assign:
            assert not any(t.is_meta for t in (*other.parameters(), *other.buffers()))
        same(other(*inputs), want, what=f"assign={assign}")
        same(gradients(other, inputs), oracle(kind, module, inputs), what=f"assign={assign}")


# -- another process -----------------------------------------------------------------------------------------------
def _answers(questions: Any, results: Any) -> None:
    """In the other process: outputs and gradients of what comes; the first parameter is set to zero where it lies."""
    torch.set_num_threads(1)
    while (question := questions.get()) is not None:
        name, module, inputs = question
        try:
            out = module(*inputs).detach().numpy().copy()
            found = {n: g.numpy().copy() for n, g in gradients(module, inputs).items()}
            with torch.no_grad():
                next(module.parameters()).zero_()
            results.put((name, out, found))
        except Exception as error:
            results.put((name, error, None))


@cache
def _spawned(stand_in: str) -> dict[str, Any]:
    """All kinds by one process: name -> the module, its inputs, and what came back."""
    context = torch.multiprocessing.get_context("spawn")
    questions, results = context.Queue(), context.Queue()
    worker = context.Process(target=_answers, args=(questions, results), daemon=True)
    worker.start()
    found: dict[str, Any] = {}
    try:
        for kind in KINDS.values():
            kind = kind.standing_in(stand_in) if stand_in else kind
            try:
                module, dense, inputs = pair(kind)
                want, grads = dense(*inputs), oracle(kind, module, inputs)
                module.share_memory()
                ForkingPickler.dumps(module)  # in the queue's thread an error would be lost
                questions.put((kind.name, module, inputs))
                found[kind.name] = [module, want, grads, results.get(timeout=120)]
            except Empty:
                raise
            except BaseException as error:
                found[kind.name] = error
    finally:
        questions.put(None)
        worker.join(30)
        worker.kill()
    return found


def another_process(kind: Kind) -> None:
    found = _spawned(kind.stand_in)[kind.name]
    if isinstance(found, BaseException):
        raise found
    module, want, grads, (name, out, got) = found
    if isinstance(out, Exception):
        raise out
    assert name == kind.name
    same(torch.as_tensor(out), want.detach())
    same({n: torch.as_tensor(g) for n, g in got.items()}, grads)
    assert not next(module.parameters()).any(), "the memory is not shared"
