"""What an array library must give to run a plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib import import_module
from itertools import count
from typing import Any

import numpy as np

from tnkit.core.checks import a_mapping, flag, one_of, shown, text
from tnkit.planning.steps import FusedStep

__all__ = ["Backend"]

#: What :attr:`Backend.methods` may spell.
_METHODS = ("permute", "swap", "reshape", "diagonal")


def _check_function(value: Any, name: str) -> None:
    if not callable(value) or isinstance(value, type):
        raise TypeError(f"Backend: {name} is a function, not {shown(value)}")


def _as_it_is(x: Any) -> Any:
    """An array as it is: nothing is differentiated through it."""
    return x


def _all_seen(arrays: Sequence[Any]) -> bool:
    """Every value can be read."""
    return False


def _no_reason(x: Any) -> str:
    """Nothing speaks against the array."""
    return ""


def _one_device(x: Any) -> Any:
    """There is one device."""
    return None


@dataclass(frozen=True, eq=False, repr=False)
class Backend:
    """An array library: its namespace, and what libraries spell differently.

    >>> from dataclasses import replace
    >>> mine = replace(tk.NUMPY, name="mine", flip=lambda x, axis: np.flip(x, axis))  # one operation of your own
    >>> mine, isinstance(mine, tk.Backend), mine.xp is np
    (mine, True, True)
    >>> tk.einsum("ij,j->i", np.ones((2, 3)), np.ones(3), backend=mine)
    array([3., 3.])
    >>> mine.permute(np.zeros((2, 3, 4)), (2, 0, 1)).shape, mine.reshape(np.zeros(6), 2, 3).shape
    ((4, 2, 3), (2, 3))
    >>> x = np.array([[0, 1], [1, 0]])
    >>> np.array_equal(mine.kron(np.eye(2), x), mine.beside(x, 2, 1))  # 1_p (x) x (x) 1_q
    True

    Attributes
    ----------
    name
        For messages; a backend prints as its name.
    xp
        Namespace with what numpy, torch and the array API standard spell alike: ``matmul``, ``reshape``, ``linalg.qr``, and what
        the activations use.
    holds
        ``holds(x)``: whether ``x`` is an array of the library.
    permute
        ``permute(x, axes)``.
    swap
        ``swap(x)``: exchange the last two axes.
    concat
        ``concat(arrays, axis)``.
    flip
        ``flip(x, axis)``: the axis backwards.
    take
        ``take(x, places, axis)``: some places along an axis, given as a numpy array.
    total
        ``total(x, axes)``: the sum over axes, in the dtype of ``x``.
    diagonal
        ``diagonal(x, i, j)``: the diagonal of two axes, as the last axis.
    norm
        ``norm(x)``: the Frobenius norm; ``norm(x, axis)``: norms along an axis.
    norms
        ``norms(arrays)``: the Frobenius norms of several arrays as Python numbers, in as few calls as the library allows; 0 and
        inf where the squares leave the range of the dtype.
    eye
        ``eye(n, x)``: an identity, made where ``x`` is: nothing is copied there while a CUDA graph is captured.
    like
        ``like(a, x)``: the numpy array ``a`` in the library, dtype and device of ``x``.
    zeros
        ``zeros(shape, x)``: dtype and device of ``x``.
    broadcast
        ``broadcast(a, b)``: a matrix ``(n, k)`` times each of a batch ``(f, k, g)``.
    fused
        ``fused(step, operands)``: run a :class:`~tnkit.planning.steps.FusedStep`.
    left
        ``left(m)``: left singular vectors and singular values of a matrix, thin and falling, with finite gradients.
    cast
        ``cast(x, "float64")``: another dtype, by its name.
    numpy
        ``numpy(x)``: the values as a numpy array, where a rank or an error is decided.
    tracked
        ``tracked(x)``: whether a gradient may be asked through what is made of ``x``.
    constant
        ``constant(x)``: the values, without a gradient.
    unseen
        ``unseen(arrays)``: whether the values of some cannot be read here, since they are traced (``torch.compile``, ``vmap``,
        ``jax.jit``).
    refused
        ``refused(x)``: why an array cannot be contracted, ``"is sparse"``; empty if it can.
    unread
        ``unread(x)``: why the values of an array cannot be read, ``"is on the meta device"``; empty if they can.
    device
        ``device(x)``: where an array is; one value for all where the library sees to that itself.
    own
        The library's own version of an activation, by name, where it is faster.
    mixes
        Whether the library multiplies arrays of different dtypes.
    writes
        Whether arrays can be written to in place.
    methods
        ``"permute"``, ``"swap"``, ``"reshape"`` and ``"diagonal"`` as methods, ``"{x}.transpose({axes})"``, where those are faster
        than the functions.
    home
        Where it is found, ``"tnkit.execution.numpy:NUMPY"``, so that other processes use theirs.
    folds
        Whether ``matmul`` reads a tensor times a matrix or a vector as one product, not as a batch of them.
    key
        A number of its own, by which code written for it is found.
    """

    name: str
    xp: Any
    holds: Callable[[Any], bool]
    permute: Callable[[Any, tuple[int, ...]], Any]
    swap: Callable[[Any], Any]
    concat: Callable[[Sequence[Any], int], Any]
    flip: Callable[[Any, int], Any]
    take: Callable[[Any, np.ndarray, int], Any]
    total: Callable[[Any, tuple[int, ...]], Any]
    diagonal: Callable[[Any, int, int], Any]
    norm: Callable[..., Any]
    norms: Callable[[Sequence[Any]], list[float]]
    eye: Callable[[int, Any], Any]
    like: Callable[[np.ndarray, Any], Any]
    zeros: Callable[[tuple[int, ...], Any], Any]
    broadcast: Callable[[Any, Any], Any]
    fused: Callable[[FusedStep, list[Any]], Any]
    left: Callable[[Any], tuple[Any, Any]]
    cast: Callable[[Any, str], Any]
    numpy: Callable[[Any], np.ndarray]
    tracked: Callable[[Any], bool]
    constant: Callable[[Any], Any] = _as_it_is
    unseen: Callable[[Sequence[Any]], bool] = _all_seen
    refused: Callable[[Any], str] = _no_reason
    unread: Callable[[Any], str] = _no_reason
    device: Callable[[Any], Any] = _one_device
    own: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    mixes: bool = False
    writes: bool = True
    methods: Mapping[str, str] = field(default_factory=dict)
    home: str = ""
    folds: bool = False
    key: int = field(default_factory=count().__next__, init=False)

    def __post_init__(self) -> None:
        text(self.name, "Backend: name")
        text(self.home, "Backend: home", empty=True)
        for place in fields(self):
            value = getattr(self, place.name)
            if place.type == "bool":
                flag(value, f"Backend: {place.name}")
            elif place.type.startswith("Callable"):
                _check_function(value, place.name)
        if not callable(getattr(self.xp, "zeros_like", None)):
            raise TypeError(f"Backend: xp is a namespace with zeros_like and what else numpy has, not {shown(self.xp)}")
        for name, value in a_mapping(self.own, "Backend", "own").items():
            text(name, "Backend: a name in own")
            _check_function(value, f"own[{name!r}]")
        for name, value in a_mapping(self.methods, "Backend", "methods").items():
            one_of(name, "Backend: a name in methods", _METHODS)
            text(value, f"Backend: methods[{name!r}]")

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        """By name: another process has its own."""
        if not self.home:
            raise TypeError(
                f"Backend {self.name!r} cannot be sent to another process: it has no home, as 'module:NAME'"
            )
        return found_at, (self.home,)

    def reshape(self, x: Any, *shape: int) -> Any:
        """``x`` in another shape; arrays of the standard have no such method."""
        return self.xp.reshape(x, shape)

    def beside(self, x: Any, p: int, q: int) -> Any:
        """``1_p (x) x (x) 1_q`` of a matrix."""
        x = x if p == 1 else self.kron(self.eye(p, x), x)
        return x if q == 1 else self.kron(x, self.eye(q, x))

    def kron(self, a: Any, b: Any) -> Any:
        """The Kronecker product of two matrices."""
        (n, m), (rows, columns) = a.shape, b.shape
        return self.reshape(a[:, None, :, None] * b[None, :, None, :], n * rows, m * columns)


def found_at(home: str) -> Any:
    """What a module calls by a name, ``"module:NAME"``; by ``"module:NAME:argument"``, what that makes of the argument."""
    module, name, *argument = home.split(":")
    found = getattr(import_module(module), name)
    return found(*argument) if argument else found
