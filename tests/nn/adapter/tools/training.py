"""Trained: optimisers, averages, several workers, and weights that are kept while nothing changes."""

from __future__ import annotations

import copy
import gc
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrize
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from .kinds import Kind, arrays_of, differ, gradients, grads_of, loss, oracle, pair, same, stepped, trained


def optimised(kind: Kind) -> None:
    """Groups with and without weight decay; the optimiser's state goes on in another process's place."""
    module, _, inputs = pair(kind)

    def adam(m: nn.Module) -> torch.optim.Optimizer:
        params = dict(m.named_parameters())
        biases = [n for n in params if n.endswith("bias")]
        groups = [{"params": [params[n] for n in biases], "weight_decay": 0.0}] if biases else []
        rest = {"params": [p for n, p in params.items() if n not in biases], "weight_decay": 0.1}
        return torch.optim.AdamW([*groups, rest], lr=0.05)

    def step(m: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        loss(m, inputs).backward()
        optimizer.step()

    optimizer, before = adam(module), {n: p.detach().clone() for n, p in module.named_parameters()}
    first = oracle(kind, module, inputs)
    step(module, optimizer)
    for name, p in trained(module).items():  # the first step of Adam is the sign of the gradient
        decayed = before[name] * (1 - 0.05 * (0 if name.endswith("bias") else 0.1))
        same(p.detach(), decayed - 0.05 * first[name] / (first[name].abs() + 1e-8), rtol=1e-3, atol=1e-3, what=name)
    other = kind.made(seed=1)
    other.load_state_dict(module.state_dict())
    again = adam(other)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for m, o in ((module, optimizer), (other, again)):
        step(m, o)
    same(dict(other.named_parameters()), dict(module.named_parameters()))
    same(module(*inputs), kind.twin(module)(*inputs))


def averaged(kind: Kind) -> None:
    module, _, inputs = pair(kind)
    average = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    states = []
    for _ in range(3):
        module = stepped(module, inputs)
        average.update_parameters(module)
        states.append({n: p.detach().clone() for n, p in module.named_parameters()})
    want = states[0]
    for state in states[1:]:
        want = {n: 0.9 * want[n] + 0.1 * state[n] for n in want}
    same({n: p.detach() for n, p in average.module.named_parameters()}, want)
    same(average(*inputs), kind.twin(average.module)(*inputs))
    differ(average(*inputs), module(*inputs))


# -- several workers ------------------------------------------------------------------------------------------------
@contextmanager
def group() -> Iterator[None]:
    """A process group of one, over gloo.

    What is wrapped is to be gone by its end, also after an error: torch lets the last owner of a group join the threads of it,
    and a replica does so while it holds the interpreter's lock, which those threads may wait for: for ever.
    """
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        yield
    except Exception as error:
        traceback.clear_frames(error.__traceback__)
        raise
    finally:
        gc.collect()
        dist.destroy_process_group()


def replicated(kind: Kind) -> None:
    module, dense, inputs = pair(kind)
    want = oracle(kind, module, inputs)

    def steps() -> None:
        run = DistributedDataParallel(module)
        for _ in range(2):  # the buckets are made anew after the first
            module.zero_grad()
            out = run(*inputs)
            same(out, dense(*inputs))
            (out.square().sum() / 10).backward()
            same(grads_of(module), want)
        with torch.no_grad():
            same(run(*inputs), dense(*inputs))

    with group():
        steps()


def sharded(kind: Kind) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    module, dense, inputs = pair(kind)
    want = oracle(kind, module, inputs)
    after = dict(stepped(module, inputs).named_parameters())

    def steps() -> None:
        fully_shard(module, mesh=init_device_mesh("cpu", (1,)))
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        out = module(*inputs)
        same(out, dense(*inputs))
        (out.square().sum() / 10).backward()
        same({n: p.grad.full_tensor() for n, p in module.named_parameters() if p.grad is not None}, want)
        optimizer.step()
        same({n: p.full_tensor().detach() for n, p in module.named_parameters()}, {n: p.detach() for n, p in after.items()})  # fmt: skip
        module.unshard()
        same(module(*inputs), kind.twin(module)(*inputs))

    with group():
        steps()


# -- weights that are kept --------------------------------------------------------------------------------------------
def cached(kind: Kind) -> None:
    """Within torch's ``cached()`` a weight is made once, and trains."""
    module, dense, inputs = pair(kind)
    owner = module.get_submodule(kind.owner)
    with parametrize.cached():
        out = module(*inputs)
        same(out, dense(*inputs))
        if parametrize.is_parametrized(owner, kind.leaf):
            assert getattr(owner, kind.leaf).data_ptr() == getattr(owner, kind.leaf).data_ptr()
        (out.square().sum() / 10).backward()
    same(grads_of(module), oracle(kind, module, inputs))


def never_stale(kind: Kind) -> None:
    """In eval mode weights may be kept: a change of what they are made of is seen, by whatever way it comes."""
    module, _, inputs = pair(kind)
    module.eval()
    other = kind.made(seed=1).state_dict()
    arrays = list(arrays_of(kind, module).values())

    def step() -> None:
        loss(module, inputs).backward()
        torch.optim.SGD(module.parameters(), lr=0.1).step()

    def data() -> None:
        for p in arrays:
            p.data.add_(0.3)

    def assigned() -> None:
        for p in arrays:
            p.data = p.data - 0.4

    def in_place() -> None:
        with torch.no_grad():
            for p in arrays:
                p.view(-1)[0] += 1.0

    def by_numpy() -> None:
        for p in arrays:
            p.detach().numpy()[...] -= 0.2

    def by_vector() -> None:
        vector = torch.nn.utils.parameters_to_vector(module.parameters())
        torch.nn.utils.vector_to_parameters(vector - 0.1, module.parameters())

    changes = {"step": step, "load_state_dict": lambda: module.load_state_dict(other), ".data in place": data, ".data": assigned, "a view": in_place, "numpy": by_numpy, "vector_to_parameters": by_vector}  # fmt: skip
    for name, change in changes.items():
        with torch.no_grad():
            before = module(*inputs)
            same(module(*inputs), before)
            change() if name != "step" else torch.enable_grad()(change)()
            fresh = copy.deepcopy(module).train()
            want = kind.twin(fresh)(*inputs)
            same(module(*inputs), want, what=name)
        differ(before, want)
        same(module(*inputs), want, what=f"{name}, with gradients")


def inferred(kind: Kind) -> None:
    """In inference mode, and trained afterwards: nothing made there stays."""
    module, dense, inputs = pair(kind)
    module.eval(), dense.eval()
    with torch.inference_mode():
        for _ in range(2):
            same(module(*inputs), dense(*inputs))
    want = oracle(kind, module, inputs)
    same(gradients(module, inputs), want)
    with torch.no_grad():
        same(module(*inputs), dense(*inputs))
    with torch.inference_mode():
        same(module(*inputs), dense(*inputs))
    same(gradients(module.train(), inputs), want)
