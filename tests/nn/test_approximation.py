"""The approximation: the best way for each family, never the worse of what was tried, and the gradient way as it was."""

from functools import cache

import numpy as np
import pytest
import torch

import tnkit as tk
from tnkit_nn import TORCH
from tnkit_nn.approximation.approximate import approximate, approximate_each
from tnkit_nn.approximation.methods import RATES, check_method, suited_method
from tnkit_nn.families import families


def noise(*shape, seed=0, dtype=torch.float32):
    """A weight whose singular values fall, as trained ones' do."""
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    u, s, v = torch.linalg.svd(x, full_matrices=False)
    return (u * (s * torch.arange(1, s.shape[-1] + 1) ** -0.5)[..., None, :] @ v).to(dtype)


def off(net, arrays, weight):
    made = torch.as_tensor(tk.detensorize(tk.contract(net, arrays), tuple(weight.shape)))
    return float((made - weight).norm() / weight.norm())


EVERY = families(["adtn", "circuit", "mpo", "tt", "tucker", "cp", "ring", "tree", "low_rank"], depths=(1, 2))


@pytest.mark.slow
@pytest.mark.parametrize("family", EVERY, ids=lambda f: f.label)
def test_the_best_of_what_suits_a_family_is_kept_and_said(family):
    weight = noise(16, 16)
    net = family.build((16, 16), 100)
    kind = suited_method(net)
    found = approximate(net, weight, steps=60)
    alone = {"svd": ("svd", "gradient"), "als": ("gradient",), "gradient": ("gradient",)}[kind]
    errors = {m: approximate(net, weight, method=m, steps=60).error for m in alone}
    assert found.error <= min(errors.values()) + 1e-6
    assert off(net, found.arrays, weight) == pytest.approx(found.error, abs=1e-5)
    said = {
        "svd": {"svd", "svd, gradient", "gradient"},
        "als": {"gradient", "gradient, als"},
        "gradient": {"gradient", "lifted, gradient"},
    }
    assert found.method in said[kind]


