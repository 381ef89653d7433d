"""Moves keep the tensor: every one on random networks, against one einsum of the whole; what is not touched stays the same object."""

import numpy as np
import pytest
import torch
from held import DTYPES, near, random, untouched, value, with_torch

import tnkit as tk
from tnkit.core.node import CONSTANTS


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(12))
def test_merge(seed, dtype, library):
    net, arrays = random(seed, dtype)
    rng, x = np.random.default_rng(seed), value(net, arrays)
    arrays = with_torch(arrays) if library == "torch" else arrays
    names = [n.name for n in net.nodes]
    some = list(rng.choice(names, size=rng.integers(1, len(names) + 1), replace=False))
    found = tk.merge(net, arrays, some, "all of them")
    assert found[0] == tk.Network(found[0].nodes, found[0].output, found[0].sizes)  # what the checks make of it
    assert found[0].output == net.output and len(found[0].nodes) == len(net.nodes) - len(some) + 1
    assert near(value(*found), x, dtype) and untouched((net, arrays), found, some)
    tk.check_arrays(*found)


def test_a_merged_node_stands_where_the_first_one_stood():
    net = tk.mps((2, 3, 4, 5, 6), 3)
    arrays = tk.init.normal(net, seed=0)
    found, _ = tk.merge(net, arrays, ["core_2", "core_1"])
    assert [n.name for n in found.nodes] == ["core_0", "core_2", "core_3", "core_4"]
    assert found["core_2"].inds == ("i2", "b3", "b1", "i1")
    found, held = tk.merge(net, arrays, ["core_1", "core_2"], "pair")
    assert found["pair"].inds == ("b1", "i1", "i2", "b3") and list(held)[-1] == "pair"
    assert "core_1" not in held and held["core_3"] is arrays["core_3"]


def test_ties_and_constants():
    nodes = [
        tk.Node("A", "ij", "W"),
        tk.Node("B", "jk", "W"),
        tk.Node("C", "kl", "W"),
        tk.Node("d", "lm", fixed="delta"),
    ]
    net, arrays = (
        tk.Network(nodes, "im", dict.fromkeys("ijklm", 3)),
        {"W": np.random.default_rng(0).normal(size=(3, 3))},
    )
    x = tk.contract(net, arrays)
    found = tk.merge(net, arrays, ["A", "B"], "W")  # the name of an array that others still have
    assert np.allclose(tk.contract(*found), x) and found[1]["W"] is arrays["W"] and len(found[1]) == 2
    found = tk.merge(net, arrays, ["C", "d"])
    assert np.allclose(tk.contract(*found), x) and not found[0]["C"].fixed
    both = tk.split(net, arrays, "B", "j")
    assert np.allclose(tk.contract(*both), x) and both.arrays["W"] is arrays["W"]
    alone = tk.merge(net, arrays, ["d"])
    assert alone[0]["d"].fixed is True and alone[0].num_params == net.num_params and np.allclose(tk.contract(*alone), x)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(12))
def test_split(seed, dtype, library):
    net, arrays = random(seed, dtype)
    rng, x = np.random.default_rng(seed), value(net, arrays)
    arrays = with_torch(arrays) if library == "torch" else arrays
    for node in net.nodes:
        inds = sorted(set(node.inds))
        if len(inds) < 2 or (node.array not in arrays and node.fixed not in CONSTANTS):
            continue
        left = list(rng.permutation(inds))[: rng.integers(1, len(inds))]
        for absorb in ("left", "right", "both"):
            found = tk.split(net, arrays, node.name, left, absorb=absorb)
            assert found.error == 0 and near(value(*found), x, dtype) and untouched((net, arrays), found, [node.name])
            assert found.network == tk.Network(found.network.nodes, found.network.output, found.network.sizes)
            (bond,) = found.methods
            first, second = (found.network[f"{node.name}_{side}"] for side in ("left", "right"))
            assert set(first.inds) == {*left, bond} and set(second.inds) == {*inds, bond} - set(left)
            merged = tk.merge(*found, [first.name, second.name], node.name)
            assert near(value(*merged), x, dtype)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("absorb", ["left", "right", "both"])
