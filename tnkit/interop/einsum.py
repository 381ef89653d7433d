"""Networks from arrays, and from and to einsum equations; arrays are passed on as they are, never copied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import count
from string import ascii_uppercase
from typing import Any

from tnkit.core.checks import a_mapping, a_network, sequence, shown, text
from tnkit.core.consistency import LARGEST
from tnkit.core.editing import trusted
from tnkit.core.equation import implicit, is_letter, symbol, terms_of
from tnkit.core.network import Network
from tnkit.core.node import Node, Sizes, plain_node
from tnkit.core.numbers import whole_number
from tnkit.core.structure import check_multilinear
from tnkit.core.wording import plural

__all__ = ["from_arrays", "from_einsum", "to_einsum"]


# -- arrays and einsum ----------------------------------------------------------------------------------------------
def from_arrays(
    arrays: Mapping[str, tuple[Any, Iterable[str]]], output: Iterable[str]
) -> tuple[Network, dict[str, Any]]:
    """A network of given arrays, the sizes read from them.

    >>> a, b = np.ones((2, 4)), np.ones((4, 3))
    >>> net, arrays = tk.from_arrays({"A": (a, "ir"), "B": (b, "rj")}, "ij")
    >>> net.sizes, float(tk.contract(net, arrays)[0, 0])
    ({'i': 2, 'r': 4, 'j': 3}, 4.0)

    Parameters
    ----------
    arrays
        Node name -> (array, its indices): ``{"A": (a, "ir"), "B": (b, "rj")}``.
    output
        Indices kept.

    Returns
    -------
    Network, dict
        The network, and node name -> array (shared, not copied).

    Raises
    ------
    TypeError, ValueError
        No mapping, no indices; an array with another number of axes than indices, or a size that disagrees; node, index and sizes are named.
    """
    sizes: dict[str, int] = {}
    first: dict[str, str] = {}
    nodes = []
    for name, given in a_mapping(arrays, "from_arrays").items():
        array, inds = _array_and_indices(name, given)
        node = Node(name, inds)
        shape = tuple(array.shape)
        if len(shape) != len(node.inds):
            raise ValueError(
                f"node {name!r} has indices {node.inds}, but its array has {plural(len(shape), 'axis', 'axes')} {shape}"
            )
        for i, n in zip(node.inds, shape, strict=True):
            if sizes.setdefault(i, n) != n:
                raise ValueError(f"index {i!r} has size {sizes[i]} on node {first[i]!r} and {n} on node {name!r}")
            first.setdefault(i, name)
        nodes.append(node)
    output = _index_names(output, "from_arrays: output")
    return Network(tuple(nodes), output, Sizes(sizes)), {name: array for name, (array, _) in arrays.items()}


def _array_and_indices(name: Any, given: Any) -> tuple[Any, tuple[str, ...]]:
    text(name, "from_arrays: the name of a node")
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise TypeError(f"from_arrays: node {name!r} needs a pair (array, its indices), not {shown(given)}")
    array, inds = given
    if not hasattr(array, "shape") or not hasattr(array, "dtype"):
        raise TypeError(
            f"from_arrays: node {name!r} needs an array of a library, not {shown(array)}; np.asarray(x) is one"
        )
    return array, _index_names(inds, f"from_arrays: the indices of node {name!r}")


def _index_names(names: Any, what: str) -> tuple[str, ...]:
    """Names one after another, or the letters of a string."""
    if isinstance(names, str):
        return tuple(names)
    return tuple(text(i, f"{what}: an index") for i in sequence(names, what))


def from_einsum(equation: str, sizes: Mapping[str, int]) -> Network:
    """Read an einsum equation: operands become nodes "A", "B", ..., "Z", "T26", ..., letters become indices.

    >>> net = tk.from_einsum("ab,bc->ac", dict(a=2, b=3, c=4))
    >>> [node.name for node in net.nodes], net.shape
    (['A', 'B'], (2, 4))
    >>> net == tk.Network([tk.Node("A", "ab"), tk.Node("B", "bc")], "ac", dict(a=2, b=3, c=4))
    True

    Parameters
    ----------
    equation
        As ``"ab,bc->ac"``; blanks are skipped.  Letters are ASCII letters or any other non-ASCII symbol, as
        ``opt_einsum.get_symbol`` gives them.  Without ``->`` the output is, as in numpy, the letters that occur once,
        sorted.  A letter twice in an operand is a trace.
    sizes
        Letter -> size; those of letters that the equation has not are not read, so that one table serves many equations.

    Raises
    ------
    TypeError, ValueError
        No string, no sizes; an ellipsis, a character that is no letter, letters without a size, and what :class:`Network` refuses (an
        output letter of no operand or given twice).
    """
    text(equation, "from_einsum: equation", empty=True)
    a_mapping(sizes, "from_einsum", "sizes")
    if "." in equation:
        raise ValueError(f"from_einsum: {equation!r} has an ellipsis; write its indices as letters")
    terms, output = terms_of(equation, "from_einsum")
    letters = dict.fromkeys("".join(terms))
    missing = sorted(letters.keys() - sizes.keys())
    if missing:
        raise ValueError(f"from_einsum: {shown(equation)}: no size for {', '.join(map(repr, missing))}")
    names = [ascii_uppercase[k] if k < 26 else f"T{k}" for k in range(len(terms))]
    known = {c: _size(c, sizes[c]) for c in letters}
    nodes = tuple([plain_node(n, tuple(t)) for n, t in zip(names, terms, strict=True)])
    output = implicit(terms) if output is None else output
    if len(set(output)) < len(output) or not letters.keys() >= set(output):
        return Network(nodes, tuple(output), known)  # refuses it
    return trusted(nodes, tuple(output), Sizes(known))


def _size(letter: str, size: Any) -> int:
    if type(size) is int and 0 < size <= LARGEST:  # as nearly all are
        return size
    found = whole_number(size, what := f"from_einsum: the size of index {letter!r}", 1)
    if found > LARGEST:
        raise ValueError(f"{what} is at most 10**300, not {shown(size)}")
    return found


def to_einsum(net: Network) -> str:
    """Equation of a multilinear network, with one operand for each node in order.

    >>> tk.to_einsum(tk.from_einsum("ab,bc->ac", dict(a=2, b=3, c=4)))
    'ab,bc->ac'
    >>> tk.to_einsum(tk.tt((2, 2, 2), 2))  # longer names are lettered
    'ab,bcd,de->ace'
    >>> net = tk.tt((2, 2, 2), 2)
    >>> arrays = tk.init.normal(net)
    >>> np.allclose(np.einsum(tk.to_einsum(net), *arrays.values()), tk.contract(net, arrays))
    True

    Indices keep their names where all are single letters; otherwise they are lettered as they occur, with
    ``opt_einsum.get_symbol`` (which goes on beyond the 52 letters that numpy knows).

    Raises
    ------
    TypeError, ValueError
        No network; a network with an Elementwise node, which no equation says.
    """
    nodes = check_multilinear(a_network(net, "to_einsum"), "to_einsum", tied=True)
    if all(len(i) == 1 and is_letter(i) for i in net.sizes):
        letter = {i: i for i in net.sizes}
    else:
        letter = dict(zip(net.sizes, filter(is_letter, map(symbol, count())), strict=False))
    terms = ",".join("".join(letter[i] for i in node.inds) for node in nodes)
    return f"{terms}->{''.join(letter[i] for i in net.output)}"
