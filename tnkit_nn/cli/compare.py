"""``tnkit compare``: deep and shallow networks as a layer's weight, at equal parameters, with controls."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context, resource_tracker
from typing import Any

import torch
from tqdm import tqdm

from tnkit.cli.arguments import add_file, comma_separated, numbers, positive, say, seed
from tnkit.execution.distributed import end_with_parent
from tnkit_nn.cli.options import add_model_and_data, add_out, listed, task_of
from tnkit_nn.comparison.compare import compare
from tnkit_nn.comparison.rates import RULES
from tnkit_nn.comparison.report.files import write_report
from tnkit_nn.comparison.report.tables import table
from tnkit_nn.comparison.sentences import answer, verdict
from tnkit_nn.families import BASELINES, KINDS, kind_named
from tnkit_nn.strict import strict

__all__ = ["configure"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = listed(
        "Replace a layer's weight, or those of several, by tensor networks of equal parameter counts; compare them with controls. "
        "The defaults take a few minutes and need no download. Run again with the same options, it goes on from "
        "where it was interrupted.",
        families=True,
        controls=True,
    )
    add_model_and_data(parser)
    parser.add_argument(
        "--layer",
        type=comma_separated,
        help="the layer whose weight is replaced, or several by commas; the largest, if not given",
    )
    add_file(parser, "--weights", help="trained values, the model.safetensors of tnkit train, instead of --dense-steps")
    add = parser.add_argument
    add(
        "--shapes",
        type=_chosen_families,
        default=list(BASELINES),
        help="families, by commas; tt+tanh: with an activation outermost and a scale; or your own, file.py:name (default: "
        + ",".join(BASELINES)
        + ")",
    )
    add(
        "--budgets", type=numbers, default=[100, 300, 1000],
        help="parameters of the weight (of all layers together), by commas (default: 100,300,1000)",
    )  # fmt: skip
    add(
        "--at-least", action="store_true",
        help="shallow networks and controls have no fewer parameters than the largest deep network within the budget",
    )  # fmt: skip
    add("--depths", type=numbers, default=[1, 2, 3], help="depths of adtn and circuit, by commas (default: 1,2,3)")
    add("--seeds", type=positive, default=3, help="number of seeds (default: %(default)s)")
    add(
        "--first-seed", type=seed, default=0,
        help="the first of them: judge on others what was chosen on some (default: %(default)s)",
    )  # fmt: skip
    add(
        "--steps", type=positive, default=200,
        help="optimiser steps of the approximation, and of the fine-tuning (default: %(default)s)",
    )  # fmt: skip
    add("--dense-steps", type=positive, default=400, help="optimiser steps of the dense models (default: %(default)s)")
    add(
        "--rest", choices=("all", "head", "none"), default="all",
        help="which other layers are fine-tuned together with the compressed one: all, or its bias and those after it (much "
        "faster), or none: that reading is left out (default: %(default)s)",
    )  # fmt: skip
    add(
        "--rates", choices=RULES, default="equal",
        help="learning rates of a network's arrays: one for all, or one each by the matrix that it is (default: %(default)s)",
    )  # fmt: skip
    add("--workers", type=positive, default=2, help="processes; 1 runs all in this one (default: %(default)s)")
    add_out(parser, "out/compare", "results.json, tables, plots, index.html and finished jobs")
    parser.set_defaults(run=_run)


def _chosen_families(text: str) -> list[str]:
    chosen = comma_separated(text)
    unknown = [name for name in chosen if ":" not in name and not _known(name)]
    if unknown or not chosen:
        raise argparse.ArgumentTypeError(
            f"unknown shape {''.join(unknown[:1])!r}; known: {', '.join(KINDS)}; any with +FN behind it"
        )
    return chosen


def _known(name: str) -> bool:
    try:
        kind_named(name, "shape")
    except ValueError:
        return False
    return True


def _run(args: argparse.Namespace) -> int:
    task = task_of(args, weights=args.weights)
    options = {
        "layer": args.layer, "seeds": args.seeds, "first_seed": args.first_seed, "dense_steps": args.dense_steps, "fit_steps": args.steps,
        "tune_steps": args.steps, "rest": args.rest, "rates": args.rates, "at_least": args.at_least,
    }  # fmt: skip
    torch.set_num_threads(1)  # one thread a process: the tensors are small, and the workers share the cores
    with _workers(args.workers) as pool:
        records = compare(task, args.shapes, args.budgets, args.depths, pool, _progress, args.out, **options)
    files = write_report(records, args.out, f"Deep or shallow? {task.title}")
    if args.json:
        say(json.dumps([strict(r) for r in records], allow_nan=False))
    else:
        say(table(records), "", *verdict(records), "", *(f"wrote {path}" for path in files.values()), sep="\n")
        say("", answer(records), files["index.html"], sep="\n")
    return 0


def _progress(jobs: Iterable[Any], total: int) -> Iterable[Any]:
    return tqdm(jobs, total=total, desc="compare", unit="job", file=sys.stderr, mininterval=0.5)


class _Pool(Executor):
    """Processes that leave Ctrl-C to this one: they are started with it blocked.  One that comes meanwhile waits, and is not lost.

    Nothing of them is there before the first job: until then Ctrl-C has nothing to clean up, at imports neither.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._pool: ProcessPoolExecutor | None = None

    def submit(self, fn: Any, /, *args: Any, **options: Any) -> Future[Any]:
        """As of any executor."""
        with _blocked():
            if self._pool is None:  # spawned, not forked: torch's threads do not survive a fork
                self._pool = ProcessPoolExecutor(self._count, get_context("spawn"), _begin_worker)
            return self._pool.submit(fn, *args, **options)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As of any executor."""
        if self._pool is not None:
            self._pool.shutdown(wait, cancel_futures=cancel_futures)


@contextmanager
def _blocked() -> Iterator[None]:
    """Ctrl-C comes when this ends, and never to processes that are started within."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows: there it is ignored meanwhile
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
        return
    resource_tracker.ensure_running()  # at its start it ends any blocking
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _begin_worker() -> None:
    """One thread for torch, and an end with the process that started it, before the first job too."""
    torch.set_num_threads(1)
    end_with_parent()


@contextmanager
def _workers(count: int) -> Iterator[Executor | None]:
    """A pool, or nothing for one process; what ends it early ends its processes, whose finished jobs are kept."""
    if count == 1:
        yield None
        return
    pool = _Pool(count)
    try:
        yield pool
    except BaseException:
        for process in active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
