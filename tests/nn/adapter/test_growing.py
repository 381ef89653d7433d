"""A trained shallow network becomes a deep one in the middle of its training."""

import pytest
import torch

import tnkit as tk
import tnkit_nn as tknn


def trained(layer, x, y, steps):
    """The losses of some steps of Adam."""
    optimizer, losses = torch.optim.Adam(layer.parameters(), lr=0.01), []
    for _ in range(steps):
        loss = (layer(x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("fn", ["tanh", "sin"])
def test_a_layer_grows_without_a_jump_and_goes_on(fn, dtype):
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(200, 16, generator=draw, dtype=dtype)
    y = torch.tanh(x @ torch.randn(16, 16, generator=draw, dtype=dtype))
    layer = torch.nn.Linear(16, 16, dtype=dtype)
    tknn.parametrize_(layer, "weight", tk.mpo((4, 4), (4, 4), 2), seed=1)
    before = trained(layer, x, y, 300)

    maker = layer.parametrizations.weight[0]
    shallow = (maker.network, maker.tensors())
    deep = tk.circuit(maker.network.shape, [[(0,), (1,), (2, 3)]], fn, start=shallow)
    arrays = tk.init.lifted(deep, shallow, amplitude=0.1)
    tknn.merge_(layer, "weight")
    tknn.parametrize_(layer, "weight", deep, arrays)

    after = trained(layer, x, y, 300)
    assert after[0] == pytest.approx(before[-1], rel=0.01)  # no jump
    assert after[-1] < before[-1] * 0.98  # and on
    assert {n.rpartition(".")[2] for n, _ in layer.named_parameters()} == {*deep.parameters, "bias"}
    assert layer.weight.dtype == dtype
