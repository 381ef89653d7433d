"""The folder of a compression: what is found is written before the next thing begins, and nothing is done twice."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

import tnkit as tk
from tnkit_nn.adapter.fitting import FitResult
from tnkit_nn.compression.recipe import Compression
from tnkit_nn.data.splits import Split
from tnkit_nn.storage import AGAIN, damaged, digest, raw, read_record, replacing, write_json, write_record
from tnkit_nn.training.checkpoint import structure

__all__ = ["Folder"]

#: Names in the records of a compression, and of which types their values are; :meth:`Folder.once` says of which record.
Kinds = Mapping[str, type | tuple[type, ...]]
NUMBER = (float, int)
ACCURACY: Kinds = {"accuracy": NUMBER}
BEFORE: Kinds = {"accuracy": NUMBER, "classes": int, "params": int, "bytes": int}
RUN: Kinds = {"recipe": dict, "model": list, "data": list}
FOUND: Kinds = {"error": NUMBER, "chance": NUMBER, "method": str, "seconds": NUMBER}
SPENT: Kinds = {"seconds": NUMBER}

#: What a compression writes under names that something else may have in the folder.
WRITTEN = ("model.safetensors", "dense.safetensors", "results.json", "report.json", "recipe.toml")


def _digest(tensors: Mapping[str, Tensor]) -> str:
    made = hashlib.sha256()
    for name, t in tensors.items():
        made.update(name.encode() + raw(t))
    return made.hexdigest()


class Folder:
    """What a compression has written, so that nothing is done twice."""

    def __init__(self, path: Path, model: nn.Module, recipe: Compression, data: Split, begin: float) -> None:
        self.path, self.begin = path, begin
        mine = {
            "recipe": json.loads(json.dumps(asdict(recipe))), "model": [_digest(model.state_dict()), structure(model)],
            "data": [data.name, data.digest()],
        }  # fmt: skip
        foreign = [name for name in WRITTEN if (path / name).exists()]
        if foreign and not (path / "run.json").exists():
            raise ValueError(f"{path} holds {foreign[0]}, which no compression wrote there; give an empty folder")
        kept = self._read("spent", SPENT, "delete it, and the seconds are counted from here")
        self.before = kept["seconds"] if kept else 0.0
        run = self.once("run", RUN, lambda: mine, "give an empty folder")
        for key, value in mine.items():
            if run[key] != value:
                raise ValueError(f"{path} holds the compression of another {key}; give an empty folder")
        recipe.save(path / "recipe.toml")

    def _read(self, name: str, kinds: Kinds, way: str = AGAIN) -> dict[str, Any] | None:
        file = self.path / f"{name}.json"
        return read_record(file, name, kinds, way) if file.exists() else None

    def write(self, name: str, value: Mapping[str, Any]) -> None:
        """Write one result."""
        write_record(self.path / f"{name}.json", name, value)

    def report(self, value: Mapping[str, Any]) -> None:
        """Write the report, which is for people, and not read back."""
        write_json(self.path / "report.json", value)

    def once(self, name: str, kinds: Kinds, make: Callable[[], dict[str, Any]], way: str = AGAIN) -> dict[str, Any]:
        """What was found before, or is found now and written.

        Parameters
        ----------
        name
            Of the record.
        kinds
            Names in it, and of which types their values are.
        make
            Finds it.
        way
            What to do where the file is damaged.
        """
        found = self._read(name, kinds, way)
        if found is None:
            found = make()
            self.write(name, found)
            self.spent()
        return found

    def spent(self) -> float:
        """Seconds so far, those before a restart included."""
        seconds = self.before + time.perf_counter() - self.begin
        self.write("spent", {"seconds": seconds})
        return seconds

    def arrays(self, layer: str, net: tk.Network, make: Callable[[], FitResult]) -> tuple[FitResult, float]:
        """The arrays of the approximation, found before or now, and the seconds that it took."""
        name = f"stage1-{layer.replace('/', '-')}"
        figures = self._read(name, FOUND)  # written last: where they are, the arrays are
        if figures is not None:
            arrays = self._arrays(name, net, figures.get("arrays"))
            found = FitResult(arrays, (), figures["error"], figures["chance"], figures["method"])
            return found, figures["seconds"]
        begin = time.perf_counter()
        found = make()
        seconds = time.perf_counter() - begin
        lines = (json.dumps({"step": k, "error": error}) + "\n" for k, error in enumerate(found.history, 1))
        with replacing(self.path / f"{name}.jsonl") as temporary:
            temporary.write_text("".join(lines))
        with replacing(self.path / f"{name}.tn") as temporary, TemporaryDirectory() as elsewhere:
            tk.save(
                Path(elsewhere) / "net", net, found.arrays
            )  # its own temporary file, which a kill leaves, is not in this folder
            temporary.write_bytes((Path(elsewhere) / "net").read_bytes())
        self.write(name, {
            "error": found.error, "chance": found.chance, "method": found.method, "seconds": seconds,
            "arrays": _digest_of_arrays(found.arrays),
        })  # fmt: skip
        return found, seconds

    def _arrays(self, name: str, net: tk.Network, sealed: str | None) -> dict[str, Any]:
        """The arrays in the file of a network; ValueError where they are those of another one."""
        path, way = self.path / f"{name}.tn", f"delete it and {name}.json to have them made again"
        if not path.exists():
            raise damaged(
                path, f"it is not there, though {name}.json is", f"delete {name}.json to have both made again"
            )
        try:
            kept, arrays = tk.load(path)
        except ValueError as error:
            raise damaged(path, str(error), way) from None
        if kept != net:
            raise damaged(path, "it holds another network", way)
        missing = [array for array in net.parameters if array not in arrays]
        if missing:
            raise damaged(path, f"it has no array {missing[0]!r}", way)
        if sealed is not None and sealed != _digest_of_arrays(arrays):
            raise damaged(path, "its arrays are not those that were found", way)
        return arrays


def _digest_of_arrays(arrays: Mapping[str, Any]) -> str:
    return digest({name: torch.as_tensor(array) for name, array in arrays.items()})
