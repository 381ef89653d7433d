"""Isometric nodes: arrays that stay isometries through training, by torch's own orthogonal parametrization."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from tnkit.core.directions import axes_toward, directions
from tnkit_nn.adapter.module import TNModule
from tnkit_nn.checks import a_kind, materialised

__all__ = ["isometric_"]


def isometric_(module: TNModule, toward: Mapping[str, Any] | None = None) -> TNModule:
    """Keep nodes of a network isometries while it is trained, in place.

    >>> net = tk.mera((2,) * 8, 2)
    >>> module = tknn.TNModule(net, tk.init.orthogonal(net, toward=tk.directions(net)))
    >>> module = tknn.isometric_(module)
    >>> for p in module.parameters():
    ...     p.data += 0.1
    >>> u = module.tensors()["u_0_1"].reshape(4, 4)
    >>> torch.allclose(u.T @ u, torch.eye(4), atol=1e-5)  # whatever the optimiser does
    True

    The array of such a node, read as a matrix of its other indices by those towards the centre, has orthonormal columns, whatever the
    optimiser does (:func:`torch.nn.utils.parametrizations.orthogonal`).  An array that is none yet becomes the nearest one: begin
    with :func:`tnkit.init.orthogonal` or :func:`tnkit.canonicalize`, and the tensor stays as it is.  ``state_dict`` has
    ``parametrizations.<array>.original`` in its place; a model to be loaded is made in the same way first.  :func:`save` takes such a model
    after ``torch.nn.utils.parametrize.remove_parametrizations(module, array)``, which leaves the array as it is.

    Parameters
    ----------
    module
        A :class:`TNModule`, or the network behind a weight, ``layer.parametrizations.weight[0]``.
    toward
        Node -> its indices towards the centre; by default :func:`tnkit.directions` of the network.

    Returns
    -------
    TNModule
        ``module``.

    Raises
    ------
    TypeError
        No TNModule, no mapping from nodes to indices.
    ValueError
        A network without directions; a node that is not there, not trained, or an isometry already; indices towards which there is
        none; arrays on the meta device, or in half precision, for which torch has no orthogonal maps.
    """
    who = "isometric_"
    a_kind(module, TNModule, f"{who}: module")
    net = module.network
    axes = axes_toward(net, directions(net) if toward is None else toward, who)
    for name in axes:
        if name not in module._parameters:
            why = "an isometry already" if parametrize.is_parametrized(module, name) else "no parameter of the module"
            raise ValueError(f"{who}: array {name!r} is {why}")
        x = materialised(module.get_parameter(name), f"{who}: array {name!r}")
        if x.dtype.itemsize < (8 if x.is_complex() else 4):
            raise ValueError(
                f"{who}: array {name!r} is of single or double precision, not {x.dtype}; module.float() is"
            )
    for name, towards in axes.items():
        _constrain(module, name, towards)
    return module


def _constrain(module: TNModule, name: str, towards: Sequence[int]) -> None:
    """Replace a parameter by its matrix, made orthogonal by torch and folded into the array's shape."""
    old = module.get_parameter(name)
    fold = _FromMatrix(tuple(old.shape), towards)
    with torch.no_grad():
        u, _, vh = torch.linalg.svd(fold.right_inverse(old), full_matrices=False)
        module.register_parameter(name, nn.Parameter(u @ vh, requires_grad=old.requires_grad))
        parametrizations.orthogonal(module, name)
        parametrize.register_parametrization(module, name, fold, unsafe=True)  # which has another shape than its matrix


class _FromMatrix(nn.Module):
    """A matrix, of some axes by the others, as an array."""

    def __init__(self, shape: Sequence[int], columns: Sequence[int]) -> None:
        super().__init__()
        self.shape, self.columns = tuple(shape), tuple(columns)
        self.rows = tuple(k for k in range(len(self.shape)) if k not in self.columns)

    def forward(self, matrix: Tensor) -> Tensor:
        """The array."""
        order = (*self.rows, *self.columns)
        return matrix.reshape([self.shape[k] for k in order]).permute([order.index(k) for k in range(len(order))])

    def right_inverse(self, x: Tensor) -> Tensor:
        """Its matrix."""
        return x.permute(*self.rows, *self.columns).reshape(prod(self.shape[k] for k in self.rows), -1)

    def extra_repr(self) -> str:
        """The shape, and which axes are columns."""
        return f"{self.shape}, columns={self.columns}"
