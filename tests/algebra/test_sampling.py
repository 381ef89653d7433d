"""Samples, likelihoods and marginals against dense probabilities."""

import numpy as np
import pytest
import torch
from scipy.stats import chi2

import tnkit as tk

TREES = {
    "chain": tk.mps((2, 3, 2, 2, 3), 4),
    "tree": tk.tree((2, 3, 2, 3, 2), 4),
    "three below": tk.tree((2,) * 7, 5, 3),
    "star": tk.tucker((3, 4, 2), 2),
    "bonds larger than their sides": tk.mps((2, 3, 2), [5, 7]),
    "operator": tk.mpo((2, 3), (2, 2), 3),
    "one node": tk.Network([tk.Node("A", "ij")], "ji", {"i": 3, "j": 2}),
    "site in the middle of a tree": tk.Network(
        [tk.Node("A", "iab"), tk.Node("B", "ja"), tk.Node("C", "bkc"), tk.Node("D", "cl")], "likj", dict.fromkeys("ijklabc", 3)
    ),
}  # fmt: skip
LOOPS = {
    "ring": tk.ring((2, 3, 2), 2),
    "lattice": tk.peps(2, 2, 2, 3),
    "hyperedge": tk.cp((2, 3, 4), 3),
    "tied": tk.Network([tk.Node("A", "ia", "X"), tk.Node("B", "ja", "X")], "ij", {"i": 2, "j": 2, "a": 3}),
}
LIBRARIES = {"numpy": np.asarray, "torch": torch.as_tensor}


def drawn(net, dtype="float64", seed=0, born=True):
    rng = np.random.default_rng(seed)
    found = {}
    for name, shape in net.array_shapes.items():
        x = rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if dtype.startswith("complex") else 0)
        found[name] = (x if born else abs(x)).astype(dtype)
    return found


def dense(net, arrays, born=True):
    """Probabilities by the oracle, in double precision."""
    x = tk.testing.oracle(net, {n: np.asarray(a).astype("complex128") for n, a in arrays.items()})
    p = abs(x) ** 2 if born else x.real
    return p / p.sum()


def all_places(net):
    return np.stack(np.unravel_index(np.arange(np.prod(net.shape)), net.shape), 1)


def summed(p, k):
    return p.sum(tuple(j for j in range(p.ndim) if j != k))


@pytest.mark.parametrize("dtype, born", [("float64", True), ("complex128", True), ("float64", False)])
@pytest.mark.parametrize("name", TREES)
def test_samples_are_those_of_the_dense_distribution(name, dtype, born):
    """Counts by a chi-square test, and the likelihood that each sample is told to have, exactly."""
    net, count = TREES[name], 20_000
    arrays = drawn(net, dtype, 1, born)
    p = dense(net, arrays, born)
    values, logs = tk.sample(net, arrays, count, seed=3, born=born)
    assert values.shape == (count, len(net.output)) and values.dtype == np.int64
    assert np.allclose(logs, np.log(p[tuple(values.T)]), rtol=0, atol=1e-8)
    counts = np.bincount(np.ravel_multi_index(values.T, p.shape), minlength=p.size)
    wanted = count * p.ravel()
    often = wanted > 5
    counts, wanted = (np.append(x[often], x[~often].sum()) for x in (counts, wanted))
    counts, wanted = counts[wanted > 0], wanted[wanted > 0]
    assert chi2.sf(((counts - wanted) ** 2 / wanted).sum(), len(wanted) - 1) > 1e-4


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("dtype, born", [("float64", True), ("complex128", True), ("float64", False)])
@pytest.mark.parametrize("name", [*TREES, *LOOPS])
def test_likelihoods_and_marginals_are_exact(name, dtype, born, library):
    net = {**TREES, **LOOPS}[name]
    arrays = drawn(net, dtype, 2, born)
    p = dense(net, arrays, born)
    given = {n: LIBRARIES[library](a) for n, a in arrays.items()}
    logs = tk.log_likelihood(net, given, all_places(net), born=born)
    assert isinstance(logs, torch.Tensor) == (library == "torch")
    assert np.allclose(np.exp(np.asarray(logs)), p.ravel(), rtol=1e-9, atol=1e-14)
    found = tk.marginals(net, given, born=born)
    assert list(found) == list(net.output)
    for k, i in enumerate(net.output):
        assert np.allclose(np.asarray(found[i]), summed(p, k), rtol=1e-9)


def test_likelihood_of_a_nonlinear_network():
    net = tk.brick_wall(4, depth=2, activation="tanh")
    arrays = drawn(net)
    p = dense(net, {n: a for n, a in arrays.items()})
    assert np.allclose(tk.log_likelihood(net, arrays, all_places(net)), np.log(p.ravel()), rtol=1e-9)
    with pytest.raises(ValueError, match="marginals: node 'act_0' is an Elementwise"):
        tk.marginals(net, arrays)


