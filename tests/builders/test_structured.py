"""Structured matrices hold exactly what theory says: arrays made by hand, against dense linear algebra in double precision."""

from functools import reduce
from itertools import product
from math import log2, prod

import numpy as np
import pytest
import scipy.linalg
import torch

import tnkit as tk

#: One small network of every builder here, for what all must do.
NETS = {
    "kronecker": tk.kronecker((2, 3), (3, 2), 2),
    "LoKr": tk.kronecker((3, 4), (4, 3), factor_rank=(None, 2)),
    "btt": tk.btt((2, 3, 2), (3, 2, 2), 2),
    "monarch": tk.monarch((2, 3), (4, 2)),
    "butterfly": tk.butterfly(8, 8),
    "kaleidoscope": tk.butterfly(4, 4, passes=2),
    "block_term": tk.block_term((3, 4, 2), 2, 2),
    "augmented_tree": tk.augmented_tree((2, 3, 2, 3, 2), 2),
}


def random(net, seed=0):
    draw = np.random.default_rng(seed)
    return {name: draw.normal(size=shape) for name, shape in net.array_shapes.items()}


def matrix(net, arrays):
    """The dense matrix, rows by the digits o0 o1 ..., columns by i0 i1 ..., the first digit the most significant."""
    rows = prod(n for i, n in net.sizes.items() if i in net.output and i.startswith("o"))
    return tk.contract(net, arrays).reshape(rows, -1)


def filled(net, entry):
    """Arrays of a butterfly: ``entry(level, value of every index of that node)``."""
    made = {}
    for k, node in enumerate(net.nodes):
        shape = net.array_shapes[node.name]
        values = dict(zip(node.inds, np.indices(shape, sparse=True), strict=True))
        made[node.name] = np.array(np.broadcast_to(entry(k, values), shape))
    return made


def applied(array, state, digit):
    """One level, by hand: a matrix (o, i) of one digit of the state for every value of the others."""
    return np.moveaxis(np.einsum("...oi,...i->...o", array, np.moveaxis(state, digit, -1)), -1, digit)


def close(got, want):
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-12 * max(1.0, np.abs(want).max()))


# -- butterflies ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("digits", [(2,), (2,) * 3, (2,) * 6, (3, 2, 4), (4, 4), (5, 3)], ids=str)
def test_a_butterfly_is_the_discrete_fourier_transform(digits):
    """Level k turns digit k of time into digit k of frequency, the least first, and twiddles by the digits found before."""
    n = prod(digits)

    def twiddled(k, at):
        frequency = sum(at[f"o{s}"] * prod(digits[:s]) for s in range(k + 1))
        return np.exp(-2j * np.pi * (frequency * at[f"i{k}"] * prod(digits[k + 1 :]) % n) / n)

    net = tk.butterfly(digits, digits)
    found = tk.contract(net, filled(net, twiddled))
    reversed_rows = np.transpose(found, (*reversed(range(len(digits))), *range(len(digits), 2 * len(digits))))
    close(reversed_rows.reshape(n, n), np.fft.fft(np.eye(n), axis=0))


@pytest.mark.parametrize("n", [2, 8, 64])
def test_a_butterfly_is_the_hadamard_transform(n):
    net = tk.butterfly(n, n)
    arrays = filled(net, lambda k, at: 1.0 - 2 * (at[f"o{k}"] * at[f"i{k}"]))
    assert np.array_equal(matrix(net, arrays), scipy.linalg.hadamard(n))


def test_the_complex_butterfly_in_torch():
    net = tk.butterfly(16, 16)
    draw = np.random.default_rng(2)
    arrays = {name: draw.normal(size=(2, *s)) for name, s in net.array_shapes.items()}
    arrays = {name: a[0] + 1j * a[1] for name, a in arrays.items()}
    tensors = {name: torch.as_tensor(a) for name, a in arrays.items()}
    close(tk.contract(net, tensors).numpy(), tk.testing.oracle(net, arrays))


@pytest.mark.parametrize(
    "out,in_,passes", [((2, 3, 2), (3, 2, 4), 1), ((2, 3, 2), (3, 2, 4), 2), ((2,) * 4, (2,) * 4, 3), ((3,), (5,), 4)]
)
def test_levels_are_taken_one_after_another_there_and_back(out, in_, passes):
    net = tk.butterfly(out, in_, passes)
    arrays, n = random(net), len(out)
    digits = [*range(n), *(k for p in range(1, passes) for k in (range(n - 1)[::-1] if p % 2 else range(1, n)))]
    assert [node.name for node in net.nodes] == [f"level_{k}" for k in range(len(digits))]
    x = np.random.default_rng(9).normal(size=in_)
    state = reduce(lambda s, step: applied(arrays[f"level_{step[0]}"], s, step[1]), enumerate(digits), x)
    close(matrix(net, arrays) @ x.ravel(), state.ravel())


