"""Does a deep network gain by beginning as a shallow one, before the training or in the middle of it?  LeNet-5's ``fc1`` on MNIST.

The cells of the study ``grown`` of ``benchmarks/paper/studies.py``.  Every row is trained twice, each time in one cycle of the rate that
validation images prefer; all other layers stay as they are.  One row is lifted between the two (:func:`tnkit.init.lifted`): the
network inside of the circuit is trained first, and the circuit goes on from it.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any, cast

from cells import Cell, dense, denses
from deep import on_the_same_digits
from scratch import halves
from torch import nn
from transfer import once

import tnkit as tk
from tnkit.execution.lifting import shallow
from tnkit_nn import data
from tnkit_nn.adapter.generated import Generated, generator_of
from tnkit_nn.adapter.parametrize import parametrize_
from tnkit_nn.approximation.approximate import approximate
from tnkit_nn.data.splits import Split
from tnkit_nn.families import KINDS
from tnkit_nn.searches.deep import circuit_near
from tnkit_nn.training.evaluation import accuracy
from tnkit_nn.training.groups import Group
from tnkit_nn.training.loop import train
from tnkit_nn.training.recipe import Recipe

Arrays = Mapping[str, Any]

SEEDS = range(300, 310)
BUDGET, BATCH = 400, 64
#: The three in the middle are tried, and the next one each time that the best is at the edge.
RATES = (2.5e-4, 1e-3, 4e-3, 1.6e-2, 6.4e-2, 2.56e-1)
#: Steps of the approximation of the dense weight.
STEPS = 300
#: Row -> (network of the first training, how it begins).
ROWS = {
    "circuit, random start": ("circuit", "skip"),
    "circuit, lifted before": ("circuit", "lifted"),
    "circuit, grown between": ("inside", "auto"),
    "the TT-matrix inside": ("inside", "auto"),
    "TT-matrix, no fewer": ("mpo", "auto"),
    "ring, no fewer": ("ring", "auto"),
    "CP, no fewer": ("cp", "auto"),
    "TT-matrix on the circuit's digits": ("mpo on 3", "auto"),
    "ring on the circuit's digits": ("ring on 3", "auto"),
}
CELLS: list[Cell] = [{"row": row, "seed": seed} for seed in SEEDS for row in ROWS]


def grown(cell: Cell, args: argparse.Namespace, out: Path) -> dict[str, Any]:
    """One row at one seed: its accuracy after each of the two trainings, and the rates."""
    split, head = features(args, out.parent, cell["seed"]), halves(trained(args, out.parent, cell["seed"]))[1]
    deep = networks()["circuit"]
    kind, start = ROWS[cell["row"]]
    net, seed = networks()[kind], cell["seed"]
    arrays: Arrays = approximate(net, head[0].weight.detach(), method=start, steps=STEPS, seed=seed).arrays
    figures: dict[str, Any] = {"before": measured(head, net, arrays, split)}
    for when, epochs in (("middle", args.epochs // 2), ("after", args.epochs - args.epochs // 2)):
        if when == "after" and cell["row"] == "circuit, grown between":
            net, arrays = deep, tk.init.lifted(deep, (net, arrays))
        figures[when], arrays = best(partial(tuned, head, net, arrays, split, epochs, seed))
    return {**figures, "accuracy": figures["after"]["test"], "numbers": net.num_params}


def networks() -> dict[str, tk.Network]:
    """A circuit of about 400 parameters, the network inside of it, and shallow ones with no fewer parameters than the circuit."""
    shape = (120, 400)
    circuit = circuit_near(shape, BUDGET, depth=2, digits=(3,))
    inside = shallow(circuit)
    assert inside is not None
    rivals = {name: KINDS[name].build(shape, circuit.num_params, at_least=True) for name in ("mpo", "ring", "cp")}
    same = {f"{n} on 3": on_the_same_digits(shape, BUDGET, n, 3, circuit.num_params) for n in ("mpo", "ring")}
    return {"circuit": circuit, "inside": inside, **rivals, **same}


def best(train_at: Callable[[float], tuple[dict[str, float], Arrays]]) -> tuple[dict[str, float], Arrays]:
    """What the rate gives that validation prefers, and that rate."""
    tried, low, high = {k: train_at(RATES[k]) for k in (2, 3, 4)}, 2, 4
    while True:
        chosen = max(tried, key=lambda k: tried[k][0]["val"])
        further = {low: low - 1, high: high + 1}.get(chosen, -1)
        if not 0 <= further < len(RATES):
            figures, arrays = tried[chosen]
            return {**figures, "rate": RATES[chosen]}, arrays
        tried[further] = train_at(RATES[further])
        low, high = min(tried), max(tried)


def tuned(
    head: nn.Sequential, net: tk.Network, arrays: Arrays, split: Split, epochs: int, seed: int, rate: float
) -> tuple[dict[str, float], Arrays]:
    """What a training of the network alone reaches, and its arrays."""
    model, made = with_network(head, net, arrays)
    recipe = Recipe(epochs=max(1, epochs), lr=rate, batch=BATCH, schedule="onecycle")
    train(model, split, recipe, seed=seed, groups=[Group(dict(made.named_parameters()), lr=rate)])
    return both(model, split), {name: x.detach().clone() for name, x in made.tensors().items()}


def measured(head: nn.Sequential, net: tk.Network, arrays: Arrays, split: Split) -> dict[str, float]:
    """What the network reaches as it is."""
    return both(with_network(head, net, arrays)[0], split)


def both(model: nn.Module, split: Split) -> dict[str, float]:
    """Accuracies on validation and test images."""
    return {"val": accuracy(model, split.val), "test": accuracy(model, split.test)}


def with_network(head: nn.Sequential, net: tk.Network, arrays: Arrays) -> tuple[nn.Sequential, Generated]:
    """A copy of the linear layers with a network as the first weight."""
    model = copy.deepcopy(head)
    parametrize_(model[0], "weight", net, arrays)
    return model, cast(Generated, generator_of(cast(Any, model[0]).parametrizations.weight))


# -- what is made once ----------------------------------------------------------------------------------------------------
def prepared(args: argparse.Namespace, folder: Path, pool: Executor | None) -> None:
    """The dense models, one a seed, and what their convolutions make of the images."""
    seeds = SEEDS[:1] if args.quick else SEEDS
    denses("mnist", args, folder, [("lenet5", seed) for seed in seeds], pool)
    for seed in seeds:
        features(args, folder, seed)


def images(args: argparse.Namespace) -> Split:
    """MNIST, at most ``--limit`` images a part."""
    return data.load("mnist", args.data_dir, limit=args.limit)


def trained(args: argparse.Namespace, folder: Path, seed: int) -> Any:
    """The dense model of a seed."""
    return dense("lenet5", images(args), seed, folder)


def features(args: argparse.Namespace, folder: Path, seed: int) -> Split:
    """What its convolutions make of the images: 400 numbers an image."""
    made = partial(_made, args, folder, seed)
    return once(folder / f"features-{seed}-{args.limit}.safetensors", made)


def _made(args: argparse.Namespace, folder: Path, seed: int) -> tuple[Split, nn.Module]:
    return images(args), halves(trained(args, folder, seed))[0]