def test_a_split_is_the_best_one_and_tells_its_error(absorb, dtype, library):
    single = dtype in ("float32", "complex64")
    rng = np.random.default_rng(3)
    x = rng.normal(size=(3, 4, 5, 2)) + (1j * rng.normal(size=(3, 4, 5, 2)) if "complex" in dtype else 0)
    net, arrays = (
        tk.Network([tk.Node("A", "ijkl")], "ijkl", dict(zip("ijkl", x.shape, strict=True))),
        {"A": x.astype(dtype)},
    )
    arrays = with_torch(arrays) if library == "torch" else arrays
    s = np.linalg.svd(x.transpose(0, 2, 1, 3).reshape(15, 8), compute_uv=False)
    for options, r in (
        ({"rank": 3}, 3),
        ({"tol": 0.5}, int(np.sum(np.cumsum(s[::-1] ** 2)[::-1] > 0.25 * np.sum(s**2)))),
    ):
        found = tk.split(net, arrays, "A", "ki", absorb=absorb, **options)
        assert found.network.sizes["A_bond"] == r
        wanted = np.sqrt(np.sum(s[r:] ** 2) / np.sum(s**2))
        y = np.asarray(tk.contract(*found))
        assert found.error == pytest.approx(wanted, rel=1e-4 if single else 1e-9)
        assert np.linalg.norm(x - y) / np.linalg.norm(x) == pytest.approx(wanted, rel=1e-3 if single else 1e-9)
        left, right = (np.asarray(found.arrays[f"A_{side}"]) for side in ("left", "right"))
        left, right = left.reshape(-1, r), right.reshape(r, -1)
        grams = left.conj().T @ left, right @ right.conj().T
        exact = {"left": (np.diag(s[:r] ** 2), np.eye(r)), "right": (np.eye(r), np.diag(s[:r] ** 2))}
        wanted = exact.get(absorb, (np.diag(s[:r]), np.diag(s[:r])))
        for got, want in zip(grams, wanted, strict=True):
            assert np.allclose(np.diag(got), np.diag(want), rtol=1e-3 if single else 1e-8)
            assert np.allclose(got, want, atol=1e-3 * s[0] ** 2 if single else 1e-8)


def test_names_of_a_split_can_be_given():
    net = tk.mps((2, 3, 2), 2)
    arrays = tk.init.normal(net, seed=0)
    pair = tk.merge(net, arrays, ["core_0", "core_1"], "pair")
    back, held = tk.split(*pair, "pair", ["i0"], rank=2, names=["core_0", "core_1"], bond="b1")
    assert back == net and set(held) == set(arrays)
    assert np.allclose(tk.contract(back, held), tk.contract(net, arrays))


@pytest.mark.parametrize("scale", [1e-30, 1e30])
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_any_scale(library, scale):
    net = tk.mps((2,) * 8, 3)
    arrays = {n: x.astype(np.float32) for n, x in tk.init.normal(net, seed=1).items()}
    big = {n: x * np.float32(scale) for n, x in arrays.items()}
    given = with_torch(big) if library == "torch" else big
    value, exponent = tk.contract(net, given, strip_exponent=True)
    pair = tk.merge(net, given, ["core_3", "core_4"], "pair")
    for found in (
        pair,
        tk.split(*pair, "pair", ["b3", "i3"], tol=1e-6),
        tk.split(net, given, "core_3", ["b3"], absorb="both"),
    ):
        y, e = tk.contract(*found, strip_exponent=True)
        assert np.allclose(
            np.asarray(y) * 10.0 ** (float(e) - float(exponent)), np.asarray(value), rtol=1e-4, atol=1e-5
        )
    with pytest.raises(ValueError, match=r"merge: .* node 'core_0'.* beyond the range of float32; .* to float64$"):
        tk.merge(net, given, list(given))


