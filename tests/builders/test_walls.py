"""Brick walls, circuits and ADTNs by hand: counts, activations, shared and full bricks, weights that they fill."""

from math import prod

import numpy as np
import pytest

import tnkit as tk
from tnkit.builders.circuits import STARTS
from tnkit.execution.weights import detensorize
from tnkit.testing import oracle

ADTN_SHAPES = [(784, 10), (1009, 7), (120, 400), (16, 6, 5, 5), (10,), (1, 16, 1), (1, 7), (6, 1, 1, 5)]


# -- the brick wall -------------------------------------------------------------------------------------------------
def test_paper_counts():
    assert tk.adtn((512, 4096), depth=1).num_params == 200
    assert tk.adtn((4096, 4096), depth=1).num_params == 224
    assert tk.adtn((512, 4096), depth=1, full=True).num_params == 320
    assert tk.adtn((4096, 4096), depth=1, full=True).num_params == 368
    for depth in (2, 3, 5):
        for full in (False, True):
            more = (
                tk.adtn((512, 4096), depth, full=full).num_params
                - tk.adtn((512, 4096), depth - 1, full=full).num_params
            )
            assert more == 16 * (21 - 1)


@pytest.mark.parametrize("sites", [2, 3, 6, 7])
@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("depth", [1, 2])
def test_wall_counts(sites, dim, depth):
    q, d, evens = sites, dim, sites // 2
    block = d**4 * (q - 1)
    count = {s: tk.brick_wall(q, d, depth, start=s).num_params for s in STARTS}
    assert count["constant"] == depth * block - evens * (d**4 - d**2)
    assert count["vectors"] == depth * block + d * q
    assert count["open"] == depth * block
    assert tk.brick_wall(q, d, depth, full=True).num_params == depth * block
    assert tk.brick_wall(q, d, depth, "relu").num_params == count["constant"]
    if q % 2 == 0 and q > 2:
        assert tk.brick_wall(q, d, depth, start="open", periodic=True).num_params == depth * d**4 * q
        assert tk.brick_wall(q, d, depth, start="open", periodic=True, share=1).num_params == 2 * depth * d**4


def by_hand(arrays, dims, depth, activation, start, periodic):
    """One brick after another on the full tensor, by numpy.tensordot; axes of the state are the sites, then inputs."""
    q = len(dims)
    if start == "open":
        state = np.eye(prod(dims)).reshape(*dims, *dims)
    else:
        state = np.ones(())
        for s, d in enumerate(dims):
            v = arrays[f"start_{s}"] if start == "vectors" else np.eye(d)[0]
            state = np.multiply.outer(state, v)
    for column in range(2 * depth):
        pairs = [(s, s + 1) for s in range(column % 2, q - 1, 2)]
        if column % 2 and periodic and q > 2:
            pairs.append((q - 1, 0))
        for a, b in pairs:
            brick = arrays[f"brick_{column}_{a}"]
            if brick.ndim == 2:  # acts on [1, 0] [1, 0]: only that column of the gate matters
                whole = np.zeros((*brick.shape, dims[a], dims[b]))
                whole[:, :, 0, 0] = brick
                brick = whole
            state = np.moveaxis(np.tensordot(brick, state, ((2, 3), (a, b))), (0, 1), (a, b))
        if column % 2 and column < 2 * depth - 1 and activation:
            state = activation(state)
    return state


HAND = {None: None, "relu": lambda x: np.maximum(x, 0), "tanh": np.tanh, "sin": np.sin}


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("activation", HAND)
@pytest.mark.parametrize(
    "dims,periodic", [((2, 2), False), ((2,) * 4, True), ((2, 3, 2, 2, 3), False), ((3, 2, 2, 3), True)]
)
def test_wall_by_hand(start, activation, dims, periodic):
    for depth in (1, 3):
        net = tk.brick_wall(len(dims), dims, depth, activation, start, periodic)
        arrays = tk.init.normal(net, seed=depth)
        expected = by_hand(arrays, dims, depth, HAND[activation], start, periodic)
        np.testing.assert_allclose(tk.contract(net, arrays), expected, rtol=0, atol=1e-10)
        assert net.multilinear == (activation is None or depth == 1)


