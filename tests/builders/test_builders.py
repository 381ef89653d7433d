"""Every builder against the oracle, with every optimiser and library; counts, variants and bad inputs."""

from math import prod

import numpy as np
import pytest
import torch

import tnkit as tk
from tnkit.builders.registry import PARAMETERS
from tnkit.testing import oracle


def agree(net, seed=0, **kwargs):
    arrays = tk.init.normal(net, seed=seed)
    got = tk.contract(net, arrays, **kwargs)
    assert got.shape == net.shape
    np.testing.assert_allclose(got, oracle(net, arrays), rtol=0, atol=1e-10)
    return got


# -- every builder x optimiser x library ----------------------------------------------------------------------------
@pytest.mark.parametrize("name", tk.BUILDERS)
@pytest.mark.parametrize("optimizer", tk.OPTIMIZERS)
def test_matrix(name, optimizer):
    net = tk.BUILDERS[name](**tk.EXAMPLES[name])
    arrays = tk.init.normal(net, seed=3)
    expected = oracle(net, arrays)
    assert expected.std() > 0.1
    got = tk.contract(net, arrays, optimizer=optimizer)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-10)
    tensors = {n: torch.as_tensor(a) for n, a in arrays.items()}
    np.testing.assert_allclose(tk.contract(net, tensors, optimizer=optimizer), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", tk.BUILDERS)
def test_a_builder_is_public_documented_and_drawn(name):
    build, net = tk.BUILDERS[name], tk.BUILDERS[name](**tk.EXAMPLES[name])
    assert getattr(tk, name) is build and name in tk.__all__
    assert net == build(**tk.EXAMPLES[name]) and hash(net) == hash(build(**tk.EXAMPLES[name]))
    assert "arameters" in build.__doc__ and "------" in build.__doc__
    drawn = tk.to_svg(net)
    assert all(f'id="node:{leaf.name}"' in drawn for leaf in net.leaves)


def grown(value):
    """Other arguments near these: ranks and sizes one smaller and larger, sequences reversed."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value - 1, value + 1, value + 4]
    if isinstance(value, tuple) and all(isinstance(v, int) for v in value):
        return [tuple(v + 1 for v in value), tuple(reversed(value))]
    return []


@pytest.mark.parametrize("name", tk.BUILDERS)
def test_a_builder_has_as_many_parameters_as_its_formula_says(name):
    build, example, formula = tk.BUILDERS[name], tk.EXAMPLES[name], PARAMETERS[name]
    assert build(**example).num_params == formula(**example)
    tried = 0
    for argument, value in example.items():
        for other in grown(value):
            try:
                net = build(**{**example, argument: other})
            except ValueError:
                continue  # below what it takes: the next test asks for a clear message
            assert net.num_params == formula(**{**example, argument: other}), (argument, other)
            tried += 1
    assert tried >= 2


WRONG = [0, -1, 2.5, float("nan"), "x", None, object(), (), (0, 2), (2.5, 2), ("a", "b"), [[(99,)]]]


@pytest.mark.parametrize("name", tk.BUILDERS)
def test_a_builder_refuses_what_it_cannot_take(name):
    """Each argument of the example spoiled in turn: what is taken gives a network, what is not is refused by the builder's name."""
    build, example, refused = tk.BUILDERS[name], tk.EXAMPLES[name], 0
    for argument, value in example.items():
        for wrong in WRONG:
            if isinstance(value, bool):
                continue
            try:
                net = build(**{**example, argument: wrong})
            except (TypeError, ValueError) as error:
                said = str(error)
                assert build.__name__ in said or "activation" in said, (argument, wrong, said)
                refused += 1
            else:
                assert isinstance(net, tk.Network), (argument, wrong)
    assert refused >= 3


# -- counts, by formulas that share nothing with the builders -------------------------------------------------------
def cap(shape, k):
    return min(prod(shape[:k]), prod(shape[k:]))


@pytest.mark.parametrize("rank", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("shape", [(5,), (4, 3), (4, 3, 5, 2), (2,) * 9, (1, 4, 1, 7), (13, 2, 11)])
def test_counts_of_chains_and_stars(shape, rank):
    n = len(shape)
    r = [1, *(min(rank, cap(shape, k)) for k in range(1, n)), 1]
    assert tk.tt(shape, rank).num_params == sum(r[k] * shape[k] * r[k + 1] for k in range(n))
    assert tk.mps(shape, rank) == tk.tt(shape, rank)
    t = [min(rank, s) for s in shape]
    assert tk.tucker(shape, rank).num_params == prod(t) + sum(a * b for a, b in zip(shape, t, strict=True))
    assert tk.cp(shape, rank).num_params == rank * sum(shape)
    pairs = [a * b for a, b in zip(shape, shape[::-1], strict=True)]
    r = [1, *(min(rank, cap(pairs, k)) for k in range(1, n)), 1]
    assert tk.mpo(shape, shape[::-1], rank).num_params == sum(r[k] * pairs[k] * r[k + 1] for k in range(n))
    if n > 1:
        assert tk.ring(shape, rank).num_params == rank**2 * sum(shape)
        assert tk.low_rank(shape, rank).num_params == rank * (shape[0] + prod(shape[1:]))


def test_counts_with_a_rank_for_each_bond():
    assert tk.tt((4, 3, 5), (2, 6)).num_params == 4 * 2 + 2 * 3 * 6 + 6 * 5
    assert tk.tt((4, 3, 5), np.array([2, 6])) == tk.tt(np.array([4, 3, 5]), [2, 6])
    assert tk.tt((4, 3, 5), np.int64(2)) == tk.tt((4, 3, 5), 2)
    assert tk.ring((4, 3, 5), (2, 6, 3)).num_params == 2 * 4 * 6 + 6 * 3 * 3 + 3 * 5 * 2
    assert tk.tucker((4, 3), (5, 2)).num_params == 5 * 2 + 4 * 5 + 3 * 2
    assert tk.mpo((4, 3), (2, 5), (7,)).num_params == 4 * 2 * 7 + 7 * 3 * 5


@pytest.mark.parametrize("arity", [2, 3, 4])
@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 3, 4), (2,) * 8, (3, 1, 4, 2, 2, 5, 2)])
@pytest.mark.parametrize("rank", [1, 2, 5, 10**6])
def test_trees(shape, arity, rank):
    net = tk.tree(shape, rank, arity)
    agree(net)
    assert net.num_params == sum(prod(s) for s in net.array_shapes.values())
    bonds = [i for i in net.sizes if i not in net.output]
    assert len(bonds) == len(net.nodes) - 1  # a tree
    for i in bonds:  # no bond is larger than its cut can use
        inside = {leg for leg in net.output if leg in _under(net, i)}
        size = prod(net.sizes[leg] for leg in inside)
        assert net.sizes[i] <= min(rank, size, prod(shape) // size)
    assert all(len(node.inds) <= arity + 1 for node in net.nodes)
    if rank == 10**6 and len(shape) == 8 and arity == 2:  # 4 nodes 2x2 -> 4, 2 nodes 4x4 -> 16, a root 16x16
        assert net.num_params == 4 * 16 + 2 * 256 + 256


def _under(net, bond):
    """Open legs below a bond: the node that has it as its last index, and what is under that one's."""
    node = next(n for n in net.nodes if n.inds[-1] == bond and n is not net.nodes[-1])
    legs = set()
    for i in node.inds[:-1]:
        legs |= {i} if i in net.output else _under(net, i)
    return legs


@pytest.mark.slow
def test_mera():
    # eight binary sites, rank 3: level 0 has 3 u (16) and 4 w (2 2 3); level 1 has 1 u (81) and 2 w (3 3 3); the top 9
    assert tk.mera((2,) * 8, 3).num_params == 3 * 16 + 4 * 12 + 81 + 2 * 27 + 9
    assert tk.mera((2,) * 8, 3, periodic=True).num_params == 4 * 16 + 4 * 12 + 2 * 81 + 2 * 27 + 9
    assert tk.mera((4, 5), 3).num_params == 20
    assert tk.mera((2, 3, 4), 100).num_params == 12**2 + 6 * 6 + 6 * 4  # isometry cut to 2 x 3
    for shape in [(2, 3), (2, 3, 4), (2,) * 5, (3, 2, 2, 3, 2, 2, 2), (1, 2, 3, 4)]:
        for periodic in (False, True):
            net = tk.mera(shape, 2, periodic)
            assert net.shape == shape
            agree(net)


@pytest.mark.parametrize("activation", ["sin", lambda xp, x: x * x])
def test_a_tree_with_activations_goes_from_the_root_down(activation):
    fn = np.sin if activation == "sin" else np.square
    net = tk.tree((2, 3, 4, 2, 3), 2, activation=activation)  # the fifth leaf waits for the root
    a = tk.init.normal(net, seed=3)
    root = fn(a["node_2_0"])
    middle = fn(np.einsum("abx,xe->abe", a["node_1_0"], root))
    want = np.einsum("ija,klb,abe->ijkle", a["node_0_0"], a["node_0_1"], middle)
    np.testing.assert_allclose(tk.contract(net, a), want, rtol=1e-12)
    plain = tk.tree((2, 3, 4, 2, 3), 2)
    assert net.array_shapes == plain.array_shapes and not net.multilinear
    linear = tk.tree((2, 3, 4, 2, 3), 2, activation=lambda xp, x: x)
    np.testing.assert_allclose(tk.contract(linear, a), tk.contract(plain, a), rtol=1e-12)
    assert [n.name for n in tk.tree((2, 3), 2, activation="sin").nodes] == ["node_0_0"]  # nothing below a root alone


@pytest.mark.parametrize("periodic", [False, True])
def test_a_mera_with_activations(periodic):
    net = tk.mera((2,) * 4, 2, periodic, activation="sin")
    a = tk.init.normal(net, seed=4)
    top = np.sin(a["top_2_0"])
    rows = np.einsum("xyp,zwq,pq->xyzw", a["w_1_0"], a["w_1_2"], top)
    if periodic:  # u on (3, 0): the sites and what is above them
        rows = np.einsum("dazx,xbcz->abcd", a["u_0_3"], rows)
    want = np.einsum("bcyz,ayzd->abcd", a["u_0_1"], rows)
    np.testing.assert_allclose(tk.contract(net, a), want, rtol=1e-12)
    deep = tk.mera((3, 2, 2, 3, 2, 2, 2), 3, periodic, activation=lambda xp, x: x)
    a = tk.init.normal(deep, seed=5)
    np.testing.assert_allclose(
        tk.contract(deep, a), tk.contract(tk.mera((3, 2, 2, 3, 2, 2, 2), 3, periodic), a), rtol=1e-11
    )
    assert sum(isinstance(n, tk.Elementwise) for n in deep.nodes) == 1  # each level is inside the next


def test_peps():
    for rows, cols in [(1, 1), (1, 4), (3, 1), (2, 3), (3, 3)]:
        net = tk.peps(rows, cols, 2, 3)
        neighbours = [(y > 0) + (y < rows - 1) + (x > 0) + (x < cols - 1) for y in range(rows) for x in range(cols)]
        assert net.num_params == sum(2 * 3**k for k in neighbours)
        assert net.shape == (2,) * (rows * cols)
        agree(tk.peps(rows, cols, 2, 2))
    assert tk.peps(2, 2, 3, 1).num_params == 12


# -- bad inputs -----------------------------------------------------------------------------------------------------
BAD = [
    (lambda: tk.tt((), 2), ValueError, "tt: shape () has 0 axes, needs at least 1"),
    (lambda: tk.tt((4, 0), 2), ValueError, "tt: shape (4, 0) has a size below 1"),
    (lambda: tk.tt((4.5, 3), 2), TypeError, "tt: shape (4.5, 3) is not a sequence of whole numbers"),
    (lambda: tk.tt(5, 2), TypeError, "tt: shape 5 is not a sequence of whole numbers"),
    (lambda: tk.tt((4, 4), 0), ValueError, "tt: rank 0 is below 1"),
    (lambda: tk.tt((4,), 0), ValueError, "tt: rank 0 is below 1"),
    (lambda: tk.tt((4, 4), 2.5), TypeError, "tt: rank 2.5 is neither a whole number nor a sequence of them"),
    (lambda: tk.tt((4, 4), (2, 3)), ValueError, "tt: 2 ranks given for 1 bond"),
    (lambda: tk.tt((4, 4), (0,)), ValueError, "tt: rank (0,) is below 1"),
    (lambda: tk.tt((4, 4), (1.5,)), TypeError, "tt: rank (1.5,) is neither a whole number"),
    (lambda: tk.mpo((4, 4), (2,), 2), ValueError, "mpo: out has 2 sizes and in_ 1; pad the shorter with 1"),
    (lambda: tk.mpo((4, -1), (2, 2), 2), ValueError, "mpo out: shape (4, -1) has a size below 1"),
    (lambda: tk.mpo((4, 1), (2, "2"), 2), TypeError, "mpo in_: shape (2, '2') is not a sequence of whole numbers"),
    (lambda: tk.ring((4,), 2), ValueError, "ring: shape (4,) has 1 axis, needs at least 2"),
    (lambda: tk.ring((4, 4), -1), ValueError, "ring: rank -1 is below 1"),
    (lambda: tk.tucker((4, 4), (1, 2, 3)), ValueError, "tucker: 3 ranks given for 2 bonds"),
    (lambda: tk.cp((4, 4), 0), ValueError, "cp: rank 0 is below 1"),
    (lambda: tk.cp((4, 4), (2, 2)), TypeError, "cp: rank is a whole number, not (2, 2)"),
    (lambda: tk.low_rank((4,), 2), ValueError, "low_rank: shape (4,) has 1 axis, needs at least 2"),
    (lambda: tk.low_rank((4, 4), 1.5), TypeError, "low_rank: rank is a whole number, not 1.5"),
    (lambda: tk.tree((2, 2), 2, arity=1), ValueError, "tree: arity 1 is below 2"),
    (lambda: tk.tree((2, 2), 0), ValueError, "tree: rank 0 is below 1"),
    (lambda: tk.mera((2,), 2), ValueError, "mera: shape (2,) has 1 axis, needs at least 2"),
    (lambda: tk.mera((2, 2), 0), ValueError, "mera: rank 0 is below 1"),
    (lambda: tk.tree((2, 2, 2), 2, activation="sine"), ValueError, "unknown activation 'sine'"),
    (lambda: tk.peps(0, 3, 2, 2), ValueError, "peps (rows, cols, dim, rank): shape (0, 3, 2, 2) has a size below 1"),
    (lambda: tk.peps(2, 3, 2.5, 2), TypeError, "peps (rows, cols, dim, rank): shape (2, 3, 2.5, 2) is not"),
    (lambda: tk.brick_wall(1), ValueError, "brick_wall: sites is a whole number of at least 2, not 1"),
    (lambda: tk.brick_wall(4.0), TypeError, "brick_wall: sites is a whole number, not 4.0"),
    (lambda: tk.brick_wall(4, 2, 1.5), TypeError, "brick_wall: depth is a whole number, not 1.5"),
    (lambda: tk.brick_wall(4, (2, 2)), ValueError, "brick_wall: 2 local dimensions for 4 sites"),
    (lambda: tk.brick_wall(4, 0), ValueError, "brick_wall: shape (0, 0, 0, 0) has a size below 1"),
    (lambda: tk.brick_wall(4, depth=0), ValueError, "brick_wall: depth 0 is below 1"),
    (lambda: tk.brick_wall(4, start="zero"), ValueError, "brick_wall: start is one of constant, vectors, open, not 'zero'"),
    (lambda: tk.brick_wall(5, periodic=True), ValueError, "periodic ends need an even number of sites, not 5"),
    (lambda: tk.brick_wall(4, share=0), ValueError, "brick_wall: share 0 is below 1"),
    (lambda: tk.brick_wall(4, activation="rely"), ValueError, "unknown activation 'rely'; known: relu, "),
    (lambda: tk.brick_wall(4, depth=1, activation="rely"), ValueError, "unknown activation 'rely'; known: relu, "),
    (lambda: tk.circuit((2, 0), []), ValueError, "circuit: shape (2, 0) has a size below 1"),
    (lambda: tk.circuit((2, 3), [[(0, 2)]]), ValueError, "circuit: column 0 names site 2, of sites 0 to 1"),
    (lambda: tk.circuit((2, 3), [[], [(0, 1), (1,)]]), ValueError, "circuit: column 1 has site 1 twice"),
    (lambda: tk.circuit((2, 3), [[()]]), ValueError, "circuit: column 0 has a group of no site"),
    (lambda: tk.circuit((2, 3), [[(0.5,)]]), TypeError, "circuit: a site of column 0 is a whole number, not 0.5"),
    (lambda: tk.circuit((2, 3), [], start=[(1,)]), ValueError, "circuit: no group of the start has site 0"),
    (lambda: tk.circuit((2, 3), [], start=[(0,), (1, 0)]), ValueError, "circuit: the start has site 0 twice"),
    (lambda: tk.circuit((2, 3), [], start=tk.tt((3, 2), 1)), ValueError, "the start has shape (3, 2), the sites have sizes (2, 3)"),
    (lambda: tk.circuit((2, 3), [[(0,)]], ["sin", None]), ValueError, "circuit: 2 activations for 1 column"),
    (lambda: tk.circuit((2, 3), [[(0,)]], "sine"), ValueError, "unknown activation 'sine'; known: relu, "),
    (lambda: tk.adtn((2,)), ValueError, "adtn: shape (2,) has fewer than two sites"),
    (lambda: tk.adtn((3,), dim=None), ValueError, "adtn: shape (3,) has fewer than two sites"),
    (lambda: tk.adtn((1, 1)), ValueError, "adtn: shape (1, 1) has fewer than two sites"),
    (lambda: tk.adtn((8, 8), order="random"), ValueError, "adtn: order is one of sequential, interleaved, not 'random'"),
    (lambda: tk.adtn((8, 8), start="open"), ValueError, "adtn: start='open' leaves input legs"),
    (lambda: tk.adtn((8, 8), dim=1), ValueError, "a local dimension is at least 2, not 1"),
    (lambda: tk.adtn((8, 8), dim=2.0), TypeError, "adtn: dim is a whole number, not 2.0"),
    (lambda: tk.adtn((8, 8), dim=(2, 2)), ValueError, "a tensor of shape (2, 2) does not fill a weight of shape (8, 8)"),
    (lambda: tk.adtn((8, 8), dim=(8, 8, 2)), ValueError, "a tensor of shape (8, 8, 2) is too large for a weight of shape"),
    (lambda: tk.adtn((8, 0)), ValueError, "adtn: shape (8, 0) has a size below 1"),
    # numbers in every form
    (lambda: tk.tt({2, 3}, 2), TypeError, "tt: shape {2, 3} is not a sequence of whole numbers: a set has no order"),
    (lambda: tk.tt(b"ab", 2), TypeError, "tt: shape b'ab' is not a sequence of whole numbers"),
    (lambda: tk.tt({2: 3}, 2), TypeError, "tt: shape {2: 3} is not a sequence of whole numbers"),
    (lambda: tk.tt((True, 3), 2), TypeError, "tt: shape (True, 3) is not a sequence of whole numbers"),
    (lambda: tk.tt(np.ones((2, 2)), 2), TypeError, "tt: shape a ndarray of shape (2, 2) is not a sequence"),
    (lambda: tk.tt(np.array(3), 2), TypeError, "tt: shape array(3) is not a sequence of whole numbers"),
    (lambda: tk.tt((2, 10**30), 2), ValueError, "has a size above 9223372036854775807, the most entries that an array has"),
    (lambda: tk.tt((2, 3), 10**30), ValueError, "is above 9223372036854775807"),
    (lambda: tk.tt((2, 3), True), TypeError, "tt: rank True is neither a whole number nor a sequence of them"),
    (lambda: tk.tt((2, 3), {2}), TypeError, "tt: rank {2} is neither a whole number nor a sequence of them: a set has no order"),
    (lambda: tk.tt((2, 3), b"x"), TypeError, "tt: rank b'x' is neither a whole number"),
    (lambda: tk.tt((2, 3), np.array([2.0])), TypeError, "tt: rank a ndarray of shape (1,) is neither a whole number"),
    (lambda: tk.cp((2, 3), False), TypeError, "cp: rank is a whole number, not False"),
    (lambda: tk.peps(2, 2, True, 2), TypeError, "is not a sequence of whole numbers"),
    (lambda: tk.peps(10**6, 10**6, 2, 2), MemoryError, "peps: 1000000 x 1000000 sites make 1e+12 nodes; at most 1,000,000"),
    (lambda: tk.brick_wall(4, 2, 10**12), MemoryError, "brick_wall: 4 sites and depth 1000000000000 make 4e+12 nodes"),
    (lambda: tk.brick_wall(10**12), MemoryError, "brick_wall: 1000000000000 sites and depth 3 make 3e+12 nodes"),
    (lambda: tk.adtn((8, 8), 10**12), MemoryError, "adtn: 6 sites and depth 1000000000000 make"),
    (lambda: tk.brick_wall(4, periodic=1), TypeError, "brick_wall: periodic is True or False, not 1"),
    (lambda: tk.brick_wall(4, full="no"), TypeError, "brick_wall: full is True or False, not 'no'"),
    (lambda: tk.mera((2, 2, 2), 2, periodic=None), TypeError, "mera: periodic is True or False, not None"),
    (lambda: tk.adtn((8, 8), scale=2), TypeError, "adtn: scale is True or False, not 2"),
    (lambda: tk.brick_wall(4, activation=len), TypeError, "brick_wall: an activation is a name or a function fn(xp, *x)"),
    (lambda: tk.tree((2, 2, 2), 2, activation=int), TypeError, "tree: an activation is a name or a function fn(xp, *x)"),
    (lambda: tk.circuit((2, 3), {((0,),)}), TypeError, "circuit: columns is a sequence, a tuple or a list, not"),
    (lambda: tk.circuit((2, 3), [[{0, 1}]]), TypeError, "circuit: a group of column 0 is a sequence, a tuple or a list, not {0, 1}"),
    (lambda: tk.circuit((2, 3), [[(True,)]]), TypeError, "circuit: a site of column 0 is a whole number, not True"),
    (lambda: tk.circuit((2, 3), [[(0,)]], {"sin"}), TypeError, "circuit: activation is a sequence, a tuple or a list, not {'sin'}"),
]  # fmt: skip


@pytest.mark.parametrize(
    "form",
    [
        list,
        tuple,
        np.array,
        lambda n: tuple(map(np.int64, n)),
        lambda n: np.array(n, np.uint8),
        lambda n: map(int, n),
        torch.tensor,
    ],
    ids=["list", "tuple", "array", "numpy ints", "uint8", "map", "tensor"],
)
def test_whole_numbers_are_alike_in_every_form(form):
    assert tk.tt(form([4, 3, 5]), form([2, 3])) == tk.tt((4, 3, 5), (2, 3))
    assert tk.tt(form([4, 3, 5]), form([2])[0] if hasattr(form([2]), "__getitem__") else 2) == tk.tt((4, 3, 5), 2)
    assert tk.mpo(form([2, 3]), form([3, 2]), form([4])) == tk.mpo((2, 3), (3, 2), (4,))
    assert tk.ring(form([2, 3]), form([3, 2])) == tk.ring((2, 3), (3, 2))
    assert tk.tucker(form([2, 3]), form([2, 2])) == tk.tucker((2, 3), (2, 2))
    assert tk.brick_wall(3, form([2, 3, 2])) == tk.brick_wall(3, (2, 3, 2))
    assert tk.circuit(form([2, 3]), [[form([0, 1])]], start=[form([1, 0])]) == tk.circuit(
        (2, 3), [[(0, 1)]], start=[(1, 0)]
    )


def test_one_number_is_alike_in_every_form():
    for two in (2, np.int64(2), np.uint8(2), np.array(2), torch.tensor(2)):
        assert tk.tt((4, 3), two) == tk.tt((4, 3), 2) and tk.cp((4, 3), two) == tk.cp((4, 3), 2)
        assert tk.brick_wall(4, two, two) == tk.brick_wall(4, 2, 2) and tk.adtn((4, 4), two, dim=two) == tk.adtn(
            (4, 4), 2, dim=2
        )
        assert tk.peps(two, two, two, two) == tk.peps(2, 2, 2, 2)


@pytest.mark.parametrize("make,error,message", BAD, ids=[m[:40] for _, _, m in BAD])
def test_bad_inputs(make, error, message):
    with pytest.raises(error) as caught:
        make()
    assert message in str(caught.value)
