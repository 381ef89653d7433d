"""Sizes and counts that no array has and no float holds: written, planned and drawn, or refused by name."""

import sys

import pytest

import tnkit as tk
from tnkit.core.wording import count_text, shown
from tnkit.execution.machine import _bytes
from tnkit.planning.calibration import spelled_count

MOST = 10**300
NETS = {
    "matrices": tk.from_einsum("ij,jk,kl->il", dict(i=MOST, j=2, k=MOST, l=3)),
    "inner": tk.from_einsum("ir,rj->ij", dict(i=2, j=3, r=MOST)),
    "of 30 digits": tk.from_einsum("ij,jk,kl->il", dict.fromkeys("ijkl", 10**30)),
    "trace": tk.from_einsum("iij->ij", dict(i=MOST, j=2)),
    "many axes": tk.from_einsum(f"{(s := ''.join(map(chr, range(97, 117))))},{s}->a", dict.fromkeys(s, MOST)),
    "outer": tk.from_einsum(",".join(s), dict.fromkeys(s, MOST)),
    "chain": tk.from_einsum("ab,bc,cd,de,ef,fg,gh,hi,ij,jk,kl->al", dict.fromkeys("abcdefghijkl", MOST)),
}
NETS["nonlinear"] = NETS["matrices"].activate("tanh", "act")
every = pytest.mark.parametrize("net", NETS.values(), ids=list(NETS))


@every
@pytest.mark.filterwarnings("error")
def test_a_huge_network_is_written_planned_and_drawn(net):
    assert tk.from_json(tk.to_json(net)) == net and "Network(" in str(net) and str(tk.explain(net))
    plan = tk.plan(net)
    assert plan.flops >= 0 and len(plan.timeline) >= 1 and all(s >= 0 for s in plan.seconds)
    assert "Plan(" in str(plan) and plan._repr_html_()
    for shows in (net, plan):
        assert tk.view(shows).html and tk.to_svg(shows) and tk.to_tikz(shows)


@every
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("optimizer", tk.OPTIMIZERS)
def test_every_optimizer_orders_a_huge_network(net, optimizer):
    assert len(tk.plan(net, optimizer).paths[0]) == len(tk.plan(net).paths[0])


@every
@pytest.mark.filterwarnings("error")
def test_limits_of_a_huge_network(net):
    for options in (dict(memory_limit=1e6), dict(memory_limit=1e300), dict(checkpoint=1e6)):
        try:
            assert str(tk.plan(net, **options))
        except ValueError as error:
            assert "memory_limit=" in str(error) or "checkpoint: " in str(error)
    for options in (dict(memory_limit=10**5000), dict(checkpoint=True), dict(itemsize=10**5000)):
        assert str(tk.plan(net, **options))
    assert tk.plan(net, checkpoint=True).peak_backward <= tk.plan(net).peak_backward


def test_seconds_beyond_any_float_are_infinite():
    plan = tk.plan(tk.from_einsum("ij,jk->ik", dict.fromkeys("ijk", MOST)))
    assert plan.flops == 2 * MOST**3 and plan.seconds == (float("inf"),) * 2
    assert "2.00e+900 FLOPs" in str(plan) and "predicted inf s" in str(plan)


@pytest.mark.parametrize("power", [301, 400, 5000])
def test_a_size_that_is_too_large_is_refused_by_name(power):
    size = 10**power
    with pytest.raises(ValueError, match=r"^index 'r' has size 1.*; a size is at most 10\*\*300$"):
        tk.Network([tk.Node("A", "ir")], "i", dict(i=2, r=size))
    with pytest.raises(ValueError, match=r"^from_einsum: the size of index 'r' is at most 10\*\*300, not 1"):
        tk.from_einsum("ir->i", dict(i=2, r=size))


def test_text_of_a_size_of_thousands_of_digits():
    text = tk.to_json(tk.tt((2, 3), 2)).replace('"i0": 2', f'"i0": 1{5000 * "0"}')
    with pytest.raises(ValueError, match=r"^from_json: a number of thousands of digits; a size is at most 10\*\*300$"):
        tk.from_json(text)


@pytest.mark.parametrize("draw", [tk.init.normal, tk.init.orthogonal, tk.init.near_identity])
@pytest.mark.parametrize("power", [17, 30, 300])
def test_arrays_that_cannot_be_formed_are_named(draw, power):
    size = 10**power
    net = tk.from_einsum("ir,rj->ij", dict(i=2, j=3, r=size))
    with pytest.raises(MemoryError, match=r": array 'A' of shape \(2, 1.* takes .*B, and .* left$"):
        draw(net)
    fixed = tk.Network([tk.Node("A", "ij", fixed="delta"), tk.Node("B", "j", fixed=True)], "i", dict(i=size, j=size))
    with pytest.raises(MemoryError, match=": array 'A' of shape"):
        draw(fixed)


def test_counts_as_text():
    assert [count_text(n) for n in (0, -5, 10**30 - 1)] == ["0", "-5", "9" * 30]
    for power in (30, 31, 99, 308, 309, 400, 4300, 5000, 16_000):
        assert count_text(10**power) == f"1.00e+{power}"
    assert count_text(2 * 10**400, ",") == "2.00e+400" and count_text(9_999 * 10**396) == "1.00e+400"
    assert count_text(-(10**400)) == "-1.00e+400"
    assert spelled_count(16_777_216) == "16.8M" and spelled_count(5e26) == spelled_count(5 * 10**26)
    assert spelled_count(2e40) == "2e+40" and spelled_count(2 * 10**400) == "2.00e+400"
    assert _bytes(10**400) == "1.00e+400 B" and _bytes(10**12) == "1 TB"
    assert shown(10**5000) == "1.00e+5000" and sys.get_int_max_str_digits() == 4300