@pytest.mark.parametrize("start", [None, [(0, 2), (3, 1)], tk.ring((3, 2, 4, 2), 2)], ids=["vectors", "groups", "ring"])
@pytest.mark.parametrize("activation", ["tanh", None, ["sin", None]], ids=str)
def test_circuit_by_hand(start, activation):
    net = tk.circuit((3, 2, 4, 2), [[(0,), (3, 1)], [(2, 3)]], activation, start)
    arrays = tk.init.normal(net, seed=3)
    if start is None:
        state = np.einsum("a,b,c,d->abcd", *(arrays[f"start_{s}"] for s in range(4)))
    elif isinstance(start, tk.Network):
        state = tk.contract(start, {n: arrays[n] for n in start.parameters})
    else:
        state = np.einsum("ac,db->abcd", arrays["start_0"], arrays["start_3"])
    first, second = activation if isinstance(activation, list) else (activation, activation)
    state = HAND[first](state) if first else state
    state = np.einsum("Aa,DBdb,abcd->ABcD", arrays["gate_0_0"], arrays["gate_0_3"], state)
    state = HAND[second](state) if second else state
    state = np.einsum("CDcd,abcd->abCD", arrays["gate_1_2"], state)
    assert net.output == ("i0", "i1", "i2", "i3") and net.multilinear == (activation is None)
    np.testing.assert_allclose(tk.contract(net, arrays), state, rtol=0, atol=1e-10)


def test_circuit_of_circuits_and_a_wall():
    wall, dims = tk.brick_wall(4, (2, 3, 2, 2), 2, "relu"), (2, 3, 2, 2)
    net = tk.circuit(dims, [[(1, 2)], [(0, 1), (2, 3)], [(1, 2)]], [None, "relu", None], start=[(0, 1), (2, 3)])
    arrays = tk.init.normal(wall, seed=5)
    names = {"start_0": "brick_0_0", "start_2": "brick_0_2"}
    given = {
        n: arrays[
            names.get(n, n.replace("gate_2", "brick_3").replace("gate_1", "brick_2").replace("gate_0", "brick_1"))
        ]
        for n in net.parameters
    }
    np.testing.assert_allclose(tk.contract(net, given), tk.contract(wall, arrays), rtol=0, atol=1e-12)
    again = tk.circuit(dims, [[(0,)]], start=wall)
    assert again.num_params == wall.num_params + 4 and again.shape == dims
    same = tk.circuit(dims, [], start=wall)
    np.testing.assert_allclose(tk.contract(same, arrays), tk.contract(wall, arrays), rtol=0, atol=0)
    with pytest.raises(ValueError, match="two nodes are called"):
        tk.circuit(dims, [[(0,)]], start=again)


