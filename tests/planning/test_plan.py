"""What a plan costs, against opt_einsum, tracemalloc and autograd; its cache; its text."""

import pickle
import tracemalloc

import numpy as np
import opt_einsum as oe
import pytest
import torch
from work import counted

import tnkit as tk
from tnkit.core.network import Network
from tnkit.core.node import Node
from tnkit.execution.codegen import execute, prepare
from tnkit.execution.inputs import check_arrays
from tnkit.execution.numpy import NUMPY
from tnkit.execution.run import run
from tnkit.planning.planner import plan
from tnkit.planning.steps import ContractStep, Program
from tnkit.planning.strides import contiguous, reshaped
from tnkit.testing import random_network


def chain(n, size=3, open_=1, output=()):
    nodes = [
        Node(f"A{k}", [f"b{i}" for i in (k - 1, k) if 0 <= i < n - 1] + ([f"o{k}"] if open_ else [])) for k in range(n)
    ]
    sizes = {f"b{k}": size for k in range(n - 1)} | ({f"o{k}": open_ for k in range(n)} if open_ else {})
    return Network(nodes, output, sizes)


def clean(net):
    """No traces and no index of one node alone: what opt_einsum charges to a pair, a plan reduces before."""
    count = {i: sum(i in n.inds for n in net.nodes) + (i in net.output) for i in net.sizes}
    return all(len(set(n.inds)) == len(n.inds) and all(count[i] > 1 for i in n.inds) for n in net.nodes)


def test_flops_are_opt_einsums():
    compared = 0
    for seed in range(300):
        net, _ = random_network(seed)
        if not clean(net) or len(net.nodes) < 2:
            continue
        p = plan(net)
        letter = {i: oe.get_symbol(k) for k, i in enumerate(net.sizes)}
        word = lambda inds: "".join(letter[i] for i in inds)  # noqa: B023, E731
        equation = ",".join(word(n.inds) for n in net.nodes) + "->" + word(net.output)
        shapes = [tuple(net.sizes[i] for i in n.inds) for n in net.nodes]
        _, info = oe.contract_path(equation, *shapes, shapes=True, optimize=p.path)
        assert p.flops == info.opt_cost
        assert p.largest == info.largest_intermediate or p.largest <= info.largest_intermediate
        compared += 1
    assert compared > 40


@pytest.mark.parametrize("nonlinear", [False, True])
def test_sizes_are_those_of_the_tensors_made(nonlinear):
    for seed in range(60):
        net, arrays = random_network(seed, nonlinear=nonlinear)
        p = plan(net)
        full = check_arrays(net, arrays)
        result, given = run(p, full), [full[name] for name in p.inputs]
        made = [
            execute(Program(p.steps[: k + 1], s.target, ((),) * (k + 1)), given, NUMPY) for k, s in enumerate(p.steps)
        ]
        assert [np.size(x) for x in made] == [s.size for s in p.steps]
        assert p.largest == max(map(np.size, made), default=np.size(result))
        for s, x in zip(p.steps, made, strict=True):
            for operand in s.operands:
                assert operand < s.target
            assert np.size(x) == p.slot_sizes[s.target]


def big_networks(count=110, **kw):
    for seed in range(count):
        net, arrays = random_network(1000 + seed, max_size=12, max_space=2_000_000, max_nodes=6, **kw)
        p = plan(net)
        if arrays and p.peak > 50_000:
            yield p, check_arrays(net, arrays)


def test_peak_is_what_numpy_allocates():
    """Multilinear networks, whose steps allocate nothing but what the plan lists."""
    ratios = []
    for p, arrays in big_networks():
        prepare(p.program, NUMPY)
        tracemalloc.start()
        run(p, arrays)
        used = tracemalloc.get_traced_memory()[1] + sum(a.nbytes for a in arrays.values())
        tracemalloc.stop()
        ratios.append(used / p.peak)
    assert len(ratios) >= 10
    most = 1.35 if np.lib.NumpyVersion(np.__version__) >= "2.3.0" else 1.8  # sums had a buffer of 38 kB before
    assert min(ratios) > 0.6 and max(ratios) < most and 0.9 < np.median(ratios) < 1.15


@pytest.mark.parametrize("nonlinear", [False, True])
def test_peak_backward_covers_what_autograd_saves(nonlinear):
    """Saved tensors are a lower bound, and gradients come to about as much again.

    A gelu or a softplus keeps several temporaries, which a plan does not count: a factor of two there.
    """
    ratios = []
    for p, arrays in big_networks(nonlinear=nonlinear):
        x = {name: torch.tensor(a, requires_grad=True) for name, a in arrays.items()}
        held = {}

        def pack(t, held=held):
            held[t.untyped_storage().data_ptr()] = t
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            y = run(p, x)
        for t in (*x.values(), y):
            held[t.untyped_storage().data_ptr()] = t
        saved = sum(t.untyped_storage().nbytes() for t in held.values())
        assert p.peak_backward >= p.peak
        ratios.append(p.peak_backward / saved)
    assert len(ratios) >= 10
    assert min(ratios) >= (0.5 if nonlinear else 1.0) and max(ratios) < (4.5 if nonlinear else 3.0)


