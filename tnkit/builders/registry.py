"""The builders by name: the line ``@builder(...)`` above a function makes it public, drawn, tested and comparable."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from tnkit.core.network import Network

__all__ = ["BUILDERS", "EXAMPLES", "PARAMETERS", "builder"]

_Build = TypeVar("_Build", bound=Callable[..., Network])

BUILDERS: dict[str, Callable[..., Network]] = {}
"""The builders by name: name -> function that returns a :class:`Network`.  Each is ``tk.NAME`` too.

>>> "mera" in tk.BUILDERS, tk.BUILDERS["tt"] is tk.tt
(True, True)
>>> tk.BUILDERS["tt"]((4, 4, 4), 2).num_params  # 4*2 + 2*4*2 + 2*4
32
"""
EXAMPLES: dict[str, Mapping[str, Any]] = {}
"""Arguments to try, by builder: name -> arguments by name.  The tests build, draw and contract these networks.

>>> tk.EXAMPLES["cp"]
{'shape': (4, 5, 6, 2), 'rank': 3}
>>> net = tk.cp(**tk.EXAMPLES["cp"])
>>> len(tk.EXAMPLES) == len(tk.BUILDERS)
True
"""
#: Name -> the number of parameters as a formula of the same arguments; it shares no code with the builder.
PARAMETERS: dict[str, Callable[..., int]] = {}


def builder(parameters: Callable[..., int], name: str = "", **example: Any) -> Callable[[_Build], _Build]:
    """Register a builder.

    ::

        @builder(lambda shape, rank: rank * sum(shape), shape=(4, 5), rank=2)
        def cp(shape, rank): ...

    Parameters
    ----------
    parameters
        The count as a formula of the builder's arguments.
    name
        By default the function's own; another one registers the same function twice.
    example
        Arguments to try, by name.

    Returns
    -------
    function
        A decorator that returns the function as it is.  The name joins the module's ``__all__``, and so ``tnkit.NAME``.
    """

    def registered(build: _Build) -> _Build:
        known = name or build.__name__
        BUILDERS[known], EXAMPLES[known], PARAMETERS[known] = build, example, parameters
        vars(sys.modules[build.__module__]).setdefault("__all__", []).append(known)
        return build

    return registered
