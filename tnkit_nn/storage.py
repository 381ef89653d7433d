"""Files of ours: written whole or not at all, checked when they are read, in folders that one run has to itself; never a pickle.

What a run reads back is sealed: with its content stand what it is of and a digest.  A file of an older version has no seal, and is
taken where its content is what it should be.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tnkit.core.checks import shown
from tnkit.core.extras import need
from tnkit.core.writing import clear, named, replacing

__all__ = [
    "AGAIN",
    "alone",
    "clear",
    "damaged",
    "digest",
    "fill_",
    "first_difference",
    "misfit",
    "named",
    "own_tensors",
    "parsed",
    "raw",
    "read_bytes",
    "read_record",
    "read_tensors",
    "replacing",
    "write_bytes",
    "write_json",
    "write_record",
    "write_tensors",
]

#: What to do about most damaged files of a run.
AGAIN = "delete it to have it made again"

SEAL = "seal"  # in a record: {"of": ..., "sha256": ...}
DIGEST = "tnkit.sha256"  # in the texts of a safetensors file
HEADER = b"tnkit "  # how a sealed file of bytes begins; its first line ends with the seal as JSON


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
        with named(folder / "lock"):
            lock.acquire()
    except Timeout:
        raise ValueError(f"{folder}: {what} is being run by another process") from None
    try:
        clear(folder, below=True)
        yield
    finally:
        lock.release()


# -- plain data -----------------------------------------------------------------------------------------------------
def damaged(path: str | os.PathLike[str], why: str, way: str = AGAIN) -> ValueError:
    """The error of a file that is not what it should be: its name, what is wrong, and what to do."""
    return ValueError(f"{os.fspath(path)}: damaged, {why}; {way}")


def parsed(text: str | bytes, path: str | os.PathLike[str], way: str = AGAIN) -> Any:
    """Plain data of JSON text of a file; ValueError, with the file's name, where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        raise damaged(path, "no JSON", way) from None
    except RecursionError:
        raise damaged(path, "nested too deep", way) from None


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write plain data as JSON, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1), encoding="utf-8")


def write_record(path: str | os.PathLike[str], of: str, value: Mapping[str, Any]) -> None:
    """Write named plain data as JSON with a seal, for :func:`read_record`.

    Parameters
    ----------
    path
        The file.
    of
        What it is the record of: a job, say.
    value
        Names of its own, "seal" not among them.
    """
    plain = json.loads(json.dumps(value))
    write_json(path, {**plain, SEAL: {"of": of, "sha256": _text_digest(of, plain)}})


def read_record(path: Path, of: str, kinds: Mapping[str, type | tuple[type, ...]], way: str = AGAIN) -> dict[str, Any]:
    """Read what :func:`write_record` wrote.

    Parameters
    ----------
    path
        The file.
    of
        What it has to be the record of.
    kinds
        Names that it has to have, and of which types their values are.
    way
        What to do where it is damaged.

    Raises
    ------
    ValueError
        No such record, or one of something else, or not the content that was written.
    """
    found = parsed(path.read_bytes(), path, way)
    if not isinstance(found, dict):
        raise damaged(path, f"it is {shown(found)}, not a record", way)
    if SEAL in found:
        _check_seal(path, found.pop(SEAL), of, _text_digest(of, found), way)
    for name, kind in kinds.items():
        every = kind if isinstance(kind, tuple) else (kind,)
        if name not in found:
            raise damaged(path, f"it has no {name!r}", way)
        if type(found[name]) not in every:
            words = " or ".join(k.__name__ for k in every)
            raise damaged(path, f"its {name} is {shown(found[name])}, not of type {words}", way)
    return found


def write_bytes(path: str | os.PathLike[str], of: str, content: bytes) -> None:
    """Write bytes behind a line with a seal, for :func:`read_bytes`."""
    seal = json.dumps({"of": of, "sha256": hashlib.sha256(content).hexdigest()})
    with replacing(path) as temporary:
        temporary.write_bytes(HEADER + seal.encode() + b"\n" + content)