def test_a_power_that_one_of_several_dtypes_cannot_hold():
    """Arrays that share a power are of nearly one size: here one that is no float32."""
    net = tk.Network([tk.Node("A", "ab"), tk.Node("B", "bc"), tk.Node("C", "cd")], "ad", dict.fromkeys("abcd", 2))
    wide = {"A": np.full((2, 2), 1e170), "B": np.full((2, 2), 1e170), "C": np.ones((2, 2))}
    merged, arrays = tk.merge(net, wide, ["A", "B"])
    y, e = tk.contract(merged, arrays, strip_exponent=True)
    assert np.all(np.isfinite(arrays["C"])) and np.log10(y) + e == pytest.approx(np.full((2, 2), 340 + np.log10(4)))
    words = r"merge: .* node 'A', about 2\*\*\d+, are beyond the range of float64; rescale the arrays$"
    with pytest.raises(ValueError, match=words):
        tk.merge(net, {**wide, "C": np.ones((2, 2), np.float32)}, ["A", "B"])


def test_what_is_not_finite():
    net = tk.mps((2, 2, 2), 2)
    arrays = tk.init.normal(net, seed=0)
    arrays["core_1"][0, 0, 0] = np.nan
    _, held = tk.merge(net, arrays, ["core_0", "core_1"], "pair")
    assert np.isnan(held["pair"]).any()
    with pytest.raises(ValueError, match="split: array 'core_1' has entries that are not finite"):
        tk.split(net, arrays, "core_1", ["b1"])


def test_gradients_of_merge_and_split():
    net = tk.mps((2, 3, 2), 2)
    arrays = {n: torch.tensor(x, requires_grad=True) for n, x in tk.init.normal(net, seed=0).items()}

    def moved(*values):
        held = dict(zip(arrays, values, strict=True))
        found = tk.split(*tk.merge(net, held, ["core_0", "core_1"], "p"), "p", ["i0"], rank=1, absorb="both")
        return tk.contract(*found)

    assert torch.autograd.gradcheck(moved, tuple(arrays.values()))
    same = torch.eye(4, dtype=torch.float64, requires_grad=True)  # all singular values equal
    one = tk.Network([tk.Node("A", "ij")], "ij", {"i": 4, "j": 4})
    for absorb in ("left", "right", "both"):
        for options in ({"rank": 2}, {}):
            found = tk.split(one, {"A": same}, "A", "i", absorb=absorb, **options)
            (grad,) = torch.autograd.grad(tk.contract(*found).square().sum(), same)
            assert torch.isfinite(grad).all()
    zero = torch.zeros(4, 4, requires_grad=True)
    for absorb in ("left", "right", "both"):
        (grad,) = torch.autograd.grad(
            tk.contract(*tk.split(one, {"A": zero}, "A", "i", rank=2, absorb=absorb)).sum(), zero
        )
        assert torch.isfinite(grad).all()


@pytest.mark.parametrize("seed", range(12))
def test_transpose_and_conj(seed):
    net, arrays = random(seed, "complex128")
    x, order = value(net, arrays), np.random.default_rng(seed).permutation(len(net.output))
    turned = tk.transpose(net, [net.output[k] for k in order])
    assert near(value(turned, arrays), x.transpose(order)) and turned.nodes is net.nodes
    for held in (arrays, with_torch(arrays)):
        assert near(value(*tk.conj(net, held)), x.conj())
    net, arrays = random(seed)
    assert all(x is arrays[n] for n, x in tk.conj(net, arrays)[1].items())


def test_a_nonlinear_network():
    body = tk.mps((2, 3), 2)
    net = body.activate("tanh", "f").join(
        tk.Network([tk.Node("W", ("i1", "o")), tk.Node("V", ("o", "p"))], ("i1", "p"), {"i1": 3, "o": 4, "p": 2}),
        on=["i1"],
    )
    arrays = tk.init.normal(net, seed=0)
    x = value(net, arrays)
    assert near(value(*tk.merge(net, arrays, ["W", "V"], "WV")), x)
    assert near(value(*tk.split(net, arrays, "W", ["i1"])), x)
    assert near(value(tk.transpose(net, net.output[::-1]), arrays), x.T)
    assert near(value(*tk.expand_bonds(net, arrays, 6)), x)
    assert near(value(*tk.isel(net, arrays, {"p": 1})), x[:, 1])
    for call in (
        lambda: tk.merge(net, arrays, ["f", "W"]),
        lambda: tk.split(net, arrays, "f", ["i0"]),
        lambda: tk.isel(net, arrays, {"i0": 1}),
        lambda: tk.expand_bonds(net, arrays, {"i1": 9}),
        lambda: tk.apply_gate(net, arrays, np.eye(2), ["i0"]),
    ):
        with pytest.raises(ValueError, match="node 'f' is an Elementwise"):
            call()
    with pytest.raises(ValueError, match=r"conj: array .* is complex, and the network is nonlinear"):
        tk.conj(net, {n: a + 0j for n, a in arrays.items()})


