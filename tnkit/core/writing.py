"""Files that are written whole or not at all.

>>> from tnkit.core.writing import replacing
>>> with replacing("net.json") as temporary:
...     _ = temporary.write_text(tk.to_json(tk.tt((2, 3), 2)))
"""

from __future__ import annotations

import errno
import os
import platform
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["HOST", "PART", "clear", "named", "replacing"]

#: How the names of temporary files end; before it stand this machine, the process and a random word.
PART = ".part"
HOST = re.sub("[^A-Za-z0-9]+", "", platform.node())


@contextmanager
def named(path: str | os.PathLike[str]) -> Iterator[None]:
    """An error of the system within it, a full disk, say, is one of this file."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            error.filename = os.fspath(path)
            del error.filename2  # of None, the message would say that too
        raise


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary file beside ``path`` that takes its place at the end: an interrupted run leaves the old file as it was.

    A symbolic link stays one, and what it points to is replaced.  A file that is there keeps its permissions.

    Raises
    ------
    OSError
        It cannot be written, the disk being full, say, or is a device or a pipe, in whose place no file is put; ``path`` is
        named, not the temporary file.
    """
    target = Path(os.path.realpath(path))
    # In the same folder, since a file moves in one step only within a file system; not by mkstemp, which would leave a
    # file that others may not read.
    temporary = target.parent / f".{HOST}-{os.getpid()}.{secrets.token_hex(8)}{PART}"
    with named(path):
        if target.exists() and not (target.is_file() or target.is_dir()):
            raise OSError(errno.EINVAL, "A device or a pipe, no file that can be replaced")
        try:
            temporary.open("xb").close()
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            if os.name != "nt" and target.exists():  # there a file is read-only at most, and then never replaced
                shutil.copymode(target, temporary)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)


def clear(folder: Path, below: bool = False) -> None:
    """Delete the temporary files that killed processes of this machine have left in a folder, and in those below it."""
    for left in folder.rglob(f".*{PART}") if below else folder.glob(f".*{PART}"):
        host, _, pid = left.name.removesuffix(PART).split(".")[-2].rpartition("-")
        if host == HOST and pid.isdecimal() and not _alive(int(pid)):
            left.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    import psutil  # when a file is left, which is seldom

    try:
        return bool(psutil.pid_exists(pid))
    except OverflowError:
        return False
