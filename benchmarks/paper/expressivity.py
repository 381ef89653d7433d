"""What deep networks can hold, and what Adam finds: walls that fit their own kind, a chirp, and how wide the basins are.

``python benchmarks/paper/expressivity.py`` runs all three parts, each about a minute on one core; ``--part walls`` runs one.
``array_tables.py`` renders the result.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import process_time
from typing import Any

import array_fits as fits
import numpy as np
import torch
from array_fits import Array, Arrays
from digests import digests_of

import tnkit as tk
from tnkit_nn.storage import write_json
from tnkit_nn.versions import versions

HERE = Path(__file__).parent
RESULT = HERE / "expressivity.json"
#: What the result depends on.
CODE = ("benchmarks/paper/expressivity.py", "benchmarks/paper/array_fits.py:polish")
SITES, STARTS, STEPS = 10, 8, 600
#: How far a start is from the truth, in root mean squares of each array.
OFF = (0.1, 0.4)


def wall(depth: int, activation: str | None, sites: int = SITES) -> tk.Network:
    """The paper's wall on binary sites."""
    return tk.brick_wall(sites, 2, depth, activation)


def moved(arrays: Mapping[str, Any], off: float, rng: np.random.Generator) -> Arrays:
    """Arrays with noise of so many of their root mean squares."""
    return {n: a + off * np.sqrt(np.mean(np.square(a))) * rng.standard_normal(a.shape) for n, a in arrays.items()}


def many(starts: Sequence[Arrays]) -> Arrays:
    """Starts side by side."""
    return {n: np.stack([start[n] for start in starts]) for n in starts[0]}


def errors(net: tk.Network, starts: Sequence[Arrays], x: Array, steps: int) -> list[float]:
    """Where Adam ends from each start at its best rate, the nearest first."""
    return sorted(round(f.error, 5) for f in fits.polish(net, many(starts), [x] * len(starts), steps))


def tt_parameters(x: Array, tol: float) -> int:
    """Parameters of the TT that keeps an error."""
    return int(tk.tt_svd(x, tol=tol).network.num_params)


def walls(steps: int = STEPS, sites: int = SITES, starts: int = STARTS) -> list[dict[str, Any]]:
    """Outputs of random walls, fitted by the same wall from random starts."""
    rows = []
    for depth, activation in ((1, None), (2, "relu"), (2, "sin"), (3, "relu"), (3, "sin")):
        net = wall(depth, activation, sites)
        x = tk.contract(net, tk.init.orthogonal(net, seed=1, std=1.0))
        random = [tk.init.orthogonal(net, seed=100 + k, std=1.0) for k in range(starts)]
        rows.append({
            "depth": depth, "activation": activation, "parameters": net.num_params, "entries": x.size,
            "tt": tt_parameters(x, 0.1), "errors": errors(net, random, x, steps),
        })  # fmt: skip
    return rows


def chirp(steps: int = STEPS, starts: int = STARTS, k: float = 80.0, n: int = 7) -> dict[str, Any]:
    """sin(k r^2), r^2 a quadratic form of both coordinates: one sine over a TT of bonds of 4, which random starts do not find."""
    phase, x = phases(k, n)
    truth = tk.tt_svd(phase, rank=4)
    net = truth.network.activate("sin", "outermost")
    made = tk.contract(net, truth.arrays)
    random = [tk.init.orthogonal(net, seed=s) for s in range(starts)]
    own = tk.tt_svd(x, budget=net.num_params)  # the closed form of the sine itself, lifted
    return {
        "parameters": net.num_params, "entries": x.size, "error": float(np.linalg.norm(made - x) / np.linalg.norm(x)),
        "tt": {str(tol): tt_parameters(x, tol) for tol in (0.1, 0.01, 0.001)}, "errors": errors(net, random, x, steps),
"lifted": errors(own.network.activate("sin", "outermost"), [fits.balanced(*own)], x, steps)[0],
    }  # fmt: skip


def phases(k: float, n: int) -> tuple[Array, Array]:
    """k r^2 and its sine on 2^n x 2^n points of quad sites."""
    v, u = np.meshgrid(*[np.arange(2**n) / 2**n - 0.4] * 2, indexing="ij")
    phase = fits.quads(k * (u**2 + v**2 + u * v))
    return phase, np.sin(phase)


def basin(steps: int = STEPS, sites: int = SITES, starts: int = STARTS) -> list[dict[str, Any]]:
    """The same walls, from starts near the truth."""
    rows = []
    for depth, activation in ((2, "relu"), (2, "sin"), (3, "relu"), (3, "sin")):
        net = wall(depth, activation, sites)
        truth = tk.init.orthogonal(net, seed=1, std=1.0)
        x, rng = tk.contract(net, truth), np.random.default_rng(2)
        found = {str(off): errors(net, [moved(truth, off, rng) for _ in range(starts)], x, steps) for off in OFF}
        rows.append({"depth": depth, "activation": activation, "errors": found})
    return rows


PARTS: dict[str, Callable[[], Any]] = {"walls": walls, "chirp": chirp, "basin": basin}


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--part", choices=PARTS, action="append", help="this part alone")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    found = json.loads(args.out.read_text()) if args.out.exists() else {}
    for name in args.part or PARTS:
        begun = process_time()
        found[name] = {"found": PARTS[name](), "seconds": round(process_time() - begun, 1)}
        found |= {"code": digests_of(*CODE), "versions": versions()}
        write_json(args.out, found)
        print(name, json.dumps(found[name]))


if __name__ == "__main__":
    main()