def read_bytes(path: Path, of: str, way: str = AGAIN) -> bytes:
    """Read what :func:`write_bytes` wrote; ValueError where it is of something else, or not the content that was written."""
    content = path.read_bytes()
    if content.startswith(HEADER):
        line, _, content = content.removeprefix(HEADER).partition(b"\n")
        _check_seal(path, parsed(line, path, way), of, hashlib.sha256(content).hexdigest(), way)
    return content


def _text_digest(of: str, plain: Any) -> str:
    return hashlib.sha256(json.dumps([of, plain], sort_keys=True).encode()).hexdigest()


def _check_seal(path: Path, seal: Any, of: str, sha256: str, way: str) -> None:
    if not isinstance(seal, dict) or not isinstance(seal.get("of"), str):
        raise damaged(path, "its seal is none", way)
    if seal["of"] != of:
        raise damaged(path, f"it is of {shown(seal['of'])}, not of {shown(of)}", way)
    if seal.get("sha256") != sha256:
        raise damaged(path, "its content is not what was written", way)


def first_difference(its: Any, ours: Any, name: str = "") -> str:
    """The first thing that differs between two settings, in words; empty where nothing does.  One that is None may be missing."""
    if isinstance(its, dict) and isinstance(ours, dict):
        found = (first_difference(its.get(key), ours.get(key), f"{name}.{key}".strip(".")) for key in {**ours, **its})
        return next(filter(None, found), "")
    if its == ours:
        return ""
    if its is None:
        return f"it has no {name}, here it is {ours!r:.100}"
    return f"its {name} is {its!r:.100}, " + ("here there is none" if ours is None else f"not {ours!r:.100}")


# -- tensors --------------------------------------------------------------------------------------------------------
def write_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write named tensors, texts and their digest to one safetensors file; tensors that share memory are written each in full.

    Raises
    ------
    OSError
        It cannot be written, the disk being full, say.
    """
    need("a safetensors file", "safetensors")
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    own, texts = own_tensors(tensors), dict(metadata or {})
    with replacing(path) as temporary:
        try:
            save_file(own, temporary, {**texts, DIGEST: digest(own, texts)})
            _in_order(temporary)
        except SafetensorError as error:
            raise _of_system(error, path) from None


def _of_system(error: Exception, path: str | os.PathLike[str]) -> OSError:
    """The error of the system in the library's, which has no other way to say a full disk."""
    found = re.search(r"([^:]*) \(os error (\d+)\)", str(error))
    if not found:
        return OSError(errno.EIO, f"cannot be written ({error})", str(path))
    words, number = found[1].strip(), int(found[2])
    if os.name == "nt":  # numbers of its own, of which OSError knows the usual ones
        return OSError(0, words.rstrip("."), str(path), number)
    return OSError(number, os.strerror(number), str(path))


def _in_order(path: Path) -> None:
    """The texts of a safetensors file in the order of their names, in which the library does not write them: equal files are equal bytes."""
    with path.open("r+b") as file:
        header = file.read(int.from_bytes(file.read(8), "little"))
        begin = header.index(b'"__metadata__":') + len(b'"__metadata__":')
        text = header[begin:].decode()
        texts, end = json.JSONDecoder().raw_decode(text)
        sorted_ = json.dumps(dict(sorted(texts.items())), ensure_ascii=False, separators=(",", ":")).encode()
        if len(sorted_) == len(text[:end].encode()):
            file.seek(8 + begin)
            file.write(sorted_)


def digest(tensors: Mapping[str, Tensor], texts: Mapping[str, str] | None = None) -> str:
    """A digest of named tensors (types, shapes and values) and texts, in whatever order."""
    made = hashlib.sha256(json.dumps(dict(texts or {}), sort_keys=True).encode())
    for name, t in sorted(tensors.items()):
        made.update(json.dumps([name, str(t.dtype), list(t.shape)]).encode())
        made.update(raw(t))
    return made.hexdigest()


