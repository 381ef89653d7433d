"""What a training writes as it goes: a file of JSON lines, and TensorBoard's events beside it where that is installed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tnkit_nn.storage import replacing

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
        self.board: Any = None
        self.last = 0

    def append(self, lines: Iterable[dict[str, Any]], step: int) -> None:
        """Write lines; ``step`` is the training's step at their end, which events of an epoch are drawn at."""
        if not self.path:
            return
        lines, self.last = list(lines), step
        with self.path.open("a") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
        for line in lines if self.board else ():
            for name, value in line.items():
                if name not in ("epoch", "step"):
                    self.board.add_scalar(name if "step" in line else f"epoch/{name}", value, line.get("step", step))

    def trim(self, epoch: int, step: int) -> None:
        """Drop what was written of epochs from this one on, which begins behind ``step``, and a line that was cut short.

        ValueError where the file is no log of a training: it would be lost.
        """
        if not self.path:
            return
        if self.board is None or step < self.last:  # at the start, and where an epoch is done again
            self.flush(close=True)
            self.board = _board(self.path.with_name(self.path.name + ".events"), step + 1)
        kept = []
        lines = self.path.read_text(errors="replace").splitlines() if self.path.exists() else []
        for k, line in enumerate(lines, 1):
            try:
                if json.loads(line)["epoch"] < epoch:
                    kept.append(line + "\n")
            except (ValueError, LookupError, TypeError):
                if k < len(lines) or not line.startswith("{"):  # the last one may have been cut short
                    raise ValueError(f"{self.path}: line {k} is of no training's log; choose another file") from None
        with replacing(self.path) as temporary:
            temporary.write_text("".join(kept))

    def flush(self, close: bool = False) -> None:
        """Write what is buffered."""
        if self.board:
            self.board.close() if close else self.board.flush()


def _board(folder: Path, step: int) -> Any:
    """A writer whose events from ``step`` on stand for those written before; None without TensorBoard."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=step)
