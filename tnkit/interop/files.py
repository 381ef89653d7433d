"""Networks with their arrays as one file; never pickle.

The file is a zip as numpy's ``.npz``, its entries as they are (not compressed): ``network.json``, ``arrays.json`` (the
names, in order), ``array_0.npy`` ... and ``sha256.json`` (the digest of each of them; files of before have none).
Arrays are stored by number because a name may be any string, and a name such as ``../x`` is no safe name for a file.
"""

from __future__ import annotations

import errno
import json
import os
import zipfile
from collections.abc import Mapping
from hashlib import sha256
from math import prod
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np

from tnkit.core.checks import a_file_name, a_mapping, a_network, shown
from tnkit.core.decomposition import Pair, network_of
from tnkit.core.network import Network
from tnkit.core.writing import replacing
from tnkit.execution.arrays import dtype_name
from tnkit.execution.inputs import check_arrays, check_known
from tnkit.execution.library import library, values
from tnkit.interop.text import from_json, strings, to_json

__all__ = ["from_json", "load", "save", "to_json"]

#: Bytes that are read at once.
_CHUNK = 2**20
#: What reading bytes of any kind raises; an OSError only where it is the bytes' fault.
_DAMAGE = (
    zipfile.BadZipFile, EOFError, KeyError, RuntimeError, ValueError, MemoryError, OverflowError,
)  # fmt: skip


# -- writing --------------------------------------------------------------------------------------------------------
def save(path: str | os.PathLike[str], net: Network | Pair, arrays: Mapping[str, Any] | None = None) -> None:
    """Write a network and its arrays to one file, whole or not at all.

    >>> net = tk.tt((2, 3), 2)
    >>> arrays = tk.init.normal(net)
    >>> tk.save("weight.tn", net, arrays)
    >>> again, read = tk.load("weight.tn")
    >>> again == net, np.array_equal(read["core_0"], arrays["core_0"])
    (True, True)

    Parameters
    ----------
    path
        The file, called exactly so (no suffix is added; ``~`` is the user's home).  A file that is there is replaced in one step once the new
        one is on the disk, so that an interrupted save leaves the old one as it was.
    net
        Any network without functions of its own; or a pair of a network and its arrays, such as a :class:`tnkit.Decomposition`.
    arrays
        Array name -> array of the shape ``net.array_shapes[name]``; some or all may be missing.  Numbers or booleans
        of any numpy dtype.  torch tensors are written as numpy arrays, and read back as such.

    Raises
    ------
    TypeError
        No path, no Network, arrays that are no mapping, or what is no array, by its name.
    ValueError
        A shape that disagrees with the network, an array of no node, or a dtype that the file cannot hold (objects,
        strings, masked arrays, torch.bfloat16), by the array's name.
    OSError
        The folder is not there, or the file cannot be written; the file is named.
    """
    # realpath: a symbolic link stays one, and what it points to is replaced.
    target = Path(os.path.realpath(a_file_name(path, "save")))
    network, arrays = network_of(net, arrays, "save")
    a_network(network, "save")
    given = {} if arrays is None else a_mapping(arrays, "save")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"save: no folder {str(target.parent)!r}")
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "save: a folder is there", str(target))
    check_known(network, given)
    ready = {name: _plain_array(name, array) for name, array in given.items()}
    _check_shapes(network, ready)
    text = to_json(network)
    with replacing(target) as temporary, temporary.open("wb") as file:
        _write_file(file, text, ready)


def _plain_array(name: str, array: Any) -> np.ndarray:
    """The array as numpy's, of a dtype that a file holds."""
    found = library(array)
    if found is None:
        raise TypeError(f"save: array {name!r} is {shown(array)}, which is no array; convert it")
    if isinstance(array, np.ma.MaskedArray):
        raise ValueError(f"save: array {name!r} is masked, and a file holds no mask; fill it first")
    if hasattr(array, "dtype") and dtype_name(array) == "bfloat16":
        raise ValueError(f"save: array {name!r} is {array.dtype}, which numpy lacks; convert it first")
    # Other kinds are objects (pickle) or dtypes registered by extensions, which a .npy file would read back as bytes.
    try:
        return values(name, array, "save")
    except TypeError as error:
        raise ValueError(str(error)) from None


def _check_shapes(net: Network, arrays: Mapping[str, np.ndarray]) -> None:
    """ValueError where an array is no node's, or not of its shape; those that are missing are no fault."""
    check_known(net, arrays)
    for leaf, owner in net._walk():
        if leaf.array in arrays and arrays[leaf.array].shape != net.array_shapes[leaf.array]:
            alone = Network([leaf], (), {i: owner.sizes[i] for i in leaf.inds})
            check_arrays(alone, {leaf.array: arrays[leaf.array]})