def own_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies that share no memory, as a safetensors file wants them."""
    return {name: t.detach().cpu().clone().contiguous() for name, t in tensors.items()}


def raw(t: Tensor) -> bytes:
    """The bytes of a tensor of any dtype, numpy's or not."""
    return t.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()


def read_tensors(path: str | os.PathLike[str], way: str = "") -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors and texts of a safetensors file; ``way``: what to do where it is damaged.

    The tensors are copies: the library's own are the file itself, which Windows then lets nobody replace, and which another
    program may write to.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is no safetensors file, or a damaged one.
    OSError
        It cannot be read.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: {'a folder, not a file' if Path(path).is_dir() else 'no such file'}")
    need("a safetensors file", "safetensors")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            texts = dict(file.metadata() or {})
    except SafetensorError as error:
        if _is_pickle(Path(path)):
            raise ValueError(
                f"{path}: a pickle, as torch.save writes it, is never loaded: it can run any code; where you trust it, "
                'safetensors.torch.save_file(torch.load(path, weights_only=True), "model.safetensors") makes the file that is'
            ) from None
        raise ValueError(f"{path}: not a safetensors file, or a damaged one ({error}){way and f'; {way}'}") from None
    sealed = texts.pop(DIGEST, None)
    if sealed is not None and sealed != digest(tensors, texts):
        raise ValueError(f"{path}: damaged, its content is not what was written{way and f'; {way}'}")
    return tensors, texts


def _is_pickle(path: Path) -> bool:
    """Whether a file begins as what ``torch.save`` writes, an archive, or formerly a pickle."""
    with path.open("rb") as file:
        begin = file.read(4)
    return begin == b"PK\x03\x04" or (begin[:1] == b"\x80" and begin[1:2] in b"\x02\x03\x04\x05")


def misfit(own: Mapping[str, Tensor], values: Mapping[str, Tensor], numbers: bool = False) -> str:
    """What keeps values from taking the place of a model's own, the first few in words; empty where nothing does.

    Parameters
    ----------
    own
        The model's parameters and buffers, by name.
    values
        What is to be copied into them.  Floats of any width fit floats; else the kinds have to be the same.
    numbers
        NaN is refused too.
    """
    wrong = [f"{n} is missing" for n in own if n not in values]
    wrong += [f"{n} is not the model's" for n in values if n not in own]
    wrong += [
        f"{n} is {tuple(values[n].shape)}, not {tuple(v.shape)}"
        for n, v in own.items()
        if n in values and values[n].shape != v.shape
    ]
    wrong += [
        f"{n} is {values[n].dtype}, not {v.dtype}"
        for n, v in own.items()
        if n in values and _kind(values[n]) != _kind(v)
    ]
    if numbers:
        wrong += [f"{n} has entries that are not a number" for n, v in values.items() if bool(v.isnan().any())]
    more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    return "; ".join(wrong[:3]) + more


def _kind(t: Tensor) -> str:
    """Within a kind the values stay what they are when they are copied, but for their precision."""
    if t.is_complex() or t.is_floating_point():
        return "complex" if t.is_complex() else "float"
    return "bool" if t.dtype == torch.bool else "whole"


def fill_(model: nn.Module, values: Mapping[str, Tensor], what: str, numbers: bool = False) -> None:
    """Copy values into a model's parameters and buffers, in the model's dtypes: all of them or none.

    Raises
    ------
    ValueError
        Names, shapes or kinds of values are not the model's (:func:`misfit`); the message begins with ``what`` and lists the first
        few.
    """
    own = model.state_dict()
    wrong = misfit(own, values, numbers)
    if wrong:
        raise ValueError(f"{what}: {wrong}")
    with torch.no_grad():
        for n, v in values.items():
            own[n].copy_(v)
