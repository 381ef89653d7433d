"""A GPU is waited for where a value is read: what asks whether there are values reads none."""

import pytest
import torch

import tnkit as tk
import tnkit_nn as tnn
from tnkit_nn.adapter.keeping import is_kept


def test_whether_values_can_be_read_is_asked_without_reading_them(monkeypatch):
    x = torch.ones(2, 3)
    hidden = []
    torch.vmap(lambda row: hidden.append(tnn.TORCH.unseen((row,))) or row)(x)
    assert hidden == [True] and tnn.TORCH.unseen((x, x.to("meta")))
    monkeypatch.setattr(torch.Tensor, "item", lambda self: pytest.fail("a device is waited for"))
    assert not tnn.TORCH.unseen((x, torch.nn.Parameter(x)))


def test_a_cuda_graph_is_captured_without_a_look_at_values(monkeypatch):
    net = tk.cp((2, 3), 2)
    layer = tnn.TNLinear(4, 4, tk.mpo((2, 2), (2, 2), 2)).eval()
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    for name in ("item", "tolist"):
        monkeypatch.setattr(torch.Tensor, name, lambda self: pytest.fail("a device is waited for"))
    monkeypatch.setattr(torch, "equal", lambda *_: pytest.fail("a device is waited for"))
    tk.log_likelihood(net, {n: torch.ones(s) for n, s in net.array_shapes.items()}, [[0, 1]])
    with torch.no_grad():
        layer(torch.ones(500, 4))
        layer(torch.ones(500, 4))
    assert not is_kept(layer, layer.tn.tensors(), 16)
