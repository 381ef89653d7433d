"""Weights that are kept in eval mode: never stale, within their limit, right in threads and where torch compiles."""

import copy
import gc
import pickle
import threading

import pytest
import torch
from torch import nn

import tnkit as tk
import tnkit_nn as tknn
from tnkit_nn import parametrize_
from tnkit_nn.adapter import keeping

from .test_nothing_else import NET, TOKENS, made_by


# -- kept in eval mode ----------------------------------------------------------------------------------------------------
@pytest.fixture
def counted(monkeypatch):
    """How often a weight is built."""
    calls, built = [], tknn.adapter.generated.Generated._built
    monkeypatch.setattr(tknn.adapter.generated.Generated, "_built", lambda self: (calls.append(1), built(self))[1])
    return calls


CHANGES = {
    "data": lambda m, o: made_by(m).parameters().__next__().data.mul_(2),
    "in place": lambda m, o: next(made_by(m).parameters()).mul_(2),
    "one entry": lambda m, o: next(made_by(m).parameters()).view(-1)[0].add_(1e-3),
    "step": lambda m, o: o.step(),
    "load": lambda m, o: m.load_state_dict(parametrize_(nn.Linear(12, 20), "weight", NET, seed=7).state_dict()),
    "assign": lambda m, o: m.load_state_dict(parametrize_(nn.Linear(12, 20), "weight", NET, seed=7).state_dict(), assign=True),
    "double": lambda m, o: m.double(),
    "replaced": lambda m, o: setattr(made_by(m), NET.parameters[0], nn.Parameter(torch.randn_like(getattr(made_by(m), NET.parameters[0])))),
    "set data": lambda m, o: setattr(next(made_by(m).parameters()), "data", torch.randn_like(next(made_by(m).parameters()))),
    "numpy": lambda m, o: next(made_by(m).parameters()).detach().numpy().__imul__(3),
    "swapped": lambda m, o: (lambda p: p.data.copy_(p.detach().flip(0).clone()))(next(made_by(m).parameters())),
    "reset": lambda m, o: next(made_by(m).parameters()).normal_(),
    "nan": lambda m, o: next(made_by(m).parameters()).view(-1)[0].fill_(float("nan")),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_kept_weight_is_never_stale(change, counted):
    torch.manual_seed(0)
    layer = parametrize_(nn.Linear(12, 20), "weight", NET)
    sgd = torch.optim.SGD(layer.parameters(), 0.1)
    layer(torch.ones(1, 12)).sum().backward()
    layer.eval()
    with torch.no_grad():
        before = layer.weight.clone()
        del counted[:]
        for _ in range(3):
            assert torch.equal(layer.weight, before)
        assert counted == []
        CHANGES[change](layer, sgd)
        after = layer.weight.clone()
        assert counted == [1] and not torch.equal(after, before)
        want = copy.deepcopy(layer).train().weight
        assert torch.equal(after.nan_to_num(9), want.nan_to_num(9)) and after.dtype == want.dtype
        for _ in range(2):
            layer.weight  # noqa: B018
        assert len(counted) == 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.complex64])
@pytest.mark.parametrize("offset", [1, 2, 3])
def test_arrays_anywhere_in_a_larger_tensor_are_kept(offset, dtype, counted, monkeypatch):
    """As parts of one flat tensor, which begin between two numbers of 64 bits too."""
    monkeypatch.setattr(keeping, "_SMALL", 0)  # what is small is copied first
    layer = parametrize_(nn.Linear(12, 20, dtype=dtype), "weight", NET).eval()
    for p in made_by(layer).parameters():
        p.data = torch.cat([torch.zeros(offset, dtype=dtype), p.detach().flatten()])[offset:].view(p.shape)
    with torch.no_grad():
        before = layer.weight.clone()
        del counted[:]
        assert torch.equal(layer.weight, before) and counted == []
        next(made_by(layer).parameters()).view(-1)[-1].add_(1)
        assert not torch.equal(layer.weight, before) and counted == [1]


def test_what_is_not_kept(counted):
    layer = parametrize_(nn.Linear(12, 20), "weight", NET)
    x = torch.ones(1, 12)

    def times(call, n=2):
        del counted[:]
        for _ in range(n):
            call()
        return len(counted)

    with torch.no_grad():
        assert times(lambda: layer(x)) == 2  # training
    layer.eval()
    assert times(lambda: layer(x)) == 2  # a gradient may be asked for
    with torch.no_grad():
        assert times(lambda: layer(x)) == 1
        layer.train()
        layer(x)
        layer.eval()
        assert times(lambda: layer(x)) == 1  # dropped by the training forward
        one, two = pickle.dumps(layer), copy.deepcopy(layer)
        assert times(lambda: two(x)) == 1 and len(one) < 20000
        arrays = dict(layer.named_parameters())
        many = {n: torch.stack([p, 2 * p]) for n, p in arrays.items()}
        assert times(lambda: torch.vmap(lambda v: torch.func.functional_call(layer, v, (x,)))(many)) == 2
        doubled = torch.func.functional_call(layer, {n: 2 * p for n, p in arrays.items()}, (x,))
        assert not torch.allclose(doubled, layer(x))
        torch.testing.assert_close(layer(x), two(x))
    frozen = parametrize_(nn.Linear(12, 20).requires_grad_(False), "weight", NET).eval()
    assert times(lambda: frozen(x)) == 1  # no gradient can be asked for
    y = frozen(x.clone().requires_grad_())
    y.sum().backward()
    with torch.inference_mode():
        frozen(x)
        made_by(frozen)
    frozen(x.clone().requires_grad_()).sum().backward()


