"""Learning rates by structure, against fans counted by hand."""

from math import log, prod, sqrt

import pytest
import torch

import tnkit as tk
from tnkit_nn.adapter.descent import minimise
from tnkit_nn.comparison.compare import compare
from tnkit_nn.comparison.rates import fan_ins, fan_outs, rate_factors
from tnkit_nn.families import BASELINES, families
from tnkit_nn.task import Task


def monarch(blocks, size):
    """Two block-diagonal matrices with a permutation between: ``y[a, c] = sum L[c, a, b] R[b, c, d] x[b, d]``."""
    nodes = (tk.Node("left", ("c", "a", "b")), tk.Node("right", ("b", "c", "d")))
    sizes = {"a": blocks, "b": blocks, "c": size, "d": size}
    return tk.Network(nodes, ("a", "c", "b", "d"), sizes)


DENSE = tk.Network((tk.Node("w", ("o", "i")),), ("o", "i"), {"o": 120, "i": 400})
FANS = {
    "dense": (DENSE, (120, 400), {"w": 400}),
    "low rank": (tk.low_rank((120, 400), 4), (120, 400), {"left": 4, "right": 400}),
    # of the two ways through a TT-matrix, from either end, the geometric mean: the column digit, times the root of each bond
    "TT-matrix": (
        tk.mpo((8, 4, 4), (4, 14, 7), (3, 5)), (128, 392),
        {"core_0": 4 * sqrt(3), "core_1": 14 * sqrt(15), "core_2": 7 * sqrt(5)},
    ),
    # digits of the rows first: from the columns, at the end, to the rows, at the beginning
    "tensor train": (
        tk.tt((12, 10, 20, 20), (3, 4, 5)), (120, 400), {"core_0": 3, "core_1": 4, "core_2": 20 * 5, "core_3": 20},
    ),
    "CP": (tk.cp((12, 10, 20, 20), 3), (120, 400), {"factor_0": 3, "factor_1": 3, "factor_2": 20, "factor_3": 20}),
    "Tucker": (
        tk.tucker((120, 20, 20), (7, 3, 2)), (120, 400), {"core": 6, "factor_0": 7, "factor_1": 20, "factor_2": 20},
    ),
    # gates act on what the start makes: those of columns take their own digit in, those of rows what is below
    "circuit": (
        tk.circuit((8, 8, 4, 4), [[(0,), (1,)], [(2,), (3,)]], "sin", start=tk.mpo((8, 8), (4, 4), 2)), (64, 16),
        {"core_0": 4 * sqrt(2), "core_1": 4 * sqrt(2), "gate_0_0": 8, "gate_0_1": 8, "gate_1_2": 4, "gate_1_3": 4},
    ),
    # every stage replaces one digit of the columns by one of the rows, which those after it pass on
    "Monarch": (tk.monarch((10, 12), (20, 15)), (120, 300), {"block_0": 20, "block_1": 15}),
    "block tensor train": (tk.btt((10, 12), (20, 15), 2), (120, 300), {"core_0": 20, "core_1": 2 * 15}),
    "butterfly": (tk.butterfly((2, 2, 2), (2, 2, 2)), (8, 8), {"level_0": 2, "level_1": 2, "level_2": 2}),
    # of three terms: their sum has no direction, and is half with every factor
    "Kronecker sum": (
        tk.kronecker((10, 12), (20, 15), 3), (120, 300), {"factor_0": 20 * sqrt(3), "factor_1": 15 * sqrt(3)},
    ),
    "no split into rows and columns": (tk.tt((7, 11), 2), (11, 7), {"core_0": 1, "core_1": 1}),
}  # fmt: skip


@pytest.mark.parametrize("name", FANS)
def test_fans_by_hand(name):
    net, shape, want = FANS[name]
    assert fan_ins(net, shape) == pytest.approx(want)


def test_both_factors_of_a_monarch_matrix_sum_over_their_own_blocks():
    """``left`` takes b in, ``right`` d: both are dense matrices on blocks."""
    assert fan_ins(monarch(5, 7), (35, 35)) == pytest.approx({"left": 5, "right": 7})


OUTS = {
    "dense": {"w": 120}, "low rank": {"left": 120, "right": 4},
    "TT-matrix": {"core_0": 8 * sqrt(3), "core_1": 4 * sqrt(15), "core_2": 4 * sqrt(5)},
    "Tucker": {"core": 7, "factor_0": 120, "factor_1": 3, "factor_2": 2},
    "Monarch": {"block_0": 10, "block_1": 12}, "block tensor train": {"core_0": 10 * 2, "core_1": 12},
}  # fmt: skip