@pytest.mark.parametrize("n", [4, 8])
def test_two_passes_hold_every_permutation(n):
    """All settings of the switches, level by level: what they reach are all n! permutations, one pass reaches fewer."""
    for passes, reached in ((1, 2 ** (n * int(log2(n)) // 2)), (2, prod(range(1, n + 1)))):
        net = tk.butterfly(n, n, passes)
        found = np.arange(n)[None]
        for node in net.nodes:
            shape, digit = net.array_shapes[node.name], int(node.inds[-1].split("_")[-1].lstrip("i"))
            moves = []
            for swaps in product((0, 1), repeat=n // 2):
                switches = np.array([np.eye(2)[::-1] if s else np.eye(2) for s in swaps]).reshape(shape)
                moves.append(applied(switches, np.arange(n).reshape((2,) * int(log2(n))), digit).ravel())
            found = np.unique(found[:, np.array(moves, int)].reshape(-1, n), axis=0)
        assert len(found) == reached


def test_whole_numbers_are_read_by_their_prime_factors():
    assert tk.butterfly(8, 8) == tk.butterfly((2, 2, 2), (2, 2, 2))
    assert tk.butterfly(np.int64(12), torch.tensor(18)) == tk.butterfly((2, 2, 3), (2, 3, 3))
    assert tk.butterfly(4, 32) == tk.butterfly((1, 1, 1, 2, 2), (2,) * 5)
    assert tk.butterfly(32, 4) == tk.butterfly((2,) * 5, (2, 2, 1, 1, 1))
    assert tk.butterfly(1, 3).shape == (1, 3) and tk.butterfly(1, 1).num_params == 1
    assert tk.butterfly(8, (4, 2, 2)) == tk.butterfly((2, 2, 2), (4, 2, 2))


@pytest.mark.parametrize("n", [2, 16, 1024])
def test_counts_that_the_papers_give(n):
    digits, root = int(log2(n)), 2 ** (int(log2(n)) // 2)
    assert tk.butterfly(n, n).num_params == 2 * n * digits
    assert tk.butterfly(n, n, passes=2).num_params == 2 * n * (2 * digits - 1)
    if root**2 == n:
        assert tk.monarch((root, root), (root, root)).num_params == 2 * n * root
        assert tk.btt((root, root), (root, root), 3).num_params == 2 * n * root * min(3, root)


# -- Monarch, BTT ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "out,in_,groups",
    [
        ((2,) * 4, (2,) * 4, [(0, 2), (2, 4)]),
        ((2, 3, 2), (3, 2, 2), [(0, 1), (1, 3)]),
        ((2,) * 6, (2,) * 6, [(0, 2), (2, 3), (3, 6)]),
    ],
)
def test_monarch_holds_every_butterfly_whose_digits_it_merges(out, in_, groups):
    """A block is the product of the levels of its digits."""
    net = tk.butterfly(out, in_)
    arrays, n, blocks = random(net), len(out), {}
    coarse = tk.monarch([prod(out[a:b]) for a, b in groups], [prod(in_[a:b]) for a, b in groups])
    for k, (a, b) in enumerate(groups):
        kept = [f"o{d}" for d in range(a)] + [f"i{d}" for d in range(b, n)]
        kept += [f"o{d}" for d in range(a, b)] + [f"i{d}" for d in range(a, b)]
        run = tk.Network(net.nodes[a:b], kept, {i: net.sizes[i] for i in kept})
        made = tk.contract(run, {name: arrays[name] for name in run.parameters})
        blocks[f"block_{k}"] = made.reshape(coarse.array_shapes[f"block_{k}"])
    close(matrix(coarse, blocks), matrix(net, arrays))


def test_monarch_is_block_diagonal_matrices_and_permutations():
    (p, q), (a, b) = (3, 5), (4, 2)
    net = tk.monarch((p, q), (a, b))
    arrays = random(net)
    first, second = arrays["block_0"], arrays["block_1"]  # (i1, o0, i0), (o0, o1, i1)
    shuffle = np.eye(a * b)[np.arange(a * b).reshape(a, b).T.ravel()]  # i0 i1 -> i1 i0
    back = np.eye(p * b)[np.arange(b * p).reshape(b, p).T.ravel()]  # i1 o0 -> o0 i1
    want = scipy.linalg.block_diag(*second) @ back @ scipy.linalg.block_diag(*first) @ shuffle
    close(matrix(net, arrays), want)


def test_btt_of_rank_one_is_monarch():
    for out, in_ in [((3, 5), (4, 2)), ((2, 3, 2), (3, 2, 4))]:
        coarse, net = tk.monarch(out, in_), tk.btt(out, in_, 1)
        arrays = random(coarse)
        same = {f"core_{k}": arrays[f"block_{k}"].reshape(net.array_shapes[f"core_{k}"]) for k in range(len(out))}
        assert net.num_params == coarse.num_params
        close(matrix(net, same), matrix(coarse, arrays))


@pytest.mark.parametrize("rank", [1, 3, (2, 4)], ids=str)
def test_btt_holds_every_tt_matrix_of_its_ranks(rank):
    out, in_ = (4, 3, 2), (2, 5, 3)
    chain = tk.mpo(out, in_, rank)
    ranks = [chain.sizes["b1"], chain.sizes["b2"]]
    net, arrays = tk.btt(out, in_, ranks), random(chain)
    same = {}
    for node, core in zip(net.nodes, chain.nodes, strict=True):
        order = [core.inds.index(i) for i in node.inds if i in core.inds]
        wide = [net.sizes[i] if i in core.inds else 1 for i in node.inds]
        shape = net.array_shapes[node.name]
        same[node.name] = np.broadcast_to(arrays[core.name].transpose(order).reshape(wide), shape)
    close(matrix(net, same), matrix(chain, arrays))


def test_btt_of_two_cores_holds_every_matrix_at_its_largest_rank():
    """For every o0 and i1 it is a matrix of o1 x i0: its singular value decomposition."""
    out, in_ = (3, 4), (2, 5)
    net, want = tk.btt(out, in_, 100), np.random.default_rng(4).normal(size=(*out, *in_))
    assert net.sizes["b1"] == 2  # no larger than i0 and o1
    u, s, v = np.linalg.svd(want.transpose(0, 3, 1, 2), full_matrices=False)  # (o0, i1, o1, b), ..., (o0, i1, b, i0)
    arrays = {"core_0": v.transpose(1, 0, 2, 3), "core_1": (u * s[..., None, :]).transpose(0, 2, 3, 1)}
    close(tk.contract(net, arrays), want)


# -- sums of Kronecker products, of Tucker terms ---------------------------------------------------------------------
@pytest.mark.parametrize("out,in_", [((4, 3), (2, 5)), ((2, 3, 4), (3, 1, 2)), ((3,), (4,))])
@pytest.mark.parametrize("rank", [1, 3])
def test_kronecker_is_a_sum_of_kronecker_products(out, in_, rank):
    net = tk.kronecker(out, in_, rank)
    arrays = random(net)
    terms = [[a[r] if rank > 1 else a for a in arrays.values()] for r in range(rank)]
    close(matrix(net, arrays), sum(reduce(np.kron, factors) for factors in terms))
    assert rank > 1 or all(not (set(a.inds) & set(b.inds)) for a in net.nodes for b in net.nodes if a is not b)
    plain = tk.kronecker(out, in_, rank, factor_rank=100)
    arrays = random(plain)
    factors = [arrays[f"left_{k}"] @ arrays[f"right_{k}"] for k in range(len(out))]
    want = sum(reduce(np.kron, [f[r] if rank > 1 else f for f in factors]) for r in range(rank))
    close(matrix(plain, arrays), want)


def test_lokr_has_one_dense_factor_and_one_of_low_rank():
    net = tk.kronecker((4, 6), (3, 5), factor_rank=(None, 2))
    assert net.array_shapes == {"factor_0": (4, 3), "left_1": (6, 2), "right_1": (2, 5)}
    arrays = random(net)
    close(matrix(net, arrays), np.kron(arrays["factor_0"], arrays["left_1"] @ arrays["right_1"]))


def test_two_kronecker_factors_hold_every_matrix():
    """Van Loan and Pitsianis: the singular value decomposition of the rearranged matrix."""
    (a, b), (c, d) = (3, 4), (2, 5)
    want = np.random.default_rng(5).normal(size=(a * b, c * d))
    u, s, v = np.linalg.svd(want.reshape(a, b, c, d).transpose(0, 2, 1, 3).reshape(a * c, b * d), full_matrices=False)
    net = tk.kronecker((a, b), (c, d), min(a * c, b * d))
    arrays = {"factor_0": (u * s).T.reshape(-1, a, c), "factor_1": v.reshape(-1, b, d)}
    close(matrix(net, arrays), want)


@pytest.mark.parametrize("rank", [2, (2, 1, 3)], ids=str)
def test_block_term_is_a_sum_of_tucker_decompositions(rank):
    shape = (4, 3, 5)
    one, net = tk.tucker(shape, rank), tk.block_term(shape, rank, 3)
    arrays = random(net)
    close(tk.contract(net, arrays), sum(tk.contract(one, {n: a[t] for n, a in arrays.items()}) for t in range(3)))
    assert tk.block_term(shape, rank, 1) == one
    sums = tk.block_term(shape, 1, 4)
    assert sums.num_params == tk.cp(shape, 4).num_params + 4


# -- augmented trees ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("arity", [2, 3])
@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 3, 4), (2,) * 8, (2, 3, 2, 2, 3, 2, 2)], ids=str)
def test_an_augmented_tree_is_a_tree_under_disentanglers(shape, arity):
    plain, net = tk.tree(shape, 3, arity), tk.augmented_tree(shape, 3, arity)
    arrays, borders = random(net), range(arity, len(shape), arity)
    assert [n for n in net.array_shapes if n.startswith("u_")] == [f"u_0_{k - 1}" for k in borders]
    above = [n for n in net.array_shapes if not n.startswith("u_")]
    want = tk.contract(plain, {n: arrays[m] for n, m in zip(plain.array_shapes, above, strict=True)})
    for k in borders:
        want = np.moveaxis(np.tensordot(arrays[f"u_0_{k - 1}"], want, ((2, 3), (k - 1, k))), (0, 1), (k - 1, k))
    close(tk.contract(net, arrays), want)
    assert net.num_params == plain.num_params + sum((shape[k - 1] * shape[k]) ** 2 for k in borders)


def test_an_augmented_tree_with_activations_goes_from_the_root_down():
    net = tk.augmented_tree((2, 3, 2, 3), 2, activation="sin")
    a = random(net)
    upper = np.sin(np.einsum("abx,cdy,xy->abcd", a["node_1_0"], a["node_1_2"], np.sin(a["node_2_0"])))
    close(tk.contract(net, a), np.einsum("bcyz,ayzd->abcd", a["u_0_1"], upper))
    linear = tk.augmented_tree((2,) * 7, 3, activation=lambda xp, x: x)
    a = random(linear)
    close(tk.contract(linear, a), tk.contract(tk.augmented_tree((2,) * 7, 3), a))


# -- all of them ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", NETS)
def test_gradients(name):
    net = NETS[name]
    names, arrays = list(net.array_shapes), random(net, 7)
    tensors = [torch.tensor(arrays[n], requires_grad=True) for n in names]
    assert torch.autograd.gradcheck(lambda *a: tk.contract(net, dict(zip(names, a, strict=True))), tensors)


BAD = [
    (lambda: tk.kronecker((2, 3), (2,)), ValueError, "kronecker: out has 2 sizes and in_ 1; pad the shorter with 1"),
    (lambda: tk.kronecker((2,), (2,), 0), ValueError, "kronecker: rank 0 is below 1"),
    (lambda: tk.kronecker((2, 2), (2, 2), factor_rank=0), ValueError, "kronecker: factor_rank is a whole number of at least 1, not 0"),
    (lambda: tk.kronecker((2, 2), (2, 2), factor_rank=(2,)), ValueError, "kronecker: factor_rank has one entry a factor: 2, not 1"),
    (lambda: tk.kronecker((2, 2), (2, 2), factor_rank=(None, 0.5)), TypeError, "factor_rank of factor 1 is a whole number of at least 1, not 0.5"),
    (lambda: tk.monarch((2, 0), (2, 2)), ValueError, "monarch out: shape (2, 0) has a size below 1"),
    (lambda: tk.btt((2, 2), (2, 2), (2, 2)), ValueError, "btt: 2 ranks given for 1 bond"),
    (lambda: tk.butterfly((2, 2), (2, 2, 2)), ValueError, "butterfly: out has 2 sizes and in_ 3; pad the shorter with 1"),
    (lambda: tk.butterfly(0, 4), ValueError, "butterfly out as one number is from 1 to 2^40, not 0"),
    (lambda: tk.butterfly(4, 2.5), TypeError, "butterfly in_ is a whole number or a sequence of them, not 2.5"),
    (lambda: tk.butterfly(4, 4, 0), ValueError, "butterfly: passes is a whole number of at least 1, not 0"),
    (lambda: tk.block_term((2, 2), 2, 0), ValueError, "block_term: terms is a whole number of at least 1, not 0"),
    (lambda: tk.augmented_tree((2, 2), 2, 1), ValueError, "augmented_tree: arity 1 is below 2"),
]  # fmt: skip


@pytest.mark.parametrize("make,error,message", BAD, ids=[m[:40] for _, _, m in BAD])
def test_bad_inputs(make, error, message):
    with pytest.raises(error) as caught:
        make()
    assert message in str(caught.value)
