"""What differs between devices: Apple's GPUs have no double precision, and torch makes tensors on the device of its default."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["dtype_there", "has_doubles", "with_doubles"]

#: Types of devices without float64 and complex128.
_WITHOUT = {"mps"}
_SINGLE = {torch.float64: torch.float32, torch.complex128: torch.complex64}


def has_doubles(device: torch.device) -> bool:
    """Whether numbers of double precision can lie on a device."""
    return device.type not in _WITHOUT


def with_doubles(x: Tensor) -> Tensor:
    """The tensor, on the processor where its own device has no double precision."""
    return x if has_doubles(x.device) else x.cpu()


def dtype_there(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """The dtype, or that of half the width where a device has no double precision."""
    return dtype if has_doubles(device) else _SINGLE.get(dtype, dtype)
