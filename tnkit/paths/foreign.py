"""Optimisers and trees of other libraries: asked as they are, with the slices that they chose.

An object that searches is called itself, never a copy of it, so that what it remembers serves the next plan and can be asked
for afterwards (``optimizer.get_tree()``).  A contraction tree of cotengra is known by what it can do: ``get_path`` and
``sliced_inds``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from inspect import isclass, isroutine, signature
from operator import index
from typing import Any

from tnkit.core.checks import shown
from tnkit.paths.contraction_tree import linear_path

__all__ = ["RULE", "Path", "ask", "has_memory", "is_tree", "pairwise_path", "read_tree"]

Inds = tuple[str, ...]
Path = list[tuple[int, ...]]

#: What stands for an order.
RULE = "plan: optimizer is a name, a path, a contraction tree, or a function (inputs, output, sizes, memory_limit)"


def is_tree(value: Any) -> bool:
    """Whether a value is a contraction tree of cotengra."""
    return callable(getattr(value, "get_path", None)) and hasattr(value, "sliced_inds") and not isclass(value)


def has_memory(optimizer: Any) -> bool:
    """Whether an optimiser is an object, which may remember one contraction, and no function."""
    return not isroutine(optimizer) and not isinstance(optimizer, str)


def ask(
    optimizer: Callable[..., Any], inputs: Sequence[Inds], output: Inds, sizes: Mapping[str, int]
) -> tuple[Path, Inds]:
    """The pairwise path that an optimiser gives, and the indices that it slices.

    Raises
    ------
    TypeError
        What cannot be called with an inputs, an output and sizes; an answer that is no path.
    ValueError
        An optimiser that fails, that remembers another contraction, or whose path does not contract everything.
    """
    call = _call_of(optimizer)
    try:
        found = call([tuple(t) for t in inputs], tuple(output), dict(sizes))
    except Exception as error:  # whatever it is: its own words stay below ours
        hint = (
            "; it may remember another contraction: make a new one a network, or pass a function that makes one"
            if has_memory(optimizer)
            else ""
        )
        says = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        raise ValueError(f"plan: the optimizer {shown(optimizer)} failed ({says}){hint}") from error
    if is_tree(found):
        return read_tree(found, inputs, sizes, f"the optimizer {shown(optimizer)}")
    return pairwise_path(_positions(found), len(inputs), "the optimizer's path"), ()


def _call_of(optimizer: Callable[..., Any]) -> Callable[..., Any]:
    """How an optimiser is asked: cotengra's ``search``, which gives a tree and its slices, or a call with or without a limit."""
    if isclass(optimizer):
        raise TypeError(f"{RULE}, not the class {optimizer.__name__}: make an optimizer of it")
    search = getattr(optimizer, "search", None)
    if callable(search) and _takes(search, 3):
        return search  # type: ignore[no-any-return]
    if _takes(optimizer, 4):
        return lambda *asked: optimizer(*asked, None)
    if not _takes(optimizer, 3):
        raise TypeError(f"{RULE}, not {shown(optimizer)}")
    return optimizer


def _takes(function: Callable[..., Any], count: int) -> bool:
    try:
        signature(function).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # compiled: no signature to be read
        return True
    return True


def _positions(found: Any) -> Path:
    try:
        return [tuple(index(k) for k in step) for step in found]
    except TypeError:
        raise TypeError(f"the optimizer gave {shown(found)}, which is no list of tuples of positions") from None


def read_tree(tree: Any, inputs: Sequence[Inds], sizes: Mapping[str, int], what: str) -> tuple[Path, Inds]:
    """The path of a contraction tree over the same tensors, and the indices that it slices by the network's names.

    Its own names of the indices may be others: they are told by their places.
    """
    if "Compressed" in type(tree).__name__:
        raise ValueError(f"plan: {what} is of a compressed contraction, which is approximate; plans are exact")
    terms = [tuple(t) for t in tree.inputs]
    if [len(t) for t in terms] != [len(t) for t in inputs]:
        raise ValueError(
            f"plan: {what} is of another network: its tensors have {_counts(terms)} axes, the network's {_counts(inputs)}"
        )
    names: dict[Any, str] = {}
    for k, (theirs, ours) in enumerate(zip(terms, inputs, strict=True)):
        for a, b in zip(theirs, ours, strict=True):
            if names.setdefault(a, b) != b or tree.size_dict[a] != sizes[b]:
                raise ValueError(
                    f"plan: {what} is of another network: its index {a!r} does not fit {b!r} of tensor {k}"
                )
    if len(set(names.values())) != len(names):
        raise ValueError(f"plan: {what} is of another network: two of its indices are one here")
    for i, slice_ in tree.sliced_inds.items():
        if getattr(slice_, "project", None) is not None:
            raise ValueError(
                f"plan: {what} fixes index {names[i]!r} at one value; sum over it, or take it from the network"
            )
    path = pairwise_path([tuple(map(int, step)) for step in tree.get_path()], len(terms), what)
    return path, tuple(names[i] for i in tree.sliced_inds)


def _counts(terms: Sequence[Sequence[Any]]) -> str:
    counts = ", ".join(str(len(t)) for t in terms[:8])
    return counts + (f", ... ({len(terms)} tensors)" if len(terms) > 8 else "")


def pairwise_path(path: Iterable[Sequence[int]], n: int, what: str, whole: bool = False) -> Path:
    """The path with every step a pair: single-term steps dropped, larger ones folded, the rest joined at the end.

    With ``whole``, a path that leaves a rest is refused.
    """
    path = list(path)
    if len(path) == n - 1 and all(
        [len(s) == 2 and s[0] != s[1] and min(s) > -1 and max(s) < n - k for k, s in enumerate(path)]
    ):
        return [(int(min(step)), int(max(step))) for step in path]  # as nearly all are
    live, steps = list(range(n)), []  # which tensor stands at each position

    def merge(a: int, b: int) -> int:
        steps.append((a, b))
        return n + len(steps) - 1

    for count, step in enumerate(path):
        if any(not 0 <= k < len(live) for k in step):
            raise ValueError(
                f"{what} has step {tuple(step)} where only {len(live)} terms are left (step {count} of the path)"
            )
        if len(set(step)) != len(step):
            raise ValueError(f"{what} has step {tuple(step)}, which names a term twice (step {count} of the path)")
        terms = [live.pop(k) for k in sorted(step, reverse=True)]
        live += [reduce(merge, terms)] if terms else []
    if whole and len(live) > 1:
        raise ValueError(f"{what} ends with {len(live)} of {n} terms left; its last step leaves one")
    if live:
        reduce(merge, live)
    return linear_path(steps, n)
