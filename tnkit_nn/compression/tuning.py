"""The fine-tuning of a step of the schedule, by our loop or by a function of the user's; what only does harm is undone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from tnkit_nn.adapter.atomic import all_or_nothing
from tnkit_nn.checks import warn_caller
from tnkit_nn.compression.recipe import Compression
from tnkit_nn.compression.selection import trained_groups
from tnkit_nn.compression.workdir import RATE, READING, Folder
from tnkit_nn.data.batches import moved
from tnkit_nn.data.draws import seed_
from tnkit_nn.storage import damaged, fill_, parsed, read_tensors, write_tensors
from tnkit_nn.training.checkpoint import model_values
from tnkit_nn.training.evaluation import Reading, device_of, evaluate, first_batch, worse
from tnkit_nn.training.goal import Goal
from tnkit_nn.training.loop import Epoch, train
from tnkit_nn.training.modes import frozen_keepers, keepers, owner_of, training
from tnkit_nn.training.recipe import Recipe
from tnkit_nn.weights import spoken

__all__ = ["Budget", "StepTuning", "Tune", "Work", "tuned_step"]

#: Factor of the rates below which a fine-tuning that only does harm is given up.
_LEAST_RATE = 1 / 8

KEY = "tnkit.tune"  # of the text in the file of a step
AGAIN = "delete it to have the step fine-tuned again"


@dataclass(frozen=True)
class Budget:
    """What a function that fine-tunes may spend.

    Attributes
    ----------
    epochs
        Passes over the training part.
    steps
        Steps of the optimiser in all, at the batch of ``recipe``; None where there is no task.
    recipe
        The recipe's ``stage2`` for this step: rate, batch, optimiser.
    seed
        Of what is drawn; torch's random numbers are seeded by it already.
    """

    epochs: int
    steps: int | None
    recipe: Recipe
    seed: int


#: ``tune(model, parameters, budget)``: it trains these parameters, name -> tensor, in place.
Tune = Callable[[nn.Module, dict[str, Tensor], Budget], Any]


@dataclass(frozen=True, eq=False)
class Work:
    """What is the same at every step of a compression."""

    model: nn.Module
    recipe: Compression
    goal: Goal | None
    tune: Tune | None
    order: Mapping[str, int]
    files: Folder
    progress: bool


@dataclass(frozen=True)
class StepTuning:
    """What a step's fine-tuning came to: its epochs, the factor of the rates it took (0: undone), seconds, undone ones too."""

    history: tuple[Epoch, ...] = ()
    factor: float = 1.0
    seconds: float = 0.0


def tuned_step(work: Work, weights: Sequence[str], k: int, epochs: Sequence[int]) -> StepTuning:
    """Fine-tune step ``k``, in which so many epochs were asked for, first and at each later call.

    A network that is trained too fast dies: its loss goes to that of guessing, finite all the time.  So a fine-tuning after which
    the model is worse than before (:func:`tnkit_nn.training.evaluation.worse`) is undone, and done again at half the rates.
    """
    if work.recipe.stage2 is None:
        return StepTuning()
    begin = None
    if work.goal is not None and "val" in work.goal.parts:
        begin = Reading(**work.files.once(f"step-{k}-val", READING, lambda: _read(work.model, work.goal)))
    what = f"step {k} ({', '.join(map(spoken, weights))})"
    if work.tune is None:
        return _by_our_loop(work, weights, k, epochs, begin, what)
    return _by_theirs(work, weights, k, epochs, begin, what)


def _read(model: nn.Module, goal: Goal | None) -> dict[str, Any]:
    assert goal is not None
    return dict(vars(evaluate(model, goal)))


def _told(goal: Goal, begin: Reading, end: Reading, what: str) -> str:
    then, now = (f"{goal.metric.name} {goal.metric.shown(r.metric)}" for r in (begin, end))
    return f"{what}: {then} on the validation part right before the fine-tuning, {now} after it"


