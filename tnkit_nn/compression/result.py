"""A compressed model: what was found about it, its file, and the way back to a dense one."""

from __future__ import annotations

import base64
import copy
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from math import isfinite, prod, sqrt
from typing import Any, cast

from torch import Tensor, nn

import tnkit as tk
from tnkit.core.checks import shown
from tnkit.core.shapes import split_axes
from tnkit_nn.adapter.atomic import all_or_nothing
from tnkit_nn.adapter.module import TNModule
from tnkit_nn.adapter.parametrize import merge_, parametrize_
from tnkit_nn.checks import a_module, a_path
from tnkit_nn.storage import damaged, fill_, misfit, parsed, read_tensors, write_tensors
from tnkit_nn.training.goal import value_with_unit

__all__ = ["Compressed", "LayerReport", "dense", "load_compressed_", "networks", "packed", "save_compressed"]

KEY = "tnkit.networks"
MOST = 2**27  # bytes of the networks' text, and entries of their constants, that a file may ask for
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
    """What :func:`tnkit_nn.compress_` did, with the figures of the task's own metric (None without a task).

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
        return sqrt(sum((r.error * r.norm) ** 2 for r in self.layers) / (sum(r.norm**2 for r in self.layers) or 1.0))

    @property
    def chance(self) -> float:
        """What a random family of as many parameters reaches for them."""
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

    Parametrizations that are no networks stay as they are.
    """
    made = copy.deepcopy(a_module(model, "dense: model"))
    while found := next(_networks(made), None):  # a tied one makes all its owners dense
        merge_(made.get_submodule(found[0]), found[1], model=made)
    return made


def save_compressed(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write a compressed model to one safetensors file: its parameters, and its networks as packed JSON.

    Raises
    ------
    ValueError
        A network with a function of its own, which is no text; a network with another parametrization upon it.
    """
    a_module(model, "save_compressed: model")
    path = a_path(path, "save_compressed: path")
    for layer, name, _ in _networks(model):
        _, *others = cast(nn.ModuleDict, model.get_submodule(layer).parametrizations)[name].children()
        if others:
            raise ValueError(
                f"layer {layer!r}: upon the network of its {name} stands another parametrization, {type(others[0]).__name__}, which "
                "a compressed model's file cannot hold; remove it first"
            )
    write_tensors(path, model.state_dict(), {KEY: packed({f"{la}.{name}": net for la, name, net in _networks(model)})})


def packed(nets: Mapping[str, tk.Network]) -> str:
    """Networks by name as a short text: their JSON is many times the size of their parameters."""
    plain = {name: json.loads(tk.to_json(net)) for name, net in nets.items()}
    return base64.b85encode(zlib.compress(json.dumps(plain, separators=(",", ":")).encode(), 9)).decode()


def load_compressed_(model: nn.Module, path: str | os.PathLike[str]) -> nn.Module:
    """Make a dense model of the same class the compressed one of a file, in place: all of it, or nothing is changed.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file, or none of a compressed model, or of another one, or a damaged one.  The model is as it was.
    """
    a_module(model, "load_compressed_: model")
    path = a_path(path, "load_compressed_: path")
    values, metadata = read_tensors(path, WAY)
    nets = _unpacked(path, values, metadata)
    expected = model.state_dict()
    for key, net in nets.items():
        weight = _replaced(path, model, key, net)
        del expected[key]
        expected |= {_place(key) + name: weight.new_empty(shape, device="meta") for name, shape in _held(net).items()}
    wrong = misfit(expected, values, numbers=True)
    if wrong:
        raise ValueError(f"{path}: not of this model: {wrong}")
    with all_or_nothing(model, values=True):
        for key, net in nets.items():
            layer, _, name = key.rpartition(".")
            arrays = {array: values[_place(key) + array].clone() for array in _held(net)}  # not the file, mapped
            parametrize_(model.get_submodule(layer), name, net, arrays)
        fill_(model, values, f"{path}: not of this model")
    return model


def networks(path: str | os.PathLike[str]) -> dict[str, tk.Network]:
    """Name of a weight -> its network, of a compressed model's file.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file, or none of a compressed model.
    """
    return _unpacked(path, *read_tensors(path, WAY))


def _unpacked(
    path: str | os.PathLike[str], values: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> dict[str, tk.Network]:
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
    return {key: _read_network(path, key, network, values) for key, network in plain.items()}


def _read_network(path: str | os.PathLike[str], key: str, plain: Any, values: Mapping[str, Tensor]) -> tk.Network:
    """One of the networks; nothing is allocated in the sizes it gives before they are those of the file's tensors."""
    try:
        net = tk.from_json(json.dumps(plain))
    except RecursionError:
        raise damaged(path, f"the network of {key!r} is nested too deep", WAY) from None
    except ValueError as error:
        raise damaged(path, f"the network of {key!r}: {error}", WAY) from None
    for name, shape in _held(net).items():
        t = values.get(_place(key) + name)
        if t is None:
            raise damaged(path, f"the network of {key!r} has an array {name!r}, the file has none", WAY)
        if tuple(t.shape) != shape:
            raise damaged(
                path, f"array {name!r} of the network of {key!r} is {tuple(t.shape)}, not {shown(shape)}", WAY
            )
    constants = {leaf.array for leaf in net.leaves if isinstance(leaf.fixed, str)}
    if sum(prod(shape) for name, shape in net.array_shapes.items() if name in constants) > MOST:
        raise damaged(path, f"the network of {key!r} has constants of more than {MOST:,} entries", WAY)
    return net


def _place(key: str) -> str:
    """What the names of a weight's arrays begin with in a state dict."""
    layer, _, name = key.rpartition(".")
    return f"{layer}.parametrizations.{name}.0."


def _held(net: tk.Network) -> dict[str, tuple[int, ...]]:
    """Array -> shape, of those that a state dict has: all but the constants, which the structure knows."""
    constants = {leaf.array for leaf in net.leaves if isinstance(leaf.fixed, str)}
    return {name: shape for name, shape in net.array_shapes.items() if name not in constants}


def _replaced(path: str | os.PathLike[str], model: nn.Module, key: str, net: tk.Network) -> Tensor:
    """The dense weight that a network takes the place of; ValueError where the model has none, or one that it does not fill."""
    layer, _, name = key.rpartition(".")
    module = dict(model.named_modules()).get(layer) if layer else None
    weight = module._parameters.get(name) if module is not None else None
    if weight is None:
        raise ValueError(f"{path}: not of this model: it has no dense weight {key!r}")
    try:
        if net.shape and prod(net.shape) != weight.numel():
            split_axes(net.shape, weight.shape)
    except ValueError as error:
        raise ValueError(f"{path}: not of this model: {key}: {error}") from None
    return weight


def _networks(model: nn.Module) -> Iterator[tuple[str, str, tk.Network]]:
    """Layer, name and network of every weight that is one; other people's parametrizations are passed over."""
    for layer, module in model.named_modules():
        for name, made in getattr(module, "parametrizations", {}).items():
            if isinstance(made[0], TNModule):
                yield layer, name, made[0].network