class _Hashed:
    """A file whose bytes are hashed on the way, in or out."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.hash = file, sha256()

    def write(self, data: Any) -> int:
        self.hash.update(data)
        return self.file.write(data)

    def read(self, size: int) -> bytes:
        data = self.file.read(size)
        self.hash.update(data)
        return data


def _write_file(file: IO[bytes], text: str, arrays: Mapping[str, np.ndarray]) -> None:
    names = json.dumps(list(arrays))
    digests = {"network.json": sha256(text.encode()).hexdigest(), "arrays.json": sha256(names.encode()).hexdigest()}
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("network.json", text)
        archive.writestr("arrays.json", names)
        for k, array in enumerate(arrays.values()):
            # The size is not known when the entry is opened, so zip64 must be asked for or 2 GiB is the limit.
            with archive.open(f"array_{k}.npy", "w", force_zip64=True) as entry:
                hashed = _Hashed(entry)
                np.lib.format.write_array(hashed, array, allow_pickle=False)
                digests[f"array_{k}.npy"] = hashed.hash.hexdigest()
        archive.writestr("sha256.json", json.dumps(digests))


# -- reading --------------------------------------------------------------------------------------------------------
def load(path: str | os.PathLike[str]) -> tuple[Network, dict[str, np.ndarray]]:
    """Read what :func:`save` wrote.

    >>> tk.save("weight.tn", tk.tt((2, 3), 2), {"core_0": np.ones((2, 2))})
    >>> net, arrays = tk.load("weight.tn")
    >>> net == tk.tt((2, 3), 2), list(arrays)  # some arrays may be missing
    (True, ['core_0'])

    Nothing is read of a size that the file itself has not: a header may promise anything.

    Returns
    -------
    net
        Equal to the network that was saved.
    arrays
        Array name -> numpy array, shape and dtype as saved, in the order saved; empty if none were.

    Raises
    ------
    TypeError
        No path.
    ValueError
        No such file of tnkit's, a damaged one, or arrays that do not fit the network.
    OSError
        The file is not there, or cannot be read.
    """
    name = a_file_name(path, "load")
    if not os.path.exists(name):
        raise FileNotFoundError(errno.ENOENT, f"load: there is no file at this path, {os.path.abspath(name)}")
    try:
        with open(name, "rb") as file, zipfile.ZipFile(file) as archive:
            archived = _Archive(archive, os.fstat(file.fileno()).st_size)
            net = from_json(archived.text("network.json"))
            names = _names(archived.text("arrays.json"))
            arrays = {given: archived.array(f"array_{k}.npy") for k, given in enumerate(names)}
        _check_shapes(net, arrays)
    except (*_DAMAGE, OSError) as error:
        # EINVAL: a place to read from that there cannot be
        if isinstance(error, OSError) and not isinstance(error, zipfile.BadZipFile) and error.errno != errno.EINVAL:
            raise
        reason = "nested too deep" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise ValueError(f"load: {name!r} is not a whole file of tnkit.save: {reason}") from error
    return net, arrays


def _names(text: str) -> tuple[str, ...]:
    names = json.loads(text)
    if not isinstance(names, list):
        raise ValueError(f"arrays.json is {shown(names)}, not list")
    if len(set(strings(names, "arrays.json"))) != len(names):
        raise ValueError("arrays.json names an array twice")
    return tuple(names)


class _Archive:
    """The entries of a file, each read in chunks, and never more than there is."""

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        self.archive, self.size = archive, size
        self.digests: dict[str, Any] = {}
        if "sha256.json" in archive.namelist():
            self.digests = json.loads(self.text("sha256.json"))
            if not isinstance(self.digests, dict):
                raise ValueError(f"sha256.json is {shown(self.digests)}, not dict")

    def entry(self, name: str) -> zipfile.ZipInfo:
        """An entry; ValueError where it is not stored as it is, or said to be larger than the file."""
        info = self.archive.getinfo(name)
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise ValueError(f"{name} is compressed, and save does not compress")
        if info.file_size > self.size:
            raise ValueError(f"{name} is said to have {info.file_size} bytes, and the file has {self.size}")
        return info

    def check(self, name: str, digest: str) -> None:
        """ValueError where the bytes are not those that were written."""
        if self.digests and name != "sha256.json" and self.digests.get(name) != digest:
            raise ValueError(f"{name} is damaged: its digest is not the one in sha256.json")

    def text(self, name: str) -> str:
        """A text, whole."""
        with self.archive.open(self.entry(name)) as entry:
            data = entry.read()
        self.check(name, sha256(data).hexdigest())
        return data.decode("utf-8")

    def array(self, name: str) -> np.ndarray:
        """An array, of the size that its entry has."""
        info = self.entry(name)
        with self.archive.open(info) as entry:
            hashed = _Hashed(entry)
            shape, fortran, dtype = _header(hashed, name)
            promised, there = prod(shape) * dtype.itemsize, info.file_size - entry.tell()
            if promised != there:
                raise ValueError(f"{name} is {'longer' if there > promised else 'shorter'} than its header says")
            whole = bytearray(promised)
            rest = memoryview(whole)
            # zipfile compares its own checksum once an entry is read to its end
            while data := hashed.read(_CHUNK):
                rest[: len(data)] = data
                rest = rest[len(data) :]
        if len(rest):
            raise EOFError(f"{name} ends early")
        self.check(name, hashed.hash.hexdigest())
        return np.ndarray(shape, dtype, whole, order="F" if fortran else "C")


def _header(file: _Hashed, name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and dtype that a .npy file says it has."""
    try:
        version = np.lib.format.read_magic(file)  # type: ignore[arg-type]
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
        shape, fortran, dtype = read(file) if read else ((), False, np.dtype("V"))  # type: ignore[arg-type]
    except (ValueError, SyntaxError, TokenError) as error:
        raise ValueError(f"{name} has no header of an array: {error}") from None
    if read is None:  # numbers and booleans are written as one of these
        raise ValueError(f"{name} has version {version} of numpy's format, and save writes 1.0 or 2.0")
    if dtype.kind not in "biufc":
        raise ValueError(f"{name} has dtype {dtype}; only numbers and booleans are saved")
    if any(n < 0 for n in shape):
        raise ValueError(f"{name} has shape {shape}")
    return shape, fortran, dtype
