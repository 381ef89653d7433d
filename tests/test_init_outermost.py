"""Starts of networks whose outermost node is a function: what it reaches, in either sign."""

import numpy as np
import pytest

import tnkit as tk


def test_a_relu_of_nothing_but_negative_entries_is_turned():
    net = tk.adtn((1, 7), depth=2)
    for seed in range(40):
        x = tk.contract(net, tk.init.normal(net, seed=seed))
        assert np.sqrt(np.mean(x**2)) == pytest.approx(1.0, rel=1e-9)


# -- the outermost activation, extreme scales, deep networks, wrong arguments ---------------------------------------------
@pytest.mark.parametrize("fn, std", [
    ("relu", 1e-3), ("relu", 40.0), ("leaky_relu", 0.5), ("tanh", 0.1), ("tanh", 0.97), ("sin", 0.6), ("sigmoid", 0.6),
    ("gelu", 1e-5), ("softplus", 3.0), ("square", 1e-8), ("identity", 2.0),
])  # fmt: skip
def test_an_outermost_activation_has_the_std_asked_for(fn, std):
    net = tk.brick_wall(7, depth=2, activation="tanh").activate(fn, "outer")
    for seed in range(3):
        x = tk.contract(net, tk.init.normal(net, seed=seed, std=std))
        assert np.sqrt(np.mean(x**2)) == pytest.approx(std, rel=1e-9)
    inner = net.nodes[0].bodies[0]
    arrays = tk.init.normal(net, seed=0)
    assert tk.init.rms(inner, arrays) == pytest.approx(1.0, rel=1e-9)  # by default


@pytest.mark.parametrize(
    "fn, std", [("tanh", 1.0), ("tanh", 5.0), ("sin", 1.5), ("sigmoid", 0.3), ("softplus", 0.1), ("relu", 1e308)]
)
def test_a_std_that_an_outermost_activation_cannot_reach(fn, std):
    net = tk.tt((4, 5), 2).activate(fn, "outer")
    if fn == "relu":
        net = tk.Network([tk.Node("A", "i", fixed=True)], "i", {"i": 3}).activate(fn, "outer")
    with pytest.raises(ValueError, match=f"std .* cannot be reached: the outermost node 'outer' is {fn}"):
        tk.init.normal(net, std=std)


def test_outermost_sums_are_scaled_together():
    net = tk.Network([tk.Elementwise("sum", "add", (tk.tt((4, 5), 2), tk.cp((4, 5), 3).relabel(nodes=lambda n: n + "_", arrays=lambda n: n + "_")))], ("i0", "i1"))  # fmt: skip
    x = tk.contract(net, tk.init.normal(net, std=0.3))
    assert np.sqrt(np.mean(x**2)) == pytest.approx(0.3, rel=1e-9)


@pytest.mark.parametrize("std", [1e-300, 1e-200, 1e200, 1e300])
@pytest.mark.parametrize("fn", ["relu", "square", "add", "multiply"])
def test_an_outermost_function_reaches_every_size_that_a_float_has(fn, std):
    """The factor is searched as far as a float goes: also where the next power of it would be past the largest."""
    bodies = [
        tk.Network(
            [tk.Node(f"A{k}", ("i", f"j{k}")), tk.Node(f"B{k}", (f"j{k}", "l"))], "il", {"i": 3, f"j{k}": 3, "l": 4}
        )
        for k in range(1 + (fn in ("add", "multiply")))
    ]
    net = tk.Network([tk.Elementwise("f", fn, bodies)], "il")
    assert tk.init.rms(net, tk.init.normal(net, std=std)) == pytest.approx(std, rel=1e-9)


def test_a_jump_over_the_size_asked_for_is_no_way_to_it():
    def step(xp, x):
        return xp.where(xp.abs(x) > 1, 3 + 0 * x, 1 + 0 * x)

    net = tk.Network([tk.Node("A", "i"), tk.Node("B", "")], "i", dict(i=1)).activate(step, "f")
    with pytest.raises(ValueError, match="std 2 cannot be reached"):
        tk.init.normal(net, std=2.0)


