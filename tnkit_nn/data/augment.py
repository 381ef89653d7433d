"""Augmentations: functions of a batch of images and a generator, the same batch again from the same generator state."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from tnkit_nn.checks import a_kind, a_tensor

__all__ = ["AUGMENT", "crop_flip", "unchanged"]

PADDING = 4


def unchanged(images: Tensor, generator: Generator) -> Tensor:
    """The batch itself."""
    return images


def crop_flip(images: Tensor, generator: Generator) -> Tensor:
    """Shift each image by up to four pixels, the border filled by reflection, and mirror every second one: CIFAR's usual.

    >>> images = torch.rand(8, 3, 32, 32)
    >>> moved = tknn.data.crop_flip(images, torch.Generator().manual_seed(0))
    >>> moved.shape, torch.equal(moved, images)
    (torch.Size([8, 3, 32, 32]), False)
    >>> again = tknn.data.crop_flip(images, torch.Generator().manual_seed(0))
    >>> torch.equal(again, moved)  # equal seeds, equal images
    True

    Parameters
    ----------
    images
        (batch, channels, height, width), left as it is.
    generator
        Where the shifts and flips come from; it is advanced.

    Returns
    -------
    Tensor
        A new batch of the same shape.

    Raises
    ------
    TypeError, ValueError
        No batch of images, or no generator.
    """
    shape = a_tensor(images, "crop_flip: images").shape
    if len(shape) != 4 or min(shape[2:]) <= PADDING:
        rule = f"crop_flip: images have shape (count, channels, height, width), height and width above {PADDING}"
        raise ValueError(f"{rule}, not {tuple(shape)}")
    a_kind(generator, Generator, "crop_flip: generator")
    count, channels, height, width = shape
    padded = F.pad(images, (PADDING,) * 4, mode="reflect")
    shift = torch.randint(2 * PADDING + 1, (2, count, 1), generator=generator, device=generator.device)
    flip = torch.rand(count, 1, generator=generator, device=generator.device) < 0.5
    columns = torch.arange(width, device=generator.device)
    rows = (shift[0] + torch.arange(height, device=generator.device)).to(images.device)
    columns = (shift[1] + torch.where(flip, columns.flip(0), columns)).to(images.device)
    rows = rows[:, None, :, None].expand(-1, channels, -1, padded.shape[-1])
    return padded.gather(2, rows).gather(3, columns[:, None, None, :].expand(-1, channels, height, -1))


AUGMENT: dict[str, Callable[[Tensor, Generator], Tensor]] = {"none": unchanged, "crop_flip": crop_flip}
"""The augmentations by name: name -> ``f(images, generator) -> images``, or None where nothing is done.

>>> sorted(tknn.data.AUGMENT), tknn.data.AUGMENT["crop_flip"] is tknn.data.crop_flip
(['crop_flip', 'none'], True)
>>> tknn.Recipe(epochs=1, lr=0.1, augment="crop_flip").augment
'crop_flip'
"""
