"""fit: recovers what is representable, does not collapse, keeps the best, says what is wrong."""

import warnings

import numpy as np
import pytest
import torch

import tnkit as tk
from tnkit import Network, Node
from tnkit.core.activations import BOUNDS, UNARY
from tnkit.execution.weights import detensorize
from tnkit_nn import TNModule
from tnkit_nn.adapter.fitting import fit

from .test_parametrize import deep, pair, train


def relative(net, arrays, target):
    return np.linalg.norm(detensorize(tk.contract(net, arrays), target.shape) - target) / np.linalg.norm(target)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_recovers_an_exact_target(dtype):
    net = train(4, 4, 4, rank=2)
    target = 1e-3 * tk.contract(net, tk.init.normal(net, seed=7))
    result = fit(net, target, dtype=dtype, steps=1500, restarts=3)
    assert result.error < 1e-4 and relative(net, result.arrays, target) < 2e-4
    assert result.chance == pytest.approx((1 - net.num_params / 64) ** 0.5)
    assert "error" in repr(result) and "array(" not in repr(result)


def test_a_deep_network_does_not_collapse():
    rng = np.random.default_rng(0)
    net, target = deep(4, 3, 2, 7), 0.05 * rng.standard_normal((11, 13))
    result = fit(net, target, steps=300)
    assert result.error < 0.9 and relative(net, result.arrays, target) == pytest.approx(result.error, abs=1e-9)
    assert np.linalg.norm(tk.contract(net, result.arrays)) > 0.1 * np.linalg.norm(target)


@pytest.mark.slow
def test_activation_outermost_and_frozen_part():
    rng = np.random.default_rng(0)
    target = np.abs(rng.standard_normal((6, 4)))
    result = fit(pair(6, 4).activate("relu", "act"), target, steps=500, restarts=4)
    assert result.error < 0.7
    w0 = rng.standard_normal((6, 4))
    frozen = Network((Node("W", "ij", fixed=True),), "ij", dict(i=6, j=4))
    lora = Network((tk.Elementwise("sum", "add", (frozen, pair(6, 4, 1))),), "ij")
    goal = w0 + np.outer(rng.standard_normal(6), rng.standard_normal(4))
    result = fit(lora, goal, arrays={"W": w0}, steps=800)
    assert result.error < 1e-2 and np.array_equal(result.arrays["W"], w0)


@pytest.mark.slow
def test_best_arrays_are_kept_and_seeds_repeat():
    rng = np.random.default_rng(0)
    net, target = pair(8, 8, 2), rng.standard_normal((8, 8))
    a, b = fit(net, target, steps=80, lr=0.5), fit(net, target, steps=80, lr=0.5)
    assert a.history == b.history and a.error == pytest.approx(min(a.history), abs=1e-12)
    assert relative(net, a.arrays, target) == pytest.approx(a.error, abs=1e-12)
    several = fit(net, target, steps=80, lr=0.5, restarts=3)
    assert several.error <= a.error + 1e-9
    best = np.linalg.svd(target)[1]
    optimum = np.sqrt((best[2:] ** 2).sum() / (best**2).sum())
    assert fit(net, target, steps=600).error == pytest.approx(optimum, abs=1e-3)


def test_starts_from_given_arrays_and_leaves_them():
    net = train(4, 4, 4, rank=2)
    arrays = tk.init.normal(net, seed=7)
    before = {n: a.copy() for n, a in arrays.items()}
    result = fit(net, tk.contract(net, arrays), arrays=arrays, steps=5)
    assert result.error < 1e-7 and len(result.history) <= 5
    assert all(np.array_equal(before[n], arrays[n]) for n in arrays)


def test_patience_stops_early():
    net, target = pair(8, 8, 2), np.random.default_rng(0).standard_normal((8, 8))
    assert len(fit(net, target, steps=2000, patience=20).history) < 1000


def test_no_finite_step_is_rolled_back():
    calls = []

    def sometimes(xp, x):
        calls.append(1)
        return x * float("nan") if len(calls) in (9, 10) else x * 1.0

    body = pair(6, 4, 3)
    net = body.activate(sometimes, "act")
    target = np.random.default_rng(0).standard_normal((6, 4))
    result = fit(net, target, steps=300, arrays=tk.init.normal(body))
    assert any(np.isinf(result.history)) and np.isfinite(result.error) and result.error < result.history[7]