def test_refusals_of_moves():
    net = tk.mps((2, 3, 2), 2)
    arrays = tk.init.normal(net, seed=0)
    for call, words in (
        (lambda: tk.merge(net, arrays, ["core_0", "core_7"]), "merge: no node 'core_7'; there are"),
        (lambda: tk.merge(net, arrays, ["core_0", "core_0"]), "merge: nodes are one name or more, none of them twice"),
        (lambda: tk.merge(net, arrays, ["core_0"], "core_1"), "merge: another node is called 'core_1'"),
        (
            lambda: tk.merge(net, {**arrays, "core_0": np.ones((2, 3))}, ["core_0"]),
            "index 'b1' has size 2, but its array has 3",
        ),
        (
            lambda: tk.split(net, arrays, "core_1", ["i0"]),
            "split: left names index 'i0', which node 'core_1' does not have",
        ),
        (
            lambda: tk.split(net, arrays, "core_1", ["i1", "b1", "b2"]),
            "split: left is some indices of node 'core_1', not none",
        ),
        (
            lambda: tk.split(net, arrays, "core_1", ["i1"], bond="b1"),
            "split: bond 'b1' is an index of the network already",
        ),
        (
            lambda: tk.split(net, arrays, "core_1", ["i1"], names=["a", "core_0"]),
            "split: another node is called 'core_0'",
        ),
        (
            lambda: tk.split(net, arrays, "core_1", ["i1"], absorb="up"),
            "split: absorb is one of left, right, both, not 'up'",
        ),
        (lambda: tk.transpose(net, ["i0", "i1"]), "transpose: output .* has not the open indices"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
    with pytest.raises(KeyError, match="no array 'core_1'"):
        tk.merge(net, {"core_0": arrays["core_0"]}, ["core_0", "core_1"])


def test_a_string_may_be_the_name_of_one_index():
    net = tk.mps((2, 2, 2), 2)
    arrays, flip = tk.init.normal(net, seed=0), np.eye(2)[::-1]
    x, turned = value(net, arrays), tk.apply_gate(net, arrays, flip, "i1")
    assert near(value(*turned), x[:, ::-1])
    assert tk.split(net, arrays, "core_1", "i1").network["core_1_left"].inds[0] == "i1"
    assert tk.fuse(net, arrays, {"new": "i1"})[0].output == ("i0", "new", "i2")
    one = tk.expand_bonds(tk.mps((2, 2), 1), tk.init.normal(tk.mps((2, 2), 1)), 1)
    assert "b1" not in tk.squeeze(*one, "b1")[0].sizes
    gate = tk.Network([tk.Node("G", ("i1", "out"))], ("i1", "out"), {"i1": 2, "out": 2})
    assert net.join(gate, on="i1") == net.join(gate, on=["i1"])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda net, arrays: tk.apply_gate(net, arrays, np.eye(2), "z5"),
            "no index 'z5'; there are i0, b1, i1, b2, i2$",
        ),
        (lambda net, arrays: tk.density_matrix(net, arrays, "z5"), "'z5' is no open index; there are i0, i1, i2$"),
        (lambda net, arrays: tk.merge(net, arrays, ["core_0", "core_9"], "pair"), "there are core_0, core_1, core_2$"),
    ],
)
def test_names_that_are_not_there_are_told_whole(call, said):
    net = tk.mps((2, 2, 2), 2)
    with pytest.raises(ValueError, match=said):
        call(net, tk.init.normal(net, seed=0))