def test_strides_of_a_reshape_are_numpys():
    rng = np.random.default_rng(0)
    views = 0
    for _ in range(400):
        shape = rng.choice([1, 2, 3, 4], size=rng.integers(1, 5))
        axes = rng.permutation(len(shape))
        x = np.zeros(shape, dtype=np.int8).transpose(axes)
        new = np.array(x.shape)
        cut = int(rng.integers(len(new)))
        new = (*new[:cut], int(np.prod(new[cut : cut + 2])), *new[cut + 2 :])
        strides = tuple(contiguous(tuple(shape))[k] for k in axes)
        y = x.reshape(new)
        got = reshaped(x.shape, strides, new)
        assert (got is not None) == np.shares_memory(x, y)
        if got is not None:
            views += 1
            assert all(a == b for n, a, b in zip(new, got, y.strides, strict=True) if n > 1)
    assert 50 < views < 400


def test_peak_of_a_view_and_of_nothing():
    a = Network([Node("A", "ij")], "ij", dict(i=30, j=40))
    assert plan(a).peak == 1200 * 8 and plan(a).steps == () and plan(a).flops == 0 and plan(a).largest == 1200
    turned = plan(Network([Node("A", "ij")], "ji", dict(i=30, j=40)))
    assert turned.peak == 1200 * 8 and turned.flops == 0
    matrix = plan(Network([Node("A", "ir"), Node("B", "rj")], "ji", dict(i=30, j=40, r=5)))
    assert matrix.peak == (150 + 200 + 1200) * 8 and matrix.flops == 2 * 6000
    assert plan(matrix.network, itemsize=4).peak * 2 == matrix.peak


def test_cached_by_value():
    one, two = (random_network(5, nonlinear=True)[0] for _ in range(2))
    assert one is not two and plan(one) is plan(two) and plan(one) is plan(one, "auto")
    assert plan(one) is not plan(one, "greedy") and plan(one, itemsize=4) is not plan(one)
    again = pickle.loads(pickle.dumps(plan(one)))
    assert again == plan(one) and hash(again) == hash(plan(one)) and again.peak == plan(one).peak


class Asking:
    """A function that, as it is pickled, asks its plan for what that has not been asked for, as another thread may."""

    plan = None

    def __call__(self, xp, x):
        return xp.tanh(x)

    def __reduce__(self):
        (step,) = type(self).plan.steps
        assert step.chain is not None and type(self).plan.program.runners == {}
        assert type(self).plan.peak and type(self).plan.timeline and step.body.runners == {}
        return Asking, ()


def test_a_plan_may_be_asked_while_it_is_pickled():
    """An executor pickles in a thread of its own."""
    net = Network([Node("A", "ij"), Node("B", "jk")], "ik", {"i": 4, "j": 3, "k": 4}).activate(Asking(), "f")
    Asking.plan = tk.plan(net, slices=4)
    again = pickle.loads(pickle.dumps(Asking.plan))
    assert again.flops == Asking.plan.flops and again.peak == Asking.plan.peak
    assert set(again.__dict__) < set(Asking.plan.__dict__)  # it is as it was when it was begun


def test_text():
    p = plan(
        Network([Node("A", "ir"), Node("B", "rj"), Node("C", "j")], "i", dict(i=3, j=4, r=2)).activate("relu", "f")
    )
    assert "FLOPs" in repr(p) and "peak" in str(p) and "matmul" in str(p) and "relu" in str(p)
    assert p._repr_html_().count("<tr>") == len(p.steps) + 1
    assert len(p.paths) == 2


def test_plain_matrices_are_multiplied_in_place():
    for left, right in (("ir", "rj"), ("ri", "rj"), ("ir", "jr"), ("ri", "jr"), ("bir", "brj"), ("bri", "bjr")):
        batch = "b" if "b" in left else ""
        (step,) = plan(
            Network(
                [Node("A", left), Node("B", right)],
                batch + "ij",
                dict(zip("bijr"[not batch :], (2, 3, 4, 5), strict=False)),
            )
        ).steps
        assert isinstance(step, ContractStep)
        assert all(v.permute is None and v.reshape is None for v in (*step.views, step.result))


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["auto", "greedy", "random-greedy"])
def test_two_thousand_nodes(optimizer):
    net = chain(2000, open_=0)
    work, p = counted(plan, net, optimizer)
    assert work < 2_000_000  # 500,000
    assert p.peak_backward >= p.peak > 0 and p.bytes_moved > 0 and len(str(p)) > 2000
    rng = np.random.default_rng(0)
    arrays = {k: rng.normal(size=s) / 3**0.5 for k, s in net.array_shapes.items()}
    want = arrays["A0"]
    for k in range(1, 2000):
        want = want @ arrays[f"A{k}"]
    assert np.allclose(run(p, arrays), want, rtol=1e-8)


