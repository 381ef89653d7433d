"""A tensor network as a value: names, indices and sizes, without arrays.

The reading rule: an index on one node is open or summed; on two it is an edge; on more it is a hyperedge; in ``output``
it is kept.  An index twice on one node is a trace.  Nodes are :class:`Node` (a slot for an array) or
:class:`Elementwise` (a function of networks that are contracted in full first), so nonlinear networks are networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

from tnkit.core.activations import Activation, resolve
from tnkit.core.node import Node, Sizes, indices, store

__all__ = ["AnyNode", "Elementwise", "Network", "all_indices"]


# The constructors are written out: they take any iterable (a string of one-letter names too) and store tuples, and a type
# checker sees both.
@dataclass(frozen=True, init=False)
class Elementwise:
    """A node whose tensor is ``fn(*bodies)``, each body contracted in full first.

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

    def __init__(self, name: str, fn: str | Activation, bodies: Network | Iterable[Network]) -> None:
        if not isinstance(name, str) or not name:
            raise TypeError(f"an elementwise node's name is a non-empty string, not {name!r}")
        fn = resolve(fn)
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
        store(self, name=name, fn=fn, bodies=bodies)

    @property
    def inds(self) -> tuple[str, ...]:
        """Indices of the node's tensor: the output of its first body."""
        return self.bodies[0].output


AnyNode = Node | Elementwise


@dataclass(frozen=True, init=False, repr=False)
class Network:
    """Nodes, the indices that are kept, and the size of every index.  Frozen, hashable, compared by value.

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
    ValueError
        A size missing, below 1 or contradicted; an output index that no node has, or that is given twice; two nodes of
        one name; tied nodes of different shapes; an index that is summed inside an Elementwise and used outside it.
    """

    nodes: tuple[AnyNode, ...]
    output: tuple[str, ...]
    sizes: Mapping[str, int]

    def __init__(
        self,
        nodes: Iterable[AnyNode],
        output: Iterable[str],
        sizes: Mapping[str, int] = Sizes(),  # noqa: B008: frozen
    ) -> None:
        if not isinstance(nodes, Iterable):
            raise TypeError(f"a network's nodes are a sequence of nodes, not one {type(nodes).__name__}")
        if not isinstance(sizes, Mapping):
            raise TypeError(f"sizes map index names to sizes; they are not a {type(sizes).__name__}")
        nodes = tuple(nodes)
        for node in nodes:
            if not isinstance(node, (Node, Elementwise)):
                raise TypeError(f"a network's nodes are Node or Elementwise, not {type(node).__name__}")
        output = indices(output, "output")
        store(self, nodes=nodes, output=output, sizes=_checked_sizes(nodes, output, sizes))
        _check_names(self)
        _check_tied(self)
        _check_summed(self)
        store(self, _hash=hash((self.nodes, self.output, self.sizes)))

    def __hash__(self) -> int:
        return self._hash  # type: ignore[attr-defined,no-any-return]

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return Network, (self.nodes, self.output, self.sizes)

    def __deepcopy__(self, memo: object) -> Network:
        return self  # a value: a copy could not be told apart

    # -- what it is -----------------------------------------------------------------------------------------------
    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the contracted tensor."""
        return tuple(self.sizes[i] for i in self.output)

    @cached_property
    def leaves(self) -> tuple[Node, ...]:
        """Every :class:`Node`, those inside Elementwise nodes included, inner ones first."""
        return tuple(leaf for leaf, _ in self._walk())

    @cached_property
    def array_shapes(self) -> dict[str, tuple[int, ...]]:
        """Array name -> shape that it must have."""
        return {leaf.array: tuple(net.sizes[i] for i in leaf.inds) for leaf, net in self._walk()}

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
        return {i: tuple(names) for i, names in edges.items()}

    @property
    def multilinear(self) -> bool:
        """Whether no Elementwise node occurs."""
        return all(isinstance(node, Node) for node in self.nodes)

    def __getitem__(self, name: str) -> AnyNode:
        """The node of this name at this level; KeyError names those there are."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(f"no node {name!r}; there are {', '.join(n.name for n in self.nodes)}")

    def _walk(self) -> Iterator[tuple[Node, Network]]:
        for node in self.nodes:
            if isinstance(node, Node):
                yield node, self
            else:
                for body in node.bodies:
                    yield from body._walk()

    # -- what is made from it -------------------------------------------------------------------------------------
    def activate(self, fn: str | Activation, name: str) -> Network:
        """The network ``fn(self)``: one Elementwise node called ``name`` with the same output."""
        return Network((Elementwise(name, fn, (self,)),), self.output)

    def join(self, other: Network, output: Iterable[str] | None = None, on: Iterable[str] = ()) -> Network:
        """Both networks as one, connected at the indices ``on``.

        Parameters
        ----------
        other
            The network to connect; its node and index names differ from this one's except ``on``.
        output
            Indices kept; by default those of both outputs, less ``on``.
        on
            The indices that the two share.

        Raises
        ------
        ValueError
            An index of both that ``on`` does not declare (it would silently become an edge), or one declared that is
            not in both outputs.
        """
        on = indices(on, "join")
        mine, theirs = all_indices(self), all_indices(other)
        undeclared = sorted((mine & theirs) - set(on))
        if undeclared:
            raise ValueError(f"join: both networks have index {undeclared[0]!r}; declare it in on=, or relabel one")
        for i in on:
            if i not in self.output or i not in other.output:
                raise ValueError(f"join: index {i!r} of on= is not in both outputs, {self.output} and {other.output}")
            if self.sizes[i] != other.sizes[i]:
                raise ValueError(f"join: index {i!r} has size {self.sizes[i]} here and {other.sizes[i]} there")
        if output is None:
            output = [i for i in (*self.output, *other.output) if i not in on]
        sizes = {**self.sizes, **other.sizes}
        return Network((*self.nodes, *other.nodes), tuple(output), Sizes(sizes))

    def relabel(
        self,
        inds: Mapping[str, str] | Callable[[str], str] | None = None,
        nodes: Mapping[str, str] | Callable[[str], str] | None = None,
        arrays: Mapping[str, str] | Callable[[str], str] | None = None,
    ) -> Network:
        """The same network with other names, at every depth.

        Each argument is a mapping (names it lacks stay) or a function.  Array names follow ``arrays`` alone, so that
        relabelled nodes keep filling from the same arrays.

        Raises
        ------
        ValueError
            Two indices given one name, which would connect what was not.
        """
        fi, fn, fa = _renamer(inds), _renamer(nodes), _renamer(arrays)
        old = all_indices(self)
        if len({fi(i) for i in old}) != len(old):
            raise ValueError("relabel: two indices would get the same name and become connected")
        return _relabel(self, fi, fn, fa)

    def regions(self) -> Iterator[Network]:
        """The maximal multilinear pieces, outermost first.

        In each, an Elementwise node stands as a fixed node of its name: SVD, ALS and gauge moves are legal inside.
        """
        yield replace(
            self, nodes=tuple(n if isinstance(n, Node) else Node(n.name, n.inds, fixed=True) for n in self.nodes)
        )
        for node in self.nodes:
            if isinstance(node, Elementwise):
                for body in node.bodies:
                    yield from body.regions()

    # -- how it reads ---------------------------------------------------------------------------------------------
    def __repr__(self) -> str:
        shape = "x".join(map(str, self.shape[:12])) or "scalar"
        shape += f"x... ({len(self.shape)} axes)" if len(self.shape) > 12 else ""
        kind = "" if self.multilinear else ", nonlinear"
        return f"Network({len(self.leaves)} nodes, {shape}, {self.num_params} params{kind})"

    def __str__(self) -> str:
        return "\n".join([repr(self), *_lines(self, "  "), f"  -> {_legs(self.output, self)}"])

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(str(self))}</pre>"


