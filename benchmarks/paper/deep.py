"""Is there a deep network that beats every shallow one and every control at an equal count?  One command a layer.

``python benchmarks/paper/deep.py lenet5-fc1 --data-dir DIR`` (or ``fc2-fc1``; MNIST) runs ``tnkit_nn.compare`` on the families below and goes on
where it was interrupted; the page is in ``out/paper/<layer>/``, the records in ``benchmarks/paper/<layer>.json``, from which
``benchmarks/paper/tables.py`` renders docs/paper.md.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch
from tqdm import tqdm

from tnkit_nn.baselines import Family, adtn_near, families
from tnkit_nn.compare import Task, compare, versions
from tnkit_nn.files import write_json
from tnkit_nn.report import write_report

HERE = Path(__file__).parent
SHALLOW = ["mpo", "tt", "tucker", "cp", "ring", "low_rank"]
#: Layer -> task and budgets.
LAYERS = {
    "lenet5-fc1": (Task("lenet5", "mnist", "fc1", 5, 1500, 300, 600, limit=20000, rest="head"), (150, 400)),
    "fc2-fc1": (Task("fc2", "mnist", "fc1", 3, 1500, 200, 300, limit=20000, rest="none"), (400,)),
}


def rows() -> list[Family]:
    """Shallow families, the paper's ADTN and the one with sines (the better recipe), circuits of four depths."""
    walls = [Family("adtn", f"adtn sin depth {d}", partial(adtn_near, depth=d, activation="sin"), d) for d in (2, 3)]
    return [*families(SHALLOW), *families(["adtn"], (3,)), *walls, *families(["circuit"], (2, 3, 4, 5))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("layer", choices=LAYERS)
    parser.add_argument("--data-dir", required=True, help="folder of MNIST's files")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", default="out/paper")
    args = parser.parse_args()
    task, budgets = LAYERS[args.layer]
    out = Path(args.out) / args.layer
    torch.set_num_threads(1)
    with ProcessPoolExecutor(args.workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        records = compare(
            replace(task, data_dir=args.data_dir), rows(), budgets, executor=pool, out=out,
            progress=lambda jobs, total: tqdm(jobs, total=total, desc=args.layer, unit="row", mininterval=5),
        )  # fmt: skip
    write_report(records, out, f"Deep or shallow? {args.layer}")
    kept = [{k: v for k, v in r.items() if k not in ("network", "versions")} for r in records]
    write_json(HERE / f"{args.layer}.json", {"task": asdict(task), "versions": versions(), "records": kept})


if __name__ == "__main__":
    main()