def test_a_matrix_of_low_rank_is_the_truncated_svd():
    weight = noise(12, 10)
    s = torch.linalg.svdvals(weight.double())
    best = float((s[3:].square().sum() / s.square().sum()).sqrt())
    assert approximate(tk.low_rank((12, 10), 3), weight, steps=20).error == pytest.approx(best, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("label", ["adtn depth 2", "cp"])
def test_the_gradient_way_is_one_minus_cosine_by_adam_at_the_best_of_three_rates(label):
    """Against torch's own optimiser and schedules, one run after another, in float64; scores are read every 25 steps."""
    family = next(f for f in EVERY if f.label == label)
    net, steps = family.build((16, 16), 100), 50
    targets = torch.stack([noise(16, 16, seed=s, dtype=torch.float64) for s in (1, 2)])
    generator, found = approximate_each(net, targets, method="gradient", steps=steps)
    for s, target in enumerate(targets):
        best = 1.0
        for rate in RATES:
            arrays = {n: x[s].clone().requires_grad_() for n, x in generator.start.items()}
            adam = torch.optim.Adam(arrays.values(), lr=rate, betas=(0.9, 0.99))
            warm = torch.optim.lr_scheduler.LinearLR(adam, 0.1, 1.0, steps // 20)
            fall = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps - steps // 20)
            schedule = torch.optim.lr_scheduler.SequentialLR(adam, [warm, fall], [steps // 20])
            for step in range(steps + 1):
                w = tk.detensorize(tk.contract(net, arrays, backend=TORCH), (16, 16))
                loss = 1 - (w * target).sum() / (w.norm() * target.norm())
                best = min(best, float(loss.detach())) if step % 25 == 0 else best
                adam.zero_grad()
                loss.backward()
                adam.step()
                schedule.step()
        assert float(found.error[s]) == pytest.approx((1 - (1 - best) ** 2) ** 0.5, abs=1e-9)


@pytest.mark.slow
def test_weights_side_by_side_are_weights_one_by_one():
    net = tk.tucker((4, 4, 4, 4), 2)
    targets = torch.stack([noise(16, 16, seed=s) for s in range(3)])
    generator, found = approximate_each(net, targets, steps=40, first_seed=5)
    for s in range(3):
        alone = approximate(net, targets[s], steps=40, seed=5 + s)
        assert alone.error == pytest.approx(float(found.error[s]), abs=1e-5) and alone.method == found.methods[s]
    assert set(generator.start) == set(net.parameters)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex64, torch.complex128])
@pytest.mark.parametrize("net", [tk.mpo((4, 4), (4, 4), 16), tk.cp((4, 4, 4, 4), 40)], ids=["mpo", "cp"])
def test_a_weight_is_approximated_in_its_own_dtype(net, dtype):
    """Exactly representable (mpo), or nearly (cp): errors as told, imaginary parts included."""
    draw = torch.Generator().manual_seed(3)
    weight = torch.randn(16, 16, generator=draw, dtype=dtype)
    found = approximate(net, weight, steps=100)
    assert all(torch.as_tensor(a).dtype == dtype for a in found.arrays.values())
    assert off(net, found.arrays, weight) == pytest.approx(found.error, abs=1e-6)
    assert found.error < (1e-5 if "core_0" in found.arrays else 0.75)


@pytest.mark.slow
def test_a_large_weight_is_approximated_one_way_alone(monkeypatch):
    monkeypatch.setattr("tnkit_nn.approximation.methods.ONE_WAY", 100)
    for net, method in ((tk.mpo((4, 4), (4, 4), 2), "svd"), (tk.cp((4, 4, 4, 4), 3), "als")):
        assert approximate(net, noise(16, 16)).method == method
    assert len(approximate(tk.adtn((16, 16), depth=2), noise(16, 16), steps=20).history) == 20


def test_zero_and_bfloat16_weights():
    net = tk.mpo((4, 4), (4, 4), 2)
    assert approximate(net, torch.zeros(16, 16)).method == "skip"
    found = approximate(net, noise(16, 16).bfloat16(), steps=20)
    assert all(a.dtype == np.float32 for a in found.arrays.values()) and found.error < 0.9


@cache
def usual_error(net):
    """Of a weight of ordinary size, fitted once for all scales."""
    return approximate(net, torch.randn(16, 16, generator=torch.Generator().manual_seed(0)), steps=50).error


@pytest.mark.slow
@pytest.mark.parametrize("net", [tk.low_rank((16, 16), 3), tk.adtn((16, 16), depth=2, activation="tanh")])
@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e9, 1e20])
def test_errors_do_not_depend_on_the_scale_of_a_weight(net, scale):
    weight = scale * torch.randn(16, 16, generator=torch.Generator().manual_seed(0))
    found = approximate(net, weight, steps=50)
    made = tk.contract(net, {name: torch.as_tensor(a).double() for name, a in found.arrays.items()}).reshape(16, 16)
    true = float((made - weight.double()).norm() / weight.double().norm())
    assert found.error == pytest.approx(true, rel=1e-4)
    usual = usual_error(net)
    assert found.error == pytest.approx(usual, rel=0.1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
@pytest.mark.parametrize("scale", [1e-35, 1e-25, 1e18, 1e35])
@pytest.mark.parametrize("method", ["auto", "svd", "gradient", "skip"])
def test_errors_are_true_at_the_ends_of_the_range(method, scale, dtype):
    net = tk.mpo((4, 4), (4, 4), 3)
    weight = torch.randn(16, 16, generator=torch.Generator().manual_seed(0), dtype=dtype)
    found = approximate(net, weight * scale, method=method, steps=20)
    made = {n: torch.as_tensor(a).to(torch.promote_types(dtype, torch.float64)) for n, a in found.arrays.items()}
    off = tk.contract(net, made).reshape(16, 16) / scale - weight
    assert found.error == pytest.approx(float(off.abs().square().sum().sqrt() / weight.norm()), rel=1e-4)
    usual = approximate(net, weight, method=method, steps=20).error
    assert found.error == pytest.approx(usual, rel=0.05)  # the same steps, of weights of another ordinary size


@pytest.mark.parametrize(
    "net", [tk.mpo((4, 4), (4, 4), 2), tk.cp((4,) * 4, 3), tk.adtn((16, 16), depth=2, activation="tanh")]
)
def test_a_weight_of_zeros_is_made_exactly_by_arrays_that_are_alive(net):
    found = approximate(net, torch.zeros(16, 16))
    arrays = {n: torch.as_tensor(a, dtype=torch.float64).requires_grad_() for n, a in found.arrays.items()}
    made = tk.contract(net, arrays).reshape(16, 16)
    assert found.error == 0 and not made.any()
    (made - torch.eye(16)).square().sum().backward()
    assert any(a.grad is not None and float(a.grad.norm()) > 1e-3 for a in arrays.values())


def test_a_weight_of_zeros_where_no_array_has_a_gradient_is_told():
    """Of a product of an array with itself no gradient is left at zero."""
    twice = [tk.Node("A", ("i", "k"), array="x"), tk.Node("B", ("k", "j"), array="x")]
    net = tk.Network(twice, ("i", "j"), {"i": 4, "k": 4, "j": 4})
    with pytest.warns(
        UserWarning, match=r"the weight is zero, where no array of this network has a gradient; .* of 0\.001"
    ):
        found = approximate(net, torch.zeros(4, 4))
    assert found.error > 0 and found.arrays["x"].any()


def test_weights_that_cannot_be_are_refused():
    net, weight = tk.mpo((4, 4), (4, 4), 2), torch.ones(16, 16)
    bad = [
        (ValueError, "entries that are not finite", {"weight": weight * float("nan")}), (TypeError, "the weight is a tensor, not", {"weight": np.eye(16)}),
        (ValueError, "the weight is dense, not torch.sparse", {"weight": weight.to_sparse()}), (ValueError, "no entries", {"weight": torch.zeros(0, 4)}),
        (ValueError, "steps is a whole number of at least 1, not 0", {"steps": 0}), (TypeError, "seed is a whole number", {"seed": 1.5}),
        (ValueError, "method is one of auto", {"method": "magic"}), (TypeError, "a Network is needed", {"net": None}),
    ]  # fmt: skip
    for kind, message, options in bad:
        with pytest.raises(kind, match=message):
            approximate(**{"net": net, "weight": weight, **options})


# -- deep networks that begin at a shallow one -------------------------------------------------------------------------
def hills(n=16):
    """An image of smooth hills, cut off: what a TT holds well, and bent."""
    x, y = np.meshgrid(np.linspace(-1, 1, n), np.linspace(-1, 1, n))
    return torch.tensor(np.tanh(3 * np.sin(4 * x * y + x) - y), dtype=torch.float32)


@pytest.mark.slow
@pytest.mark.parametrize("fn", ["tanh", "sin"])
@pytest.mark.parametrize("depth", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_a_deep_network_begins_at_its_shallow_one(depth, fn):
    """No further from the weight than the random start, and nearer than the shallow network inside."""
    x = tk.tensorize(hills(), (2,) * 8)
    net = tk.circuit((2,) * 8, [[(0,), (1,), (4, 5)]] * (depth - 1), fn, start=tk.tt((2,) * 8, 3))
    found = {m: approximate(net, x, method=m, steps=60) for m in ("auto", "gradient", "lifted")}
    shallow = approximate(tk.tt((2,) * 8, 3), x, steps=60)
    assert found["lifted"].error < shallow.error
    assert found["auto"].error <= min(found["lifted"].error, found["gradient"].error) + 1e-6
    assert found["auto"].method == found["lifted"].method == "lifted, gradient"
    assert off(net, found["auto"].arrays, x) == pytest.approx(found["auto"].error, abs=1e-5)


@pytest.mark.slow
def test_several_weights_are_lifted_each_from_its_own_shallow_network():
    targets = torch.stack([hills(), hills().T * 1e-3, -hills()])
    net = tk.circuit((4,) * 4, [[(0,), (1, 2)]], "sin", start=tk.tt((4,) * 4, 2))
    _, found = approximate_each(net, targets, method="lifted", steps=20)
    for s, target in enumerate(targets):
        arrays = {n: x[s] for n, x in found.params.items()}
        assert off(net, arrays, target) == pytest.approx(float(found.error[s]), abs=1e-4)
        assert float(found.error[s]) <= approximate(tk.tt((4,) * 4, 2), target, steps=20).error + 0.02


@pytest.mark.slow
def test_relus_begin_at_a_shallow_network_where_nothing_is_negative():
    net = families(["low_rank+relu"])[0].build((16, 16), 100)
    assert approximate(net, hills().clamp(min=0), steps=30).method == "lifted, gradient"
    assert approximate(net, hills(), steps=30).method == "gradient"


def test_what_has_no_shallow_network_inside_is_not_lifted():
    with pytest.raises(ValueError, match="lifting needs a shallow network inside of gates and scales"):
        approximate(tk.tt((4,) * 4, 2), hills(), method="lifted")
    with pytest.raises(ValueError, match=r"layer 'fc': .*lifting needs a shallow network"):
        check_method("lifted", tk.tt((4,) * 4, 2), "fc")


def test_a_zero_weight_of_a_network_with_an_outermost_activation_is_made_exactly():
    net = families(["tt+tanh"])[0].build((16, 16), 100)
    found = approximate(net, torch.zeros(16, 16))
    assert found.error == 0
    assert not np.any(tk.contract(net, found.arrays))


# -- a function outermost, and no factor that sets the size ----------------------------------------------------------------
def products(kind):
    """A function of tensors of low rank, or a sum or product of two."""
    one, two = tk.low_rank((16, 16), 2), tk.cp((16, 16), 2).relabel({"r": "q"})
    if kind not in ("add", "multiply"):
        return one.activate(kind, "f")
    return tk.Network([tk.Elementwise("f", kind, [one, two])], one.output)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [0.01, 0.3, 30.0])
@pytest.mark.parametrize(
    "kind, most",
    [
        ("add", 1e-3),
        ("tanh", 0.1),
        ("sigmoid", 0.1),
        ("softplus", 0.1),
        ("sin", 0.1),
        ("multiply", 0.3),
        ("square", 0.3),
    ],
)
def test_a_network_without_a_factor_is_fitted_in_size_too(kind, most, scale):
    """A sum of two of rank 2 holds a weight of rank 4; others hold weights of their own kind.  The angle alone leaves 0.5 to 1.4."""
    net = products(kind)
    if kind == "add":
        weight = (torch.randn(16, 4) @ torch.randn(4, 16)) * scale
    else:
        inside = tk.init.normal(net, seed=5)
        by = (scale if kind in ("multiply", "square") else min(scale, 0.3)) ** 0.5
        weight = torch.as_tensor(tk.contract(net, {n: by * a for n, a in inside.items()}), dtype=torch.float32)
    found = approximate(net, weight, steps=200)
    made = torch.as_tensor(tk.contract(net, found.arrays), dtype=torch.float32)
    assert found.error == pytest.approx(float((made - weight).norm() / weight.norm()), rel=1e-3, abs=1e-6)
    assert found.error < most


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["add", "relu", "tanh of tanh", "add of tanh"])
def test_a_network_without_a_factor_is_fitted_alike_at_any_size(kind):
    """Adam's steps are taken in units of the arrays: errors of a weight of 1e-6 or 1e6 were up to 6e5 and 1.6."""
    one, two = tk.low_rank((8, 8), 2), tk.cp((8, 8), 2).relabel({"r": "q"})
    net = {
        "add": tk.Network([tk.Elementwise("f", "add", [one, two])], one.output), "relu": one.activate("relu", "f"),
        "tanh of tanh": one.activate("tanh", "f").activate("tanh", "g"),
        "add of tanh": tk.Network([tk.Elementwise("f", "add", [one.activate("tanh", "g"), two])], one.output),
    }[kind]  # fmt: skip
    weight = torch.randn(8, 8, generator=torch.Generator().manual_seed(1))
    sizes = (1e-6, 1e-3, 0.02) if kind == "tanh of tanh" else (1e-6, 1e-3, 0.02, 1e3, 1e6)
    found = [approximate(net, weight * size, steps=60) for size in sizes]
    for size, one in zip(sizes, found, strict=True):
        assert off(net, one.arrays, weight * size) == pytest.approx(one.error, rel=1e-4)
    assert max(f.error for f in found) < 0.9
    if kind != "add of tanh":  # where the tanh is bent or flat is another network
        assert max(f.error for f in found) < min(f.error for f in found) + 0.03


