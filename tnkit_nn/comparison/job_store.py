"""Jobs that are done once: kept in files as they finish, run on any executor, run again where a worker is lost.

A study is a folder: ``study.json`` says which, ``jobs/`` has one file a finished job, JSON or bytes behind a line with their seal.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future, as_completed
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from tnkit.execution.distributed import Lost, received, submitted
from tnkit_nn.checks import warn_caller
from tnkit_nn.storage import alone, damaged, first_difference, read_bytes, read_record, write_bytes, write_record

__all__ = ["Progress", "Study", "run_jobs", "silent"]

VERSION = 4
_READABLE = 237  # letters of a job's name in that of its file, which has 255 at most
STUDY = "a study"  # what the record of settings is of

#: What is wrong with a kept result, in words; empty where nothing is.
Wrong = Callable[[Any], str]

#: What shows how far jobs are: (jobs, their number) -> the same jobs.
Progress = Callable[[Iterable[Any], int], Iterable[Any]]


def silent(jobs: Iterable[Any], total: int) -> Iterable[Any]:
    """Shows nothing."""
    return jobs


class Study:
    """Finished jobs in a folder.

    Parameters
    ----------
    folder
        Made where it is not there.
    settings
        What the jobs' results depend on.

    Raises
    ------
    ValueError
        The folder holds a study with other settings; the message names the first thing that differs.  Or it cannot be a study's.
    OSError
        It cannot be written to, the disk being full, say.
    """

    def __init__(self, folder: str | os.PathLike[str], settings: Mapping[str, Any]) -> None:
        self.folder = Path(folder).absolute()
        self.settings = json.loads(json.dumps({"format": VERSION, **settings}))
        try:
            (self.folder / "jobs").mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise ValueError(f"{folder}: cannot be made a study's folder ({error.strerror})") from None
        path = self.folder / "study.json"
        if not path.exists():
            write_record(path, STUDY, self.settings)
        kept = read_record(path, STUDY, {"format": int})
        differs = first_difference(kept, self.settings)
        if differs:
            raise ValueError(f"{folder} holds another study: {differs}; choose another folder")
        self.settings = kept  # a setting that came later, and says as before, makes no other study

    def path(self, key: str, ending: str = "json") -> Path:
        """The file of a job: readable, and told apart by a digest of settings and job.  A result in bytes ends in ``bin``."""
        digest = hashlib.sha256(json.dumps([self.settings, key], sort_keys=True).encode()).hexdigest()[:12]
        readable = re.sub("[^A-Za-z0-9]+", "-", key)[:_READABLE]
        return self.folder / "jobs" / f"{readable}-{digest}.{ending}"

    def has(self, key: str) -> bool:
        """Whether a job is finished."""
        return self.path(key).exists() or self.path(key, "bin").exists()

    def get(self, key: str, wrong: Wrong | None = None) -> Any:
        """A finished job's result; None where it is not finished.

        Parameters
        ----------
        key
            The job.
        wrong
            What is wrong with a result, in words; a seal says only that it is as it was written.

        Raises
        ------
        ValueError
            The file is damaged, of another job, or ``wrong``; it is named.
        """
        path, result = self.path(key, "bin"), None
        if path.exists():
            result = read_bytes(path, key)
        elif (path := self.path(key)).exists():
            kept = read_record(path, key, {"job": str})
            if kept["job"] != key:
                raise damaged(path, f"it is of {kept['job']!r}, not of {key!r}")
            result = kept.get("result")
            if result is None:
                raise damaged(path, "it has no result")
        words = wrong(result) if wrong and result is not None else ""
        if words:
            raise damaged(path, words)
        return result

    def put(self, key: str, result: Any) -> None:
        """Keep a result, plain data or bytes, whole or not at all."""
        if isinstance(result, bytes):
            write_bytes(self.path(key, "bin"), key, result)
        else:
            write_record(self.path(key), key, {"job": key, "result": result})

    def alone(self) -> AbstractContextManager[None]:
        """Nobody else runs this study meanwhile."""
        return alone(self.folder, "this study")


def run_jobs(
    jobs: Mapping[str, tuple[Any, ...]], work: Callable[..., Any], *, study: Study | None = None,
    executor: Executor | None = None, progress: Progress = silent, wrong: Callable[[str, Any], str] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """``work(*arguments)`` for every job, each once: those that a study has are not run, those that finish are kept.

    Parameters
    ----------
    jobs
        Key -> arguments, those that should begin first coming first.
    work
        A function that workers can import; its result is plain data or bytes.
    study
        Where results are kept; None keeps them nowhere.
    executor
        Any ``concurrent.futures.Executor``; jobs run here, one after another, without one.  Workers that see the study's folder
        keep results themselves, so that one that is lost after a job loses nothing.  A job whose worker is lost and that the
        executor does not run again (:class:`tnkit.execution.distributed.Lost`) is run here, with a warning.
    progress
        Wraps the iterable of the jobs still to be done.
    wrong
        Key, a kept result -> what is wrong with it, in words; it is not taken then.

    Returns
    -------
    dict
        Key -> result, in the order of ``jobs``.

    Raises
    ------
    ValueError
        A kept result is damaged; its file is named.
    Exception
        What a job raises; jobs that have not begun are cancelled, and finished ones stay kept.
    """
    results = {}
    for key in jobs if study else ():
        found = study.get(key, partial(wrong, key) if wrong else None) if study else None
        if found is not None:
            results[key] = found
    todo = {key: (study, key, work, jobs[key]) for key in jobs if key not in results}
    if not todo:  # no bar of nothing
        return results
    if executor is None:
        for key in progress(list(todo), len(todo)):
            results[key] = _done(*todo[key])
    else:
        for key, future in progress(_finished_jobs(executor, todo), len(todo)):
            try:
                results[key] = received(future)
            except Lost as error:
                warn_caller(f"a worker was lost ({error}): {key} is run here", RuntimeWarning)
                results[key] = _done(*todo[key])
            if study and not study.has(key):  # its worker does not see the folder
                study.put(key, results[key])
    return {key: results[key] for key in jobs}


def _done(study: Study | None, key: str, work: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """A job's result, kept where it is made, and taken from there if a worker that is lost by now made it."""
    if study is None or not study.folder.exists():
        return work(*arguments)
    found = study.get(key)
    if found is None:
        found = work(*arguments)
        study.put(key, found)
    return found


def _finished_jobs(executor: Executor, todo: Mapping[str, tuple[Any, ...]]) -> Iterator[tuple[str, Future[Any] | None]]:
    """Jobs as they finish, then those that the executor did not take or lost; all others are cancelled if the caller stops."""
    futures: dict[Future[Any], str] = {}
    late: list[tuple[str, Future[Any] | None]] = []
    for key, arguments in todo.items():
        try:
            futures[submitted(executor, _done, *arguments)] = key
        except BrokenExecutor:
            late.append((key, None))
    try:
        for future in as_completed(futures):
            if future.cancelled() or future.exception():
                late.append((futures[future], future))
            else:
                yield futures[future], future
        yield from late
    finally:
        for future in futures:
            future.cancel()
