"""What a huge product copies is copied a slice at a time: two tensors of its size, not three."""

import numpy as np
import pytest

import tnkit as tk
from tnkit.planning import fusion
from tnkit.planning.planner import _plan

NEVER = 2**40


def site_on_a_border(axes, seed):
    """A state of many axes times a small tensor that shares two of them, one of them kept, neither beside the other."""
    names = [f"x{k}" for k in range(axes)]
    rng = np.random.default_rng(seed)
    kept, gone = (str(i) for i in rng.choice(names, 2, replace=False))
    output = [i for i in names if i != gone] + ["new"]
    output = [output[k] for k in rng.permutation(len(output))] if seed % 2 else output
    return tk.Network(
        [tk.Node("state", names), tk.Node("site", (kept, gone, "new"))], output, dict.fromkeys([*names, "new"], 2)
    )


@pytest.mark.parametrize("seed", range(12))
def test_the_copy_of_a_huge_product_is_made_by_slices(seed, monkeypatch):
    net = site_on_a_border(12, seed)
    monkeypatch.setattr(fusion, "LARGE", 2**8)
    peaks = []
    arrays = {n: np.random.default_rng(seed).normal(size=s) for n, s in net.array_shapes.items()}
    want = np.einsum(
        arrays["state"], [*range(12)], arrays["site"], [_axis(net, i) for i in net.nodes[1].inds],
        [_axis(net, i) for i in net.output],
    )  # fmt: skip
    for huge in (NEVER, 2**8):
        monkeypatch.setattr(fusion, "HUGE", huge)
        plan = _plan(net, "auto", 8, None)
        peaks.append(plan.peak)
        np.testing.assert_allclose(tk.run(plan, arrays), want, atol=1e-12)
    both = 8 * (2 * 2**12 + 8)
    if peaks[0] > 1.4 * both:  # where it copies at all
        assert peaks[1] <= 1.2 * both
    assert peaks[1] <= peaks[0]


def test_some_of_them_copy():
    assert any(_plan(site_on_a_border(12, s), "auto", 8, None).peak > 1.4 * 8 * 2 * 2**12 for s in range(12))


def _axis(net, i):
    return 12 if i == "new" else int(i[1:])


@pytest.mark.parametrize("columns, first", [(1, "x"), (4, "x"), (15, "x"), (16, "A"), (64, "A")])
def test_of_a_batch_of_products_the_few_come_as_rows(columns, first):
    """A batch of matrices times a few columns takes torch several times as long as the few as rows times the transposed matrices."""
    net = tk.Network([tk.Node("A", "bmk"), tk.Node("x", "bkn")], "bmn", {"b": 8, "m": 32, "k": 32, "n": columns})
    plan = tk.plan(net)
    (step,) = plan.steps
    assert plan.inputs[step.operands[0]] == first
    arrays = tk.init.normal(net, seed=0)
    np.testing.assert_allclose(tk.run(plan, arrays), arrays["A"] @ arrays["x"], atol=1e-12)