# -- our loop -----------------------------------------------------------------------------------------------------------
def _by_our_loop(
    work: Work, weights: Sequence[str], k: int, epochs: Sequence[int], begin: Reading | None, what: str
) -> StepTuning:
    """By :func:`tnkit_nn.train`, at rates halved until it does no harm."""
    stage2, model, goal, files = work.recipe.stage2, work.model, work.goal, work.files
    assert stage2 is not None and goal is not None
    before, factor, seconds = model_values(model), 1.0, 0.0
    settled = files.read(f"step-{k}-rate", RATE) if len(epochs) > 1 else None
    if settled and settled["factor"] > 0:  # what is extended goes on at the rate that it took
        factor = settled["factor"]
    while True:
        recipe = replace(stage2, epochs=sum(epochs), lr=factor * stage2.lr)
        name = f"step-{k}" if factor == 1 else f"step-{k}-rate-{factor}"
        groups = trained_groups(model, weights, work.recipe.rest, factor * work.recipe.rest_lr, work.order)
        history = train(
            model, goal, recipe, seed=1000 * work.recipe.seed + k, groups=groups, checkpoint=files.path / f"{name}.safetensors",
            log=files.path / f"{name}.jsonl", progress=work.progress, after=lambda epoch: files.spent(),
        )  # fmt: skip
        seconds += sum(e.seconds for e in history)
        # where train has put the model back to a better epoch, still a training gone wrong
        end = None if begin is None else history[-1].reading(begin.count)
        if begin is None or end is None or not worse(goal, end, begin):
            break
        fill_(model, before, "the values before the fine-tuning")
        told = _told(goal, begin, end, what)
        if factor <= _LEAST_RATE:
            warn_caller(f"{told}; left as the approximation made it")
            factor = 0.0
            break
        factor /= 2
        warn_caller(f"{told}; undone, and again at {factor} of the rates")
    files.once(f"step-{k}-rate", RATE, lambda: {"factor": factor})
    return StepTuning(history, factor, seconds)


# -- theirs -------------------------------------------------------------------------------------------------------------
def _by_theirs(
    work: Work, weights: Sequence[str], k: int, epochs: Sequence[int], begin: Reading | None, what: str
) -> StepTuning:
    """By a function of the user's, once, and once more for each later call that asks for more epochs."""
    factor, seconds = 1.0, 0.0
    for number, each in enumerate(epochs):
        path = work.files.path / (f"step-{k}-tune.safetensors" if not number else f"step-{k}-tune-{number}.safetensors")
        if path.exists():
            kept = _kept(work.model, path)
        else:
            kept = _tuned_once(work, weights, k, each, begin, what)
            write_tensors(path, work.model.state_dict(), {KEY: json.dumps(kept)})
            work.files.spent()
        factor, seconds = kept["factor"], seconds + kept["seconds"]
    return StepTuning((), factor, seconds)


def _kept(model: nn.Module, path: Any) -> dict[str, Any]:
    """What a finished step left, put into the model."""
    values, texts = read_tensors(path, AGAIN)
    kept = parsed(texts.get(KEY, ""), path, AGAIN)
    if not isinstance(kept, dict) or not all(type(kept.get(n)) in (int, float) for n in ("factor", "seconds")):
        raise damaged(path, "it is not of a step's fine-tuning", AGAIN)
    fill_(model, values, f"{path}: damaged, it is not of this model; {AGAIN}", numbers=True)
    return kept