def test_a_random_start_far_from_the_size_of_a_weight_is_not_taken():
    """A softplus is positive, and nowhere small: what gradients found has an error of about 1, a random start one of 70."""
    net, weight = tk.low_rank((8, 8), 2).activate("softplus", "f"), 0.01 * torch.randn(8, 8)
    with pytest.warns(UserWarning, match="nothing of the weight is found; no random start has its size either"):
        found = approximate(net, weight)
    assert found.method == "gradient" and 0.999 < found.error < 1.5
    assert approximate(net, weight, method="skip").error > 50


def test_what_a_zero_weight_begins_at_is_measured_where_zero_is_out_of_reach():
    net = tk.low_rank((16, 16), 2).activate("sigmoid", "f")  # between 0 and 1, and 0 is none of them
    with pytest.warns(UserWarning, match=r"the weight is zero, .* it starts at a root mean square of 0\.[45]"):
        found = approximate(net, torch.zeros(16, 16))
    assert found.error == pytest.approx(np.sqrt(np.mean(tk.contract(net, found.arrays) ** 2)), rel=1e-5)


# -- one activation outermost --------------------------------------------------------------------------------------------
def mask(n=16):
    x, y = np.mgrid[0:n, 0:n] / n - 0.5
    return ((x + 0.1) ** 2 + (2 * y - 0.2) ** 2 < 0.1).astype(np.float32)


