"""How values show themselves in a notebook: as text here; rooms above this one add pictures.

The room that draws stands above the room of networks, so a network cannot ask for its picture.  It asks :func:`bundle`, and
``tnkit.drawing.notebook`` registers what it draws there.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from functools import singledispatch
from html import escape

__all__ = ["bundle", "html_table", "image"]


@singledispatch
def bundle(value: object) -> dict[str, str]:
    """MIME type -> a value as that, what IPython's ``_repr_mimebundle_`` returns.

    >>> bundle(3)
    {'text/plain': '3'}
    """
    return {"text/plain": str(value)}


def image(svg: str, about: str) -> str:
    """An SVG as an element of HTML, whose ids and styles no other picture of the page can share."""
    code = b64encode(svg.encode()).decode()
    return f'<img alt="{escape(about)}" src="data:image/svg+xml;base64,{code}" style="max-width:100%">'


def html_table(rows: Iterable[tuple[str, ...]], head: tuple[str, ...] = ()) -> str:
    """Rows as a table of HTML."""
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    top = f"<tr>{''.join(f'<th>{escape(cell)}</th>' for cell in head)}</tr>" if head else ""
    return f"<table>{top}{body}</table>"
