"""The folder of a compression: what is found is written before the next thing begins, and nothing is done twice."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import torch
from torch import Tensor, nn

import tnkit as tk
from tnkit_nn.adapter.fitting import FitResult
from tnkit_nn.compression.recipe import Compression
from tnkit_nn.storage import (
    AGAIN,
    damaged,
    digest,
    first_difference,
    raw,
    read_record,
    replacing,
    write_json,
    write_record,
)
from tnkit_nn.strict import strict
from tnkit_nn.training.checkpoint import structure

__all__ = ["BEFORE", "METRIC", "RATE", "READING", "Folder", "described_model"]

#: Names in the records of a compression, and of which types their values are; :meth:`Folder.once` says of which record.
Kinds = Mapping[str, type | tuple[type, ...]]
NUMBER = (float, int)
METRIC: Kinds = {"metric": (*NUMBER, type(None))}
READING: Kinds = {"metric": NUMBER, "loss": NUMBER, "spread": NUMBER, "count": int}
BEFORE: Kinds = {**METRIC, "classes": int, "params": int, "bytes": int}
RUN: Kinds = {"recipe": dict, "model": dict, "task": (dict, type(None)), "tune": (str, type(None))}
ASKED: Kinds = {"epochs": list}
RATE: Kinds = {"factor": NUMBER}
FOUND: Kinds = {"error": NUMBER, "chance": NUMBER, "method": str, "seconds": NUMBER}
SPENT: Kinds = {"seconds": NUMBER}

#: Letters of a layer's name in those of its files.
_LONGEST = 200
#: What a compression writes under names that something else may have in the folder.
WRITTEN = ("model.safetensors", "dense.safetensors", "results.json", "report.json", "recipe.toml")


def _digest(tensors: Mapping[str, Tensor]) -> str:
    made = hashlib.sha256()
    for name, t in tensors.items():
        made.update(name.encode() + raw(t))
    return made.hexdigest()


def described_model(model: nn.Module) -> dict[str, Any]:
    """A model's values and structure, for the record of a run."""
    return {"structure": structure(model), "values": _digest(model.state_dict())[:12]}


class Folder:
    """What a compression has written, so that nothing is done twice.

    Attributes
    ----------
    asked
        The epochs that the fine-tuning was asked for, first and at each later call that asked for more; none without a fine-tuning.
    """

    def __init__(self, path: Path, mine: Mapping[str, Any], recipe: Compression, begin: float) -> None:
        self.path, self.begin = path, begin
        foreign = [name for name in WRITTEN if (path / name).exists()]
        if foreign and not (path / "run.json").exists():
            raise ValueError(f"{path} holds {foreign[0]}, which no compression wrote there; give an empty folder")
        kept = self.read("spent", SPENT, "delete it, and the seconds are counted from here")
        self.before = kept["seconds"] if kept else 0.0
        mine = json.loads(json.dumps({**mine, "recipe": recipe.settings()}))
        run = self.once("run", RUN, lambda: dict(mine), "give an empty folder")
        differs = first_difference(_but_epochs(run), _but_epochs(mine))
        if differs:
            raise ValueError(f"{path} holds another compression: {differs}; give an empty folder")
        self.asked = self._all_asked(run, recipe)
        self._keep_recipe(recipe)

    def _all_asked(self, run: Mapping[str, Any], recipe: Compression) -> tuple[int, ...]:
        """The epochs asked for, now included; ValueError where they are fewer than before."""
        if recipe.stage2 is None:
            return ()
        kept = self.read("asked", ASKED, "delete it, and ask for as many epochs as are done, or more")
        asked = kept["epochs"] if kept else [run["recipe"]["stage2"].get("epochs")]
        if not asked or not all(type(n) is int and n > 0 for n in asked):
            raise damaged(
                self.path / ("asked.json" if kept else "run.json"), f"its epochs are {asked}", "give an empty folder"
            )
        now = recipe.stage2.epochs
        if now < asked[-1]:
            raise ValueError(
                f"{self.path} holds a compression of {asked[-1]} epochs, and stage2 has {now}; ask for as many or more, or give an "
                "empty folder"
            )
        if now > asked[-1]:
            asked = [*asked, now]
            self.write("asked", {"epochs": asked})
        return tuple(asked)

    def _keep_recipe(self, recipe: Compression) -> None:
        """The recipe as a text for people; nothing reads it back, so that one that is no text is left out."""
        try:
            recipe.save(self.path / "recipe.toml")
        except ValueError:  # a family that has no name
            (self.path / "recipe.toml").unlink(missing_ok=True)

    def read(self, name: str, kinds: Kinds, way: str = AGAIN) -> dict[str, Any] | None:
        """What was found before, or None; see :meth:`once`."""
        file = self.path / f"{name}.json"
        return read_record(file, name, kinds, way) if file.exists() else None

    def write(self, name: str, value: Mapping[str, Any]) -> None:
        """Write one result."""
        write_record(self.path / f"{name}.json", name, value)

    def report(self, value: Mapping[str, Any]) -> None:
        """Write the report, which is for people, and not read back."""
        write_json(self.path / "report.json", strict(value))

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
        found = self.read(name, kinds, way)
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
        name = _file_of(layer)
        figures = self.read(name, FOUND)  # written last: where they are, the arrays are
        if figures is not None:
            arrays = self._arrays(name, net, figures.get("arrays"))
            found = FitResult(arrays, (), figures["error"], figures["chance"], figures["method"])
            return found, figures["seconds"]
        begin = time.perf_counter()
        found = make()
        seconds = time.perf_counter() - begin
        lines = (json.dumps(strict({"step": k, "error": error})) + "\n" for k, error in enumerate(found.history, 1))
        with replacing(self.path / f"{name}.jsonl") as temporary:
            temporary.write_text("".join(lines), encoding="utf-8")
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


def _but_epochs(run: Mapping[str, Any]) -> dict[str, Any]:
    """A run without the epochs of its fine-tuning: more of them may be asked for later on."""
    recipe = dict(run["recipe"])
    if isinstance(recipe.get("stage2"), dict):
        recipe["stage2"] = {k: v for k, v in recipe["stage2"].items() if k != "epochs"}
    return {**run, "recipe": recipe}


def _digest_of_arrays(arrays: Mapping[str, Any]) -> str:
    return digest({name: torch.as_tensor(array) for name, array in arrays.items()})


def _file_of(layer: str) -> str:
    """The name of a layer's files: one may be called "a/b", beside another "a-b", and a file system takes 255 letters."""
    name = f"stage1-{quote(layer, safe='')}"
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}-{hashlib.sha256(layer.encode()).hexdigest()[:12]}"