def _tuned_once(
    work: Work, weights: Sequence[str], k: int, epochs: int, begin: Reading | None, what: str
) -> dict[str, float]:
    recipe, model, goal, tune = work.recipe, work.model, work.goal, work.tune
    assert recipe.stage2 is not None and tune is not None
    groups = trained_groups(model, weights, recipe.rest, recipe.rest_lr, work.order)
    chosen = {n: p for group in groups for n, p in dict(group.params).items()}
    budget = _budget(goal, replace(recipe.stage2, epochs=epochs), 1000 * recipe.seed + k)
    before, begun = model_values(model), time.perf_counter()
    keeping = _keeping(model, goal)
    with all_or_nothing(model, values=True), training(model, list(chosen.values()), keeping):
        seed_(budget.seed)
        try:
            with torch.enable_grad():
                tune(model, dict(chosen), budget)
        except Exception as error:  # whatever a function of the user's raises
            raise ValueError(f"compress_: tune fails in {what}: {type(error).__name__}: {error}") from error
        _check_same(model, before, what)
    for p in model.parameters():
        p.grad = None
    _put_back_frozen(model, before, chosen, keeping, what)
    seconds = time.perf_counter() - begun
    return {"factor": 0.0 if _undone(model, goal, before, begin, what) else 1.0, "seconds": seconds}


def _budget(goal: Goal | None, recipe: Recipe, seed: int) -> Budget:
    steps = None if goal is None else recipe.epochs * goal.parts["train"].steps(recipe.batch)
    return Budget(recipe.epochs, steps, recipe, seed)


def _keeping(model: nn.Module, goal: Goal | None) -> dict[str, str]:
    """Modules that keep running statistics, and what they go with: those that a batch moves or, without a task, all with buffers."""
    if goal is not None:
        return keepers(model, goal.loss, moved(first_batch(goal, "train", "compress_"), device_of(model)))
    order = {name: k for k, (name, _) in enumerate(model.named_modules())}
    own = [name for name, m in model.named_modules() if next(m.buffers(recurse=False), None) is not None]
    return {name: owner_of(model, name, order) for name in own}


def _check_same(model: nn.Module, before: Mapping[str, Tensor], what: str) -> None:
    now = model.state_dict()
    other = [n for n in {**before, **now} if n not in now or n not in before or now[n].shape != before[n].shape]
    retyped = [n for n in before if n not in other and now[n].dtype != before[n].dtype]
    if retyped and not other:
        n = retyped[0]
        raise ValueError(
            f"compress_: tune leaves the dtypes of the model as they are, but after {what} {n!r} is {now[n].dtype}, no longer "
            f"{before[n].dtype}"
        )
    if other:
        raise ValueError(
            f"compress_: tune trains the values of the model and leaves what it is made of, but after {what} {other[0]!r} is "
            "another"
        )


def _put_back_frozen(
    model: nn.Module, before: Mapping[str, Tensor], chosen: Mapping[str, Tensor], keeping: Mapping[str, str], what: str
) -> None:
    """Frozen means frozen, whatever the function did (``model.train()`` lets running statistics move)."""
    still = frozen_keepers(model, keeping, list(chosen.values()))
    names = {id(m): n for n, m in model.named_modules()}
    frozen = {f"{names[id(m)]}.{n}".strip(".") for m in still for n, _ in m.named_buffers(recurse=False)}
    frozen |= {n for n, p in model.named_parameters() if n not in chosen}
    state = model.state_dict()
    changed = [n for n in before if n in frozen and not torch.equal(state[n].nan_to_num(), before[n].nan_to_num())]
    if not changed:
        return
    with torch.no_grad():
        for n in changed:
            state[n].copy_(before[n])
    warn_caller(f"{what}: tune has changed {', '.join(changed[:3])}, which is frozen; put back")


def _undone(
    model: nn.Module, goal: Goal | None, before: Mapping[str, Tensor], begin: Reading | None, what: str
) -> bool:
    """Whether the model was worse than before, or is no numbers any more, and has been put back."""
    finite = all(bool(p.isfinite().all()) for p in model.parameters())
    told = f"{what}: after the fine-tuning there are parameters that are not finite"
    if finite:
        if goal is None or begin is None:
            return False
        end = evaluate(model, goal)
        if not worse(goal, end, begin):
            return False
        told = _told(goal, begin, end, what)
    fill_(model, before, "the values before the fine-tuning")
    warn_caller(f"{told}; undone")
    return True
