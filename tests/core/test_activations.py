"""Every activation: numpy against torch, gradients, dtype, large arguments."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

import tnkit as tk
from tnkit.core.activations import ACTIVATIONS, ORDERED, UNARY, resolve
from tnkit.core.network import Elementwise, Network
from tnkit.core.node import Node
from tnkit.execution.run import contract

X = np.concatenate([np.linspace(-6, 6, 61), [-0.0, 1e-8, -1e-8]])
REFERENCE = {
    "relu": lambda x: torch.relu(x),
    "leaky_relu": lambda x: torch.nn.functional.leaky_relu(x, 0.01),
    "tanh": torch.tanh,
    "sin": torch.sin,
    "sigmoid": torch.sigmoid,
    "gelu": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
    "softplus": torch.nn.functional.softplus,
    "square": torch.square,
    "identity": lambda x: x,
    "add": lambda x: x,
    "multiply": lambda x: x,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values_and_gradients_are_torchs(name):
    fn = ACTIVATIONS[name]
    assert name in REFERENCE, "what is it in torch?"
    x = torch.tensor(X, requires_grad=True)
    want = REFERENCE[name](x)
    assert np.allclose(fn(np, X), want.detach(), rtol=1e-9, atol=1e-9)
    y = torch.tensor(X, requires_grad=True)
    got = fn(torch, y)
    assert torch.allclose(got, want, rtol=1e-9, atol=1e-9)
    got.sum().backward()
    want.sum().backward()
    assert torch.allclose(y.grad, x.grad, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept_and_large_arguments_are_finite(name, dtype):
    x = np.array([-1e4, -100.0, 0.0, 100.0, 1e4], dtype=dtype)
    with np.errstate(all="raise", under="ignore"):
        y = ACTIVATIONS[name](np, x)
    assert y.dtype == dtype and np.isfinite(y).all()
    t = torch.tensor(x, requires_grad=True)
    z = ACTIVATIONS[name](torch, t)
    z.sum().backward()
    assert z.dtype == t.dtype and torch.isfinite(t.grad).all()


@pytest.mark.parametrize("name", [n for n in UNARY if n not in ORDERED])
def test_complex_numbers_in_torch_are_those_of_numpy(name):
    """Torch has no GELU of complex numbers: its message came up from inside."""
    draw = np.random.default_rng(0)
    net = tk.low_rank((3, 4), 2).activate(name, "f")
    arrays = {n: draw.normal(size=s) + 1j * draw.normal(size=s) for n, s in net.array_shapes.items()}
    given = {n: torch.tensor(a, requires_grad=True) for n, a in arrays.items()}
    found, want = tk.contract(net, given), tk.contract(net, arrays)
    assert np.allclose(found.detach(), want) and np.allclose(
        tk.contract(net, {n: a.detach() for n, a in given.items()}), want
    )
    plain = {n: torch.tensor(a, requires_grad=True) for n, a in arrays.items()}
    again = ACTIVATIONS[name](torch, plain["left"] @ plain["right"])
    for result in (found, again):
        result.abs().square().sum().backward()
    assert all(torch.allclose(given[n].grad, plain[n].grad) for n in given)


@pytest.mark.parametrize("name", ["add", "multiply"])
def test_combiners(name):
    x = [np.random.default_rng(k).normal(size=(2, 3)) for k in range(3)]
    want = x[0] + x[1] + x[2] if name == "add" else x[0] * x[1] * x[2]
    assert np.allclose(ACTIVATIONS[name](np, *x), want)
    bodies = tuple(Network([Node(f"A{k}", "ij")], "ij", dict(i=2, j=3)) for k in range(3))
    net = Network([Elementwise("f", name, bodies)], "ij")
    assert np.allclose(contract(net, {f"A{k}": x[k] for k in range(3)}), want)


def cube(xp, x):
    return x * x * x


def test_a_function_of_the_users():
    net = Network([Node("A", "i")], "i", dict(i=3)).activate(cube, "f")
    assert np.allclose(contract(net, {"A": np.array([1.0, 2.0, 3.0])}), [1, 8, 27])
    assert "cube" in str(net)


class Scaled:
    def __call__(self, xp, x):
        return self.by * x


@dataclass
class Loose(Scaled):
    by: float


@dataclass(frozen=True)
class Fixed(Scaled):
    by: float


def test_a_function_with_state_has_a_hash():
    net = tk.tt((2, 3), 2)
    with pytest.raises(TypeError, match=r"an activation is part of a network.*Loose\(by=2\.0\) has none.*frozen=True"):
        net.activate(Loose(2.0), "f")
    arrays = tk.init.normal(net, seed=0)
    assert np.allclose(tk.contract(net.activate(Fixed(2.0), "f"), arrays), 2 * tk.contract(net, arrays))


def test_a_known_function_is_stored_by_name():
    assert resolve(ACTIVATIONS["relu"]) == "relu" and resolve(cube) is cube
    net = Network([Node("A", "i")], "i", dict(i=3))
    assert net.activate(ACTIVATIONS["relu"], "f") == net.activate("relu", "f")