def test_activation_as_a_function():
    cube = tk.brick_wall(4, 2, 2, lambda xp, x: x**3)
    arrays = tk.init.normal(cube, seed=1)
    expected = by_hand(arrays, (2,) * 4, 2, lambda x: x**3, "constant", False)
    np.testing.assert_allclose(tk.contract(cube, arrays), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("dims", [(2,) * 5, (2, 3, 2, 4)])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_full_bricks_with_the_effective_ones_inside(dims, activation):
    small = tk.brick_wall(len(dims), dims, 2, activation)
    full = tk.brick_wall(len(dims), dims, 2, activation, full=True)
    arrays = tk.init.normal(small, seed=4)
    rng = np.random.default_rng(0)
    whole = {n: rng.normal(size=s) for n, s in full.array_shapes.items() if n in full.parameters}
    for name, a in arrays.items():
        if name in whole and whole[name].ndim != a.ndim:
            whole[name][..., 0, 0] = a
        elif name in whole:
            whole[name] = a
    np.testing.assert_allclose(tk.contract(full, whole), tk.contract(small, arrays), rtol=0, atol=1e-12)


def test_open_wall_reads_as_a_matrix():
    wall = tk.brick_wall(4, 2, 2, start="open")
    assert wall.output == ("i0", "i1", "i2", "i3", "x0", "x1", "x2", "x3")
    arrays = tk.init.orthogonal(wall, seed=0)
    matrix = tk.contract(wall, arrays).reshape(16, 16)
    gram = matrix.T @ matrix
    np.testing.assert_allclose(gram, gram[0, 0] * np.eye(16), atol=1e-12)  # orthogonal bricks: an orthogonal circuit
    vectors = tk.brick_wall(4, 2, 2, start="vectors")
    v = np.random.default_rng(1).normal(size=(4, 2))
    given = arrays | {f"start_{s}": v[s] for s in range(4)}
    product = np.einsum("a,b,c,d->abcd", *v).ravel()
    np.testing.assert_allclose(tk.contract(vectors, given).ravel(), matrix @ product, atol=1e-12)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("share", [1, 2, 5])
def test_shared_bricks(start, share):
    net = tk.brick_wall(8, 2, 2, "tanh", start, periodic=True, share=share)
    arrays = tk.init.normal(net)
    free = tk.brick_wall(8, 2, 2, "tanh", start, periodic=True)
    copied = {leaf.name: arrays[leaf.array] for leaf in net.leaves}
    np.testing.assert_allclose(tk.contract(net, arrays), tk.contract(free, copied), atol=1e-12)
    expected = by_hand(copied, (2,) * 8, 2, np.tanh, start, True)
    np.testing.assert_allclose(tk.contract(net, arrays), expected, rtol=0, atol=1e-10)
    per_column = min(share, 4)
    small = 4 if start == "constant" else 16
    starts = 16 if start == "vectors" else 0
    assert net.num_params == per_column * (small + 3 * 16) + starts
    if share == 1:  # a state that looks the same two sites on
        if start == "vectors":
            arrays |= {f"start_{s}": arrays[f"start_{s % 2}"] for s in range(8)}
        x = tk.contract(net, arrays)
        axes = [(k + 2) % 8 for k in range(8)]
        axes += [8 + a for a in axes] if start == "open" else []
        np.testing.assert_allclose(x, x.transpose(axes), atol=1e-12)


def test_shared_bricks_of_unlike_sites_are_not_tied():
    net = tk.brick_wall(4, (2, 3, 2, 2), 1, share=1)
    assert net.num_params == 6 + 4 + 36  # (2, 3), (2, 2) and the odd (3, 2, 3, 2)
    arrays = tk.init.normal(net, seed=0)
    np.testing.assert_allclose(tk.contract(net, arrays), oracle(net, arrays), rtol=0, atol=1e-10)


# -- a weight filled by a wall --------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", ADTN_SHAPES)
@pytest.mark.parametrize(
    "kwargs", [{}, dict(dim=2), dict(dim=4, depth=1), dict(order="interleaved", scale=True, full=True)]
)
def test_adtn_fills_awkward_weights(shape, kwargs):
    net = tk.adtn(shape, **({"depth": 2} | kwargs))
    size = 4 if kwargs.get("dim") == 4 else 5
    assert max(net.shape) <= size
    if kwargs.get("dim") == 2:
        assert net.shape == (2,) * sum((n - 1).bit_length() for n in shape)
    weight = detensorize(tk.contract(net, tk.init.normal(net)), shape)
    assert weight.shape == shape and np.isfinite(weight).all() and weight.std() > 0.05
    assert prod(net.shape) < 2 ** len(shape) * prod(shape)


def test_interleaved_is_only_a_permutation():
    for shape, dim in [((8, 8), None), ((30, 4), None), ((16, 4, 6), 2)]:
        mixed = tk.adtn(shape, 2, dim=dim, order="interleaved")
        dims = mixed.shape
        groups = tk.core.shapes.split_axes(dims, shape)
        labels, start = [], 0
        for g in groups:
            labels.append(list(range(start, start + len(g))))
            start += len(g)
        turn = [g[k] for k in range(max(map(len, labels))) for g in labels if k < len(g)]
        wall = tk.brick_wall(len(dims), [dims[s] for s in turn], 2, "relu")
        assert mixed.num_params == wall.num_params
        arrays = tk.init.normal(wall, seed=2)
        expected = tk.contract(wall, arrays).transpose([turn.index(s) for s in range(len(dims))])
        np.testing.assert_allclose(tk.contract(mixed, arrays), expected, atol=1e-12)
    assert tk.adtn((16,), order="interleaved") == tk.adtn((16,))


def test_adtn_grows_with_the_logarithm_of_a_weight_of_any_shape():
    """The paper's sites by default: at most 16 parameters for each doubling of a weight, its shape a power of two or not."""
    for shape in [(50, 60), (97, 89), (512, 784), (4096, 9216), (1009, 7), (64, 3, 5, 5)]:
        net, bits = tk.adtn(shape, depth=3), sum((n - 1).bit_length() for n in shape)
        assert set(net.shape) == {2} and len(net.shape) == bits
        assert net.num_params <= 3 * 16 * (bits - 1)
        assert detensorize(np.zeros(net.shape), shape).shape == shape
    assert tk.adtn((512, 784), depth=3).num_params == 756 and tk.adtn((512, 784), depth=3, dim=None).num_params == 2115


def test_adtn_options():
    plain = tk.adtn((8, 9), 2)
    scaled = tk.adtn((8, 9), 2, scale=True)
    assert scaled.num_params == plain.num_params + 1
    arrays = tk.init.normal(plain)
    twice = tk.contract(scaled, arrays | {"scale": np.array(2.0)})
    np.testing.assert_allclose(twice, 2 * tk.contract(plain, arrays), atol=1e-12)
    assert tk.adtn((8, 9), dim=(2, 2, 2, 3, 3)) == tk.adtn((8, 9), dim=None)
    assert tk.adtn((8, 9), dim=np.array([2, 2, 2, 3, 3])) == tk.adtn((8, 9), dim=None)
    assert tk.adtn((7, 9), dim=(4, 2, 9)).shape == (4, 2, 9)
    assert tk.adtn((16, 16), depth=2, start="vectors").num_params == 2 * 16 * 7 + 16
    assert tk.adtn((16, 16), depth=2, periodic=True).num_params == 4 * 4 + 16 * (4 + 8)
    assert tk.adtn((16, 16), depth=2, share=1).num_params == 4 + 16 * 3
    assert tk.brick_wall(np.int64(4), np.int64(2), 1) == tk.brick_wall(4, 2, 1)
