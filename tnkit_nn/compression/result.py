"""A compressed model: what was found about it, its file, and the way back to a dense one."""

from __future__ import annotations

import base64
import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from math import hypot, isfinite, sqrt
from typing import Any

from torch import Tensor, nn

import tnkit as tk
from tnkit.core.checks import shown
from tnkit_nn.adapter.copies import copied
from tnkit_nn.adapter.parametrize import merge_
from tnkit_nn.checks import a_module, a_path
from tnkit_nn.placing import PlacedNetwork, networks_of, owner_and_leaf
from tnkit_nn.storage import damaged, parsed, read_tensors, write_tensors
from tnkit_nn.stored import MOST, put_, read_placed, stored_tensors, text_of, told
from tnkit_nn.training.goal import value_with_unit

__all__ = ["Compressed", "LayerReport", "dense", "load_compressed_", "networks", "packed", "save_compressed"]

KEY = "tnkit.networks"
WEIGHTS = "tnkit.weights"  # what else there is to say of their weights
WAY = "copy it again, or compress again"


@dataclass(frozen=True)
class LayerReport:
    """One compressed weight.

    Attributes
    ----------
    layer, shape, family
        Which, of what shape, as what.
    dense_params, num_params
        Numbers stored before and after.
    error, chance
        Relative error after the approximation, and what the nearest point of a random linear space of as many dimensions has.
    norm
        Frobenius norm of the weight that the approximation was given.
    seconds
        Of the approximation.
    bytes_before, bytes_after
        Of the weight, and of the network's parameters with what says which network it is.
    method
        What found the network's arrays (:func:`tnkit_nn.approximate`).
    """

    layer: str
    shape: tuple[int, ...]
    family: str
    dense_params: int
    num_params: int
    error: float
    chance: float
    norm: float
    seconds: float
    bytes_before: int
    bytes_after: int
    method: str

    @property
    def ratio(self) -> float:
        """Dense parameters a stored one."""
        return self.dense_params / self.num_params


@dataclass(frozen=True)
class Compressed:
    """What :func:`tnkit_nn.compress_` did, with the figures of the task's own metric (None without a task).

    >>> model = tknn.zoo.mlp()
    >>> recipe = tknn.Compression(tknn.Layers("fc1", "mpo", budget=500), stage2=None)
    >>> found = tknn.compress_(model, recipe)  # no task: nothing is fine-tuned, and there is no metric
    >>> isinstance(found, tknn.Compressed), found.model is model, round(found.ratio, 2)
    (True, True, 3.92)
    >>> 0 < found.error <= 1, round(found.chance, 3)  # the baseline error of keeping as many of the weight's coordinates
    (True, 0.935)
    >>> found.report()["metric"], [row["layer"] for row in found.report()["layers"]]
    (None, ['fc1'])

    Attributes
    ----------
    model
        The model given, its weights networks now.
    layers
        A report a weight, in the order of compression.
    metric
        Name, unit and direction of the metric; values of the unit "%" are fractions.
    metric_before, metric_fit, metric_after
        Of the dense model, with every weight as the approximation made it and nothing else changed, at the end.  Where a sequence trains
        more than its networks, the approximation of a later layer is given a weight that was trained on meanwhile.
    part, examples
        The part of the data that the metric was read on, and what its examples are called.
    steps
        For each step of the schedule: its layers, its epochs, the metric right after its approximation and after its fine-tuning, the
        seconds of the fine-tuning, and the factor of the rates that it took (below 1 where it was undone and done again, 0 where it was
        given up).
    params_before, params_after
        Parameters of the whole model.
    bytes_before, bytes_after
        Size on disk of the model as safetensors.
    seconds
        Wall time, restarts' included.
    """

    model: nn.Module
    layers: tuple[LayerReport, ...]
    metric: dict[str, Any] | None
    metric_before: float | None
    metric_fit: float | None
    metric_after: float | None
    part: str
    examples: str
    steps: tuple[dict[str, Any], ...]
    params_before: int
    params_after: int
    bytes_before: int
    bytes_after: int
    seconds: float

    @property
    def ratio(self) -> float:
        """Numbers of the whole model before, a number after."""
        return self.params_before / self.params_after

    @property
    def error(self) -> float:
        """Relative error after the approximation of all compressed weights as one vector."""
        return hypot(*(r.error * r.norm for r in self.layers)) / (hypot(*(r.norm for r in self.layers)) or 1.0)

    @property
    def chance(self) -> float:
        """That of the nearest point of a random linear space of as many dimensions, for them."""
        return sqrt(max(0.0, 1 - sum(r.num_params for r in self.layers) / sum(r.dense_params for r in self.layers)))

    def report(self) -> dict[str, Any]:
        """All figures, as JSON would hold them: what is no number is None."""
        plain = {k: v for k, v in self.__dict__.items() if k != "model"}
        whole = {"ratio": self.ratio, "error": self.error, "chance": self.chance}
        layers = [{**asdict(r), "ratio": r.ratio} for r in self.layers]
        found: dict[str, Any] = _finite({**plain, **whole, "layers": layers, "steps": list(self.steps)})
        return found

    def __str__(self) -> str:
        from tabulate import tabulate

        rows = [
            [
                r.layer,
                "x".join(map(str, r.shape)),
                r.family,
                r.num_params,
                f"{r.ratio:,.0f}x",
                f"{r.error:.3f} ({r.chance:.3f})",
                f"{r.bytes_before:,} -> {r.bytes_after:,}",
                f"{r.seconds:.1f}",
            ]
            for r in self.layers
        ]
        heads = [
            "layer",
            "shape",
            "network",
            "parameters",
            "compression",
            "error (baseline)",
            "bytes",
            "s of approximation",
        ]
        table = tabulate(rows, heads)
        whole = (
            f"whole model: {self.params_before:,} -> {self.params_after:,} parameters ({self.ratio:,.1f}x), {self.bytes_before:,} -> "
            f"{self.bytes_after:,} bytes, error {self.error:.3f} ({self.chance:.3f}), {self.seconds:.0f} s"
        )
        return "\n".join([table, whole, *self._metric_line()])

    def _metric_line(self) -> list[str]:
        """The metric before and after, in a line; none without a task."""
        if self.metric is None or self.metric_before is None or self.metric_fit is None or self.metric_after is None:
            return []
        name, unit = self.metric["name"], self.metric["unit"]
        shown = partial(value_with_unit, unit=unit)
        tuned = f"after the fine-tuning {shown(self.metric_after)}" if self._fine_tuned else "no fine-tuning"
        return [
            f"{name} on the {self.part} {self.examples}: dense {shown(self.metric_before)}, after the approximation "
            f"{shown(self.metric_fit)}, {tuned}"
        ]

    @property
    def _fine_tuned(self) -> bool:
        return any(s["epochs"] for s in self.steps)