@pytest.mark.parametrize(
    "dtype, scale", [("float32", 1e-30), ("float32", 1e30), ("float64", 1e200), ("float64", 1e-200)]
)
def test_any_scale(dtype, scale):
    """Cores of 1e30 and of 1e-30, whose norm is no number of the dtype: the same distribution as those of size 1."""
    net = tk.mps((2,) * 40, 4)
    plain = drawn(net, dtype)
    arrays = {n: (a * np.asarray(scale, dtype)).astype(dtype) for n, a in plain.items()}
    wide = {n: a.astype("float64") / scale for n, a in arrays.items()}
    values, logs = tk.sample(net, wide, 200, seed=1)
    loose = 1e-3 if dtype == "float32" else 1e-9
    for library in LIBRARIES.values():
        given = {n: library(a) for n, a in arrays.items()}
        assert np.allclose(np.asarray(tk.log_likelihood(net, given, values)), logs, rtol=0, atol=40 * loose)
        again = tk.sample(net, given, 200, seed=1)
        assert (again.values == values).mean() > 0.99 and np.allclose(
            again.log_likelihood.mean(), logs.mean(), rtol=1e-2
        )
        right = tk.marginals(net, wide)
        assert all(np.allclose(np.asarray(x), right[i], rtol=loose) for i, x in tk.marginals(net, given).items())


def test_entries_far_below_the_others_have_their_likelihood():
    """A product state with probabilities of 1e-60 a site: e^-5526 in all is beyond any float."""
    net = tk.mps((2,) * 40, 1)
    arrays = {n: np.resize([1.0, 1e-30], s) for n, s in net.array_shapes.items()}
    logs = tk.log_likelihood(net, arrays, [[0] * 40, [1] * 40])
    assert np.allclose(logs, [0, -40 * np.log(1e60)], rtol=1e-12)


def test_gradients_of_the_likelihood_are_those_of_the_dense_one():
    for net in (TREES["tree"], LOOPS["ring"]):
        arrays = {n: torch.tensor(a, requires_grad=True) for n, a in drawn(net).items()}
        places = all_places(net)[::3]
        tk.log_likelihood(net, arrays, places).mean().backward()
        found = {n: a.grad.clone() for n, a in arrays.items()}
        for a in arrays.values():
            a.grad = None
        x = tk.contract(net, arrays)
        (2 * x[tuple(torch.tensor(places.T))].abs().log() - (x**2).sum().log()).mean().backward()
        assert all(torch.allclose(found[n], a.grad, rtol=1e-8, atol=1e-10) for n, a in arrays.items())
        some = {n: a.detach().requires_grad_() for n, a in arrays.items()}
        tk.marginals(net, some)[net.output[0]][0].backward()
        assert all(a.grad.isfinite().all() and a.grad.any() for a in some.values())


def test_entries_of_zero_and_what_is_not_finite():
    net = tk.mps((2, 2), 1)
    arrays = {"core_0": np.array([[1.0], [0.0]]), "core_1": np.array([[1.0, 1.0]])}
    assert np.allclose(tk.log_likelihood(net, arrays, [[0, 1], [1, 1]]), [-np.log(2), -np.inf])
    values, _ = tk.sample(net, arrays, 500)
    assert not values[:, 0].any() and 0.4 < values[:, 1].mean() < 0.6
    tensors = {n: torch.tensor(a, requires_grad=True) for n, a in arrays.items()}
    tk.log_likelihood(net, tensors, [[0, 1], [1, 1]])[0].backward()
    assert all(a.grad.isfinite().all() for a in tensors.values())
    none = arrays | {"core_0": np.zeros((2, 1))}
    for bad in (np.nan, np.inf):
        spoiled = arrays | {"core_1": np.array([[bad, 1.0]])}
        for born in (True, False):  # NaN without a warning
            for given in (spoiled, none):
                assert np.isnan(tk.log_likelihood(net, given, [[0, 1]], born=born)).all()
                assert all(np.isnan(x).all() for x in tk.marginals(net, given, born=born).values())
    with pytest.raises(ValueError, match="sample: array 'core_1' has entries that are not finite"):
        tk.sample(net, spoiled, 3)
    wide = tk.mps((2, 2), 2)
    apart = {
        "core_0": np.array([[1.0, 0.0], [1.0, 0.0]]),
        "core_1": np.array([[0.0, 0.0], [1.0, 1.0]]),
    }  # whose product is 0
    for given, born in ((apart, True), (apart, False)):
        with pytest.raises(ValueError, match="sample: the network's tensor is zero"):
            tk.sample(wide, given, 3, born=born)
    with pytest.raises(ValueError, match="sample: the network's tensor is zero"):
        tk.sample(net, arrays | {"core_0": np.zeros((2, 1))}, 3)


