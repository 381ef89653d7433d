"""The first call, the second and the later ones: what runs step by step, by code, and by what is kept, gives the same."""

import numpy as np
import pytest
import torch

import tnkit as tk
from tnkit.execution import stepwise as module
from tnkit.execution.codegen import execute
from tnkit.execution.numpy import NUMPY
from tnkit.execution.reach import stays, surely_stays
from tnkit.execution.stepwise import stepwise
from tnkit.planning.steps import ContractStep
from tnkit.testing import oracle, random_network
from tnkit_nn.engine.backend import TORCH


def in_library(library, arrays):
    return {n: torch.from_numpy(np.array(x)) for n, x in arrays.items()} if library == "torch" else arrays


def close(got, want):
    np.testing.assert_allclose(np.asarray(got), want, rtol=1e-9, atol=1e-9 * (1e-300 + np.abs(want).max()))


@pytest.mark.parametrize("backend", [NUMPY, TORCH], ids=str)
@pytest.mark.parametrize("seed", range(60))
def test_steps_run_as_their_code_does(seed, backend):
    net, arrays = random_network(seed)
    plan = tk.plan(net)
    full = tk.check_arrays(net, in_library(str(backend), arrays))
    given = [full[n] for n in plan.inputs]
    plan.program.runners.clear()
    first, second = (execute(plan.program, given, backend) for _ in range(2))
    close(first, oracle(net, arrays))
    np.testing.assert_array_equal(np.asarray(first), np.asarray(second))  # not a digit differs


@pytest.mark.parametrize("backend", [NUMPY, TORCH], ids=str)
@pytest.mark.parametrize(
    "net",
    [
        tk.brick_wall(14, 2, 2, "tanh"),  # windows, groups
        tk.tt((16, 24, 16), 6),  # a matrix inside a tensor
        tk.from_einsum("abcd,ea,fb,gc,hd->efgh", dict.fromkeys("abcdefgh", 8)),
        tk.from_einsum("aab,b,c,cd->d", dict(a=3, b=4, c=5, d=6)),
    ],
    ids=str,
)
def test_every_kind_of_step(net, backend):
    arrays = in_library(str(backend), tk.init.normal(net, seed=0, dtype="float64"))
    plan = tk.plan(net)
    given = [arrays[n] for n in plan.inputs]
    np.testing.assert_array_equal(
        np.asarray(stepwise(plan.program, given, backend)), np.asarray(tk.run(plan, tk.check_arrays(net, arrays)))
    )


def test_code_is_written_when_a_program_runs_again(monkeypatch):
    ran = []
    net = tk.from_einsum("ab,bc,cd->ad", dict(a=2, b=3, c=4, d=17))
    arrays = tk.init.normal(net, seed=0)
    monkeypatch.setattr(module, "_made", lambda *a, made=module._made: ran.append(1) or made(*a))
    found = [tk.contract(net, arrays) for _ in range(4)]
    assert len(ran) == 2  # the two products of the first call
    for one in found:
        close(one, found[0])


def test_what_is_kept_lets_go_of_tensors_on_the_way():
    """Step by step too, a tensor that nothing reads any more is gone: the peak is the plan's."""
    import tracemalloc

    n = 2**16
    net = tk.from_einsum("a,a,a,a,a,a->a", {"a": n})
    plan = tk.plan(net, [(0, 1), (0, 4), (0, 3), (0, 2), (0, 1)])
    assert len([s for s in plan.steps if isinstance(s, ContractStep)]) == 5
    given = [np.ones(n) for _ in plan.inputs]
    tracemalloc.start()
    stepwise(plan.program, given, NUMPY)
    assert tracemalloc.get_traced_memory()[1] < 2.5 * 8 * n
    tracemalloc.stop()


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_a_cached_contract_sees_what_has_changed(library):
    """One network, again and again, with other arrays: each is looked at."""
    net = tk.from_einsum("ab,bc,cd->ad", dict(a=2, b=3, c=4, d=5))
    arrays = tk.init.normal(net, seed=0)
    want = oracle(net, arrays)
    given = in_library(library, arrays)
    for _ in range(3):
        close(tk.contract(net, given), want)
    close(tk.contract(net, {n: 2 * x for n, x in given.items()}), 8 * want)
    close(tk.contract(net, dict(reversed(given.items()))), want)  # another order
    close(tk.contract(net, {n: x.tolist() for n, x in given.items()}), want)
    close(tk.contract(net, tk.init.normal(net, seed=0)), want)
    huge = {n: x * 1e200 for n, x in given.items()}
    with pytest.warns(RuntimeWarning, match="above the range of float64"):
        assert np.isinf(np.asarray(tk.contract(net, huge))).any()
    lost = {**huge, "A": given["A"] * 1e-300}
    close(tk.contract(net, lost), want * 1e-300 * 1e200 * 1e200)
    for wrong, error, message in [
        ({**given, "B": given["A"]}, ValueError, "node 'B': index 'b' has size 3"),
        ({**given, "B": given["B"][None]}, ValueError, "has 3 axes"),
        ({n: x for n, x in given.items() if n != "B"}, KeyError, "no array 'B'"),
        ({**given, "Z": given["A"]}, ValueError, "'Z' belongs to no node"),
        ({**given, "B": "text"}, TypeError, "array 'B'"),
        ({**given, "B": None}, TypeError, "array 'B' is a NoneType"),
    ]:
        with pytest.raises(error, match=message):
            tk.contract(net, wrong)
    nan = {**given, "B": given["B"] * float("nan")}
    assert np.isnan(np.asarray(tk.contract(net, nan))).all()


