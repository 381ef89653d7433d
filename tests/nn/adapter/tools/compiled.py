"""Compiled, exported, traced: the same outputs, and where they are trained the same gradients."""

from __future__ import annotations

import io

import numpy as np
import torch

from .kinds import Kind, gradients, grads_of, oracle, pair, same


def compiled(kind: Kind) -> None:
    module, dense, inputs = pair(kind)
    torch._dynamo.reset()
    run = torch.compile(module, fullgraph=True, backend="aot_eager")
    same(run(*inputs), dense(*inputs))
    run(*inputs).square().sum().div(10).backward()
    same(grads_of(module), oracle(kind, module, inputs))
    module.eval()
    with torch.no_grad():
        same(run(*inputs), dense.eval()(*inputs))
        for p in module.parameters():
            p.mul_(1.5)
        same(run(*inputs), kind.twin(module)(*inputs), what="after a change of the arrays")


def exported(kind: Kind) -> None:
    module, dense, inputs = pair(kind)
    module.eval()
    program = torch.export.export(module, inputs)
    assert {n for n, _ in module.named_parameters()} <= {n for n, _ in program.named_parameters()}
    other = kind.data(seed=1)
    same(program.module()(*other), dense.eval()(*other))


def exported_dynamic(kind: Kind) -> None:
    module, dense, inputs = pair(kind)
    module.eval()
    batch = torch.export.Dim("batch", min=2, max=64)
    program = torch.export.export(module, inputs, dynamic_shapes=_first(kind, {0: batch}))
    for rows in (2, 33):
        other = tuple(x[:1].repeat_interleave(rows, 0) + (x.is_floating_point() * torch.arange(rows).view(-1, *[1] * (x.dim() - 1)) / 9) .to(x.dtype) for x in inputs)  # fmt: skip
        same(program.module()(*other), dense.eval()(*other), what=f"{rows} rows")


def _first(kind: Kind, sizes: dict) -> tuple:
    """The shapes of ``*inputs``, which are one argument where they are gathered."""
    import inspect

    module = kind.dense()
    gathered = any(p.kind is p.VAR_POSITIONAL for p in inspect.signature(module.forward).parameters.values())
    each = tuple(sizes for _ in kind.data())
    return (each,) if gathered else each


def onnx(kind: Kind) -> float:
    """The largest difference, the largest output being 1."""
    import onnxruntime

    module, dense, inputs = pair(kind)
    module.eval()
    program = torch.onnx.export(module, inputs, dynamo=True, verbose=False)
    file = io.BytesIO()
    program.save(file)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    other = kind.data(seed=1)
    given = {i.name: x.numpy() for i, x in zip(session.get_inputs(), other, strict=True)}
    (got,) = session.run(None, given)
    want = dense.eval()(*other).detach().numpy()
    difference = float(np.abs(got - want).max() / np.abs(want).max())
    assert got.dtype == want.dtype and difference < 1e-5
    return difference


def traced(kind: Kind) -> None:
    module, dense, inputs = pair(kind)
    module.eval(), dense.eval()
    run = torch.jit.trace(module, inputs, check_trace=False)
    other = kind.data(seed=1)
    same(run(*other), dense(*other))
    same(gradients(run, other), oracle(kind, module, other))
    file = io.BytesIO()
    torch.jit.save(run, file)
    file.seek(0)
    same(torch.jit.load(file)(*other), dense(*other))
