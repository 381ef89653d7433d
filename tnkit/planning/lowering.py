"""How one contraction becomes permute, reshape and matmul: a step (:mod:`tnkit.planning.steps`) of numbers alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import prod

from tnkit.core.equation import symbol
from tnkit.planning.steps import ContractStep, ReduceStep
from tnkit.planning.strides import LEAST_COLUMNS, WIDENED, WIDEST, View

__all__ = ["lower_pair", "lower_single"]

Inds = tuple[str, ...]

#: Above this many axes, those of size 1 are dropped on the way (numpy and torch stop at 64, older numpy at 32).
_MANY_AXES = 30


def _equation(terms: Sequence[Inds], output: Inds) -> str:
    letters: dict[str, str] = {}
    for term in terms:
        for i in term:
            if i not in letters:
                letters[i] = symbol(len(letters))
    spelled = ["".join([letters[i] for i in term]) for term in terms]
    return (
        f"{','.join(spelled)}->{''.join([letters[i] for i in output if i in letters])}"  # an axis of size 1 may be new
    )


def _entries(inds: Iterable[str], sizes: Mapping[str, int]) -> int:
    return prod(map(sizes.__getitem__, inds))


def _permutation(source: Inds, target: Inds) -> tuple[int, ...] | None:
    return None if source == target else tuple([source.index(i) for i in target])


def lower_single(
    inds: Inds, keep: Sequence[str], sizes: Mapping[str, int], operand: int, target: int
) -> tuple[ReduceStep, Inds]:
    """Take traces of ``inds`` and sum what is not in ``keep``; the axes come out in the order of ``keep``."""
    left, diagonals = list(inds), []
    for i in dict.fromkeys(inds):
        while left.count(i) > 1:
            a = left.index(i)
            b = left.index(i, a + 1)
            diagonals.append((a, b))
            del left[b], left[a]
            left.append(i)  # diagonal() puts the shared axis last, in numpy and torch
    out = tuple(i for i in keep if i in left)
    axes = tuple(k for k, i in enumerate(left) if i not in out)
    rest = tuple(i for i in left if i in out)
    elements = _entries(left, sizes)
    step = ReduceStep(
        operand, target, _equation([inds], out), tuple(diagonals), axes, _permutation(rest, out),
        flops=elements if axes else 0, read=_entries(inds, sizes), size=_entries(out, sizes), inds=(inds, out),
    )  # fmt: skip
    return step, out


def _extent(inds: Sequence[str], sizes: Mapping[str, int], dynamic: str | None) -> int:
    return -1 if dynamic in inds else prod([sizes[i] for i in inds])


def _matrix_view(
    inds: Inds, batch: Inds, rows: Inds, cols: Inds, sizes: Mapping[str, int], dynamic: str | None, vector: bool = False
) -> View:
    """Bring ``inds`` to ``(batch, rows, cols)``, or to a ``vector``, reading them in place where their order allows it."""
    if vector:
        order = (*rows, *cols)
        return View(_permutation(inds, order), None if len(order) == 1 else (_extent(order, sizes, dynamic),))
    want = (*batch, *rows, *cols)
    swap = inds != want and bool(rows) and bool(cols) and inds == (*batch, *cols, *rows)
    permute = None if swap else _permutation(inds, want)
    if len(rows) == len(cols) == 1 and len(batch) < 2:  # each group one axis already: no reshape
        return View(permute, None, swap)
    lead = (_extent(batch, sizes, dynamic),) if batch else ()
    r, c = _extent(rows, sizes, dynamic), _extent(cols, sizes, dynamic)
    return View(permute, (*lead, c, r) if swap else (*lead, r, c), swap)


def _middle(large: Inds, small: Inds, kept: frozenset[str], sizes: Mapping[str, int], dynamic: str | None) -> Inds:
    """The contracted indices of ``large`` where they can be read in place as the rows of a batch of matrices, else ()."""
    common = [i for i in large if i in small]
    if not common or any(i in kept for i in common):
        return ()
    first = large.index(common[0])
    after = large[first + len(common) :]
    if first == 0 or not after or large[first : first + len(common)] != tuple(common) or dynamic in after:
        return ()
    before = _entries(large[:first], sizes)
    return tuple(common) if before > 1 and _entries(after, sizes) >= LEAST_COLUMNS else ()


def _ranked(free: Inds, own: Inds, other: Inds, sizes: Mapping[str, int], rank: Mapping[str, float]) -> Inds:
    """Free indices of ``own`` where they belong, if sorting them copies little beside what the product reads."""
    little = 4 * _entries(own, sizes) <= _entries({*own, *other}, sizes)
    return tuple(sorted(free, key=lambda i: rank[i])) if little and all(i in rank for i in free) else free


def _mean(inds: Inds, rank: Mapping[str, float]) -> float:
    return sum(rank.get(i, 0.5) for i in inds) / len(inds) if inds else 0.5


def _broadcast_step(
    large: Inds, small: Inds, k: Inds, sizes: Mapping[str, int], slots: tuple[int, int], target: int,
    dynamic: str | None, order: Inds | None, rank: Mapping[str, float],
) -> tuple[ContractStep, Inds]:  # fmt: skip
    """One small matrix times a batch of matrices inside the large tensor, which is neither permuted nor copied."""
    at = large.index(k[0])
    f, g = large[:at], large[at + len(k) :]
    n = tuple(
        sorted((i for i in small if i not in k), key=lambda i: rank.get(i, 0.0) if order is None else order.index(i))
    )
    natural = (*f, *n, *g)
    out = natural if order is None else order
    shape = tuple(-1 if i == dynamic else sizes[i] for i in natural)
    rows = View(None, (_extent(f, sizes, dynamic), _extent(k, sizes, None), _extent(g, sizes, None)))
    step = ContractStep(
        slots, target, _equation([small, large], out), (_matrix_view(small, (), n, k, sizes, dynamic), rows), False,
        View(reshape=shape, permute=_permutation(natural, out)),
        flops=2 * _entries({*small, *large}, sizes),
        read=_entries(small, sizes) + _entries(large, sizes),
        size=_entries(out, sizes), broadcast=True, inds=(small, large, out),
    )  # fmt: skip
    return step, out


def _kronecker_step(
    large: Inds, small: Inds, kept: frozenset[str], sizes: Mapping[str, int], slots: tuple[int, int], target: int,
    order: Inds | None, rank: Mapping[str, float],
) -> tuple[ContractStep, Inds] | None:  # fmt: skip
    """One product with the small matrix spread over neighbours, up to one end of the large tensor.

    So axes at one end are brought to the other without a copy, if ``order`` wants that, or a few columns stay where they are.
    """
    k = tuple(i for i in large if i in small)
    at = large.index(k[0]) if k else 0
    after, new = large[at + len(k) :], [i for i in small if i not in k]
    if not k or kept.intersection(k) or not new or large[at : at + len(k)] != k:
        return None
    n = tuple(sorted(new, key=lambda i: rank.get(i, 0.0) if order is None else order.index(i)))
    natural = (*large[:at], *n, *after)
    p: Inds
    q: Inds
    rest: Inds
    turns = [j for j in range(1, len(natural)) if (*natural[j:], *natural[:j]) == order and not at < j < at + len(n)]
    if order in (None, natural) and after and at and _entries(after, sizes) < LEAST_COLUMNS:
        way, p, q, rest, order = "stays", (), after, large[:at], natural
    elif turns and turns[0] > at:
        way, p, q, rest = "to the end", large[:at], natural[at + len(n) : turns[0]], natural[turns[0] :]
    elif turns:
        way, p, q, rest = "to the front", natural[turns[0] : at], after, natural[: turns[0]]
    else:
        return None
    beside = (_entries(p, sizes), _entries(q, sizes))
    rows, cols, m = (_entries(t, sizes) for t in (n, k, rest))
    if prod(beside) * max(rows, cols) > WIDEST or prod(beside) * cols * m < WIDENED or order is None:
        return None
    ahead, wide = way == "to the front", prod(beside) * cols  # the small matrix comes first
    one = replace(_matrix_view(small, (), *((n, k) if ahead else (k, n)), sizes, None), beside=beside)
    other = View(None, (wide, m) if way == "to the end" else (m, wide), way != "stays")
    step = ContractStep(
        slots if ahead else slots[::-1], target, _equation([small, large] if ahead else [large, small], order),
        (one, other) if ahead else (other, one), False, View(reshape=tuple(sizes[i] for i in order)),
        flops=2 * prod(beside) * rows * wide * m, read=rows * cols + wide * m, size=prod(beside) * rows * m,
        inds=(small, large, order) if ahead else (large, small, order),
    )  # fmt: skip
    return step, order


def lower_pair(
    left: Inds, right: Inds, keep: Iterable[str], sizes: Mapping[str, int], operands: tuple[int, int], target: int,
    dynamic: str | None = None, order: Inds | None = None, rank: Mapping[str, float] | None = None,
) -> tuple[ContractStep, Inds]:  # fmt: skip
    """Contract two tensors without traces, keeping the indices in ``keep``.

    ``order``: the axes' order wanted of the result (the last step of a network); else the cheapest, and among the cheap
    ones that of ``rank``, the place where each index belongs.
    """
    kept, rank = keep if isinstance(keep, frozenset) else frozenset(keep), rank or {}
    entries = _entries(left, sizes), _entries(right, sizes)
    ahead = entries[0] <= entries[1]
    small, large = (left, right) if ahead else (right, left)
    if max(entries) >= 2 * LEAST_COLUMNS:  # else neither of the two ways beside suits
        slots = operands if ahead else operands[::-1]
        # an axis of size 1 that an operand alone has and nobody wants is dropped below; the two ways beside would keep it
        loose = any([i not in kept or (order is not None and i not in order) for i in {*left} ^ {*right}])
        wide = (
            _kronecker_step(large, small, kept, sizes, slots, target, order, rank)
            if dynamic is None and not loose and max(entries) >= WIDENED
            else None
        )
        if wide is not None:
            return wide
        inside = () if loose else _middle(large, small, kept, sizes, dynamic)
        every = {*small, *large}
        if inside and (len(every) <= _MANY_AXES or all([sizes[i] > 1 for i in every])):
            return _broadcast_step(large, small, inside, sizes, slots, target, dynamic, order, rank)
    return _matrix_step(left, right, entries, kept, sizes, operands, target, dynamic, order, rank)


def _few_columns(m: Inds, n: Inds, sizes: Mapping[str, int]) -> bool:
    """Whether one side of a product is so narrow that it comes first: of a batch, a few columns take torch 3 to 6 times a few rows."""
    few, many = sorted((_entries(m, sizes), _entries(n, sizes)))
    return few < LEAST_COLUMNS <= many


def _matrix_step(
    left: Inds, right: Inds, entries: tuple[int, int], kept: frozenset[str], sizes: Mapping[str, int], operands: tuple[int, int],
    target: int, dynamic: str | None, order: Inds | None, rank: Mapping[str, float],
) -> tuple[ContractStep, Inds]:  # fmt: skip
    """One product of two matrices, or of two batches of them."""
    m = tuple([i for i in left if i not in right])
    n = tuple([i for i in right if i not in left])
    if rank:
        m, n = _ranked(m, left, right, sizes, rank), _ranked(n, right, left, sizes, rank)
    if not m or not n:  # a matrix times a vector, never the other way round, which torch does at half the speed
        wanted = not m and bool(n)
    elif order is not None:
        wanted = (*(i for i in left if i in right and i in kept), *n, *m) == order
    else:
        wanted = _mean(n, rank) < _mean(m, rank)
    if _few_columns(m, n, sizes) and any([i in kept for i in left if i in right]):
        wanted = _entries(n, sizes) < _entries(m, sizes)
    larger = left if entries[0] >= entries[1] else right
    if wanted:
        left, right, m, n, operands = right, left, n, m, (operands[1], operands[0])
        larger = left if entries[1] >= entries[0] else right
    common = [i for i in larger if i in left and i in right]
    k = tuple([i for i in common if i not in kept])
    batch = tuple([i for i in common if i in kept])
    vector = not n and bool(k) and bool(m) and not batch
    views = (
        _matrix_view(left, batch, m, k, sizes, dynamic),
        _matrix_view(right, batch, k, n, sizes, dynamic, vector),
    )
    natural = every = (*batch, *m, *n)
    if not kept.issuperset(every):
        natural = tuple([i for i in natural if i in kept])
    if len(natural) > _MANY_AXES:
        natural = tuple(i for i in natural if sizes[i] > 1 or i == dynamic)
    if order is not None and len(natural) < len(order):  # axes of size 1 that were dropped come back, at no cost
        natural = (*(i for i in order if i not in natural), *natural)
    out = natural if order is None else order
    flat = (1 if batch else 0) + 2 - vector
    whole = len(m) == 1 and len(n) == 1 - vector and len(natural) == flat and natural == every
    shape = None if whole else tuple([-1 if i == dynamic else sizes[i] for i in natural])
    space = prod([sizes[i] for i in every]) * prod([sizes[i] for i in k])
    step = ContractStep(
        operands, target, _equation([left, right], out), views, not k,
        View(reshape=shape, permute=_permutation(natural, out)),
        flops=space * (2 if k else 1), read=entries[0] + entries[1], size=_entries(out, sizes),
        inds=(left, right, out),
    )  # fmt: skip
    return step, out
