"""What a compression is to do, as a value that reads and writes TOML."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tnkit.core.activations import UNARY
from tnkit.core.checks import one_of, sequence, shown, text
from tnkit.core.extras import need
from tnkit.core.numbers import real_number, whole_number
from tnkit_nn.approximation.methods import METHODS
from tnkit_nn.checks import a_kind, a_path, a_size
from tnkit_nn.compression.own import Own, checked_family, plain_family, written_family
from tnkit_nn.imported import a_place, absolute
from tnkit_nn.storage import replacing
from tnkit_nn.training.recipe import Recipe as Training

__all__ = ["FINE_TUNING", "ORDERS", "RESTS", "Compression", "Layers", "Stage1"]

ORDERS = ("backward", "forward", "together")
RESTS = ("none", "head", "all")

#: The fine-tuning of a recipe that says nothing of it; without a task there is none.
FINE_TUNING = Training(epochs=6, lr=3e-2, batch=256, schedule="onecycle")


@dataclass(frozen=True)
class Layers:
    """Which weights become which network: ``Layers("fc1", "mpo", budget=400)``, ``Layers("*.in_proj_weight", my_family)``.

    >>> layers = tknn.Layers(("fc1", "features.*"), "mpo", budget=400)
    >>> layers.select, layers.family, layers.budget
    (('fc1', 'features.*'), 'mpo', 400)

    Attributes
    ----------
    select
        Names of layers or of parameters, ``*`` standing for anything: ``("fc1", "features.*", "rnn.weight_hh_l0")``.  A layer stands
        for its ``weight``, or for all its weights where none is called so.
    family
        A key of :data:`tnkit_nn.families.KINDS`, ``"tt+tanh"`` (any of them with an activation outermost), or your own: a
        :class:`~tnkit_nn.Family`; a function ``(shape, budget) -> Network``, which may give a pair of a Network and its arrays too, such as a :class:`tnkit.Decomposition`; a
        Network, the same for every weight; a pair, whose arrays are taken as they are.  In a text it is ``"module:name"`` or ``"file.py:name"``; only name code of your own, for it is run.
    budget
        Parameters stored for each of the weights; the family's nearest count is taken, with a warning where that is past it.  A
        Network or a pair has its own count.
    depth, activation
        Of an ADTN or a circuit; other families have none.
    """

    select: tuple[str, ...]
    family: str | Own = "adtn"
    budget: int = 1000
    depth: int = 3
    activation: str = "sin"

    if TYPE_CHECKING:  # one name as it is, a sequence or one alone: what is kept is the tuple

        def __init__(
            self,
            select: str | Iterable[str],
            family: str | Own = ...,
            budget: int = ...,
            depth: int = ...,
            activation: str = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        select = (self.select,) if isinstance(self.select, str) else sequence(self.select, "select")
        if not select:
            raise ValueError("select is one or more names of layers, not none")
        object.__setattr__(self, "select", tuple(text(name, "select: each name of a layer") for name in select))
        object.__setattr__(self, "family", checked_family(self.family))
        for name in ("budget", "depth"):
            object.__setattr__(self, name, a_size(getattr(self, name), name))
        one_of(self.activation, "activation", UNARY)


@dataclass(frozen=True)
class Stage1:
    """How each network is brought near its trained weight (see :func:`tnkit_nn.approximate`).

    >>> tknn.Stage1()
    Stage1(method='auto', steps=300)
    >>> tknn.Compression(tknn.Layers("fc1", "mpo", budget=400), stage1=tknn.Stage1("svd")).stage1.method
    'svd'
    """

    method: str = "auto"
    steps: int = 300

    def __post_init__(self) -> None:
        one_of(self.method, "method of the approximation", METHODS)
        object.__setattr__(self, "steps", a_size(self.steps, "steps of the approximation"))


@dataclass(frozen=True)
class Compression:
    """A whole compression: ``Compression(Layers(("fc1", "fc2"), "mpo", budget=400), rest="head")``.

    >>> recipe = tknn.Compression(tknn.Layers("fc1", "mpo", budget=400), stage2=tknn.Recipe(epochs=2, lr=0.01), rest="head")
    >>> print(recipe.to_toml().partition("[stage1]")[0].rstrip())
    order = "backward"
    rest = "head"
    rest_lr = 0.001
    seed = 0
    <BLANKLINE>
    [[layers]]
    select = [
        "fc1",
    ]
    family = "mpo"
    budget = 400
    depth = 3
    activation = "sin"
    >>> tknn.Compression.from_toml(recipe.to_toml()) == recipe
    True
    >>> recipe.save("recipe.toml")
    >>> tknn.Compression.load("recipe.toml") == recipe, recipe.settings()["rest"]
    (True, 'head')

    Attributes
    ----------
    layers
        What becomes what; the first entry that selects a weight counts.
    order
        ``backward`` (last layer first), ``forward``, ``together``, or names of the layers in order.  First and last are those of the
        forward pass of one batch of the task; without a task, those in which the layers were registered.  One after another, each
        is fine-tuned before the next is touched, and those before it are tuned on with it.
    stage1
        Approximation of the trained weights.
    stage2
        Fine-tuning on the task; its epochs are those *in all*, shared out evenly in a sequence, so that orders are compared at
        equal training.  None: no fine-tuning.  Where it is not given, there is one if there is a task.
    rest
        Which other layers are fine-tuned too: ``none``, ``head`` (what else the compressed layers have, their biases, and all that
        the forward pass comes to after the first of them), ``all``.
    rest_lr
        Learning rate of the other layers.
    seed
        Of everything drawn.
    task
        Where the task is, ``"file.py:name"`` or ``"module:name"``, for a compression that is given no other.
    """

    layers: tuple[Layers, ...]
    order: str | tuple[str, ...] = "backward"
    stage1: Stage1 = field(default_factory=Stage1)
    stage2: Training | None = FINE_TUNING
    rest: str = "none"
    rest_lr: float = 1e-3
    seed: int = 0
    task: str | None = None

    if TYPE_CHECKING:

        def __init__(
            self, layers: Layers | Iterable[Layers], order: str | Iterable[str] = ..., stage1: Stage1 = ..., stage2: Training | None = ...,
            rest: str = ..., rest_lr: float = ..., seed: int = ..., task: str | None = ...,
        ) -> None: ...  # fmt: skip

    def __post_init__(self) -> None:
        layers = (self.layers,) if isinstance(self.layers, Layers) else sequence(self.layers, "layers")
        if not layers:
            raise ValueError("layers are one or more Layers, not none")
        store = partial(object.__setattr__, self)
        store("layers", tuple(a_kind(entry, Layers, f"layers[{k}]") for k, entry in enumerate(layers)))
        store("order", _order(self.order))
        a_kind(self.stage1, Stage1, "stage1", "; Stage1(method, steps) makes one")
        if self.stage2 is not None:
            a_kind(self.stage2, Training, "stage2, unless it is None,", "; Recipe(epochs, lr) makes one")
        one_of(self.rest, "rest", RESTS)
        store("rest_lr", real_number(self.rest_lr, "rest_lr"))
        store("seed", whole_number(self.seed, "seed", 0))
        if self.task is not None:
            a_place(self.task, "task, unless it is None,")

    # -- TOML -------------------------------------------------------------------------------------------------------
    def to_toml(self) -> str:
        """The recipe as TOML text; without ``[stage2]`` there is no fine-tuning.

        Raises
        ------
        ValueError
            A family of one's own that has no name by which it can be imported.
        """
        need("a recipe's TOML", "tomli_w")
        import tomli_w

        plain = self._plain(written_family)
        plain = {k: v for k, v in plain.items() if v is not None}
        return tomli_w.dumps({**{k: v for k, v in plain.items() if not isinstance(v, dict)}, **plain})

    def settings(self) -> dict[str, Any]:
        """What results depend on, as plain data; a family of one's own by its digest, and not where the task's file lies."""
        return {k: v for k, v in self._plain(plain_family).items() if k != "task"}

    def _plain(self, named: Any) -> dict[str, Any]:
        layers = [
            {f.name: getattr(e, f.name) for f in fields(Layers)} | {"family": named(e.family)} for e in self.layers
        ]
        stage2 = None if self.stage2 is None else asdict(self.stage2)
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**own, "layers": layers, "stage1": asdict(self.stage1), "stage2": stage2}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write :meth:`to_toml` to a file, whole or not at all."""
        content = self.to_toml()
        with replacing(a_path(path, "save: path")) as temporary:
            temporary.write_text(content, encoding="utf-8")

    @classmethod
    def from_toml(cls, text: str, folder: str | os.PathLike[str] | None = None) -> Compression:
        """Read a recipe; files named in it are looked for in ``folder``, or in the working directory.

        A family that is named by its place is imported, which runs the file: read such recipes only of people you trust.

        Raises
        ------
        FileNotFoundError
            A file that a family is in is not there.
        ValueError
            No TOML, an unknown key (those there are, are named), or a value that cannot be.
        """
        if not isinstance(text, str):
            raise TypeError(f"from_toml: text is a string, not {shown(text)}")
        where = None if folder is None else a_path(folder, "from_toml: folder")
        try:
            data = tomllib.loads(text.removeprefix("\ufeff"))  # the mark that Windows' editors begin a file with
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"recipe: its text is not TOML: {error}") from None
        layers = data.get("layers")
        if not isinstance(layers, list) or not layers:
            raise ValueError("recipe: its text has no [[layers]], which say what becomes what")
        read = {
            "layers": tuple(_read(Layers, _placed(x, "family", where), f"layers[{k}]") for k, x in enumerate(layers)),
            "stage1": _read(Stage1, data.get("stage1", {}), "stage1"),
            "stage2": _read(Training, data["stage2"], "stage2") if "stage2" in data else None,
        }
        found: Compression = _read(cls, {**_placed(data, "task", where), **read}, "recipe")
        return found

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Compression:
        """Read a recipe from a TOML file.

        Raises
        ------
        FileNotFoundError, ValueError
            No such file, or what :meth:`from_toml` refuses; the file is named.
        """
        path = a_path(path, "load: path")
        if not path.is_file():
            raise FileNotFoundError(f"load: path is that of a recipe's TOML file, but there is no file {path}")
        try:
            return cls.from_toml(path.read_text(encoding="utf-8"), path.parent)
        except UnicodeDecodeError:
            raise ValueError(f"{path}: the path is of no recipe, which is text") from None
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from None