def kernels(n=32):
    """Gram matrix of an RBF kernel, and the graph of the five nearest, of random points of the plane."""
    points = np.random.default_rng(0).normal(size=(n, 2))
    far = ((points[:, None] - points[None]) ** 2).sum(-1)
    near = np.zeros((n, n), np.float32)
    near[np.arange(n)[:, None], np.argsort(far, 1)[:, 1:6]] = 1
    return np.exp(-4 * far).astype(np.float32), np.maximum(near, near.T)


@pytest.mark.slow
@pytest.mark.parametrize(
    "plain, fn, make, budget",
    [
        ("tt", "tanh", mask, 130),
        ("low_rank", "relu", lambda: kernels()[0], 200),
        ("low_rank", "relu", lambda: kernels()[1], 400),
    ],
    ids=["mask", "gram", "graph"],
)
def test_one_activation_outermost_holds_what_is_binary_sparse_or_never_negative(plain, fn, make, budget):
    """At least a tenth less error than the family without it, at no more parameters."""
    weight = torch.tensor(make())
    without, with_it = (families([n])[0] for n in (plain, f"{plain}+{fn}"))
    net = without.build(weight.shape, budget)
    deep = with_it.build(weight.shape, net.num_params + 1)
    if deep.num_params > net.num_params:  # the scale is one more
        net = without.build(weight.shape, next(b for b in range(budget, 3 * budget) if without.build(weight.shape, b).num_params >= deep.num_params))  # fmt: skip
    assert deep.num_params <= net.num_params
    assert approximate(deep, weight).error < 0.9 * approximate(net, weight).error
