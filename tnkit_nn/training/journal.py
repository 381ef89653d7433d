"""What a training writes as it goes: a file of JSON lines, and TensorBoard's events beside it where that is installed."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tnkit_nn.storage import named, replacing
from tnkit_nn.strict import strict

__all__ = ["Journal"]


class Journal:
    """The log of a training.

    Lines of steps have ``epoch``, ``step``, ``loss`` and ``rate_factor``; those of epochs what :class:`tnkit_nn.training.loop.Epoch` has.

    Parameters
    ----------
    path
        The file of JSON lines; events go to a folder of its name with ``.events`` behind it.  None: nothing is written.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self.path = Path(path) if path else None
        self.board: _Board | None = None
        self.last = 0

    def append(self, lines: Iterable[dict[str, Any]], step: int) -> None:
        """Write lines; ``step`` is the training's step at their end, which events of an epoch are drawn at."""
        if not self.path:
            return
        lines, self.last = list(lines), step
        with named(self.path), self.path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(strict(line)) + "\n" for line in lines)
        if self.board is None:
            return
        for line in lines:
            for name, value in line.items():
                if name not in ("epoch", "step"):
                    self.board.add(name if "step" in line else f"epoch/{name}", value, line.get("step", step))

    def trim(self, epoch: int, step: int) -> None:
        """Drop what was written of epochs from this one on, which begins behind ``step``, and a line that was cut short.

        ValueError where the file is no log of a training: it would be lost.
        """
        if not self.path:
            return
        if self.board is None or step < self.last:  # at the start, and where an epoch is done again
            self.flush()
            self.board = _board(self.path.with_name(self.path.name + ".events"), step + 1)
        kept = []
        lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines() if self.path.exists() else []
        for k, line in enumerate(lines, 1):
            try:
                if json.loads(line)["epoch"] < epoch:
                    kept.append(line + "\n")
            except (ValueError, LookupError, TypeError, RecursionError):
                if k < len(lines) or not line.startswith("{"):  # the last one may have been cut short
                    raise ValueError(f"{self.path}: line {k} is of no training's log; choose another file") from None
        with replacing(self.path) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")

    def flush(self) -> None:
        """Write what is buffered."""
        if self.board:
            self.board.flush()


class _Board:
    """Events for TensorBoard in a file of their own; those from a step on stand for those written before.

    torch's SummaryWriter writes in a thread: an error, the disk being full, say, is a traceback there, and comes late or never here.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        begin = time.time()
        self.path = folder / f"events.out.tfevents.{int(begin)}.{platform.node()}.{os.getpid()}.{time.monotonic_ns()}"
        self.pending = [
            Event(wall_time=begin, file_version="brain.Event:2"),
            Event(wall_time=begin, step=step, session_log=SessionLog(status=SessionLog.START)),
        ]

    def add(self, tag: str, value: float, step: int) -> None:
        """One figure at a step."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
        self.pending.append(Event(wall_time=time.time(), step=step, summary=summary))

    def flush(self) -> None:
        """Write what was added."""
        from tensorboard.summary.writer.record_writer import RecordWriter

        with named(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                records = RecordWriter(file)
                for event in self.pending:
                    records.write(event.SerializeToString())
        self.pending = []


def _board(folder: Path, step: int) -> _Board | None:
    """A writer whose events from ``step`` on stand for those written before; None without TensorBoard."""
    try:
        import tensorboard.summary  # noqa: F401
    except ImportError:
        return None
    return _Board(folder, step)
