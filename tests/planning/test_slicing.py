"""Slices and checkpoints: the same tensor and gradients, within the memory that was promised."""

import json
import os
import subprocess
import sys
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import torch

import tnkit as tk
from tnkit.execution.inputs import check_arrays
from tnkit.planning.steps import FusedStep
from tnkit.testing import oracle, random_network
from tnkit_nn import TORCH


def regular(n=24, bond=3, **kw):
    return tk.from_graph(nx.random_regular_graph(3, n, seed=1), bond=bond, **kw)


def gradients(plan, arrays):
    tensors = {n: torch.as_tensor(a) for n, a in arrays.items()}
    wanted = [t.requires_grad_() for t in tensors.values() if not t.is_complex()]
    y = tk.run(plan, tensors)
    return y, torch.autograd.grad(y.abs().sum(), wanted, allow_unused=True) if y.requires_grad else ()


def same(found, wanted):
    for a, b in zip(found, wanted, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(80))
def test_slices_of_random_networks(seed):
    net, arrays = random_network(seed, nonlinear=seed % 2 == 1)
    full = check_arrays(net, arrays)
    want = oracle(net, full)
    for slices in (2, 6):
        try:
            plan = tk.plan(net, slices=slices)
        except ValueError as error:
            assert "slices cannot be planned" in str(error)
            continue
        assert np.prod(plan.sliced.counts) >= slices
        np.testing.assert_allclose(tk.run(plan, full), want, atol=1e-9)
        value, found = gradients(plan, full)
        np.testing.assert_allclose(value.detach().numpy(), want, atol=1e-9)
        same(found, gradients(tk.plan(net), full)[1])


@pytest.mark.parametrize("seed", range(0, 80, 2))
def test_checkpoints_of_random_networks(seed):
    net, arrays = random_network(seed + 1, nonlinear=seed % 4 == 0)
    full = check_arrays(net, arrays)
    plan, plain = tk.plan(net, checkpoint=True), tk.plan(net)
    assert plan.peak_backward <= plain.peak_backward
    np.testing.assert_allclose(tk.run(plan, full), oracle(net, full), atol=1e-9)
    same(gradients(plan, full)[1], gradients(plain, full)[1])


def test_many_slices_are_summed_to_the_whole():
    net = regular(open={0: 3, 5: 2})
    plain = tk.plan(net, "greedy")
    arrays = tk.init.normal(net, seed=0)
    want = tk.run(plain, arrays)
    for share in (0.5, 0.2):
        limit = share * plain.peak
        plan = tk.plan(net, "greedy", memory_limit=limit)
        assert plan.peak <= limit < plain.peak and plan.sliced is not None
        np.testing.assert_allclose(tk.run(plan, arrays), want, rtol=1e-10)
        text = str(plan)
        factor = plan.flops / sum(s.flops for s in plan.sliced.whole.steps)
        assert (
            f"{np.prod(plan.sliced.counts)} slices" in text and f"{factor:.3g}x the FLOPs of the contraction at" in text
        )
    assert tk.plan(net, "greedy", memory_limit=plain.peak) == plain


def test_a_chain_is_sliced_for_nothing():
    """A bond through which everything passes: every slice does its share of the work and no more."""
    net = tk.Network(
        [tk.Node("A", "iab"), tk.Node("B", "jab"), tk.Node("C", "kb")], "ijk", dict(i=30, j=30, k=2, a=40, b=50)
    )
    plain = tk.plan(net)
    plan = tk.plan(net, slices=50)
    assert plan.flops <= 1.01 * plain.flops


def test_nonlinear_networks_are_sliced_through_their_functions():
    wall = tk.brick_wall(8, 2, 2, "tanh")
    head = tk.Node("W", (*wall.output, "out"))
    net = wall.join(tk.Network([head], head.inds, {**dict.fromkeys(wall.output, 2), "out": 3}), ["out"], on=wall.output)
    arrays = check_arrays(net, tk.init.normal(net, seed=0))
    plan = tk.plan(net, slices=4)
    assert set(wall.output) & {i for i in plan.sliced.equation.split()}
    np.testing.assert_allclose(tk.run(plan, arrays), tk.run(tk.plan(net), arrays), atol=1e-12)


def test_limits_that_cannot_be_kept():
    net = regular(12)
    with pytest.raises(ValueError, match=r"memory_limit=1kB cannot be planned; inputs and result alone take 2\.6kB"):
        tk.plan(net, memory_limit=1000)
    with pytest.raises(ValueError, match="1000000 slices cannot be planned"):
        tk.plan(tk.tt((2, 2, 2), 2), slices=1_000_000)
    with pytest.raises(ValueError, match="checkpoint: forward and backward take"):
        tk.plan(net, checkpoint=10.0)
    batch = tk.Network([tk.Node("x", "bi", fixed=True), tk.Node("W", "oi")], "bo", dict(b=4, i=3, o=2))
    with pytest.raises(ValueError, match="dynamic index 'b': what has no size cannot be bounded"):
        tk.plan(batch, dynamic="b", memory_limit=1e6)


