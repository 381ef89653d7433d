"""A Born machine: a matrix product state whose squared entries are the probabilities of images (Han et al. 2018), and samples from it.

python examples/born_machine.py          (at full size: a minute)
python examples/born_machine.py --small  (seconds: it shows that all works, and nothing else)

Bars and stripes: the 30 images of 4 x 4 pixels whose rows, or whose columns, are of one colour.  No distribution has a smaller negative
log-likelihood on them than their entropy, log 30.  Handwritten digits: scikit-learn's, black and white, 64 pixels.  There the
likelihood of images that were not seen says how good the model is, beside a model of independent pixels.
"""

import sys
from itertools import product
from math import log

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor

import tnkit as tk

FULL = {
    "bars": {"rank": 16, "steps": 800, "rate": 2e-2},
    "digits": {"rank": 24, "steps": 300, "rate": 5e-3},
    "samples": 10_000,
}
SMALL = {"bars": {"rank": 4, "steps": 3, "rate": 2e-2}, "digits": {"rank": 3, "steps": 2, "rate": 5e-3}, "samples": 50}


# -- the data ---------------------------------------------------------------------------------------------------------
def bars_and_stripes(side: int) -> np.ndarray:
    """Every image once, as whole numbers of shape (images, pixels)."""
    lines = np.array(list(product((0, 1), repeat=side)))
    bars = np.repeat(lines[:, :, None], side, 2)
    return np.unique(np.concatenate([bars, bars.swapaxes(1, 2)]).reshape(-1, side * side), axis=0)


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Training and test images of 8 x 8 pixels: 1 where there is more ink than half of the most."""
    images = (load_digits().data > 8).astype(np.int64)
    order = np.random.default_rng(0).permutation(len(images))
    return images[order[:1400]], images[order[1400:]]


def independent(train: np.ndarray, test: np.ndarray) -> float:
    """Negative log-likelihood of independent pixels, each as often 1 as in training (and once more, and once less)."""
    p = (train.sum(0) + 1) / (len(train) + 2)
    return float(-(test * np.log(p) + (1 - test) * np.log(1 - p)).sum(1).mean())


# -- training ---------------------------------------------------------------------------------------------------------
def trained(
    images: np.ndarray, rank: int, steps: int, rate: float, batch: int = 200
) -> tuple[tk.Network, dict[str, Tensor]]:
    """The state that gives these images the largest likelihood, by Adam from near the uniform distribution."""
    net = tk.mps((2,) * images.shape[1], rank)
    start = tk.init.near_identity(net, noise=0.1, dtype="float32")
    arrays = {name: torch.tensor(a, requires_grad=True) for name, a in start.items()}
    optimizer = torch.optim.Adam(arrays.values(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    draw = np.random.default_rng(0)
    for _ in range(steps):
        some = images if len(images) <= batch else images[draw.choice(len(images), batch, replace=False)]
        loss = -tk.log_likelihood(net, arrays, some).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net, {name: a.detach().double() for name, a in arrays.items()}


def nll(net: tk.Network, arrays: dict[str, Tensor], images: np.ndarray) -> float:
    """Negative log-likelihood of an image, in the mean."""
    return float(-tk.log_likelihood(net, arrays, images).mean())


def picture(image: np.ndarray) -> str:
    """An image in letters."""
    side = round(len(image) ** 0.5)
    return "\n".join("".join(".#"[pixel] for pixel in row) for row in image.reshape(side, side))


def main(small: bool = False) -> dict:
    """Train on both data sets, sample, and say what came out."""
    size = SMALL if small else FULL
    images = bars_and_stripes(4)
    net, arrays = trained(images, **size["bars"])
    values, logs = tk.sample(net, arrays, size["samples"], seed=0)
    known = {tuple(x) for x in images.tolist()}
    bars = {
        "entropy": log(len(images)), "nll": nll(net, arrays, images), "images": len(images),
        "valid": float(np.mean([tuple(x) in known for x in values.tolist()])),
        "kinds": len(known & {tuple(x) for x in values.tolist()}), "entropy_of_samples": float(-logs.mean()),
    }  # fmt: skip
    print(f"bars and stripes: {bars['nll']:.3f} nats, the data's entropy {bars['entropy']:.3f}; of {len(values):,} samples "
          f"{100 * bars['valid']:.1f} % are bars or stripes, and {bars['kinds']} of {len(images)} occur")  # fmt: skip
    train, test = digits()
    net, arrays = trained(train, **size["digits"])
    values, logs = tk.sample(net, arrays, size["samples"], seed=0)
    marginal = np.array([float(p[1]) for p in tk.marginals(net, arrays).values()])
    found = {
        "train": nll(net, arrays, train), "test": nll(net, arrays, test), "independent": independent(train, test),
        "parameters": net.num_params, "entropy_of_samples": float(-logs.mean()),
        "marginals_off": float(abs(values.mean(0) - marginal).max()),
    }  # fmt: skip
    print(
        f"digits: {found['train']:.2f} nats in training, {found['test']:.2f} on new images, independent pixels {found['independent']:.2f}"
    )
    print(*("  ".join(rows) for rows in zip(*(picture(x).split("\n") for x in values[:6]), strict=True)), sep="\n")
    return {"bars": bars, "digits": found, "size": size, "records": []}


if __name__ == "__main__":
    torch.set_num_threads(1)  # everything here is small
    main(small="--small" in sys.argv)
