"""Deep networks that begin at a shallow one."""

import re

import numpy as np
import pytest
import torch

import tnkit as tk
from tnkit.core.activations import UNARY
from tnkit.execution.lifting import bent, shallow
from tnkit.testing import oracle

DIMS = (4, 4, 4, 4)
COLUMNS = [[(0,), (1, 2)], [(3,), (0, 2)], [(1,)], [(2, 1), (3, 0)]]


def target(dtype="float64", seed=0):
    draw = np.random.default_rng(seed)
    x = draw.normal(size=DIMS) + (1j * draw.normal(size=DIMS) if np.dtype(dtype).kind == "c" else 0)
    return x.astype(dtype)


STARTS = {
    "tt": lambda x: tk.tt_svd(x, rank=3),
    "cp": lambda x: tk.cp_als(x, rank=3, sweeps=20),
    "ring": lambda x: tk.ring_svd(x, rank=2),
    "tree": lambda x: tk.tree_svd(x, rank=3),
    "tucker": lambda x: tk.tucker_svd(x, rank=3),
    "mpo": lambda x: tk.mpo_svd(x.reshape(16, 16), (4, 4), (4, 4), rank=4),
}


def off(net, arrays, start):
    """Relative error against the start's tensor, by numpy's einsum in double precision."""

    def values(net, arrays):
        return oracle(
            net, {n: np.asarray(a).astype(np.result_type(np.asarray(a), "float64")) for n, a in arrays.items()}
        )

    made, want = values(net, arrays), values(*start)
    return np.linalg.norm(made - want) / np.linalg.norm(want)


def arguments(net, arrays):
    """Root mean squares of what every activation is given, outermost first."""
    found = []
    while not net.multilinear:
        (node,) = [n for n in net.nodes if isinstance(n, tk.Elementwise)]
        (net,) = node.bodies
        found.append(np.sqrt(np.mean(np.abs(oracle(net, {n: arrays[n] for n in net.array_shapes})) ** 2)))
    return found


@pytest.mark.parametrize("fn", ["tanh", "sin"])
@pytest.mark.parametrize("depth", [2, 3, 5])
@pytest.mark.parametrize("name", STARTS)
def test_a_lifted_network_is_its_start_up_to_curvature(name, depth, fn):
    start = STARTS[name](target())
    net = tk.circuit(DIMS, COLUMNS[: depth - 1], fn, start=start)
    assert net == tk.circuit(DIMS, COLUMNS[: depth - 1], fn, start=start.network)
    errors = [off(net, tk.init.lifted(net, start, amplitude=a), start) for a in (0.03, 0.003, 0.0003)]
    assert errors[0] < 0.004 * (depth - 1)
    assert errors[1] == pytest.approx(errors[0] / 100, rel=0.2)  # of order amplitude^2
    assert errors[2] == pytest.approx(errors[1] / 100, rel=0.05)
    seen = arguments(net, tk.init.lifted(net, start, amplitude=0.3))
    assert seen == pytest.approx([0.3] * (depth - 1), rel=1e-9)


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_any_scale_precision_and_library(library, dtype, size):
    start = tk.tt_svd(target(dtype), rank=3).scaled("core_1", size)
    if library == "torch":
        start = tk.Decomposition(
            start.network, {n: torch.tensor(a, requires_grad=True) for n, a in start.arrays.items()}, 0.0
        )
    net = tk.circuit(DIMS, COLUMNS[:2], "tanh", start=start)
    arrays = tk.init.lifted(net, start, amplitude=0.01)
    assert {type(a) for a in arrays.values()} == {np.ndarray if library == "numpy" else torch.Tensor}
    assert {a.dtype for a in arrays.values()} == {a.dtype for a in start.arrays.values()}
    plain, begun = (
        {n: np.asarray(a.detach() if library == "torch" else a) for n, a in some.items()}
        for some in (arrays, start.arrays)
    )
    assert off(net, plain, (start.network, begun)) < 1e-3


