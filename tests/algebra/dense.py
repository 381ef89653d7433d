"""States, sums of products and dense matrices of the tests of operators."""

from functools import reduce

import numpy as np
import torch

import tnkit as tk

X, Y, Z = np.array([[0, 1], [1, 0.0]]), np.array([[0, -1j], [1j, 0]]), np.diag([1.0, -1])
RAISE = np.array([[0, 1], [0, 0.0]])
EPS = {"float32": 1.2e-7, "complex64": 1.2e-7, "float64": 2.3e-16, "complex128": 2.3e-16}


def drawn(net, seed, dtype="float64", torch_too=False, scale=1.0):
    draw = np.random.default_rng(seed)
    made = {}
    for n, shape in net.array_shapes.items():
        x = draw.normal(size=shape)
        x = x + 1j * draw.normal(size=shape) if dtype.startswith("complex") else x
        made[n] = (x * scale).astype(dtype)
    return {n: torch.from_numpy(x) for n, x in made.items()} if torch_too else made


def wide(arrays, by=1.0):
    """Arrays for the oracle: in double precision, each over a number that is then no matter."""
    return {n: np.asarray(x, complex if np.asarray(x).dtype.kind == "c" else float) / by for n, x in arrays.items()}


def dense(terms, dims):
    def product(factors):
        return reduce(np.kron, [factors.get(k, np.eye(d)) for k, d in enumerate(dims)])

    return sum((c * product(f) for c, f in terms), np.zeros((np.prod(dims),) * 2))


def bond_ranks(matrix, dims):
    """The least bonds of an operator on a chain."""
    n = len(dims)
    x = matrix.reshape(*dims, *dims).transpose([i for k in range(n) for i in (k, n + k)])
    cuts = [np.linalg.svd(x.reshape(np.prod(dims[:k]) ** 2, -1), compute_uv=False) for k in range(1, n)]
    return [int((s > 1e-11 * s[0]).sum()) for s in cuts]


def bonds(net):
    return [net.sizes[i] for i in net.sizes if i not in net.output]


def value(net, arrays):
    """A multilinear network by numpy's einsum, in an order of numpy's; others by the oracle."""
    if not net.multilinear:
        return np.asarray(tk.testing.oracle(net, wide(arrays)))
    number, held = {i: k for k, i in enumerate(net.sizes)}, wide(arrays)
    operands = [x for n in net.nodes for x in (held[n.array], [number[i] for i in n.inds])]
    return np.asarray(np.einsum(*operands, [number[i] for i in net.output], optimize="greedy"))


def as_matrix(net, arrays, side):
    return value(net, arrays).reshape(side, -1)


def ising(n):
    return [(-1.0, {k: Z, k + 1: Z}) for k in range(n - 1)] + [(-0.5, {k: X}) for k in range(n)]


def heisenberg(n):
    return [(1.0, {k: P, k + 1: P}) for k in range(n - 1) for P in (X, Y, Z)]


def random_terms(dims, seed, count=12, complex_=False):
    draw = np.random.default_rng(seed)
    terms = []
    for _ in range(count):
        sites = draw.choice(len(dims), draw.integers(0, len(dims) + 1), replace=False)
        factors = {int(k): draw.normal(size=(dims[k],) * 2) for k in sites}
        factors = {k: x + 1j * draw.normal(size=x.shape) if complex_ else x for k, x in factors.items()}
        terms.append((draw.normal(), factors))
    return terms
