"""How many axes an array can have: what no library can hold is refused when it is planned, not when it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tnkit.core.network import Network

if TYPE_CHECKING:
    from tnkit.planning.builder import StepBuilder

__all__ = ["MOST_AXES", "check_arrays_exist", "check_steps_exist"]

#: numpy has no array of more axes, and torch no operation on one (older numpy: 32).
MOST_AXES = 64


def check_arrays_exist(net: Network) -> None:
    """ValueError for a node or a result of more axes than an array has."""
    for leaf in net.leaves:
        if len(leaf.inds) > MOST_AXES:
            raise ValueError(f"plan: node {leaf.name!r} has {len(leaf.inds)} axes; an array has at most {MOST_AXES}")
    if len(net.output) > MOST_AXES:
        raise ValueError(
            f"plan: the result has {len(net.output)} axes; an array has at most {MOST_AXES}: tk.norm, tk.inner and tk.round work "
            "without it"
        )


def check_steps_exist(builder: StepBuilder) -> None:
    """ValueError for a step whose result has more axes than an array has, in the order that was found."""
    for k, made in enumerate(builder.made):
        if len(made.result) > MOST_AXES:
            raise ValueError(
                f"plan: step {k} makes a tensor of {len(made.result)} axes, with indices {' '.join(made.result[:6])} ...; an array has "
                f"at most {MOST_AXES}: give memory_limit=, which slices it, or another optimizer"
            )
