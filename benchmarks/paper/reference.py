"""Does code that has changed give the same numbers?  ``python benchmarks/paper/reference.py COMMIT``

Small runs go through what the studies go through (a comparison of every family, a training, a compression), once with the code of
COMMIT and once with that of today.  Where all their numbers are the same to the last bit, the digests of the parts of the code that have
changed between the two are kept in ``same.json``: results of the older code are then no older than today's (``digests.older``).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from digests import ROOT, SAME
from torch import nn

import tnkit_nn as tknn
from tnkit_nn import zoo
from tnkit_nn.families import KINDS, families
from tnkit_nn.storage import replacing

#: Of a record, what a clock, a machine or a version is in.
_OF_THE_RUN = ("seconds", "forward", "machine", "command", "versions", "networks")


# -- runs ---------------------------------------------------------------------------------------------------------------
def convolutional(seed: int) -> nn.Module:
    """A small convolutional model of the digits' images."""
    torch.manual_seed(seed)
    layers = [
        nn.Unflatten(1, (1, 8)),
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1),
    ]
    return nn.Sequential(nn.Flatten(), nn.Unflatten(1, (8, 8)), *layers, nn.ReLU(), nn.Flatten(), nn.Linear(1024, 10))  # fmt: skip


def compared() -> Iterator[Any]:
    """Comparisons: every family on a linear layer, both readings; a convolution and two layers at once, the others frozen."""
    steps = {"seeds": 2, "dense_steps": 25, "fit_steps": 12, "tune_steps": 15}
    every = [*families(list(KINDS), (1, 2, 3)), *families(["tt+tanh", "low_rank+relu"])]
    few = families(["mpo", "tt", "cp", "ring", "kronecker", "adtn", "circuit"], (2, 3))
    digits = tknn.Task("mlp", "digits", limit=300)
    images = tknn.Task(convolutional, tknn.data.digits(), limit=300)
    yield tknn.compare(digits, every, [500], layer="fc1", **steps)
    yield tknn.compare(
        digits,
        few,
        [400, 900],
        layer=("fc1", "fc2"),
        rest="none",
        at_least=True,
        rates="structured",
        first_seed=5,
        **steps,
    )
    yield tknn.compare(images, few, [150], layer="6", rest="head", **steps)


def trained() -> Iterator[Any]:
    """Trainings by the recipes of the zoo, two steps each, and one of two epochs."""
    draw = torch.Generator().manual_seed(0)
    for name, shape in (("mlp", (8, 8)), ("lenet5", (1, 28, 28)), ("alexnet", (3, 32, 32)), ("vgg16", (3, 32, 32))):
        x, y = torch.rand(64, *shape, generator=draw), torch.randint(10, (64,), generator=draw)
        split = tknn.data.Split(name, (x, y), (x[:16], y[:16]), (x[:16], y[:16]))
        model = built(name)
        history = tknn.train(model, split, tknn.Recipe(**{**vars(zoo.TRAIN[name]), "epochs": 1, "batch": 32}), seed=2)
        yield [{k: v for k, v in vars(epoch).items() if k != "seconds"} for epoch in history], sums(model)
    model, digits = built("mlp"), tknn.Task("mlp", "digits", limit=200)
    yield [epoch.loss for epoch in tknn.train(model, digits, tknn.Recipe(epochs=2, lr=1e-3), seed=0)], sums(model)


def compressed() -> Iterator[Any]:
    """Compressions in every order, with and without an approximation."""
    for order in ("backward", "forward", "together"):
        for family in ("mpo", "adtn"):
            model, digits = built("mlp"), tknn.Task("mlp", "digits", limit=200)
            layers = (tknn.Layers("fc*", family, budget=300),)
            recipe = tknn.Compression(
                layers, stage1=tknn.Stage1(steps=20), stage2=tknn.Recipe(epochs=2, lr=1e-3), order=order
            )
            report = tknn.compress_(model, recipe, digits).report()
            yield {k: v for k, v in report.items() if k.startswith("metric")}, sums(model)


