"""A small U-Net that tells small squares from large ones: a loss for each pixel, and the mean IoU as its metric.

python examples/segmenter.py          (at full size: minutes)
python examples/segmenter.py --small  (seconds: it shows that all works, and nothing else)
tnkit compare --task examples/segmenter.py:task --layer down --budgets 600
"""

import sys
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import tnkit_nn as tknn

LAYER = "down"  # 32 x 16 x 5 x 5: the convolution to the bottom of the U
FULL = {
    "shapes": ["adtn", "circuit", "mpo", "cp", "low_rank"], "seeds": 3, "dense_steps": 200, "fit_steps": 200, "tune_steps": 30,
}  # fmt: skip
SMALL = {"shapes": ["circuit", "low_rank"], "seeds": 2, "dense_steps": 2, "fit_steps": 4, "tune_steps": 1}


# -- the model --------------------------------------------------------------------------------------------------------
class UNet(nn.Module):
    """Down, up, and a skip; ``deep=False`` is the skip alone, which sees nine pixels."""

    def __init__(self, width: int = 16, deep: bool = True) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, width, 3, padding=1)
        self.down = nn.Conv2d(width, 2 * width, 5, stride=2, padding=2) if deep else None
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2) if deep else None
        self.last = nn.Conv2d(2 * width if deep else width, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(count, 1, 16, 16) images to (count, 3, 16, 16) logits."""
        skip = self.first(images).relu()
        if self.down is None:
            return self.last(skip)
        return self.last(torch.cat([skip, self.up(self.down(skip).relu()).relu()], 1))


# -- the data ---------------------------------------------------------------------------------------------------------
class Shapes(Dataset):
    """A large and a small square in noise, drawn when asked for; a pixel is of the background (0), the small (1) or the large (2)."""

    def __init__(self, count: int, first: int = 0) -> None:
        self.count, self.first = count, first

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, k: int) -> tuple[Tensor, Tensor]:
        draw = torch.Generator().manual_seed(self.first + k)
        target = torch.zeros(16, 16, dtype=torch.int64)
        for label, size in ((2, 8), (1, 3)):
            row, column = torch.randint(17 - size, (2,), generator=draw)
            target[row : row + size, column : column + size] = label
        return (target > 0) + 0.3 * torch.randn(1, 16, 16, generator=draw), target


def drawn(count: int, first: int) -> tuple[Tensor, Tensor]:
    """Shapes drawn once, as tensors."""
    images, targets = zip(*(Shapes(count, first)[k] for k in range(count)), strict=True)
    return torch.stack(images), torch.stack(targets)


# -- the task ---------------------------------------------------------------------------------------------------------
def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """The cross entropy of a pixel."""
    return F.cross_entropy(model(batch[0]), batch[1])


def mean_iou(model: nn.Module, loader: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Intersection over union of each class, over all pixels; the mean of the three."""
    both, either = torch.zeros(3), torch.zeros(3)
    for images, target in loader:
        found = F.one_hot(model(images).argmax(1), 3).bool()
        wanted = F.one_hot(target, 3).bool()
        both, either = both + (found & wanted).sum((0, 1, 2)), either + (found | wanted).sum((0, 1, 2))
    return float((both / either).mean())


def smaller(parameters: int, seed: int) -> nn.Module:
    """The control that is a thinner U-Net of at most so many parameters."""
    counts = {width: sum(p.numel() for p in UNet(width).parameters()) for width in range(1, 17)}
    return UNet(max(width for width, count in counts.items() if width == 1 or count <= parameters))


def task(small: bool = False) -> tknn.Task:
    """Training images are drawn when asked for, by a loader; what is read again and again lies in tensors."""
    sizes = {"train": 32, "val": 8, "test": 16} if small else {"train": 768, "val": 64, "test": 256}
    data = {
        "train": DataLoader(Shapes(sizes["train"]), batch_size=16, shuffle=True),
        "val": drawn(sizes["val"], first=10_000),
        "test": drawn(sizes["test"], first=20_000),
    }
    return tknn.Task(
        lambda seed: UNet(), data, loss, tknn.Metric(mean_iou, "mean IoU"), name="U-Net on squares", examples="images",
        without=lambda model, *weights: UNet(deep=False), smaller=smaller,
    )  # fmt: skip


def main(small: bool = False) -> dict:
    """Train a model and compress its layer; then compare families, deep (adtn, circuit) and shallow, with controls."""
    epochs, size = (1, SMALL) if small else (12, FULL)
    own = task(small)
    model = own.build(seed=0)
    tknn.train(model, own, tknn.Recipe(epochs=epochs, lr=1e-2))
    recipe = tknn.Compression(tknn.Layers(LAYER, "mpo", 600), stage2=tknn.Recipe(epochs=epochs, lr=1e-2))
    done = tknn.compress_(model, recipe, own)
    found = tknn.compare(own, budgets=[600], depths=[3], layer=LAYER, **size)
    print(done, found, sep="\n\n")
    return {"compressed": done.report(), "records": list(found)}


if __name__ == "__main__":
    torch.set_num_threads(1)  # everything here is small
    main(small="--small" in sys.argv)
