"""Arrays of every kind that is taken (whole numbers, flags, matrices, lists, long doubles) give what float64 gives, by numpy's einsum."""

import numpy as np
import pytest
import torch

import tnkit as tk

NET = tk.tt((2, 3, 2), 2)
DRAW = np.random.default_rng(3)
WHOLE = {n: DRAW.integers(0, 4, s) for n, s in NET.array_shapes.items()}
FLAGS = {n: DRAW.integers(0, 4, s) > 0 for n, s in NET.array_shapes.items()}

#: Kind -> the values in float64, and the array of core_0 (a matrix) in that kind.
NUMPY = {
    "whole": (WHOLE, lambda a: a),
    "flags": (FLAGS, lambda a: a),
    "matrix": (WHOLE, lambda a: np.asarray(a, float).view(np.matrix)),
    "list": (WHOLE, lambda a: a.tolist()),
    "long double": (WHOLE, lambda a: a.astype(np.longdouble)),
    "masked, nothing hidden": (WHOLE, lambda a: np.ma.array(a, float)),
}
TENSORS = {
    "uint8": (WHOLE, lambda a: torch.as_tensor(a, dtype=torch.uint8)),
    "bool": (FLAGS, torch.as_tensor),
}


def cases():
    for name, (values, made) in NUMPY.items():
        wide = {n: np.asarray(a, float) for n, a in values.items()}
        yield pytest.param(wide, wide | {"core_0": made(values["core_0"])}, id=name)
    for name, (values, made) in TENSORS.items():
        wide = {n: np.asarray(a, float) for n, a in values.items()}
        given = {n: torch.as_tensor(a) for n, a in wide.items()} | {"core_0": made(values["core_0"])}
        yield pytest.param(wide, given, id=f"tensor of {name}")


def dense(wide):
    return np.einsum("ia,ajb,bk->ijk", *wide.values())


@pytest.mark.parametrize("wide, given", cases())
def test_values_of_every_kind(wide, given):
    x = dense(wide)
    size = np.linalg.norm(x)
    assert float(tk.norm(NET, given)) == pytest.approx(size, rel=1e-12)
    assert float(tk.inner(NET, given, NET, given)) == pytest.approx(size**2, rel=1e-12)
    assert float(tk.distance(NET, given, *tk.add(NET, given, NET, given))) == pytest.approx(size, rel=1e-12)
    assert np.allclose(tk.contract(*tk.add(NET, given, NET, given, weights=(2, -0.5))), 1.5 * x, rtol=1e-12)
    assert tk.init.rms(NET, given) == pytest.approx(np.sqrt(np.mean(x**2)), rel=1e-12)
    assert tk.init.rms(NET, tk.init.to_rms(NET, given, 0.5)) == pytest.approx(0.5, rel=1e-9)


@pytest.mark.parametrize("wide, given", cases())
def test_trees_of_every_kind(wide, given):
    x, core = dense(wide), given["core_0"]
    if getattr(core, "dtype", None) == np.longdouble:
        with pytest.raises(TypeError, match=r"array 'core_0' has dtype (float128|longdouble|float96)"):
            tk.canonicalize(NET, given)
        return
    assert np.allclose(tk.contract(*tk.canonicalize(NET, given)), x, atol=1e-12 * np.abs(x).max())
    assert np.allclose(tk.contract(*tk.round(NET, given, tol=1e-13)), x, atol=1e-12 * np.abs(x).max())
    values = np.linalg.svd(x.reshape(2, 6), compute_uv=False)
    assert np.allclose(tk.bond_spectrum(NET, given)["b1"], values, atol=1e-12 * values[0])


@pytest.mark.parametrize("build, shape", [(tk.tt, (64, 64, 64)), (tk.ring, (48, 48, 48))])
def test_long_doubles_of_any_size_keep_their_precision(build, shape):
    """Above 65,536 entries a tree's norm is that of its canonical form, for which there is no long double."""
    net = build(shape, 2)
    given = {n: DRAW.normal(size=s).astype(np.longdouble) for n, s in net.array_shapes.items()}
    x = tk.testing.oracle(net, given)
    found = tk.norm(net, given)
    assert found.dtype == np.longdouble and abs(found - np.sqrt((x**2).sum())) <= 1e-17 * found
    assert float(tk.distance(net, given, *tk.add(net, given, net, given))) == pytest.approx(float(found), rel=1e-9)


@pytest.mark.parametrize("function", [tk.tt_svd, tk.tree_svd, tk.tucker_svd, tk.ring_svd, tk.low_rank_svd])
@pytest.mark.parametrize("kind", [torch.uint8, torch.bool, torch.bfloat16, "matrix", "list"])
def test_decompositions_of_every_kind(function, kind):
    x = DRAW.integers(0, 2, (4, 3))
    given = x.view(np.matrix) if kind == "matrix" else x.tolist() if kind == "list" else torch.as_tensor(x, dtype=kind)
    assert np.allclose(tk.contract(*function(given)), x, atol=1e-5)


def test_long_doubles_are_refused_in_the_same_words_everywhere():
    wide = {n: np.ones(s, np.longdouble) for n, s in NET.array_shapes.items()}
    plain = {n: np.ones(s) for n, s in NET.array_shapes.items()}
    words = r"array 'core_0' has dtype \w+; convert it to one of complex128, complex64, float32, float64"
    calls = {
        "project": lambda: tk.project(NET, wide, NET),
        "als": lambda: tk.als(np.ones(NET.shape), NET, wide),
        "round": lambda: tk.round(NET, wide),
        "merge": lambda: tk.merge(NET, wide, ["core_0", "core_1"]),
    }
    for who, call in {**calls, "project ": lambda: tk.project(NET, plain, NET, wide)}.items():
        with pytest.raises(TypeError, match=f"{who.strip()}: {words}"):
            call()


@pytest.mark.parametrize("made", [lambda a: a, torch.as_tensor, lambda a: a.tolist()], ids=["numpy", "torch", "lists"])
def test_what_computes_with_numbers_reads_bools_as_0_and_1(made):
    """The same of every library; what moves entries about keeps them."""
    given = {n: made(a) for n, a in FLAGS.items()}
    x = dense({n: np.asarray(a, float) for n, a in FLAGS.items()})
    bit = made(np.eye(3, dtype=bool)[::-1].copy())
    net, arrays = tk.merge(NET, given, ["core_0", "core_1", "core_2"])
    assert np.allclose(tk.contract(net, arrays), x) and "float64" in str(next(iter(arrays.values())).dtype)
    found = tk.split(NET, given, "core_1", ["b1"])
    assert "float64" in str(found[1]["core_1_left"].dtype)
    found = tk.apply_gate(NET, given, bit, ["i1"])
    assert np.allclose(tk.norm(found[0], found[1]), np.linalg.norm(x))


def test_a_contraction_keeps_bools_and_needs_a_library_that_multiplies_them():
    x = tk.contract(NET, FLAGS)
    assert x.dtype == bool and np.array_equal(x, dense({n: np.asarray(a, float) for n, a in FLAGS.items()}) > 0)
    flags = {n: torch.as_tensor(a) for n, a in FLAGS.items()}
    words = "has dtype torch.bool, which torch does not multiply, and a contraction keeps the dtype; convert it"
    for call in (
        lambda: tk.contract(NET, flags),
        lambda: tk.run(tk.plan(NET), flags),
        lambda: tk.einsum("ia,ajb,bk", *flags.values()),
    ):
        with pytest.raises(TypeError, match=words):
            call()