def test_overflow_at_a_huge_rate_ends_well():
    net, target = train(4, 4, 4, 4), np.random.default_rng(0).standard_normal((16, 16))
    with warnings.catch_warnings(action="ignore"):
        result = fit(net, target.astype("float32"), lr=1e12, steps=50)
    assert np.isfinite(result.error) and all(np.isfinite(a).all() for a in result.arrays.values())


@pytest.mark.slow
def test_bfloat16_and_complex_targets():
    torch.manual_seed(0)
    net = pair(6, 4, 4)
    target = torch.randn(6, 4, dtype=torch.bfloat16)
    result = fit(net, target, steps=500)
    assert result.error < 1e-2 and result.arrays["A"].dtype == np.float32
    z = torch.randn(6, 4, dtype=torch.complex128)
    result = fit(net, z, steps=800)
    assert result.error < 1e-2 and relative(net, result.arrays, z.numpy()) == pytest.approx(result.error, abs=1e-9)


@pytest.mark.slow
def test_arrays_fit_a_module():
    net, target = pair(6, 4, 4), np.random.default_rng(0).standard_normal((6, 4))
    result = fit(net, target, steps=500)
    np.testing.assert_allclose(TNModule(net, result.arrays)().detach().numpy(), target, atol=0.05)


def test_learning_nothing_warns():
    net = Network((Node("A", "i"), Node("B", "j")), "ij", dict(i=64, j=64))
    with pytest.warns(UserWarning, match="has not learned"):
        fit(net, np.random.default_rng(0).standard_normal((64, 64)), steps=1)


@pytest.mark.parametrize("net", [pair(6, 4), pair(6, 4).activate("tanh", "act")], ids=["scaled by an array", "by none"])
def test_a_start_of_zeros_learns_nothing_and_says_so(net):
    zeros = {name: np.zeros(shape) for name, shape in net.array_shapes.items()}
    with pytest.warns(UserWarning, match="relative error 1.0000; the network has not learned"):
        assert fit(net, np.full((6, 4), 0.5), arrays=zeros, steps=3).error == pytest.approx(1)


def test_clear_errors():
    net, target = pair(6, 4), np.ones((6, 4))
    with pytest.raises(ValueError, match="norm 0"):
        fit(net, 0 * target)
    with pytest.raises(ValueError, match="entries that are not finite"):
        fit(net, np.nan * target)
    with pytest.raises(ValueError, match="fill"):
        fit(net, np.ones((7, 5)))
    with pytest.raises(ValueError, match="at least 1"):
        fit(net, target, steps=0)
    with pytest.raises(ValueError, match="all trained arrays"):
        fit(net, target, arrays={"A": np.ones((6, 3))})
    with pytest.raises(ValueError, match="array 'A' has shape"):
        fit(net, target, arrays={"A": np.ones((5, 3)), "B": np.ones((3, 4))})
    with pytest.raises(ValueError, match="is data"):
        fit(Network((Node("A", "ij", fixed=True), Node("B", "ij")), "ij", dict(i=6, j=4)), target)
    with pytest.raises(ValueError, match="no start gives a finite"):
        fit(net.activate(lambda xp, x: x * float("nan"), "act"), target, steps=3, arrays=tk.init.normal(net))


def test_targets_and_arrays_as_numpy_may_hold_them():
    net, rng = tk.tt((4, 5), 2), np.random.default_rng(0)
    w = rng.standard_normal((4, 5))
    for same in (np.asfortranarray(w), w[::-1][::-1], w.astype(">f8"), np.repeat(w, 2, 1)[:, ::2]):
        assert fit(net, same, steps=20).error == fit(net, w, steps=20).error
    arrays = {n: rng.standard_normal(s) for n, s in net.array_shapes.items()}
    turned = TNModule(net, {n: np.ascontiguousarray(a[::-1])[::-1] for n, a in arrays.items()})
    torch.testing.assert_close(turned(), TNModule(net, {n: a.astype(">f8") for n, a in arrays.items()})())
    with torch.no_grad():
        assert fit(net, w, steps=20).error == fit(net, w, steps=20).error < 1
    with pytest.raises(ValueError, match="array 'core0' belongs to no node; the network has core_0, core_1"):
        fit(net, w, arrays={"core0": arrays["core_0"]})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64])
