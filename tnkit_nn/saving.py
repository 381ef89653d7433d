"""Any model with networks in it as a folder: tensors, networks and a manifest; never a pickle, whole or not at all.

The manifest is written last, and names the two other files by their content: until then, the folder holds what it held before.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from tnkit.core.checks import shown
from tnkit.core.network import Network
from tnkit_nn.adapter.module import TNModule
from tnkit_nn.checks import a_folder, a_module, a_path
from tnkit_nn.placing import PlacedNetwork, networks_of, owner_and_leaf
from tnkit_nn.storage import (
    damaged,
    digest,
    parsed,
    read_record,
    read_tensors,
    replacing,
    write_record,
    write_tensors,
)
from tnkit_nn.stored import put_, read_network, read_placed, stored_tensors, text_of, told, under_all_names
from tnkit_nn.versions import versions

__all__ = ["load", "save"]

MANIFEST = "manifest.json"
OF = "a saved model"  # in the manifest's seal
FORMAT = 1  # of the folder: later versions read earlier ones
WAY = "copy the folder again, or save the model again"
#: Names of files that a manifest may have: those that :func:`save` gives.
_NAMES = {
    "tensors": re.compile(r"model-[0-9a-f]{16}\.safetensors"),
    "networks": re.compile(r"networks-[0-9a-f]{16}\.json"),
}
_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "format": int, "versions": dict, "model": str, "files": dict, "ties": list, "frozen": list,
}  # fmt: skip


def save(model: nn.Module, folder: str | os.PathLike[str]) -> None:
    """Write a model with networks in it to a folder: ``save(model, "small")``, and later ``model = load("small", make_model)``.

    >>> def make():
    ...     return nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))
    >>> model = make()
    >>> made = tknn.tensorize_(model, {"0": "tt"}, budget=100, fit=False)
    >>> tknn.save(model, "small")
    >>> again, x = tknn.load("small", make), torch.ones(3, 16)
    >>> torch.equal(again(x), model(x))
    True

    The folder gets the tensors as a safetensors file, the networks as JSON, and a manifest with versions, digests, ties and what is
    frozen.  A model saved there before is replaced at the very end: an interrupted call leaves the old one.

    Parameters
    ----------
    model
        Any module: networks as weights, alone or added to the old weight (``base=True``), tied ones, beneath others'
        parametrizations, :class:`TNLinear` layers.
    folder
        A new or an empty folder, or one of a model saved before.

    Raises
    ------
    TypeError
        No module, no path.
    ValueError
        A folder of something else; a network with a function of its own, which is no text; a value of the model that is no dense
        tensor.
    OSError
        It cannot be written, the disk being full, say.
    """
    a_module(model, "save: model")
    folder = a_folder(folder, "save: folder")
    old = _old_files(folder)
    values, plain = stored_tensors(model, "save"), _plain(model)
    text = json.dumps(plain, separators=(",", ":")).encode()  # in the order of the weights, which the loaded ones get
    files = {
        "tensors": f"model-{digest(values.tensors)[:16]}.safetensors",
        "networks": f"networks-{hashlib.sha256(text).hexdigest()[:16]}.json",
    }
    manifest = {
        "format": FORMAT, "versions": versions(), "model": type(model).__qualname__, "files": files, "ties": values.ties,
        "frozen": [name for name, p in model.named_parameters() if not p.requires_grad],
    }  # fmt: skip
    with _undone(folder, [name for name in files.values() if name not in old]):
        folder.mkdir(parents=True, exist_ok=True)
        write_tensors(folder / files["tensors"], values.tensors)
        with replacing(folder / files["networks"]) as temporary:
            temporary.write_bytes(text)
        write_record(folder / MANIFEST, OF, manifest)
    for name in old - set(files.values()):
        (folder / name).unlink(missing_ok=True)


def _old_files(folder: Path) -> set[str]:
    """Names of the files of a model saved there before; ValueError where the folder holds something else."""
    there = {path.name for path in folder.iterdir() if not path.name.startswith(".")} if folder.exists() else set()
    if there and MANIFEST not in there:
        raise ValueError(
            f"save: folder is new, empty, or that of a model saved before, but {folder} holds {min(there)!r}"
        )
    if not there:
        return set()
    manifest = read_record(folder / MANIFEST, OF, {"files": dict}, "give another folder")
    return {name for name in manifest["files"].values() if isinstance(name, str) and name in there}


@contextmanager
def _undone(folder: Path, new: list[str]) -> Iterator[None]:
    """What fails within it leaves none of the new files, and no new folder."""
    made = not folder.exists()
    try:
        yield
    except BaseException:
        for name in new:
            (folder / name).unlink(missing_ok=True)
        if made and folder.exists() and not any(folder.iterdir()):
            folder.rmdir()
        raise


# -- networks as plain data ---------------------------------------------------------------------------------------------
def _plain(model: nn.Module) -> dict[str, Any]:
    """Every network once, and which weights and modules are which."""
    texts: dict[str, str] = {}
    weights = {}
    for name, placed in networks_of(model).items():
        text = json.dumps(text_of(placed.network, name, "save"), sort_keys=True)
        key = texts.setdefault(text, str(len(texts)))
        weights[name] = {"network": key, **told(placed)}
    modules = {}
    for name, net in _modules(model).items():
        try:
            text = json.dumps(text_of(net, name, "save"), sort_keys=True)
        except ValueError:  # a function of its own: whoever makes the model has it
            continue
        modules[name] = texts.setdefault(text, str(len(texts)))
    return {"networks": {key: json.loads(text) for text, key in texts.items()}, "weights": weights, "modules": modules}


def _modules(model: nn.Module) -> dict[str, Network]:
    """Name -> network of every module that is one, layers' included, but for those that are weights."""
    return {
        name: m.network
        for name, m in model.named_modules()
        if isinstance(m, TNModule) and ".parametrizations." not in f".{name}"
    }


