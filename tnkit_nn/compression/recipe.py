"""What a compression is to do, as a value that reads and writes TOML."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from tnkit.core.activations import UNARY
from tnkit.core.extras import need
from tnkit.core.numbers import real_number, whole_number
from tnkit_nn.approximation import METHODS
from tnkit_nn.families import KINDS
from tnkit_nn.storage import replacing
from tnkit_nn.training.loop import Recipe as Training

__all__ = ["ORDERS", "RESTS", "Compression", "Layers", "Stage1"]

ORDERS = ("backward", "forward", "together")
RESTS = ("frozen", "heads", "all")


@dataclass(frozen=True)
class Layers:
    """Which layers' weights become which network.

    Attributes
    ----------
    select
        Names of layers, ``*`` standing for anything: ``("fc1", "features.*")``.
    family
        A key of :data:`tnkit_nn.families.KINDS`.
    budget
        Numbers stored for each of the weights; the family's nearest count is taken, with a warning where that is past it.
    depth, activation
        Of an ADTN or a circuit; other families have none.
    """

    select: tuple[str, ...]
    family: str = "adtn"
    budget: int = 1000
    depth: int = 3
    activation: str = "sin"

    def __post_init__(self) -> None:
        given = self.select
        select = tuple(self.select) if isinstance(self.select, (tuple, list)) else (self.select,)
        object.__setattr__(self, "select", select)
        if not select or not all(isinstance(s, str) and s for s in select):
            raise ValueError(f"select is one or more names of layers, not {given!r}")
        if self.family not in KINDS:
            raise ValueError(f"unknown family {self.family!r}; known: {', '.join(KINDS)}")
        for name in ("budget", "depth"):
            object.__setattr__(self, name, whole_number(getattr(self, name), name, 1))
        if self.activation not in UNARY:
            raise ValueError(f"unknown activation {self.activation!r}; known: {', '.join(UNARY)}")


@dataclass(frozen=True)
class Stage1:
    """How each network is brought near its trained weight (see :func:`tnkit_nn.approximation.approximate`)."""

    method: str = "auto"
    steps: int = 300

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"the approximation has no method {self.method!r}; there are {', '.join(METHODS)}")
        object.__setattr__(self, "steps", whole_number(self.steps, "steps of the approximation", 1))


@dataclass(frozen=True)
class Compression:
    """A whole compression.

    Attributes
    ----------
    layers
        What becomes what; the first entry that selects a layer counts.
    order
        ``backward`` (last layer first), ``forward``, ``together``, or names of the layers in order.  One after another, each is
        fine-tuned before the next is touched, and those before it are tuned on with it.
    stage1
        Fit to the trained weights.
    stage2
        Fine-tuning on the task; its epochs are those *in all*, shared out evenly in a sequence, so that orders are compared at
        equal training.  None: no fine-tuning.
    rest
        What else is trained: ``frozen`` (nothing), ``heads`` (the biases of the compressed layers and all that comes after the
        first of them), ``all``.
    rest_lr
        Learning rate of the rest.
    seed
        Of everything drawn.
    """

    layers: tuple[Layers, ...]
    order: str | tuple[str, ...] = "backward"
    stage1: Stage1 = field(default_factory=Stage1)
    stage2: Training | None = field(default_factory=lambda: Training(epochs=6, lr=3e-2, batch=256, schedule="onecycle"))
    rest: str = "frozen"
    rest_lr: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        given = self.layers
        layers = tuple(self.layers) if isinstance(self.layers, (tuple, list)) else (self.layers,)
        object.__setattr__(self, "layers", layers)
        if isinstance(self.order, (tuple, list)) and all(isinstance(name, str) for name in self.order):
            object.__setattr__(self, "order", tuple(self.order))
        elif self.order not in ORDERS:
            raise ValueError(f"unknown order {self.order!r}; known: {', '.join(ORDERS)}, or a list of layers")
        if self.rest not in RESTS:
            raise ValueError(f"unknown rest {self.rest!r}; known: {', '.join(RESTS)}")
        if not layers or not all(isinstance(entry, Layers) for entry in layers):
            raise ValueError(f"layers are one or more Layers, not {given!r}")
        real_number(self.rest_lr, "rest_lr")
        object.__setattr__(self, "seed", whole_number(self.seed, "seed", 0))

    # -- TOML -------------------------------------------------------------------------------------------------------
    def to_toml(self) -> str:
        """The recipe as TOML text; without ``[stage2]`` there is no fine-tuning."""
        need("a recipe's TOML", "tomli_w")
        import tomli_w

        plain = {k: v for k, v in asdict(self).items() if v is not None}
        return tomli_w.dumps({**{k: v for k, v in plain.items() if not isinstance(v, dict)}, **plain})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write :meth:`to_toml` to a file, whole or not at all."""
        with replacing(path) as temporary:
            temporary.write_text(self.to_toml())

    @classmethod
    def from_toml(cls, text: str) -> Compression:
        """Read a recipe.

        Raises
        ------
        ValueError
            No TOML, an unknown key (those there are, are named), or a value that cannot be.
        """
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"recipe: not TOML: {error}") from None
        layers = data.get("layers")
        if not isinstance(layers, list) or not layers:
            raise ValueError("recipe: it has no [[layers]], which say what becomes what")
        read = {
            "layers": tuple(_read(Layers, x, f"layers[{k}]") for k, x in enumerate(layers)),
            "stage1": _read(Stage1, data.get("stage1", {}), "stage1"),
            "stage2": _read(Training, data["stage2"], "stage2") if "stage2" in data else None,
        }
        found: Compression = _read(cls, {**data, **read}, "recipe")
        return found

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Compression:
        """Read a recipe from a TOML file."""
        try:
            return cls.from_toml(Path(path).read_text())
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from None


def _read(cls: type[Any], data: Any, where: str) -> Any:
    """A dataclass from a table; its own checks speak of values, these of keys and types."""
    if not isinstance(data, Mapping):
        raise ValueError(f"{where} is a table, not {data!r}")
    known = {f.name: f for f in fields(cls)}
    for key, value in data.items():
        if key not in known:
            raise ValueError(f"{where}: unknown key {key!r}; there are {', '.join(known)}")
        wanted = str(known[key].type)
        if is_dataclass(value) or (isinstance(value, tuple) and value and is_dataclass(value[0])):
            continue
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if (wanted == "int" and not (number and isinstance(value, int))) or (wanted == "float" and not number):
            raise ValueError(f"{where}.{key} is a number, not {value!r}")
        if wanted == "str" and not isinstance(value, str):
            raise ValueError(f"{where}.{key} is a text, not {value!r}")
    try:
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in data.items()})
    except TypeError as error:
        raise ValueError(f"{where}: {str(error).split('() ')[-1]}") from None
