"""What functions take beside their arguments and result, as plans count it, against what the libraries allocate and keep."""

import tracemalloc

import numpy as np
import pytest
import torch

import tnkit as tk
from tnkit.core.activations import ACTIVATIONS, UNARY
from tnkit.execution.elementwise import BLOCK, blockwise, in_blocks
from tnkit.planning.buffers import chain_memory
from tnkit.planning.temporaries import BOUND, temporaries
from tnkit_nn import TORCH
from tnkit_nn.engine.activations import FROM_ARGUMENT, IN_PLACE, OVER, VALUES, value

N = 2**21


def network(fn, operands=1):
    """A function of matrices of 2^20 entries, none of them an input."""
    bodies = [
        tk.low_rank((1024, 1024), 2).relabel(nodes=lambda n, k=k: f"{n}_{k}", arrays=lambda n, k=k: f"{n}_{k}", inds=lambda i, k=k: i if i in ("i0", "i1") else f"{i}_{k}")
        for k in range(operands)
    ]  # fmt: skip
    return tk.Network([tk.Elementwise("f", fn, bodies)], ("i0", "i1"))


@pytest.mark.parametrize("fn", ACTIVATIONS)
def test_numpy_allocates_the_result_alone(fn):
    given = [np.ones(N, np.float32) for _ in range(1 if fn in UNARY else 3)]
    for x in given:
        x[::3] = -0.5
    if fn == "identity":
        assert fn not in in_blocks
        return
    in_blocks[fn](*given)
    tracemalloc.start()
    made = in_blocks[fn](*given)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert made.nbytes <= peak < made.nbytes + 8 * 4 * BLOCK
    assert np.array_equal(made, ACTIVATIONS[fn](np, *given))


@pytest.mark.parametrize(
    "shape, axes", [((64, 96, 32), (0, 1, 2)), ((64, 96, 32), (2, 0, 1)), ((BLOCK * 3 + 5,), (0,))]
)
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128", "int64"])
def test_blocks_of_any_layout_and_dtype(shape, axes, dtype):
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype).transpose(axes)
    for fn in ("square", "multiply") if dtype in ("complex128", "int64") else ACTIVATIONS:
        given = (x,) if fn in UNARY else (x, np.ascontiguousarray(x))
        want = np.asarray(ACTIVATIONS[fn](np, *given))
        made = blockwise(ACTIVATIONS[fn], *given)
        assert made.dtype == want.dtype and made.shape == want.shape
        np.testing.assert_allclose(made, want, rtol=1e-6 if dtype == "float32" else 1e-14)
    odd = x[..., ::2] if x.ndim > 1 else x[::2]  # no dense memory
    np.testing.assert_array_equal(blockwise(ACTIVATIONS["square"], odd), odd * odd)


