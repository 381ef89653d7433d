"""The steps of a plan in the network's names: they add up to the plan, and carried out they give the contraction."""

import json
from math import prod

import numpy as np
import pytest

import tnkit as tk
from tnkit.core.activations import ACTIVATIONS, function
from tnkit.core.network import levels
from tnkit.execution.inputs import check_arrays
from tnkit.planning import builder, fusion, lowering, windows
from tnkit.planning.planner import _plan
from tnkit.testing import oracle, random_network

NEVER = 2**40
LOWERED = [
    (fusion, "SLICE", 8), (fusion, "KEPT", 4), (fusion, "_NEIGHBOURS", 1), (windows, "_STATE", 8), (windows, "_TIMES", 2),
    (windows, "WIDENED", 8), (windows, "LEAST_COLUMNS", 2), (lowering, "WIDENED", 8), (lowering, "LEAST_COLUMNS", 2),
    (builder, "_WORTH_ORDERS", 2),
]  # fmt: skip


@pytest.fixture(params=["plain", "sliced", "kept", "copied"])
def groups(request, monkeypatch):
    """Plans as they are, and with runs of steps in groups even where tensors are small."""
    if request.param != "plain":
        for module, name, value in LOWERED:
            monkeypatch.setattr(module, name, value)
        monkeypatch.setattr(fusion, "LARGE", NEVER if request.param == "kept" else 2**5)
        monkeypatch.setattr(fusion, "HUGE", 2**5 if request.param == "copied" else NEVER)
    return request.param


def carried_out(plan, arrays):
    """What the records say, by one einsum or one function each: of nodes and results by name, without the plan's slots."""
    letters = {}
    for level in levels(plan.network):
        for i in level.sizes:
            letters.setdefault(i, len(letters))
    tensors = {leaf.name: arrays[leaf.array] for leaf in plan.network.leaves}
    held = {leaf.name: leaf.inds for leaf in plan.network.leaves}
    functions = {tk_name(node.fn): node.fn for node in nonlinear(plan.network)}
    for step in plan.timeline:
        assert [held[name] for name in step.operands] == [tuple(inds) for inds in step.inds]
        of = [tensors.pop(name) for name in step.operands]  # each is read once: KeyError else
        if step.kind == "apply":
            of, inds = [function(functions[step.function])(np, *aligned(step, of))], step.inds[:1]
        else:
            inds = step.inds
        terms = [x for t, own in zip(of, inds, strict=True) for x in (t, [letters[i] for i in own])]
        tensors[step.name] = np.einsum(*terms, [letters[i] for i in step.result])
        held[step.name] = step.result
    ((name, tensor),) = tensors.items()
    return np.transpose(tensor, [held[name].index(i) for i in plan.network.output])


def aligned(step, of):
    return [np.transpose(t, [inds.index(i) for i in step.inds[0]]) for t, inds in zip(of, step.inds, strict=True)]


def nonlinear(net):
    return [node for level in levels(net) for node in level.nodes if isinstance(node, tk.Elementwise)]


def tk_name(fn):
    return fn if isinstance(fn, str) else fn.__name__


def size(net, i):
    return next(level.sizes[i] for level in levels(net) if i in level.sizes)


def operations(net, step):
    """Of the step's equation in one slice: by the counts that the manual states."""
    indices = {i for inds in step.inds for i in inds if i not in step.sliced}
    space = prod(size(net, i) for i in indices)
    if step.kind == "contract":
        return 2 * space
    if step.kind == "reduce":
        return space if set(step.summed) - set(step.sliced) else 0
    return space if step.kind in ("multiply", "apply") else 0


def check(plan, arrays=None):
    steps = plan.timeline
    assert sum(step.flops for step in steps) == plan.flops
    assert sum(step.bytes_moved for step in steps) == plan.bytes_moved
    assert not steps or max(step.live for step in steps) == plan.peak
    assert [step.name for step in steps] == [f"#{k}" for k in range(len(steps))]
    for step in steps:
        assert step.flops == step.times * step.widened * operations(plan.network, step), step
        assert step.shape == tuple(size(plan.network, i) for i in step.result if i not in step.sliced) or step.sliced
    if steps:
        assert sorted(steps[-1].leaves) == sorted(leaf.name for leaf in plan.network.leaves)
    if arrays is not None:
        arrays = check_arrays(plan.network, arrays)
        want = oracle(plan.network, arrays)
        scale = max(np.abs(want).max(initial=0), 1e-9)
        np.testing.assert_allclose(carried_out(plan, arrays) / scale, want / scale, atol=1e-9)


