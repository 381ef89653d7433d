"""The best deep and the best shallow network that a search finds, with equal effort for both, and what they are worth on fresh seeds.

``python benchmarks/paper/search.py --data-dir DIR`` looks for networks of at most ``--budget`` numbers for ``fc1`` of LeNet-5 on MNIST
with the rest frozen.  Shallow: chains and rings of any groups of digits, in any order, of any ranks.  Deep: such a chain under one to
five columns of gates on any groups of digits, with sines between.  Both change the best so far at random, at first a TT-matrix, and try as many networks; validation images choose.  The winners meet the named families in ``tnkit_nn.compare`` on seeds
that the search has not seen.  A search that is started again goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import islice
from math import prod
from multiprocessing import get_context
from pathlib import Path

import torch
from cells import bar
from deep import SOURCES, save
from digests import kept_in, place
from setup import Setup

import tnkit as tk
from tnkit_nn.comparison.compare import compare, settings
from tnkit_nn.comparison.dense import with_dense_models
from tnkit_nn.comparison.experiment import Experiment, opened
from tnkit_nn.comparison.job_store import Study
from tnkit_nn.comparison.replicas import train_replicas
from tnkit_nn.families import Family, families
from tnkit_nn.generators import Generators, network_generator

#: Digits of the 120 outputs, then of the 400 inputs: 16 channels of 5 x 5 places.
DIMS = (2, 2, 2, 3, 5, 2, 2, 2, 2, 5, 5)
OUTPUTS = 5
#: Seeds that the search sees, and those of the comparison, which it does not.
SEEN, FRESH = 3, 6
TASK = Setup("lenet5", "mnist", "fc1", SEEN, 1500, 200, 600, limit=20000, rest="none")
STEPS, RATE = 500, 7e-2

Groups = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Gene:
    """A network: groups of digits in a chain, the ranks between neighbours (the last one closes a ring), columns of gates."""

    groups: Groups
    ranks: tuple[int, ...]
    columns: tuple[Groups, ...] = ()

    def build(self, shape: object = None, budget: object = None) -> tk.Network:
        """The network, its output being the digits in their order."""
        last = len(self.groups) - 1
        bonds = [(f"b{k}", f"b{(k - 1) % (last + 1)}") for k in range(last + 1)]
        nodes = [
            tk.Node(f"core_{k}", (*(f"x{s}" for s in g), *(b for b in bonds[k] if self.ranks[int(b[1:])] > 1 and last)))
            for k, g in enumerate(self.groups)
        ]
        used = {i for node in nodes for i in node.inds}
        sizes = {f"x{s}": d for s, d in enumerate(DIMS)} | {
            f"b{k}": r for k, r in enumerate(self.ranks) if f"b{k}" in used
        }
        start = tk.Network(nodes, [f"x{s}" for s in range(len(DIMS))], sizes)
        return tk.circuit(DIMS, self.columns, "sin", start=start)

    def fits(self, budget: int, deep: bool) -> bool:
        """Whether it is in its part of the search."""
        size = [prod(DIMS[s] for s in g) for g in self.groups]
        gate = [prod(DIMS[s] for s in g) for column in self.columns for g in column]
        inside = max(size) <= 64 and max(gate, default=0) <= 16 and len(self.groups) > 1 and max(self.ranks) <= 8
        count = sum(n * self.ranks[k] * self.ranks[k - 1] for k, n in enumerate(size)) + sum(n * n for n in gate)
        return (
            inside and 0.7 * budget <= count <= budget and (1 <= len(self.columns) <= 5 if deep else not self.columns)
        )


def first(deep: bool, draw: random.Random) -> Gene:
    """A TT-matrix of rank 1 or 2 with the digits shared out in order; under a column of single gates or two, if deep."""
    outputs, inputs = list(range(OUTPUTS)), list(range(OUTPUTS, len(DIMS)))
    n = draw.choice([3, 4, 5])
    groups = tuple(tuple(outputs[k::n]) + tuple(inputs[k::n]) for k in range(n))
    ranks = (*(draw.choice([1, 2]) for _ in range(n - 1)), draw.choice([1, 1, 2]))
    sides = [tuple((s,) for s in side) for side in (outputs, inputs)]
    return Gene(groups, ranks, tuple(draw.choice(sides) for _ in range(draw.choice([1, 1, 2]))) if deep else ())


def changed(gene: Gene, deep: bool, draw: random.Random) -> Gene:
    """One to three random changes: a digit moved, a rank stepped, gates or columns added, taken away, grown or cut."""
    for _ in range(draw.choice([1, 1, 2, 3])):
        what = draw.choice(["digit", "rank", "order", *(["gate", "gate", "column"] if deep else [])])
        if deep and not gene.columns:
            what = "column"
        groups, ranks = [list(g) for g in gene.groups], list(gene.ranks)
        columns = [[list(g) for g in c] for c in gene.columns]
        if what == "digit":
            giver = draw.randrange(len(groups))
            digit = groups[giver].pop(draw.randrange(len(groups[giver])))
            taker = draw.randrange(len(groups) + 1)
            if taker == len(groups):
                groups.append([])
                ranks.insert(taker - 1, 1)
            groups[taker].append(digit)
            for k in [k for k, g in enumerate(groups) if not g]:
                del groups[k], ranks[k]
        elif what == "rank":
            k = draw.randrange(len(ranks))
            ranks[k] = max(1, ranks[k] + draw.choice([-1, 1]))
        elif what == "order":
            a, b = draw.randrange(len(groups)), draw.randrange(len(groups))
            groups[a], groups[b] = groups[b], groups[a]
        elif what == "column":
            if len(columns) > 1 and draw.random() < 0.5:
                del columns[draw.randrange(len(columns))]
            else:
                columns.insert(draw.randrange(len(columns) + 1), [[s] for s in draw.sample(range(len(DIMS)), 3)])
        else:
            column = draw.choice(columns)
            free = [s for s in range(len(DIMS)) if not any(s in g for g in column)]
            if free and draw.random() < 0.6:
                gate: list[int] = draw.choice([*column, []])
                column += [gate] if not gate else []
                gate.append(draw.choice(free))
            else:
                gate = draw.choice(column)
                gate.pop(draw.randrange(len(gate)))
        kept = [[g for g in c if g] for c in columns]
        gene = Gene(_frozen(groups), tuple(ranks), tuple(_frozen(c) for c in kept if c))
    return gene


def _frozen(groups: list[list[int]]) -> Groups:
    return tuple(tuple(g) for g in groups)


def proposals(deep: bool, budget: int, known: dict[Gene, float], draw: random.Random) -> Iterator[Gene]:
    """New networks, fifteen beginnings and then changes of the ten best."""
    barren = 0
    while barren < 1000:
        top = sorted(known, key=lambda g: -known[g])[:10]
        gene = first(deep, draw) if len(known) < 15 else draw.choice(top)
        for _ in range(50):
            gene = changed(gene, deep, draw)
            if gene.fits(budget, deep) and gene not in known:
                yield gene
                barren = -1
                break
        barren += 1
    raise ValueError(f"no further network of {0.7 * budget:.0f} to {budget} numbers is found; {len(known)} were tried")


def score(experiment: Experiment, gene: Gene, steps: int = STEPS) -> float:
    """Mean validation accuracy over the seen seeds."""
    protocol = experiment.protocol
    ((name, target),) = experiment.targets.items()
    made = network_generator(gene.build(), target, protocol.first_seed)
    generators, fixture, others = Generators({name: made}), experiment.fixture(False), experiment.others(False)
    start = {n: x[None] for n, x in generators.start.items()}
    found = train_replicas(fixture, protocol.each, start, generators.weights, (RATE,), steps, fixed=others)
    with torch.no_grad():
        weights = generators.weights(found.params, found.axes)
    return float(fixture.read(weights, others, "val", found.axes, alone=bool(found.alone)).metric.mean())


def search(
    deep: bool, budget: int, tries: int, experiment: Experiment, folder: Path, steps: int = STEPS
) -> list[tuple[float, Gene]]:
    """All networks that were tried, the best first; each score is kept as soon as it is known."""
    study = Study(folder, {**settings(experiment), "rate": RATE, "steps": steps})
    known, draw = dict[Gene, float](), random.Random(int(deep))
    with study.alone():
        for gene in islice(proposals(deep, budget, known, draw), tries):
            key = hashlib.sha256(json.dumps(asdict(gene)).encode()).hexdigest()[:16]
            found = study.get(key)
            if found is None:
                found = score(experiment, gene, steps)
                study.put(key, found)
            known[gene] = found
    return sorted(((v, g) for g, v in known.items()), key=lambda x: -x[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-dir", required=True, help="folder of MNIST's files")
    parser.add_argument("--budget", type=int, default=150)
    parser.add_argument("--tries", type=int, default=150, help="networks of each kind")
    parser.add_argument("--out", default="out/paper/search")
    args = parser.parse_args()
    out = Path(args.out) / str(args.budget)
    setup = replace(TASK, data_dir=args.data_dir)
    digests = kept_in(out, place(search), *SOURCES)
    with ProcessPoolExecutor(2, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        experiment = opened(setup.task(), setup.protocol())
        experiment = with_dense_models(experiment, Study(out / "seen", settings(experiment)), pool, bar("dense"))
        jobs = {
            kind: pool.submit(search, kind == "deep", args.budget, args.tries, experiment, out / kind)
            for kind in ("shallow", "deep")
        }
        found = {kind: job.result() for kind, job in jobs.items()}
        winners = [
            Family("searched", f"searched {kind}", found[kind][0][1].build, len(found[kind][0][1].columns) + 1)
            for kind in found
        ]
        named: list[Family] = [*families(["mpo", "ring", "cp"]), *families(["circuit"], (2, 3))]
        fresh = replace(setup, seeds=FRESH, first_seed=SEEN)
        records = compare(
            fresh.task(),
            [*winners, *named],
            [args.budget],
            executor=pool,
            out=out / "compare",
            progress=bar("compare"),
            **fresh.options(),
        )
    best = {kind: [{"val": v, **asdict(g)} for v, g in found[kind][:5]] for kind in found}
    options = {"budget": args.budget, "tries": args.tries, "steps": STEPS, "rate": RATE, "seeds": FRESH}
    save(f"search-{args.budget}", records, options=options, task=asdict(TASK), best=best, digests=digests)


if __name__ == "__main__":
    main()
