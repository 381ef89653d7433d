"""The kinds of module of the table: each dense, and with a network for one weight of it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

import tnkit as tk
import tnkit_nn as tknn
from tnkit import Network, Node

Inputs = tuple[Tensor, ...]


# -- modules whose forward takes tensors and returns one --------------------------------------------------------------
class Held(nn.Module):
    """A module as a part of a model; the first of what it returns."""

    def __init__(self, core):
        super().__init__()
        self.core = core

    def forward(self, *inputs):
        out = self.core(*inputs)
        return out if isinstance(out, Tensor) else out[0]


class Beside(Held):
    """The module, and a dense layer after it: what is beside a network stays as it was."""

    def __init__(self, core, width):
        super().__init__(core)
        self.last = nn.Linear(width, 3)

    def forward(self, *inputs):
        return self.last(super().forward(*inputs))


class Attends(Held):
    def forward(self, x):
        return self.core(x, x, x, need_weights=False)[0]


class Still(Held):
    """Its core does not iterate: a forward leaves the buffers of a spectral norm as they are."""

    def __init__(self, core):
        super().__init__(core)
        self.train()

    def train(self, mode=True):
        super().train(mode)
        self.core.eval()
        return self


class Language(nn.Module):
    """A tied language model: one weight reads the tokens and scores the next."""

    def __init__(self):
        super().__init__()
        self.table, self.mixed, self.head = nn.Embedding(12, 8), nn.Linear(8, 8), nn.Linear(8, 12, bias=False)
        self.head.weight = self.table.weight

    def forward(self, tokens):
        return self.head(torch.tanh(self.mixed(self.table(tokens))))


class Experts(nn.Module):
    """A module of one's own, whose weight has three axes."""

    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(3, 8, 6) / 3), nn.Parameter(torch.zeros(3, 8))

    def forward(self, x):
        return (torch.einsum("bi,eoi->beo", x, self.weight) + self.bias).tanh()


class Contraction(nn.Module):
    """What the TNModule of the table computes, its weight dense."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, 5) / 2)

    def forward(self, x):
        return torch.einsum("bi,ijk->bjk", x, self.weight)


def gpt2():
    from transformers import GPT2Config
    from transformers.models.gpt2.modeling_gpt2 import GPT2Block

    still = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    config = GPT2Config(n_embd=8, n_head=2, n_positions=16, n_layer=1, attn_implementation="eager", **still)
    return Held(GPT2Block(config, layer_idx=0))


class Own(Held):
    """A layer of one's own that computes its weight: what a tool does with TNLinear, it does with it."""

    @property
    def weight(self):
        return self.core.weight.clone()


class Copied(nn.Module):
    """The least that torch's own means do to a weight."""

    def forward(self, weight):
        return weight.clone()


# -- kinds ------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Kind:
    """A kind of module: how it is made, what it takes, and where its weight is."""

    name: str
    dense: Callable[[], nn.Module]
    inputs: Callable[[int], Inputs]
    network: Network | None = None
    #: The weight's path: its owner, a dot, its name.
    at: str = "core.weight"
    #: Puts the network; by default ``parametrize_``.
    put: Callable[[nn.Module, Kind, int], None] | None = None
    options: Mapping[str, Any] | None = None
    #: Packages it needs.
    needs: tuple[str, ...] = ()
    #: What is made is ``"dense"`` after all, or ``"parametrized"`` by torch's own means: what fails there is a limit of the tool.
    stand_in: str = ""

    @property
    def owner(self) -> str:
        return self.at.rpartition(".")[0]

    @property
    def leaf(self) -> str:
        return self.at.rpartition(".")[2]

    @property
    def layer(self) -> str:
        """The path of the module that a user would name, its parametrizations left out."""
        return self.owner.partition(".parametrizations")[0]

    @cached_property
    def weight(self) -> Callable[[nn.Module], Tensor]:
        """Reads the weight, of either."""
        return attrgetter(self.at)

    def made(self, seed: int = 0) -> nn.Module:
        """A module with a network, its arrays and all else drawn with the seed."""
        torch.manual_seed(seed)
        module = self.dense()
        if self.stand_in == "parametrized" and self.put in (_linear, _table):
            module.core = Own(module.core)
        elif self.stand_in == "parametrized":
            for owner in (self.owner, "head")[: 1 + isinstance(module, Language)]:
                parametrize.register_parametrization(module.get_submodule(owner), self.leaf, Copied())
        elif not self.stand_in:
            (self.put or _parametrized)(module, self, seed)
        return module

    def twin(self, module: nn.Module) -> nn.Module:
        """A dense module of the same values, dtype and mode: the oracle."""
        like = self.weight(module).detach()
        torch.manual_seed(0)
        dense = self.dense().to(like.dtype).train(module.training)
        kept = dict(module.named_parameters()) | dict(module.named_buffers())
        with torch.no_grad():
            for name, tensor in (*dense.named_parameters(), *dense.named_buffers()):
                if name != self.at and name in kept:
                    tensor.copy_(kept[name])
            self.weight(dense).copy_(like)
        return dense

    def data(self, seed: int = 0, dtype: torch.dtype | None = None) -> Inputs:
        """Inputs for it."""
        torch.manual_seed(100 + seed)
        return tuple(x.to(dtype) if dtype and x.is_floating_point() else x for x in self.inputs(5))

    def standing_in(self, how: str) -> Kind:
        """The same without a network."""
        return replace(self, stand_in=how)