@pytest.mark.slow
def test_planning_grows_about_linearly():
    def work(n):
        net = chain(n, open_=0)
        path = [(0, 1)] + [(0, n - 2 - k) for k in range(n - 2)]
        return counted(plan, net, lambda *_: path)[0]

    work(100)
    assert work(3200) < 16 * work(400)  # quadratic would be 64


def test_a_limit_of_one_byte_is_not_true():
    """0 and 1 are equal to False and True, and must not be found in their place in the cache."""
    net = tk.brick_wall(6, 2, 3, "tanh")
    assert tk.plan(net).peak_backward > tk.plan(net, checkpoint=True).peak_backward
    for limit in (0, 1, 0.0, 1.0):
        with pytest.raises(ValueError, match=f"at least, not {int(limit)}B"):
            tk.plan(net, checkpoint=limit)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"memory_limit": float("nan")}, ValueError, "memory_limit is nan"),
        ({"memory_limit": -1}, ValueError, "memory_limit is -1"),
        ({"memory_limit": "1GB"}, TypeError, "memory_limit is a number of bytes, not '1GB'"),
        ({"memory_limit": True}, TypeError, "memory_limit is a number of bytes, not True"),
        ({"slices": 0}, ValueError, "slices is a whole number of at least 1, not 0"),
        ({"slices": 2.5}, TypeError, "slices is a whole number of at least 1, not 2.5"),
        ({"itemsize": -1}, ValueError, "itemsize is a whole number of at least 1, not -1"),
        ({"itemsize": "2"}, TypeError, "itemsize is a whole number of at least 1, not '2'"),
        ({"checkpoint": float("nan")}, ValueError, "checkpoint is nan"),
        ({"checkpoint": "yes"}, TypeError, "checkpoint is a number of bytes, not 'yes'"),
    ],
)
def test_numbers_of_a_plan_are_checked_by_name(options, error, message):
    with pytest.raises(error, match=f"plan: {message}"):
        tk.plan(tk.tt((3, 4), 2), **options)


def test_numbers_of_a_plan_may_be_numpys():
    net = tk.tt((8, 8, 8), 4)
    assert (
        tk.plan(net, slices=np.int64(2), memory_limit=np.float64(1e9), itemsize=np.int32(4)).peak
        == tk.plan(net, slices=2, memory_limit=1e9, itemsize=4).peak
    )


@pytest.mark.parametrize("count", [28, 29, 30, 31, 32, 33, 40, 50, 60, 63, 64])
def test_many_axes_of_size_1(count):
    net = tk.tt((1,) * count, 1)
    arrays = {n: np.full(shape, 1.5) for n, shape in net.array_shapes.items()}
    made = tk.contract(net, arrays)
    assert made.shape == (1,) * count and made.item() == pytest.approx(1.5**count)
    assert float(tk.inner(net, arrays, net, arrays)) == pytest.approx(1.5 ** (2 * count))


@pytest.mark.parametrize("size", [1, 2])
def test_more_axes_than_an_array_has_are_refused_when_planned(size):
    with pytest.raises(ValueError, match="plan: the result has 65 axes; an array has at most 64"):
        tk.plan(tk.tt((size,) * 65, 1))
    with pytest.raises(ValueError, match="plan: node 'A' has 65 axes; an array has at most 64"):
        tk.plan(Network([Node("A", [f"i{k}" for k in range(65)])], (), {f"i{k}": size for k in range(65)}))
    tk.plan(tk.tt((size,) * 64, 1))


def test_axes_of_size_1_are_no_reason_to_refuse_a_step():
    legs = [[f"{n}{k}" for k in range(60)] for n in "ab"]
    sizes = {i: 2 if i[1:] == "0" else 1 for t in legs for i in t}
    net = Network(
        [Node("A", legs[0]), Node("B", legs[1]), Node("C", [*legs[0], "c"][1:]), Node("D", legs[1])],
        (),
        sizes | {"c": 3},
    )
    arrays = tk.init.normal(net, seed=0)
    for order in ([(0, 1), (0, 1), (0, 1)], [(0, 3), (0, 1), (0, 1)], "auto"):
        both = [
            tk.contract(net, {n: make(x) for n, x in arrays.items()}, optimizer=order)
            for make in (np.asarray, torch.tensor)
        ]
        a, b, c, d = (arrays[n].reshape(-1) for n in "ABCD")
        np.testing.assert_allclose([float(x) for x in both], a.sum() * c.sum() * (b @ d), rtol=1e-12)


def test_a_step_that_no_array_holds_is_refused_with_its_place_and_sliced_where_a_limit_is_given():
    legs = [[f"{n}{k}" for k in range(35)] for n in "ab"]
    leaves = [Node(n, t) for n, t in zip("ABCD", (*legs, *legs), strict=True)]
    net = Network(leaves, (), {i: 2 for t in legs for i in t})
    with pytest.raises(
        ValueError, match=r"plan: step 0 makes a tensor of 70 axes, with indices .*; an array has at most 64"
    ):
        tk.plan(net, [(0, 1), (0, 1), (0, 1)])
    assert tk.plan(net).largest == 1
