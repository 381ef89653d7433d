"""Einsum equations as text: the letters of the operands and of the output, as numpy and opt_einsum read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from string import ascii_letters
from typing import Any

from tnkit.core.checks import sequence, shown

__all__ = ["implicit", "interleaved", "is_letter", "symbol", "terms_of"]

_LETTERS = frozenset(ascii_letters)


def is_letter(c: str) -> bool:
    """Whether a character can stand for an index: an ASCII letter, or anything beyond ASCII but a blank."""
    # Beyond ASCII anything goes: get_symbol counts through code points such as the multiplication sign.
    return c in _LETTERS or (ord(c) > 127 and not c.isspace())


def symbol(k: int) -> str:
    """The letter number ``k``: a to z, A to Z, then characters beyond ASCII, as ``opt_einsum.get_symbol`` counts."""
    if k < 52:
        return ascii_letters[k]
    return chr(k + 140) if k < 55296 else chr(k + 2048)  # surrogates are no characters


def terms_of(equation: str, who: str, dots: bool = False) -> tuple[list[str], str | None]:
    """The letters of each operand, and those of the output; None where it is not written.

    >>> terms_of("ab, bc -> ac", "einsum")
    (['ab', 'bc'], 'ac')

    Parameters
    ----------
    dots
        Whether a term may have one ellipsis.

    Raises
    ------
    ValueError
        More than one arrow, a character that is no letter, points that are no ellipsis.
    """
    left, arrow, right = "".join(equation.split()).partition("->")
    if "->" in right:
        raise ValueError(f"{who}: {equation!r} has more than one '->'")
    terms = left.split(",")
    for term in (*terms, right):
        if term.isascii() and term.isalpha():
            continue
        if dots and "." in term:
            if term.count(".") != 3 or "..." not in term:
                raise ValueError(f"{who}: {equation!r}: {term!r} has points that are not one ellipsis '...'")
            term = term.replace("...", "")
        bad = next((c for c in term if not is_letter(c)), None)
        if bad is not None:
            raise ValueError(f"{who}: {equation!r}: {bad!r} is no letter")
    return terms, right if arrow else None


def implicit(terms: Iterable[str]) -> str:
    """The output of an equation that writes none: the letters that occur once, sorted."""
    letters = "".join(terms)
    return "".join(sorted(c for c in set(letters) if letters.count(c) == 1))


def interleaved(operands: Sequence[Any], who: str) -> tuple[str, tuple[Any, ...]]:
    """The equation and the arrays of ``(array, labels, array, labels, ..., output labels)``.

    ::

        interleaved((a, [0, 1], b, [1, 2], [0, 2]), "einsum")
        # ('ab,bc->ac', (a, b))

    Labels are numbers, texts or whatever sorts, and Ellipsis.

    Raises
    ------
    TypeError
        Labels that are no sequence, or that do not sort.
    ValueError
        An array without labels.
    """
    if len(operands) < 2:
        raise ValueError(
            f"{who} takes an equation and its operands, or operands each followed by its labels, not {shown(operands)}"
        )
    count = len(operands) // 2
    given = [*operands[1 : 2 * count : 2], *operands[2 * count :]]
    labels = [sequence(some, f"{who}: the labels of an operand") for some in given]
    try:
        known = sorted({i for some in labels for i in some if i is not Ellipsis})
    except TypeError:
        raise TypeError(f"{who}: labels are numbers or texts that sort, and Ellipsis, not {shown(given)}") from None
    letter = {i: symbol(k) for k, i in enumerate(known)}
    spelled = ["".join("..." if i is Ellipsis else letter[i] for i in some) for some in labels]
    right = f"->{spelled[-1]}" if len(operands) % 2 else ""
    return ",".join(spelled[:count]) + right, tuple(operands[: 2 * count : 2])
