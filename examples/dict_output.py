"""A model in the way of Hugging Face: dict batches in, a dict with its loss out; two inputs, and an encoder that is used twice.

python examples/dict_output.py          (at full size: minutes)
python examples/dict_output.py --small  (seconds: it shows that all works, and nothing else)
tnkit compare --task examples/dict_output.py:task --layer encoder --budgets 400
"""

import sys
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import tnkit_nn as tknn

LAYER = "encoder"  # 64 x 64, one weight for both images
FULL = {
    "shapes": ["adtn", "circuit", "mpo", "cp", "low_rank"], "seeds": 3, "dense_steps": 600, "fit_steps": 200, "tune_steps": 100,
}  # fmt: skip
SMALL = {"shapes": ["circuit", "low_rank"], "seeds": 2, "dense_steps": 4, "fit_steps": 4, "tune_steps": 2}


# -- the model --------------------------------------------------------------------------------------------------------
class Adder(nn.Module):
    """The sum of two digits, from their images; ``encode=False`` has no encoder."""

    def __init__(self, width: int = 64, encode: bool = True) -> None:
        super().__init__()
        self.encoder = nn.Linear(64, width) if encode else nn.Identity()
        self.mixer = nn.Linear(2 * width if encode else 128, 64)
        self.head = nn.Linear(64, 19)

    def forward(self, first: Tensor, second: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """``{"logits": ...}`` and, where there are labels, ``"loss"``."""
        seen = torch.cat([self.encoder(first).relu(), self.encoder(second).relu()], -1)
        logits = self.head(self.mixer(seen).relu())
        return {"logits": logits} if labels is None else {"loss": F.cross_entropy(logits, labels), "logits": logits}


# -- the data ---------------------------------------------------------------------------------------------------------
class Sums(Dataset):
    """Pairs of scikit-learn's digits, as dicts of tensors."""

    def __init__(self, images: Tensor, labels: Tensor, pairs: int) -> None:
        self.images, self.labels = images, labels
        self.pairs = torch.randint(len(images), (pairs, 2), generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, k: int) -> dict[str, Tensor]:
        a, b = self.pairs[k]
        return {"first": self.images[a], "second": self.images[b], "labels": self.labels[a] + self.labels[b]}


def loaders(small: bool) -> dict[str, DataLoader]:
    """No image is in two parts."""
    images, labels = (torch.tensor(a) for a in load_digits(return_X_y=True))
    images, scale = images.float() / 16, 16 if small else 1
    sizes = {"train": (slice(0, 1200), 6400), "val": (slice(1200, 1400), 512), "test": (slice(1400, None), 2048)}
    return {
        name: DataLoader(Sums(images[rows], labels[rows], pairs // scale), batch_size=64, shuffle=name == "train")
        for name, (rows, pairs) in sizes.items()
    }


# -- the task ---------------------------------------------------------------------------------------------------------
def loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """The model's own."""
    return model(**batch)["loss"]


def right_sums(model: nn.Module, loader: Iterable[dict[str, Tensor]]) -> float:
    """The fraction of the pairs whose sum is right."""
    right = [model(**batch)["logits"].argmax(-1) == batch["labels"] for batch in loader]
    return float(torch.cat(right).float().mean())


def smaller(parameters: int, seed: int) -> nn.Module:
    """The control that is a thinner model of at most so many parameters."""
    return Adder(max(w for w in range(1, 65) if w == 1 or 193 * w + 1299 <= parameters))


def task(small: bool = False) -> tknn.Task:
    """The metric's values are fractions, to be shown per cent."""
    return tknn.Task(
        lambda seed: Adder(), loaders(small), loss, tknn.Metric(right_sums, unit="%"), name="sums of two digits", examples="pairs",
        without=lambda model, *weights: Adder(encode=False), smaller=smaller,
    )  # fmt: skip


def main(small: bool = False) -> dict:
    """Train a model and compress its layer; then compare families, deep (adtn, circuit) and shallow, with controls."""
    epochs, size = (1, SMALL) if small else (12, FULL)
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
