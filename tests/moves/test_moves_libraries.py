"""Moves with arrays of any library of the array API standard: what numpy gives."""

import numpy as np
import pytest

import tnkit as tk

NET = tk.mps((2, 3, 2, 3), 3)
DRAW = np.random.default_rng(0)
GATE = DRAW.normal(size=(6, 6))

MOVES = {
    "merge": lambda a, conv: tk.merge(NET, a, ["core_1", "core_2"]),
    "split": lambda a, conv: tk.split(NET, a, "core_1", ["b1"], absorb="both"),
    "split by a tolerance": lambda a, conv: tk.split(NET, a, "core_1", ["i1"], tol=1e-3),
    "gate on one": lambda a, conv: tk.apply_gate(NET, a, conv(GATE[:2, :2]), ["i0"]),
    "gate": lambda a, conv: tk.apply_gate(NET, a, conv(GATE), ("i0", "i1"), rank=2),
    "distant gate": lambda a, conv: tk.apply_gate(NET, a, conv(GATE[:4, :4]), ("i0", "i2"), rank=3),
    "isel": lambda a, conv: tk.isel(NET, a, {"i0": 1, "i1": slice(None, None, -1)}),
    "fuse": lambda a, conv: tk.fuse(*tk.unfuse(NET, a, {"i0": {"p": 1, "q": 2}}), {"z": ("q", "p")}),
    "squeeze": lambda a, conv: tk.squeeze(*tk.unfuse(NET, a, {"i0": {"p": 1, "q": 2}})),
    "expand_bonds": lambda a, conv: tk.expand_bonds(NET, a, 5, noise=0.1),
    "conj": lambda a, conv: tk.conj(NET, a),
    "canonicalize": lambda a, conv: tk.canonicalize(*tk.canonicalize(NET, a, "core_0"), "core_2", start="core_0"),
}


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("library", ["array_api_strict", pytest.param("jax.numpy", marks=pytest.mark.slow), "torch"])
def test_moves_of_any_library(library, move, kind):
    xp = pytest.importorskip(library)
    if library == "jax.numpy":
        pytest.importorskip("jax").config.update("jax_enable_x64", True)
    rng = np.random.default_rng(1)
    arrays = {
        n: rng.normal(size=s) + (1j * rng.normal(size=s) if kind == "complex" else 0)
        for n, s in NET.array_shapes.items()
    }
    wanted = MOVES[move](arrays, np.asarray)
    found = MOVES[move]({n: xp.asarray(x) for n, x in arrays.items()}, xp.asarray)
    assert found[0] == wanted[0] and {type(x) for x in found[1].values()} == {type(xp.asarray(GATE))}
    x, y = np.asarray(tk.contract(*found)), tk.contract(*wanted)
    assert np.allclose(x, y, rtol=1e-9, atol=1e-9 * np.abs(y).max())
