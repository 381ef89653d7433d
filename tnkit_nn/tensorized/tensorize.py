"""Networks as the weights of any model, by the names of its parameters, in one call."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

from torch import Tensor, nn

from tnkit.core.checks import flag, one_of
from tnkit.core.network import Network
from tnkit.core.numbers import whole_number
from tnkit.execution.region_scale import UnreachableError
from tnkit_nn.adapter.atomic import all_or_nothing
from tnkit_nn.adapter.norms import root_mean_square
from tnkit_nn.approximation.approximate import approximate_layer
from tnkit_nn.approximation.methods import METHODS, check_method
from tnkit_nn.checks import a_size, an_open_module, warn_caller
from tnkit_nn.gradients import with_gradients
from tnkit_nn.placing import original, place_
from tnkit_nn.tensorized.choice import Chosen, Entry, entries_of, past, planned
from tnkit_nn.tensorized.report import Tensorized, TensorizedWeight
from tnkit_nn.weights import weights_of

__all__ = ["tensorize_"]


@with_gradients
def tensorize_(
    model: nn.Module,
    families: Mapping[str, Any],
    *,
    budget: int | float | None = None,
    total: int | float | None = None,
    fit: bool | str = True,
    steps: int = 200,
    base: bool = False,
    seed: int = 0,
    progress: bool = False,
) -> Tensorized:
    """Turn weights of any model into networks, in place: ``print(tensorize_(model, {"encoder.*": "mpo"}, budget=0.1))``.

    >>> model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    >>> made = tknn.tensorize_(model, {"0": "mpo"}, budget=0.1, fit=False)
    >>> model(torch.ones(1, 64)).shape
    torch.Size([1, 10])
    >>> sum(p.numel() for p in model[0].parameters()), 64 * 64 + 64  # a tenth of the weight, and the bias
    (464, 4160)

    The model stays what it is: its class, its ``forward``, its other parameters.  Where it fails or is interrupted, the model is put
    back to what it was.

    Parameters
    ----------
    model
        Any module: a Transformer, a ResNet, a recurrent one, your own.
    families
        Pattern -> what the weights become.  The first pattern that selects a weight counts.  A pattern is of layers (``"fc1"``,
        ``"encoder.*"``) or of parameters (``"*.in_proj_weight"``), ``*`` standing for anything; a layer stands for its ``weight``, or
        for all its weights where none is called so.  A value is the name of a family (``"mpo"``, ``"tt+tanh"``, ``"adtn"`` ...), a
        :class:`~tnkit_nn.Family`, a function ``(shape, budget) -> Network``, the place of one (``"file.py:function"``), a Network, or
        a pair of a Network and its arrays, such as a :class:`tnkit.Decomposition`, whose arrays are taken as they are.
    budget
        Parameters of each network; a number between 0 and 1 is that part of its weight's.  Each family gives its nearest count.
    total
        In place of ``budget``: parameters of all networks together, or that part of all selected weights', shared out in proportion
        to the sizes of the weights.  A weight gets at least its family's smallest network.
    fit
        True approximates each weight by its network (:func:`tnkit_nn.approximate`); False draws the arrays with the weight's root mean
        square; or one method of the approximation (``"svd"``, ``"als"``, ``"gradient"``).
    steps
        Gradient steps of the approximation.
    base
        Keep each weight, frozen, and add the network to it, which begins at zero: nothing is fitted, and the model computes what it
        did.
    seed
        Of everything drawn.
    progress
        Show bars of the approximation.

    Returns
    -------
    Tensorized
        A row a weight and the totals.  A tied weight is one network for all its owners, and counted once.  A size that a family has
        no digits for (97, say) is padded, and the row says so.  A weight smaller than its family's smallest network is left as it
        is, and the report says so.

    Raises
    ------
    TypeError
        No module, no mapping, no family, no number.
    ValueError
        A pattern that selects nothing (the weights there are, are named); no budget, or both; a network that does not fill its
        weight, or has more parameters, or that the method cannot fit; nothing but weights that are smaller than their networks.
    """
    an_open_module(model, "tensorize_: model")
    method = _method(fit)
    how = {"steps": a_size(steps, "tensorize_: steps"), "progress": flag(progress, "tensorize_: progress")}
    base, seed = flag(base, "tensorize_: base"), whole_number(seed, "tensorize_: seed", 0)
    entries = entries_of(model, families)
    plan = planned(entries, budget, total)
    for name, made in plan.made.items():
        if method not in ("draw", "auto") and made.arrays is None and not base:
            check_method(method, made.net, entries[name].layer)
    if told := past(plan, entries):
        warn_caller(f"tensorize_: more parameters than the budget: {told}")
    before = _count(model)
    with all_or_nothing(model, values=base):
        rows = [
            _replaced(model, entries[name], made, "zero" if base else method, 1000 * seed + k, how)
            for k, (name, made) in enumerate(plan.made.items())
        ]
    others = tuple(name for name in weights_of(model, beneath=True) if name not in entries)
    return Tensorized(tuple(rows), before, _count(model), _count(model, trained=True), plan.total, plan.left, others)


def _method(fit: object) -> str:
    """How the arrays are found: a method of the approximation, or ``draw``."""
    rule = "tensorize_: fit, unless it is True or False,"
    return one_of(fit, rule, METHODS) if isinstance(fit, str) else ("auto" if flag(fit, rule) else "draw")


def _count(model: nn.Module, trained: bool = False) -> int:
    made = (p for p in model.parameters() if not isinstance(p, nn.parameter.UninitializedParameter))
    return sum(p.numel() for p in made if p.requires_grad or not trained)


def _replaced(
    model: nn.Module, entry: Entry, made: Chosen, method: str, seed: int, how: Mapping[str, Any]
) -> TensorizedWeight:
    """One weight as a network, under all its names."""
    weight, arrays, found = original(model, entry.names[0]).detach(), made.arrays, "given"
    if arrays is None:
        found = {"draw": "drawn", "skip": "drawn"}.get(method, method)
        if method not in ("draw", "zero"):
            arrays, found = _approximated(entry, made, weight, method, seed, how)
    if found == "drawn":
        _check_size(entry, weight)
    error = _placed(model, entry, made.net, arrays, {"seed": seed, "base": method == "zero"})
    return TensorizedWeight(
        entry.names, entry.shape, entry.label, repr(made.net), entry.size, made.net.num_params, made.budget, error, found, made.padding
    )  # fmt: skip


def _placed(
    model: nn.Module, entry: Entry, net: Network, arrays: Mapping[str, Any] | None, how: Mapping[str, Any]
) -> float | None:
    """The relative error, if there is one; TypeError and ValueError about arrays that are given have the weight's name."""
    try:
        try:
            return place_(model, entry.names[0], net, arrays, **how)
        except UnreachableError:  # a sigmoid is outermost, say: no scale of its arrays gives the weight's
            return place_(model, entry.names[0], net, arrays, std=None, **how)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{entry.layer}: {error}") from None


def _check_size(entry: Entry, weight: Tensor) -> None:
    """ValueError where a weight has no size that drawn arrays could have."""
    size = None if weight.is_meta else root_mean_square(weight)
    if size is not None and not 0 < size < inf:
        raise ValueError(
            f"{entry.layer}: drawn arrays have the weight's root mean square, but that of this one, {entry.shape}, is {size:g}; "
            "parametrize_(..., std=...) draws others"
        )


def _approximated(
    entry: Entry, made: Chosen, weight: Tensor, method: str, seed: int, how: Mapping[str, Any]
) -> tuple[Mapping[str, Any], str]:
    try:
        found = approximate_layer(f"{entry.layer}: ", made.net, weight, method=method, seed=seed, **how)
    except ValueError as error:
        raise ValueError(f"{entry.layer}: {error}") from None
    return found.arrays, found.method
