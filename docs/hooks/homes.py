"""Where each public name is defined, and on which page of the reference it stands."""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

#: Modules with public names -> what users write before a name.
DOORS = {
    "tnkit": "tk", "tnkit.init": "tk.init", "tnkit.testing": "tk.testing",
    "tnkit_nn": "tknn", "tnkit_nn.data": "tknn.data", "tnkit_nn.zoo": "tknn.zoo",
}  # fmt: skip


class Home(NamedTuple):
    """A public name: as users write it, where it is defined, its page, the value itself."""

    shown: str
    path: str
    page: str
    value: Any

    @property
    def same_as(self) -> str | None:
        """The name of the function that this is a second name of."""
        own = self.shown.rpartition(".")[2]
        other = getattr(self.value, "__name__", own) if inspect.isfunction(self.value) else own
        return None if other == own else other


@cache
def homes() -> dict[str, Home]:
    """``tk.plan`` -> its home, for every name in the ``__all__`` of every door."""
    found = {}
    for door, short in DOORS.items():
        module = importlib.import_module(door)
        for name in sorted(set(module.__all__), key=str.lower):
            value = getattr(module, name)
            where = f"{door}.{name}" if inspect.ismodule(value) else _defined(door, name, value)
            found[f"{short}.{name}"] = Home(f"{short}.{name}", where, _page(door, where), value)
    return found


def _defined(door: str, name: str, value: Any) -> str:
    """The module that writes the name down, and the name."""
    own = getattr(value, "__module__", "")
    package = door.partition(".")[0]
    modules = [own, *sorted(m for m in sys.modules if m.partition(".")[0] == package)]
    for module in modules:
        held = vars(sys.modules[module]).get(name) if module in sys.modules and module.startswith("tnkit") else None
        if held is value and name in _written(module):
            return f"{module}.{name}"
    raise LookupError(f"{door}.{name} is written down in no module")


@cache
def _written(module: str) -> frozenset[str]:
    return frozenset(_names(ast.parse(inspect.getsource(sys.modules[module])).body))


def _names(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (t.id for t in node.targets if isinstance(t, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


#: Rooms whose few names stand on the page of another.
_TOGETHER = {
    "tnkit_nn.engine": "adapter", "tnkit_nn.families": "comparison", "tnkit_nn.task": "training", "tnkit_nn.approximation": "compression",
    "tnkit_nn.tensorized": "compression", "tnkit_nn.saving": "compression",
}  # fmt: skip


def _page(door: str, path: str) -> str:
    if "." in door:
        return f"reference/{door.replace('.', '/')}.md"
    package, room = path.split(".")[:2]
    return f"reference/{package}/{_TOGETHER.get(f'{package}.{room}', room)}.md"
