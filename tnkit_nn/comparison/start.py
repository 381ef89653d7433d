"""A row's weights before their fine-tuning: approximated, drawn, or those of a control."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

import torch
from torch import Tensor

import tnkit as tk
from tnkit.core.checks import shown
from tnkit_nn.adapter.descent import Params
from tnkit_nn.approximation.approximate import approximate_each
from tnkit_nn.axes import Axes
from tnkit_nn.budgets import matrix_shape, shares
from tnkit_nn.checks import check_fills
from tnkit_nn.comparison.experiment import Experiment
from tnkit_nn.comparison.record import Job
from tnkit_nn.families import SHARED, Family, made_by
from tnkit_nn.generators import (
    Generator,
    Generators,
    fixed_generator,
    hashed_generator,
    random_start,
    subspace_generator,
)
from tnkit_nn.weights import spoken

__all__ = ["Start", "built", "start_of"]


@dataclass(frozen=True)
class Start:
    """How a row's weights are made, from which values, and how near they are.

    ``values``: name of a start -> values (seed, ...); ``errors``: name of a weight -> (seed,).
    """

    generators: Generators
    values: dict[str, Params]
    errors: dict[str, Tensor]
    nets: dict[str, tk.Network]
    methods: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def fitted(self) -> Params:
        """Name of a weight -> the approximated weight, (seed, *shape)."""
        with torch.no_grad():
            return self.generators.weights(self.values["fit"], self.seeds)

    @property
    def seeds(self) -> Axes:
        """One replica a seed."""
        return Axes(seed=len(next(iter(self.errors.values()))))

    def error(self, experiment: Experiment) -> Tensor:
        """The relative error of all weights as one vector, (seed,)."""
        norms = {name: _norms(target) for name, target in _wide(experiment.targets).items()}
        off = torch.stack([(self.errors[n] * norm).square() for n, norm in norms.items()]).sum(0)
        return (off / torch.stack(list(norms.values())).square().sum(0)).sqrt()


def start_of(experiment: Experiment, job: Job) -> Start:
    """The job's weights, ready to be fine-tuned: computed in float32 or wider, given to the model in its own dtype."""
    start, targets = _start_of(experiment, job), experiment.targets
    each = {n: replace(g, weight=_in_dtype(g.weight, targets[n].dtype)) for n, g in start.generators.each.items()}
    return replace(start, generators=Generators(each))


def _in_dtype(weight: Callable[[Params, Axes], Tensor], dtype: torch.dtype) -> Callable[[Params, Axes], Tensor]:
    return lambda params, axes: weight(params, axes).to(dtype)


def _start_of(experiment: Experiment, job: Job) -> Start:
    targets, what, first = _wide(experiment.targets), job.what, experiment.protocol.first_seed
    if what == "rank1":
        what = Family("rank1", "rank1", lambda s, _: tk.low_rank(matrix_shape(s), 1))
    if isinstance(what, Family):
        return _approximated(experiment, built(what, experiment.shapes, job.budget or 0, job.least))
    if what in SHARED:
        assert job.budget is not None
        make = {"hashed": hashed_generator, "subspace": subspace_generator}[what]
        parts, shapes = _parts(experiment.shapes, job.budget, job.least), experiment.shapes
        generators = Generators({n: make(parts[n], shapes[n], t, first) for n, t in targets.items()})
        random = {n: random_start(generator, targets[n], first) for n, generator in generators.each.items()}
        values = {"fit": generators.start, "random": generators.gathered(random)}
    else:
        generators = Generators({n: fixed_generator(what, t, first) for n, t in targets.items()})
        values = {"fit": generators.start}
    with torch.no_grad():
        made = generators.weights(values["fit"], Axes(seed=experiment.protocol.seeds))
    return Start(generators, values, {n: _norms(made[n] - t) / _norms(t) for n, t in targets.items()}, {})


def _approximated(experiment: Experiment, nets: Mapping[str, tk.Network]) -> Start:
    """Each network near its weight, and as it was drawn."""
    protocol, generators, fitted, errors = experiment.protocol, dict[str, Generator](), {}, {}
    methods = dict[str, tuple[str, ...]]()
    for name, target in _wide(experiment.targets).items():
        generators[name], found = approximate_each(
            nets[name], target, method=protocol.approximation, steps=protocol.fit_steps, first_seed=protocol.first_seed
        )
        generators[name], fitted[name] = _scales_in_units(generators[name], found.params)
        errors[name], methods[name] = found.error, found.methods
    every = Generators(generators)
    return Start(every, {"fit": every.gathered(fitted), "random": every.start}, errors, dict(nets), methods)


def _scales_in_units(generator: Generator, fitted: Params) -> tuple[Generator, Params]:
    """The generator, and values of it, with arrays without indices in powers of two near their start's size.

    Adam's steps have a fixed size.  A factor of all weights, as small as they are, would change its sign at rates that suit all other arrays.
    """
    units = {}
    for name, x in generator.start.items():
        if x.dim() == 1 and bool((x != 0).all()):
            units[name] = torch.exp2(x.abs().log2().round())
    if not units:
        return generator, fitted

    def weight(params: Params, axes: Axes) -> Tensor:
        return generator.weight({n: x * axes.by_seed(units[n]) if n in units else x for n, x in params.items()}, axes)

    start, values = (
        {n: x / units[n] if n in units else x for n, x in some.items()} for some in (generator.start, fitted)
    )
    return replace(generator, start=start, weight=weight), values


def built(
    what: Family, shapes: Mapping[str, Sequence[int]], budget: int, least: Sequence[int] | None = None
) -> dict[str, tk.Network]:
    """Weight name -> its network, the budget shared out; with ``least``, one number a weight, of no fewer parameters than that.

    Raises
    ------
    TypeError, ValueError
        The family fails, makes no network, or one that does not fill the weight.
    """
    found = {}
    for name, part in _parts(shapes, budget, least).items():
        who = f"layer {spoken(name)!r}: family {what.label}"
        net = made_by(what.build, shapes[name], part, who, least is not None)
        if not isinstance(net, tk.Network):
            raise TypeError(
                f"{who} is a function (shape, budget) -> Network; for {shapes[name]} and {part} it gives {shown(net)}"
            )
        if not net.num_params:
            raise ValueError(f"{who} has no parameters")
        check_fills(net, shapes[name], who)
        found[name] = net
    return found


def _parts(shapes: Mapping[str, Sequence[int]], budget: int, least: Sequence[int] | None) -> dict[str, int]:
    """Weight name -> its part of a budget (:func:`tnkit_nn.budgets.shares`), or what is asked of it at least."""
    parts = shares(budget, [prod(shape) for shape in shapes.values()]) if least is None else least
    return dict(zip(shapes, parts, strict=True))


def _wide(targets: Params) -> Params:
    """In float32 or wider."""
    return {n: t.to(torch.promote_types(t.dtype, torch.float32)) for n, t in targets.items()}


def _norms(x: Tensor) -> Tensor:
    """(seed, ...) -> (seed,)."""
    return x.flatten(1).norm(dim=1)