def load(folder: str | os.PathLike[str], factory: nn.Module | Callable[[], nn.Module]) -> nn.Module:
    """The model that :func:`save` wrote, its outputs bit by bit the same: ``load("small", lambda: Model(width=97))``.

    >>> def make():
    ...     return nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))
    >>> model = make()
    >>> made = tknn.tensorize_(model, {"0": "cp"}, budget=100, fit=False)
    >>> tknn.save(model, "small")
    >>> again = tknn.load("small", make)
    >>> sum(p.numel() for p in again.parameters()) == sum(p.numel() for p in model.parameters())
    True
    >>> tknn.load("small", lambda: nn.Sequential(nn.Linear(16, 3)))
    Traceback (most recent call last):
        ...
    ValueError: load: small: not of this model: 0.weight is (16, 16) in the file, (3, 16) in the model

    Nothing is unpickled.  Everything is checked before the model is changed.

    Parameters
    ----------
    folder
        Where it is.
    factory
        A function without arguments that gives the dense model, as it was before its weights became networks (with its
        :class:`TNLinear` layers and others' parametrizations); or that model itself, which is changed in place.

    Returns
    -------
    nn.Module
        On the device and in the mode (``train`` or ``eval``) of the factory's model.

    Raises
    ------
    TypeError
        No path, no function, a function that gives no module.
    FileNotFoundError, ValueError
        No folder of a saved model; a damaged file, which is named; a model that differs from the one saved (the layer and what
        differs are named), or that has no values.  The model is as it was.
    """
    folder = a_path(folder, "load: folder")
    if not callable(factory):
        raise TypeError(
            f"load: factory is a function without arguments that gives the dense model, or that model, not {shown(factory)}"
        )
    manifest = _manifest(folder)
    tensors = folder / manifest["files"]["tensors"]
    values, _ = _found(tensors, read_tensors)
    if f"model-{digest(values)[:16]}.safetensors" != tensors.name:
        raise damaged(tensors, "its content is not what was written", WAY)
    plain = _networks(folder / manifest["files"]["networks"])
    ties = [tuple(names) for names in manifest["ties"]]
    placed, modules = _read(folder / manifest["files"]["networks"], plain, under_all_names(values, ties))
    model = _made(factory)
    for name, net in modules.items():
        _check_module(f"load: {folder}", model, name, net)
    put_(model, placed, values, f"load: {folder}", exact=True, ties=ties)
    frozen = set(manifest["frozen"])
    for name, p in model.named_parameters():
        p.requires_grad_(name not in frozen)
    return model


