"""What a network means, index by index: which are kept, summed, edges, hyperedges; which nodes stand apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tnkit.core.checks import a_network
from tnkit.core.network import Elementwise, Network
from tnkit.core.node import Node
from tnkit.core.spelling import function_name, shape_text

__all__ = ["Explanation", "explain"]


@dataclass(frozen=True)
class Explanation:
    """How one level of a network is read; ``str`` of it is a short text.

    Attributes
    ----------
    place
        Empty for the whole network; of a body of an Elementwise, where it stands: ``body 0 of act = tanh``.
    summary
        The level's nodes and shape; of the whole network, its ``repr``.
    sizes
        Index -> size, of all indices at this level.
    kept
        Index -> the nodes that carry it, in the order of the output.
    dangling
        Index -> the one node that carries it, where it is summed: a misspelt name, often.
    edges
        Index -> the two nodes that it joins.
    hyperedges
        Index -> its nodes, where it ends at three or more, the output counted.
    traces
        Index -> the node that carries it twice or more, and no other node does: a trace, or a diagonal where it is kept.
    parts
        Names of the nodes, a tuple a connected part; with several, the result is their outer product.
    constants
        Node -> ``"e0"``, ``"ones"`` or ``"delta"``.
    tied
        Array -> the nodes of the whole network that it fills, where a node of this level is one of several.
    functions
        Elementwise node -> the name of its function.
    levels
        What is inside the Elementwise nodes, at every depth, outermost first.
    """

    place: str
    summary: str
    sizes: Mapping[str, int]
    kept: Mapping[str, tuple[str, ...]]
    dangling: Mapping[str, str]
    edges: Mapping[str, tuple[str, str]]
    hyperedges: Mapping[str, tuple[str, ...]]
    traces: Mapping[str, str]
    parts: tuple[tuple[str, ...], ...]
    constants: Mapping[str, str]
    tied: Mapping[str, tuple[str, ...]]
    functions: Mapping[str, str]
    levels: tuple[Explanation, ...] = ()

    def __repr__(self) -> str:
        return f"Explanation({self.place or self.summary})"

    def __str__(self) -> str:
        return "\n".join(line for level in (self, *self.levels) for line in level._lines())

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(str(self))}</pre>"

    def _lines(self) -> list[str]:
        def index(i: str) -> str:
            return f"{i}:{self.sizes[i]}"

        def on(table: Mapping[str, tuple[str, ...] | str]) -> str:
            return ", ".join(f"{index(i)} ({n if isinstance(n, str) else ' '.join(n)})" for i, n in table.items())

        rows = {
            "kept": ", ".join(map(index, self.kept)) or "nothing: the result is a number",
            "edges": on(self.edges),
            "hyperedges": on(self.hyperedges),
            "traces": on(self.traces),
            "dangling": on(self.dangling) and f"{on(self.dangling)}: summed on one node alone; a misspelt name?",
            "outer product": " x ".join(" ".join(part) for part in self.parts) if len(self.parts) > 1 else "",
            "constants": ", ".join(f"{name} = {kind}" for name, kind in self.constants.items()),
            "tied": ", ".join(f"{array} fills {' '.join(nodes)}" for array, nodes in self.tied.items()),
            "functions": ", ".join(f"{name} = {fn}" for name, fn in self.functions.items()),
        }
        head = f"{self.place}: {self.summary}" if self.place else self.summary
        return [head, *(f"  {name:<13} {row}" for name, row in rows.items() if row)]


def explain(net: Network) -> Explanation:
    """How a network is read, index by index.

    >>> net = tk.Network([tk.Node("A", "ir"), tk.Node("B", "qj")], "ij", dict(i=2, j=3, r=4, q=4))
    >>> print(tk.explain(net))
    Network(2 nodes, 2x3, 20 params)
      kept          i:2, j:3
      dangling      r:4 (A), q:4 (B): summed on one node alone; a misspelt name?
      outer product A x B

    Parameters
    ----------
    net
        Any network; each level of a nonlinear one is explained.

    Raises
    ------
    TypeError
        No Network.
    """
    a_network(net, "explain")
    filled: dict[str, list[str]] = {}
    for leaf in net.leaves:
        filled.setdefault(leaf.array, []).append(leaf.name)
    tied = {array: tuple(names) for array, names in filled.items() if len(names) > 1}
    inner = []
    todo = _places(net)[::-1]
    while todo:
        body, place = todo.pop()
        inner.append(_level(body, place, tied, ()))
        todo += reversed(_places(body))
    return _level(net, "", tied, tuple(inner))


def _places(net: Network) -> list[tuple[Network, str]]:
    """The bodies of one level, each with where it stands."""
    return [
        (body, f"body {k} of {node.name} = {function_name(node.fn)}")
        for node in net.nodes
        if isinstance(node, Elementwise)
        for k, body in enumerate(node.bodies)
    ]


def _level(
    net: Network, place: str, tied: Mapping[str, tuple[str, ...]], inner: tuple[Explanation, ...]
) -> Explanation:
    kept = set(net.output)
    carriers = {i: tuple(dict.fromkeys(names)) for i, names in net.edges.items()}
    ends = {i: len(names) + (i in kept) for i, names in carriers.items()}
    repeated = {i for i, names in net.edges.items() if len(names) > len(carriers[i])}
    leaves = [node for node in net.nodes if isinstance(node, Node)]
    return Explanation(
        place=place,
        summary=repr(net) if not place else f"{len(net.nodes)} nodes, {shape_text(net.shape)}",
        sizes=net.sizes,
        kept={i: carriers[i] for i in net.output},
        dangling={i: n[0] for i, n in carriers.items() if ends[i] == 1 and i not in repeated},
        edges={i: (n[0], n[1]) for i, n in carriers.items() if len(n) == ends[i] == 2},
        hyperedges={i: n for i, n in carriers.items() if ends[i] > 2},
        traces={i: n[0] for i, n in carriers.items() if len(n) == 1 and i in repeated},
        parts=_parts(net, carriers),
        constants={leaf.name: leaf.fixed for leaf in leaves if isinstance(leaf.fixed, str)},
        tied={a: tied[a] for a in dict.fromkeys(leaf.array for leaf in leaves) if a in tied},
        functions={node.name: function_name(node.fn) for node in net.nodes if isinstance(node, Elementwise)},
        levels=inner,
    )


def _parts(net: Network, carriers: Mapping[str, tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """Connected parts: nodes that a chain of shared indices joins."""
    of = {node.name: node.inds for node in net.nodes}
    seen: set[str] = set()
    order = {name: k for k, name in enumerate(of)}
    parts = []
    crossed: set[str] = set()
    for start in of:
        if start in seen:
            continue
        part, todo = {start}, [start]
        while todo:
            for i in of[todo.pop()]:
                if i not in crossed:
                    crossed.add(i)
                    todo += [n for n in carriers[i] if n not in part]
                    part.update(carriers[i])
        seen |= part
        parts.append(tuple(sorted(part, key=order.__getitem__)))
    return tuple(parts)