def test_a_pair_will_do_and_the_same_scale_comes_out():
    start = tk.tt_svd(target(), rank=3)
    pair = (start.network, start.arrays)
    net = tk.circuit(DIMS, COLUMNS[:1], "sin", start=pair)
    arrays = tk.init.lifted(net, pair)
    assert arguments(net, arrays) == pytest.approx([0.5], rel=1e-9)
    assert tk.init.rms(net, arrays) == pytest.approx(tk.init.rms(start), rel=1e-9)
    for name, a in tk.init.lifted(net, start).items():
        np.testing.assert_array_equal(a, arrays[name])
    np.testing.assert_allclose(  # gates are multiples of the identity
        arrays["gate_0_0"] / arrays["gate_0_0"][0, 0], np.eye(4), atol=1e-15
    )


def test_a_scale_outside_of_the_outermost_activation():
    start = tk.tt_svd(target(), rank=3)
    body = start.network.activate("tanh", "f")
    net = tk.Network((*body.nodes, tk.Node("scale", ())), body.output, body.sizes)
    arrays = tk.init.lifted(net, start, amplitude=0.01)
    assert off(net, arrays, start) < 1e-3
    with pytest.raises(ValueError, match=r"no array of .* scales the result: all are inside of activation 'f'"):
        tk.init.lifted(body, start)


def test_a_core_outside_of_an_activation_takes_the_scale():
    start = tk.tucker_svd(target(), rank=3)
    core = next(n for n in start.network.nodes if n.name == "core")
    inner = tk.Network([core], core.inds, {i: start.network.sizes[i] for i in core.inds})
    others = [n for n in start.network.nodes if n.name != "core"]
    net = tk.Network((*inner.activate("sin", "f").nodes, *others), start.network.output, start.network.sizes)
    assert off(net, tk.init.lifted(net, start, amplitude=0.01), start) < 1e-3


@pytest.mark.parametrize("shape", [(4, 3, 2, 5), (3, 2, 2, 3, 2)])
def test_a_tree_with_activations_begins_at_the_tree_without(shape):
    x = np.random.default_rng(1).normal(size=shape)
    start = tk.tree_svd(x, rank=3)
    net = tk.tree(shape, 3, activation="tanh")
    errors = [off(net, tk.init.lifted(net, start, amplitude=a), start) for a in (0.1, 0.01)]
    assert errors[0] < 0.05
    assert errors[1] == pytest.approx(errors[0] / 100, rel=0.2)


def test_a_trained_deep_network_is_lifted_to_a_deeper_one():
    """Its own activations stay as bent as they are."""
    shallow = tk.circuit(DIMS, COLUMNS[:1], "relu", start=tk.tt(DIMS, 3))
    inner = shallow.relabel(nodes=lambda n: f"inner_{n}", arrays=lambda n: f"inner_{n}")
    start = (inner, tk.init.normal(inner, seed=1, std=3.0))
    deep = tk.circuit(DIMS, COLUMNS[:1], "sin", start=start)
    assert off(deep, tk.init.lifted(deep, start, amplitude=0.01), start) < 1e-3


def test_nothing_added_is_the_start_itself():
    start = tk.tt_svd(target(), rank=2)
    for net in (start.network, tk.circuit(DIMS, COLUMNS[:2], None, start=start)):
        assert off(net, tk.init.lifted(net, start), start) < 1e-14


def test_relu_is_exact_for_what_is_not_negative():
    x = np.einsum("a,b,c,d->abcd", *np.abs(np.random.default_rng(0).normal(size=(4, 4))))
    start = tk.tt_svd(x, rank=1)
    net = tk.circuit(DIMS, COLUMNS[:2], "relu", start=start)
    assert off(net, tk.init.lifted(net, start), start) < 1e-12