@pytest.mark.parametrize("nonlinear", [False, True])
def test_random_networks(groups, nonlinear):
    found = set()
    for seed in range(50):
        net, arrays = random_network(seed, nonlinear=nonlinear)
        plan = _plan(net, "auto" if seed % 2 else "greedy", 8, None)
        check(plan, arrays)
        found |= {step.kind for step in plan.timeline} | {step.group for step in plan.timeline}
        found |= {"tied"} if len({leaf.array for leaf in net.leaves}) < len(net.leaves) else set()
    assert {"contract", "multiply", "reduce", "tied"} <= found and ("apply" in found) == nonlinear
    assert groups == "plain" or found & {"chain", "slices"}


@pytest.mark.slow
@pytest.mark.parametrize("nonlinear", [False, True])
def test_slices_and_checkpoints(groups, nonlinear):
    found = set()
    for seed in range(30):
        net, arrays = random_network(seed, nonlinear=nonlinear)
        for options in ({"slices": 2}, {"slices": 3, "checkpoint": True}, {"checkpoint": True}):
            try:
                plan = _plan(net, "greedy", 8, None, **options)
            except ValueError as error:
                assert "slices" in str(error)
                continue
            check(plan, arrays)
            found |= {step.group for step in plan.timeline}
    assert {"slices", "checkpoint"} <= found
    assert groups == "plain" or any("," in group for group in found)


@pytest.mark.parametrize("name", sorted(tk.EXAMPLES))
def test_every_builder(name):
    net = tk.BUILDERS[name](**tk.EXAMPLES[name])
    check(tk.plan(net), tk.init.normal(net, seed=0))


def test_a_step_that_spreads_a_matrix_says_so():
    """The plan's FLOPs are those of the equation times what is multiplied in vain."""
    state, gate = tuple("abcdefghijklmnop"), ("o", "q")
    net = tk.Network(
        [tk.Node("state", state), tk.Node("gate", gate)], "abcdefghijklmnqp", dict.fromkeys("abcdefghijklmnopq", 2)
    )
    plan = tk.plan(net)
    check(plan)
    (step,) = plan.timeline
    assert step.widened == 2 and step.flops == 2 * 2 * 2**17
    assert "x2" in str(plan)


def test_tied_nodes_are_told_apart():
    net = tk.Network(
        [tk.Node(f"x{k}", (f"i{k}", f"i{k + 1}"), "x") for k in range(4)], ("i0", "i4"), {f"i{k}": 3 for k in range(5)}
    )
    steps = tk.plan(net).timeline
    named = [name for step in steps for name in step.operands if name.startswith("x")]
    assert sorted(named) == ["x0", "x1", "x2", "x3"]
    for step in steps:
        assert all(
            inds == net[name].inds for name, inds in zip(step.operands, step.inds, strict=True) if name[0] == "x"
        )


def test_equal_nodes_of_two_bodies_stay_in_their_bodies():
    sizes = dict(i=3, j=4)
    one = tk.Network([tk.Node("a", "i", "x"), tk.Node("b", "j")], "ij", sizes)
    two = tk.Network([tk.Node("c", "i", "x"), tk.Node("d", "j")], "ij", sizes)
    net = tk.Network([tk.Elementwise("sum", "add", [one, two])], "ij")
    first, second, last = tk.plan(net).timeline
    assert (first.region, second.region, last.region) == ("sum[0]", "sum[1]", "sum[0]") or last.barrier == "sum"
    assert {first.operands, second.operands} == {("a", "b"), ("c", "d")}
    assert last.barrier == "sum" and last.function == "add" and set(last.leaves) == set("abcd")


def test_a_record_is_json():
    plan = tk.plan(tk.brick_wall(4, 2, 2, "relu"))
    for step in plan.timeline:
        read = json.loads(json.dumps(step.as_dict()))
        assert read["name"] == step.name and read["flops"] == step.flops and read["equation"] == step.equation
        assert tuple(read["leaves"]) == step.leaves


def test_own_functions_are_named():
    net = tk.tt((2, 2), 2).activate(ACTIVATIONS["tanh"], "mine")
    (_, last) = tk.plan(net).timeline
    assert last.kind == "apply" and last.barrier == "mine" and last.function


def test_a_slice_that_needs_no_step():
    net = tk.Network([tk.Node("A", "ij")], "j", {"i": 3, "j": 4})
    plan = tk.plan(net, slices=3)
    check(plan, tk.init.normal(net, seed=0))
    assert plan.timeline[0].operands == ("A",)