@pytest.mark.slow
def test_checkpoints_trade_memory_for_work():
    net = tk.brick_wall(14, 2, 5, "tanh")
    plain = tk.plan(net)
    less = tk.plan(net, checkpoint=0.7 * plain.peak_backward)
    least = tk.plan(net, checkpoint=True)
    assert least.peak_backward <= less.peak_backward <= 0.7 * plain.peak_backward
    assert plain.recomputed == 0 < less.recomputed <= plain.flops
    assert any(isinstance(s, FusedStep) and not s.counts for s in less.steps)
    assert "checkpoint" in str(less) and "FLOPs again" in str(less)
    arrays = check_arrays(net, tk.init.normal(net, seed=0))
    for plan in (less, least):
        same(gradients(plan, arrays)[1], gradients(plain, arrays)[1])


@pytest.mark.slow
def test_slices_and_checkpoints_under_transforms():
    net = tk.brick_wall(8, 2, 3, "tanh")
    arrays = check_arrays(net, tk.init.normal(net, seed=2))
    names = list(net.parameters)[-2:]
    fixed = {n: torch.as_tensor(a) for n, a in arrays.items()}
    start = tuple(fixed[n].clone().requires_grad_() for n in names)
    for plan in (tk.plan(net, slices=4), tk.plan(net, checkpoint=True)):

        def make(*values, plan=plan):
            return tk.run(plan, {**fixed, **dict(zip(names, values, strict=True))}, TORCH)

        want = make(*start)
        assert torch.autograd.gradcheck(lambda *v: make(*v).sum(), start)
        assert torch.autograd.gradgradcheck(lambda *v: make(*v).square().sum(), start)
        many = torch.vmap(make)(*[torch.stack([v, 2 * v]) for v in start])
        torch.testing.assert_close(many[0], want)
        compiled = torch.compile(make, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(*start), want)


#: Freed memory goes back to the system at once; how much glibc keeps is its own choice.
RETURNED = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
MEASURED = """
import sys, resource, numpy as np, networkx as nx, tnkit as tk
def resident(key):
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith(key))
net = tk.from_graph(nx.random_regular_graph(3, 40, seed=3), bond=8)
share = float(sys.argv[1])
plan = tk.plan(net, "random-greedy")
plain = plan.peak
if share < 1:
    plan = tk.plan(net, "random-greedy", memory_limit=share * plain)
small = tk.plan(tk.tt((4, 4, 4), 4))
tk.run(small, {n: np.ones(s) for n, s in small.network.array_shapes.items()})
np.ones((500, 500)) @ np.ones((500, 500))
arrays = {n: np.random.default_rng(0).standard_normal(s) for n, s in net.array_shapes.items()}
before = resident("VmRSS")
with open("/proc/self/clear_refs", "w") as f:
    f.write("5")
tk.run(plan, arrays)
print(resident("VmHWM") - before + sum(a.nbytes for a in arrays.values()), plan.peak, plain)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_measured_memory_keeps_the_limit():
    def measure(share):
        command = [sys.executable, "-c", MEASURED, str(share)]
        out = subprocess.run(command, capture_output=True, text=True, check=True, env=RETURNED)
        return tuple(map(float, out.stdout.split()))

    used, predicted, plain = measure(1)
    assert plain > 30e6 and 0.75 * predicted < used < 1.25 * predicted
    for share in (0.5, 0.1):
        used, predicted, plain = measure(share)
        assert predicted <= share * plain
        assert used <= share * plain + 4e6  # what the libraries take for themselves


#: Imports once, then forks a child for each line of arguments: torch's imports take longer than what is measured.
SERVER = """
import json, os, sys, torch._dynamo
sys.path.insert(0, sys.argv[1])
import memory
for line in sys.stdin:
    child = os.fork()
    if not child:
        try:
            memory.measure(*json.loads(line))
            sys.stdout.flush()
            os._exit(0)
        finally:
            os._exit(1)
    if os.waitpid(child, 0)[1]:
        print("null", flush=True)
