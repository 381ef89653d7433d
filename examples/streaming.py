"""Data that streams: signals are drawn as they are asked for, and never all in memory; three shapes of wave are told by a model.

python examples/streaming.py          (at full size: minutes)
python examples/streaming.py --small  (seconds: it shows that all works, and nothing else)
tnkit compare --task examples/streaming.py:task --layer fc1 --budgets 400
"""

import sys
from collections import OrderedDict
from collections.abc import Iterator
from math import pi

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

import tnkit_nn as tknn

LAYER = "fc1"  # 64 x 64
FULL = {
    "shapes": ["adtn", "circuit", "mpo", "cp", "low_rank"], "seeds": 3, "dense_steps": 400, "fit_steps": 200, "tune_steps": 100,
}  # fmt: skip
SMALL = {"shapes": ["circuit", "low_rank"], "seeds": 2, "dense_steps": 4, "fit_steps": 4, "tune_steps": 2}


# -- the data ---------------------------------------------------------------------------------------------------------
class Waves(IterableDataset):
    """Batches of 64 noisy waves (sine, square, saw tooth) of 64 samples: other ones in each pass, unless there is a seed."""

    def __init__(self, batches: int, seed: int | None = None) -> None:
        self.batches, self.seed = batches, seed

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        # without a seed a stream draws from torch's random numbers, which tnkit_nn seeds for each seed and epoch
        draw = None if self.seed is None else torch.Generator().manual_seed(self.seed)
        for _ in range(self.batches):
            kind = torch.randint(3, (64,), generator=draw)
            periods, phase = 1 + 2 * torch.rand(64, 1, generator=draw), 2 * pi * torch.rand(64, 1, generator=draw)
            angle = periods * torch.linspace(0, 2 * pi, 64) + phase
            waves = torch.stack([angle.sin(), angle.sin().sign(), angle / pi % 2 - 1])
            yield waves[kind, torch.arange(64)] + 0.6 * torch.randn(64, 64, generator=draw), kind


# -- the model --------------------------------------------------------------------------------------------------------
def chain(width: int = 64) -> nn.Module:
    """64 samples in, three logits out."""
    return nn.Sequential(
        OrderedDict(
            fc1=nn.Linear(64, width), relu1=nn.ReLU(), fc2=nn.Linear(width, 64), relu2=nn.ReLU(), head=nn.Linear(64, 3)
        )
    )  # fmt: skip


def smaller(parameters: int, seed: int) -> nn.Module:
    """The control that is a thinner chain of at most so many parameters."""
    return chain(max(w for w in range(1, 65) if w == 1 or 129 * w + 259 <= parameters))


# -- the task ---------------------------------------------------------------------------------------------------------
def task(small: bool = False) -> tknn.Task:
    """Batches are inputs and labels: a classifier's loss and metric will do."""
    train, val, test = (4, 1, 1) if small else (100, 8, 32)
    streams = {"train": Waves(train), "val": Waves(val, seed=1), "test": Waves(test, seed=2)}
    data = {name: DataLoader(stream, batch_size=None) for name, stream in streams.items()}
    return tknn.Task(lambda seed: chain(), data, name="a stream of waves", examples="signals", smaller=smaller)


def main(small: bool = False) -> dict:
    """Train a model and compress its layer; then compare families, deep (adtn, circuit) and shallow, with controls."""
    epochs, size = (1, SMALL) if small else (6, FULL)
    own = task(small)
    model = own.build(seed=0)
    tknn.train(model, own, tknn.Recipe(epochs=epochs, lr=3e-3))
    recipe = tknn.Compression(tknn.Layers(LAYER, "mpo", 400), stage2=tknn.Recipe(epochs=epochs, lr=1e-2))
    done = tknn.compress_(model, recipe, own)
    found = tknn.compare(own, budgets=[400], depths=[3], layer=LAYER, **size)
    print(done, found, sep="\n\n")
    return {"compressed": done.report(), "records": list(found)}


if __name__ == "__main__":
    torch.set_num_threads(1)  # everything here is small
    main(small="--small" in sys.argv)
