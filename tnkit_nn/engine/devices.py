"""What differs between devices: Apple's GPUs have no double precision, and torch makes tensors on the device of its default."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

__all__ = ["dtype_there", "has_doubles", "made_on", "with_doubles"]

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


def made_on(device: torch.device) -> AbstractContextManager[Any]:
    """Within it new tensors are made on a device, whatever ``torch.set_default_device`` says."""
    return nullcontext() if torch.get_default_device() == device else device
