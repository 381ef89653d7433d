"""What a notebook shows of a network and of a decomposition: its picture, and what is known of it as a table."""

from __future__ import annotations

from math import prod

from tnkit.core.decomposition import Decomposition
from tnkit.core.display import bundle, html_table, image
from tnkit.core.network import Network, levels
from tnkit.core.spelling import shape_text
from tnkit.core.wording import count_text
from tnkit.drawing.draw import to_svg

__all__: list[str] = []  # all of it is registered

_LISTED = 12  #: bonds that are named one by one


@bundle.register
def _(net: Network) -> dict[str, str]:
    return {"image/svg+xml": to_svg(net), "text/plain": str(net)}


@bundle.register
def _(found: Decomposition) -> dict[str, str]:
    net = found.network
    rows = [("relative error", f"{found.error:.3g}"), ("parameters", _count(net)), ("bonds", _bonds(net))]
    if found.methods:
        rows.append(("by", ", ".join(dict.fromkeys(found.methods.values()))))
    text = "\n".join([repr(found), *(f"  {name:<14} {value}" for name, value in rows if value)])
    svg = to_svg(net)
    return {
        "text/html": image(svg, repr(net)) + html_table(row for row in rows if row[1]),
        "image/svg+xml": svg,
        "text/plain": text,
    }


def _count(net: Network) -> str:
    dense = prod(net.shape)
    return (
        f"{count_text(net.num_params, ',')}, the tensor of shape {shape_text(net.shape)} has {count_text(dense, ',')}"
    )


def _bonds(net: Network) -> str:
    """Bonds and their sizes, the ranks that were found."""
    bonds = [f"{i}:{level.sizes[i]}" for level in levels(net) for i, ends in level.edges.items() if len(ends) > 1]
    more = f" and {len(bonds) - _LISTED} more" if len(bonds) > _LISTED else ""
    return ", ".join(bonds[:_LISTED]) + more
