"""Random networks with all arrays, and what a move is compared with."""

import numpy as np
import torch

import tnkit as tk

DTYPES = ("float32", "float64", "complex64", "complex128")


def random(seed, dtype="float64"):
    """A network of any kind, with all arrays."""
    net, arrays = tk.testing.random_network(seed, max_nodes=6, dtype=dtype)
    return net, {**arrays}


def near(a, b, dtype="float64", factor=1.0):
    a, b = np.asarray(a), np.asarray(b)
    eps = 3e-5 if dtype in ("float32", "complex64") else 1e-11
    scale = max(np.linalg.norm(b), np.finfo(np.float32).tiny)
    return a.shape == b.shape and np.linalg.norm(a - b) <= factor * eps * scale + 1e-12


def with_torch(arrays):
    return {n: torch.as_tensor(np.array(x)) for n, x in arrays.items()}


def value(net, arrays):
    """The tensor by the oracle, of arrays of any library."""
    read = {n: x.detach().resolve_conj().numpy() if isinstance(x, torch.Tensor) else x for n, x in arrays.items()}
    return tk.testing.oracle(net, read)


def untouched(before, after, changed):
    """Arrays of nodes that a move does not name are the same objects."""
    net, arrays = before
    held = {node.array for node in net.nodes if node.name in changed}
    return all(after[1][n] is x for n, x in arrays.items() if n not in held)


def carried(net, inds):
    """Nodes that have one of these indices."""
    return [n.name for n in net.nodes if set(n.inds) & set(inds)]


def checked(net):
    """Whether the constructor, which checks everything, makes the same of it."""
    return net == tk.Network(net.nodes, net.output, net.sizes)
