"""Networks as JSON text, and back.

Version 1 nests: a body stands inside its node.  Parsers of JSON end near a few hundred levels, so a deeper network is
written as version 2: a list of networks, each before the one that it is a body of, the whole one last.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tnkit.core import nested
from tnkit.core.checks import a_network, shown
from tnkit.core.network import AnyNode, Elementwise, Network, folded
from tnkit.core.node import Node

__all__ = ["from_json", "strings", "to_json"]

FORMAT = "tnkit.network"
NESTED, FLAT = 1, 2
#: Levels that are written nested.
_MOST_NESTED = 20

Json = dict[str, Any]


# -- writing --------------------------------------------------------------------------------------------------------
def to_json(net: Network) -> str:
    """Write a network as JSON text, which :func:`from_json` reads back to an equal one.

    >>> net = tk.tree((2,) * 4, 2, activation="tanh")
    >>> text = tk.to_json(net)
    >>> type(text).__name__, tk.from_json(text) == net
    ('str', True)

    Raises
    ------
    TypeError
        No Network.
    ValueError
        An Elementwise node whose ``fn`` is a function of its own: only names of :data:`tnkit.ACTIVATIONS` are text.
    """
    a_network(net, "to_json")
    depth = folded(net, lambda _, bodies: 1 + max(bodies, default=0))
    if depth <= _MOST_NESTED:
        return _dumped(NESTED, folded(net, lambda part, bodies: _table(part, iter(bodies))))
    tables: list[Json] = []

    def listed(part: Network, bodies: list[int]) -> int:
        tables.append(_table(part, iter(bodies)))
        return len(tables) - 1

    folded(net, listed)
    return _dumped(FLAT, {"networks": tables})


def _dumped(version: int, content: Json) -> str:
    return json.dumps({"format": FORMAT, "version": version, **content}, indent=1)


def _table(net: Network, bodies: Iterator[Any]) -> Json:
    """A network, with what stands for its bodies."""
    return {"nodes": [_written(n, bodies) for n in net.nodes], "output": list(net.output), "sizes": dict(net.sizes)}


def _written(node: AnyNode, bodies: Iterator[Any]) -> Json:
    if isinstance(node, Node):
        return {"node": node.name, "inds": list(node.inds), "array": node.array, "fixed": node.fixed}
    if not isinstance(node.fn, str):
        raise ValueError(
            f"to_json: elementwise node {node.name!r} has fn={shown(node.fn)}; only names of ACTIVATIONS are written"
        )
    return {"elementwise": node.name, "fn": node.fn, "bodies": [next(bodies) for _ in node.bodies]}


# -- reading --------------------------------------------------------------------------------------------------------
def from_json(text: str) -> Network:
    """Read a network from the text that :func:`to_json` wrote.

    >>> text = tk.to_json(tk.tt((2, 3), 2))
    >>> tk.from_json(text) == tk.tt((2, 3), 2)
    True
    >>> tk.from_json("{}")
    Traceback (most recent call last):
        ...
    ValueError: from_json: format is None, not 'tnkit.network'

    Raises
    ------
    TypeError
        No string.
    ValueError
        No JSON, another format or a newer version, or a value that is no network's; the message says which and where,
        as in ``nodes[2].bodies[0].output``.
    """
    if not isinstance(text, str):
        raise TypeError(f"from_json: the text is a string, not {shown(text)}")
    try:
        data = json.loads(text)
    except RecursionError:
        raise ValueError("from_json: nested too deep") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"from_json: not JSON: {error}") from None
    except ValueError:  # of more digits than Python reads
        raise ValueError("from_json: a number of thousands of digits; a size is at most 10**300") from None
    _expect(data, dict, "the document")
    if data.get("format") != FORMAT:
        raise ValueError(f"from_json: format is {shown(data.get('format'))}, not {FORMAT!r}")
    version = data.get("version")
    if type(version) is not int or version not in (NESTED, FLAT):  # true and 1.0 are equal to 1, and are none
        raise ValueError(f"from_json: version is {shown(version)}; this tnkit reads versions {NESTED} and {FLAT}")
    return _read_nested(data) if version == NESTED else _read_flat(_get(data, "networks", list, ""))


def _read_nested(data: Json) -> Network:
    """Version 1."""

    def read(part: tuple[Json, str], bodies: list[Network]) -> Network:
        return _network(*part, iter(bodies))

    return nested.fold_upward((data, ""), _bodies, read)


def _bodies(part: tuple[Json, str]) -> list[tuple[Json, str]]:
    """The tables inside a table, each with where it stands: a dotted path that ends in a dot, or nothing."""
    table, where = part
    found = []
    for k, node in enumerate(_get(table, "nodes", list, where)):
        at = f"{where}nodes[{k}]."
        if "bodies" in _expect(node, dict, at[:-1]) and "elementwise" in node:
            found += [
                (_expect(body, dict, f"{at}bodies[{j}]"), f"{at}bodies[{j}].")
                for j, body in enumerate(_get(node, "bodies", list, at))
            ]
    return found


def _read_flat(tables: list[Any]) -> Network:
    """Version 2."""
    made: dict[int, Network] = {}  # those that no other one has as a body yet
    for k, table in enumerate(tables):
        where = f"networks[{k}]."
        _expect(table, dict, where[:-1])
        places = []
        for j, node in enumerate(_get(table, "nodes", list, where)):
            at = f"{where}nodes[{j}]."
            if "elementwise" in _expect(node, dict, at[:-1]):
                places += [(_expect(p, int, f"{at}bodies"), at) for p in _get(node, "bodies", list, at)]
        for place, at in places:
            if place not in made:
                raise ValueError(f"from_json: {at}bodies has {place!r}, which is no network before it that is free")
        made[k] = _network(table, where, iter([made.pop(place) for place, _ in places]))
    if len(made) != 1:
        raise ValueError(f"from_json: {len(made)} of the networks are no other one's body, where one is the whole")
    return made.popitem()[1]


def _network(data: Json, where: str, bodies: Iterator[Network]) -> Network:
    nodes = _get(data, "nodes", list, where)
    output = strings(_get(data, "output", list, where), f"{where}output")
    sizes = _get(data, "sizes", dict, where)
    for i, size in sizes.items():
        # bool is an int to Python, and true is no size.
        if type(size) is not int:
            raise ValueError(f"from_json: {where}sizes[{i!r}] is {shown(size)}, not a whole number")
    values = [_node(node, f"{where}nodes[{k}].", bodies) for k, node in enumerate(nodes)]
    try:
        return Network(values, output, sizes)
    except (TypeError, ValueError) as error:
        raise ValueError(f"from_json: {where[:-1] or 'the network'}: {error}") from None


def _node(data: Json, where: str, bodies: Iterator[Network]) -> AnyNode:
    _expect(data, dict, where[:-1])
    if ("node" in data) == ("elementwise" in data):
        raise ValueError(f"from_json: {where[:-1]} needs one of 'node' and 'elementwise', the node's name")
    if "node" in data:
        fields = (
            strings(_get(data, "inds", list, where), f"{where}inds"),
            _get(data, "array", str, where),
            _get(data, "fixed", (bool, str), where),
        )
    else:
        name, fn = _get(data, "elementwise", str, where), _get(data, "fn", str, where)
        inner = [next(bodies) for _ in _get(data, "bodies", list, where)]
    try:
        return Node(data["node"], *fields) if "node" in data else Elementwise(name, fn, inner)
    except (TypeError, ValueError) as error:
        raise ValueError(f"from_json: {where[:-1]}: {error}") from None


def _expect(value: Any, kind: type | tuple[type, ...], where: str) -> Any:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if type(value) not in kinds:  # as JSON makes them: no subclasses, and true is no whole number
        raise ValueError(f"from_json: {where} is {shown(value)}, not {' or '.join(k.__name__ for k in kinds)}")
    return value


def _get(data: Json, key: str, kind: type | tuple[type, ...], where: str) -> Any:
    if key not in data:
        raise ValueError(f"from_json: {where}{key} is missing")
    return _expect(data[key], kind, f"{where}{key}")


def strings(values: list[Any], where: str) -> tuple[str, ...]:
    """Values that are all strings."""
    return tuple(_expect(value, str, f"{where}[{k}]") for k, value in enumerate(values))
