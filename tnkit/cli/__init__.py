"""The command ``tnkit``: networks shown, viewed and planned here, models trained, compressed and compared in ``tnkit_nn``, loaded when asked for.

>>> from tnkit.cli import main
>>> main(["plan", "ij,jk->ik", "--sizes", "8", "--json"])  # doctest: +ELLIPSIS
{"flops": 1024, ...
0
"""

from tnkit.cli.program import main

__all__ = ["main"]
