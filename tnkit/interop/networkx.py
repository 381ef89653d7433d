"""Any networkx graph is a network, and any network is a graph: vertices are nodes, edges are indices.

The reading, the same for a graph that you drew and one that :func:`to_graph` made; all attributes are optional:

- a vertex is a :class:`Node`; its ``array`` and ``fixed`` are the node's.  ``kind="elementwise"`` with ``value`` is
  that :class:`Elementwise`.  ``kind="index"`` is no node but an index that an edge cannot say (a hyperedge, an open
  index, one summed on a single node) with ``index`` its name, ``size``, and ``output`` its place in the output.
- an edge is an index called ``index`` with ``size``; a self-loop is a trace.  ``axes`` holds ``(vertex, axis)`` of its
  ends, because a graph does not order the edges of a vertex; ends without it follow in the graph's order.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from tnkit.core.checks import a_mapping, a_network, shown
from tnkit.core.names import free_name
from tnkit.core.network import AnyNode, Elementwise, Network
from tnkit.core.node import Node
from tnkit.core.numbers import whole_number

__all__ = ["from_graph", "to_graph"]

# One end of an edge at a vertex: (axis, or None where the graph does not say; index name).
_Leg = tuple[int | None, str]


def from_graph(graph: Any, bond: int = 2, open: Mapping[Hashable, int] | None = None) -> Network:
    """Read an undirected networkx graph or multigraph as a network.

    >>> import networkx as nx
    >>> net = tk.from_graph(nx.cycle_graph(4), bond=3, open={0: 2, 2: 2})
    >>> net.output, net.num_params  # two nodes of 3*3*2, two of 3*3
    (('o0', 'o2'), 54)

    Parameters
    ----------
    graph
        ``nx.Graph`` or ``nx.MultiGraph``, read as the module says.  Vertex ``v`` becomes the node ``str(v)``, with one
        index for each end of an edge in the graph's order; an edge without a name is called ``u-v``.
    bond
        Size of every edge without the attribute ``size``.
    open
        Vertex -> size of one open index (called ``o`` and the vertex), the last axis of its node.

    Returns
    -------
    Network
        Its output: the index vertices with ``output``, in that order, then those of ``open`` in the order given.

    Raises
    ------
    TypeError, ValueError
        No graph; a directed graph; two vertices of one ``str()``; two edges of one name; a size below 1; an ``open`` vertex that
        the graph lacks or that is no node; a ``kind`` or ``axes`` that does not fit the graph; and what
        :class:`Network` refuses.
    """
    if not callable(getattr(graph, "is_directed", None)) or isinstance(graph, type):
        hint = "; nx.Graph(edges) makes one of a list of pairs" if isinstance(graph, (list, tuple)) else ""
        raise TypeError(f"from_graph: graph is a networkx graph or multigraph, not {shown(graph)}{hint}")
    bond = whole_number(bond, "from_graph: bond", 1)
    opened: Mapping[Any, Any] = {} if open is None else a_mapping(open, "from_graph", "the vertices in open")
    if graph.is_directed():
        raise ValueError("from_graph: the graph is directed; use graph.to_undirected()")
    nodes, hubs = _vertices(graph)
    legs: dict[Hashable, list[_Leg]] = {v: [] for v in nodes}
    sizes: dict[str, int] = {}
    places: list[tuple[int, str]] = []
    for v, index in hubs.items():
        if index in sizes:
            raise ValueError(f"from_graph: two index vertices are called {index!r}")
        sizes[index] = _checked_size(graph.nodes[v].get("size", bond), f"index vertex {v!r}")
        if graph.nodes[v].get("output") is not None:
            places.append((graph.nodes[v]["output"], index))
    _read_edges(graph, hubs, legs, sizes, bond)
    output = [index for _, index in sorted(places)]
    for v, size in opened.items():
        if v not in nodes:
            raise ValueError(f"from_graph: open names {v!r}, which is no node of the graph")
        index = free_name(f"o{v}", sizes)
        sizes[index] = _checked_size(size, f"open index of vertex {v!r}")
        legs[v].append((None, index))
        output.append(index)
    return Network(tuple(_vertex_node(graph, v, name, legs[v]) for v, name in nodes.items()), tuple(output), sizes)


def to_graph(net: Network) -> Any:
    """Write a network as a graph from which :func:`from_graph` reads back an equal one.

    >>> net = tk.tt((2, 3, 4), 2)
    >>> graph = tk.to_graph(net)
    >>> graph.number_of_nodes(), graph.number_of_edges()  # 3 nodes and 3 open indices; 2 bonds and 3 open ends
    (6, 5)
    >>> tk.from_graph(graph) == net
    True

    Parameters
    ----------
    net
        Any network.  An Elementwise node is one vertex that keeps its value: the graph is that of the top level.

    Returns
    -------
    nx.MultiGraph
        A vertex for each node, called by its name; an edge for each index with two ends that is not in the output; a
        vertex ``("index", name)`` for every other index, joined to each of its ends.  Attributes as the module says.

    Raises
    ------
    TypeError
        No Network.
    """
    import networkx as nx

    a_network(net, "to_graph")
    graph = nx.MultiGraph()
    ends: dict[str, list[tuple[str, int]]] = {i: [] for i in net.sizes}
    for node in net.nodes:
        if isinstance(node, Elementwise):
            graph.add_node(node.name, kind="elementwise", value=node)
        else:
            graph.add_node(node.name, kind="node", array=node.array, fixed=node.fixed)
        for axis, i in enumerate(node.inds):
            ends[i].append((node.name, axis))
    for i, at in ends.items():
        size = net.sizes[i]
        if len(at) == 2 and i not in net.output:
            graph.add_edge(at[0][0], at[1][0], index=i, size=size, axes=tuple(at))
            continue
        # A tuple as key cannot be the name of a node, which is a string.
        hub = ("index", i)
        place = net.output.index(i) if i in net.output else None
        graph.add_node(hub, kind="index", index=i, size=size, output=place)
        for end in at:
            graph.add_edge(end[0], hub, index=i, size=size, axes=(end,))
    return graph


def _vertices(graph: Any) -> tuple[dict[Hashable, str], dict[Hashable, str]]:
    """Vertices that are nodes -> node name, and vertices that are indices -> index name."""
    nodes: dict[Hashable, str] = {}
    hubs: dict[Hashable, str] = {}
    first: dict[str, Hashable] = {}
    for v, data in graph.nodes(data=True):
        # Foreign graphs use "kind" for their own things; only what would change the reading is checked.
        if data.get("kind") == "index":
            hubs[v] = data.get("index", str(v))
            continue
        name = str(v)
        if name in first:
            raise ValueError(f"from_graph: vertices {first[name]!r} and {v!r} would both be node {name!r}")
        first[name] = v
        nodes[v] = name
    return nodes, hubs


def _read_edges(
    graph: Any, hubs: dict[Hashable, str], legs: dict[Hashable, list[_Leg]], sizes: dict[str, int], bond: int
) -> None:
    """Fill the legs of every node and the sizes of the edges."""
    edges = list(graph.edges(data=True))
    # Given names are reserved before any is made up, so that the order of edges does not decide whether they clash.
    reserved = set(sizes) | {data["index"] for _, _, data in edges if "index" in data}
    for u, v, data in edges:
        where = f"edge {u!r} - {v!r}"
        if u in hubs and v in hubs:
            raise ValueError(f"from_graph: {where} joins two index vertices; an index has one vertex")
        if u in hubs or v in hubs:
            index = hubs[u if u in hubs else v]
            if data.get("index", index) != index or data.get("size", sizes[index]) != sizes[index]:
                raise ValueError(f"from_graph: {where} disagrees with its index vertex {index!r} on name or size")
        else:
            index = data["index"] if "index" in data else free_name(f"{u}-{v}", reserved)
            if index in sizes:
                raise ValueError(
                    f"from_graph: {where}: two edges are called {index!r}; a vertex of kind='index' joins more"
                )
            reserved.add(index)
            sizes[index] = _checked_size(data.get("size", bond), where)
        axes = _end_axes(data.get("axes", ()), (u, v), where)
        for end in (u, v):
            if end not in hubs:
                legs[end].append((axes[end].pop(0) if axes.get(end) else None, index))


def _end_axes(given: Any, ends: tuple[Hashable, Hashable], where: str) -> dict[Hashable, list[int]]:
    """Vertex -> axes that the edge takes there, in the order given (two for a self-loop)."""
    axes: dict[Hashable, list[int]] = {}
    for vertex, axis in given:
        # Stale after a relabelling: dropping it would permute the axes of a node in silence.
        if vertex not in ends:
            raise ValueError(f"from_graph: {where}: its axes name vertex {vertex!r}; after a relabelling, delete axes")
        axes.setdefault(vertex, []).append(axis)
    return axes


def _vertex_node(graph: Any, v: Hashable, name: str, legs: list[_Leg]) -> AnyNode:
    """The node of a vertex, its legs in the order of their axes, those without one last."""
    known = [axis for axis, _ in legs if axis is not None]
    if len(set(known)) != len(known):
        raise ValueError(f"from_graph: two edges of vertex {v!r} claim the same axis, of {sorted(known)}")
    # The sort is stable, so that legs without an axis keep the graph's order.
    inds = tuple(i for _, i in sorted(legs, key=lambda leg: (leg[0] is None, leg[0] or 0)))
    data = graph.nodes[v]
    if data.get("kind") != "elementwise":
        return Node(name, inds, data.get("array", ""), data.get("fixed", False))
    value = data.get("value")
    if not isinstance(value, Elementwise) or value.name != name:
        raise ValueError(f"from_graph: vertex {v!r} of kind='elementwise' needs value=Elementwise({name!r}, ...)")
    if value.inds != inds:
        raise ValueError(f"from_graph: elementwise vertex {v!r} has indices {value.inds}, but its edges say {inds}")
    return value


def _checked_size(size: Any, where: str) -> int:
    try:
        return whole_number(size, "a size", 1)
    except (TypeError, ValueError) as error:
        raise type(error)(f"from_graph: {where} has size {shown(size)}; a size is a whole number from 1 up") from None
