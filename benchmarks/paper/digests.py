"""Which code made a result: ``digest_of("tnkit_nn/families.py", "benchmarks/paper/deep.py:kinds")``, and whether it is that of today.

A study's results carry ``digests_of`` what they depend on.  ``tables.py`` says by name what of it has changed since.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tnkit_nn.storage import replacing

ROOT = Path(__file__).parents[2]

#: Part of the code that results depend on -> files and folders, from the root of the repository.
PARTS: dict[str, tuple[str, ...]] = {
    "families": ("tnkit_nn/families.py", "tnkit_nn/budgets.py", "tnkit_nn/searches"),
    "approximation": ("tnkit_nn/approximation", "tnkit_nn/generators.py", "tnkit_nn/adapter/descent.py"),
    "comparison": tuple(f"tnkit_nn/comparison/{name}.py" for name in ("dense", "experiment", "models", "replicas", "row", "start", "sweep", "tuning")),
    "training": ("tnkit_nn/training", "tnkit_nn/zoo/models.py", "tnkit_nn/zoo/recipes.py"),
    "compression": ("tnkit_nn/compression",),
}  # fmt: skip

#: Part of the code -> an older digest -> a newer one whose code gives the same numbers, as ``reference.py`` has found.
SAME = Path(__file__).parent / "same.json"
#: What stands with a result that was made before results had digests.
BEFORE = "before digests"


def digest_of(*paths: str | Path) -> str:
    """One digest of sources: comments, docstrings and the way that lines are set are no part of it.

    Parameters
    ----------
    *paths
        Files, folders (every ``.py`` file below) or names in files, ``"file.py:name"``; relative ones from the root of the repository.
        A name stands for its definition and for everything beside it, or in other files of its folder, that the definition uses.

    Returns
    -------
    str
        12 hexadecimal digits.

    Raises
    ------
    FileNotFoundError
        There is no such file, or no such name in it.
    """
    seal = hashlib.sha256()
    for path in paths:
        for text in _texts(str(path)):
            seal.update(text.encode() + b"\0")
    return seal.hexdigest()[:12]


def digests_of(*sources: str) -> dict[str, str]:
    """The digests that results carry: ``digests_of("benchmarks/paper/deep.py:kinds", "families")``, of places or of :data:`PARTS`."""
    return {source: digest_of(*PARTS.get(source, (source,))) for source in sources}


def place(function: Callable[..., Any]) -> str:
    """Where a function stands, ``"benchmarks/paper/deep.py:kinds"``; the whole file of one that is not at its top."""
    path = Path(function.__code__.co_filename).resolve().relative_to(ROOT).as_posix()
    return path if "<" in function.__qualname__ else f"{path}:{function.__qualname__}"


def kept_in(folder: Path, *sources: str) -> dict[str, str]:
    """The digests of a study when it was begun in this folder: a study that goes on with newer code has rows of the older one."""
    path = folder / "digests.json"
    found: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    if found.keys() != set(sources):
        found = digests_of(*sources)
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(found))
    return found


def older(kept: Mapping[str, str] | None) -> str:
    """What to say of a table: nothing where the code is as it was, :data:`BEFORE`, or what has changed since."""
    if kept is None:
        return BEFORE
    changed = [source for source, digest in kept.items() if not _is(source, digest)]
    return f"made with older code ({', '.join(changed)})" if changed else ""


def _is(source: str, digest: str) -> bool:
    """Whether a digest is today's, or of code whose numbers are today's."""
    try:
        return digests_of(source)[source] in _as_good_as(source, digest)
    except FileNotFoundError:
        return False


def _as_good_as(source: str, digest: str) -> set[str]:
    """A digest, and those of later code that gives the same numbers."""
    pairs: dict[str, str] = json.loads(SAME.read_text(encoding="utf-8")).get(source, {}) if SAME.exists() else {}
    found = {digest}
    while (digest := pairs.get(digest, digest)) not in found:
        found.add(digest)
    return found


# -- sources as texts ---------------------------------------------------------------------------------------------------
def _texts(path: str) -> Iterator[str]:
    where, _, name = path.rpartition(":") if ".py:" in path else (path, "", "")
    place = ROOT / where
    if not place.exists():
        raise FileNotFoundError(f"digest_of: no file or folder {where} in {ROOT}")
    if name:
        yield from _used(place, name)
        return
    for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
        yield _dumped(_tree(file))


def _used(file: Path, name: str) -> Iterator[str]:
    """The definition of a name and of all that it uses, each once, in a fixed order."""
    todo, seen = [(file, name)], set[tuple[Path, str]]()
    if name not in _bound(file):
        raise FileNotFoundError(f"digest_of: {file} has no {name}")
    while todo:
        place = todo.pop()
        if place in seen:
            continue
        seen.add(place)
        todo += _needs(*place)
    for where, what in sorted(seen):
        yield from (f"{what} = {_dumped(node)}" for node in _bound(where)[what])


def _needs(file: Path, name: str) -> set[tuple[Path, str]]:
    """(file, name) of what a name's definition uses, as far as it stands in the same folder."""
    bound, modules, found = _bound(file), _modules(file), set[tuple[Path, str]]()
    for node in (n for top in bound[name] for n in ast.walk(top)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            found.add((modules[node.value.id][0], node.attr))
        elif isinstance(node, ast.Name) and node.id in modules:
            found.add(modules[node.id])
        elif isinstance(node, ast.Name) and node.id in bound:
            found.add((file, node.id))
    return {(where, what) for where, what in found if what in _bound(where)}


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def _bound(file: Path) -> dict[str, list[ast.stmt]]:
    """Name -> the statements at the top of a file that bind it."""
    found: dict[str, list[ast.stmt]] = {}
    for node in _tree(file).body:
        for name in _names(node):
            found.setdefault(name, []).append(node)
    return found


def _names(node: ast.stmt) -> list[str]:
    """What a statement binds."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]


@cache
def _modules(file: Path) -> dict[str, tuple[Path, str]]:
    """Name -> what it is of another file of the folder: (file, name), or (file, "") for the module."""
    found = {}
    for node in _tree(file).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            for alias in node.names:
                other = file.parent / f"{module or alias.name}.py"
                if other.exists():
                    found[alias.asname or alias.name] = (other, alias.name if module else "")
    return found


def _dumped(node: Any) -> str:
    """A tree as a text, the same for every version of Python: without docstrings, places and fields that are empty."""
    if isinstance(node, list):  # a text that stands by itself says what the name above it is
        return f"[{', '.join(_dumped(n) for n in node if not (isinstance(n, ast.Expr) and _is_text(n.value)))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: value for name, value in ast.iter_fields(node) if value is not None and value != []}
    return f"{type(node).__name__}({', '.join(f'{name}={_dumped(value)}' for name, value in fields.items())})"


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
