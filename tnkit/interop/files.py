"""Networks as JSON, and networks with their arrays as one file; never pickle.

The file is a zip as numpy's ``.npz``: ``network.json``, ``arrays.json`` (the names, in order) and ``array_0.npy`` ...
Arrays are stored by number because a name may be any string, and a name such as ``../x`` is no safe name for a file.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from tnkit.core.decomposition import paired
from tnkit.core.network import AnyNode, Elementwise, Network
from tnkit.core.node import Node
from tnkit.execution.inputs import check_arrays

__all__ = ["from_json", "load", "save", "to_json"]

FORMAT = "tnkit.network"
VERSION = 1


# -- JSON -----------------------------------------------------------------------------------------------------------
def to_json(net: Network) -> str:
    """Write a network as JSON text, which :func:`from_json` reads back to an equal one.

    Raises
    ------
    ValueError
        An Elementwise node whose ``fn`` is a function of its own: only names of :data:`tnkit.ACTIVATIONS` are text.
    """
    return json.dumps({"format": FORMAT, "version": VERSION, **_network_table(net)}, indent=1)


def from_json(text: str) -> Network:
    """Read a network from the text that :func:`to_json` wrote.

    Raises
    ------
    ValueError
        No JSON, another format or a newer version, or a value that is no network's; the message says which and where,
        as in ``nodes[2].bodies[0].output``.
    """
    try:
        data = json.loads(text)
    except RecursionError:
        raise ValueError("from_json: nested too deep") from None
    except ValueError as error:
        raise ValueError(f"from_json: not JSON: {error}") from None
    _expect(data, dict, "the document")
    if data.get("format") != FORMAT:
        raise ValueError(f"from_json: format is {data.get('format')!r}, not {FORMAT!r}")
    if data.get("version") != VERSION:
        raise ValueError(f"from_json: version is {data.get('version')!r}; this tnkit reads version {VERSION}")
    return _read_network(data, "")


def _network_table(net: Network) -> dict[str, Any]:
    return {"nodes": [_write_node(n) for n in net.nodes], "output": list(net.output), "sizes": dict(net.sizes)}


def _write_node(node: AnyNode) -> dict[str, Any]:
    if isinstance(node, Node):
        return {"node": node.name, "inds": list(node.inds), "array": node.array, "fixed": node.fixed}
    if not isinstance(node.fn, str):
        raise ValueError(
            f"to_json: elementwise node {node.name!r} has fn={node.fn!r}; only names of ACTIVATIONS are written"
        )
    return {"elementwise": node.name, "fn": node.fn, "bodies": [_network_table(body) for body in node.bodies]}


def _read_network(data: Any, where: str) -> Network:
    """The network at ``where`` (a dotted path that ends in a dot, or nothing)."""
    nodes = _get(data, "nodes", list, where)
    output = _strings(_get(data, "output", list, where), f"{where}output")
    sizes = _get(data, "sizes", dict, where)
    for i, size in sizes.items():
        # bool is an int to Python, and true is no size.
        if type(size) is not int:
            raise ValueError(f"from_json: {where}sizes[{i!r}] is {size!r}, not a whole number")
    values = tuple(_read_node(node, f"{where}nodes[{k}].") for k, node in enumerate(nodes))
    try:
        return Network(values, output, sizes)
    except (TypeError, ValueError) as error:
        raise ValueError(f"from_json: {where or 'the network: '}{error}") from None


def _read_node(data: Any, where: str) -> AnyNode:
    _expect(data, dict, where.removesuffix("."))
    if ("node" in data) == ("elementwise" in data):
        raise ValueError(f"from_json: {where.removesuffix('.')} needs one of 'node' and 'elementwise', the node's name")
    try:
        if "node" in data:
            inds = _strings(_get(data, "inds", list, where), f"{where}inds")
            array = _get(data, "array", str, where)
            return Node(data["node"], inds, array, _get(data, "fixed", (bool, str), where))
        bodies = _get(data, "bodies", list, where)
        for k, body in enumerate(bodies):
            _expect(body, dict, f"{where}bodies[{k}]")
        read = tuple(_read_network(body, f"{where}bodies[{k}].") for k, body in enumerate(bodies))
        return Elementwise(_get(data, "elementwise", str, where), _get(data, "fn", str, where), read)
    except (TypeError, ValueError) as error:
        if str(error).startswith("from_json: "):
            raise
        raise ValueError(f"from_json: {where.removesuffix('.')}: {error}") from None


def _expect(value: Any, kind: type | tuple[type, ...], where: str) -> Any:
    if not isinstance(value, kind):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        raise ValueError(f"from_json: {where} is {value!r:.40}, not {' or '.join(k.__name__ for k in kinds)}")
    return value


def _get(data: dict[str, Any], key: str, kind: type | tuple[type, ...], where: str) -> Any:
    if key not in data:
        raise ValueError(f"from_json: {where}{key} is missing")
    return _expect(data[key], kind, f"{where}{key}")


def _strings(values: list[Any], where: str) -> tuple[str, ...]:
    return tuple(_expect(value, str, f"{where}[{k}]") for k, value in enumerate(values))


# -- one file -------------------------------------------------------------------------------------------------------
@paired
def save(path: str | os.PathLike[str], net: Network, arrays: Mapping[str, Any] | None = None) -> None:
    """Write a network and its arrays to one file, whole or not at all.

    Parameters
    ----------
    path
        The file, called exactly so (no suffix is added).  A file that is there is replaced in one step once the new
        one is on the disk, so that an interrupted save leaves the old one as it was.
    net
        Any network without functions of its own.
    arrays
        Array name -> array of the shape ``net.array_shapes[name]``; some or all may be missing.  Numbers or booleans
        of any numpy dtype.  torch tensors are written as numpy arrays, and read back as such.

    Raises
    ------
    ValueError
        A shape that disagrees with the network, an array of no node, or a dtype that the file cannot hold (objects,
        strings, torch.bfloat16), by the array's name.
    FileNotFoundError
        The folder is not there.
    """
    # realpath: a symbolic link stays one, and what it points to is replaced.
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"save: no folder {str(target.parent)!r}")
    ready = {name: _to_numpy(name, array) for name, array in (arrays or {}).items()}
    _check(net, ready)
    text = to_json(net)
    # In the same folder, since a file moves in one step only within a file system; not by mkstemp, which would leave a
    # file that others may not read.
    temporary = target.parent / f".tnkit-{secrets.token_hex(8)}.tmp"
    try:
        with open(temporary, "xb") as file:
            _write_file(file, text, ready)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: str | os.PathLike[str]) -> tuple[Network, dict[str, np.ndarray]]:
    """Read what :func:`save` wrote.

    Returns
    -------
    net
        Equal to the network that was saved.
    arrays
        Array name -> numpy array, shape and dtype as saved, in the order saved; empty if none were.

    Raises
    ------
    ValueError
        No such file of tnkit's, a damaged one, or arrays that do not fit the network.
    """
    try:
        with zipfile.ZipFile(path) as file:
            net = from_json(file.read("network.json").decode("utf-8"))
            names = _strings(_expect(json.loads(file.read("arrays.json")), list, "arrays.json"), "arrays.json")
            arrays = {name: _read_array(file, k) for k, name in enumerate(names)}
        _check(net, arrays)
    except (zipfile.BadZipFile, EOFError, KeyError, RuntimeError, ValueError, MemoryError, OSError) as error:
        if (
            isinstance(error, OSError) and error.errno != errno.EINVAL
        ):  # that one: a place to read from that there cannot be
            raise
        raise ValueError(f"load: {os.fspath(path)!r} is not a whole file of tnkit.save: {error}") from error
    return net, arrays


def _write_file(file: IO[bytes], text: str, arrays: Mapping[str, np.ndarray]) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("network.json", text)
        archive.writestr("arrays.json", json.dumps(list(arrays)))
        for k, array in enumerate(arrays.values()):
            # The size is not known when the entry is opened, so zip64 must be asked for or 2 GiB is the limit.
            with archive.open(f"array_{k}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def _read_array(file: zipfile.ZipFile, k: int) -> np.ndarray:
    with file.open(f"array_{k}.npy") as entry:
        array: np.ndarray = np.lib.format.read_array(entry, allow_pickle=False)
        # zipfile compares the checksum only once an entry is read to its end.
        if entry.read(1):
            raise ValueError(f"array_{k}.npy is longer than its header says")
    return array


def _to_numpy(name: str, array: Any) -> np.ndarray:
    if not isinstance(array, np.ndarray) and hasattr(array, "detach"):
        tensor = array.detach().cpu()
        # A lazily conjugated or negated tensor has no numpy view until that is carried out.
        tensor = tensor.resolve_conj().resolve_neg()
        try:
            array = tensor.numpy()
        except (TypeError, RuntimeError) as error:
            raise ValueError(
                f"save: array {name!r} is {tensor.dtype}, which numpy lacks; convert it first ({error})"
            ) from None
    out = np.asarray(array)
    # Other kinds are objects (pickle) or dtypes registered by extensions, which a .npy file would read back as bytes.
    if out.dtype.kind not in "biufc":
        raise ValueError(f"save: array {name!r} has dtype {out.dtype}; only numbers and booleans are saved")
    return out


def _check(net: Network, arrays: Mapping[str, np.ndarray]) -> None:
    # Stand-ins for what is missing are views of one number, so that one check serves complete and partial arrays.
    blank = {name: np.broadcast_to(np.float64(0), shape) for name, shape in net.array_shapes.items()}
    check_arrays(net, {**blank, **arrays})