def built(name: str) -> nn.Module:
    """A model of the zoo, the same at every call."""
    torch.manual_seed(0)
    return zoo.build(name)


def sums(model: nn.Module) -> dict[str, float]:
    """What tells values apart, of each parameter and buffer."""
    return {name: float(x.double().square().sum()) for name, x in model.state_dict().items()}


#: Run -> what it runs, and the parts of the code that its numbers speak for.
RUNS: dict[str, tuple[Callable[[], Iterator[Any]], tuple[str, ...]]] = {
    "comparison": (compared, ("families", "approximation", "comparison")),
    "training": (trained, ("training",)),
    "compression": (compressed, ("compression", "families", "approximation", "training")),
}


# -- before and now -----------------------------------------------------------------------------------------------------
def numbers(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """(Place, value as a text), of all in plain data that does not depend on when and where it was made."""
    if isinstance(value, Mapping):
        if "label" in value and "seed" in value:  # a record may stand elsewhere
            place = "/".join([place.rpartition("/")[0], *(str(value[k]) for k in ("label", "budget", "seed"))])
        for key, inner in value.items():
            if key not in _OF_THE_RUN:
                yield from numbers(inner, f"{place}/{key}")
    elif isinstance(value, list | tuple):
        for k, inner in enumerate(value):
            yield from numbers(inner, f"{place}/{k}")
    elif not isinstance(value, str):
        yield place, repr(value)


def run(name: str, tree: Path) -> dict[str, str]:
    """The numbers of a run with the code of a tree, in a process of its own."""
    code = [sys.executable, str(Path(__file__).resolve()), "--run", name]
    env = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    with TemporaryDirectory() as folder:
        done = subprocess.run(code, env=env, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the run {name!r} does not work with the code of {tree}:\n{done.stderr[-2000:]}")
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def digests_in(tree: Path) -> dict[str, str]:
    """Part of the code -> its digest, as a tree itself counts them: results of then carry these."""
    code = "import json, digests; print(json.dumps(digests.digests_of(*digests.PARTS)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tree / "benchmarks/paper",
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def differing(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Places at which the older numbers are not today's; what is new has no older number."""
    return [place for place, value in before.items() if now.get(place) != value]


def vouched(commit: str) -> dict[str, dict[str, str]]:
    """Part of the code -> its digest in a commit and that of today, of the parts that have changed and give the same numbers."""
    found: dict[str, dict[str, str]] = {}
    with TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "-C", ROOT, "worktree", "add", "--detach", "--quiet", tree, commit], check=True)
        try:
            older, today, unlike = digests_in(tree), digests_in(ROOT), set[str]()
            for name, (_, parts) in RUNS.items():
                before, now = run(name, tree), run(name, ROOT)
                places = differing(before, now)
                print(f"{name}: {len(before):,} numbers, {len(places):,} unlike today's {places[:3] or ''}")
                unlike |= set(parts) if places else set()
            for part in older.keys() & today.keys() - unlike:
                if older[part] != today[part]:
                    found[part] = {older[part]: today[part]}
        finally:
            subprocess.run(["git", "-C", ROOT, "worktree", "remove", "--force", tree], check=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("commit", nargs="?", help="the code that results were made with")
    parser.add_argument("--run", choices=RUNS, help="print the numbers of one run with the code that is imported")
    args = parser.parse_args()
    if args.run:
        torch.set_num_threads(1)
        print(json.dumps(dict(numbers([[*RUNS[args.run][0]()]]))))
        return
    kept = json.loads(SAME.read_text()) if SAME.exists() else {}
    for part, pair in vouched(args.commit or parser.error("name a commit")).items():
        kept.setdefault(part, {}).update(pair)
        print(f"{part}: {pair}")
    with replacing(SAME) as temporary:
        temporary.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
