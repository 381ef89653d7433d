"""Modules as functions of their parameters: torch.func, forward mode, second derivatives, checkpoints."""

from __future__ import annotations

import copy
import warnings

import torch
from torch.func import functional_call, grad, jvp, stack_module_state, vmap
from torch.utils.checkpoint import checkpoint

from .kinds import Kind, arrays_of, differ, gradients, grads_of, loss, oracle, pair, same, trained


def functional(kind: Kind) -> None:
    module, dense, inputs = pair(kind)
    params = {n: p.detach() for n, p in trained(module).items()}
    found = grad(lambda p: loss(lambda *x: functional_call(module, p, x), inputs))(params)
    same(found, oracle(kind, module, inputs))
    other = kind.made(seed=1)
    state = {n: t.detach() for n, t in (*other.named_parameters(), *other.named_buffers())}
    want = kind.twin(other)(*inputs)
    differ(want, dense(*inputs))
    same(functional_call(module, state, inputs), want)
    same(module(*inputs), dense(*inputs))


def stacked(kind: Kind) -> None:
    modules = [kind.made(seed) for seed in range(3)]
    inputs = kind.data()
    want = torch.stack([kind.twin(m)(*inputs) for m in modules])
    params, buffers = stack_module_state(modules)
    base = copy.deepcopy(modules[0]).to("meta")

    def one(p, b):
        return functional_call(base, (p, b), inputs)

    same(vmap(one)(params, buffers), want)
    each = [oracle(kind, m, inputs) for m in modules]
    found = vmap(grad(lambda p, b: one(p, b).square().sum() / 10))(params, buffers)
    same({n: found[n] for n in each[0]}, {n: torch.stack([e[n] for e in each]) for n in each[0]})


def forward_mode(kind: Kind) -> None:
    """The derivative along a direction is the gradient times it."""
    module, dense, inputs = pair(kind, dtype=torch.float64)
    params = {n: p.detach() for n, p in trained(module).items()}
    torch.manual_seed(3)
    along = {n: torch.randn_like(p) for n, p in params.items()}
    out, slope = jvp(lambda p: loss(lambda *x: functional_call(module, p, x), inputs), (params,), (along,))
    same(out, loss(dense, inputs))
    want = sum((g * along[n]).sum() for n, g in oracle(kind, module, inputs).items())
    same(slope, want, rtol=1e-8, atol=1e-10)


def checked(kind: Kind) -> None:
    """First and second derivatives of the arrays against differences, in double precision."""
    module, _, inputs = pair(kind, dtype=torch.float64)
    names = list(arrays_of(kind, module))
    params = tuple(p.detach().clone().requires_grad_() for p in arrays_of(kind, module).values())

    def of(*arrays):
        return functional_call(module, dict(zip(names, arrays, strict=True)), inputs)

    assert torch.autograd.gradcheck(of, params, fast_mode=True)
    assert torch.autograd.gradgradcheck(of, params, fast_mode=True)


def checkpointed(kind: Kind) -> None:
    module, dense, inputs = pair(kind)
    inputs = tuple(x.requires_grad_() if x.is_floating_point() else x for x in inputs)
    for reentrant in (False, True) if any(x.requires_grad for x in inputs) else (False,):
        module.zero_grad()
        out = checkpoint(module, *inputs, use_reentrant=reentrant)
        same(out, dense(*inputs))
        (out.square().sum() / 10).backward()
        same(grads_of(module), oracle(kind, module, inputs))


def hooked(kind: Kind) -> None:
    """Hooks see what they see at the dense twin, and gradients are clipped by the norm of all."""
    module, dense, inputs = pair(kind)
    seen: dict[str, list] = {"module": [], "dense": []}
    for name, m in (("module", module), ("dense", dense)):
        m.register_forward_pre_hook(lambda m, x, name=name: seen[name].append(x[0]))
        m.register_forward_hook(lambda m, x, y, name=name: seen[name].append(y))
        m.register_full_backward_hook(
            lambda m, dx, dy, name=name: seen[name].extend(g for g in (*dx, *dy) if g is not None)
        )
        given = tuple(x.clone().requires_grad_() if x.is_floating_point() else x for x in inputs)
        with warnings.catch_warnings():  # tokens have no gradient, which torch thinks a mistake
            warnings.filterwarnings("ignore", "Full backward hook is firing")
            loss(m, given).backward()
    assert len(seen["dense"]) >= 2 + len(inputs) - (not given[0].is_floating_point())
    for got, want in zip(seen["module"], seen["dense"], strict=True):
        same(got, want)
    want = oracle(kind, module, inputs)
    norm = torch.stack([g.square().sum() for g in want.values()]).sum().sqrt()
    assert norm > 0.01
    same(torch.nn.utils.clip_grad_norm_(module.parameters(), float(norm) / 2), norm)
    same(grads_of(module), {n: g / 2 for n, g in want.items()}, rtol=1e-3)


def frozen(kind: Kind) -> None:
    """Listed, counted, frozen and trained again."""
    module, dense, inputs = pair(kind)
    names = [n for n, _ in module.named_parameters()]
    assert len(names) == len(set(names)) and set(gradients(module, inputs)) == set(trained(module))
    numbers = sum(p.numel() for p in module.parameters())
    assert numbers == sum(t.numel() for n, t in module.state_dict().items() if n in names)
    module.requires_grad_(False)
    out = module(*inputs)
    assert not out.requires_grad
    same(out, dense(*inputs).detach())
    module.requires_grad_(True)
    same(module(*inputs), dense(*inputs))
    first = next(iter(arrays_of(kind, module)))
    for name, p in module.named_parameters():
        p.requires_grad_(name == first)
    found = gradients(module, inputs)
    module.requires_grad_(True)
    same(found[first], oracle(kind, module, inputs)[first])
