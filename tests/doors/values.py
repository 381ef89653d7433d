"""What is given in the place of an argument: one factory a value, so that no call sees what another has changed."""

import math
import warnings
from collections.abc import Mapping

import numpy as np
import torch

import tnkit as tk

__all__ = ["ARRAYS", "VALUES", "derived"]

SMALL = tk.ring((2, 2), 2)


def decomposition():
    return tk.tt_svd(np.arange(12.0).reshape(3, 4), rank=2)


def sparse():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.eye(2).to_sparse()


def matrix():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.matrix([[1.0, 2.0], [3.0, 4.0]])


#: Label -> a tensor of two axes that is not one of plain numbers, or not of numbers that every library has.
ARRAYS = {
    "np.matrix": matrix,
    "masked array": lambda: np.ma.array(np.ones((2, 2)), mask=[[0, 1], [0, 0]]),
    "object array": lambda: np.array([[1, None], ["x", 2]], dtype=object),
    "structured array": lambda: np.zeros((2, 2), dtype=[("a", "f8")]),
    "datetime64 array": lambda: np.zeros((2, 2), dtype="datetime64[s]"),
    "string array": lambda: np.array([["a", "b"], ["c", "d"]]),
    "longdouble array": lambda: np.ones((2, 2), np.longdouble),
    "int array": lambda: np.ones((2, 2), np.int64),
    "bool array": lambda: np.ones((2, 2), bool),
    "uint8 tensor": lambda: torch.ones(2, 2, dtype=torch.uint8),
    "bool tensor": lambda: torch.ones(2, 2, dtype=torch.bool),
    "bfloat16 tensor": lambda: torch.ones(2, 2, dtype=torch.bfloat16),
    "meta tensor": lambda: torch.ones(2, 2, device="meta"),
    "sparse tensor": sparse,
    "nested list": lambda: [[1.0, 2.0], [3.0, 4.0]],
}

_SIMPLE = {
    "None": None, "3": 3, "0": 0, "-1": -1, "2.5": 2.5, "True": True, "False": False, "nan": math.nan, "inf": math.inf,
    "10**30": 10**30, "1j": 1j, "'x'": "x", "''": "", "b'x'": b"x", "()": (), "frozenset()": frozenset(),
    "frozenset({2})": frozenset({2}), "np.int64(2)": np.int64(2), "np.float32(1.5)": np.float32(1.5),
    "np.bool_(True)": np.bool_(True), "np.str_('x')": np.str_("x"), "the class int": int, "the function len": len,
    "the module math": math, "range(2)": range(2), "slice(2)": slice(2), "...": ...,
}  # fmt: skip

#: Label -> factory of a value for any argument at all.
VALUES = {
    **{label: (lambda v=v: v) for label, v in _SIMPLE.items()},
    "object()": object,
    "a function": lambda: lambda *a, **k: None,
    "a generator": lambda: (k for k in (2, 2)),
    "bytearray": lambda: bytearray(b"x"),
    "[]": list,
    "{}": dict,
    "set()": set,
    "{2}": lambda: {2},
    "{'x': 1}": lambda: {"x": 1},
    "{3: 'x'}": lambda: {3: "x"},
    "{'x': None}": lambda: {"x": None},
    "[None]": lambda: [None],
    "['x']": lambda: ["x"],
    "[2.5]": lambda: [2.5],
    "[-1]": lambda: [-1],
    "[True]": lambda: [True],
    "[[]]": lambda: [[]],
    "ragged list": lambda: [[1.0, 2.0], [3.0]],
    "[object()]": lambda: [object()],
    "[10**30]": lambda: [10**30],
    "0-d int array": lambda: np.array(2),
    "0-d float array": lambda: np.array(1.5),
    "empty array": lambda: np.zeros((0, 2)),
    "NaN array": lambda: np.full((2, 2), np.nan),
    **ARRAYS,
    "0-d tensor": lambda: torch.tensor(2),
    "a Network": lambda: SMALL,
    "a nonlinear Network": lambda: tk.tree((2, 2, 2), 2, activation="tanh"),
    "a Node": lambda: tk.Node("A", "ij"),
    "a Decomposition": decomposition,
    "a pair (net, arrays)": lambda: (SMALL, tk.init.normal(SMALL)),
    "a Plan": lambda: tk.plan(SMALL),
    "a path": lambda: [(0, 1)],
    "a Backend": lambda: tk.NUMPY,
    "a module of torch": lambda: torch.nn.Linear(2, 2),
}

#: What stands for one item of a sequence, or one value of a mapping.
_ITEMS = ("None", "2.5", "True", "-1", "0", "nan", "10**30", "'x'", "''", "object()", "{2}", "[None]", "b'x'")


def derived(right):
    """Wrong values made of the right one: an item of it wrong, missing or too many; its order lost."""
    if isinstance(right, Mapping):
        return dict(_of_mapping(right))
    if type(right) in (tuple, list) and right:
        return dict(_of_sequence(right))
    return {}


def _of_mapping(right):
    for key in list(right)[:1]:
        yield from _of_entry(right, key, right[key])
    yield "a list of its values", lambda: list(right.values())
    yield "a list of its keys", lambda: list(right)


def _of_entry(right, key, value):
    yield f"without {key!r}", lambda: {k: v for k, v in right.items() if k != key}
    yield f"{key!r} by a number", lambda: {(3 if k == key else k): v for k, v in right.items()}
    for label in _ITEMS:
        yield f"{key!r}: {label}", lambda label=label: {**right, key: VALUES[label]()}
    if hasattr(value, "shape"):
        for label in ARRAYS:
            yield f"{key!r}: {label}", lambda label=label: {**right, key: _shaped(ARRAYS[label](), value.shape)}
        yield f"{key!r}: wrong shape", lambda: {**right, key: np.ones((7, *value.shape))}
        yield f"{key!r}: empty", lambda: {**right, key: np.ones((0, *value.shape[1:]))}


def _shaped(array, shape):
    """The kind of array with the shape that is asked for, where it can have it."""
    try:
        flat = array.reshape(-1)[:1]
        return flat.repeat(math.prod(shape)).reshape(shape)
    except Exception:  # lists, matrices, sparse tensors
        return array


def _of_sequence(right):
    kind = type(right)
    for label in _ITEMS:
        yield f"first item {label}", lambda label=label: kind([VALUES[label](), *right[1:]])
    yield "one item more", lambda: kind([*right, right[0]])
    yield "one item less", lambda: kind(right[1:])
    try:
        hash(right[0])
    except TypeError:
        return
    yield "its set", lambda: set(right)
    yield "a dict of it", lambda: dict.fromkeys(right, 2)
