"""The scale of a tensor decides no answer: norms, entropies, canonical forms and rounding at any norm, against float64."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from work import counted

import tnkit as tk
from tnkit.testing import oracle
from tnkit_nn import TORCH

LIBRARIES = {"numpy": np.asarray, "torch": torch.as_tensor}
RANGES = [("float64", 1e-300), ("float64", 1e300), ("float32", 1e-35), ("float32", 1e35)]


def drawn(net, dtype="float32", std=1.0, seed=0):
    """Independent normal entries, whatever the norm becomes."""
    rng = np.random.default_rng(seed)
    return {n: (std * rng.standard_normal(shape)).astype(dtype) for n, shape in net.array_shapes.items()}


def converted(arrays, library):
    return {n: LIBRARIES[library](a) for n, a in arrays.items()}


def wide(arrays):
    return {
        n: np.asarray(a).astype("complex128" if "complex" in str(a.dtype) else "float64") for n, a in arrays.items()
    }


def log10(pair):
    value, exponent = pair
    return np.log10(float(value)) + float(exponent)


# -- trees ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("order", [0.5, 1, 2, np.inf])
@pytest.mark.parametrize("library", LIBRARIES)
def test_entropies_of_a_chain_whose_squares_overflow(library, order):
    net = tk.tt((2,) * 32, 16)
    arrays = drawn(net)
    found = tk.bond_entropy(net, converted(arrays, library), order=order)
    right = tk.bond_entropy(net, wide(arrays), order=order)
    assert float(right["b16"]) > 0.5
    for bond, value in found.items():
        assert float(value) == pytest.approx(float(right[bond]), rel=1e-4)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("dtype", "scale"), RANGES)
def test_trees_at_the_ends_of_the_range(dtype, scale, library):
    net = tk.tree((2, 3, 2, 4), 3)
    arrays = drawn(net, dtype)
    large = {**arrays, "node_0_0": (arrays["node_0_0"] * scale).astype(dtype)}
    loose = 1e-4 if dtype == "float32" else 1e-10
    x = converted(large, library)
    entropies, spectra = tk.bond_entropy(net, x), tk.bond_spectrum(net, x)
    for bond, value in tk.bond_entropy(net, wide(arrays)).items():
        assert float(entropies[bond]) == pytest.approx(float(value), rel=loose)
    for bond, s in tk.bond_spectrum(net, wide(arrays)).items():
        assert np.allclose(np.asarray(spectra[bond], np.float64) / scale, s, rtol=10 * loose, atol=10 * loose * s[0])
    for options in ({"rank": 1}, {"tol": 0.4}, {"budget": 30}):
        error = tk.round(net, x, **options).error
        assert error == pytest.approx(tk.round(net, wide(arrays), **options).error, rel=10 * loose) and error > 0
    form, moved = tk.canonicalize(net, x)
    made = oracle(form, wide(moved)) / scale
    assert np.allclose(made, oracle(net, wide(large)) / scale, rtol=0, atol=10 * loose * np.abs(made).max())
    assert float(tk.norm(net, x)) / scale == pytest.approx(np.linalg.norm(oracle(net, wide(arrays))), rel=loose)


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("std", [1.0, 1e-3, 1e30])
def test_long_chains_whose_norm_is_no_number(std, library):
    net = tk.mps((2,) * (784 if library == "numpy" else 196), 4)
    arrays = drawn(net, std=std)
    x = converted(arrays, library)
    right = tk.norm(net, drawn(net, "float64", std), strip_exponent=True)
    found = tk.norm(net, x, strip_exponent=True)
    assert 0.1 < float(found[0]) < 20 and log10(found) == pytest.approx(log10(right), abs=1e-3)
    assert isinstance(found[1], float if library == "numpy" else torch.Tensor)
    with pytest.raises(
        ValueError, match=r"canonicalize: the tensor's norm, .* beyond the range of float32; strip_exponent=True"
    ):
        tk.canonicalize(net, x)
    with pytest.raises(ValueError, match=r"bond_spectrum: the tensor's norm, .* strip_exponent=True"):
        tk.bond_spectrum(net, x)
    form, moved, exponent = tk.canonicalize(net, x, "core_5", strip_exponent=True)
    size = float(np.linalg.norm(np.asarray(moved["core_5"])))
    assert 0.5 < size < 50 and log10((size, exponent)) == pytest.approx(log10(right), abs=1e-3)
    for name, bond in (("core_2", "b3"), ("core_190", "b190")):
        a = np.moveaxis(np.asarray(moved[name], np.float64), form[name].inds.index(bond), -1)
        q = a.reshape(-1, a.shape[-1])
        assert np.allclose(q.T @ q, np.eye(q.shape[1]), atol=1e-5)
    spectra, exponent = tk.bond_spectrum(net, x, strip_exponent=True)
    for s in (spectra["b1"], spectra["b98"]):
        assert log10((np.linalg.norm(np.asarray(s)), exponent)) == pytest.approx(log10(right), abs=1e-3)
    small = tk.round(net, x, tol=1e-3)
    sizes = [float(np.abs(np.asarray(a)).max()) for a in small.arrays.values()]
    assert small.error <= 1e-3 and max(sizes) < 1e3 * min(sizes)
    assert log10(tk.norm(*small, strip_exponent=True)) == pytest.approx(log10(right), abs=1e-3)
    value, off = tk.distance(net, x, *tk.round(net, x, rank=4), strip_exponent=True)
    assert float(value) == 0 or log10((value, off)) < log10(right) - 3


def test_a_cut_of_every_bond_leaves_no_zeros():
    """What hundreds of cuts leave is far below the dtype beside the whole, and is kept all the same."""
    net = tk.mps((2,) * 1000, 4)
    small = tk.round(net, drawn(net), rank=2)
    assert small.error == pytest.approx(1, abs=1e-5) and small.error <= 1
    assert all(np.isfinite(a).all() and np.abs(a).max() > 1e-3 for a in small.arrays.values())
    assert np.isfinite(log10(tk.norm(*small, strip_exponent=True)))


@pytest.mark.slow
def test_ten_times_the_sites_are_ten_times_the_work():
    work = []
    for sites in (500, 5000):
        net = tk.mps((2,) * sites, 2)
        arrays = drawn(net)
        done, (value, exponent) = counted(tk.norm, net, arrays, strip_exponent=True)
        work.append(done)
        assert np.isfinite(value) and abs(exponent) > sites / 10
    assert work[1] < 11 * work[0]


def test_gradients_where_the_norm_is_no_number():
    net = tk.tt((2,) * 200, 3)
    arrays = {n: torch.as_tensor(a) for n, a in drawn(net).items()}
    single = {n: a.clone().requires_grad_() for n, a in arrays.items()}
    double = {n: (a.double() / 8).requires_grad_() for n, a in arrays.items()}
    for x in (single, double):
        tk.bond_entropy(net, x)["b100"].backward()
    for n in ("core_99", "core_100"):
        assert torch.allclose(
            single[n].grad.double() * 8, double[n].grad, rtol=1e-2, atol=1e-4 * double[n].grad.abs().max()
        )
    assert float(double["core_99"].grad.norm()) > 0
    value, exponent = tk.norm(net, single, strip_exponent=True)
    (slope,) = torch.autograd.grad(value, single["core_7"])
    assert not exponent.requires_grad
    assert float((slope * single["core_7"].detach()).sum()) == pytest.approx(
        float(value.detach()), rel=1e-3
    )  # homogeneous of degree 1


def test_entropies_of_products_zeros_and_nan():
    ones = tk.bond_entropy(*tk.tt_svd(np.ones((2, 2, 2))))
    assert all(0 <= h < 1e-12 and not np.signbit(h) for h in ones.values())
    net = tk.tt((2, 3, 2), 2)
    arrays = drawn(net, "float64")
    for convert in LIBRARIES.values():
        zero = tk.bond_entropy(net, {n: convert(0 * a) for n, a in arrays.items()})
        assert all(float(h) == 0 and not np.signbit(float(h)) for h in zero.values())
        for bad in (np.nan, np.inf):
            x = {n: convert(a * bad if n == "core_1" else a) for n, a in arrays.items()}
            assert all(np.isnan(float(h)) for h in tk.bond_entropy(net, x).values())
            for function in (tk.canonicalize, tk.bond_spectrum, tk.round):
                with pytest.raises(ValueError, match="array 'core_1' has entries that are not finite"):
                    function(net, x)


# -- norms, inner products, distances -----------------------------------------------------------------------------------
@pytest.mark.parametrize("library", LIBRARIES)
def test_loops_whose_squares_overflow(library):
    net = tk.ring((2,) * 150, 3)
    arrays = tk.init.normal(net, seed=0, dtype="float32")
    right = tk.norm(net, wide(arrays))
    x = converted(arrays, library)
    assert float(right) == pytest.approx(2.0**75, rel=1e-3)
    assert float(tk.norm(net, x)) == pytest.approx(float(right), rel=1e-4)
    assert float(tk.distance(net, x, net, {**x, "core_3": 2 * x["core_3"]})) == pytest.approx(float(right), rel=1e-4)
    with pytest.warns(RuntimeWarning, match=r"inner: .*above the range of float32; strip_exponent=True"):
        assert float(tk.inner(net, x, net, x)) == np.inf
    assert log10(tk.inner(net, x, net, x, strip_exponent=True)) == pytest.approx(2 * np.log10(right), abs=1e-4)
    few = tk.ring((2,) * 20, 3)  # more entries than are formed
    large = converted({n: 1e9 * a for n, a in tk.init.normal(few, seed=0).items()}, library)
    assert float(tk.norm(few, large)) == pytest.approx(1.024e183, rel=1e-9)
    small = converted({n: 1e-20 * a for n, a in tk.init.normal(few, seed=0).items()}, library)
    with pytest.warns(RuntimeWarning, match=r"norm: .*below the range of float64"):
        assert float(tk.norm(few, small)) == 0
    assert log10(tk.norm(few, small, strip_exponent=True)) == pytest.approx(np.log10(1024) - 400, abs=1e-9)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    "net", [tk.ring((2,) * 20, 3), tk.tt((2,) * 20, 3), tk.ring((2, 3, 2), 2)], ids=["loop", "tree", "few"]
)
def test_nan_and_infinity_stay(net, library):
    arrays = tk.init.normal(net, seed=0)
    x = converted(arrays, library)
    nan = {**x, "core_1": x["core_1"] * np.nan}
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.filterwarnings("ignore", "invalid value", RuntimeWarning)
        for value in (tk.norm(net, nan), tk.distance(net, x, net, nan), tk.inner(net, x, net, nan)):
            assert np.isnan(float(value))
        assert not np.isfinite(float(tk.norm(net, {**x, "core_1": x["core_1"] * np.inf})))
        zero = {**x, "core_1": 0 * x["core_1"]}
        assert float(tk.norm(net, zero)) == 0
        assert float(tk.distance(net, zero, net, x)) == pytest.approx(float(tk.norm(net, x)), rel=1e-6)


@pytest.mark.parametrize(
    "net", [tk.tt((4,) * 9, 3), tk.tt((3, 4), 2), tk.ring((4,) * 9, 2)], ids=["tree", "few", "loop"]
)
def test_distances_of_networks_of_unlike_scale(net):
    x, y = tk.init.normal(net, seed=0), tk.init.normal(net, seed=1)
    huge, tiny = ({n: a * s for n, a in x.items()} for s in (1e12, 1e-12))
    for a, b in ((huge, tiny), (tiny, huge)):
        assert float(tk.distance(net, a, net, b)) == pytest.approx(float(tk.norm(net, huge)), rel=1e-9)
    far = {n: a * 1e60 for n, a in y.items()}
    found = tk.distance(net, tiny, net, far, strip_exponent=True)
    assert log10(found) == pytest.approx(log10(tk.norm(net, far, strip_exponent=True)), abs=1e-9)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("kind", ["uint8", "int64", "bool"])
def test_whole_numbers_do_not_wrap_around(kind, library):
    net = tk.tt((4,) * 8, 3)
    rng = np.random.default_rng(0)
    whole = {n: rng.integers(0, 200, s).astype(kind) for n, s in net.array_shapes.items()}
    x, right = converted(whole, library), wide(whole)
    assert float(tk.norm(net, x)) == pytest.approx(float(tk.norm(net, right)), rel=1e-12)
    assert float(tk.inner(net, x, net, x)) == pytest.approx(float(tk.norm(net, right)) ** 2, rel=1e-12)
    assert float(tk.norm(*tk.add(net, x, net, x, weights=(1, -3)))) == pytest.approx(
        2 * float(tk.norm(net, right)), rel=1e-12
    )
    assert tk.round(net, x, rank=1).error == pytest.approx(tk.round(net, right, rank=1).error, rel=1e-9)


def test_dtypes_of_two_networks_meet_in_one_that_holds_them():
    net = tk.tt((4, 4, 4), 3)
    half = {n: torch.as_tensor(a).bfloat16() for n, a in tk.init.normal(net, seed=0).items()}
    single = {n: a.float() for n, a in half.items()}
    assert float(tk.inner(net, half, net, single)) == pytest.approx(float(tk.norm(net, single)) ** 2, rel=1e-6)
    assert float(tk.norm(net, half)) == pytest.approx(float(tk.norm(net, single)), rel=1e-6)
    assert {a.dtype for a in tk.add(net, half, net, single)[1].values()} == {torch.float32}
    x = tk.init.normal(net, seed=0, dtype="float32")
    for weight in (np.float64(0.5), np.array(0.5), 0.5, np.int64(2)):
        _, made = tk.add(net, x, net, x, weights=(weight, 1))
        assert {a.dtype for a in made.values()} == {np.dtype("float32")}


# -- sums -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("weight", [1e-200, -1e200, 3e100j])
def test_large_weights_are_shared_by_all_arrays(weight, library):
    net = tk.tt((3, 4, 3, 2), 2)
    x = tk.init.normal(net, seed=0, dtype="complex128")
    net_sum, made = tk.add(net, converted(x, library), net, converted(x, library), weights=(weight, weight))
    assert np.allclose(oracle(net_sum, wide(made)) / abs(weight), 2 * weight / abs(weight) * oracle(net, x), rtol=1e-12)
    single = tk.init.normal(tk.tt((3, 4), 2), seed=0, dtype="float32")
    with pytest.raises(ValueError, match="add: a weight takes array 'core_0' beyond the range of float32"):
        tk.add(tk.tt((3, 4), 2), single, tk.tt((3, 4), 2), single, weights=(1e150, 1))


def test_a_weight_may_have_a_gradient():
    net = tk.tt((3, 4, 3), 2)
    x = {n: torch.as_tensor(a) for n, a in tk.init.normal(net, seed=0).items()}
    w = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda w: tk.contract(*tk.add(net, x, net, x, weights=(w, 2))), w)


# -- which index is which -----------------------------------------------------------------------------------------------
def test_outputs_are_matched_by_name_or_by_position():
    net = tk.tt((2, 3, 2, 2), 2)
    x, y = tk.init.normal(net, seed=0), tk.init.normal(net, seed=1)
    turned = replace(net, output=("i0", "i3", "i1", "i2"))
    dense, other = oracle(net, x), oracle(net, y)
    assert float(tk.inner(net, x, turned, y)) == pytest.approx(np.vdot(dense, other))
    assert float(tk.distance(net, x, turned, y)) == pytest.approx(np.linalg.norm(dense - other))
    total, made = tk.add(net, x, turned, y)
    assert total.output == net.output and np.allclose(oracle(total, made), dense + other)
    assert tk.project(turned, x, net, sweeps=30).error < 1e-9
    apart = net.relabel(inds={i: f"o.{i}" for i in net.output})
    assert float(tk.inner(net, x, apart, y)) == pytest.approx(np.vdot(dense, other))
    some = net.relabel(inds={"i1": "z"})
    for call in (
        lambda: tk.inner(net, x, some, y),
        lambda: tk.distance(some, y, net, x),
        lambda: tk.project(some, y, net),
    ):
        with pytest.raises(
            ValueError, match=r"output index 'i0' is in both networks, but '.*' and '.*' are not; give both"
        ):
            call()


@pytest.mark.slow
@pytest.mark.parametrize("std", [1e-6, 1e30])
def test_projecting_a_target_whose_norm_is_no_number(std):
    net = tk.tt((2,) * 60, 4)
    target = {n: (std * a).astype("float32") for n, a in tk.init.normal(net, seed=0).items()}
    found = tk.project(net, target, tk.tt((2,) * 60, 3), sweeps=4, restarts=1)
    usual = tk.project(net, tk.init.normal(net, seed=0, dtype="float32"), tk.tt((2,) * 60, 3), sweeps=4, restarts=1)
    assert found.error == pytest.approx(usual.error, rel=1e-3) and found.error < 1
    off = log10(tk.distance(net, target, *found, strip_exponent=True)) - log10(
        tk.norm(net, target, strip_exponent=True)
    )
    assert off == pytest.approx(np.log10(found.error), abs=1e-3)
    again = tk.project(net, target, *found, sweeps=1)
    assert again.error <= found.error * (1 + 1e-6)


@pytest.mark.parametrize(
    "net", [tk.tt((4,) * 9, 3), tk.ring((4,) * 9, 3), tk.tt((4,) * 3, 3)], ids=["tree", "loop", "few"]
)
def test_transforms_of_torch_pass(net):
    arrays = {n: torch.as_tensor(a) for n, a in tk.init.normal(net, seed=0).items()}
    core = 1.3 * arrays["core_0"]
    for function in (
        lambda c: tk.norm(net, {**arrays, "core_0": c}),
        lambda c: tk.distance(net, {**arrays, "core_0": c}, net, arrays),
        lambda c: tk.norm(net, {**arrays, "core_0": c}, strip_exponent=True)[0],
    ):
        slope = torch.autograd.functional.jacobian(function, core)
        assert float(slope.norm()) > 0
        assert torch.allclose(torch.func.grad(function)(core), slope)
        assert torch.allclose(torch.func.jvp(function, (core,), (core,))[1], (slope * core).sum())
    batch = torch.func.vmap(lambda c: tk.norm(net, {**arrays, "core_0": c}))(torch.stack([core, 2 * core]))
    value = tk.norm(net, {**arrays, "core_0": core})
    assert torch.allclose(batch, torch.stack([value, 2 * value]))
    assert TORCH.unseen((core,)) is False


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("dtype", "power"), [("float64", 664), ("float32", 100)])
def test_sums_of_a_network_whose_arrays_are_of_sizes_far_apart(dtype, power, library):
    net = tk.tt((2, 2, 2, 2), 2)
    x, y = drawn(net, dtype), drawn(net, dtype, seed=1)
    far = {n: (a * 2.0**p).astype(dtype) for (n, a), p in zip(x.items(), (power, power, -power, -power), strict=True)}
    made = tk.contract(*tk.add(net, converted(far, library), net, converted(y, library)))
    assert np.allclose(made, oracle(net, wide(x)) + oracle(net, wide(y)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("library", LIBRARIES)
def test_complex_values_beyond_the_range_are_infinite_as_real_ones_are(library):
    net = tk.tt((2, 1, 3), 2)
    x = {n: (2.0**664 * a).astype("complex128") * (1 + 1j) for n, a in drawn(net, "float64").items()}
    given = converted(x, library)
    for call in (
        lambda: tk.contract(net, given),
        lambda: tk.inner(net, given, net, given),
        lambda: tk.contract_approx(net, given, max_bond=8),
    ):
        with pytest.warns(RuntimeWarning, match="above the range of complex128"):
            found = np.asarray(call())
        assert np.isinf(found).all()
    if library == "torch":
        hidden = torch.func.vmap(lambda a: tk.inner(net, given, net, {**given, "core_0": a}))(given["core_0"][None])
        assert torch.isinf(hidden).all()
