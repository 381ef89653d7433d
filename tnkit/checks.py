"""What a network is refused for: sizes, names, tied arrays and summed indices that contradict each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import index
from typing import TYPE_CHECKING, Any

from tnkit.node import Node, Sizes

if TYPE_CHECKING:
    from tnkit.network import AnyNode, Network

__all__ = ["all_indices", "check_names", "check_summed", "check_tied", "checked_sizes", "whole"]


def whole(x: Any, what: str) -> int:
    """``x`` as an int; TypeError where it is no whole number (2.5 is not cut to 2)."""
    try:
        return index(x)
    except TypeError:
        raise TypeError(f"{what} is a whole number, not {x!r}") from None


def checked_sizes(nodes: tuple[AnyNode, ...], output: tuple[str, ...], given: Mapping[str, int]) -> Sizes:
    """Sizes of the indices at this level, each known, positive and agreed."""
    if not nodes:
        raise ValueError("a network has at least one node")
    sizes: dict[str, int] = {}
    known = dict(given)  # and what the Elementwise nodes know
    for node in nodes:
        if not isinstance(node, Node):
            known = {i: node.bodies[0].sizes[i] for i in node.inds} | known
    for node in nodes:
        inner = known if isinstance(node, Node) else node.bodies[0].sizes
        for i in node.inds:
            if i not in inner:
                raise ValueError(f"node {node.name!r}: index {i!r} has no size")
            if given.get(i, inner[i]) != inner[i] or sizes.get(i, inner[i]) != inner[i]:
                raise ValueError(
                    f"node {node.name!r}: index {i!r} has size {inner[i]} here and {given.get(i, sizes.get(i))} elsewhere"
                )
            sizes[i] = inner[i]
        for body in () if isinstance(node, Node) else node.bodies:
            for i in node.inds:
                if body.sizes[i] != sizes[i]:
                    raise ValueError(
                        f"node {node.name!r}: index {i!r} has size {sizes[i]} and {body.sizes[i]} in its bodies"
                    )
    for i, size in sizes.items():
        if not hasattr(size, "__index__") or size.__index__() < 1:
            raise ValueError(f"index {i!r} has size {size!r}; a size is a whole number from 1 up")
    for i in output:
        if i not in sizes:
            raise ValueError(f"output index {i!r} is on no node")
    if len(set(output)) != len(output):
        raise ValueError(f"output {output} names an index twice; use a Node with fixed='delta' to repeat one")
    unused = sorted(set(given) - set(sizes))
    if unused:
        raise ValueError(f"sizes: index {unused[0]!r} is on no node")
    return Sizes({i: int(s) for i, s in sizes.items()})


def _all_names(net: Network) -> Iterator[str]:
    for node in net.nodes:
        yield node.name
        if not isinstance(node, Node):
            for body in node.bodies:
                yield from _all_names(body)


def _elementwise_names(net: Network) -> Iterator[str]:
    for node in net.nodes:
        if not isinstance(node, Node):
            yield node.name
            for body in node.bodies:
                yield from _elementwise_names(body)


def check_names(net: Network) -> None:
    """No two nodes of one name, at any depth."""
    seen: set[str] = set()
    for name in _all_names(net):
        if name in seen:
            raise ValueError(
                f"two nodes are called {name!r}; node names are unique, tie arrays with Node(..., array=...)"
            )
        seen.add(name)


def check_tied(net: Network) -> None:
    """Nodes that share an array have one shape, and are fixed alike."""
    first: dict[str, tuple[Node, tuple[int, ...]]] = {}
    for leaf, owner in net._walk():
        shape = tuple(owner.sizes[i] for i in leaf.inds)
        other, expected = first.setdefault(leaf.array, (leaf, shape))
        if shape != expected:
            raise ValueError(
                f"nodes {other.name!r} and {leaf.name!r} share array {leaf.array!r} but have shapes {expected} and {shape}"
            )
        if other.fixed != leaf.fixed:
            raise ValueError(
                f"nodes {other.name!r} and {leaf.name!r} share array {leaf.array!r} but fixed={other.fixed!r} and {leaf.fixed!r}"
            )
    for name in _elementwise_names(net):
        if name in first:
            raise ValueError(f"elementwise node {name!r} has the name of node {first[name][0].name!r}'s array")


def all_indices(net: Network) -> set[str]:
    """Indices at every depth."""
    inner: set[str] = set(net.sizes)
    for node in net.nodes:
        if not isinstance(node, Node):
            for body in node.bodies:
                inner |= all_indices(body)
    return inner


def check_summed(net: Network) -> None:
    """An index summed inside one body is used nowhere else: names are global to a nested network."""
    owner: dict[str, str] = {}
    for node in net.nodes:
        if not isinstance(node, Node):
            for body in node.bodies:
                for i in all_indices(body) - set(body.output):
                    if i in net.sizes or i in owner:
                        where = f"inside {owner[i]!r}" if i in owner else f"on node {net.edges[i][0]!r}"
                        where = "in another body of it" if owner.get(i) == node.name else where
                        raise ValueError(
                            f"index {i!r} is summed inside elementwise node {node.name!r} and used outside it, {where}"
                        )
                    owner[i] = node.name
