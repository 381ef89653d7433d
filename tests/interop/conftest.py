import numpy as np
import pytest

import tnkit as tk


@pytest.fixture
def chain():
    net = tk.Network([tk.Node("a", "ij"), tk.Node("b", "jk")], "ik", {"i": 2, "j": 3, "k": 2})
    return net, {"a": np.arange(6.0).reshape(2, 3), "b": np.ones((3, 2))}


@pytest.fixture
def nested(chain):
    inner = chain[0].activate("relu", "f").relabel(inds={"j": "q"})
    other = tk.Network([tk.Node("c", "ki", array="w"), tk.Node("d", "ii", fixed=True)], "ki", {"k": 2, "i": 2})
    return tk.Network(
        [tk.Elementwise("sum", "add", (inner, other)), tk.Node("e", "kz", fixed="delta")], "iz", {"k": 2, "z": 5}
    )
