"""What users give of torch: taken, or refused by a message that states the rule, then the value."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import tnkit as tk
from tnkit_nn import checks

NET = tk.mpo((2, 2), (2, 3), 2)


def test_right_values_come_back():
    layer, x = nn.Linear(2, 2), torch.ones(2)
    assert checks.a_module(layer, "m") is layer and checks.a_kind(layer, nn.Linear, "m") is layer
    assert checks.a_tensor(x, "x") is x and checks.finite(x, "x") is x
    assert checks.a_function(len, "f") is len and checks.a_size(np.int64(3), "n") == 3
    assert checks.trained_dtype(torch.complex64, "d") is torch.complex64 and checks.trained_dtype(None, "d") is None
    assert checks.an_array(np.ones(2), "a").sum() == 2 and checks.an_array(x, "a") is x
    assert checks.check_fills(NET, (4, 6), "f") == ""
    assert checks.check_fills(NET, (4, 5), "f").startswith("a tensor of 4 x 6 is cut to a weight of 4 x 5")  # padding


def test_a_path_may_begin_at_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert checks.a_path("~/data", "p") == tmp_path / "data" and checks.a_path(Path("x"), "p") == Path("x")
    (tmp_path / "file").write_text("")
    assert checks.a_folder(tmp_path, "p") == tmp_path and checks.a_folder(tmp_path / "new", "p") == tmp_path / "new"
    with pytest.raises(NotADirectoryError, match=r"out is a folder, but .*file is a file"):
        checks.a_folder(tmp_path / "file", "out")


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: checks.a_module(nn.ReLU, "f: model"), TypeError, "f: model is an nn.Module, not .*; make one of the class first"),
        (lambda: checks.a_kind(3, nn.Linear, "f: linear"), TypeError, "f: linear is a Linear, not 3"),
        (lambda: checks.a_function(int, "f: loss"), TypeError, "f: loss is a function, not <class 'int'>"),
        (lambda: checks.a_path(3, "f: path"), TypeError, "f: path is a path, a string or a pathlib.Path, not 3"),
        (lambda: checks.a_path(b"x", "f: path"), TypeError, "not b'x'"),
        (lambda: checks.a_path("", "f: path"), ValueError, "f: path is a path, not an empty string"),
        (lambda: checks.a_size(10**30, "f: batch"), ValueError, "f: batch is at most 1099511627776, not 1e\\+30"),
        (lambda: checks.trained_dtype(np.float32, "f: dtype"), TypeError, "torch.float32, not .*; torch.float32 is one"),
        (lambda: checks.trained_dtype(torch.int64, "f: dtype"), ValueError, "a floating or complex dtype, .*, not torch.int64"),
        (lambda: checks.trained_dtype(torch.float8_e5m2, "f: dtype"), ValueError, "not torch.float8_e5m2"),
        (lambda: checks.a_tensor(np.ones(2), "f: x"), TypeError, "f: x is a tensor, not a ndarray of shape \\(2,\\); torch.as_tensor"),
        (lambda: checks.a_tensor(torch.ones(2, device="meta"), "f: x"), ValueError, "f: x has values, .* but it is on the meta device"),
        (lambda: checks.a_tensor(torch.eye(2).to_sparse(), "f: x"), ValueError, "f: x is dense, not torch.sparse_coo; x.to_dense"),
        (lambda: checks.an_array([1.0], "array 'A'"), TypeError, "array 'A' is a numpy array or a tensor, not \\[1.0\\]"),
        (lambda: checks.an_array(np.array([None]), "array 'A'"), ValueError, "numbers that torch has too, not of object"),
        (lambda: checks.an_array(np.ones(1, np.longdouble), "array 'A'"), ValueError, "numbers that torch has too, not of"),
        (lambda: checks.an_array(np.ma.array([1.0], mask=[1]), "array 'A'"), TypeError, "plain numpy array, .*x.filled"),
        (lambda: checks.labels_of(torch.ones(3), "f: labels"), ValueError, "whole numbers of shape \\(count,\\), .*not torch.float32"),
        (lambda: checks.finite(torch.tensor([[0.0, 1.0], [float("nan"), 0.0]]), "x"), ValueError, "its entry \\(1, 0\\) is nan"),
        (lambda: checks.check_fills(tk.mpo((2, 3), (4, 5), 2), (20, 6), "f"), ValueError,
            "f: rows come first, but the network is 6 x 20 and the weight 20 x 6; exchange out= and in_="),
        (lambda: checks.check_fills(NET, (8, 6), "TNLinear"), ValueError, "TNLinear: the network's sizes multiply to the weight's, in order, but "),
    ],
)  # fmt: skip
def test_wrong_values_are_named(call, error, said):
    with pytest.raises(error, match=said) as told:
        call()
    assert "\n" not in str(told.value)