@pytest.mark.parametrize("fn", [*UNARY, "add", "multiply"])
def test_what_torch_keeps_for_backward(fn):
    """The storages that autograd saves, arguments and result among them as the table says."""
    given = [(torch.rand(N, dtype=torch.float32) - 0.3).requires_grad_() * 1.0 for _ in range(1 if fn in UNARY else 2)]
    held = {}

    def pack(t):
        held[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        made = value(fn, *given)
    counted = temporaries(fn, len(given))
    assert any(x.untyped_storage().data_ptr() in held for x in given) == counted.arguments
    assert (made.untyped_storage().data_ptr() in held) == (counted.result or (fn == "identity" and counted.arguments))
    mine = {x.untyped_storage().data_ptr() for x in (*given, made)}
    extra = sum(n for where, n in held.items() if where not in mine and n > 100)
    assert extra == counted.kept * made.untyped_storage().nbytes()


def test_every_activation_has_figures():
    for fn in ACTIVATIONS:
        assert temporaries(fn, 1 if fn in UNARY else 2) != BOUND, f"{fn} is not in tnkit/planning/temporaries.py"
    assert temporaries(lambda xp, x: x, 1) == BOUND


@pytest.mark.parametrize("fn", UNARY)
def test_the_engine_writes_over_what_the_plan_says(fn):
    counted = temporaries(fn, 1)
    assert (fn in OVER) == counted.over and (fn in IN_PLACE) == counted.in_place
    assert fn in IN_PLACE or fn in FROM_ARGUMENT or fn == "identity", (
        f"{fn} has no gradient in tnkit_nn/engine/activations.py"
    )


@pytest.mark.parametrize("fn", VALUES)
def test_torchs_own_functions_are_the_formulas(fn):
    x = torch.cat([torch.linspace(-60, 60, 2001, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)])
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    got, want = VALUES[fn](a), ACTIVATIONS[fn](torch, b)
    torch.testing.assert_close(got, want, rtol=1e-13, atol=1e-15)
    got.sum().backward()
    want.sum().backward()
    torch.testing.assert_close(a.grad[:-1], b.grad[:-1], rtol=1e-11, atol=1e-14)
    small = torch.linspace(-2, 2, 8, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradgradcheck(VALUES[fn], small)


@pytest.mark.parametrize("fn", [*IN_PLACE, *FROM_ARGUMENT])
@pytest.mark.parametrize("out", [False, True])
def test_gradients_written_over_the_gradient(fn, out):
    x = torch.linspace(-3, 3, 50, dtype=torch.float64)
    leaf, grad = x.clone().requires_grad_(), torch.linspace(1, 2, 50, dtype=torch.float64)
    (want,) = torch.autograd.grad(ACTIVATIONS[fn](torch, leaf), leaf, grad)
    kept = IN_PLACE[fn][0](x.clone()) if fn in IN_PLACE else x
    slope = IN_PLACE[fn][1] if fn in IN_PLACE else FROM_ARGUMENT[fn]
    torch.testing.assert_close(slope(grad, kept, grad if out else None), want)


def test_peaks_count_what_a_function_of_the_user_may_take():
    def own(xp, x):
        return 0.5 * x * (1.0 + xp.tanh(x))

    plan = tk.plan(network(own))
    plain = tk.plan(network("tanh"))
    size = 2**20 * plan.itemsize
    assert plan.peak - plain.peak == BOUND.forward * size
    arrays = {n: np.ones(s) for n, s in plan.network.array_shapes.items()}
    for way in (plan, plain):
        tk.run(way, arrays)
        tracemalloc.start()
        tk.run(way, arrays)
        used = tracemalloc.get_traced_memory()[1] + sum(a.nbytes for a in arrays.values())
        tracemalloc.stop()
        assert used <= 1.1 * way.peak


@pytest.mark.parametrize("fn", ["tanh", "gelu", "leaky_relu"])
def test_rows_of_a_chain_are_those_that_the_engine_takes(fn, monkeypatch):
    """Counted without memory, and by the engine: the entries of its allocation, and of what did not fit in it."""
    from tnkit_nn.engine import chain

    made = []

    class Counted(chain._Buffers):
        def __init__(self, entries, like):
            super().__init__(entries, like)
            self.asked, self.new = entries, 0
            made.append(self)

        def take(self, entries, like):
            before, free = self.at, len(self.free)
            row = super().take(entries, like)
            if self.at == before and len(self.free) == free:
                self.new += entries
            return row

    monkeypatch.setattr(chain, "_Buffers", Counted)
    chain._SPARE.clear()
    plan = tk.plan(tk.brick_wall(19, 2, 3, fn))
    (group,) = [s for s in plan.steps if getattr(s, "kept", False)][:1]
    from tnkit.planning.memory import slice_memory

    memory = slice_memory(group, plan._memory.layout)
    counted = chain_memory(group.body.steps, memory.copied, memory.inputs)
    arrays = {n: torch.as_tensor(a) for n, a in tk.init.normal(plan.network).items()}
    with torch.no_grad():
        tk.run(plan, arrays, TORCH)
    assert made[0].asked == counted.spare and made[0].at + made[0].new <= counted.alone
    made.clear()
    tk.run(plan, {n: t.requires_grad_() for n, t in arrays.items()}, TORCH)
    assert made[0].at + made[0].new <= counted.held