def _made(factory: Any) -> nn.Module:
    """The dense model, with values of its own."""
    try:
        model = factory if isinstance(factory, nn.Module) else factory()
    except Exception as error:  # whatever a function of the user's raises
        raise ValueError(f"load: factory(), without arguments, fails: {type(error).__name__}: {error}") from error
    a_module(model, "load: what factory gives")
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if isinstance(value, (nn.parameter.UninitializedParameter, nn.parameter.UninitializedBuffer)):
            raise ValueError(f"load: {name!r} of the factory's model has no shape yet: call the model once before")
        if value.is_meta:
            raise ValueError(
                f"load: {name!r} of the factory's model is on the meta device; call model.to_empty(device=...) first"
            )
    return model


# -- files --------------------------------------------------------------------------------------------------------------
def _manifest(folder: Path) -> dict[str, Any]:
    if not (folder / MANIFEST).is_file():
        why = "is a file, no folder" if folder.is_file() else "no such folder"
        why = f"no saved model: it has no {MANIFEST}" if folder.is_dir() else why
        raise FileNotFoundError(f"load: {folder}: {why}")
    path = folder / MANIFEST
    found = read_record(path, OF, {"format": int}, WAY)
    if found["format"] > FORMAT:
        raise ValueError(
            f"{path}: of format {found['format']}, which a later version of tnkit writes; this one reads {FORMAT}"
        )
    found = read_record(path, OF, _KINDS, WAY)
    for kind, name in _NAMES.items():
        if not isinstance(found["files"].get(kind), str) or not name.fullmatch(found["files"][kind]):
            raise damaged(path, f"its file of {kind} is {shown(found['files'].get(kind))}", WAY)
    for names in (*found["ties"], found["frozen"]):
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise damaged(path, f"it has {shown(names)} where names of parameters stand", WAY)
    return found


def _found(path: Path, read: Callable[[Path, str], Any]) -> Any:
    if not path.is_file():
        raise damaged(path, f"it is not there, though {MANIFEST} names it", WAY)
    return read(path, WAY)


def _networks(path: Path) -> dict[str, Any]:
    """The file of networks, whose name has its digest."""
    text = _found(path, lambda file, _: file.read_bytes())
    if f"networks-{hashlib.sha256(text).hexdigest()[:16]}.json" != path.name:
        raise damaged(path, "its content is not what was written", WAY)
    plain = parsed(text, path, WAY)
    parts = ("networks", "weights", "modules")
    if not isinstance(plain, dict) or not all(isinstance(plain.get(part), dict) for part in parts):
        raise damaged(path, f"it is {shown(plain)}, without {', '.join(parts)}", WAY)
    return plain


def _read(
    path: Path, plain: Mapping[str, Any], values: Mapping[str, Tensor]
) -> tuple[list[PlacedNetwork], dict[str, Network]]:
    """Networks of weights and of modules; each fits the file's tensors."""

    def network(key: Any, name: str) -> Any:
        if not isinstance(key, str) or key not in plain["networks"]:
            raise damaged(path, f"the network of {name!r} is {shown(key)}, which is none of its networks", WAY)
        return plain["networks"][key]

    placed = []
    for name, entry in plain["weights"].items():
        if not isinstance(entry, dict) or len(entry) < 2:
            raise damaged(path, f"what it says of {name!r} is {shown(entry)}", WAY)
        placed.append(read_placed(path, name, network(entry.get("network"), name), entry, values, WAY))
    modules = plain["modules"].items()
    return placed, {n: read_network(path, n, network(key, n), values, f"{n}.".lstrip("."), WAY) for n, key in modules}


def _check_module(folder: str, model: nn.Module, name: str, net: Network) -> None:
    """A layer of the model contracts the network that the saved one did."""
    module = dict(model.named_modules(remove_duplicate=False)).get(name)
    owner, _ = owner_and_leaf(name)
    if not isinstance(module, TNModule):
        raise ValueError(
            f"{folder}: not of this model: {owner or name!r} has the network {net!r} in the file, and none in the model"
        )
    if module.network != net:
        raise ValueError(
            f"{folder}: not of this model: the network of {owner or name!r} is {net!r} in the file, {module.network!r} in the model"
        )
