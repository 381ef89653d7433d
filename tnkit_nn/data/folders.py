"""Where the files of a set lie: the folder that a user names, its usual subfolders, and what is there instead."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from pathlib import Path

from tnkit_nn.checks import a_path

__all__ = ["Version", "find"]

_PACKED = ("", ".gz", ".xz")
#: Folders in the named one that are looked into, and names that a message lists.
_CHILDREN, _LISTED = 200, 8
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")


@dataclass(frozen=True)
class Version:
    """One version of a set: its files, how else they are called, and the folders that they usually lie in.

    >>> Version("the binary version", ("train.bin", "test.bin"), folders=("cifar-100-binary",)).files
    ('train.bin', 'test.bin')

    ``inner`` are folders that tell nothing of the set (``raw``): they are looked for in the named folder alone, since
    FashionMNIST has one too.
    """

    name: str
    files: tuple[str, ...]
    folders: tuple[str, ...] = ()
    inner: tuple[str, ...] = ()
    other_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    packed: bool = True

    def files_in(self, folder: Path) -> list[Path | None]:
        """The path of each file in a folder, None where it is missing."""
        return [self._path(folder, name) for name in self.files]

    def _path(self, folder: Path, name: str) -> Path | None:
        for spelling in (name, *self.other_names.get(name, ())):
            for suffix in _PACKED if self.packed else ("",):
                for place in (folder / f"{spelling}{suffix}", folder / spelling / f"{spelling}{suffix}"):  # Kaggle's
                    if os.path.isfile(place):
                        return place
        return None


def find(root: str | os.PathLike[str] | None, versions: Sequence[Version], where: str) -> tuple[Version, list[Path]]:
    """The first version that is there whole, and its files, in ``root``, its usual subfolders, or those one folder below.

    Parameters
    ----------
    root
        The folder that the user names.
    versions
        The versions that the set comes in, the best one first.
    where
        Where the set is to be had: for the message.

    Raises
    ------
    ValueError
        No root is given, or several of its folders hold the set.
    FileNotFoundError
        A file is missing; the message lists the names looked for, where, and what is there instead.
    """
    wanted = f"{_listed(versions[0].files)} (plain, .gz or .xz)"
    wanted += "".join(f", or {x.name} ({x.files[0]} .. {x.files[-1]})" for x in versions[1:])
    if root is None:
        raise ValueError(f"no folder is given (root=, or --data-dir): the one with {wanted}; to be had at {where}")
    top = a_path(root, "root")
    if not top.is_dir():
        what = "is a file, no folder" if top.exists() else "no such folder"
        raise FileNotFoundError(f"{root}: {what}; root should hold {wanted}; to be had at {where}")
    partly: list[tuple[int, list[str], Path]] = []
    for version in versions:
        for folders in _places(top, version):
            found = [(folder, version.files_in(folder)) for folder in folders]
            whole = [(folder, [p for p in paths if p]) for folder, paths in found if None not in paths]
            if folders[0:1] != [top] and len({folder.resolve() for folder, _ in whole}) > 1:
                raise ValueError(
                    f"{root}: {whole[0][0]} and {whole[1][0]} both hold the set; root should be one of them"
                )
            if whole:
                return version, whole[0][1]
            for folder, paths in found:
                missing = [name for name, path in zip(version.files, paths, strict=True) if path is None]
                partly.append((len(paths) - len(missing), missing, folder))
    raise FileNotFoundError(_nowhere(top, versions, partly, where))


def _places(top: Path, version: Version) -> list[list[Path]]:
    """The folders to look in, near ones first: each list is of folders equally far."""
    near = [top, *(top / name for name in (*version.folders, *version.inner))]
    below = [top / child / name for child in _children(top) for name in version.folders]
    return [near, [folder for folder in below if os.path.isdir(folder)]]


def _children(top: Path) -> list[str]:
    try:
        with os.scandir(top) as entries:
            found = (e.name for e in entries if not e.name.startswith(".") and e.is_dir())
            return sorted(islice(found, _CHILDREN))
    except OSError:  # a folder that may not be listed can be read by names
        return []


def _nowhere(
    top: Path, versions: Sequence[Version], partly: list[tuple[int, list[str], Path]], where: str
) -> str:  # fmt: skip
    """The message: what is missing where most of it is, and what is there instead."""
    most, missing, folder = max(partly, key=lambda p: p[0])
    if most:
        instead = _instead([folder], versions)
        return f"{', '.join(missing)} not found in {folder}, which has the others; to be had at {where}{instead}"
    names = tuple(dict.fromkeys(name for version in versions for name in (*version.folders, *version.inner)))
    rest = "".join(f", nor {x.name} ({x.files[0]} .. {x.files[-1]})" for x in versions[1:])
    looked = f"{top} or its folders ({', '.join(names)})"
    folders = [top, *(top / name for name in names)]
    return (
        f"{_listed(versions[0].files)} not found in {looked}{rest}; to be had at {where}{_instead(folders, versions)}"
    )


def _listed(files: Sequence[str]) -> str:
    """Names for a message, numbered ones by the first and the last."""
    groups = [list(same) for _, same in groupby(files, lambda name: re.sub(r"_\d", "_", name))]
    return ", ".join(f"{g[0]} .. {g[-1]}" if len(g) > 1 else g[0] for g in groups)


def _instead(folders: Sequence[Path], versions: Sequence[Version]) -> str:
    """What is there instead, for a message: an archive, another version, or the first names."""
    there: list[str] = []
    for folder in folders:
        try:
            there += sorted(islice((entry.name for entry in folder.iterdir()), 1000))
        except OSError:
            continue
    listed = f"; there is {', '.join(there[:_LISTED])}{', ...' if len(there) > _LISTED else ''}" if there else ""
    known = tuple(name.partition(".")[0] for version in versions for name in (*version.folders, *version.files))
    for name in there:
        if name.endswith(_ARCHIVES) and name.lower().startswith(("cifar", "mnist", *known)):
            return f"{listed}; {name} is an archive: unpack it there first"
        if name.endswith(("-mat", "-matlab", ".mat")):
            return f"{listed}; {name} is the version for MATLAB, which is not read"
    return listed or "; nothing is there"
