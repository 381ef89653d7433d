"""torch as an array library that runs plans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from tnkit.execution.backend import Backend
from tnkit.execution.codegen import execute, prepare
from tnkit.execution.library import register
from tnkit.planning.plan import Plan
from tnkit.planning.steps import FusedStep, Program
from tnkit_nn.engine import chain, cuda, sliced, sliced_chain
from tnkit_nn.engine.activations import VALUES
from tnkit_nn.engine.devices import dtype_there, has_doubles
from tnkit_nn.engine.shared_matmul import broadcast_matmul
from tnkit_nn.engine.svd_grad import left

__all__ = ["TORCH", "autocasts", "capturing", "from_numpy", "native", "ready", "to_tensor"]


def autocasts(device: torch.device) -> bool:
    """Whether autocast is on for a device; torch has no answer for meta, where nothing is computed."""
    return torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)


def capturing() -> bool:
    """Whether a CUDA graph is being captured: values are there when it is replayed, and reading one would end it."""
    return torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing()


def _like(a: np.ndarray, x: Tensor) -> Tensor:
    return torch.as_tensor(a, dtype=x.dtype, device=x.device)


def _run(program: Program, operands: Sequence[Tensor]) -> Tensor:
    made: Tensor = execute(program, operands, TORCH)
    return made


class _FusedFunction(torch.autograd.Function):
    """A group's slices, one after another; backward keeps the operands alone and runs every slice again.

    What forward leaves to backward of a group that is kept is in ``held``: no output, for every transform would see it.
    Without one, forward keeps nothing.
    """

    @staticmethod
    def forward(step: FusedStep, held: chain.ChainTape | cuda.DeviceTape | None, *operands: Tensor) -> Tensor:
        if _runs_on_device(step, operands[0]):
            assert not isinstance(held, chain.ChainTape)
            return cuda.forward(step, operands, held, TORCH)
        if step.kept:
            assert not isinstance(held, cuda.DeviceTape)
            return chain.forward(step, operands, held)
        if step.chain:
            return sliced_chain.forward(step, operands)
        return sliced.forward(step, operands, _run)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.step, ctx.held = inputs[:2]
        ctx.save_for_backward(*inputs[2:])
        ctx.save_for_forward(*inputs[2:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        step, operands, wanted = ctx.step, ctx.saved_tensors, ctx.needs_input_grad[2:]
        # a gradient of this gradient may be asked for, or there is a batch, whose memory cannot be written to
        if torch.is_grad_enabled() or not all(map(_own, (grad, *operands))):
            found = iter(_pulled(step, operands, wanted, grad))
            return None, None, *(next(found) if w else None for w in wanted)
        if _runs_on_device(step, grad):
            return None, None, *cuda.backward(step, operands, wanted, grad, ctx.held, TORCH)
        if step.kept:
            return None, None, *chain.backward(step, operands, wanted, grad, ctx.held)
        if step.chain:
            return None, None, *sliced_chain.backward(step, operands, wanted, grad)
        return None, None, *sliced.backward(step, operands, wanted, grad, _run)

    @staticmethod
    def jvp(ctx: Any, _: None, __: None, *tangents: Tensor | None) -> Tensor:
        operands = ctx.saved_tensors
        given = tuple(torch.zeros_like(x) if t is None else t for x, t in zip(operands, tangents, strict=True))
        return torch.func.jvp(lambda *x: execute(ctx.step.whole, x, TORCH), tuple(operands), given)[1]

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], step: FusedStep, _: Any, *operands: Tensor
    ) -> tuple[Tensor, int]:
        whole = torch.vmap(lambda *x: execute(step.whole, x, TORCH), in_dims[2:], randomness=info.randomness)
        return whole(*operands), 0


def _pulled(step: FusedStep, operands: Sequence[Tensor], wanted: Sequence[bool], grad: Tensor) -> Sequence[Tensor]:
    """The gradients wanted, the whole contraction done again; by ``torch.func``, whose levels may be left by now."""

    def whole(*some: Tensor) -> Tensor:
        given = iter(some)
        return execute(step.whole, [next(given) if w else x for x, w in zip(operands, wanted, strict=True)], TORCH)

    pull = torch.func.vjp(whole, *(x for x, w in zip(operands, wanted, strict=True) if w))[1]
    return cast(Sequence[Tensor], pull(grad))


def _run_fused_step(step: FusedStep, operands: list[Tensor]) -> Tensor:
    if torch.compiler.is_compiling() or autocasts(operands[0].device):
        return execute(step.whole, operands, TORCH)
    back = torch.is_grad_enabled() and any(x.requires_grad for x in operands)
    held = cuda.DeviceTape if _runs_on_device(step, operands[0]) else chain.ChainTape
    return _FusedFunction.apply(step, held() if back else None, *operands)


def _runs_on_device(step: FusedStep, x: Tensor) -> bool:
    """Whether a device runs it at once: a chain, sliced only for a CPU's cache."""
    return (step.kept or step.chain) and cuda.on_device(x)


def _own(x: Tensor) -> bool:
    """Whether its memory can be written to: a batch under ``vmap`` has none."""
    try:
        return x.data_ptr() >= 0
    except RuntimeError:
        return False


def _numpy(x: Tensor) -> np.ndarray:
    x = x.detach().cpu().resolve_conj().resolve_neg()
    return (x.float() if x.dtype == torch.bfloat16 else x).numpy()  # numpy has no such dtype


