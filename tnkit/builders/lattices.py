"""Lattices in the plane: PEPS."""

from __future__ import annotations

from tnkit.builders.arguments import check_count, check_shape
from tnkit.builders.registry import builder
from tnkit.core.network import Network
from tnkit.core.node import Node


def _in_lattice(rows: int, cols: int, dim: int, rank: int) -> int:
    """Dim x rank^(number of neighbours), summed over the sites."""
    near = [(y > 0) + (y < rows - 1) + (x > 0) + (x < cols - 1) for y in range(rows) for x in range(cols)]
    return sum(dim * rank**k for k in near)


@builder(_in_lattice, rows=2, cols=3, dim=2, rank=2)
def peps(rows: int, cols: int, dim: int, rank: int) -> Network:
    """Projected entangled pair state (Verstraete and Cirac 2004) on an open square lattice.

    >>> net = tk.peps(3, 3, dim=2, rank=4)
    >>> net.num_params  # 2 * (4 corners of 4**2, 4 sides of 4**3, 4**4)
    1152
    >>> net["peps_1_1"].inds
    ('i1_1', 'v0_1', 'v1_1', 'h1_0', 'h1_1')

    Parameters
    ----------
    rows, cols
        Sites.
    dim
        Size of each open index ``i{row}_{col}``.
    rank
        Size of every bond.

    Returns
    -------
    Network
        ``peps_{row}_{col}``; parameters: sum over sites of dim x rank^(number of neighbours).

    Raises
    ------
    TypeError, ValueError
        An argument that is no whole number of at least 1.
    MemoryError
        More than a million nodes.
    """
    rows, cols, dim, rank = check_shape((rows, cols, dim, rank), "peps (rows, cols, dim, rank)")
    check_count(rows * cols, "peps", f"{rows} x {cols} sites")
    nodes, output = [], []
    sizes: dict[str, int] = {}
    for y in range(rows):
        for x in range(cols):
            bonds = [f"v{y - 1}_{x}"] if y else []
            bonds += [f"v{y}_{x}"] if y < rows - 1 else []
            bonds += [f"h{y}_{x - 1}"] if x else []
            bonds += [f"h{y}_{x}"] if x < cols - 1 else []
            nodes.append(Node(f"peps_{y}_{x}", (f"i{y}_{x}", *bonds)))
            output.append(f"i{y}_{x}")
            sizes |= {f"i{y}_{x}": dim} | dict.fromkeys(bonds, rank)
    return Network(tuple(nodes), tuple(output), sizes)
