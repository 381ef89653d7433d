"""Stars and trees: Tucker, CP, low rank, tree tensor networks (hierarchical Tucker), augmented trees, MERA."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from math import prod
from typing import Any

from tnkit.builders.arguments import Rank, assembled, check_activation, check_one_rank, check_rank, check_shape
from tnkit.builders.registry import builder
from tnkit.core.activations import Activation
from tnkit.core.checks import flag
from tnkit.core.network import AnyNode, Network
from tnkit.core.node import Node
from tnkit.core.numbers import whole_number


@builder(lambda shape, rank: prod(rank) + sum(n * r for n, r in zip(shape, rank)), shape=(4, 5, 6), rank=(2, 3, 2))
def tucker(shape: Sequence[int], rank: Rank) -> Network:
    """Tucker decomposition: a core joined to one factor an axis.

    >>> net = tk.tucker((8, 8, 3), rank=(4, 4, 3))
    >>> net.array_shapes["core"], net.num_params  # 4*4*3 + 8*4 + 8*4 + 3*3
    ((4, 4, 3), 121)

    Parameters
    ----------
    shape
        Sizes of ``i0, i1, ...``.
    rank
        Core sizes ``r0, r1, ...``: an int for all (cut to the axis), or a sequence.

    Returns
    -------
    Network
        ``core`` and ``factor_k``; parameters: prod r(k) + sum n(k) r(k).

    Raises
    ------
    TypeError, ValueError
        A shape or ranks that are no whole numbers of at least 1; not one rank an axis.
    """
    shape = check_shape(shape, "tucker")
    ranks = check_rank(rank, len(shape), "tucker", shape)
    core = Node("core", tuple(f"r{k}" for k in range(len(shape))))
    factors = [Node(f"factor_{k}", (f"i{k}", f"r{k}")) for k in range(len(shape))]
    sizes = {f"i{k}": n for k, n in enumerate(shape)} | {f"r{k}": r for k, r in enumerate(ranks)}
    return Network((core, *factors), tuple(f"i{k}" for k in range(len(shape))), sizes)


@builder(lambda shape, rank: rank * sum(shape), shape=(4, 5, 6, 2), rank=3)
def cp(shape: Sequence[int], rank: int) -> Network:
    """Canonical polyadic decomposition: one factor an axis, all on one hyperedge ``r``.

    >>> net = tk.cp((8, 8, 3), rank=5)
    >>> net.num_params, net.edges["r"]  # 5 * (8 + 8 + 3), and one hyperedge
    (95, ('factor_0', 'factor_1', 'factor_2'))
    >>> np.allclose(tk.contract(net, {f"factor_{k}": np.ones((n, 5)) for k, n in enumerate((8, 8, 3))}), 5)
    True

    Parameters
    ----------
    shape
        Sizes of ``i0, i1, ...``.
    rank
        Size of the hyperedge.

    Returns
    -------
    Network
        ``factor_k``; parameters: r sum n(k).

    Raises
    ------
    TypeError, ValueError
        A shape or a rank that is no whole number of at least 1.
    """
    shape = check_shape(shape, "cp")
    r = check_one_rank(rank, "cp")
    nodes = tuple(Node(f"factor_{k}", (f"i{k}", "r")) for k in range(len(shape)))
    sizes = {f"i{k}": n for k, n in enumerate(shape)} | {"r": r}
    return Network(nodes, tuple(f"i{k}" for k in range(len(shape))), sizes)


@builder(lambda shape, rank: rank * (shape[0] + prod(shape[1:])), shape=(12, 10), rank=3)
def low_rank(shape: Sequence[int], rank: int) -> Network:
    """A matrix as a product of two, ``left @ right``.

    >>> net = tk.low_rank((64, 32), rank=4)
    >>> net.num_params, net.array_shapes  # 4 * (64 + 32)
    (384, {'left': (64, 4), 'right': (4, 32)})

    Parameters
    ----------
    shape
        (rows, columns); further axes count as columns.
    rank
        Inner size.

    Returns
    -------
    Network
        ``left`` (i0, r) and ``right`` (r, i1, ...); parameters: r (n(0) + n(1) n(2) ...).

    Raises
    ------
    TypeError, ValueError
        A shape or a rank that is no whole number of at least 1; fewer than two axes.
    """
    shape = check_shape(shape, "low_rank", least=2)
    r = check_one_rank(rank, "low_rank")
    inds = tuple(f"i{k}" for k in range(len(shape)))
    sizes = dict(zip(inds, shape, strict=True)) | {"r": r}
    return Network((Node("left", (inds[0], "r")), Node("right", ("r", *inds[1:]))), inds, sizes)


def _in_tree(shape: Sequence[int], rank: int, arity: int = 2, activation: Any = None) -> int:
    """Sum over nodes of the product of the sizes below, times the size above."""
    total, below = 0, [(n, n) for n in shape]  # size of an index, entries under it
    while len(below) > arity:
        groups = [below[k : k + arity] for k in range(0, len(below), arity)]
        above = []
        for group in groups:
            size, under = prod(n for n, _ in group), prod(u for _, u in group)
            bond = min(rank, size, prod(shape) // under)
            total += size * bond if len(group) > 1 else 0
            above.append((bond, under) if len(group) > 1 else group[0])
        below = above
    return total + prod(n for n, _ in below)


@builder(_in_tree, shape=(2, 3, 2, 3, 4), rank=3, arity=2)
def tree(shape: Sequence[int], rank: int, arity: int = 2, activation: str | Activation | None = None) -> Network:
    r"""Tree tensor network (hierarchical Tucker): every node joins ``arity`` indices from below to one above.

    ::

             o
           /   \
          o     o
         / \   / \

    >>> net = tk.tree((2,) * 8, rank=4)
    >>> net.num_params, len(net.nodes)  # 4 leaves of 2*2*4, 2 nodes of 4*4*4, a root of 4*4
    (208, 7)
    >>> tk.tree((2,) * 8, rank=4, activation="relu").multilinear
    False

    The lowest nodes have the open indices themselves.  Hierarchical Tucker (Hackbusch and Kühn 2009) has a matrix more for each leaf,
    of n(k) x rank: fewer parameters where leaves are much longer than the rank, and no bond of a leaf larger than it.

    Parameters
    ----------
    shape
        Sizes of ``i0, i1, ...``, the leaves' legs.
    rank
        Size of the bonds, cut to what the indices below and beside it can use.
    arity
        Indices below a node.
    activation
        On the tensor that each level hands to the level below it, from the root down: a key of :data:`tnkit.ACTIVATIONS`, a
        function ``fn(xp, x)``, or None (one multilinear network).

    Returns
    -------
    Network
        ``node_{level}_{k}``, the root last; parameters: sum over nodes of (product of the sizes below) x (size above,
        none at the root).

    Raises
    ------
    TypeError, ValueError
        A shape or a rank that is no whole number of at least 1; an arity below 2; an unknown activation.
    """
    shape, rank, activation = _tree_arguments("tree", shape, rank, arity, activation)
    sizes: dict[str, int] = {f"i{k}": n for k, n in enumerate(shape)}
    return _levels_joined(_tree_levels(list(sizes), sizes, rank, arity), len(shape), sizes, activation)


def _tree_arguments(
    what: str, shape: Any, rank: Any, arity: Any, activation: Any
) -> tuple[tuple[int, ...], int, str | Activation | None]:
    shape, rank, activation = check_shape(shape, what), check_one_rank(rank, what), check_activation(activation, what)
    if whole_number(arity, f"{what}: arity") < 2:
        raise ValueError(f"{what}: arity {arity} is below 2")
    return shape, rank, activation


def _tree_levels(
    leaves: Sequence[str], sizes: dict[str, int], rank: int, arity: int, by_leaf: bool = False
) -> list[list[Node]]:
    """Nodes over the leaves, level by level, the root last; the sizes of their bonds are added to ``sizes``.

    They are numbered level by level, or ``by_leaf`` by the leftmost leaf under them, above a level of others.
    """
    whole = prod(sizes[i] for i in leaves)
    below = [(i, sizes[i]) for i in leaves]  # index, product of the open sizes under it
    levels: list[list[Node]] = [[]]
    while True:
        level = len(levels) - 1
        groups = [below[k : k + arity] for k in range(0, len(below), arity)]
        names = [
            f"node_{level + 1}_{k * arity ** (level + 1)}" if by_leaf else f"node_{level}_{k}"
            for k in range(len(groups))
        ]
        above = []
        for k, group in enumerate(groups):
            inds = tuple(i for i, _ in group)
            if len(groups) == 1:
                levels[-1].append(Node(names[k], inds))
                return levels
            if len(group) == 1:
                above.append(group[0])  # an odd one out waits for the next level
                continue
            bond, under = f"b{level}_{k}", prod(n for _, n in group)
            sizes[bond] = min(rank, prod(sizes[i] for i in inds), whole // under)
            levels[-1].append(Node(names[k], (*inds, bond)))
            above.append((bond, under))
        below = above
        levels.append([])


def _in_augmented_tree(shape: Sequence[int], rank: int, arity: int = 2, activation: Any = None) -> int:
    """The tree, and (n(a) n(b))^2 for the leaves a, b on either side of each border between lowest groups."""
    borders = range(arity, len(shape), arity)
    return _in_tree(shape, rank, arity) + sum((shape[k - 1] * shape[k]) ** 2 for k in borders)


@builder(_in_augmented_tree, shape=(2, 3, 2, 3, 2), rank=3, arity=2)
def augmented_tree(
    shape: Sequence[int], rank: int, arity: int = 2, activation: str | Activation | None = None
) -> Network:
    r"""Augmented tree tensor network (Felser et al. 2021): a tree on a row of disentanglers ``u``.

    ::

              o
            /   \
           o     o
          / \   / \
         |   [u]   |      neighbouring leaves of different branches

    >>> tk.augmented_tree((2,) * 8, rank=4).num_params  # the tree's 208, and 3 disentanglers of 16
    256

    A pair of neighbours that the tree joins only high up is joined directly.  With disentanglers that are the identity it is
    :func:`tree`.

    Parameters
    ----------
    shape
        Sizes of ``i0, i1, ...``.
    rank, arity
        As for :func:`tree`.  A disentangler stands on every border between two lowest groups of ``arity`` leaves.
    activation
        On the tensor that each level hands to the level below it, as for :func:`tree`; the disentanglers are the lowest level.

    Returns
    -------
    Network
        ``u_0_{leaf}`` and ``node_{level}_{leaf}``, by the leftmost leaf that they cover, the root last; parameters: those of
        the tree, and (n(a) n(b))^2 for each disentangler.

    Raises
    ------
    TypeError, ValueError
        As :func:`tree`.
    """
    shape, rank, activation = _tree_arguments("augmented_tree", shape, rank, arity, activation)
    sizes: dict[str, int] = {f"i{k}": n for k, n in enumerate(shape)}
    leaves, row = list(sizes), []
    for k in range(arity, len(shape), arity):
        pair = f"i{k - 1}", f"i{k}"
        up = f"u{k - 1}", f"u{k}"
        sizes |= {u: sizes[i] for u, i in zip(up, pair, strict=True)}
        leaves[k - 1 : k + 1] = up
        row.append(Node(f"u_0_{k - 1}", (*pair, *up)))
    levels = _tree_levels(leaves, sizes, rank, arity, by_leaf=True)
    return _levels_joined([row, *levels] if row else levels, len(shape), sizes, activation)


def _levels_joined(
    levels: Sequence[Sequence[Node]], sites: int, sizes: Mapping[str, int], activation: str | Activation | None
) -> Network:  # fmt: skip
    """Levels of nodes, the lowest first, output ``i0, i1, ...``; with an activation on what each hands down."""
    output = tuple(f"i{k}" for k in range(sites))
    if activation is None:
        return assembled(list(chain.from_iterable(levels)), output, sizes)
    nodes: list[AnyNode] = list(levels[-1])
    for k in reversed(range(len(levels) - 1)):
        seen = Counter(i for node in nodes for i in node.inds)
        legs = tuple(i for i, n in seen.items() if n == 1)
        body = assembled(nodes, legs, sizes)
        nodes = [*body.activate(activation, f"act_level_{k}").nodes, *levels[k]]
    return assembled(nodes, output, sizes)


def _in_mera(shape: Sequence[int], rank: int, periodic: bool = False, activation: Any = None) -> int:
    """(n(a) n(b))^2 for each disentangler, n(a) n(b) m for each isometry, n(a) n(b) at the top."""
    total, now = 0, list(shape)
    while len(now) > 2:
        around = [(now[-1], now[0])] if periodic and len(now) % 2 == 0 else []
        total += sum((a * b) ** 2 for a, b in [*zip(now[1:-1:2], now[2::2]), *around])
        pairs = list(zip(now[0::2], now[1::2]))
        total += sum(a * b * min(rank, a * b) for a, b in pairs)
        now = [min(rank, a * b) for a, b in pairs] + now[len(pairs) * 2 :]
    return total + prod(now)


@builder(_in_mera, shape=(2,) * 6, rank=3, periodic=True)
def mera(
    shape: Sequence[int], rank: int, periodic: bool = False, activation: str | Activation | None = None
) -> Network:
    """Binary MERA (Vidal 2007): each level a row of disentanglers ``u`` on neighbours, then isometries ``w`` two to one.

    >>> net = tk.mera((2,) * 8, rank=4)
    >>> net.shape == (2,) * 8, net["u_0_1"].inds[:2]
    (True, ('i1', 'i2'))
    >>> arrays = tk.init.orthogonal(net, toward=tk.directions(net))
    >>> u = arrays["u_0_1"].reshape(4, 4)  # a disentangler is orthogonal
    >>> np.allclose(u.T @ u, np.eye(4))
    True

    In Vidal's MERA all nodes but the top are isometries.  The structure alone does not say so: :func:`tnkit.init.orthogonal` draws
    such arrays, as above, and ``tnkit_nn.isometric_`` keeps them so in training.

    Parameters
    ----------
    shape
        Sizes of the physical indices ``i0, i1, ...``; at least two.
    rank
        Size of the indices above each isometry, cut to the product below.
    periodic
        Whether a disentangler joins the last site to the first (where that row is free).
    activation
        On the tensor that each level (isometries, then disentanglers) hands to the level below it, as for :func:`tree`.

    Returns
    -------
    Network
        ``u_{level}_{site}``, ``w_{level}_{site}``, ``top_{level}_0``; parameters: sum of (n(a) n(b))^2 over disentanglers,
        n(a) n(b) m over isometries, n(a) n(b) at the top.

    Raises
    ------
    TypeError, ValueError
        A shape or a rank that is no whole number of at least 1; fewer than two sites; an unknown activation.
    """
    shape = check_shape(shape, "mera", least=2)
    rank, activation = check_one_rank(rank, "mera"), check_activation(activation, "mera")
    periodic = flag(periodic, "mera: periodic")
    sizes: dict[str, int] = {f"i{k}": n for k, n in enumerate(shape)}
    now = [(f"i{k}", k) for k in range(len(shape))]  # index, leftmost physical site under it
    levels: list[list[Node]] = []
    while len(now) > 2:
        level = len(levels)
        levels.append([])
        pairs = [(k, k + 1) for k in range(1, len(now) - 1, 2)]
        if periodic and len(now) % 2 == 0:
            pairs.append((len(now) - 1, 0))
        for a, b in pairs:
            (ia, sa), (ib, sb) = now[a], now[b]
            up = f"u{level}_{sa}", f"u{level}_{sb}"
            sizes[up[0]], sizes[up[1]] = sizes[ia], sizes[ib]
            levels[-1].append(Node(f"u_{2 * level}_{sa}", (ia, ib, *up)))
            now[a], now[b] = (up[0], sa), (up[1], sb)
        above = []
        for k in range(0, len(now) - 1, 2):
            (ia, sa), (ib, _) = now[k], now[k + 1]
            bond = f"w{level}_{sa}"
            sizes[bond] = min(rank, sizes[ia] * sizes[ib])
            levels[-1].append(Node(f"w_{2 * level + 1}_{sa}", (ia, ib, bond)))
            above.append((bond, sa))
        now = above + ([now[-1]] if len(now) % 2 else [])
    levels.append([Node(f"top_{2 * len(levels)}_0", tuple(i for i, _ in now))])
    return _levels_joined(levels, len(shape), sizes, activation)
