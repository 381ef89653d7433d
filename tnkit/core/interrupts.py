"""Ctrl-C in the command ``tnkit``: one line on stderr and exit status 130, at whatever moment it comes.

Python's own way, a KeyboardInterrupt wherever the main thread is, is a traceback before ``main`` is reached, can be turned into an
ImportError where a module is being imported, and is lost in a callback that cannot raise.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["INTERRUPTED", "early", "raised"]

#: The exit status of what Ctrl-C has ended.
INTERRUPTED = 130

_RETRY = 0.05  # seconds between looks whether an import has ended


def early() -> None:
    """Where this process is the command, Ctrl-C ends it at once: called first of all imports, when there is nothing to clean up."""
    if _is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: _end("tnkit: interrupted"))


def _is_command() -> bool:
    """Whether Python was started as ``tnkit`` or ``python -m tnkit``."""
    if threading.current_thread() is not threading.main_thread():
        return False
    first, words = (sys.argv or [""])[0], sys.orig_argv
    by_name = "-m" in words and words[words.index("-m") + 1 :][:1] == ["tnkit"]
    return by_name if first == "-m" else os.path.basename(first) in ("tnkit", "tnkit.exe")


@contextmanager
def raised(line: Callable[[], str]) -> Iterator[None]:
    """Ctrl-C is a KeyboardInterrupt here, as ever, but never lost; a second one ends the process at once.

    At the end Ctrl-C is ignored: everything is done by then, and the interpreter's own end is no place to be interrupted in.

    Parameters
    ----------
    line
        What is said where the process is ended without an exception; on a line of its own, there may be a bar.
    """
    if threading.current_thread() is not threading.main_thread():  # Ctrl-C goes to that one
        yield
        return
    seen: list[int] = []
    unraisable = sys.unraisablehook

    def handler(number: int, frame: FrameType | None) -> None:
        if seen:
            _end(f"\n{line()}")
        if _importing(frame):  # an exception would be taken for a failed import
            if not _children():
                _end(f"\n{line()}")
            again = threading.Timer(_RETRY, _again)
            again.daemon = True
            again.start()
            return
        seen.append(number)
        raise KeyboardInterrupt

    def lost(what: Any) -> None:
        if issubclass(what.exc_type, KeyboardInterrupt):
            _end(f"\n{line()}")
        unraisable(what)

    signal.signal(signal.SIGINT, handler)
    sys.unraisablehook = lost
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _again() -> None:
    """Ctrl-C once more, for the main thread."""
    if os.name == "nt":  # there ``kill`` would end the process
        signal.raise_signal(signal.SIGINT)
    else:
        os.kill(os.getpid(), signal.SIGINT)


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _children() -> list[Any]:
    """Processes started by :mod:`multiprocessing`, if that was ever imported."""
    started = sys.modules.get("multiprocessing")
    return started.active_children() if started is not None else []


def _end(line: str) -> None:
    """Say it and end the process, and those it has started."""
    for process in _children():
        process.terminate()
    try:
        os.write(2, f"{line}\n".encode())
    finally:  # stderr may be closed, or full
        os._exit(INTERRUPTED)
