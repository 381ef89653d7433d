"""A tensor network as a value: names, indices and sizes, without arrays.

The reading rule: an index on one node is open or summed; on two it is an edge; on more it is a hyperedge; in ``output``
it is kept.  An index twice on one node is a trace.  Nodes are :class:`Node` (a slot for an array) or
:class:`Elementwise` (a function of networks that are contracted in full first), so nonlinear networks are networks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, TypeVar

from tnkit.core import nested
from tnkit.core.activations import Activation, resolve
from tnkit.core.consistency import checked_inside, checked_sizes, inside_bodies
from tnkit.core.display import bundle
from tnkit.core.inside import Inside, said_deeper
from tnkit.core.joining import join_networks
from tnkit.core.lazy import cached_property
from tnkit.core.levels import Level, as_levels, from_levels
from tnkit.core.node import Fixed, Node, Sizes, has_order, indices, store, unordered
from tnkit.core.renaming import name_tables, relabelled
from tnkit.core.spelling import shape_text, spelled
from tnkit.core.wording import count_text, plain_name, plural, shown

R = TypeVar("R")

__all__ = ["AnyNode", "Elementwise", "Network", "folded", "inside_out", "levels"]


# The constructors are written out: they take any iterable (a string of one-letter names too) and store tuples, and a type
# checker sees both.
@dataclass(frozen=True, init=False, eq=False)
class Elementwise:
    """A node whose tensor is ``fn(*bodies)``, each body contracted in full first.

    >>> a = tk.Network([tk.Node("A", "i")], "i", dict(i=3))
    >>> b = tk.Network([tk.Node("B", "i")], "i", dict(i=3))
    >>> node = tk.Elementwise("product", "multiply", [a, b])
    >>> node.inds
    ('i',)
    >>> tk.contract(tk.Network([node], "i"), {"A": [1, 2, 3], "B": [4, 5, 6]})
    array([ 4, 10, 18])

    Parameters
    ----------
    name
        Unique in its network.
    fn
        A key of :data:`tnkit.ACTIVATIONS`, or ``fn(xp, *tensors)``.
    bodies
        Networks with the same output indices (in any order); the first one's order is the node's.
    """

    name: str
    fn: str | Activation
    bodies: tuple[Network, ...]
    inside: Inside = field(init=False, repr=False)  #: names, arrays and summed indices at every depth, itself included
    _hash: int = field(init=False, repr=False)

    def __init__(self, name: str, fn: str | Activation, bodies: Network | Iterable[Network]) -> None:
        if not isinstance(name, str) or not name:
            raise TypeError(f"an elementwise node's name is a non-empty string, not {shown(name)}")
        name, fn = plain_name(name), resolve(plain_name(fn))
        if not isinstance(bodies, Network) and not has_order(bodies):
            raise TypeError(f"elementwise node {name!r}: bodies are a sequence of networks, not {shown(bodies)}")
        bodies = (bodies,) if isinstance(bodies, Network) else tuple(bodies)
        for body in bodies:
            if not isinstance(body, Network):
                raise TypeError(f"elementwise node {name!r}: a body is a Network, not a {type(body).__name__}")
        if not bodies:
            raise ValueError(f"elementwise node {name!r} has no body")
        for body in bodies[1:]:
            if set(body.output) != set(bodies[0].output):
                raise ValueError(
                    f"elementwise node {name!r}: its bodies' outputs differ, {bodies[0].output} and {body.output}"
                )
        store(self, name=name, fn=fn, bodies=bodies, inside=inside_bodies(name, bodies))
        store(self, _hash=hash((name, fn, bodies)))

    def __eq__(self, other: object) -> bool:
        return nested.equal(self, other, _opened) if isinstance(other, Elementwise) else NotImplemented

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return Elementwise, (self.name, self.fn, self.bodies)

    def __deepcopy__(self, memo: object) -> Elementwise:
        return self  # a value, as a network is

    @property
    def inds(self) -> tuple[str, ...]:
        """Indices of the node's tensor: the output of its first body."""
        return self.bodies[0].output


AnyNode = Node | Elementwise