@pytest.mark.parametrize(
    "net", [tk.mpo((4, 4), (4, 4), 3), tk.adtn((16, 16), depth=2, scale=True)], ids=["mpo", "adtn"]
)
def test_a_target_of_any_size_is_fitted_as_well(net, dtype):
    target = torch.randn(16, 16, generator=torch.Generator().manual_seed(0), dtype=dtype)
    if target.is_complex() and not net.multilinear:
        pytest.skip("ReLU of complex numbers")
    usual = fit(net, target, steps=30)
    for scale in (1e-35, 1e35) if dtype != torch.float64 else (1e-300, 1e300):
        found = fit(net, target * scale, steps=30)
        made = {n: torch.as_tensor(a).to(torch.promote_types(dtype, torch.float64)) for n, a in found.arrays.items()}
        off = tk.contract(net, made).reshape(16, 16) / scale - target * scale / scale
        assert float(off.abs().square().sum().sqrt() / target.norm()) == pytest.approx(found.error, rel=1e-4)
        assert found.error == pytest.approx(usual.error, rel=1e-3) and found.history == pytest.approx(
            usual.history, rel=0.02
        )


def test_what_cannot_be_fitted_is_refused_in_one_line():
    net, target = tk.mpo((2, 2), (2, 2), 2), torch.ones(4, 4)
    bad = [
        (TypeError, "the target: array 'x' has dtype object", {"target": np.array([None])}), (TypeError, "masked", {"target": np.ma.masked_array(np.eye(4), np.eye(4))}),
        (ValueError, "the target is dense, not torch.sparse", {"target": target.to_sparse()}), (ValueError, "norm 0: nothing to fit", {"target": 0 * target}),
        (ValueError, "not finite", {"target": target * np.inf}), (ValueError, "no entries", {"target": np.zeros(0)}),
        (ValueError, "fit: lr is a positive number, not 0", {"lr": 0}), (ValueError, "fit: lr", {"lr": np.inf}),
        (TypeError, "fit: steps is a whole number of at least 1, not 2.5", {"steps": 2.5}), (ValueError, "fit: patience", {"patience": 0}),
        (TypeError, "fit: dtype", {"dtype": "float32"}), (TypeError, "fit: arrays map names", {"arrays": [1]}),
        (TypeError, "fit: progress is True or False", {"progress": 1}), (TypeError, "a Network is needed", {"net": "mpo"}),
    ]  # fmt: skip
    for kind, message, options in bad:
        with pytest.raises(kind, match=message):
            fit(**{"net": net, "target": target, **options})


def test_a_decomposition_is_a_start():
    x = np.random.default_rng(0).normal(size=(4, 5, 4))
    begin = tk.tt_svd(x, rank=2)
    found = fit(begin, x, steps=20, lr=1e-3)
    assert found.history[0] == pytest.approx(begin.error, rel=1e-6) and found.error <= begin.error * (1 + 1e-6)
    with pytest.raises(TypeError, match="fit: arrays are given once"):
        fit(begin, x, arrays=begin.arrays)


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"arrays": np.ones(2)}, TypeError, "fit: arrays map names to values"),
        ({"arrays": ()}, TypeError, "fit: arrays map names to values"),
        (
            {"arrays": {"core_0": torch.ones(4, 2, device="meta")}},
            ValueError,
            "array 'core_0' has values, not a shape alone",
        ),
        (
            {"arrays": {"core_0": np.ones((4, 2), np.longdouble)}},
            ValueError,
            "array 'core_0' is an array of numbers that torch has too",
        ),
        ({"steps": 10**30}, ValueError, "fit: steps is at most"),
        ({"restarts": 10**30}, ValueError, "fit: restarts is at most"),
        ({"target": np.ones(3)}, ValueError, "fit: the target: the network's sizes multiply to the weight's, in order"),
        ({"target": torch.ones(4, 4, device="meta")}, ValueError, "the target has values, not a shape alone"),
    ],
)
def test_what_fit_is_told_is_looked_at(options, kind, said):
    net = tk.tt((4, 4), 2)
    with pytest.raises(kind, match=said):
        fit(net, **{"target": np.eye(4), **options})


