"""Which output index of one network belongs to which of another: by name, or by position."""

from __future__ import annotations

from dataclasses import replace

from tnkit.core.checks import a_network
from tnkit.core.network import Network

__all__ = ["matched"]


def matched(a: Network, b: Network, what: str) -> Network:
    """``b`` with its output in the order of ``a``'s.

    Where both outputs have the same names, whatever their order, indices are matched by name; where they have no name in common,
    by position.

    Raises
    ------
    TypeError
        No networks.
    ValueError
        Names of which some are common, so that either way could be meant; outputs of different lengths or sizes.
    """
    for net in (a, b):
        a_network(net, what)
    if len(a.output) != len(b.output):
        raise ValueError(
            f"{what}: outputs {a.output} of shape {a.shape} and {b.output} of shape {b.shape} do not match"
        )
    common = set(a.output) & set(b.output)
    if common == set(a.output):
        b = b if a.output == b.output else replace(b, output=a.output)
    elif common:
        here, there = (next(i for i in net.output if i not in common) for net in (a, b))
        raise ValueError(
            f"{what}: output index {next(i for i in a.output if i in common)!r} is in both networks, but {here!r} and {there!r} "
            "are not; give both the same names (matched by name) or none in common (matched by position)"
        )
    for i, j in zip(a.output, b.output, strict=True):
        if a.sizes[i] != b.sizes[j]:
            raise ValueError(
                f"{what}: output index {i!r} has size {a.sizes[i]}, but {j!r} at its place has {b.sizes[j]}"
            )
    return b
