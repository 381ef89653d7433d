"""An LSTM that reads a digit row by row: a deep or a shallow network as its recurrent weight.

python examples/lstm.py          (at full size: minutes)
python examples/lstm.py --small  (seconds: it shows that all works, and nothing else)
tnkit compare --task examples/lstm.py:task --layer rnn.weight_hh_l0 --budgets 400
"""

import sys

import torch
from torch import Tensor, nn

import tnkit_nn as tknn

LAYER = "rnn.weight_hh_l0"  # 128 x 32: what the cell takes from its last state
FULL = {
    "shapes": ["adtn", "circuit", "mpo", "cp", "low_rank"], "seeds": 3, "dense_steps": 500, "fit_steps": 200, "tune_steps": 50,
}  # fmt: skip
SMALL = {"shapes": ["circuit", "low_rank"], "seeds": 2, "dense_steps": 4, "fit_steps": 4, "tune_steps": 2}


# -- the model --------------------------------------------------------------------------------------------------------
class Reader(nn.Module):
    """Reads eight rows of eight pixels, and answers from the last state."""

    def __init__(self, hidden: int = 32) -> None:
        super().__init__()
        self.rnn = nn.LSTM(8, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        """(count, 64) pixels to (count, 10) logits."""
        _, (state, _) = self.rnn(pixels.view(-1, 8, 8))
        return self.head(state[-1])


class Rows(nn.Module):
    """The reader without a recurrent weight: it looks at each row by itself, and answers from their mean."""

    def __init__(self, hidden: int = 32) -> None:
        super().__init__()
        self.row = nn.Linear(8, hidden)
        self.head = nn.Linear(hidden, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        """(count, 64) pixels to (count, 10) logits."""
        return self.head(self.row(pixels.view(-1, 8, 8)).tanh().mean(1))


# -- the task ---------------------------------------------------------------------------------------------------------
def make(seed: int) -> nn.Module:
    """The model; torch's random numbers are seeded by the seed already."""
    return Reader()


def without(model: nn.Module, *weights: str) -> nn.Module:
    """The control that has no recurrent weight."""
    return Rows()


def smaller(parameters: int, seed: int) -> nn.Module:
    """The control that is a dense reader of at most so many parameters."""
    return Reader(max(h for h in range(1, 33) if h == 1 or 4 * h * (8 + h + 2) + 10 * h + 10 <= parameters))


def task(small: bool = False) -> tknn.Task:
    """scikit-learn's digits; a task without a loss and a metric of its own is for classifiers: cross entropy and accuracy."""
    limit = 100 if small else None
    return tknn.Task(make, "digits", name="LSTM on rows of digits", without=without, smaller=smaller, limit=limit)


def main(small: bool = False) -> dict:
    """Train a model and compress its layer; then compare families, deep (adtn, circuit) and shallow, with controls."""
    epochs, size = (1, SMALL) if small else (30, FULL)
    own = task(small)
    model = own.build(seed=0)
    tknn.train(model, own, tknn.Recipe(epochs=epochs, lr=1e-2))
    recipe = tknn.Compression(tknn.Layers(LAYER, "mpo", 400), stage2=tknn.Recipe(epochs=epochs, lr=1e-2))
    done = tknn.compress_(model, recipe, own)
    found = tknn.compare(own, budgets=[400], depths=[3], layer=LAYER, **size)
    print(done, found, sep="\n\n")
    return {"compressed": done.report(), "records": list(found)}


if __name__ == "__main__":
    torch.set_num_threads(1)  # everything here is small
    main(small="--small" in sys.argv)
