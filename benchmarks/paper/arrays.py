"""Where depth pays: deep networks that start at shallow optima, against every shallow family, on images, graphs, fields and weights.

``python benchmarks/paper/arrays.py --vgg16 FILE`` fits networks of 750 parameters to the arrays of ``array_sources.py``, and of 330 and 2,000 to a
part of them; a run that is started again goes on where it was interrupted, ``--quick`` is two arrays of each class.  It
needs ``scikit-image`` beside the ``compare`` extra.  ``array_tables.py`` renders the result.

A deep network has at most so many parameters, every rival at least as many.  All start at a closed form and take the same steps of Adam.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

import array_fits as fits
import numpy as np
import torch
from array_fits import Array, Fit, Pair
from array_sources import halves, sources
from digests import digests_of
from tqdm import tqdm

import tnkit as tk
from tnkit_nn.storage import write_json
from tnkit_nn.versions import versions

HERE = Path(__file__).parent
RESULT = HERE / "arrays.json"
#: What the result depends on.
CODE = tuple(f"benchmarks/paper/{name}.py" for name in ("arrays", "array_fits", "array_sources"))
BUDGETS = (750, 2000, 330)
#: Classes that are fitted at the other counts too.
FEW = ("photographs", "masks", "fields")
#: Times the budget: a rival that is close.  The rank of some readings steps by more than a tenth of it.
CLOSE = 1.1
#: Arrays that are fitted side by side.
SIDE_BY_SIDE = 14


@dataclass(frozen=True)
class Way:
    """One network for every array.

    Attributes
    ----------
    role
        ``shallow``, ``deep``, ``one activation``; ``deeper``: not to choose from; or a control: ``linear``, ``random``.
    family, reading
        The shallow network that it is or starts from, and how that one reads an array.
    build
        Makes the network of the shallow one.
    more
        Parameters beside those of the shallow network.
    """

    role: str
    family: str
    reading: str
    build: Callable[[tk.Network], tk.Network] = lambda net: net
    more: int = 0

    def start(self, x: Array, budget: int) -> Pair:
        """A closed form of at least so many parameters, where it is a rival, else of at most what is left for it."""
        return fits.SHALLOW[self.family][1](x, budget - self.more, self.role == "shallow")


def circuit(family: str, activation: str | None, depth: int, role: str) -> Way:
    """A circuit lifted from a smaller network."""
    build = partial(fits.lifted, depth=depth, activation=activation)
    return Way(role, family, "quad sites", build, (depth - 1) * fits.COLUMN)


def one_activation(family: str, reading: str, activation: str) -> Way:
    """A shallow network under one activation, and a scale: one parameter more."""
    return Way("one activation", family, reading, lambda net: net.activate(activation, "outermost"), 1)


def ways() -> dict[str, Way]:
    """Label -> every network of the study."""
    found = {
        f"{family}, {reading}": Way("shallow", family, reading)
        for family, (readings, _) in fits.SHALLOW.items() for reading in readings
    }  # fmt: skip
    for family, activation, depths in (("TT", "tanh", (2, 3)), ("TT", "sin", (2,)), ("CP", "tanh", (2,))):
        for d in (2, 3, 4):
            role = "deep" if d in depths else "deeper"
            found[f"{family}, {activation}, depth {d}"] = circuit(family, activation, d, role)
    for family, reading, activation in (
        ("TT", "quad sites", "tanh"),
        ("low rank", "matrix", "relu"),
        ("Tucker", "rows and columns in halves", "relu"),
    ):
        found[f"{family} under {activation}"] = one_activation(family, reading, activation)
    found["TT, linear, depth 2"] = circuit("TT", None, 2, "linear")
    found["TT, tanh, depth 2, random start"] = circuit("TT", "tanh", 2, "random")
    return found


def started(way: Way, pairs: Sequence[Pair], seed: int) -> Pair:
    """The network of a way, and its starts (array, ...): balanced arrays and gates that are the identity, or random ones."""
    shallow, stack = fits.padded([(net, fits.balanced(net, arrays)) for net, arrays in pairs])
    net = way.build(shallow)
    if way.role == "random":
        drawn = [tk.init.orthogonal(way.build(one), seed=seed + k, std=fits.AMPLITUDE) for k, (one, _) in enumerate(pairs)]  # fmt: skip
        return net, fits.stacked(net.array_shapes, drawn)
    gates = {n: np.stack([np.eye(s[0])] * len(pairs)) for n, s in net.array_shapes.items() if n not in stack}
    return net, {**stack, **gates}


def fitted(way: Way, pairs: Sequence[Pair], targets: Sequence[Array], steps: int, seed: int) -> list[tuple[int, Fit]]:
    """(parameters, fit) of every array, from the closed forms of its smaller network."""
    net, starts = started(way, pairs, seed)
    found = fits.polish(net, starts, [fits.READINGS[way.reading](x) for x in targets], steps)
    return [(one.num_params + way.more, fit) for (one, _), fit in zip(pairs, found, strict=True)]


# -- what is fitted to what --------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Study:
    """The arrays, and what is known of them.

    Attributes
    ----------
    path
        Of the result.
    state
        The result so far.
    loaded
        Name -> array.
    steps
        Of Adam.
    """

    path: Path
    state: dict[str, Any]
    loaded: dict[str, Array]
    steps: int

    def names(self, half: str, kinds: Sequence[str]) -> list[str]:
        """Arrays of a half."""
        return [n for n, (kind, side, _) in self.state["arrays"].items() if side == half and kind in kinds]

    def fit(self, budget: int, wanted: dict[str, list[str]]) -> None:
        """Fit what is missing of label -> arrays, a network to some arrays at a time; written as it goes."""
        known, every = dict[tuple[Any, ...], Pair](), ways()
        for label, names in tqdm(wanted.items(), desc=f"{budget} parameters", mininterval=10):
            kept, way = self.state["fits"].setdefault(str(budget), {}).setdefault(label, {}), every[label]
            todo = [n for n in names if n not in kept]
            for k in range(0, len(todo), SIDE_BY_SIDE):
                part, begun = todo[k : k + SIDE_BY_SIDE], process_time()
                keys = [(way.family, way.reading, way.more, way.role == "shallow", n) for n in part]
                for key, n in zip(keys, part, strict=True):
                    if key not in known:  # one closed form for all networks that begin there
                        known[key] = way.start(fits.READINGS[way.reading](self.loaded[n]), budget)
                found = fitted(way, [known[key] for key in keys], [self.loaded[n] for n in part], self.steps, budget)
                kept |= {n: [count, round(f.start, 5), round(f.error, 5), f.rate] for n, (count, f) in zip(part, found, strict=True)}  # fmt: skip
                self.state["seconds"] += process_time() - begun
                write_json(self.path, self.state)

    def rivals(self, budget: int, names: list[str]) -> dict[str, list[str]]:
        """Label -> arrays: every shallow family in the reading whose closed form is nearest, of all and of those :data:`CLOSE` to the budget."""
        closed = self.state["closed"].setdefault(str(budget), {})
        shallow = {label: way for label, way in ways().items() if way.role == "shallow"}
        for n in tqdm(names, desc=f"closed forms, {budget} parameters", mininterval=10):
            begun, here = process_time(), closed.setdefault(n, {})
            for label, way in shallow.items():
                if label not in here:
                    x = fits.READINGS[way.reading](self.loaded[n])
                    net, arrays = way.start(x, budget)
                    here[label] = [net.num_params, round(fits.distance(net, arrays, x), 5)]
            self.state["seconds"] += process_time() - begun
            write_json(self.path, self.state)
        wanted: dict[str, list[str]] = {label: [] for label in shallow}
        for n in names:
            for family in fits.SHALLOW:
                labels = [label for label, way in shallow.items() if way.family == family]
                near = [label for label in labels if closed[n][label][0] <= CLOSE * budget]
                for one in {min(of, key=lambda label: closed[n][label][1]) for of in (labels, near) if of}:
                    wanted[one].append(n)
        return wanted


def best_score(state: dict[str, Any], kind: str, label: str) -> float:
    """Mean logarithm of a network's errors on the arrays of a class that are for choosing; infinite where some are not fitted."""
    names = [n for n, (k, side, _) in state["arrays"].items() if (k, side) == (kind, "choosing")]
    found = state["fits"].get(str(BUDGETS[0]), {}).get(label, {})
    return float(np.mean([np.log(found[n][2]) if n in found else np.inf for n in names]))


