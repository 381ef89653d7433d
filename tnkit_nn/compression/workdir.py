"""The folder of a compression: what is found is written before the next thing begins, and nothing is done twice."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor, nn

import tnkit as tk
from tnkit_nn.adapter.fitting import FitResult
from tnkit_nn.compression.recipe import Compression
from tnkit_nn.data.splits import Split
from tnkit_nn.storage import raw, read_json, replacing, write_json
from tnkit_nn.training.checkpoint import structure

__all__ = ["Folder"]

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
        self.before = self._read("spent").get("seconds", 0.0)
        run = self.once("run", lambda: mine)
        for key, value in mine.items():
            if run.get(key) != value:
                raise ValueError(f"{path} holds the compression of another {key}; give an empty folder")
        recipe.save(path / "recipe.toml")

    def _read(self, name: str) -> dict[str, Any]:
        file = self.path / f"{name}.json"
        found: dict[str, Any] = read_json(file) if file.exists() else {}
        return found

    def write(self, name: str, value: Mapping[str, Any]) -> None:
        """Write one result."""
        write_json(self.path / f"{name}.json", value)

    def once(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What was found before, or is found now and written."""
        found = self._read(name)
        if not found:
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
        figures = self._read(name)  # written last: where they are, the arrays are
        if figures:
            arrays = tk.load(self.path / f"{name}.tn")[1]
            found = FitResult(arrays, (), figures["error"], figures["chance"], figures["method"])
            return found, figures["seconds"]
        begin = time.perf_counter()
        found = make()
        seconds = time.perf_counter() - begin
        lines = (json.dumps({"step": k, "error": error}) + "\n" for k, error in enumerate(found.history, 1))
        with replacing(self.path / f"{name}.jsonl") as temporary:
            temporary.write_text("".join(lines))
        tk.save(self.path / f"{name}.tn", net, found.arrays)
        self.write(name, {"error": found.error, "chance": found.chance, "method": found.method, "seconds": seconds})
        return found, seconds
