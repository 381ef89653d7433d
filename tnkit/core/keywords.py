"""Keywords that other libraries, or other functions here, spell otherwise, refused with the word that is meant."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

__all__ = ["keywords_of"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def keywords_of(**theirs: str) -> Callable[[_Function], _Function]:
    """A function that says what a keyword of another library, or of another function, is called here.

    >>> tk.plan(tk.tt((2, 3), 2), optimize="greedy")
    Traceback (most recent call last):
        ...
    TypeError: plan: the keyword is optimizer=, not optimize=
    """

    def decorated(function: _Function) -> _Function:
        @wraps(function)
        def checked(*args: Any, **named: Any) -> Any:
            if named:
                for wrong, right in theirs.items():
                    if wrong in named:
                        who = type(args[0]).__name__ if function.__name__ == "__init__" else function.__name__
                        raise TypeError(f"{who}: the keyword is {right}=, not {wrong}=")
            return function(*args, **named)

        return cast(_Function, checked)

    return decorated
