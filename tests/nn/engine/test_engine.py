"""Orders that follow the axes, windows, and runs of steps executed slice by slice: against the plain way, in float64."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import tnkit as tk
from tnkit.execution.codegen import source
from tnkit.execution.inputs import check_arrays
from tnkit.planning import fusion, windows
from tnkit.planning.checkpointing import checkpointed
from tnkit.planning.planner import _plan
from tnkit.planning.steps import ContractStep, FusedStep, last_use
from tnkit.testing import oracle, random_network
from tnkit_nn import TORCH
from tnkit_nn.engine.activations import OVER

WALLS = {
    "binary": dict(sites=10, dim=2, depth=3, activation="relu"),
    "odd": dict(sites=11, dim=2, depth=2, activation="tanh"),
    "linear": dict(sites=10, dim=2, depth=3, activation=None),
    "periodic": dict(sites=10, dim=2, depth=2, activation="sin", periodic=True),
    "mixed": dict(sites=6, dim=[2, 3, 4, 5, 2, 3], depth=3, activation="tanh"),
    "ternary": dict(sites=7, dim=3, depth=2, activation="relu"),
    "four": dict(sites=5, dim=4, depth=3, activation="sin"),
    "vectors": dict(sites=9, dim=2, depth=2, activation="tanh", start="vectors"),
    "shared": dict(sites=10, dim=2, depth=3, activation="tanh", share=2),
    "full": dict(sites=8, dim=2, depth=2, activation="relu", full=True),
}


@pytest.fixture(params=["sliced", "kept"])
def small(request, monkeypatch):
    """Thresholds at which test-sized tensors are swept and sliced, or run as a chain."""
    monkeypatch.setattr(fusion, "LARGE", 2**8 if request.param == "sliced" else 2**40)
    monkeypatch.setattr(fusion, "SLICE", 2**7)
    monkeypatch.setattr(fusion, "KEPT", 2**6)
    monkeypatch.setattr(fusion, "_NEIGHBOURS", 2)
    monkeypatch.setattr(windows, "_STATE", 2**6)


def wall(name, walls=WALLS):
    net = tk.brick_wall(**walls[name])
    arrays = check_arrays(net, tk.init.normal(net, seed=1))
    return net, arrays


def plainly(net, arrays):
    """Every brick on the whole tensor, in the order of the nodes."""
    dims = net.shape
    inner = [n for n in net.nodes if isinstance(n, tk.Elementwise)]
    if inner:
        now = tk.ACTIVATIONS[inner[0].fn](np, plainly(inner[0].bodies[0], arrays))
    else:
        now = np.ones(())
        for s, d in enumerate(dims):
            start = [n for n in net.nodes if n.name == f"start_{s}"]
            now = np.multiply.outer(now, arrays[start[0].array] if start else np.eye(d)[0])
    for node in net.nodes:
        if not node.name.startswith("brick"):
            continue
        a = int(node.name.split("_")[-1])
        b = (a + 1) % len(dims)
        brick = arrays[node.array]
        if brick.ndim == 2:  # of the first column: what acts on [1, 0, ...]
            brick = np.pad(brick[:, :, None, None], ((0, 0), (0, 0), (0, dims[a] - 1), (0, dims[b] - 1)))
        now = np.moveaxis(np.tensordot(brick, now, axes=([2, 3], [a, b])), (0, 1), (a, b))
    return now


def grouped(net, **kw):
    plan = _plan(net, "auto", 8, kw.get("dynamic"))
    return plan, [s for s in plan.steps if isinstance(s, FusedStep)]


@pytest.mark.parametrize("name", WALLS)
def test_sliced_walls_are_the_plain_ones(name, small):
    net, arrays = wall(name)
    plan, groups = grouped(net)
    assert groups or net.multilinear  # one block's windows, or several with the function between them
    want = plainly(net, arrays)
    np.testing.assert_allclose(tk.run(plan, arrays), want, atol=1e-12 * abs(want).max())
    tensors = {n: torch.as_tensor(a) for n, a in arrays.items()}
    np.testing.assert_allclose(tk.run(plan, tensors), want, atol=1e-12 * abs(want).max())


@pytest.mark.parametrize("name", WALLS)
def test_gradients_are_those_of_the_unsliced_plan(name, small, monkeypatch):
    net, arrays = wall(name)
    plan, _ = grouped(net)
    monkeypatch.setattr(fusion, "LARGE", 2**40)
    monkeypatch.setattr(fusion, "KEPT", 2**40)
    whole = _plan(net, "greedy", 8, None)
    assert not any(isinstance(s, FusedStep) for s in whole.steps)
    seed = torch.as_tensor(np.random.default_rng(0).standard_normal(net.shape))
    found = []
    for way in (plan, whole):
        tensors = {n: torch.as_tensor(a).requires_grad_(n in net.parameters) for n, a in arrays.items()}
        tk.run(way, tensors).backward(seed)
        found.append({n: tensors[n].grad for n in net.parameters})
    for n in net.parameters:
        assert (found[0][n] - found[1][n]).norm() <= 1e-10 * found[1][n].norm(), n


#: Smaller, with an edge that closes, and with one array on several nodes: tracing takes seconds a step.
FEW = {
    "mixed": dict(sites=5, dim=[2, 3, 2, 4, 3], depth=2, activation="tanh"),
    "periodic": dict(sites=8, dim=2, depth=2, activation="relu", periodic=True),
    "shared": dict(sites=7, dim=2, depth=2, activation="sin", share=2),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FEW)
def test_groups_under_every_transform(name, small, monkeypatch):
    if fusion.LARGE < 2**40:
        monkeypatch.setattr(fusion, "LARGE", 2**7)
        monkeypatch.setattr(fusion, "SLICE", 2**6)
    net, arrays = wall(name, FEW)
    plan, groups = grouped(net)
    assert groups
    names = list(net.parameters)
    fixed = {n: torch.as_tensor(a) for n, a in arrays.items() if n not in names}
    start = tuple(torch.as_tensor(arrays[n]) for n in names)

    def make(*values):
        return tk.run(plan, {**fixed, **dict(zip(names, values, strict=True))}, TORCH)

    want = make(*start)
    many = torch.vmap(make)(*[torch.stack([v, 2 * v]) for v in start])
    torch.testing.assert_close(many[0], want)
    torch.testing.assert_close(many[1], make(*[2 * v for v in start]))
    tangents = tuple(torch.randn_like(v) for v in start)
    _, slope = torch.func.jvp(make, start, tangents)
    eps = 1e-6
    near = [make(*[v + s * eps * t for v, t in zip(start, tangents, strict=True)]) for s in (1, -1)]
    torch.testing.assert_close(slope, (near[0] - near[1]) / (2 * eps), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(torch.compile(make, fullgraph=True, backend="aot_eager")(*start), want)


@pytest.mark.slow
def test_double_backward_through_groups(small):
    net = tk.brick_wall(9, 2, 2, "tanh")
    plan, groups = grouped(net)
    assert groups
    arrays = check_arrays(net, tk.init.normal(net, seed=3))
    names = list(net.parameters)[-3:]
    fixed = {n: torch.as_tensor(a) for n, a in arrays.items()}
    probe = torch.as_tensor(np.random.default_rng(1).standard_normal(net.shape))

    def make(*values):
        return (tk.run(plan, {**fixed, **dict(zip(names, values, strict=True))}, TORCH) * probe).sum()

    start = tuple(fixed[n].clone().requires_grad_() for n in names)
    assert torch.autograd.gradcheck(make, start)
    assert torch.autograd.gradgradcheck(make, start)


@pytest.mark.parametrize("name", WALLS)
def test_backward_twice_and_many_at_once(name, small):
    """What forward leaves is used up by the first backward; a batch of gradients has no memory of its own."""
    net, arrays = wall(name)
    plan, _ = grouped(net)
    tensors = {n: torch.as_tensor(a).requires_grad_(n in net.parameters) for n, a in arrays.items()}
    wanted = [tensors[n] for n in net.parameters]
    result = tk.run(plan, tensors)
    seeds = torch.as_tensor(np.random.default_rng(0).standard_normal((2, *net.shape)))
    once = [torch.autograd.grad(result, wanted, seed, retain_graph=True) for seed in seeds]
    torch.testing.assert_close(torch.autograd.grad(result, wanted, seeds[0], retain_graph=True), once[0])
    many = torch.autograd.grad(result, wanted, seeds, is_grads_batched=True)
    for k, found in enumerate(zip(*once, strict=True)):
        torch.testing.assert_close(many[k], torch.stack(found))
    with torch.inference_mode():  # whose memory nothing else may write to
        tk.run(plan, tensors)
    doubled = tk.run(plan, tensors).mul_(2)  # no view
    torch.testing.assert_close(torch.autograd.grad(doubled, wanted, seeds[0] / 2), once[0])


@pytest.mark.parametrize("fn", OVER)
def test_functions_written_over_their_argument(fn):
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)
    want = tk.ACTIVATIONS[fn](torch, x)
    assert OVER[fn](x) is x
    torch.testing.assert_close(x, want)


@pytest.mark.parametrize("name", WALLS)
def test_forward_alone_leaves_earlier_results_and_operands(name, small):
    """Its buffers are used again in the next call."""
    net, arrays = wall(name)
    plan, _ = grouped(net)
    tensors = {n: torch.as_tensor(a).clone() for n, a in arrays.items()}
    first = tk.run(plan, tensors)
    want = first.clone()
    tk.run(plan, {n: 2 * t for n, t in tensors.items()})
    assert torch.equal(first, want)
    assert all(np.array_equal(tensors[n], a) for n, a in arrays.items())
    with torch.no_grad():
        assert torch.equal(tk.run(plan, {n: t.requires_grad_() for n, t in tensors.items()}), want)


def test_functions_that_hand_on_their_gradient(small):
    """The gradient of a sum, or of nothing at all, is the very tensor that came: memory that is written over."""
    x, y = (tuple(f"{k}{i}" for i in range(4)) for k in "xy")

    def network(nodes, output):
        inds = {i for node in nodes for i in node.inds}
        return tk.Network(nodes, output, dict.fromkeys(inds, 4))

    mid = (y[0], *x[1:])
    one, other = network([tk.Node("A", x), tk.Node("B", (x[0], y[0]))], mid), network([tk.Node("C", mid)], mid)
    two = network([tk.Elementwise("sum", "add", (one, other)), tk.Node("D", (x[1], y[1]))], (*y[:2], *x[2:]))
    outer = tk.Elementwise("same", "identity", (two,))
    net = network([outer, tk.Node("E", (x[2], y[2])), tk.Node("F", (x[3], y[3]))], y)
    plan, _ = grouped(net)
    arrays = {n: torch.as_tensor(a).requires_grad_() for n, a in tk.init.normal(net, seed=0).items()}
    tk.run(plan, arrays).sin().sum().backward()
    found = {n: a.grad for n, a in arrays.items()}
    again = {n: a.detach().clone().requires_grad_() for n, a in arrays.items()}
    state = torch.einsum("abcd,ae->ebcd", again["A"], again["B"]) + again["C"]
    torch.einsum("abcd,bf,cg,dh->afgh", state, again["D"], again["E"], again["F"]).sin().sum().backward()
    torch.testing.assert_close(found, {n: again[n].grad for n in found})


def test_some_gradients_alone(small):
    net, arrays = wall("mixed")
    plan, groups = grouped(net)
    assert groups
    for name in net.parameters:
        tensors = {n: torch.as_tensor(a).requires_grad_(n == name) for n, a in arrays.items()}
        every = {n: torch.as_tensor(a).requires_grad_(n in net.parameters) for n, a in arrays.items()}
        for way in (tensors, every):
            tk.run(plan, way).sin().sum().backward()
        torch.testing.assert_close(tensors[name].grad, every[name].grad)


def test_groups_under_autocast_and_in_half_precision(small):
    net, arrays = wall("binary")
    plan, _ = grouped(net)
    tensors = {n: torch.as_tensor(a, dtype=torch.float32) for n, a in arrays.items()}
    want = tk.run(plan, tensors)
    with torch.autocast("cpu", torch.bfloat16):
        got = tk.run(plan, tensors)
    assert (got.float() - want).norm() < 0.05 * want.norm()
    half = tk.run(plan, {n: t.bfloat16() for n, t in tensors.items()})
    assert half.dtype == torch.bfloat16 and (half.float() - want).norm() < 0.05 * want.norm()


def test_gradients_in_half_precision_are_added_up_in_single(monkeypatch):
    """Each of 256 slices adds its part: in bfloat16, what is added last would be lost in what is there."""
    for name, value in dict(LARGE=2**8, SLICE=2**4, LEAST_SLICE=2**3, _NEIGHBOURS=1).items():
        monkeypatch.setattr(fusion, name, value)
    x = tk.Network((tk.Node("x", tuple("abcdefghijkl")),), tuple("abcdefghijkl"), dict.fromkeys("abcdefghijkl", 2))
    gates = (tk.Node("A", ("k", "l", "m", "n")), tk.Node("B", ("m", "n", "o", "p")))
    net = tk.Network((*x.nodes, *gates), (*"abcdefghij", "o", "p"), dict.fromkeys("abcdefghijklmnop", 2))
    plan = _plan(net, lambda *_, **__: [(0, 1), (0, 1)], 2, None)
    assert [step.chain for step in plan.steps if isinstance(step, FusedStep)] == [True]
    arrays = {name: np.abs(value) for name, value in tk.init.normal(net, seed=3).items()}  # sums that only grow
    found = []
    for dtype in (torch.float64, torch.bfloat16):
        tensors = {n: torch.as_tensor(a).bfloat16().to(dtype).requires_grad_(n != "x") for n, a in arrays.items()}
        tk.run(plan, tensors).sum().backward()
        found.append(torch.cat([tensors[n].grad.double().flatten() for n in "AB"]))
    assert (found[1] - found[0]).norm() < 0.01 * found[0].norm()


def test_a_function_of_ones_own_is_run_slice_by_slice(small, monkeypatch):
    """It has no name by which its gradient would be known: autograd's, of each slice."""
    net = tk.brick_wall(9, 2, 2, "relu").activate(lambda xp, x: xp.cos(x) * x, "own")
    head = tk.Network((*net.nodes, tk.Node("H", (net.output[-1], "z"))), (*net.output[:-1], "z"), {**net.sizes, "z": 2})
    plan, _ = grouped(head)
    arrays = check_arrays(head, tk.init.normal(head, seed=2))
    tensors = {n: torch.as_tensor(a).requires_grad_(n in head.parameters) for n, a in arrays.items()}
    found = torch.autograd.grad(tk.run(plan, tensors).square().sum(), [tensors[n] for n in head.parameters])
    monkeypatch.setattr(fusion, "LARGE", 2**40)
    monkeypatch.setattr(fusion, "KEPT", 2**40)
    whole = tk.run(_plan(head, "greedy", 8, None), tensors)
    right = torch.autograd.grad(whole.square().sum(), [tensors[n] for n in head.parameters])
    for a, b in zip(found, right, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("leftwards", [False, True])
def test_windows_never_permute_the_state(leftwards):
    net = tk.brick_wall(12, 2, 1, start="open")
    state = tk.Node("x", tuple(f"x{s}" for s in range(12)))
    whole = tk.Network((*net.nodes, state), net.output[:12], net.sizes)
    terms = [n.inds for n in whole.nodes]
    found = windows.windows(terms, whole.output, whole.sizes, leftwards)
    assert found is not None
    path, orders = found
    assert not orders
    plan = _plan(whole, lambda *_, **__: path, 8, None)
    big = [s for s in plan.steps if max(plan.slot_sizes[o] for o in s.operands) == 2**12]
    assert 2 <= len(big) <= 4  # 11 bricks in a few windows
    for step in big:
        assert isinstance(step, ContractStep)
        large = int(plan.slot_sizes[step.operands[1]] > plan.slot_sizes[step.operands[0]])
        assert step.views[large].permute is None and step.result.permute is None
    arrays = tk.init.normal(whole, seed=0)
    want = np.einsum(tk.to_einsum(whole), *[arrays[n.array] for n in whole.leaves], optimize="greedy")
    np.testing.assert_allclose(tk.run(plan, arrays), want, atol=1e-12)


@pytest.mark.slow
def test_a_periodic_wall_closes_without_copies():
    """The state's axes are turned so that the closing brick is inside a window; under every transform too."""
    net = tk.brick_wall(14, 2, 2, "tanh", periodic=False)
    closed = tk.brick_wall(14, 2, 2, "tanh", periodic=True)
    for wall_ in (net, closed):
        plan = _plan(wall_, "auto", 8, None)
        arrays = check_arrays(wall_, tk.init.normal(wall_, seed=2))
        want = plainly(wall_, arrays)
        np.testing.assert_allclose(tk.run(plan, arrays), want, atol=1e-12 * abs(want).max())
    spread = [v.beside for s in plan.steps if isinstance(s, ContractStep) for v in s.views if v.beside != (1, 1)]
    large = [k for k, s in enumerate(plan.steps) if max(plan.slot_sizes[o] for o in s.operands) == 2**14]
    assert len(spread) >= 2
    copied = [max(plan._memory.copied[k]) for k in large]
    assert sum(c == 2**14 for c in copied) <= 1  # into the first window, from where the first block left it

    fixed = {n: torch.as_tensor(a) for n, a in arrays.items()}
    names = list(closed.parameters)[-9:]
    start = tuple(fixed[n] for n in names)

    def make(*values):
        return tk.run(plan, {**fixed, **dict(zip(names, values, strict=True))}, TORCH)

    torch.testing.assert_close(torch.vmap(make)(*[torch.stack([v, v]) for v in start])[1], make(*start))
    torch.testing.assert_close(torch.compile(make, fullgraph=True, backend="aot_eager")(*start), make(*start))
    tangents = tuple(torch.randn_like(v) for v in start)
    torch.testing.assert_close(
        torch.func.jvp(make, start, tangents)[1], torch.autograd.functional.jvp(make, start, tangents)[1]
    )


def test_sweeps_are_asked_for_only_where_they_apply():
    small = [("a", "b"), ("b", "c")]
    assert windows.windows(small, ("a", "c"), dict(a=2, b=2, c=2)) is None  # no state
    sizes = {**{f"x{k}": 2 for k in range(12)}, "y": 2, "z": 64}
    state = tuple(f"x{k}" for k in range(12))
    assert windows.windows([state, ("x0", "z")], (*state[1:], "z"), sizes) is None  # the state would grow
    assert windows.windows([state, ("x0", "y"), ("x0",)], (*state[1:], "y"), sizes) is None  # a hyperedge


@pytest.mark.parametrize("seed", range(40))
def test_random_networks_with_everything_sliced(seed, small):
    net, arrays = random_network(seed, nonlinear=seed % 2 == 1)
    plan, _ = grouped(net)
    full = check_arrays(net, arrays)
    np.testing.assert_allclose(tk.run(plan, full), oracle(net, full), atol=1e-9)


def test_interval_order_is_the_best_of_its_kind():
    rng = np.random.default_rng(0)
    for _ in range(10):
        dims = rng.integers(2, 30, size=7)
        terms = [(f"i{k}", f"i{k + 1}") for k in range(6)]
        sizes = {f"i{k}": int(d) for k, d in enumerate(dims)}
        path = windows.intervals(terms, ("i0", "i6"), sizes, bytes_weight=0.0)
        best = np.zeros((7, 7))
        for length in range(2, 7):  # the textbook's matrix-chain recursion
            for a in range(7 - length):
                b = a + length
                best[a, b] = min(best[a, m] + best[m, b] + 2 * dims[a] * dims[m] * dims[b] for m in range(a + 1, b))
        net = tk.Network([tk.Node(f"A{k}", t) for k, t in enumerate(terms)], ("i0", "i6"), sizes)
        assert tk.plan(net, lambda *_, p=path, **__: p).flops == best[0, 6]


@pytest.mark.parametrize(
    "left, right, output, bare",
    [
        ("abc", "c", "ab", True), ("abc", "cd", "abd", True), ("abcd", "d", "abc", True), ("eac", "c", "ea", True),
        ("ae", "e", "a", True), ("abc", "dc", "abd", False), ("abc", "bc", "a", False), ("abc", "b", "ac", False),
        ("abc", "c", "ba", False), ("a", "a", "", False),
    ],
)  # fmt: skip
def test_torch_multiplies_a_tensor_by_a_matrix_without_views_where_it_can(left, right, output, bare):
    sizes = {"a": 3, "b": 2, "c": 4, "d": 5, "e": 1}
    net = tk.Network([tk.Node("A", left), tk.Node("B", right)], output, {i: sizes[i] for i in {*left, *right}})
    arrays, p = tk.init.normal(net, seed=0), tk.plan(net)
    want = oracle(net, arrays)
    tensors = {n: torch.as_tensor(x).requires_grad_() for n, x in arrays.items()}
    result = tk.run(p, tensors)
    assert tuple(result.shape) == want.shape
    np.testing.assert_allclose(result.detach().numpy(), want, atol=1e-12)
    if bare:
        assert "reshape" not in source(p.program, TORCH)
    seed = np.random.default_rng(1).standard_normal(want.shape)
    result.backward(torch.as_tensor(seed))
    np.testing.assert_allclose(tensors["A"].grad, np.einsum(f"{output},{right}->{left}", seed, arrays["B"]), atol=1e-12)


@pytest.mark.parametrize("name", ["binary", "ternary", "shared"])
def test_work_done_again_is_what_torch_counts(name, small):
    """Groups alone, and groups inside the segments of checkpoints, which backward enters twice."""
    net = tk.brick_wall(**{**WALLS[name], "depth": 4, "activation": "tanh"})
    arrays = check_arrays(net, tk.init.normal(net, seed=1))
    plan = _plan(net, "auto", 8, None)
    steps, output, _ = checkpointed(plan.steps, plan._memory.layout[: len(plan.inputs)], plan.output, 1.0)
    segments = replace(plan, steps=tuple(steps), output=output, last_use=last_use(steps, output))
    found = []
    for way in (plan, segments):
        tensors = {n: torch.as_tensor(a).requires_grad_(n in net.parameters) for n, a in arrays.items()}
        with FlopCounterMode(display=False) as counter:
            tk.run(way, tensors).sum().backward()
        found.append(counter.get_total_flops() - way.recomputed)
    assert segments.recomputed >= plan.recomputed >= 0 and abs(found[0] - found[1]) < 0.02 * found[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [lambda: tk.low_rank((4096, 2048), 8), lambda: tk.tucker((208, 208, 208), 4), lambda: tk.tt((96, 300, 300), 4)],
)
def test_a_product_alone_is_never_sliced(make):
    """Slices of one product are matrices times vectors: 4,096 of them took 25 times as long as the product."""
    net = make()
    plan = tk.plan(net, itemsize=4)
    assert plan.largest >= fusion.LARGE
    for step in plan.steps:
        assert not (isinstance(step, FusedStep) and step.counts and len(step.body.steps) == 1)
    arrays = tk.init.normal(net, seed=0, dtype="float32")
    tensors = {n: torch.as_tensor(a).requires_grad_() for n, a in arrays.items()}
    want = torch.einsum(tk.to_einsum(net), *(tensors[leaf.array] for leaf in net.leaves))
    made = tk.run(plan, tensors)
    torch.testing.assert_close(made, want)
    seed = torch.randn(net.shape, generator=torch.Generator().manual_seed(0))
    found, right = (torch.autograd.grad(y, [*tensors.values()], seed) for y in (made, want))
    for a, b in zip(found, right, strict=True):
        assert (a - b).norm() <= 1e-5 * b.norm()


@pytest.mark.parametrize("make", [lambda: tk.low_rank((4096, 4096), 8), lambda: tk.tucker((208, 208, 208), 4)])
def test_slices_are_never_tiny(make):
    """An index of thousands of values would be cut into as many slices."""
    for step in tk.plan(make().activate("tanh", "f"), itemsize=4).steps:
        if isinstance(step, FusedStep) and step.counts:
            assert min(s.size for s in step.body.steps) >= fusion.LEAST_SLICE
