"""A template as one self-contained page: no style, script, font or picture comes from elsewhere."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from tnkit.core.extras import need
from tnkit.core.wording import plural
from tnkit_nn.strict import nulled

__all__ = ["as_data_uri", "footer", "hardware", "render"]

_LOOK = "tnkit_nn.pages"


def render(template: str, package: str = _LOOK, **values: Any) -> str:
    """The text of ``template``, a file of ``package`` (where it begins with ``{% extends "base.html.j2" %}``: a whole page).

    ::

        render("page.html.j2", "tnkit_nn.compression.report", title="mlp on digits", footer=footer(records[0]))

    Values are escaped.  ``source("page.js")`` in a template is a file of the package as it stands, for ``<style>`` and ``<script>``.
    ``values | data`` is data that a script reads.

    Raises
    ------
    MissingExtra
        jinja2 is not installed.
    """
    need("a page", "jinja2")
    found: str = _templates(package).get_template(template).render(**values)
    return found


@cache
def _templates(package: str) -> Any:
    """The templates of a package, and those that all share."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    packages = dict.fromkeys((package, _LOOK))
    loader = ChoiceLoader([PackageLoader(name, "") for name in packages])
    made = Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )  # fmt: skip

    def source(name: str) -> Markup:
        found = next(path for p in packages if (path := files(p).joinpath(name)).is_file())
        return Markup(found.read_text(encoding="utf-8"))

    made.globals["source"] = source
    made.filters["data"] = lambda value: Markup(_json(value))
    return made


def _json(value: Any) -> str:
    """Data as JSON that no ``</script>`` ends; what is no finite number is null."""
    text = json.dumps(nulled(value), ensure_ascii=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def as_data_uri(content: bytes, kind: str = "image/png") -> str:
    """A picture within a page: what ``src`` is."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def hardware(machine: Mapping[str, Any]) -> list[str]:
    """What is known of a machine: its processor, cores and threads.

    >>> hardware({"processor": "Xeon", "cores": 2, "threads": 1})
    ['Xeon', '2 cores', '1 thread']
    """
    parts = [str(machine["processor"])] if machine.get("processor") else []
    for key, word in (("cores", "core"), ("threads", "thread")):
        if (count := machine.get(key)) is not None:
            parts.append(plural(count, word))
    return parts


def footer(
    machine: Mapping[str, Any] | None = None,
    versions: Mapping[str, Any] | None = None,
    command: Sequence[str] | None = None,
) -> dict[str, str]:
    """What a page says at its end: where it was made, with which versions, and the command that makes it again.

    >>> footer({"processor": "Xeon", "cores": 2}, {"tnkit": "0.1.0"}, ["tnkit", "compare", "--out", "my run"])["command"]
    "tnkit compare --out 'my run'"
    """
    return {
        "machine": ", ".join(hardware(machine or {})),
        "versions": ", ".join(f"{name} {version}" for name, version in (versions or {}).items()),
        "command": shlex.join(map(str, command)) if command else "",
    }
