"""Files written whole or not at all, folders that one run has to itself, and tensors in safetensors files (never a pickle)."""

from __future__ import annotations

import errno
import json
import os
import platform
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tnkit.core.extras import need

__all__ = [
    "alone",
    "clear",
    "fill_",
    "first_difference",
    "own_tensors",
    "raw",
    "read_json",
    "read_tensors",
    "replacing",
    "write_json",
    "write_tensors",
]


PART = ".part"  # how the names of temporary files end
HOST = re.sub("[^A-Za-z0-9]+", "", platform.node())


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary file beside ``path`` that takes its place at the end: an interrupted run leaves the old file as it was.

    Raises
    ------
    OSError
        It cannot be written, the disk being full, say; ``path`` is named, not the temporary file.
    """
    path = Path(path)
    temporary = Path()
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.{HOST}-{os.getpid()}.", suffix=PART)
        temporary = Path(name)
        os.close(handle)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        os.replace(temporary, path)
    except BaseException as error:
        if temporary.name:
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            error.filename = os.fspath(path)
        raise


def clear(folder: Path, below: bool = False) -> None:
    """Delete the temporary files that killed processes of this machine have left in a folder, and in those below it."""
    for left in folder.rglob(f".*{PART}") if below else folder.glob(f".*{PART}"):
        host, _, pid = left.name.removesuffix(PART).split(".")[-2].rpartition("-")
        if host == HOST and pid.isdecimal() and not _alive(int(pid)):
            left.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    if os.name == "nt":  # there the signal would be one
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


@contextmanager
def alone(folder: Path, what: str) -> Iterator[None]:
    """A folder to oneself, cleared of what killed runs have left; the lock of a killed run is gone with it.

    Raises
    ------
    ValueError
        Another process has it; the message says that it runs ``what``.
    OSError
        The folder is not there, or cannot be written in; it is named.
    """
    need(what, "filelock")
    from filelock import FileLock, Timeout

    if not folder.is_dir():  # the lock would make it
        raise FileNotFoundError(errno.ENOENT, "no such folder", str(folder))
    lock = FileLock(folder / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(f"{folder}: {what} is being run by another process") from None
    try:
        clear(folder, below=True)
        yield
    finally:
        lock.release()


def read_json(path: Path) -> Any:
    """Plain data of a JSON file; ValueError, with its name, where it is damaged."""
    try:
        return json.loads(path.read_text())
    except ValueError:
        raise ValueError(f"{path}: damaged, no JSON; delete it to have it made again") from None


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write plain data as JSON, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1))


def first_difference(its: Any, ours: Any, name: str = "") -> str:
    """The first thing that differs between two settings, in words; empty where nothing does."""
    if isinstance(its, dict) and isinstance(ours, dict):
        found = (first_difference(its.get(key), ours.get(key), f"{name}.{key}".strip(".")) for key in {**ours, **its})
        return next(filter(None, found), "")
    return "" if its == ours else f"its {name} is {its!r:.100}, not {ours!r:.100}"


def write_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write named tensors and texts to one safetensors file; tensors that share memory are written each in full.

    Raises
    ------
    OSError
        It cannot be written, the disk being full, say.
    """
    need("a safetensors file", "safetensors")
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with replacing(path) as temporary:
        try:
            save_file(own_tensors(tensors), temporary, dict(metadata or {}))
        except SafetensorError as error:
            raise OSError(errno.EIO, f"cannot be written ({error})", str(path)) from None


def own_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies that share no memory, as a safetensors file wants them."""
    return {name: t.detach().cpu().clone().contiguous() for name, t in tensors.items()}


def raw(t: Tensor) -> bytes:
    """The bytes of a tensor of any dtype, numpy's or not."""
    return t.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()


def read_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors and texts of a safetensors file.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is no safetensors file, or a damaged one.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: {'a folder, not a file' if Path(path).is_dir() else 'no such file'}")
    need("a safetensors file", "safetensors")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file, or a damaged one ({error})") from None


def fill_(model: nn.Module, values: Mapping[str, Tensor], what: str) -> None:
    """Copy values into a model's parameters and buffers, in the model's dtypes: all of them or none.

    Raises
    ------
    ValueError
        Names or shapes are not the model's; the message begins with ``what`` and lists the first few.
    """
    own = model.state_dict()
    wrong = [f"{n} is missing" for n in own if n not in values]
    wrong += [f"{n} is not the model's" for n in values if n not in own]
    wrong += [
        f"{n} is {tuple(values[n].shape)}, not {tuple(v.shape)}"
        for n, v in own.items()
        if n in values and values[n].shape != v.shape
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ValueError(f"{what}: {'; '.join(wrong[:3])}{more}")
    with torch.no_grad():
        for n, v in values.items():
            own[n].copy_(v)
