"""A small GPT that reads Python's own help texts by character: windows from a DataLoader, and perplexity as its metric.

python examples/gpt.py          (at full size: minutes)
python examples/gpt.py --small  (seconds: it shows that all works, and nothing else)
tnkit compare --task examples/gpt.py:task --layer 'blocks.*.mlp.0.weight' --budgets 800
"""

import string
import sys
from collections.abc import Iterable
from pydoc_data.topics import topics

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import tnkit_nn as tknn

LAYER = "blocks.*.mlp.0.weight"  # two of 128 x 32, compressed together
LETTERS, WINDOW = string.printable, 32
FULL = {
    "shapes": ["adtn", "circuit", "mpo", "cp", "low_rank"], "seeds": 3, "dense_steps": 600, "fit_steps": 200, "tune_steps": 25,
}  # fmt: skip
SMALL = {"shapes": ["circuit", "low_rank"], "seeds": 2, "dense_steps": 2, "fit_steps": 4, "tune_steps": 1}


# -- the model --------------------------------------------------------------------------------------------------------
class Block(nn.Module):
    """Causal attention, then an MLP, each added to what comes in; ``mlp=False`` has the attention alone."""

    def __init__(self, width: int, mlp: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)) if mlp else None

    def forward(self, x: Tensor) -> Tensor:
        """(count, time, width) to the same."""
        q, k, v = (a.unflatten(-1, (2, -1)).transpose(1, 2) for a in self.qkv(self.norm1(x)).chunk(3, -1))
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(seen.transpose(1, 2).flatten(2))
        return x if self.mlp is None else x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    """Characters in, logits of the next one out."""

    def __init__(self, width: int = 32, mlp: bool = True) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(len(LETTERS), width), nn.Embedding(WINDOW, width)
        self.blocks = nn.ModuleList(Block(width, mlp) for _ in range(2))
        self.head = nn.Linear(width, len(LETTERS))

    def forward(self, letters: Tensor) -> Tensor:
        """(count, time) to (count, time, letters)."""
        x = self.token(letters) + self.place.weight[: letters.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(x)


# -- the data ---------------------------------------------------------------------------------------------------------
class Windows(Dataset):
    """Windows of a text, each with the characters that follow its own; a new one begins every ``step`` characters."""

    def __init__(self, text: Tensor, step: int) -> None:
        self.text, self.step = text, step

    def __len__(self) -> int:
        return (len(self.text) - WINDOW - 1) // self.step + 1

    def __getitem__(self, k: int) -> tuple[Tensor, Tensor]:
        piece = self.text[k * self.step :][: WINDOW + 1]
        return piece[:-1], piece[1:]


def loaders(small: bool) -> dict[str, DataLoader]:
    """The last topics are for validation and test."""
    text = torch.tensor([LETTERS.index(c) for _, topic in sorted(topics.items()) for c in topic if c in LETTERS])
    text = text[-6_000:] if small else text
    a, b = (-2_000, -1_000) if small else (-15_000, -10_000)
    pieces = {"train": Windows(text[:a], WINDOW), "val": Windows(text[a:b], 64), "test": Windows(text[b:], 64)}
    train = DataLoader(pieces.pop("train"), batch_size=16, shuffle=True)
    return {"train": train, **{name: DataLoader(windows, batch_size=64) for name, windows in pieces.items()}}


# -- the task ---------------------------------------------------------------------------------------------------------
def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """The cross entropy of the next character."""
    return F.cross_entropy(model(batch[0]).flatten(0, 1), batch[1].flatten())


def perplexity(model: nn.Module, loader: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Among how many characters the model hesitates, so to say."""
    losses, counts = zip(*((float(loss(model, batch)), len(batch[0])) for batch in loader), strict=True)
    mean = sum(a * n for a, n in zip(losses, counts, strict=True)) / sum(counts)
    return float(torch.tensor(mean).exp())  # infinite where it is too large, and no OverflowError


def smaller(parameters: int, seed: int) -> nn.Module:
    """The control that is a thinner GPT of at most so many parameters."""
    counts = {width: sum(p.numel() for p in GPT(width).parameters()) for width in range(2, 33, 2)}
    return GPT(max(width for width, count in counts.items() if width == 2 or count <= parameters))


def task(small: bool = False) -> tknn.Task:
    """Of the perplexity less is better."""
    return tknn.Task(
        lambda seed: GPT(), loaders(small), loss, tknn.Metric(perplexity, larger=False), name="GPT on Python's help",
        examples="windows", without=lambda model, *weights: GPT(mlp=False), smaller=smaller,
    )  # fmt: skip


def main(small: bool = False) -> dict:
    """Train a model and compress two of its layers; then compare families, deep (adtn, circuit) and shallow, with controls."""
    epochs, size = (1, SMALL) if small else (2, FULL)
    own = task(small)
    model = own.build(seed=0)
    tknn.train(model, own, tknn.Recipe(epochs=epochs, lr=3e-3))
    recipe = tknn.Compression(
        tknn.Layers(LAYER, "mpo", 400), order="together", stage2=tknn.Recipe(epochs=epochs, lr=1e-2)
    )
    done = tknn.compress_(model, recipe, own)
    found = tknn.compare(own, budgets=[800], depths=[3], layer=LAYER, **size)
    print(done, found, sep="\n\n")
    return {"compressed": done.report(), "records": list(found)}


if __name__ == "__main__":
    torch.set_num_threads(1)  # everything here is small
    main(small="--small" in sys.argv)