def _parametrized(module: nn.Module, kind: Kind, seed: int) -> None:
    options = {"model": module} if kind.options == {"model": True} else dict(kind.options or {})
    tknn.parametrize_(module.get_submodule(kind.owner), kind.leaf, kind.network, seed=seed, **options)
    if options.get("base"):  # it starts at zero: the arrays of a trained one are anything
        torch.manual_seed(seed)
        with torch.no_grad():
            for p in module.get_submodule(kind.owner).parametrizations[kind.leaf][0].parameters():
                p.copy_(torch.randn_like(p) / 2)


def _normed(module: nn.Module, kind: Kind, seed: int) -> None:
    _parametrized(module, kind, seed)
    module.core.train()
    for _ in range(30):  # the norm of the new weight is found
        module.core.parametrizations.weight()
    module.train()


def _linear(module: nn.Module, kind: Kind, seed: int) -> None:
    module.core, dense = tknn.TNLinear(12, 10, kind.network, seed=seed), module.core
    module.core.bias = dense.bias


def _table(module: nn.Module, kind: Kind, seed: int) -> None:
    module.core = tknn.TNEmbedding(12, 8, kind.network, seed=seed)


class Contracted(tknn.TNModule):
    """A TNModule; ``weight`` is what its trained arrays make."""

    def __init__(self, seed):
        nodes = (Node("x", "bi", fixed=True), Node("A", "ijr"), Node("B", "rk"))
        super().__init__(Network(nodes, "bjk", dict(b=5, i=4, j=3, k=5, r=2)), dynamic="b", seed=seed)

    @property
    def weight(self):
        return torch.einsum("ijr,rk->ijk", self.A, self.B)


def _contracted(module: nn.Module, kind: Kind, seed: int) -> None:
    module.core = Contracted(seed)


def rows(*shape: int) -> Callable[[int], Inputs]:
    return lambda n: (torch.randn(n, *shape),)


def tokens(*shape: int) -> Callable[[int], Inputs]:
    return lambda n: (torch.randint(0, 12, (n, *shape)),)


def mpo(out: tuple[int, ...], in_: tuple[int, ...]) -> Network:
    return tk.mpo(out=out, in_=in_, rank=3)


