"""What goes to the processes of an executor is looked at before any of it does: a process that cannot read it ends, and says why to nobody."""

from __future__ import annotations

import io
import os
import pickle
import sys
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from types import FunctionType
from typing import Any

from tnkit_nn.comparison.experiment import Experiment
from tnkit_nn.comparison.record import Job

__all__ = ["check_sent"]


def check_sent(executor: Executor | None, experiment: Experiment, jobs: Sequence[Job]) -> None:
    """ValueError where a comparison cannot go to the executor's processes."""
    if not isinstance(executor, ProcessPoolExecutor):  # others may pickle functions by value
        return
    try:
        pickle.dumps(experiment)
    except Exception as error:  # whatever a class of the user's raises
        raise _refused(error) from error
    if not _is_unknown(executor):
        return
    for value in (experiment, *(job.what for job in jobs)):
        named = _Named()
        try:
            named.dump(value)
        except Exception:  # a family that no process takes: its rows are made here, with a warning
            continue
        if named.here:
            raise _refused(f"{named.here[0]!r} is of a notebook or of the interpreter, which they do not have")


def _refused(why: object) -> ValueError:
    return ValueError(
        "compare: with a ProcessPoolExecutor the task goes to other processes, whose functions have names at the top of a file "
        f"(or the task is of a file: tnkit compare --task file.py:name); here {why}"
    )


def _is_unknown(executor: ProcessPoolExecutor) -> bool:
    """Whether the executor's processes have another ``__main__``: they are no forks, and it is no file that they could run."""
    main, context = sys.modules["__main__"], getattr(executor, "_mp_context", None)
    if context is None or context.get_start_method() == "fork" or getattr(main, "__spec__", None) is not None:
        return False
    return not os.path.isfile(getattr(main, "__file__", None) or "")


class _Named(pickle.Pickler):
    """Pickles for the names alone: functions and classes of ``__main__`` that are sent by them."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO())
        self.here: list[str] = []

    def reducer_override(self, value: Any) -> Any:
        """Nothing else than ever."""
        if isinstance(value, (type, FunctionType)) and value.__module__ == "__main__":
            self.here.append(value.__qualname__)
        return NotImplemented
