"""The library is that of the arrays: array_api_strict and jax against numpy, torch without being told."""

import inspect
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import tnkit as tk
from tnkit.core.activations import UNARY
from tnkit.execution.library import backend_of, library
from tnkit.planning.steps import FusedStep
from tnkit.testing import random_network
from tnkit_nn import TORCH

DTYPES = [np.float64, np.complex128]


@pytest.fixture(params=["array_api_strict", pytest.param("jax", marks=pytest.mark.slow)])
def xp(request):
    # jax compiles every operation of every shape: that takes minutes
    if request.param == "array_api_strict":
        strict = pytest.importorskip("array_api_strict")
        strict.reset_array_api_strict_flags()
        return strict
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    return jax.numpy


def some(xp, few):
    """So many seeds for jax, and more where they cost nothing."""
    return range(few if "jax" in xp.__name__ else 6 * few)


def moved(xp, arrays):
    return {name: xp.asarray(a) for name, a in arrays.items()}


def close(found, want, atol=1e-10):
    assert library(found) is not tk.NUMPY
    assert tuple(found.shape) == np.shape(want)
    np.testing.assert_allclose(
        np.asarray(found), want, rtol=0, atol=atol * max(1.0, float(np.max(np.abs(want), initial=0)))
    )


def array(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    return x + 1j * rng.standard_normal(shape) if np.dtype(dtype).kind == "c" else x


# -- contractions -----------------------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("nonlinear", [False, True])
def test_random_networks(xp, dtype, nonlinear):
    for seed in some(xp, 3):
        net, arrays = random_network(seed, nonlinear=nonlinear, dtype=dtype)
        if not arrays:  # constants alone: numpy, unless the library is named
            assert backend_of(None, arrays) is tk.NUMPY
            continue
        want, given = tk.contract(net, arrays), moved(xp, arrays)
        close(tk.contract(net, given), want)
        close(tk.norm(net, given), tk.norm(net, arrays))
        close(tk.inner(net, given, net, given), tk.inner(net, arrays, net, arrays))
        other = {name: 1.5 * a for name, a in arrays.items()}
        close(tk.distance(net, given, net, moved(xp, other)), tk.distance(net, arrays, net, other), 1e-7)


@pytest.mark.parametrize("fn", UNARY)
def test_activations(xp, fn):
    net = tk.mpo((2, 3), (3, 2), 2).activate(fn, "act")
    arrays = tk.init.normal(net)
    close(tk.contract(net, moved(xp, arrays)), tk.contract(net, arrays))


@pytest.mark.parametrize("dtype", DTYPES)
def test_sliced_and_checkpointed_plans(xp, dtype):
    net = tk.peps(3, 3, 2, 2)
    arrays = tk.init.normal(net, dtype=dtype)
    given, want = moved(xp, arrays), tk.contract(net, arrays)
    for options in ({"slices": 4}, {"memory_limit": tk.plan(net).peak // 2}, {"checkpoint": True}):
        plan = tk.plan(net, **options)
        assert any(isinstance(step, FusedStep) for step in plan.steps), options
        close(tk.run(plan, given), want)
    closed = tk.ring((1,) * 6, 4)
    arrays = tk.init.normal(closed, dtype=dtype)
    sliced = tk.plan(closed, slices=4)
    close(tk.run(sliced, moved(xp, arrays)), tk.contract(closed, arrays))
    with ThreadPoolExecutor(2) as pool:
        close(tk.run(tk.plan(net, slices=4), given, executor=pool), want)
        close(tk.run(sliced, moved(xp, arrays), executor=pool), tk.contract(closed, arrays))


def test_slices_of_the_output_come_back_in_its_order(xp):
    net = tk.Network([tk.Node("A", "ik"), tk.Node("B", "kj"), tk.Node("C", "jl")], "lij", dict(i=3, j=4, k=2, l=5))
    arrays = tk.init.normal(net)
    seen = set()
    for slices in (2, 3, 4, 12, 15, 60, 120):
        plan = tk.plan(net, slices=slices)
        seen.add(plan.sliced.out_axes)
        close(tk.run(plan, moved(xp, arrays)), tk.contract(net, arrays))
    assert len(seen) > 2  # several indices, in several orders


# -- networks held as arrays, decompositions ----------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", DTYPES)
def test_networks_held_as_arrays(xp, dtype):
    net = tk.tt((3, 4, 3), 3)
    arrays = tk.init.normal(net, dtype=dtype)
    given, want = moved(xp, arrays), tk.contract(net, arrays)
    close(tk.contract(*tk.canonicalize(net, given)), want)
    close(tk.contract(*tk.add(net, given, net, given, weights=(2.5, -1))), 1.5 * want)
    for found, expected in zip(
        tk.bond_spectrum(net, given).values(), tk.bond_spectrum(net, arrays).values(), strict=True
    ):
        close(found, expected)
    for order in (1.0, 0.95, 2.0, np.inf):
        found, expected = (tk.bond_entropy(net, a, order=order) for a in (given, arrays))
        for bond in expected:
            close(found[bond], expected[bond])
    for options in ({"rank": 2}, {"tol": 0.3}, {"budget": 24}):
        found, expected = tk.round(net, given, **options), tk.round(net, arrays, **options)
        assert found.network == expected.network and found.error == pytest.approx(expected.error, abs=1e-10)
        close(tk.contract(*found), tk.contract(*expected))
    small = tk.tt((3, 4, 3), 1)
    found, expected = (tk.project(net, a, small, restarts=2, sweeps=20) for a in (given, arrays))
    assert found.error == pytest.approx(expected.error, abs=1e-7)
    close(tk.contract(*found), tk.contract(*expected), 1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", [f for f in tk.DECOMPOSITIONS if f != "cp_als"])
def test_decompositions(xp, family, dtype):
    x = array((4, 5, 4), dtype)
    for options in (
        {"rank": 2},
        {"tol": 0.5},
        {"budget": 60},
        {"rank": 2, "method": "svd"},
        {"rank": 2, "method": "randomised"},
    ):
        found, expected = (tk.DECOMPOSITIONS[family](a, **options) for a in (xp.asarray(x), x))
        assert found.network == expected.network and found.error == pytest.approx(expected.error, abs=1e-9)
        close(tk.contract(*found), tk.contract(*expected), 1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_leading_eigenvectors(xp, dtype):
    x = array((150, 4), dtype) @ array((4, 150), dtype, 1) + 1e-3 * array((150, 150), dtype, 2)
    found, expected = (tk.low_rank_svd(a, rank=4, method="gram") for a in (xp.asarray(x), x))
    assert found.error == pytest.approx(expected.error, rel=1e-6)
    close(tk.contract(*found), tk.contract(*expected), 1e-8)


@pytest.mark.parametrize("dtype", DTYPES)
def test_searches(xp, dtype):
    x = tk.contract(tk.cp((3, 4, 3), 2), tk.init.normal(tk.cp((3, 4, 3), 2), dtype=dtype))
    found = tk.cp_als(xp.asarray(x), 2, restarts=2)
    assert found.error < 1e-6
    close(tk.contract(*found), x, 1e-5)
    ring = tk.ring((3, 4, 3), 2)
    found, expected = (tk.als(a, ring, restarts=2, sweeps=20) for a in (xp.asarray(x), x))
    assert found.error == pytest.approx(expected.error, abs=1e-6)
    again = tk.als(xp.asarray(x), *found, sweeps=2)
    assert again.error <= found.error * (1 + 1e-9) + 1e-12


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights(xp, dtype):
    w = array((19, 11), dtype)
    t = tk.tensorize(xp.asarray(w), (2, 2, 5, 2, 2, 3))
    close(t, tk.tensorize(w, (2, 2, 5, 2, 2, 3)))
    close(tk.detensorize(t, (19, 11)), w)


def test_frozen_arrays_of_any_library_calibrate(xp):
    net = tk.Network([tk.Node("W", "ij"), tk.Node("x", "jb", fixed=True)], "ib", dict(i=3, j=4, b=5))
    x = array((4, 5), float)
    want = tk.init.normal(net, arrays={"x": x})
    for given in (xp.asarray(x), torch.as_tensor(x).requires_grad_()):
        assert np.array_equal(tk.init.normal(net, arrays={"x": given})["W"], want["W"])


# -- jax's transformations ----------------------------------------------------------------------------------------------
def test_jax_transforms_a_contraction():
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    net = tk.mpo((2, 3), (3, 2), 2).activate("tanh", "act")
    plan, arrays = tk.plan(net), tk.init.normal(net)
    given, tensors = moved(jax.numpy, arrays), {n: torch.as_tensor(a).requires_grad_() for n, a in arrays.items()}
    (tk.contract(net, tensors) ** 2).sum().backward()
    for make in (lambda a: tk.contract(net, a), lambda a: tk.run(plan, a)):
        close(jax.jit(make)(given), tk.contract(net, arrays))
        for way in (lambda f: f, jax.jit):
            gradients = way(jax.grad(lambda a, make=make: (make(a) ** 2).sum()))(given)
            for name, t in tensors.items():
                close(gradients[name], t.grad.numpy())


def test_jax_in_single_precision_has_no_double_to_fall_back_on():
    jax = pytest.importorskip("jax")
    x = array((40, 4), float) @ array((4, 40), float, 1)
    with jax.enable_x64(False) if hasattr(jax, "enable_x64") else jax.experimental.disable_x64():
        found = tk.tt_svd(jax.numpy.asarray(x.reshape(8, 5, 40), dtype="float32"), tol=1e-5)
        assert found.network.sizes["b2"] == 4 and found.error < 1e-5
        made = np.asarray(tk.contract(*found)).reshape(40, 40)
    assert np.linalg.norm(made - x) <= 1e-5 * np.linalg.norm(x)


# -- finding the library ------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_torch_needs_no_word():
    net = tk.tt((3, 4, 3), 3)
    tensors = {n: torch.as_tensor(a).requires_grad_() for n, a in tk.init.normal(net).items()}
    x = tk.contract(net, tensors)
    for made in (
        tk.contract(*tk.tt_svd(x)),
        tk.contract(*tk.round(net, tensors, rank=3)),
        tk.run(tk.plan(net), tensors),
    ):
        torch.testing.assert_close(made, x)
        assert made.requires_grad
    assert backend_of(None, tensors) is TORCH is library(torch.nn.Parameter(x))
    plan = tk.plan(net)
    whole = torch.compile(lambda a: tk.run(plan, a), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(whole(tensors), x)


def test_numbers_of_numpy_are_arrays():
    net = tk.Network([tk.Node("A", ""), tk.Node("B", "i")], "i", {"i": 2})
    assert np.array_equal(tk.contract(net, {"A": np.float64(3), "B": np.ones(2)}), [3, 3])
    assert np.array_equal(tk.contract(net, {"A": 3.0, "B": [1, 2]}), [3, 6])
    with pytest.raises(TypeError, match=r"array .A. is a str, which is no array"):
        tk.contract(net, {"A": "3.0", "B": np.ones(2)})


def test_two_libraries_are_refused_by_name(xp):
    net, one = tk.tt((2, 2), 1), tk.tt((2, 2), 1)
    arrays = tk.init.normal(net)
    mine, theirs = moved(xp, arrays), {n: torch.as_tensor(a) for n, a in arrays.items()}
    name = library(mine["core_0"]).name
    mixed = {"core_0": arrays["core_0"], "core_1": mine["core_1"]}
    rule = f"the arrays of one call are of one library: array 'core_0' is of {{}}, array 'core_[01]' of {name}; convert"
    for call in (tk.contract, tk.check_arrays, tk.norm, tk.canonicalize, tk.bond_spectrum, tk.bond_entropy, tk.round):
        with pytest.raises(TypeError, match=rule.format("numpy")):
            call(net, mixed)
    with pytest.raises(TypeError, match=rule.format("numpy")):
        tk.run(tk.plan(net), mixed)
    for call in (tk.inner, tk.distance, tk.add, lambda a, x, b, y: tk.project(a, x, b, y)):
        with pytest.raises(TypeError, match=rule.format("torch")):
            call(net, theirs, one, mine)
    with pytest.raises(TypeError, match=f"array 'core_0' is a .*, which is no array of {name}"):
        tk.als(mine["core_0"] @ mine["core_1"], net, theirs)


def test_a_library_that_is_named_is_held_to(xp):
    net = tk.tt((2, 2), 1)
    arrays = tk.init.normal(net)
    mine = moved(xp, arrays)
    close(tk.contract(net, mine, backend=library(mine["core_0"])), tk.contract(net, arrays))
    with pytest.raises(TypeError, match=r"array 'core_0' is a .*, which is no array of numpy; convert it"):
        tk.contract(net, mine, backend=tk.NUMPY)
    with pytest.raises(TypeError, match=r"x is a ndarray, which is no array of .*; convert it"):
        tk.tt_svd(arrays["core_0"], backend=library(mine["core_0"]))


@pytest.mark.parametrize("bad", ["text", None, {}])
def test_what_is_no_array_is_refused_by_name(bad):
    net = tk.tt((2, 2), 1)
    with pytest.raises(TypeError, match=rf"array 'core_0' is a {type(bad).__name__}, which is no array; convert it"):
        tk.contract(net, {"core_0": bad, "core_1": np.ones((1, 2))})
    with pytest.raises(TypeError, match="contract: arrays map names to values, as a dict does"):
        tk.contract(net, [bad])


def test_a_backend_is_one_value_and_prints_as_its_name(xp):
    found = library(xp.asarray([1.0]))
    assert found is library(xp.asarray([[2.0]])) and repr(found) == found.name == xp.__name__.partition(".")[0]
    assert found.__reduce__()[0](*found.__reduce__()[1]) is found
    assert len(str(inspect.signature(tk.contract))) < 250  # a default shows as its name


def test_every_public_function_finds_the_library():
    for name in tk.__all__:
        thing = getattr(tk, name)
        parameters = inspect.signature(thing).parameters if inspect.isfunction(thing) else {}
        if "backend" in parameters:
            assert parameters["backend"].default is None, name
            assert (
                "by default that of the arrays" in thing.__doc__
                or "As for" in thing.__doc__
                or "as for" in thing.__doc__
            ), name
