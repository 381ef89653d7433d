"""An embedding whose table is a network, of which single rows are contracted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tnkit.core.checks import a_network
from tnkit.core.decomposition import Pair, network_of
from tnkit.core.keywords import keywords_of
from tnkit.core.network import Network
from tnkit.core.numbers import whole_number
from tnkit.paths.optimizers import Optimizer
from tnkit.planning.plan import Plan
from tnkit_nn.adapter.generated import full_precision
from tnkit_nn.adapter.keeping import kept_weight
from tnkit_nn.adapter.layer_weight import LayerWeight
from tnkit_nn.adapter.module import check_input
from tnkit_nn.adapter.replacement import in_its_place
from tnkit_nn.adapter.rows import planned_rows
from tnkit_nn.checks import a_kind, a_size, a_tensor, check_fills
from tnkit_nn.engine.backend import TORCH
from tnkit_nn.gradients import with_gradients

__all__ = ["TNEmbedding"]


class _Table(LayerWeight):
    _spoken = "TNEmbedding"


class TNEmbedding(nn.Module):
    """An embedding whose table is a network: the digits of a token pick slices of the arrays, and the rest is contracted.

    >>> table = tknn.TNEmbedding(1000, 64, tk.mpo((10, 10, 10), (4, 4, 4), rank=4))
    >>> table(torch.tensor([[0, 999], [5, 5]])).shape, table.weight.shape  # the table is built when it is asked for
    (torch.Size([2, 2, 64]), torch.Size([1000, 64]))
    >>> sum(p.numel() for p in table.parameters()), 1000 * 64
    (960, 64000)
    >>> table.plan.flops < 256 * 2 * 1000 * 64  # of 256 tokens, against a product with the table
    True

    The table is never built, unless the network is nonlinear.  The output indices read as ``(num_embeddings,
    embedding_dim)``, sizes that do not divide being padded.

    Parameters
    ----------
    num_embeddings, embedding_dim
        As for ``nn.Embedding``.
    network
        A network whose tensor reads as the table, or a pair of a network and its arrays, such as a :class:`tnkit.Decomposition`.
    arrays
        Its arrays; by default drawn with the scale of ``nn.Embedding`` (1).
    padding_idx
        A row that is zero and not trained; counted from the end where negative.
    batch
        Typical number of tokens, for the order.
    optimizer, dtype, seed
        As for :class:`TNModule`.

    Raises
    ------
    TypeError
        Sizes that are no whole numbers, no network, no mapping of arrays.
    ValueError
        The network does not fill the table; no such row; arrays as for :class:`TNModule`.
    """

    @keywords_of(net="network")
    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        network: Network | Pair,
        arrays: Mapping[str, Any] | None = None,
        *,
        padding_idx: int | None = None,
        batch: int = 256,
        optimizer: str | Optimizer = "auto",
        dtype: torch.dtype | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.num_embeddings = num = a_size(num_embeddings, "TNEmbedding: num_embeddings")
        self.embedding_dim = dim = a_size(embedding_dim, "TNEmbedding: embedding_dim")
        self.padding_idx = None if padding_idx is None else _row(padding_idx, num)
        network, arrays = network_of(network, arrays, "TNEmbedding")
        network, batch = a_network(network, "TNEmbedding: network"), a_size(batch, "TNEmbedding: batch")
        self._unused = check_fills(network, (num, dim), "TNEmbedding")
        self.tn = _Table(network, arrays, optimizer=optimizer, dtype=dtype, seed=seed)
        self._picked = planned_rows(network, num, dim, batch, optimizer)

    @property
    def plan(self) -> Plan | None:
        """What contracts the slices that tokens pick; None where the table is built."""
        return None if self._picked is None else self._picked.plan

    @classmethod
    @with_gradients
    def from_module(
        cls,
        module: nn.Embedding,
        network: Network | Pair,
        *,
        fit: bool = True,
        arrays: Mapping[str, Any] | None = None,
        batch: int = 256,
        **options: Any,
    ) -> TNEmbedding:
        """A layer in the place of ``module``: ``padding_idx``, dtype, device, mode and what is frozen are as there.

        >>> trained = nn.Embedding(16, 16)
        >>> table = tknn.TNEmbedding.from_module(trained, tk.mpo((4, 4), (4, 4), 16))  # of full rank: the same rows
        >>> tokens = torch.tensor([3, 15])
        >>> torch.allclose(table(tokens), trained(tokens), atol=1e-5)
        True

        Parameters
        ----------
        module
            An ``nn.Embedding``; it is left alone.
        network
            Its new table.
        fit
            Fit the arrays to the table by :func:`tnkit_nn.fit`, from the closed form where the network is a tree (beyond 4 million
            entries that is all, unless ``steps`` are given); else they are ``arrays``, or drawn.
        arrays
            Where the fit starts, or the arrays themselves.
        batch
            As for :class:`TNEmbedding`.
        **options
            For the fit: steps, lr, seed, restarts, progress ...

        Raises
        ------
        TypeError
            Another module, no network, no mapping of arrays.
        ValueError
            ``max_norm``, ``scale_grad_by_freq`` or ``sparse`` of the module, which need the rows of a table; the network does not
            fill the table; a table without values where it is fitted; options of a fit with ``fit=False``.
        """
        who = "TNEmbedding.from_module"
        a_kind(module, nn.Embedding, f"{who}: module")
        for name, what in _NEED_A_TABLE.items():
            if getattr(module, name) not in (None, False):
                raise ValueError(f"{who}: module has {name}={getattr(module, name)}, but {what}: unset it first")
        batch = a_size(batch, f"{who}: batch")

        def make(network: Network, arrays: Mapping[str, Any] | None, **options: Any) -> TNEmbedding:
            sizes = module.num_embeddings, module.embedding_dim
            return cls(*sizes, network, arrays, padding_idx=module.padding_idx, batch=batch, **options)

        return in_its_place(module, network, arrays, fit, options, make, who)

    @property
    def weight(self) -> Tensor:
        """The dense table, built now."""
        return self.tn.shown(self._table())

    def _table(self) -> Tensor:
        table = self.tn.read_as((self.num_embeddings, self.embedding_dim))
        if self.padding_idx is None:
            return table
        row = torch.arange(self.num_embeddings, device=table.device) == self.padding_idx
        return table.masked_fill(row.unsqueeze(-1), 0)

    def reset_parameters(self) -> None:
        """Draw the arrays again, with the scale of ``nn.Embedding``."""
        self.tn.reset_parameters()

    def forward(self, tokens: Tensor) -> Tensor:
        """Rows of the table: ``(..., embedding_dim)`` for whole numbers of shape ``(...)``.

        Raises
        ------
        TypeError
            Tokens that are no tensor of whole numbers.
        ValueError
            A token below 0 or from ``num_embeddings`` on; on a GPU, and in compiled code, a RuntimeError that does not name it.
        """
        if not isinstance(tokens, Tensor):
            a_tensor(tokens, "TNEmbedding: tokens")
        if tokens.is_floating_point() or tokens.is_complex() or tokens.dtype == torch.bool:
            raise TypeError(f"TNEmbedding: tokens are whole numbers, not {tokens.dtype}")
        if tokens.device != self.tn.like.device or tokens.layout is not torch.strided:
            check_input(tokens, tokens.new_empty(0, device=self.tn.like.device), "TNEmbedding: tokens")
        tokens = tokens.long()  # digits of a narrower kind would overflow, and uint8 picks as a mask does
        if tokens.numel() == 0:
            return _looked_up(self._table(), tokens)
        self._check_tokens(tokens.reshape(-1))
        if self._picked is None:
            return _looked_up(kept_weight(self, self.tn.tensors(), self._table), tokens)
        with full_precision(tokens.device):
            y = self._picked(self.tn.tensors(), tokens, self.embedding_dim)
        return y if self.padding_idx is None else y.masked_fill((tokens == self.padding_idx).unsqueeze(-1), 0)

    def _check_tokens(self, flat: Tensor) -> None:
        """An error for a token without a row, which names it where reading its value makes nothing wait."""
        num = self.num_embeddings
        rule = f"TNEmbedding({num}, {self.embedding_dim}): tokens are in 0..{num - 1}, for there are {num} rows"
        inside = (flat >= 0) & (flat < num)
        if torch.compiler.is_compiling() or flat.device.type != "cpu":
            torch._assert_async(inside.all(), rule)
        elif not TORCH.unseen((inside,)) and not bool(inside.all()):
            raise ValueError(f"{rule}, not {int(flat[~inside][0])}")

    def extra_repr(self) -> str:
        """Sizes, whether the table is built, and what of the network it does not use."""
        first = f"{self.num_embeddings}, {self.embedding_dim}, {'reconstructed' if self.plan is None else 'factorised'}"
        if self.padding_idx is not None:
            first += f", padding_idx={self.padding_idx}"
        return "\n".join(part for part in (first, self._unused) if part)


#: What ``nn.Embedding`` does to the rows of its table, or to their gradients, and why a network cannot.
_NEED_A_TABLE = {
    "max_norm": "rows of a network are not written to",
    "scale_grad_by_freq": "rows of a network have no gradients of their own",
    "sparse": "a network has no sparse gradients",
}


def _looked_up(table: Tensor, tokens: Tensor) -> Tensor:
    # torch's embedding has no gradient of complex numbers
    return table[tokens] if table.is_complex() else F.embedding(tokens, table)


def _row(padding_idx: int, num: int) -> int:
    """The row, counted from the start."""
    found = whole_number(padding_idx, "TNEmbedding: padding_idx")
    if not -num <= found < num:
        raise ValueError(f"TNEmbedding: padding_idx is a row, in {-num}..{num - 1}, not {padding_idx}")
    return found % num