"""


@pytest.fixture(scope="module")
def measured():
    """(case, share, way) -> what the benchmark measures of it in a process of its own."""
    command = [sys.executable, "-c", SERVER, str(Path(__file__).parents[2] / "benchmarks")]
    environment = {**RETURNED, "OMP_NUM_THREADS": "1"}  # threads do not survive a fork
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def ask(*case):
        server.stdin.write(json.dumps(case) + "\n")
        server.stdin.flush()
        found = json.loads(server.stdout.readline())
        assert found is not None, f"{case} ended with an error"
        return found

    with server:  # closes both pipes, upon which it ends
        yield ask
    assert server.returncode == 0


def measured_afresh(*case):
    """The same in a new process: where little is measured, pages of libraries that a fork has to map again would show."""
    script = Path(__file__).parents[2] / "benchmarks" / "memory.py"
    command = [sys.executable, str(script), "--one", *map(str, case)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, env=RETURNED).stdout)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_measured_memory_and_work_of_checkpoints(measured):
    """By the benchmark's own measure: peaks and operations done twice within a quarter of what the plan says."""
    found = []
    for share in (1, 0.8):
        found.append(measured("brick wall, 22 sites, 4 blocks, tanh", share, "backward"))
        assert 0.85 < found[-1]["measured"] / found[-1]["predicted"] < 1.15
    plain, less = found
    assert less["measured"] < 0.8 * plain["measured"]
    assert 0.75 < (less["counted"] - plain["counted"]) / (less["recomputed"] - plain["recomputed"]) < 1.25


@pytest.mark.parametrize(
    "plan",
    [
        lambda: tk.plan(tk.brick_wall(8, 2, 3, "tanh"), slices=4),
        lambda: tk.plan(tk.brick_wall(8, 2, 3, "tanh"), checkpoint=True),
        lambda: tk.plan(tk.tt((3, 4, 5), 2), slices=3),
    ],
)
def test_gradients_whose_level_is_left_when_they_are_asked_for(plan):
    """``torch.func.vjp`` gives a function that is called later; ``jacrev`` and ``hessian`` call it inside of other levels."""
    plan = plan()
    params = {n: torch.as_tensor(a) for n, a in tk.init.normal(plan.network, seed=0).items()}

    def make(values, plan=plan):
        return tk.run(plan, values)

    made, pull = torch.func.vjp(make, params)
    grad = torch.randn(made.shape, dtype=made.dtype, generator=torch.Generator().manual_seed(0))
    start = {n: p.clone().requires_grad_() for n, p in params.items()}
    want = torch.autograd.grad(make(start), list(start.values()), grad)
    torch.testing.assert_close(list(pull(grad)[0].values()), list(want))
    torch.testing.assert_close(torch.func.jacrev(make)(params), torch.func.jacfwd(make)(params))
    one = dict(list(params.items())[:1])

    def loss(some, plan=plan):
        return tk.run(plan, {**params, **some}).square().sum()

    whole = tk.plan(plan.network)
    torch.testing.assert_close(torch.func.hessian(loss)(one), torch.func.hessian(lambda p: loss(p, whole))(one))


@pytest.mark.parametrize("output", ["ji", "i", ""])
def test_slices_that_need_no_step(output):
    """A slice of one node is an operand's, as it is or summed."""
    net = tk.Network([tk.Node("A", "ij")], output, {"i": 3, "j": 4})
    a = torch.randn(3, 4, dtype=torch.float64, requires_grad=True, generator=torch.Generator().manual_seed(0))
    want = torch.einsum(f"ij->{output}", a)
    grad = torch.randn(want.shape, dtype=want.dtype, generator=torch.Generator().manual_seed(1))
    (expected,) = torch.autograd.grad(want, a, grad, retain_graph=True)
    for options in ({"slices": 3}, {"slices": 3, "checkpoint": True}):
        plan = tk.plan(net, **options)
        assert "slices" in str(plan) and plan.recomputed >= 0
        made = tk.run(plan, {"A": a})
        torch.testing.assert_close(made, want)
        torch.testing.assert_close(torch.autograd.grad(made, a, grad)[0], expected)


def test_slices_beside_a_function_that_is_called_like_one_of_them():
    net = tk.tt((4, 4, 4), 3).activate("relu", "1").activate("tanh", "#0")
    arrays = tk.init.normal(net, seed=0)
    np.testing.assert_allclose(tk.run(tk.plan(net, slices=2), arrays), oracle(net, arrays), atol=1e-12)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("way", ["numpy", "torch", "backward"])
@pytest.mark.parametrize("fn", [*tk.core.activations.UNARY, "own"])
def test_measured_memory_of_every_activation(fn, way, measured):
    """A function alone on a product: numpy's blocks, torch's own functions, and the bound for a function that nobody knows."""
    found = measured(f"low rank, 2600 x 2000, {fn}", 1, way)
    ratio = found["measured"] / found["predicted"]
    assert (0.7 if fn in ("own", "identity") else 0.9) < ratio < 1.1


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("way", ["torch", "backward"])
@pytest.mark.parametrize(
    "case",
    ["brick wall, 22 sites, 3 blocks, gelu", "brick wall, 22 sites, 3 blocks, own", "brick wall, 24 sites, 3 blocks, relu",
     "3-regular graph, 20 nodes, bond 9, seed 35", "matrix product operator, 16^3 x 12^3"],
)  # fmt: skip
def test_measured_memory_of_chains_slices_and_graphs(case, way, measured):
    found = (measured_afresh if case.startswith("matrix product operator") else measured)(case, 1, way)
    assert 0.75 < found["measured"] / found["predicted"] < 1.2