def best(state: dict[str, Any], kind: str, role: str) -> str:
    """The network of a role that is best on the arrays of a class that are for choosing."""
    labels = [label for label, way in ways().items() if way.role == role]
    return min(labels, key=lambda label: best_score(state, kind, label))


def judged(state: dict[str, Any], kinds: Sequence[str]) -> dict[str, str]:
    """Class -> the network that its judging half is fitted with: the best on the other half, of circuits and of one activation."""
    found = {}
    for kind in kinds:
        both = [best(state, kind, role) for role in ("deep", "one activation")]
        found[kind] = min(both, key=lambda label: best_score(state, kind, label))
    return found


def measure(study: Study) -> None:
    """Fit what is not fitted yet.  Nothing is chosen on the half that judges, and it comes before what is beside the question."""
    every, budget = ways(), BUDGETS[0]
    classes = list(dict.fromkeys(kind for kind, _, _ in study.state["arrays"].values()))
    choose = [label for label, way in every.items() if way.role in ("deep", "one activation")]
    kinds = [k for k in classes if k != "weights"]
    for here in (kinds, classes):
        study.fit(budget, dict.fromkeys(choose, study.names("choosing", here)))
        judge(study, budget, here)
        controls = [label for label, way in every.items() if way.role in ("linear", "random")]
        study.fit(budget, dict.fromkeys(controls, study.names("judging", FEW)))
        study.fit(budget, study.rivals(budget, study.names("choosing", here)))
    for kind in kinds:
        study.fit(budget, dict.fromkeys(siblings(best(study.state, kind, "deep")), study.names("judging", [kind])))
    for other in BUDGETS[1:]:
        judge(study, other, FEW)