ODD = tk.adtn((4, 5, 3, 2, 2), depth=2, activation="tanh")  # one site without a partner begins as a constant
SERVED = {
    "linear": lambda: parametrize_(nn.Linear(12, 20), "weight", ODD),
    "added": lambda: parametrize_(nn.Linear(12, 20), "weight", ODD, base=True),
    "embedding": lambda: parametrize_(nn.Embedding(20, 12), "weight", ODD),
    "layer": lambda: tknn.TNLinear(12, 20, ODD),
    "table": lambda: tknn.TNEmbedding(20, 12, ODD),
    "kernel": lambda: tknn.TNConv1d(12, 20, 1, ODD),
}


@pytest.mark.parametrize("kind", SERVED)
def test_a_copy_that_serves_first_can_be_trained_afterwards(kind):
    """Out of a file or a copy a network makes its constants at the first forward: in inference mode, they would stay there."""
    module = SERVED[kind]()
    x = (
        TOKENS
        if "Embedding" in type(module).__name__
        else torch.ones(2, 12, 1)
        if kind == "kernel"
        else torch.ones(2, 12)
    )
    module(x).square().sum().backward()
    served = copy.deepcopy(module).eval()
    served.zero_grad()
    with torch.inference_mode():
        torch.testing.assert_close(served(x), module(x))
    served.train()(x).square().sum().backward()
    for p, q in zip(served.parameters(), module.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad)


@pytest.mark.slow
def test_the_limit_of_what_is_kept(counted):
    layers = [parametrize_(nn.Linear(12, 20), "weight", NET, seed=k).eval() for k in range(4)]
    size = 4 * (240 + NET.num_params)
    keeping._all.clear()
    try:
        tknn.keep_weights(2 * size)
        with torch.no_grad():
            for layer in layers:
                layer.weight  # noqa: B018
            del counted[:]
            layers[3].weight, layers[2].weight
            assert len(counted) == 0
            layers[0].weight, layers[2].weight
            assert len(counted) == 1  # the third was used last, so the fourth made room
            layers[3].weight  # noqa: B018
            assert len(counted) == 2 and sum(k.size for k in keeping._all.values()) <= 2 * size
            tknn.keep_weights(0)
            assert not len(keeping._all)
            layers[3].weight, layers[3].weight
            assert len(counted) == 4
            tknn.keep_weights(10 * size)
            layers[3].weight  # noqa: B018
            del layer
            layers.clear()
            gc.collect()
            assert not len(keeping._all)
    finally:
        tknn.keep_weights(2**31)
    with pytest.raises(ValueError, match="keep_weights: limit"):
        tknn.keep_weights(-1)


def test_threads_read_right_weights_while_another_writes():
    layer = parametrize_(nn.Linear(12, 20), "weight", NET).eval()
    a = {n: p.detach().clone() for n, p in layer.named_parameters()}
    with torch.no_grad():
        allowed = []
        for k in range(3):
            layer.load_state_dict({n: p * (k + 1) for n, p in a.items()}, strict=False)
            allowed.append(copy.deepcopy(layer).train().weight.clone())
    wrong = []

    def read(k):
        mine = copy.deepcopy(layer).eval()
        with torch.no_grad():
            for _ in range(200):
                if not any(torch.equal(mine.weight, w) for w in allowed) or not any(
                    torch.equal(layer.weight, w) for w in allowed[2:]
                ):
                    wrong.append(k)

    threads = [threading.Thread(target=read, args=(k,)) for k in range(4)]
    [t.start() for t in threads], [t.join() for t in threads]
    assert wrong == []


@pytest.mark.slow
def test_compiled_and_exported_weights_follow_the_arrays():
    layer = parametrize_(nn.Linear(12, 20), "weight", NET).eval()
    x = torch.ones(2, 12)
    with torch.no_grad():
        compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(x), layer(x))
        next(made_by(layer).parameters()).data.mul_(2)
        torch.testing.assert_close(compiled(x), layer(x))
        exported = torch.export.export(layer, (x,)).module()
        torch.testing.assert_close(exported(x), layer(x))
