"""Keywords that other libraries, or other functions here, spell otherwise, refused with the word that is meant."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

__all__ = ["keywords_of"]

P = ParamSpec("P")
R = TypeVar("R")


def keywords_of(**theirs: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A function that says what a keyword of another library, or of another function, is called here.

    >>> tk.plan(tk.tt((2, 3), 2), optimize="greedy")
    Traceback (most recent call last):
        ...
    TypeError: plan: the keyword is optimizer=, not optimize=
    """

    def decorated(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def checked(*args: P.args, **named: P.kwargs) -> R:
            if named:
                for wrong, right in theirs.items():
                    if wrong in named:
                        who = type(args[0]).__name__ if function.__name__ == "__init__" else function.__name__
                        raise TypeError(f"{who}: the keyword is {right}=, not {wrong}=")
            return function(*args, **named)

        return checked

    return decorated
