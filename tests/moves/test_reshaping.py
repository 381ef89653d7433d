"""Indices fused, unfused, left out, selected and enlarged: on random networks, against numpy on the whole tensor."""

import numpy as np
import pytest
import torch
from held import DTYPES, carried, checked, near, random, untouched, value, with_torch

import tnkit as tk


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", [*DTYPES, "int64"])
@pytest.mark.parametrize("seed", range(12))
def test_isel(seed, dtype, library):
    net, arrays = random(seed, dtype)
    x, rng = value(net, arrays), np.random.default_rng(seed)
    held = with_torch(arrays) if library == "torch" else arrays
    for i in net.output:
        n, axis = net.sizes[i], net.output.index(i)
        for place in (0, -1, n - 1, slice(0, max(1, n - 1)), slice(None, None, -1)):
            found = tk.isel(net, held, {i: place})
            wanted = (
                np.take(x, place, axis)
                if isinstance(place, int)
                else np.moveaxis(np.moveaxis(x, axis, 0)[place], 0, axis)
            )
            assert near(value(*found), wanted, dtype) and checked(found[0])
            assert untouched((net, held), found, carried(net, [i])) or library == "torch"
    if net.output:
        places = {i: int(rng.integers(net.sizes[i])) for i in net.output}
        scalar = tk.isel(net, held, places)
        assert scalar[0].output == () and near(value(*scalar), x[tuple(places.values())], dtype)
    for i in set(net.sizes) - set(net.output):  # the terms of a sum
        parts = [value(*tk.isel(net, held, {i: k})) for k in range(net.sizes[i])]
        assert near(sum(parts), x, dtype, 10)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("seed", range(20))