@dataclass(frozen=True, init=False, repr=False, eq=False)
class Network:
    """Nodes, the indices that are kept, and the size of every index.  Frozen, hashable, compared by value.

    >>> net = tk.Network([tk.Node("A", "ir"), tk.Node("B", "rj")], "ij", dict(i=2, j=3, r=4))
    >>> net.shape, net.num_params, net.array_shapes
    ((2, 3), 20, {'A': (2, 4), 'B': (4, 3)})
    >>> net.edges
    {'i': ('A',), 'r': ('A', 'B'), 'j': ('B',)}
    >>> net.multilinear, net.parameters, len(net.leaves), net.places["B"]
    (True, ('A', 'B'), 2, 1)
    >>> net["A"].inds, net.tied  # no array fills two nodes
    (('i', 'r'), frozenset())
    >>> x = tk.contract(net, {"A": np.ones((2, 4)), "B": np.ones((4, 3))})
    >>> x.shape, float(x[0, 0])
    ((2, 3), 4.0)
    >>> print(tk.Network([tk.Node("A", "ir"), tk.Node("B", "qj")], "ij", dict(i=2, j=3, r=4, q=4)))
    Network(2 nodes, 2x3, 20 params)
      A(i:2, r:4?)
      B(q:4?, j:3)
      -> (i:2, j:3), summed over r, q
      ? on one node alone, and summed there: a misspelt name, often

    In print, ``?`` marks an index that is on one node alone and summed there, ``*`` a hyperedge (three ends or more, the
    output counted); the last line says what is kept and what is summed, marks that occur are explained, and :func:`tnkit.explain`
    says more.

    Parameters
    ----------
    nodes
        :class:`Node` and :class:`Elementwise` values; at least one.
    output
        Indices of the contracted tensor, in order.
    sizes
        Size of every index that occurs; sizes that an Elementwise already knows may be left out.

    Raises
    ------
    TypeError, ValueError
        Nodes, an output or sizes of another kind; a size missing, below 1 or contradicted; an output index that no node has, or that is given twice; two nodes of
        one name; tied nodes of different shapes; an index that is summed inside an Elementwise and used outside it.
    """

    nodes: tuple[AnyNode, ...]
    output: tuple[str, ...]
    sizes: Mapping[str, int]
    _hash: int | None = field(init=False)  #: None until it is asked for

    def __init__(
        self,
        nodes: Iterable[AnyNode],
        output: Iterable[str],
        sizes: Mapping[str, int] = Sizes(),
    ) -> None:
        if not has_order(nodes):
            hint = ": a set has no order" if unordered(nodes) else ""
            raise TypeError(f"a network's nodes are a sequence of nodes, not a {type(nodes).__name__}{hint}")
        if not isinstance(sizes, Mapping):
            raise TypeError(f"sizes map index names to sizes; they are not a {type(sizes).__name__}")
        nodes = tuple(nodes)
        for node in nodes:
            if not isinstance(node, (Node, Elementwise)):
                raise TypeError(f"a network's nodes are Node or Elementwise, as Node('A', 'ij'), not {shown(node)}")
        output = indices(output, "output")
        known = checked_sizes(nodes, output, sizes)
        self.__dict__["inside"] = checked_inside(nodes, output, known)
        store(self, nodes=nodes, output=output, sizes=known, _hash=hash((nodes, output, known)))

    def __eq__(self, other: object) -> bool:
        return nested.equal(self, other, _opened) if isinstance(other, Network) else NotImplemented

    def __hash__(self) -> int:
        if self._hash is None:
            store(self, _hash=hash((self.nodes, self.output, self.sizes)))
        return self._hash  # type: ignore[return-value]

    def __reduce__(self) -> tuple[Any, tuple[object, ...]]:
        if self.multilinear:
            return Network, (self.nodes, self.output, self.sizes)
        return _from_levels, (
            as_levels(nested.bottom_up(self, _bodies), Node),
        )  # pickle would recurse from level to level

    def __copy__(self) -> Network:
        return self

    def __deepcopy__(self, memo: object) -> Network:
        return self  # a value: a copy could not be told apart

    # -- what it is -----------------------------------------------------------------------------------------------
    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the contracted tensor."""
        return tuple(self.sizes[i] for i in self.output)

    @cached_property
    def inside(self) -> Inside:
        """Names, arrays and summed indices at every depth."""
        return checked_inside(self.nodes, self.output, Sizes(self.sizes))

    @cached_property
    def places(self) -> dict[str, int]:
        """Name of a node at this level -> its place among the nodes."""
        return Fixed({node.name: k for k, node in enumerate(self.nodes)})

    @cached_property
    def tied(self) -> frozenset[str]:
        """Arrays that fill two nodes or more, at every depth."""
        counts = Counter(leaf.array for leaf in self.leaves)
        return frozenset(name for name, count in counts.items() if count > 1)

    @cached_property
    def leaves(self) -> tuple[Node, ...]:
        """Every :class:`Node`, those inside Elementwise nodes included, inner ones first."""
        return tuple(leaf for leaf, _ in self._walk())

    @cached_property
    def array_shapes(self) -> dict[str, tuple[int, ...]]:
        """Array name -> shape that it must have."""
        return Fixed({leaf.array: tuple(net.sizes[i] for i in leaf.inds) for leaf, net in self._walk()})

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """Names of the trained arrays: those of no fixed node."""
        fixed = {leaf.array for leaf in self.leaves if leaf.fixed}
        return tuple(name for name in self.array_shapes if name not in fixed)

    @property
    def num_params(self) -> int:
        """Numbers stored: entries of all trained arrays, a tied array counted once."""
        return sum(prod(self.array_shapes[name]) for name in self.parameters)

    @cached_property
    def edges(self) -> dict[str, tuple[str, ...]]:
        """Index -> names of the nodes that carry it, at this level (a node with a trace occurs twice)."""
        edges: dict[str, list[str]] = {i: [] for i in self.sizes}
        for node in self.nodes:
            for i in node.inds:
                edges[i].append(node.name)
        return Fixed({i: tuple(names) for i, names in edges.items()})

    @property
    def multilinear(self) -> bool:
        """Whether no Elementwise node occurs."""
        return all(isinstance(node, Node) for node in self.nodes)

    def __getitem__(self, name: str) -> AnyNode:
        """The node of this name at this level; KeyError names those there are, and where a deeper one is."""
        if isinstance(name, str) and name in self.places:
            return self.nodes[self.places[name]]
        deeper = said_deeper(self, name) if isinstance(name, str) else ""
        raise KeyError(f"no node {plain_name(name)!r}{deeper}; there are {', '.join(n.name for n in self.nodes)}")

    def _walk(self) -> Iterator[tuple[Node, Network]]:
        todo: list[tuple[AnyNode, Network]] = [(node, self) for node in reversed(self.nodes)]
        while todo:
            node, owner = todo.pop()
            if isinstance(node, Node):
                yield node, owner
            else:
                todo += [(n, body) for body in reversed(node.bodies) for n in reversed(body.nodes)]

    # -- what is made from it -------------------------------------------------------------------------------------
    def activate(self, fn: str | Activation, name: str) -> Network:
        """The network ``fn(self)``: one Elementwise node called ``name`` with the same output.

        >>> net = tk.tt((2, 3), 2).activate("sin", "act")
        >>> net.multilinear, net["act"].fn, net.shape
        (False, 'sin', (2, 3))
        """
        return Network((Elementwise(name, fn, (self,)),), self.output)

    def join(
        self, other: Network, output: Iterable[str] | None = None, on: Iterable[str] | Mapping[str, str] = ()
    ) -> Network:
        """Both networks as one, connected at the indices ``on``.

        >>> state = tk.mps((2, 2, 2), 2)
        >>> gate = tk.Network([tk.Node("G", ("out", "in"))], ("out", "in"), {"out": 3, "in": 2})
        >>> state.join(gate, on={"i1": "in"}).output  # the gate's other index stands where i1 stood
        ('i0', 'out', 'i2')
        >>> state.join(gate, on={"i1": "in"}).shape
        (2, 3, 2)

        Parameters
        ----------
        other
            The network to connect; its node and index names differ from this one's except ``on``.
        output
            Indices kept; by default those of both outputs, less ``on``.
        on
            The indices that the two share.  Or a mapping from open indices of this network to those of ``other``: each pair
            becomes an edge with the name that ``other`` has for it, and the other outputs of ``other`` take the places of the
            indices that are replaced, one by one; they may have the names of those.

        Raises
        ------
        TypeError, ValueError
            No network; an index of both that ``on`` does not declare (it would silently become an edge), or one declared that is
            not in both outputs.
        """
        if not isinstance(other, Network):
            raise TypeError(f"join: a Network is needed, not {shown(other)}")
        return Network(*join_networks(self, other, output, on))

    def relabel(
        self,
        inds: Mapping[str, str] | Callable[[str], str] | None = None,
        nodes: Mapping[str, str] | Callable[[str], str] | None = None,
        arrays: Mapping[str, str] | Callable[[str], str] | None = None,
    ) -> Network:
        """The same network with other names, at every depth.

        >>> net = tk.tt((2, 3), 2)
        >>> net.relabel({"i0": "row", "i1": "column"}).output
        ('row', 'column')
        >>> net.relabel(nodes=str.upper).places
        {'CORE_0': 0, 'CORE_1': 1}

        Each argument is a mapping (names it lacks stay) or a function.  Array names follow ``arrays`` alone, so that
        relabelled nodes keep filling from the same arrays.

        Raises
        ------
        ValueError
            Two indices given one name, which would connect what was not; a mapping from a name that is not there.
        TypeError
            Neither a mapping nor a function, or a new name that is no string.
        """
        tables = name_tables(self, inds, nodes, arrays)
        return folded(self, lambda net, bodies: Network(*relabelled(net, bodies, tables, Elementwise)))

    def regions(self) -> Iterator[Network]:
        """The maximal multilinear pieces, outermost first.

        >>> net = tk.tt((2, 3), 2).activate("sin", "act")
        >>> [[node.name for node in region.nodes] for region in net.regions()]
        [['act'], ['core_0', 'core_1']]

        In each, an Elementwise node stands as a fixed node of its name: SVD, ALS and gauge moves are legal inside.
        """
        for net in levels(self):
            yield replace(
                net, nodes=tuple(n if isinstance(n, Node) else Node(n.name, n.inds, fixed=True) for n in net.nodes)
            )

    # -- how it reads ---------------------------------------------------------------------------------------------
    def __repr__(self) -> str:
        kind = "" if self.multilinear else ", nonlinear"
        return f"Network({plural(len(self.leaves), 'node')}, {shape_text(self.shape)}, {count_text(self.num_params)} params{kind})"

    def __str__(self) -> str:
        return "\n".join([repr(self), *spelled(self)])

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return bundle(self)


# -- every depth ----------------------------------------------------------------------------------------------------
def _bodies(net: Network) -> list[Network]:
    return [body for node in net.nodes if isinstance(node, Elementwise) for body in node.bodies]


def _parts(part: Network | Elementwise) -> list[Network | Elementwise]:
    if isinstance(part, Elementwise):
        return list(part.bodies)
    return [node for node in part.nodes if isinstance(node, Elementwise)]


def levels(net: Network) -> list[Network]:
    """The network and all inside it, each before those inside it."""
    return nested.top_down(net, _bodies)


def inside_out(net: Network) -> list[Network | Elementwise]:
    """Every Elementwise after its bodies, every network after its Elementwise nodes; ``net`` comes last."""
    return nested.bottom_up(net, _parts)


def folded(net: Network, make: Callable[[Network, list[R]], R]) -> R:
    """``make(network, what was made of its bodies in order)``, of every network inside, then of ``net``."""
    return nested.fold_upward(net, _bodies, make)


def _opened(part: Network | AnyNode) -> tuple[object, tuple[Network | AnyNode, ...]]:
    """What a part is of its own, and what is inside it."""
    if isinstance(part, Network):
        return (part.output, part.sizes), part.nodes
    return ((part.name, part.fn), part.bodies) if isinstance(part, Elementwise) else (part, ())


def _from_levels(all_levels: tuple[Level, ...]) -> Network:
    made: Network = from_levels(all_levels, Node, Elementwise, Network)
    return made