def _placed(table: Any, key: str, folder: Path | None) -> Any:
    """A table whose text under a key, where it names a file, does so for any working directory."""
    given = table.get(key) if isinstance(table, Mapping) else None
    return {**table, key: absolute(given, folder)} if isinstance(given, str) and ".py:" in given else table


def _order(order: object) -> str | tuple[str, ...]:
    """One of the orders, or names of layers, each once."""
    if isinstance(order, str):
        return one_of(order, "order, unless it is a list of layers,", ORDERS)
    names = tuple(
        text(name, "order: each name of a layer") for name in sequence(order, f"order is {', '.join(ORDERS)}, or it")
    )
    if not names or len(set(names)) < len(names):
        raise ValueError(f"order names one or more layers, each once, not {shown(names)}")
    return names


def _read(cls: type[Any], data: Any, where: str) -> Any:
    """A dataclass from a table; its own checks speak of values, these of keys and types."""
    if not isinstance(data, Mapping):
        raise ValueError(f"{where} is a table, not {shown(data)}")
    known = {f.name: f for f in fields(cls)}
    for key, value in data.items():
        if key not in known:
            raise ValueError(f"{where}: unknown key {key!r}; there are {', '.join(known)}{_misplaced(cls, key)}")
        if is_dataclass(value) or (isinstance(value, tuple) and value and is_dataclass(value[0])):
            continue
        _check_type(value, str(known[key].type), f"{where}.{key}")
    try:
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in data.items()})
    except TypeError as error:
        raise ValueError(f"{where}: {str(error).split('() ')[-1]}") from None
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _misplaced(cls: type[Any], key: str) -> str:
    """Where a key belongs that stands below a table's head: in TOML it is that table's."""
    if cls is not Compression and key in {f.name for f in fields(Compression)}:
        return f"; {key!r} is a key of the whole recipe: write it above the first [[layers]] or [table]"
    return ""


def _check_type(value: Any, wanted: str, what: str) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if wanted == "int" and not (number and isinstance(value, int)):
        hint = f": write {value:.0f}" if isinstance(value, float) and value.is_integer() else ""
        raise ValueError(f"{what} is a whole number, not {value!r}{hint}")
    if wanted == "float" and not number:
        raise ValueError(f"{what} is a number, not {value!r}")
    if wanted.startswith("str") and "tuple" not in wanted and not isinstance(value, str):
        raise ValueError(f"{what} is a text, not {value!r}")
