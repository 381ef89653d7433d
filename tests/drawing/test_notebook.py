"""What a notebook shows: a picture and text of a network, a table of a decomposition, quickly and without matplotlib."""

import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from work import counted

import tnkit as tk

HUGE = {
    "chain": lambda: tk.mps((2,) * 10_000, 3),
    "lattice": lambda: tk.peps(100, 100, 2, 2),
    "wall": lambda: tk.brick_wall(500, depth=10),
    "ring": lambda: tk.ring((2,) * 10_000, 2),
    "tree": lambda: tk.tree((2,) * 10_000, 2),
    "nothing in common": lambda: tk.Network(
        [tk.Node(f"A{k}", (f"i{k}",)) for k in range(10_000)], (), {f"i{k}": 2 for k in range(10_000)}
    ),
}


def test_a_network_is_a_picture_and_text():
    net = tk.tt((2, 3, 2), 2)
    shown = net._repr_mimebundle_()
    assert set(shown) == {"image/svg+xml", "text/plain"} and shown["text/plain"] == str(net)
    assert shown["image/svg+xml"] == tk.to_svg(net)


def test_a_decomposition_is_a_picture_and_its_figures():
    x = np.random.default_rng(0).normal(size=(4, 4, 4))
    found = tk.tt_svd(x, rank=2)
    shown = found._repr_mimebundle_()
    error = np.linalg.norm(x - tk.contract(*found)) / np.linalg.norm(x)
    assert set(shown) == {"text/html", "image/svg+xml", "text/plain"}
    for text in (shown["text/html"], shown["text/plain"]):
        assert (
            f"{error:.3g}" in text and "b1:2, b2:2" in text and f"{found.network.num_params} " in text.replace(",", " ")
        )
    assert "<table><tr><td>" in shown["text/html"]  # no row of empty headings
    assert "data:image/svg+xml;base64," in shown["text/html"] and shown["text/plain"].startswith(repr(found))


@pytest.mark.slow
@pytest.mark.parametrize("name", HUGE)
def test_a_huge_network_shows_itself_soon_and_says_what_it_leaves_out(name):
    net = HUGE[name]()
    work, shown = counted(net._repr_mimebundle_)
    assert work < 4_000_000  # .6 to 1.4 s
    svg = shown["image/svg+xml"]
    drawn = [e for e in ElementTree.fromstring(svg).iter() if (e.get("id") or "").startswith("node:")]
    assert 10 <= len(drawn) <= 40
    assert f"... {len(net.leaves) - len(drawn):,} more ..." in svg


def test_matplotlib_is_neither_loaded_nor_needed():
    code = "import sys; sys.modules['matplotlib'] = None; import tnkit as tk; net = tk.tt((2, 2), 2); "
    code += "assert '<svg' in net._repr_mimebundle_()['image/svg+xml']"
    subprocess.run([sys.executable, "-c", code], check=True)
