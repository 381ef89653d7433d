"""A split: tensors to train on, to validate on and to test on, drawn by class with fixed seeds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tnkit.core.checks import sequence, shown, text
from tnkit.core.numbers import whole_number
from tnkit.core.wording import plural
from tnkit_nn.checks import a_size, a_tensor, finite, labels_of
from tnkit_nn.engine.devices import dtype_there
from tnkit_nn.storage import raw

__all__ = ["Part", "Split", "check_entries", "checked_part", "limited", "split_off", "stratified"]

Part = tuple[Tensor, Tensor]
"""A part of a data set: inputs (count, ...) and integer labels (count,).

>>> part: tknn.data.Part = tknn.data.digits().test
>>> inputs, labels = part
>>> inputs.shape, labels.dtype
(torch.Size([500, 64]), torch.int64)

The type of :attr:`Split.train`, ``val`` and ``test``.
"""

#: The way out for targets that are no labels.
_ANY = 'other targets go as tensors to tknn.Task(data={"train": ...}, loss=...)'


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Inputs (count, ...) and integer labels (count,) of the three parts: a data set of :data:`DATA`, or tensors of your own.

    >>> x, y = torch.rand(20, 4), torch.arange(20) % 2
    >>> split = tknn.data.Split("mine", train=(x[:12], y[:12]), val=(x[12:16], y[12:16]), test=(x[16:], y[16:]))
    >>> split
    Split(mine: 12 to train, 4 to validate, 4 to test, inputs (4,), 2 classes)
    >>> split.num_classes, len(split.digest())
    (2, 12)

    Two splits are equal where their names, classes and tensors are.

    Learning rates are chosen on ``val``; ``test`` is read once, for the reported figure.  :func:`split_off` takes a validation
    part from training tensors that have none.

    Raises
    ------
    TypeError
        A part that is no pair of tensors.
    ValueError
        A part is empty, its labels are not one whole number an input in 0..classes - 1, or an input is NaN or infinite: a
        training would see that after hours.  The part and the place are named.
    """

    name: str
    train: Part
    val: Part
    test: Part
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", text(self.name, "Split: name"))
        classes = tuple(text(c, f"Split: class {k}") for k, c in enumerate(sequence(self.classes, "Split: classes")))
        object.__setattr__(self, "classes", classes)
        for name in ("train", "val", "test"):
            object.__setattr__(self, name, checked_part(getattr(self, name), f"{self.name}: {name}", len(classes)))
        first = self.train[0]
        for name, (x, _) in (("val", self.val), ("test", self.test)):
            if x.dim() != first.dim() or x.dtype != first.dtype:
                found = f"{x.dtype} of {x.dim()} axes, train {first.dtype} of {first.dim()}"
                raise ValueError(
                    f"{self.name}: all parts have inputs of one dtype and number of axes, but {name} has {found}"
                )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Split):
            return NotImplemented
        named = (self.name, self.classes) == (other.name, other.classes)
        return named and all(_same(a, b) for a, b in zip(self._tensors, other._tensors, strict=True))

    def __hash__(self) -> int:
        return hash((self.name, self.classes, tuple(x.shape for x in self._tensors)))

    def __repr__(self) -> str:
        counts = f"{len(self.train[1])} to train, {len(self.val[1])} to validate, {len(self.test[1])} to test"
        inputs = tuple(self.train[0].shape[1:])
        return f"Split({self.name}: {counts}, inputs {inputs}, {plural(self.num_classes, 'class', 'classes')})"

    @property
    def _tensors(self) -> tuple[Tensor, ...]:
        return (*self.train, *self.val, *self.test)

    def digest(self) -> str:
        """Tells data sets apart: from all labels, and a hundred examples or so of each part."""
        made = hashlib.sha256()
        for x, y in (self.train, self.val, self.test):
            made.update(raw(y) + raw(x[:: max(1, len(x) // 100)]))
        return made.hexdigest()[:12]

    @property
    def num_classes(self) -> int:
        """Number of classes: named ones, or one more than the largest label."""
        return len(self.classes) or 1 + max(int(y.max()) for _, y in (self.train, self.val, self.test))


def _same(a: Tensor, b: Tensor) -> bool:
    return a is b or (a.dtype == b.dtype and a.device == b.device and torch.equal(a, b))


def checked_part(part: object, what: str, classes: int = 0) -> Part:
    """A pair of finite inputs (count, ...) and labels (count,) from 0 to ``classes - 1``; TypeError or ValueError for another thing."""
    if not isinstance(part, (tuple, list)) or len(part) != 2:
        raise TypeError(f"{what} is a pair of tensors, inputs and labels, not {shown(part)}")
    x, y = a_tensor(part[0], f"{what} inputs"), a_tensor(part[1], f"{what} labels")
    if y.dim() != 1 or not x.dim() or len(x) != len(y) or not len(x):
        found = f"inputs {tuple(x.shape)}, labels {tuple(y.shape)}"
        raise ValueError(f"{what} needs one label an input and at least one, found {found}; {_ANY}")
    if y.dtype != torch.long or y.min() < 0 or (classes and y.max() >= classes):
        known = f"in 0..{classes - 1}" if classes else "from 0 up"
        hint = f"; classes names {classes}" if classes else ""
        hint += f"; {_ANY}" if y.dtype == torch.long or y.is_floating_point() else "; y.long() gives them"
        raise ValueError(f"{what} needs labels {known} as torch.long, found {y.dtype} in {y.min()}..{y.max()}{hint}")
    check_entries(x, f"{what} inputs")
    return x, y


def check_entries(x: Tensor, what: str) -> None:
    """ValueError for floating entries that are not finite; a sum, which needs no memory, is looked at first."""
    if x.is_floating_point() and not bool(x.sum(dtype=dtype_there(torch.float64, x.device)).isfinite()):
        finite(x, what)


def stratified(labels: Tensor, seed: int = 0) -> Tensor:
    """A seeded order in which every run of examples has the classes in proportion, as near as whole numbers allow.

    >>> labels = torch.tensor([0] * 6 + [1] * 3)
    >>> order = tknn.data.stratified(labels)
    >>> labels[order][:3].bincount(), labels[order][3:6].bincount()  # every run of three has two and one
    (tensor([2, 1]), tensor([2, 1]))

    Raises
    ------
    TypeError, ValueError
        Labels that are no tensor of whole numbers (count,); a seed that is no whole number of at least 0.
    """
    labels = labels_of(labels, "stratified: labels").cpu()  # positions on the processor fit tensors anywhere
    seed = whole_number(seed, "stratified: seed", 0) % 2**63
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed), device="cpu")
    shuffled = labels[order]
    place = torch.empty(len(labels), dtype=torch.float64, device="cpu")
    for c in shuffled.unique():
        where = (shuffled == c).nonzero()[:, 0]
        place[where] = (torch.arange(len(where), dtype=torch.float64, device="cpu") + 0.5) / len(where)
    return order[place.argsort(stable=True)]


def split_off(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Positions to train and to validate on: a tenth, 5,000 at most, drawn by class with a fixed seed; both in file order.

    >>> labels = torch.arange(100) % 5
    >>> train, val = tknn.data.split_off(labels)
    >>> len(train), len(val), labels[val].bincount()  # each class in proportion
    (90, 10, tensor([2, 2, 2, 2, 2]))

    Raises
    ------
    TypeError, ValueError
        Labels that are no tensor of whole numbers (count,).
    """
    order = stratified(labels_of(labels, "split_off: labels"))
    count = min(5000, len(labels) // 10)
    return order[count:].sort().values, order[:count].sort().values


def limited(split: Split, limit: int) -> Split:
    """At most ``limit`` examples of each part, by class; the name says so."""
    limit = a_size(limit, "limit")

    def first(part: Part) -> Part:
        chosen = stratified(part[1])[:limit].sort().values
        return part[0][chosen], part[1][chosen]

    name = f"{split.name} (at most {limit} a part)"
    return replace(split, name=name, train=first(split.train), val=first(split.val), test=first(split.test))