def siblings(label: str) -> list[str]:
    """A circuit in all depths."""
    return [other for other in ways() if other[:-1] == label[:-1]]


def judge(study: Study, budget: int, kinds: Sequence[str]) -> None:
    """The half that judges: what was chosen, the best circuit beside it, and all their rivals."""
    wanted: dict[str, list[str]] = {}
    for kind, label in judged(study.state, kinds).items():
        for one in dict.fromkeys((label, best(study.state, kind, "deep"))):
            wanted.setdefault(one, []).extend(study.names("judging", [kind]))
    study.fit(budget, wanted)
    study.fit(budget, study.rivals(budget, study.names("judging", kinds)))


def opened(path: Path, vgg16: Path | None, quick: bool) -> Study:
    """The study where it stopped; from the beginning where its code was another."""
    every = sources(vgg16)
    sides = halves(every)
    if quick:
        every = list({(s.kind, sides[s.name]): s for s in every}.values())
    state: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if state.get("code") != digests_of(*CODE):
        state = {"code": digests_of(*CODE), "fits": {}, "closed": {}, "seconds": 0.0}
    state |= {"arrays": {s.name: [s.kind, sides[s.name], s.seen] for s in every}, "versions": versions()}
    return Study(path, state, {s.name: s.load() for s in every}, 20 if quick else fits.STEPS)


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="two arrays of each class, 20 steps, to out/arrays-quick.json"
    )
    parser.add_argument("--vgg16", type=Path, help="file of a trained VGG-16: four convolutions are arrays too")
    parser.add_argument("--out", type=Path, help="the result, where not in its place")
    args = parser.parse_args(argv)
    args.out = args.out or (Path("out/arrays-quick.json") if args.quick else RESULT)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    measure(opened(args.out, args.vgg16, args.quick))


if __name__ == "__main__":
    main()
