"""torch as an array library that runs plans."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tnkit.execute import Ops

__all__ = ["TORCH", "to_tensor"]


def _like(a: np.ndarray, x: Tensor) -> Tensor:
    return torch.as_tensor(a, dtype=x.dtype, device=x.device)


#: For ``tnkit.run(plan, tensors, TORCH)`` and ``tnkit.contract(net, tensors, ops=TORCH)``.
TORCH = Ops(name="torch", xp=torch, permute=torch.permute, swap=lambda x: x.mT, like=_like, array=Tensor)


def to_tensor(array: object, dtype: torch.dtype | None = None) -> Tensor:
    """A detached copy of a numpy array or tensor.

    ``dtype`` is the precision: a complex array stays complex.  By default a tensor keeps its dtype and a numpy array takes
    torch's default one.
    """
    tensor = array.detach() if isinstance(array, Tensor) else torch.as_tensor(np.asarray(array))
    if dtype is None:
        dtype = tensor.dtype if isinstance(array, Tensor) else torch.get_default_dtype()
    if tensor.is_complex() and not dtype.is_complex:
        dtype = dtype.to_complex()
    return tensor.to(dtype, copy=True)
