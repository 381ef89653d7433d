"""One network fitted to another, neither tensor being formed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tnkit.algebra.inner import distance, norm, resolves
from tnkit.core.decomposition import Decomposition, paired
from tnkit.core.network import Network
from tnkit.core.structure import check_multilinear
from tnkit.decompose.als import Goal, check_array, check_options, fitted
from tnkit.execution.arrays import dtype_name
from tnkit.execution.backend import Backend
from tnkit.execution.inputs import check_arrays
from tnkit.execution.library import backend_of

__all__ = ["project"]


@paired
def project(
    target: Network, target_arrays: Mapping[str, Any], net: Network, arrays: Mapping[str, Any] | None = None, *,
    sweeps: int = 300, tol: float = 0.0, ridge: float = 1e-3, restarts: int = 8, seed: int = 0, backend: Backend | None = None,
) -> Decomposition:  # fmt: skip
    """Fit a network to another one, neither tensor being formed: :func:`als` with a target that has nodes.

    Parameters
    ----------
    target, target_arrays
        A multilinear network (ties are no matter) and its arrays; output indices are matched by position.
    net, arrays, sweeps, tol, ridge, restarts, seed
        As for :func:`als`.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    Decomposition
        As of :func:`als`, in the dtype of the target's arrays.  The error is :func:`distance`'s: right to rounding for two
        trees of one structure and for small shapes; for others never below 1.5e-8, what inner products resolve.

    Raises
    ------
    KeyError, TypeError, ValueError
        As :func:`als`; a target of another shape, a nonlinear target.
    """
    check_options(net, "project", sweeps, tol, ridge, restarts)
    check_multilinear(target, "project (target)", tied=True)
    if len(target.output) != len(net.output):
        raise ValueError(f"project: the target has shape {target.shape}, the network {net.shape}")
    for i, j in zip(target.output, net.output, strict=True):
        if target.sizes[i] != net.sizes[j]:
            raise ValueError(
                f"project: the target's index {i!r} has size {target.sizes[i]}, the network's {j!r} {net.sizes[j]}"
            )
    backend = backend_of(backend, target_arrays, arrays or {})
    full = check_arrays(target, target_arrays, backend)
    for n, a in full.items():
        check_array(n, a, "project", backend)
    names = [dtype_name(a) for a in full.values()]
    wide = "complex128" if any("complex" in n for n in names) else "float64"
    full = {n: backend.cast(a, wide) for n, a in full.items()}
    size = float(norm(target, full, backend=backend))
    hidden = 0.0 if resolves(target, net) else 1.5e-8  # what inner products in double precision do not show

    def error(arrays: dict[str, Any]) -> float:
        return max(float(distance(target, full, net, arrays, backend=backend)) / size, hidden)

    dtype = str(np.result_type(*(n if n.startswith(("float", "complex")) else "float32" for n in names), "float32"))
    goal = Goal(target, full, size, error, dtype)
    return fitted("project", net, arrays, goal, sweeps, tol, ridge, restarts, seed, backend)
