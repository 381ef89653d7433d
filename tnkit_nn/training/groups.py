"""What is trained: parameters of a model in groups, each at a rate of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from tnkit.core.checks import sequence, shown
from tnkit.core.numbers import real_number
from tnkit_nn.checks import a_kind
from tnkit_nn.training.recipe import Recipe

__all__ = ["Group", "parameter_groups"]


@dataclass(frozen=True, eq=False)
class Group:
    """Parameters that are trained at a rate of their own.

    >>> model = tknn.zoo.mlp()
    >>> before = model.fc1.weight.detach().clone()
    >>> slow = tknn.Group(model.fc2.named_parameters(prefix="fc2"), lr=1e-4)
    >>> [name for name, _ in slow.params], slow.lr
    (['fc2.weight', 'fc2.bias'], 0.0001)
    >>> epochs = tknn.train(model, tknn.Task(data="digits", limit=64), tknn.Recipe(epochs=1, lr=3e-3, batch=32), groups=[slow])
    >>> torch.equal(model.fc1.weight, before)  # fc2 alone is trained
    True

    Attributes
    ----------
    params
        Named parameters of the model, such as ``layer.named_parameters(prefix="fc1")``, or a dict of them.
    lr, weight_decay
        Instead of the recipe's; a weight decay given here is for vectors too.

    Raises
    ------
    ValueError
        Two parameters have one name.
    """

    params: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]]
    lr: float | None = None
    weight_decay: float | None = None

    def __post_init__(self) -> None:
        pairs = _named(self.params)
        for name in ("lr", "weight_decay"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, real_number(value, f"Group: {name}", positive=name == "lr"))
        twice = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
        if twice:
            raise ValueError(
                f"two parameters of a group are called {twice[0]!r}; named_parameters(prefix=...) tells them apart"
            )
        object.__setattr__(self, "params", pairs)


def _named(params: Any) -> tuple[tuple[str, Tensor], ...]:
    """Names and parameters, of a mapping or of pairs."""
    rule = "Group: params are names and tensors, a dict or what model.named_parameters() gives"
    if isinstance(params, (str, bytes)) or not isinstance(params, Iterable) or getattr(params, "shape", None) == ():
        raise TypeError(f"{rule}, not {shown(params)}")
    pairs = tuple(params.items() if isinstance(params, Mapping) else params)
    for pair in pairs:
        if (
            not isinstance(pair, tuple)
            or len(pair) != 2
            or not isinstance(pair[0], str)
            or not isinstance(pair[1], Tensor)
        ):
            raise TypeError(f"{rule}, not {shown(pair)}")
    return pairs


def parameter_groups(model: nn.Module, recipe: Recipe, groups: Sequence[Group] | None) -> list[dict[str, Any]]:
    """Torch's parameter groups, with names: each of ours in two, with weight decay and without."""
    if groups is None:
        groups = [Group((n, p) for n, p in model.named_parameters() if p.requires_grad)]
    own, seen = {id(p) for p in model.parameters()}, set[int]()
    made = []
    for group in sequence(groups, "train: groups"):
        a_kind(group, Group, "train: each of groups")
        params = dict(group.params)
        for name, p in params.items():
            if id(p) not in own:
                raise ValueError(f"parameter {name!r} is not the model's")
            if id(p) in seen:
                raise ValueError(f"parameter {name!r} is in two groups, or twice in one")
            if isinstance(p, nn.parameter.UninitializedParameter):
                raise ValueError(f"parameter {name!r} has no shape yet: call the model with a batch first")
            if not (p.is_floating_point() or p.is_complex()):
                raise ValueError(f"parameter {name!r} is floating or complex, not {p.dtype}, which has no gradient")
            seen.add(id(p))
        decay = recipe.weight_decay if group.weight_decay is None else group.weight_decay
        everywhere = group.weight_decay is not None
        for some in (True, False):
            names = [n for n, p in params.items() if (everywhere or p.dim() > 1) == some]
            if names:
                rate = recipe.lr if group.lr is None else group.lr
                made.append({"params": [params[n] for n in names], "names": names, "lr": rate})
                made[-1]["weight_decay"] = decay if some else 0.0
    if not made:
        raise ValueError("there is nothing to train: no group has a parameter")
    return made