def test_a_zero_tensor_stays_zero():
    start = tk.tt_svd(target(), rank=2).scaled("core_0", 0.0)
    net = tk.circuit(DIMS, COLUMNS[:1], "tanh", start=start)
    arrays = tk.init.lifted(net, start)
    assert not np.any(tk.contract(net, arrays))
    np.testing.assert_array_equal(arrays["gate_0_0"], np.eye(4))  # alive: it has a gradient
    assert np.isfinite(
        tk.init.to_rms(net, arrays)["gate_0_0"]
    ).all()  # no factor is searched for past the largest float


def _renamed(start):
    net = start.network.relabel(arrays={"core_0": "other"})
    return net, {("other" if n == "core_0" else n): a for n, a in start.arrays.items()}


REFUSED = {
    "no decomposition": (lambda s: s.network, TypeError, "lifted: decomposition is a Decomposition, or a pair .*a network alone"),
    "another array": (_renamed, ValueError, "array 'other' of the decomposition is on no node"),
    "another rank": (lambda s: tk.tt_svd(target(), rank=2), ValueError, "array 'core_0' of the decomposition has shape 4x2, the network wants 4x3"),
    "not finite": (lambda s: (s.network, {**s.arrays, "core_1": s.arrays["core_1"] * np.nan}), ValueError, "array 'core_1' has entries that are not finite"),
    "whole numbers": (lambda s: (s.network, {n: np.ones(a.shape, int) for n, a in s.arrays.items()}), TypeError, "dtype int64, which cannot be scaled"),
    "missing": (lambda s: (s.network, {n: a for n, a in s.arrays.items() if n != "core_2"}), KeyError, "core_2"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_by_name(name):
    made, error, says = REFUSED[name]
    start = tk.tt_svd(target(), rank=3)
    net = tk.circuit(DIMS, COLUMNS[:1], "tanh", start=start)
    with pytest.raises(error, match=says):
        tk.init.lifted(net, made(start))


@pytest.mark.parametrize("fn", ["relu", "leaky_relu", "square", "sigmoid", "softplus"])
def test_activations_that_are_bent_at_zero_are_refused(fn):
    start = tk.tt_svd(target(), rank=3)
    net = tk.circuit(DIMS, COLUMNS[:1], fn, start=start)
    with pytest.raises(ValueError, match=f"activation 'act_column_0' is {fn}, which is not nearly linear at 0"):
        tk.init.lifted(net, start)


def test_functions_of_ones_own_are_measured():
    start = tk.tt_svd(target(), rank=3)
    good = tk.circuit(DIMS, COLUMNS[:1], lambda xp, x: 3 * xp.tanh(x) + x, start=start)
    assert off(good, tk.init.lifted(good, start, amplitude=0.01), start) < 1e-3
    gelu = tk.circuit(DIMS, COLUMNS[:1], "gelu", start=start)
    errors = [off(gelu, tk.init.lifted(gelu, start, amplitude=a), start) for a in (0.02, 0.002)]
    assert errors[1] == pytest.approx(errors[0] / 10, rel=0.1)
    with pytest.raises(ValueError, match="not nearly linear at 0"):
        bad = tk.circuit(DIMS, COLUMNS[:1], lambda xp, x: x + 1, start=start)
        tk.init.lifted(bad, start)


def test_nodes_and_wires_of_another_kind_are_refused():
    start = tk.tt_svd(target(), rank=3)
    net = tk.circuit(DIMS, COLUMNS[:1], "tanh", start=start)
    wide = tk.Network((*net.nodes, tk.Node("w", ("i0",))), net.output, net.sizes)  # a vector along a site
    with pytest.raises(ValueError, match=re.escape("node 'w' is of shape 4")):
        tk.init.lifted(wide, start)
    crossed = tk.Network(net.nodes, ("i1", "i0", "i2", "i3"), net.sizes)
    with pytest.raises(ValueError, match=r"is not the decomposition: they differ by .*sites ordered"):
        tk.init.lifted(crossed, start)
    body = start.network
    other = body.relabel(lambda i: i if i in body.output else f"{i}b", lambda n: f"{n}b")
    sum_of = tk.Elementwise("sum", "add", (body, other))
    two = tk.Network((sum_of, tk.Node("scale", ())), body.output)
    with pytest.raises(ValueError, match="node 'sum' is add of 2 tensors"):
        tk.init.lifted(two, start)


def test_what_the_dtype_cannot_hold_is_refused():
    start = tk.tt_svd(target("float32"), rank=3)
    big = tk.Decomposition(start.network, {n: a * np.float32(1e20) for n, a in start.arrays.items()}, 0.0)
    net = tk.circuit(DIMS, [[(0,)]], "tanh", start=big)
    with pytest.raises(ValueError, match=r"array 'gate_0_0' would have entries up to .*, which float32 cannot hold"):
        tk.init.lifted(net, big)


def test_a_start_of_a_circuit_is_a_pair_or_a_network():
    with pytest.raises(TypeError, match="circuit: start is a Decomposition, or a pair"):
        tk.circuit(DIMS, COLUMNS[:1], "sin", start=(tk.tt(DIMS, 2),))


# -- what a deep network can begin at ------------------------------------------------------------------------------------
WALLS = {
    "wall": tk.brick_wall(6, depth=3, activation="tanh"),
    "vectors": tk.brick_wall(6, depth=2, activation="sin", start="vectors"),
    "tied": tk.brick_wall(6, depth=4, activation="sin", share=1),
    "periodic": tk.brick_wall(6, depth=2, activation="tanh", periodic=True, full=True),
    "interleaved": tk.adtn((8, 12), depth=3, activation="tanh", order="interleaved"),
    "scaled": tk.adtn((8, 8), depth=2, activation="sin", scale=True),
    "ring": tk.circuit(DIMS, COLUMNS, "tanh", start=tk.ring(DIMS, 2)),
    "tree": tk.tree((3, 4, 2, 3), 2, activation="tanh"),
    "some": tk.circuit(DIMS, COLUMNS[:3], [None, "sin", None], start=tk.cp(DIMS, 2)),
}


@pytest.mark.parametrize("name", WALLS)
def test_a_deep_network_begins_at_the_shallow_one_inside(name):
    net = WALLS[name]
    inside = shallow(net)
    assert inside.multilinear and inside.output == net.output and inside.shape == net.shape
    pair = (inside, tk.init.normal(inside, seed=2, std=0.3))
    errors = [off(net, tk.init.lifted(net, pair, amplitude=a), pair) for a in (0.03, 0.003)]
    assert errors[0] < 0.05
    assert errors[1] == pytest.approx(errors[0] / 100, rel=0.3)


def test_what_has_no_shallow_network_inside():
    plain = tk.tt(DIMS, 2)
    other = plain.relabel(lambda i: i if i in plain.output else f"{i}b", lambda n: f"{n}b")
    two = tk.Network((tk.Elementwise("sum", "add", (plain, other)), tk.Node("scale", ())), plain.output)
    for net in (
        plain,
        plain.activate("tanh", "f"),
        two,
    ):  # no activation; nothing outside that takes the scale; two tensors
        assert shallow(net) is None
    ring = tk.ring(DIMS, 2).activate("tanh", "f")
    wide = tk.Network([tk.Node("W", ("i3", "out"))], ("i3", "out"), {"i3": 4, "out": 5})
    assert shallow(ring.join(wide, on=["i3"])) is None  # W is no gate, and the whole is no tree
    assert shallow(plain.activate("tanh", "f").join(wide, on=["i3"])).shape == (4, 4, 4, 5)  # a tree


def test_which_activations_are_bent_at_zero():
    assert [fn for fn in UNARY if bent(tk.tt(DIMS, 2).activate(fn, "f"))] == [
        "relu",
        "leaky_relu",
        "sigmoid",
        "softplus",
        "square",
    ]
