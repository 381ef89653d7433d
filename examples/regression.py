"""Regression: how far a disease has come after a year, from ten measurements; mean squared error, and R2 as its metric.

python examples/regression.py          (at full size: under a minute)
python examples/regression.py --small  (seconds: it shows that all works, and nothing else)
tnkit compare --task examples/regression.py:task --layer hidden --budgets 300
"""

import sys
from collections import OrderedDict
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from sklearn.datasets import load_diabetes
from torch import Tensor, nn

import tnkit_nn as tknn

LAYER = "hidden"  # 64 x 64
FULL = {
    "shapes": ["adtn", "circuit", "mpo", "cp", "low_rank"], "seeds": 5, "dense_steps": 150, "fit_steps": 200, "tune_steps": 100,
}  # fmt: skip
SMALL = {"shapes": ["circuit", "low_rank"], "seeds": 2, "dense_steps": 4, "fit_steps": 4, "tune_steps": 2}


# -- the model --------------------------------------------------------------------------------------------------------
def chain(width: int = 64) -> nn.Module:
    """Ten numbers in, one out.  The control without the layer needs no code: tnkit_nn knows how a chain goes without one."""
    return nn.Sequential(
        OrderedDict(
            first=nn.Linear(10, width), relu1=nn.ReLU(), hidden=nn.Linear(width, width), relu2=nn.ReLU(), last=nn.Linear(width, 1)
        )
    )  # fmt: skip


def smaller(parameters: int, seed: int) -> nn.Module:
    """The control that is a thinner chain of at most so many parameters."""
    return chain(max(w for w in range(1, 65) if w == 1 or w * w + 13 * w + 1 <= parameters))


# -- the data ---------------------------------------------------------------------------------------------------------
def parts() -> dict[str, tuple[Tensor, Tensor]]:
    """442 patients of scikit-learn's diabetes data: inputs and targets of unit variance, as the training part has it."""
    x, y = (torch.tensor(a, dtype=torch.float32) for a in load_diabetes(return_X_y=True, scaled=False))
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    train, val, test = order[:252], order[252:312], order[312:]
    x = (x - x[train].mean(0)) / x[train].std(0)
    y = (y - y[train].mean()) / y[train].std()
    return {name: (x[rows], y[rows, None]) for name, rows in (("train", train), ("val", val), ("test", test))}


# -- the task ---------------------------------------------------------------------------------------------------------
def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """The mean squared error."""
    return F.mse_loss(model(batch[0]), batch[1])


def r2(model: nn.Module, loader: Iterable[tuple[Tensor, Tensor]]) -> float:
    """The part of the variance that is explained."""
    found, wanted = (torch.cat(each) for each in zip(*((model(x), y) for x, y in loader), strict=True))
    return 1 - float((found - wanted).square().sum() / (wanted - wanted.mean()).square().sum())


def task(small: bool = False) -> tknn.Task:
    """Tensors in memory."""
    metric = tknn.Metric(r2, "R2")
    return tknn.Task(
        lambda seed: chain(), parts(), loss, metric, name="MLP on diabetes", examples="patients", smaller=smaller
    )


def main(small: bool = False) -> dict:
    """Train a model and compress its layer; then compare families, deep (adtn, circuit) and shallow, with controls."""
    epochs, size = (1, SMALL) if small else (30, FULL)
    own = task(small)
    model = own.build(seed=0)
    tknn.train(model, own, tknn.Recipe(epochs=epochs, lr=3e-3))
    recipe = tknn.Compression(tknn.Layers(LAYER, "mpo", 300), stage2=tknn.Recipe(epochs=epochs, lr=1e-2))
    done = tknn.compress_(model, recipe, own)
    found = tknn.compare(own, budgets=[300], depths=[3], layer=LAYER, **size)
    print(done, found, sep="\n\n")
    return {"compressed": done.report(), "records": list(found)}


if __name__ == "__main__":
    torch.set_num_threads(1)  # everything here is small
    main(small="--small" in sys.argv)