@pytest.mark.parametrize("name", OUTS)
def test_factors_by_hand(name):
    """The rule for arrays of one size: 1 / sqrt(min(ins, outs)), by its geometric mean."""
    net, shape, ins = FANS[name]
    outs = OUTS[name]
    assert fan_outs(net, shape) == pytest.approx(outs)
    plain = {n: 1 / sqrt(min(ins[n], outs[n])) for n in ins}
    mean = prod(plain.values()) ** (1 / len(plain))
    assert rate_factors(net, shape) == pytest.approx({n: x / mean for n, x in plain.items()})


@pytest.mark.parametrize("name", FANS)
def test_factors_do_not_change_the_mean_rate(name):
    net, shape, _ = FANS[name]
    found = rate_factors(net, shape)
    assert prod(found.values()) == pytest.approx(1) and found.keys() == set(net.parameters)


def test_a_start_and_a_rate_scaled_together_change_nothing():
    """What makes the rule one of rates alone: 400 -> 4 -> 120, with the paper's starts and rates and with ours."""
    torch.manual_seed(0)
    target, net = torch.randn(120, 400, dtype=torch.float64), tk.low_rank((120, 400), 4)
    arrays = {n: torch.randn(net.array_shapes[n], dtype=torch.float64) for n in net.parameters}
    ins, outs, ours = fan_ins(net, (120, 400)), fan_outs(net, (120, 400)), rate_factors(net, (120, 400))

    def trained(size, rate):
        start = {n: (size[n] * a)[None] for n, a in arrays.items()}
        scale = 1 / prod(size.values())  # the weight is the same at first

        def losses(p, step):
            return (scale * torch.einsum("kor,kri->koi", p["left"], p["right"]) - target).square().mean((1, 2))

        rates = {n: torch.tensor([x], dtype=torch.float64) for n, x in rate.items()}
        return minimise(losses, start, rates, 30, eps=0.0).history

    size = {n: sqrt(min(ins[n], outs[n])) / ins[n] for n in ins}
    paper = {n: 0.3 / ins[n] for n in ins}
    factor = paper["left"] / size["left"] / ours["left"]
    torch.testing.assert_close(
        trained(size, paper), trained(dict.fromkeys(ins, 1.0), {n: factor * x for n, x in ours.items()})
    )


@pytest.mark.parametrize("family", families(list(BASELINES)), ids=lambda f: f.label)
@pytest.mark.parametrize("shape", [(120, 400), (16, 6, 5, 5)])
def test_every_family_has_them(family, shape):
    net = family.build(shape, 1000)
    found = rate_factors(net, shape)
    assert found.keys() == set(net.parameters) and all(x > 0 for x in found.values())
    assert sum(map(log, found.values())) == pytest.approx(0, abs=1e-9)


def test_they_scale_with_the_width():
    """A Monarch layer of wider blocks on one side: that side's rate falls by the root of what its smaller side grew by."""
    narrow, wide = (rate_factors(tk.monarch((10, n), (20, n)), (10 * n, 20 * n)) for n in (16, 64))
    assert wide["block_1"] / wide["block_0"] == pytest.approx(narrow["block_1"] / narrow["block_0"] / 2)


STEPS = dict(seeds=1, dense_steps=20, fit_steps=5, tune_steps=30, rest="none")


@pytest.mark.slow
def test_a_comparison_takes_them(tmp_path):
    """A dense layer, and whatever is one array, trains as before; arrays of unlike fans do not."""
    torch.set_num_threads(1)
    task = Task("mlp", "digits")
    equal, structured = (
        {r["label"]: r for r in compare(task, ["low_rank", "tucker"], [300], rates=rule, **STEPS)} for rule in ("equal", "structured")
    )  # fmt: skip
    for label in ("dense_trained_on", "hashed", "subspace"):
        assert equal[label]["test_frozen"] == structured[label]["test_frozen"]
        assert equal[label]["curves"] == structured[label]["curves"]
    assert equal["low_rank"]["curves"] == structured["low_rank"]["curves"]  # the rank is the smaller side of both
    assert equal["tucker"]["curves"] != structured["tucker"]["curves"]
    assert {r["rates"] for r in equal.values()} == {"equal"} and {r["rates"] for r in structured.values()} == {
        "structured"
    }
    compare(task, ["low_rank"], [300], out=tmp_path, **STEPS)
    with pytest.raises(ValueError, match=r"holds another study: it has no protocol\.rates, here it is 'structured'"):
        compare(task, ["low_rank"], [300], rates="structured", out=tmp_path, **STEPS)


def test_a_rule_that_is_none():
    with pytest.raises(ValueError, match="compare: rates is one of equal, structured, not 'fair'"):
        compare(Task("mlp", "digits"), ["low_rank"], [300], rates="fair", **STEPS)
