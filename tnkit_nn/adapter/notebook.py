"""What a notebook shows of a module that holds a network: the picture, and a table of its arrays."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from torch import Tensor

from tnkit.core.display import bundle, html_table, image
from tnkit.core.network import Network
from tnkit.core.spelling import shape_text

__all__ = ["shown_module"]

_LISTED = 20  #: arrays that are listed one by one


def shown_module(text: str, net: Network, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """MIME type -> the module as that.

    Parameters
    ----------
    text
        Its ``repr``.
    net
        Its network.
    tensors
        Array name -> what the module holds; arrays that it lacks are its inputs.
    """
    trained = set(net.parameters)
    rows = [
        (name, shape_text(shape), f"{prod(shape):,}", _role(name, trained, tensors), str(tensors[name].dtype) if name in tensors else "")
        for name, shape in list(net.array_shapes.items())[:_LISTED]
    ]  # fmt: skip
    left = len(net.array_shapes) - len(rows)
    rows += [(f"and {left} more", "", "", "", "")] if left else []
    rows.append(("parameters", "", f"{net.num_params:,}", "", ""))
    head = ("array", "shape", "entries", "role", "dtype")
    widths = [max(len(row[k]) for row in [head, *rows]) for k in range(len(head))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)]
    found = {"text/plain": "\n".join([text, *(f"  {line}" for line in lines)])}
    svg = bundle(net).get("image/svg+xml", "")
    if svg:
        found["text/html"] = image(svg, repr(net)) + html_table(rows, head)
    return found


def _role(name: str, trained: set[str], tensors: Mapping[str, Tensor]) -> str:
    if name in trained:
        return "trained"
    return "held" if name in tensors else "input"