# -- what is refused: contradictions of sizes, names, tied arrays, summed indices -----------------------------------
def _checked_sizes(nodes: tuple[AnyNode, ...], output: tuple[str, ...], given: Mapping[str, int]) -> Sizes:
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


def _check_names(net: Network) -> None:
    """No two nodes of one name, at any depth."""
    seen: set[str] = set()
    for name in _all_names(net):
        if name in seen:
            raise ValueError(
                f"two nodes are called {name!r}; node names are unique, tie arrays with Node(..., array=...)"
            )
        seen.add(name)


def _check_tied(net: Network) -> None:
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


def _check_summed(net: Network) -> None:
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


# -- names and text -------------------------------------------------------------------------------------------------
def _renamer(names: Mapping[str, str] | Callable[[str], str] | None) -> Callable[[str], str]:
    if names is None:
        return lambda name: name
    if callable(names):
        return names
    table = names
    return lambda name: table.get(name, name)


def _relabel(net: Network, fi: Callable[[str], str], fn: Callable[[str], str], fa: Callable[[str], str]) -> Network:
    def node(n: AnyNode) -> AnyNode:
        if isinstance(n, Elementwise):
            return Elementwise(fn(n.name), n.fn, tuple(_relabel(b, fi, fn, fa) for b in n.bodies))
        return Node(fn(n.name), tuple(map(fi, n.inds)), fa(n.array), n.fixed)

    return Network(
        tuple(map(node, net.nodes)), tuple(map(fi, net.output)), Sizes({fi(i): s for i, s in net.sizes.items()})
    )


def _legs(inds: tuple[str, ...], net: Network) -> str:
    return "(" + ", ".join(f"{i}:{net.sizes[i]}" for i in inds) + ")"


def _lines(net: Network, indent: str) -> Iterator[str]:
    for node in net.nodes:
        if isinstance(node, Node):
            note = f" = {node.array}" if node.array != node.name else ""
            note += "" if not node.fixed else " fixed" if node.fixed is True else f" fixed {node.fixed}"
            yield f"{indent}{node.name}{_legs(node.inds, net)}{note}"
        else:
            fn = node.fn if isinstance(node.fn, str) else getattr(node.fn, "__name__", "fn")
            yield f"{indent}{node.name} = {fn} of"
            for body in node.bodies:
                yield from _lines(body, indent + "  | ")