def _finite(value: Any) -> Any:
    """Plain data with None for what is no finite number, which JSON does not know."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def dense(model: nn.Module) -> nn.Module:
    """A copy with plain weights: a model of the original class again, equal to the compressed one.

    >>> model = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))
    >>> made = tknn.tensorize_(model, {"0": "tt"}, budget=100, fit=False)
    >>> plain, x = tknn.dense(model), torch.ones(3, 16)
    >>> type(plain[0]).__name__, plain[0].weight.shape, torch.allclose(plain(x), model(x))
    ('Linear', torch.Size([16, 16]), True)

    Parametrizations that are no networks stay as they are.

    Raises
    ------
    TypeError
        No module.
    """
    made = copied(a_module(model, "dense: model"), "dense: model")
    for weight in networks_of(made):
        owner, leaf = owner_and_leaf(weight)
        merge_(made.get_submodule(owner), leaf, model=made)
    return made


def save_compressed(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write a compressed model to one safetensors file: its parameters, and its networks as packed JSON.

    >>> model = tknn.zoo.mlp()
    >>> made = tknn.tensorize_(model, {"fc1": "mpo"}, budget=400, fit=False)
    >>> tknn.save_compressed(model, "small.safetensors")
    >>> again, x = tknn.load_compressed_(tknn.zoo.mlp(), "small.safetensors"), torch.ones(3, 64)
    >>> torch.equal(again(x), model(x))
    True

    Raises
    ------
    ValueError
        A network with a function of its own, which is no text; a value of the model that is no dense tensor.
    """
    who = "save_compressed"
    a_module(model, f"{who}: model")
    path = a_path(path, f"{who}: path")
    placed = networks_of(model)
    texts = {
        KEY: packed({name: p.network for name, p in placed.items()}),
        WEIGHTS: json.dumps({name: told(p) for name, p in placed.items()}),
    }
    write_tensors(path, stored_tensors(model, who).tensors, texts)


def packed(nets: Mapping[str, tk.Network]) -> str:
    """Networks by name as a short text: their JSON is many times the size of their parameters."""
    plain = {name: text_of(net, name, "save_compressed") for name, net in nets.items()}
    return base64.b85encode(zlib.compress(json.dumps(plain, separators=(",", ":")).encode(), 9)).decode()


def load_compressed_(model: nn.Module, path: str | os.PathLike[str]) -> nn.Module:
    """Make a dense model of the same class the compressed one of a file, in place: all of it, or nothing is changed.

    >>> model = tknn.zoo.mlp()
    >>> made = tknn.tensorize_(model, {"fc1": "tt"}, budget=400, fit=False)
    >>> tknn.save_compressed(model, "small.safetensors")
    >>> again = tknn.load_compressed_(tknn.zoo.mlp(), "small.safetensors")
    >>> sum(p.numel() for p in again.parameters()) == sum(p.numel() for p in model.parameters())
    True

    Raises
    ------
    FileNotFoundError, ValueError
        No such file, or none of a compressed model, or of another one, or a damaged one.  The model is as it was.
    """
    a_module(model, "load_compressed_: model")
    path = a_path(path, "load_compressed_: path")
    values, metadata = read_tensors(path, WAY)
    put_(model, _unpacked(path, values, metadata).values(), values, path)
    return model


def networks(path: str | os.PathLike[str]) -> dict[str, tk.Network]:
    """Name of a weight -> its network, of a compressed model's file.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file, or none of a compressed model.
    """
    return {name: p.network for name, p in _unpacked(path, *read_tensors(path, WAY)).items()}


def _unpacked(
    path: str | os.PathLike[str], values: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> dict[str, PlacedNetwork]:
    """What :func:`packed` made, out of a file's texts; every array of a network is one of the file's tensors."""
    if KEY not in metadata:
        raise ValueError(f"{path}: no compressed model; it has no networks")
    try:
        unpacking = zlib.decompressobj()
        text = unpacking.decompress(base64.b85decode(metadata[KEY]), MOST)
    except (ValueError, zlib.error):
        raise damaged(path, "its networks are cut or changed", WAY) from None
    if not unpacking.eof:
        raise damaged(path, f"its networks are cut, or larger than {MOST:,} bytes of text", WAY)
    plain = parsed(text, path, WAY)
    if not isinstance(plain, dict):
        raise damaged(path, f"its networks are {shown(plain)}, not named ones", WAY)
    of = parsed(metadata.get(WEIGHTS, "{}"), path, WAY)  # older versions did not write it
    if not isinstance(of, dict):
        raise damaged(path, f"what it says of its weights is {shown(of)}", WAY)
    return {key: read_placed(path, key, network, of.get(key, {}), values, WAY) for key, network in plain.items()}