# -- networks whose outermost node is an activation ------------------------------------------------------------------------
def outermost(fn):
    return tk.tt((6, 6), 2).activate(fn, "act")


@pytest.mark.slow
@pytest.mark.parametrize("fn", ["tanh", "sin", "relu"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("size", [0.1, 1e-10, 1e-35])
def test_a_small_target_is_fitted_at_its_own_size(fn, dtype, size):
    net = outermost(fn)
    target = (size / 0.1 * np.abs(tk.contract(net, tk.init.normal(net, seed=5, std=0.1)))).astype(dtype)
    result = fit(net, target, steps=300)
    wide = {n: a.astype("float64") for n, a in result.arrays.items()}
    want, made = target.astype("float64") / size, tk.contract(net, wide) / size
    assert result.error < 0.9 and np.linalg.norm(made - want) / np.linalg.norm(want) == pytest.approx(
        result.error, rel=1e-3
    )
    with warnings.catch_warnings(action="ignore"):  # one step learns nothing
        assert fit(net, target, steps=1).error < 2.5  # of two tensors of one size that have nothing in common: 1.4


@pytest.mark.slow
def test_an_array_that_two_nodes_share_and_a_term_beside_a_frozen_one_have_the_targets_size():
    rng = np.random.default_rng(0)
    tied = Network((Node("A", "or"), Node("B", "ri", array="A")), "oi", dict(o=4, r=4, i=4))
    square = rng.standard_normal((4, 4))
    w0, column, row = rng.standard_normal((8, 8)), rng.standard_normal(8), rng.standard_normal(8)
    frozen = Network((Node("W", "ij", fixed=True),), "ij", dict(i=8, j=8))
    lora = Network((tk.Elementwise("sum", "add", (frozen, pair(8, 8, 1))),), "ij")
    for size in (1e-8, 1.0, 1e8):
        assert fit(tied, size * square @ square, steps=500).error < 0.4
        goal = size * (w0 + np.outer(column, row))
        assert fit(lora, goal, arrays={"W": size * w0}, steps=800).error < 0.05


@pytest.mark.slow
def test_entries_beyond_an_activation_are_told():
    target = np.array([[0.5, -0.5], [3.0, 0.2]])
    least = 2.0 / np.linalg.norm(target)  # 3 is fitted by 1, at best
    net = tk.tt((2, 2), 2).activate("tanh", "act")
    said = f"node 'act' is tanh, whose values are from -1 to 1; 1 of the target's 4 entries are beyond, so the error is at least {least:.3g}"
    with pytest.warns(UserWarning, match=said) as told:
        result = fit(net, target, steps=800, restarts=3)
    assert least <= result.error < least + 0.05 and told[0].filename == __file__
    with pytest.warns(UserWarning, match="is relu, whose values are 0 or more; 1 of"):
        fit(tk.tt((2, 2), 2).activate("relu", "act"), target, steps=300, restarts=3)
    with pytest.warns(
        UserWarning, match="not learned the target; no array scales the result: the outermost node 'act' is sigmoid"
    ):
        fit(outermost("sigmoid"), np.full((6, 6), 1e-6), steps=5)


@pytest.mark.parametrize("fn", UNARY)
def test_the_bounds_of_an_activation_are_what_it_reaches(fn):
    x = np.concatenate([np.linspace(-40, 40, 200_001), [-1e9, 1e9]])
    values = tk.ACTIVATIONS[fn](np, x)
    low, high = BOUNDS.get(fn, (-np.inf, np.inf))
    for found, bound, far in ((values.min(), low, -1e6), (values.max(), high, 1e6)):
        assert found == pytest.approx(bound, abs=1e-6) if np.isfinite(bound) else found / far >= 1
    assert low <= values.min() and values.max() <= high


def test_a_bar_where_there_is_no_stderr(monkeypatch):
    """As in a process without a terminal (``2>&-``, Windows' pythonw): tqdm writes to what is not there."""
    monkeypatch.setattr("sys.stderr", None)
    assert fit(train(2, 2, rank=1), np.ones((2, 2)), steps=200, progress=True).error < 0.5
