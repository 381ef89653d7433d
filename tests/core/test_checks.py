"""What users give: taken, or refused by a message that states the rule, then the value."""

import numpy as np
import pytest

import tnkit as tk
from tnkit.core import checks

NET = tk.tt((2, 3), 2)


def test_right_values_come_back():
    assert checks.a_network(NET, "f") is NET and checks.shown(np.float32).startswith("<class")
    assert (
        checks.flag(np.True_, "x") is True and checks.text("a", "x") == "a" and checks.text("", "x", empty=True) == ""
    )
    assert checks.one_of("b", "x", ("a", "b")) == "b" and checks.sequence([1, 2], "x") == (1, 2)


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: checks.a_network("ij,jk->ik", "f"), TypeError, "f: a Network is needed, not 'ij,jk->ik'; make one of an equation"),
        (lambda: checks.a_network((NET, {}), "f"), TypeError, "give them as two arguments"),
        (lambda: checks.a_network(np.ones((2, 3)), "f"), TypeError, "not a ndarray of shape \\(2, 3\\)"),
        (lambda: checks.a_mapping([1], "f"), TypeError, "f: arrays map names to values, as a dict does; they are not \\[1\\]"),
        (lambda: checks.flag(1, "f: labels"), TypeError, "f: labels is True or False, not 1"),
        (lambda: checks.text("", "f: name"), TypeError, "f: name is a non-empty string, not ''"),
        (lambda: checks.one_of("c", "f: method", "ab"), ValueError, "f: method is one of a, b, not 'c'"),
        (lambda: checks.one_of(3, "f: method", "ab"), TypeError, "f: method is one of a, b, not 3"),
        (lambda: checks.sequence({1, 2}, "f: dims"), TypeError, "a set has no order"),
        (lambda: checks.sequence("ab", "f: dims"), TypeError, "f: dims is a sequence, a tuple or a list, not 'ab'"),
    ],
)  # fmt: skip
def test_wrong_values_are_named(call, error, said):
    with pytest.raises(error, match=said):
        call()


def test_a_repr_that_fails_hides_no_rule():
    class Odd:
        def __repr__(self):
            raise RuntimeError

    with pytest.raises(TypeError, match="x is True or False, not a Odd"):
        checks.flag(Odd(), "x")


def test_a_decomposition_stands_for_its_pair():
    d = tk.tt_svd(np.random.default_rng(0).standard_normal((4, 5, 6)), rank=2)
    assert tk.norm(d) == tk.norm(*d)
    assert tk.inner(d, d) == tk.inner(*d, *d) and tk.distance(d, *d) == tk.distance(*d, d) == 0
    assert np.array_equal(tk.contract(d), tk.contract(*d))