@pytest.mark.parametrize("fn", ["relu", "tanh", "gelu"])
@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1)])
def test_a_function_in_place_is_the_function(fn, axes):
    """Of tensors of many blocks, in any order in memory: the tensor itself is what is changed."""
    from tnkit.execution.elementwise import in_place

    laid = np.random.default_rng(0).normal(size=(7, 160, 90)).astype("float32")
    want = tk.ACTIVATIONS[fn](np, (laid * np.float32(0.3)).transpose(axes))
    x = laid.transpose(axes)
    assert in_place(fn, x, 0.3) and np.array_equal(x, want) and np.shares_memory(x, laid)
    assert not in_place("relu", -np.abs(x) - 1)


def test_a_large_relu_of_nothing_but_negative_entries_is_given_the_other_sign():
    net = tk.Network([tk.Node("A", "ij")], "ij", dict(i=300, j=200)).activate("relu", "f")
    net = net.join(tk.Network([tk.Node("B", "k")], "k", dict(k=2)))
    arrays = dict(A=-np.random.default_rng(0).uniform(1, 2, (300, 200)), B=np.ones(2))
    found = tk.init.to_rms(net, arrays, 0.5)
    x = tk.contract(net, found)
    assert (found["A"] > 0).all() and np.sqrt(np.mean(x**2)) == pytest.approx(0.5, rel=1e-9)


# -- functions of functions -----------------------------------------------------------------------------------------------
SIDES = dict(i=8, j=6)
A = tk.Network([tk.Node("A", "ir"), tk.Node("B", "rj")], "ij", dict(**SIDES, r=2))
B = tk.Network([tk.Node("C", "is"), tk.Node("D", "sj")], "ji", dict(**SIDES, s=2))  # the other way round


def of(fn, *bodies, output="ij"):
    return tk.Network([tk.Elementwise(fn, fn, bodies)], output, SIDES)


#: A function that is given functions -> the same by hand, of what A and B are.
NESTED = {
    "tanh of tanh": (A.activate("tanh", "f").activate("tanh", "g"), lambda a, b: np.tanh(np.tanh(a))),
    "tanh of a sum": (of("add", A, B, output="ji").activate("tanh", "f"), lambda a, b: np.tanh(a + b).T),
    "a sum with a tanh": (of("add", A.activate("tanh", "f"), B), lambda a, b: np.tanh(a) + b),
    "a product of a sum": (of("multiply", of("add", A.activate("sin", "f"), B, output="ji"), tk.Network([tk.Node("E", "ij")], "ij", SIDES)), None),
}  # fmt: skip


@pytest.mark.parametrize("std", [1e-300, 1e-12, 0.02, 0.5])
@pytest.mark.parametrize("name", NESTED)
def test_functions_of_functions_reach_a_size(name, std):
    """What they take is scaled, whatever stands between: no array of theirs scales the outermost one's argument."""
    net, by_hand = NESTED[name]
    arrays = tk.init.normal(net, std=std, seed=3)
    x = tk.contract(net, arrays)
    assert tk.init.rms(net, arrays) == pytest.approx(std, rel=1e-9)
    if by_hand is not None:
        a, b = arrays["A"] @ arrays["B"], arrays["C"] @ arrays["D"] if "C" in arrays else None
        np.testing.assert_allclose(x, by_hand(a, b), rtol=1e-12)


def test_functions_of_functions_that_do_not_reach_a_size_say_so():
    for std in (0.9, 1.0, 1e300):
        with pytest.raises(ValueError, match=r"std .* cannot be reached: the outermost node 'g' is tanh"):
            tk.init.normal(NESTED["tanh of tanh"][0], std=std)
    fixed = of("add", A.activate("tanh", "f"), tk.Network([tk.Node("C", "ij", fixed="ones")], "ij", SIDES))
    with pytest.raises(ValueError, match="'add' is add, and no trained array scales its argument"):
        tk.init.normal(fixed.activate("sin", "z").nodes[0].bodies[0], std=0.1)


def test_a_tower_of_functions_reaches_a_size():
    net = A
    for k in range(2000):
        net = net.activate("tanh", f"t{k}")
    assert tk.init.rms(net, tk.init.normal(net, std=0.01)) == pytest.approx(0.01, rel=1e-9)