def normed(norm: Callable[[nn.Module], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: Still(norm(nn.Linear(12, 10)))


TABLE = mpo((3, 4), (4, 2))
RECURRENT = rows(3, 4)
ENCODER = dict(dim_feedforward=16, dropout=0.0, batch_first=True)
_INNER = "core.parametrizations.weight."
_KINDS = [
    Kind("Linear", lambda: Beside(nn.Linear(12, 10), 10), rows(12), mpo((2, 5), (4, 3))),
    Kind("Linear, ADTN", lambda: Beside(nn.Linear(12, 10), 10), rows(12), tk.adtn((10, 12), depth=2, dim=2)),
    Kind("Linear, added", lambda: Beside(nn.Linear(12, 10), 10), rows(12), mpo((2, 5), (4, 3)), options={"base": True}),
    Kind("Bilinear", lambda: Held(nn.Bilinear(4, 6, 5)), lambda n: (torch.randn(n, 4), torch.randn(n, 6)), mpo((5, 2), (2, 6))),
    Kind("Conv1d", lambda: Held(nn.Conv1d(4, 6, 3)), rows(4, 7), mpo((2, 3), (4, 3))),
    Kind("Conv2d, grouped", lambda: Held(nn.Conv2d(6, 9, 3, groups=3)), rows(6, 5, 5), mpo((3, 3), (2, 9))),
    Kind("Conv3d, ADTN", lambda: Held(nn.Conv3d(2, 4, 3)), rows(2, 4, 4, 4), tk.adtn((4, 2, 3, 3, 3), depth=2, dim=2)),
    Kind("ConvTranspose2d", lambda: Held(nn.ConvTranspose2d(4, 6, 3)), rows(4, 4, 4), mpo((2, 2), (6, 9))),
    Kind("Embedding, padding_idx", lambda: Beside(nn.Embedding(12, 8, padding_idx=0), 8), tokens(4), TABLE),
    Kind("EmbeddingBag", lambda: Held(nn.EmbeddingBag(12, 8)), tokens(4), TABLE),
    Kind("LSTM", lambda: Held(nn.LSTM(4, 6, batch_first=True)), RECURRENT, mpo((4, 6), (2, 2)), "core.weight_ih_l0"),
    Kind("GRU", lambda: Held(nn.GRU(4, 6, batch_first=True)), RECURRENT, mpo((3, 6), (2, 3)), "core.weight_hh_l0"),
    Kind("RNN", lambda: Held(nn.RNN(4, 6, batch_first=True)), RECURRENT, mpo((2, 3), (2, 3)), "core.weight_hh_l0"),
    Kind("MultiheadAttention", lambda: Attends(nn.MultiheadAttention(8, 2, batch_first=True)), rows(3, 8), mpo((4, 6), (2, 4)), "core.in_proj_weight"),
    Kind("TransformerEncoderLayer", lambda: Held(nn.TransformerEncoderLayer(8, 2, **ENCODER)), rows(3, 8), mpo((4, 4), (2, 4)), "core.linear1.weight"),
    Kind("language model, tied", Language, tokens(4), TABLE, "table.weight", options={"model": True}),
    Kind("spectral_norm", normed(parametrizations.spectral_norm), rows(12), mpo((2, 5), (4, 3)), f"{_INNER}original", _normed),
    Kind("weight_norm", normed(parametrizations.weight_norm), rows(12), mpo((2, 5), (4, 3)), f"{_INNER}original1"),
    Kind("GPT-2 block (Conv1D)", gpt2, rows(3, 8), mpo((2, 4), (4, 8)), "core.mlp.c_fc.weight", needs=("transformers",)),
    Kind("one's own, three axes", lambda: Held(Experts()), rows(6), mpo((3, 8), (2, 3))),
    Kind("LayerNorm", lambda: Beside(nn.LayerNorm(12), 12), rows(12), tk.tt((3, 4), 2)),
    Kind("TNLinear", lambda: Beside(nn.Linear(12, 10), 10), rows(12), mpo((2, 5), (4, 3)), put=_linear),
    Kind("TNEmbedding", lambda: Beside(nn.Embedding(12, 8), 8), tokens(4), TABLE, put=_table),
    Kind("TNModule", lambda: Held(Contraction()), rows(4), put=_contracted),
]  # fmt: skip
KINDS = {kind.name: kind for kind in _KINDS}


# -- what the checks share ---------------------------------------------------------------------------------------------
def same(got: Any, want: Any, rtol: float = 1e-4, atol: float = 1e-5, what: str = "") -> None:
    """Equal up to rounding, and of the same dtype."""
    torch.testing.assert_close(got, want, rtol=rtol, atol=atol, msg=lambda m: f"{what}: {m}" if what else m)


def differ(one: Tensor, other: Tensor) -> None:
    """What a check compares would be different, had nothing been done."""
    assert (one - other).abs().max() > 1e-3, "the check could not fail: both are the same"


def pair(kind: Kind, seed: int = 0, dtype: torch.dtype | None = None) -> tuple[nn.Module, nn.Module, Inputs]:
    """The module with its network, its dense twin, and inputs."""
    module = kind.made(seed)
    module = module.to(dtype) if dtype else module
    return module, kind.twin(module), kind.data(seed, dtype)


def loss(module: Callable[..., Tensor], inputs: Inputs) -> Tensor:
    """A number to train by, whose gradient is not small."""
    return module(*inputs).square().sum() / 10


def trained(module: nn.Module) -> dict[str, nn.Parameter]:
    """Name -> parameter that is not frozen."""
    return {n: p for n, p in module.named_parameters() if p.requires_grad}


def arrays_of(kind: Kind, module: nn.Module) -> dict[str, nn.Parameter]:
    """Name -> what the weight is trained by: the arrays of the network, or the weight itself."""
    dense = dict(kind.dense().named_parameters())
    return {n: p for n, p in trained(module).items() if n not in dense} or {kind.at: kind.weight(module)}


def gradients(module: nn.Module, inputs: Inputs) -> dict[str, Tensor]:
    """Name -> gradient of the loss, of what is trained."""
    names, tensors = zip(*trained(module).items(), strict=True)
    found = torch.autograd.grad(loss(module, inputs), tensors, allow_unused=True)
    return {n: torch.zeros_like(t) if g is None else g for n, t, g in zip(names, tensors, found, strict=True)}


def oracle(kind: Kind, module: nn.Module, inputs: Inputs) -> dict[str, Tensor]:
    """The gradients of a module by those of its dense twin, taken back through the network."""
    dense = gradients(kind.twin(module), inputs)
    own = trained(module)
    arrays = [n for n in own if n not in dense]
    if not arrays:
        return dense
    weight, d_weight = kind.weight(module), dense.pop(kind.at)
    found = torch.autograd.grad(weight, [own[n] for n in arrays], d_weight)
    return {**dense, **dict(zip(arrays, found, strict=True))}


def grads_of(module: nn.Module) -> dict[str, Tensor]:
    """Name -> what backward left."""
    return {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in trained(module).items()}


def stepped(module: nn.Module, inputs: Inputs, steps: int = 1, lr: float = 0.1) -> nn.Module:
    """A copy after steps of gradient descent, written out."""
    module = copy.deepcopy(module)
    for _ in range(steps):
        found = gradients(module, inputs)
        with torch.no_grad():
            for name, p in module.named_parameters():
                if name in found:
                    p.sub_(lr * found[name])
    return module