def test_a_cached_contract_sees_another_library_dtype_and_kind():
    net = tk.from_einsum("ab,bc->ac", dict(a=2, b=3, c=4))
    arrays = tk.init.normal(net, seed=0)
    tensors = in_library("torch", arrays)
    for _ in range(2):
        tk.contract(net, arrays), tk.contract(net, tensors)
    with pytest.raises(TypeError, match="arrays of one call are of one library"):
        tk.contract(net, {"A": arrays["A"], "B": tensors["B"]})
    with pytest.raises(ValueError, match="does not mix dtypes"):
        tk.contract(net, {"A": tensors["A"], "B": tensors["B"].float()})
    with pytest.raises(TypeError, match="'B' is sparse"):
        tk.contract(net, {"A": tensors["A"], "B": tensors["B"].to_sparse()})
    with pytest.raises(ValueError, match="on one device"):
        tk.contract(net, {"A": tensors["A"], "B": tensors["B"].to("meta")})
    with pytest.raises(TypeError, match="array 'B' has dtype object"):
        tk.contract(net, {"A": arrays["A"], "B": arrays["B"].astype(object)})
    mixed = tk.contract(net, {"A": arrays["A"].astype("float32"), "B": arrays["B"]})
    assert mixed.dtype == np.float64
    parameter = tk.contract(net, {"A": tensors["A"], "B": torch.nn.Parameter(tensors["B"])})
    assert parameter.requires_grad


def test_a_cached_contract_of_tied_nodes_and_of_functions():
    net = tk.Network([tk.Node("A", "ij"), tk.Node("B", "jk", array="A")], "ik", dict.fromkeys("ijk", 3))
    a = np.random.default_rng(0).standard_normal((3, 3))
    for _ in range(3):
        close(tk.contract(net, {"A": a}), a @ a)
    act = net.activate("tanh", "f")
    for _ in range(3):
        close(tk.contract(act, {"A": a}), np.tanh(a @ a))
    ramp = net.activate("relu", "f")
    tk.contract(ramp, {"A": a})
    with pytest.raises(ValueError, match="relu takes real numbers"):
        tk.contract(ramp, {"A": a + 1j})


def test_a_decomposition_and_another_optimizer():
    x = np.random.default_rng(0).standard_normal((3, 4, 5))
    made = tk.tt_svd(x, rank=5)
    for optimizer in ("auto", "greedy", [(0, 1), (0, 1)], lambda *_: [(1, 2), (0, 1)]):
        for _ in range(2):
            close(tk.contract(made, optimizer=optimizer), x)
    with pytest.raises(ValueError, match="unknown optimizer 'best'"):
        tk.contract(made, optimizer="best")
    with pytest.raises(TypeError, match="optimizer"):
        tk.contract(made, optimizer=3)


@pytest.mark.parametrize("seed", range(40))
def test_norms_say_no_more_than_sizes(seed):
    """What the norms alone allow, the closer look allows too; both are the truth about single precision."""
    rng = np.random.default_rng(seed)
    net, arrays = random_network(seed, nonlinear=False)
    plan = tk.plan(net)
    full = tk.check_arrays(net, arrays)
    given = [np.asarray(full[n], "float64") * 10.0 ** rng.uniform(-12, 12) for n in plan.inputs]
    norms = NUMPY.norms(given)
    sizes = [
        (0.0, np.log2(max(n, 1e-300)) - 0.5 * np.log2(x.size), np.log2(max(n, 1e-300)))
        for n, x in zip(norms, given, strict=True)
    ]
    if surely_stays(plan, norms, -103.0, 127.0):
        assert stays(plan.program, sizes, -103.0, 127.0)
        exact = execute(plan.program, given, NUMPY)
        single = execute(plan.program, [x.astype("float32") for x in given], NUMPY)
        np.testing.assert_allclose(single, exact, rtol=1e-3, atol=1e-4 * np.abs(exact).max())
    assert not surely_stays(plan, [float("nan")] * len(given), -103.0, 127.0)
    assert not surely_stays(plan, [0.0] * len(given), -103.0, 127.0)
    assert not surely_stays(plan, [float("inf")] * len(given), -103.0, 127.0)


def test_numpys_norms_warn_of_nothing():
    with np.errstate(all="raise"):
        assert NUMPY.norms([np.full(3, 1e300), np.full((2, 2), 1e-300), np.full(2, 1j)]) == [np.inf, 0.0, np.sqrt(2)]
        assert np.isnan(NUMPY.norms([np.array([np.nan, 1.0])])[0])
        assert NUMPY.norms([np.asarray(3.0), np.ones((2, 3)).T, np.array([60000], "float16")])[:2] == [3.0, np.sqrt(6)]