def test_probabilities_of_complex_dtype():
    """Entries without imaginary parts are probabilities in a complex dtype too."""
    net = tk.tree((2, 3, 2), 2)
    arrays = drawn(net, born=False)
    wide = {n: x.astype("complex128") for n, x in arrays.items()}
    found, wanted = tk.sample(net, wide, 50, born=False), tk.sample(net, arrays, 50, born=False)
    assert np.array_equal(found.values, wanted.values) and np.allclose(found.log_likelihood, wanted.log_likelihood)
    assert np.allclose(tk.log_likelihood(net, wide, found.values, born=False), found.log_likelihood)


def test_no_samples_no_sites_and_frozen_nodes():
    net = tk.mps((2, 3), 2)
    arrays = drawn(net)
    assert tk.log_likelihood(net, arrays, np.zeros((0, 2), int)).shape == (0,)
    scalar = tk.Network([tk.Node("A", "i"), tk.Node("B", "i")], "", {"i": 3})
    values, logs = tk.sample(scalar, drawn(scalar), 4)
    assert values.shape == (4, 0) and not logs.any()
    frozen = tk.Network([tk.Node("A", "ia"), tk.Node("e", "a", fixed="e0")], "i", {"i": 4, "a": 2})
    held = drawn(frozen)
    p = held["A"][:, 0] ** 2 / (held["A"][:, 0] ** 2).sum()
    values, logs = tk.sample(frozen, {"A": held["A"]}, 50)
    assert np.allclose(logs, np.log(p[values[:, 0]]))
    assert np.allclose(tk.marginals(frozen, {"A": held["A"]})["i"], p)


def test_samples_follow_the_seed_and_come_in_parts(monkeypatch):
    net = tk.mps((2,) * 12, 8)
    arrays = drawn(net)
    one, same, other = (tk.sample(net, arrays, 50, seed) for seed in (0, 0, 1))
    assert (one.values == same.values).all() and (one.values != other.values).any()
    monkeypatch.setattr("tnkit.algebra.sampling._ENTRIES", 1)
    alone = tk.sample(net, arrays, 7)
    assert alone.values.shape == (7, 12)
    assert np.allclose(alone.log_likelihood, tk.log_likelihood(net, arrays, alone.values), atol=1e-10)


def test_a_decomposition_stands_for_both():
    found = tk.tt_svd(np.random.default_rng(0).normal(size=(2, 3, 2)), rank=2)
    values, logs = tk.sample(found, 10, seed=0)
    assert np.allclose(tk.log_likelihood(found, values), logs)
    assert float(sum(tk.marginals(found)["i1"])) == pytest.approx(1)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda n, a: tk.sample(n, a, 0), "sample: n is a whole number of at least 1, not 0"),
        (lambda n, a: tk.sample(n, a, 3, born=False), "sample: born=False reads entries as probabilities, but array of node 'core_0'"),
        (lambda n, a: tk.sample(LOOPS["ring"], drawn(LOOPS["ring"]), 3), "sample: nodes .* form a loop, where a tree is needed"),
        (lambda n, a: tk.log_likelihood(n, a, [[0, 1]]), r"samples have shape \(samples, 3\), one column an open index, not \(1, 2\)"),
        (lambda n, a: tk.log_likelihood(n, a, [[0, 3, 0]]), "samples: open index 'i1' has places 0 to 2, not 3"),
        (lambda n, a: tk.log_likelihood(n, a, all_places(n), born=False), "log_likelihood: born=False reads entries as probabilities, and one is negative"),
        (lambda n, a: tk.marginals(n, a, born=False), "marginals: born=False reads entries as probabilities, and one is negative"),
    ],
)  # fmt: skip
def test_refusals(call, message):
    net = tk.mps((2, 3, 2), 2)
    with pytest.raises(ValueError, match=message):
        call(net, {n: a - 0.8 for n, a in drawn(net).items()})
    with pytest.raises(TypeError, match="samples are whole numbers, not float64"):
        tk.log_likelihood(net, drawn(net), [[0.0, 1.0, 1.0]])


def test_many_samples_of_a_long_chain():
    net = tk.mps((2,) * 100, 16)
    arrays = tk.init.normal(net)
    values, logs = tk.sample(net, arrays, 2_000)
    assert np.allclose(tk.log_likelihood(net, arrays, values), logs, atol=1e-8)
    found = np.array([p[1] for p in tk.marginals(net, arrays).values()])
    assert abs((values.mean(0) - found) / np.sqrt(found * (1 - found) / len(values))).max() < 5
