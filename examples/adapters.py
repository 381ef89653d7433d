"""Adapters: a trained model learns a new task by networks that are added to its frozen weights, LoRA among them.

python examples/adapters.py          (at full size: minutes)
python examples/adapters.py --small  (seconds: it shows that all works, and nothing else)

The model is trained on the digits 0 to 4.  It is then adapted to the digits 5 to 9, from a few images of them.  Each adapter has
about as many parameters; each gets a new head, and the rate that is best on the validation part.
"""

import copy
import sys
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

import tnkit_nn as tknn
from tnkit_nn.families import BASELINES

HIDDEN = ["first", "second"]  # the layers that are adapted: 128 x 64 and 128 x 128
FAMILIES = ["low_rank", "mpo", "cp", "adtn", "circuit"]
CONTROLS = ["nothing", "head alone", "all weights"]
FULL = {"seeds": 5, "budget": 512, "pretrain": 300, "steps": 300, "rates": (3e-3, 1e-2, 3e-2)}
SMALL = {"seeds": 2, "budget": 512, "pretrain": 5, "steps": 3, "rates": (3e-3, 1e-2)}

Parts = dict[str, tuple[Tensor, Tensor]]


# -- the model and the data -------------------------------------------------------------------------------------------
class Digits(nn.Module):
    """Two hidden layers, and a head for five digits."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(64, 128), nn.Linear(128, 128), nn.Linear(128, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Images (count, 64) to logits (count, 5)."""
        return self.head(self.second(self.first(x).relu()).relu())


def parts() -> tuple[Parts, Parts]:
    """Images of 0 to 4 and of 5 to 9: of the latter 100 to train with, 150 to choose with, the others to test."""
    images, labels = (torch.tensor(a) for a in load_digits(return_X_y=True))
    images, order = images.float() / 16, torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    images, labels = images[order], labels[order]
    old, new = labels < 5, labels >= 5
    before = {"train": (images[old][:600], labels[old][:600]), "test": (images[old][600:], labels[old][600:])}
    x, y = images[new], labels[new] - 5
    return before, {"train": (x[:100], y[:100]), "val": (x[100:250], y[100:250]), "test": (x[250:], y[250:])}


# -- training: a plain loop -------------------------------------------------------------------------------------------
def batches(x: Tensor, y: Tensor, steps: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """So many batches of 32, drawn."""
    draw = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        rows = torch.randint(len(x), (32,), generator=draw)
        yield x[rows], y[rows]


def fit(model: nn.Module, part: tuple[Tensor, Tensor], steps: int, rate: float, seed: int) -> None:
    """Adam on what asks for a gradient, its rate falling to zero."""
    trained = [p for p in model.parameters() if p.requires_grad]
    method = torch.optim.Adam(trained, lr=rate)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(method, steps)
    for x, y in batches(*part, steps, seed):
        method.zero_grad()
        F.cross_entropy(model(x), y).backward()
        method.step()
        falling.step()


@torch.no_grad()
def accuracy(model: nn.Module, part: tuple[Tensor, Tensor]) -> float:
    """The fraction that is right."""
    model.eval()
    right = (model(part[0]).argmax(-1) == part[1]).float().mean()
    model.train()
    return float(right)


# -- ways to adapt ----------------------------------------------------------------------------------------------------
def prepared(model: nn.Module, way: str, budget: int, seed: int) -> nn.Module:
    """A copy with a new head of zeros, in which only what the way trains asks for a gradient."""
    model = copy.deepcopy(model).requires_grad_(way == "all weights")
    for p in model.head.parameters():
        nn.init.zeros_(p).requires_grad_(way != "nothing")
    if way in FAMILIES:
        for name in HIDDEN:
            layer = model.get_submodule(name)
            net = BASELINES[way](layer.weight.shape, budget)
            tknn.parametrize_(layer, "weight", net, base=True, seed=seed)  # starts at the weight that was there
    return model


def adapted(model: nn.Module, way: str, parts: Parts, seed: int, size: dict) -> dict:
    """What a way reaches, at the rate that is best on the validation part."""
    found = []
    for rate in size["rates"]:
        mine = prepared(model, way, size["budget"], seed)
        count = sum(p.numel() for n, p in mine.named_parameters() if p.requires_grad and not n.startswith("head."))
        if way != "nothing":
            fit(mine, parts["train"], size["steps"], rate, seed)
        found.append((accuracy(mine, parts["val"]), rate, mine))
    val, rate, best = max(found, key=lambda f: f[0])
    for name in HIDDEN if way in FAMILIES else ():  # dense layers again: nothing of tnkit is needed to use it
        want = best(parts["test"][0])
        tknn.merge_(best.get_submodule(name), "weight")
        assert torch.allclose(best(parts["test"][0]), want, atol=1e-4)
    test = accuracy(best, parts["test"])
    return {"way": way, "seed": seed, "parameters": count, "rate": rate, "val": val, "test": test}


def main(small: bool = False) -> dict:
    """Train a model; adapt it in every way, from several seeds."""
    size, records = SMALL if small else FULL, []
    before, after = parts()
    for seed in range(size["seeds"]):
        torch.manual_seed(seed)
        model = Digits()
        fit(model, before["train"], size["pretrain"], 3e-3, seed)
        old = accuracy(model, before["test"])
        records += [{**adapted(model, way, after, seed, size), "before": old} for way in (*CONTROLS, *FAMILIES)]
    for way in (*CONTROLS, *FAMILIES):
        mine = [r for r in records if r["way"] == way]
        reached = torch.tensor([r["test"] for r in mine])
        print(
            f"{way:12} {mine[0]['parameters']:6} parameters: {100 * reached.mean():.1f} ± {100 * reached.std():.1f} %"
        )
    return {"records": records}


if __name__ == "__main__":
    torch.set_num_threads(1)  # everything here is small
    main(small="--small" in sys.argv)
