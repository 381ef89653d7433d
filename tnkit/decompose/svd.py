"""Decompositions of an array by singular values, along any tree: TT, TT-matrix, hierarchical Tucker, low rank."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from tnkit.builders import chains, trees
from tnkit.core.checks import a_network
from tnkit.core.decomposition import Decomposition
from tnkit.core.keywords import keywords_of
from tnkit.core.network import Network
from tnkit.core.structure import as_tree
from tnkit.decompose.ranks import Rank, check_tol
from tnkit.decompose.registry import public, registered
from tnkit.decompose.sweep import check_target, sweep
from tnkit.execution.backend import Backend


@registered
@keywords_of(max_bond="rank")
def tree_svd(
    x: Any,
    net: Network | None = None,
    *,
    rank: Rank = None,
    tol: float | None = None,
    budget: int | None = None,
    center: str | None = None,
    method: str = "auto",
    backend: Backend | None = None,
) -> Decomposition:
    """Decompose an array along any tree-shaped network.

    >>> x = np.random.default_rng(0).normal(size=(4, 4, 4, 4))
    >>> tk.tree_svd(x).error < 1e-12  # no bound: exact
    True
    >>> cut = tk.tree_svd(x, tk.tree(x.shape, rank=4))
    >>> np.allclose(cut.error, np.linalg.norm(x - tk.contract(cut)) / np.linalg.norm(x))  # as measured
    True
    >>> tk.tree_svd(x, tol=0.5).error <= 0.5
    True

    Parameters
    ----------
    x
        Array of shape ``net.shape``, real or complex; integers are read as floating-point numbers.
    net
        A tree: multilinear, no tied or fixed arrays, no loops, traces or hyperedges.  ``tree(x.shape, ...)`` by default.
    rank
        Largest bond sizes: an int for all, a sequence in the network's order, or a mapping from bonds.  With neither rank nor
        tolerance nor budget, the sizes that ``net`` has (no bound without ``net``).
    tol
        Relative Frobenius error that the result keeps.
    budget
        Most parameters: the ranks that give the least error found for that count.
    center
        The node that holds the weight, all others being isometries; by default the last one left, where the sweep is cheap.
    method
        ``auto``, ``exact`` (never randomised), or ``gram``, ``svd``, ``randomised`` at every bond: see
        :mod:`tnkit.decompose.truncate`.  The randomised way is seeded: equal calls give equal results.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    Decomposition
        ``net`` with the bonds found, its arrays; the exact relative error, and what ran at each bond.  Arrays are on the device of
        ``x``, in its dtype (half precision: float32), and differentiable in it where the library is.

    Raises
    ------
    TypeError, ValueError
        A network that is no tree (reason, node and index are named), a shape that disagrees, no entries or some that are not
        finite, ranks, a tolerance or a budget that cannot be.
    """
    x, backend = check_target(x, "tree_svd", backend)
    if net is None:
        net = trees.tree(tuple(x.shape), 1)
    elif rank is None and not check_tol(tol, "tree_svd") and budget is None:
        rank = {b: net.sizes[b] for b in as_tree(a_network(net, "tree_svd"), "tree_svd").bonds}
    return sweep(x, net, rank, tol, budget, center, method, backend, "tree_svd")


@registered
@keywords_of(max_bond="rank")
def tt_svd(
    x: Any,
    *,
    rank: Rank = None,
    tol: float | None = None,
    budget: int | None = None,
    center: str | None = None,
    method: str = "auto",
    backend: Backend | None = None,
) -> Decomposition:
    """Tensor train (Oseledets 2011).

    >>> i = np.arange(8)
    >>> x = np.sin(i[:, None, None] + i[:, None] + i)  # a sine has rank 2
    >>> net, arrays = tk.tt_svd(x, tol=1e-10)
    >>> net.sizes["b1"], net.sizes["b2"], net.num_params, x.size
    (2, 2, 64, 512)
    >>> np.allclose(tk.contract(net, arrays), x)
    True
    >>> tk.tt_svd(x, rank=1).error > 0.5
    True

    Parameters
    ----------
    x
        An array of at least one axis, real or complex.
    rank, tol, budget, method
        As for :func:`tree_svd`.
    backend
        The array library; by default that of the arrays.
    center
        The core that holds the weight, the last one by default.

    Returns
    -------
    Decomposition
        ``tnkit.tt(x.shape, rank=the bonds found)`` and its arrays; every core but the centre is an isometry towards it.

    Raises
    ------
    TypeError, ValueError
        As :func:`tree_svd`.
    """
    x, backend = check_target(x, "tt_svd", backend)
    net = chains.tt(tuple(x.shape), 1)
    return sweep(x, net, rank, tol, budget, net.nodes[-1].name if center is None else center, method, backend, "tt_svd")


@public
@keywords_of(max_bond="rank")
def mpo_svd(
    x: Any,
    out: Sequence[int],
    in_: Sequence[int],
    *,
    rank: Rank = None,
    tol: float | None = None,
    budget: int | None = None,
    center: str | None = None,
    method: str = "auto",
    backend: Backend | None = None,
) -> Decomposition:
    """TT-matrix of a matrix (Novikov et al. 2015), the same as a matrix product operator.

    >>> x = np.kron(np.arange(6.0).reshape(2, 3), np.ones((4, 4)))
    >>> found = tk.mpo_svd(x, (2, 4), (3, 4), tol=1e-10)  # a Kronecker product has rank 1
    >>> found.network.sizes["b1"], found.network.num_params  # 2*3 + 4*4
    (1, 22)
    >>> np.allclose(tk.detensorize(tk.contract(found), (8, 12)), x)
    True

    Parameters
    ----------
    x
        Matrix (prod(out), prod(in_)), or any array of the shape (*out, *in_).
    out, in_
        Sizes of the row and of the column indices, equally many.
    rank, tol, budget, method
        As for :func:`tree_svd`.
    backend
        The array library; by default that of the arrays.
    center
        The core that holds the weight, the last one by default.

    Returns
    -------
    Decomposition
        ``tnkit.mpo(out, in_, rank=the bonds found)`` and its arrays.

    Raises
    ------
    TypeError, ValueError
        As :func:`tree_svd`; a shape that is neither the matrix's nor the array's.
    """
    net = chains.mpo(out, in_, 1)
    x, backend = check_target(x, "mpo_svd", backend)
    half = len(net.shape) // 2
    matrix = (prod(net.shape[:half]), prod(net.shape[half:]))
    if tuple(x.shape) not in (matrix, net.shape):
        raise ValueError(f"mpo_svd: x has shape {tuple(x.shape)}, which is neither {matrix} nor {net.shape}")
    return sweep(
        backend.reshape(x, *net.shape),
        net,
        rank,
        tol,
        budget,
        net.nodes[-1].name if center is None else center,
        method,
        backend,
        "mpo_svd",
    )


@registered
@keywords_of(max_bond="rank")
def low_rank_svd(
    x: Any,
    *,
    rank: int | None = None,
    tol: float | None = None,
    budget: int | None = None,
    method: str = "auto",
    backend: Backend | None = None,
) -> Decomposition:
    """A matrix as a product of two, by its leading singular values (Eckart and Young 1936).

    >>> found = tk.low_rank_svd(np.diag([3.0, 2.0, 0.1]), rank=2)
    >>> found.network.array_shapes, np.allclose(found.error, 0.1 / np.sqrt(13.01))
    ({'left': (3, 2), 'right': (2, 3)}, True)

    Parameters
    ----------
    x
        Matrix; further axes count as columns.
    rank, tol, budget, method
        As for :func:`tree_svd`.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    Decomposition
        ``tnkit.low_rank(x.shape, rank)``: ``left`` is an isometry.

    Raises
    ------
    TypeError, ValueError
        As :func:`tree_svd`; an array of fewer than two axes.
    """
    x, backend = check_target(x, "low_rank_svd", backend, 2)
    return sweep(x, trees.low_rank(tuple(x.shape), 1), rank, tol, budget, "right", method, backend, "low_rank_svd")