def _unseen(arrays: Sequence[Tensor]) -> bool:
    """Whether values cannot be read: a graph is being traced, or one is a batch under ``vmap``, or has none (device meta)."""
    if torch.compiler.is_compiling() or capturing():
        return True
    try:
        for x in arrays:
            if not _in_memory(x):  # to read one entry is to wait for the device
                x.detach()[(0,) * x.ndim].item()
    except RuntimeError:
        return True
    return False


def _in_memory(x: Tensor) -> bool:
    """Whether this is a plain tensor with values, which nothing traces: that is known without a look at them."""
    plain = type(x) in (Tensor, torch.nn.Parameter) and not x.is_meta and torch._C._len_torch_dispatch_stack() == 0
    return plain and _own(x)


def _refused(x: Tensor) -> str:
    if x.dtype == torch.bool:
        return "has dtype torch.bool, which torch does not multiply, and a contraction keeps the dtype"
    return _layout(x)


def _layout(x: Tensor) -> str:
    return "" if x.layout == torch.strided else f"is {x.layout}, no plain tensor".replace("torch.", "")


def _unread(x: Tensor) -> str:
    return "is on the meta device, where there are no values" if x.is_meta else _layout(x)


def _frobenius_norm(x: Tensor, axis: int | None = None) -> Tensor:
    return torch.linalg.norm(x.reshape(-1)) if axis is None else torch.linalg.norm(x, None, axis)


def _norms(arrays: Sequence[Tensor]) -> list[float]:
    with torch.no_grad():  # one transfer from a device for all
        found = torch.stack([torch.linalg.vector_norm(x) for x in arrays])
        try:
            return list(found.tolist())
        except RuntimeError:  # torch before 2.10 under torch.func
            return [float(x) for x in found]


TORCH = Backend(
    name="torch",
    xp=torch,
    holds=lambda x: isinstance(x, Tensor),
    permute=torch.permute,
    swap=lambda x: x.mT,
    concat=lambda arrays, axis: torch.concatenate(tuple(arrays), axis),
    flip=lambda x, axis: torch.flip(x, (axis,)),
    take=lambda x, places, axis: torch.index_select(x, axis, torch.as_tensor(places, device=x.device)),
    total=lambda x, axes: torch.sum(x, axes, dtype=x.dtype),
    diagonal=lambda x, i, j: torch.diagonal(x, 0, i, j),
    norm=_frobenius_norm,
    norms=_norms,
    eye=lambda n, x: torch.eye(n, dtype=x.dtype, device=x.device),
    like=_like,
    zeros=lambda shape, x: torch.zeros(shape, dtype=x.dtype, device=x.device),
    broadcast=broadcast_matmul,
    fused=_run_fused_step,
    own=VALUES,
    methods={
        "permute": "{x}.permute({axes})",
        "swap": "{x}.mT",
        "reshape": "{x}.reshape({axes})",
        "diagonal": "{x}.diagonal(0, {axes})",
    },
    home="tnkit_nn.engine.backend:TORCH",
    folds=True,
    left=left,
    cast=lambda x, dtype: x.to(dtype_there(getattr(torch, dtype), x.device)),
    numpy=_numpy,
    tracked=lambda x: x.requires_grad and torch.is_grad_enabled(),
    constant=lambda x: x.detach(),
    unseen=_unseen,
    refused=_refused,
    unread=_unread,
    device=lambda x: x.device,
)
"""The :class:`tnkit.Backend` for tensors of torch; tnkit finds it by itself when a tensor arrives.

>>> net = tk.from_einsum("ij,jk->ik", dict(i=2, j=2, k=2))
>>> a = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
>>> tk.contract(net, {"A": a, "B": torch.eye(2)}, backend=tknn.TORCH).sum().backward()
>>> a.grad
tensor([[1., 1.],
        [1., 1.]])
>>> tknn.TORCH
torch
"""
register(TORCH, Tensor, torch.nn.Parameter)


def ready(plan: Plan) -> Plan:
    """The plan with its code made for torch, and with all read that torch.compile cannot read: the lock of a cached property (Python 3.11)."""
    prepare(plan.program, TORCH)
    _ = plan.shapes, plan.entries
    return plan


def native(array: object) -> np.ndarray:
    """What torch takes: this machine's byte order, strides that are not negative."""
    found = np.asarray(array)
    return np.asarray(found, found.dtype.newbyteorder("="), order="C")


def to_tensor(array: object, dtype: torch.dtype | None = None) -> Tensor:
    """A detached copy of a numpy array or tensor.

    ``dtype`` is the precision: a complex array stays complex.  By default a tensor keeps its dtype and a numpy array takes
    torch's default one.
    """
    given = isinstance(array, Tensor)
    tensor = array.detach() if isinstance(array, Tensor) else torch.as_tensor(native(array), device="cpu")
    if dtype is None:
        dtype = tensor.dtype if given else torch.get_default_dtype()
    if tensor.is_complex() and not dtype.is_complex:
        dtype = dtype.to_complex()
    return tensor.to(tensor.device if given else torch.get_default_device(), dtype, copy=True)


def from_numpy(array: object) -> Tensor:
    """A numpy array as a tensor of its own dtype, on torch's default device; on the processor where that has no double precision."""
    there = torch.get_default_device()
    return torch.as_tensor(native(array), device=there if has_doubles(there) else "cpu")
