"""Is there a deep network that beats every shallow one and every control at an equal count?  One command a layer.

``python benchmarks/paper/deep.py lenet5-fc1 --data-dir DIR`` (or ``fc2-fc1``, then ``fc2-fc1-fresh``: its best families on seeds that it has
not seen; MNIST) runs ``tnkit_nn.compare`` on the families below and goes on
where it was interrupted; the page is in ``out/paper/<layer>/``, the records in ``benchmarks/paper/<layer>.json``, from which
``benchmarks/paper/tables.py`` renders docs/paper.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from tnkit_nn.baselines import Family, adtn_near, families
from tnkit_nn.compare import Task, compare, versions
from tnkit_nn.files import replacing
from tnkit_nn.report import write_report

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Study:
    """A layer, its budgets, the families, and the first seeds that are left out of what is published (an earlier study chose by them)."""

    task: Task
    budgets: tuple[int, ...]
    rows: Callable[[], list[Family]]
    seen: int = 0


def every() -> list[Family]:
    """Shallow families, the paper's ADTN and the one with sines (the better recipe), circuits of four depths."""
    walls = [Family("adtn", f"adtn sin depth {d}", partial(adtn_near, depth=d, activation="sin"), d) for d in (2, 3)]
    shallow = ["mpo", "tt", "tucker", "cp", "ring", "low_rank"]
    return [*families(shallow), *families(["adtn"], (3,)), *walls, *families(["circuit"], (2, 3, 4, 5))]


def best() -> list[Family]:
    """Those that were best on FC-2 at 400 numbers."""
    return [*families(["mpo", "cp", "ring"]), *families(["circuit"], (3, 5))]


_FC2 = Task("fc2", "mnist", "fc1", 3, 1500, 200, 300, limit=20000, rest="none")
STUDIES = {
    "lenet5-fc1": Study(Task("lenet5", "mnist", "fc1", 5, 1500, 300, 600, limit=20000, rest="head"), (150, 400), every),
    "fc2-fc1": Study(_FC2, (400,), every),
    "fc2-fc1-fresh": Study(replace(_FC2, seeds=8), (400,), best, seen=3),
}


#: What is kept of a record.
KEPT = (
    "label", "family", "depth", "budget", "num_params", "layer_params", "seed", "error", "chance", "accuracy_fit", "accuracy_frozen",
    "accuracy_trained", "val_frozen", "val_trained", "frozen_from", "trained_from", "chosen_frozen", "chosen_trained", "seconds",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("layer", choices=STUDIES)
    parser.add_argument("--data-dir", required=True, help="folder of MNIST's files")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", default="out/paper")
    args = parser.parse_args()
    study = STUDIES[args.layer]
    out = Path(args.out) / args.layer
    torch.set_num_threads(1)
    with ProcessPoolExecutor(args.workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        records = compare(
            replace(study.task, data_dir=args.data_dir), study.rows(), study.budgets, executor=pool, out=out,
            progress=lambda jobs, total: tqdm(jobs, total=total, desc=args.layer, unit="row", mininterval=5),
        )  # fmt: skip
    write_report(records, out, f"Deep or shallow? {args.layer}")
    fresh = [r for r in records if r["seed"] >= study.seen]
    save(args.layer, fresh, task=asdict(study.task), seen=study.seen)


def save(name: str, records: Sequence[Mapping[str, Any]], **more: Any) -> None:
    """Write what the tables need of a comparison, a record a line, whole or not at all."""
    lines = ",\n".join(json.dumps({k: r[k] for k in KEPT}) for r in records)
    head = json.dumps({**more, "versions": versions()})[:-1]
    with replacing(HERE / f"{name}.json") as temporary:
        temporary.write_text(f'{head},\n"records": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
