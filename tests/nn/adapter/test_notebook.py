"""What a notebook shows of a module: its picture, and a table of its arrays."""

import tnkit as tk
import tnkit_nn as tknn


def test_a_module_is_a_picture_and_a_table_of_its_arrays():
    net = tk.Network(
        [tk.Node("A", "ir"), tk.Node("x", "bi", fixed=True), tk.Node("e", "r", fixed="e0")],
        "b",
        {"i": 2, "r": 3, "b": 4},
    )
    module = tknn.TNModule(net)
    shown = module._repr_mimebundle_()
    assert set(shown) == {"text/html", "text/plain"} and "data:image/svg+xml;base64," in shown["text/html"]
    rows = [line.split() for line in shown["text/plain"].splitlines()[1:]]
    assert ["A", "2x3", "6", "trained", "torch.float32"] in rows and ["x", "4x2", "8", "input"] in rows
    assert rows[-1] == ["parameters", "6"] and "<td>trained</td>" in shown["text/html"]
