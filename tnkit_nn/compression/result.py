"""A compressed model: what was found about it, its file, and the way back to a dense one."""

from __future__ import annotations

import base64
import copy
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

from torch import nn

import tnkit as tk
from tnkit_nn.adapter.parametrize import merge_, parametrize_
from tnkit_nn.checks import a_module, a_path
from tnkit_nn.storage import fill_, read_tensors, write_tensors

__all__ = ["Compressed", "LayerReport", "dense", "load_compressed_", "networks", "packed", "save_compressed"]

KEY = "tnkit.networks"


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
        Relative error after the approximation, and what a random family of as many parameters reaches.
    norm
        Frobenius norm of the weight that the approximation was given.
    seconds
        Of the approximation.
    bytes_before, bytes_after
        Of the weight, and of the network's parameters with what says which network it is.
    method
        What found the network's arrays (:func:`tnkit_nn.approximation.approximate`).
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
    """What :func:`tnkit_nn.compress_` did; accuracies are fractions of the test part.

    Attributes
    ----------
    model
        The model given, its weights networks now.
    layers
        A report a weight, in the order of compression.
    accuracy_before, accuracy_stage1, accuracy_after
        Of the dense model, with every weight as the approximation made it and nothing else changed, at the end.  Where a sequence trains
        more than its networks, the approximation of a later layer is given a weight that was trained on meanwhile.
    steps
        For each step of the schedule: its layers, its epochs, the accuracy right after its approximation and after its fine-tuning, the
        seconds of the fine-tuning, and the factor of the rates that it took (below 1 where it was undone and done again, 0 where it was
        given up).
    params_before, params_after
        Numbers in the whole model.
    bytes_before, bytes_after
        Size on disk of the model as safetensors.
    seconds
        Wall time, restarts' included.
    """

    model: nn.Module
    layers: tuple[LayerReport, ...]
    accuracy_before: float
    accuracy_stage1: float
    accuracy_after: float
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
        return sqrt(sum((r.error * r.norm) ** 2 for r in self.layers) / (sum(r.norm**2 for r in self.layers) or 1.0))

    @property
    def chance(self) -> float:
        """What a random family of as many parameters reaches for them."""
        return sqrt(max(0.0, 1 - sum(r.num_params for r in self.layers) / sum(r.dense_params for r in self.layers)))

    def report(self) -> dict[str, Any]:
        """All figures, as JSON would hold them."""
        plain = {k: v for k, v in self.__dict__.items() if k != "model"}
        whole = {"ratio": self.ratio, "error": self.error, "chance": self.chance}
        return {
            **plain, **whole, "layers": [{**asdict(r), "ratio": r.ratio} for r in self.layers], "steps": list(self.steps),
        }  # fmt: skip

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
        accuracies = (
            f"test accuracy: dense {self.accuracy_before:.4f}, after the approximation {self.accuracy_stage1:.4f}, "
            + (
                f"after the fine-tuning {self.accuracy_after:.4f}"
                if any(s["epochs"] for s in self.steps)
                else "no fine-tuning"
            )
        )
        return "\n".join([table, whole, accuracies])


def dense(model: nn.Module) -> nn.Module:
    """A copy with plain weights: a model of the original class again, equal to the compressed one."""
    made = copy.deepcopy(a_module(model, "dense: model"))
    for module in list(made.modules()):
        for name in list(getattr(module, "parametrizations", {})):
            merge_(module, name)
    return made


def save_compressed(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write a compressed model to one safetensors file: its parameters, and its networks as packed JSON.

    Raises
    ------
    ValueError
        A network with a function of its own, which is no text.
    """
    a_module(model, "save_compressed: model")
    path = a_path(path, "save_compressed: path")
    write_tensors(path, model.state_dict(), {KEY: packed({f"{la}.{name}": net for la, name, net in _networks(model)})})


def packed(nets: Mapping[str, tk.Network]) -> str:
    """Networks by name as a short text: their JSON is many times the size of their parameters."""
    plain = {name: json.loads(tk.to_json(net)) for name, net in nets.items()}
    return base64.b85encode(zlib.compress(json.dumps(plain, separators=(",", ":")).encode(), 9)).decode()


def load_compressed_(model: nn.Module, path: str | os.PathLike[str]) -> nn.Module:
    """Make a dense model of the same class the compressed one of a file, in place.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file, or none of a compressed model, or of another one.
    """
    a_module(model, "load_compressed_: model")
    values, metadata = read_tensors(path := a_path(path, "load_compressed_: path"))
    for key, network in _unpacked(path, metadata).items():
        layer, _, name = key.rpartition(".")
        parametrize_(model.get_submodule(layer), name, network, std=1.0)
    fill_(model, values, f"{path}: not of this model")
    return model


def networks(path: str | os.PathLike[str]) -> dict[str, tk.Network]:
    """Name of a weight -> its network, of a compressed model's file.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file, or none of a compressed model.
    """
    return _unpacked(path, read_tensors(path)[1])


def _unpacked(path: str | os.PathLike[str], metadata: Mapping[str, str]) -> dict[str, tk.Network]:
    """What :func:`packed` made, out of a file's texts."""
    if KEY not in metadata:
        raise ValueError(f"{path}: no compressed model; it has no networks")
    try:
        plain = json.loads(zlib.decompress(base64.b85decode(metadata[KEY])))
    except (ValueError, zlib.error):
        raise ValueError(f"{path}: its networks are damaged") from None
    return {name: tk.from_json(json.dumps(network)) for name, network in plain.items()}


def _networks(model: nn.Module) -> Iterator[tuple[str, str, tk.Network]]:
    for layer, module in model.named_modules():
        for name, made in getattr(module, "parametrizations", {}).items():
            yield layer, name, made[0].network