def test_fuse_and_unfuse(seed, library):
    net, arrays = random(seed)
    x = value(net, arrays)
    held = with_torch(arrays) if library == "torch" else arrays
    found = tk.fuse(net, held)
    assert near(value(*found), x) and checked(found[0]) and found[0].output == net.output
    ends = [
        tuple(sorted(e)) for i, e in found[0].edges.items() if i not in found[0].output and len(set(e)) == len(e) > 1
    ]
    assert len(set(ends)) == len(ends)  # no two bonds join the same nodes
    for i, n in net.sizes.items():
        if n % 2 == 0:
            parts = tk.unfuse(net, held, {i: {"slow": n // 2, "fast": 2}})
            shape = [m for j in net.output for m in ((n // 2, 2) if j == i else (net.sizes[j],))]
            assert near(value(*parts), x.reshape(shape)) and checked(parts[0])
            if len(set(net.edges[i])) == len(net.edges[i]):
                back = tk.fuse(*parts, {i: ("slow", "fast")})
                assert near(value(*back), x) and back[0].output == net.output
                swapped = tk.fuse(*parts, {"both": ("fast", "slow")})
                assert near(np.linalg.norm(value(*swapped)), np.linalg.norm(x))


def test_open_indices_fused():
    net = tk.mpo((2, 3), (4, 5), 3)
    arrays = tk.init.normal(net, seed=0)
    found, held = tk.fuse(net, arrays, {"x": ("i0", "o0"), "y": ("o1", "i1")})
    assert found.output == ("x", "y") and found["core_0"].inds == ("x", "b1")
    assert np.allclose(tk.contract(found, held), np.einsum("acbd->bacd", tk.contract(net, arrays)).reshape(8, 15))
    one = tk.fuse(net, arrays, {"x": ("i0", "o0")})
    assert one[1]["core_1"] is arrays["core_1"] and one[0].output == ("x", "o1", "i1")


@pytest.mark.parametrize("seed", range(12))
def test_squeeze(seed):
    net, arrays = random(seed)
    x = value(net, arrays)
    found = tk.squeeze(net, arrays)
    assert near(value(*found), np.squeeze(x)) and 1 not in found[0].sizes.values() and checked(found[0])
    for i in [j for j, n in net.sizes.items() if n == 1]:
        one = tk.squeeze(net, arrays, [i])
        assert near(value(*one), np.squeeze(x, net.output.index(i)) if i in net.output else x)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", [*DTYPES, "int64"])
@pytest.mark.parametrize("seed", range(10))
def test_expand_bonds(seed, dtype, library):
    net, arrays = random(seed, dtype)
    x = value(net, arrays)
    held = with_torch(arrays) if library == "torch" else arrays
    bonds = [i for i in net.sizes if i not in net.output]
    found = tk.expand_bonds(net, held, 5)
    assert near(value(*found), x, dtype) and checked(found[0])
    assert all(found[0].sizes[i] == 5 for i in bonds) and found[0].shape == net.shape
    for i in bonds:
        one = tk.expand_bonds(net, held, {i: net.sizes[i] + 2})
        assert one[0].sizes == {**net.sizes, i: net.sizes[i] + 2} and near(value(*one), x, dtype)
        assert untouched((net, held), one, carried(net, [i])) or library == "torch"


def test_noise_of_grown_bonds_is_as_large_as_told_and_seeded():
    net = tk.mps((8,) * 4, 6)
    arrays = {n: 1e30 * x.astype(np.float32) for n, x in tk.init.normal(net, seed=0).items()}
    _, held = tk.expand_bonds(net, arrays, {"b2": 60}, noise=0.01, seed=3)
    new, old = held["core_1"][..., 6:], held["core_1"][..., :6]
    assert np.array_equal(old, arrays["core_1"]) and held["core_0"] is arrays["core_0"]
    ratio = np.std((new / 1e30).astype(float)) / np.sqrt(np.mean((old / 1e30).astype(float) ** 2))
    assert ratio == pytest.approx(0.01, rel=0.1)
    again = tk.expand_bonds(net, arrays, {"b2": 60}, noise=0.01, seed=3)[1]
    other = tk.expand_bonds(net, arrays, {"b2": 60}, noise=0.01, seed=4)[1]
    assert np.array_equal(again["core_1"], held["core_1"]) and not np.array_equal(other["core_1"], held["core_1"])
    complex_ = tk.expand_bonds(net, {n: x / 1e30 + 0j for n, x in arrays.items()}, 9, noise=0.1)[1]["core_1"]
    assert np.std(complex_[..., 6:].imag) > 0


def test_gradients_of_indices():
    net = tk.mps((2, 3, 2), 2)
    arrays = {n: torch.tensor(x, requires_grad=True) for n, x in tk.init.normal(net, seed=0).items()}

    def moved(*values):
        found = tk.isel(net, dict(zip(arrays, values, strict=True)), {"i1": 1})
        found = tk.expand_bonds(*found, 3)
        return tk.contract(*tk.fuse(*tk.unfuse(*found, {"i0": {"x": 1, "y": 2}}), {"z": ("x", "y")}))

    assert torch.autograd.gradcheck(moved, tuple(arrays.values()))


def test_round_fuses_parallel_bonds_first():
    rng = np.random.default_rng(0)
    nodes = [tk.Node("A", "iab"), tk.Node("B", "abjc"), tk.Node("C", "ckd"), tk.Node("D", "dl")]
    sizes = dict(i=4, j=3, k=4, l=3, a=2, b=3, c=6, d=3)
    net = tk.Network(nodes, "ijkl", sizes)
    arrays = {n: rng.normal(size=s) for n, s in net.array_shapes.items()}
    x = tk.contract(net, arrays)
    for options in ({"rank": 2}, {"tol": 0.2}, {"budget": 40}, {"rank": {"a": 2, "c": 3}}):
        found = tk.round(net, arrays, **options)
        error = np.linalg.norm(tk.contract(*found) - x) / np.linalg.norm(x)
        assert found.error == pytest.approx(error, abs=1e-12) and set(found.methods) == {"a", "c", "d"}
    with pytest.raises(ValueError, match="canonicalize: nodes 'A' and 'B' are joined by both 'a' and 'b'"):
        tk.canonicalize(net, arrays)


def test_refusals_of_reshaping():
    net = tk.mps((2, 3, 2), 2)
    arrays = tk.init.normal(net, seed=0)
    for call, words in (
        (lambda: tk.isel(net, arrays, {"zz": 0}), "isel: no index 'zz'; there are"),
        (lambda: tk.isel(net, arrays, {"i1": 3}), "isel: index 'i1' has size 3 and no place 3"),
        (
            lambda: tk.isel(net, arrays, {"i1": slice(2, 2)}),
            r"isel: slice\(2, 2, None\) of index 'i1', of size 3, is empty",
        ),
        (
            lambda: tk.fuse(net, arrays, {"x": ("i0", "i1")}),
            "fuse: index 'i0' is on nodes .* fused indices are on the same nodes",
        ),
        (lambda: tk.fuse(net, arrays, {"b1": ("i0",)}), "fuse: index 'b1' is in the network already"),
        (lambda: tk.fuse(net, arrays, {"x": ("i0", "i0")}), "fuse: index 'i0' is named twice"),
        (lambda: tk.fuse(net, arrays, {"x": ("i0",), "y": ("i0",)}), "fuse: index 'i0' is named twice"),
        (
            lambda: tk.unfuse(net, arrays, {"i1": {"x": 2, "y": 2}}),
            "unfuse: index 'i1' has size 3, which is not the product",
        ),
        (lambda: tk.unfuse(net, arrays, {"i0": {"i1": 2}}), "unfuse: index 'i1' is in the network already"),
        (lambda: tk.squeeze(net, arrays, ["i0"]), "squeeze: index 'i0' has size 2, not 1"),
        (lambda: tk.squeeze(net, arrays, ["j"]), "squeeze: no index 'j'; there are i0,"),
        (lambda: tk.expand_bonds(net, arrays, {"i0": 4}), "expand_bonds: index 'i0' is open"),
        (
            lambda: tk.expand_bonds(net, arrays, {"b1": 1}),
            "expand_bonds: the size of index 'b1' is a whole number of at least 2",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            call()
