"""Docstrings for the reference: Sphinx roles become links, ``::`` a code block, ``#:`` comments the words of a constant."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

from griffe import Docstring, Extension, Object

sys.path.insert(0, str(Path(__file__).parent))
from homes import homes

_ROLE = re.compile(r":(?:func|class|mod|meth|attr|data|exc):`~?([\w.]+)(?:\(\))?`")
#: A prompt and what follows it, up to an empty line: Markdown would take it for a quotation.
_EXAMPLE = re.compile(r"^(?P<indent> *)>>> .*(?:\n(?P=indent)(?! *\n).+)*", re.MULTILINE)

#: ``::``, alone or after a word, and the indented lines that it is about: pictures, whose lines of ``~~~`` are no fences.
_LITERAL = re.compile(r"^( *)(.*?)::\n\s*\n((?:\1 +\S.*\n?|[ \t]*\n)+)", re.MULTILINE)


def _literal(found: re.Match[str]) -> str:
    before, lines = found[1], indent(dedent(found[3]).strip("\n"), found[1])
    return f"{before}{found[2]}{':' if found[2] else ''}\n\n{before}```text\n{lines}\n{before}```\n\n"


#: Parameters that share their words, ``steps, lr``: griffe would give all of them the type of the first.
_TOGETHER = re.compile(r"^( *)([a-z_]\w*(?:, [a-z_]\w*)+)\n((?:\1 +.*\n?)+)", re.MULTILINE)


def _apart(found: re.Match[str]) -> str:
    words = found[3].rstrip("\n")
    return "\n".join(f"{found[1]}{name}\n{words}" for name in found[2].split(", ")) + "\n"


def _fenced(example: re.Match[str]) -> str:
    return f"{example['indent']}```pycon\n{example[0]}\n{example['indent']}```"


def readable(text: str) -> str:
    """A docstring as Markdown."""
    text = _EXAMPLE.sub(_fenced, _TOGETHER.sub(_apart, text))
    text = _ROLE.sub(lambda found: linked(found[1]), text)
    return _LITERAL.sub(_literal, text)


def linked(target: str) -> str:
    """A public name as a link to its entry, any other as code."""
    short = target.rpartition(".")[2]
    for name, home in homes().items():
        own = name.partition(".")[2]
        if target in (own, name, home.path) and not home.same_as:
            return f"[`{name}`][{home.path}]"
        owner, _, member = target.rpartition(".")
        if owner in (own, name, home.path) and isinstance(home.value, type) and member in vars(home.value):
            return f"[`{owner.rpartition('.')[2]}.{member}`][{home.path}.{member}]"
    return f"`{short}`"


class Readable(Extension):
    """What griffe calls for every object that it reads."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Make the docstring Markdown, before its sections are parsed."""
        if obj.docstring is None and obj.is_attribute:
            obj.docstring = commented(obj)
        if obj.docstring is not None:
            obj.docstring.value = readable(obj.docstring.value)


def commented(obj: Object) -> Docstring | None:
    """The ``#:`` lines above a constant."""
    if not obj.lineno or obj.parent is None or not isinstance(obj.filepath, Path):
        return None
    above, found = obj.lines_collection[obj.filepath][: obj.lineno - 1], []
    while above and above[-1].lstrip().startswith("#:"):
        found.append(above.pop().lstrip().removeprefix("#:").strip())
    return Docstring("\n".join(reversed(found)), parent=obj) if found else None
