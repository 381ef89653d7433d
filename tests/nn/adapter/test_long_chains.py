"""A classifier of 64 sites learns from near the identity, where a drawn one has little to learn from."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from data_chains import data_chain  # noqa: E402

import tnkit as tk  # noqa: E402
import tnkit_nn as tknn  # noqa: E402


def learned(arrays, x, y, epochs, rate=1e-3):
    """Accuracy on what is left out."""
    model = tknn.TNModule(data_chain(64, 10, batch=50, classes=10), arrays, dynamic="batch", dtype=torch.float32)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    draw = torch.Generator().manual_seed(1)
    for _ in range(epochs):
        for some in torch.randperm(1400, generator=draw).split(50):
            loss = torch.nn.functional.cross_entropy(model(x[some]), y[some])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        return float((model(x[1400:]).argmax(1) == y[1400:]).float().mean())


@pytest.mark.slow
@pytest.mark.parametrize("features", ["(1, x)", "(cos, sin)"])
def test_five_epochs_from_near_the_identity(features):
    """Measured: 94 % from there with both features; 72 % and 54 % with drawn arrays."""
    from sklearn.datasets import load_digits

    torch.set_num_threads(1)
    found = load_digits()
    order = torch.randperm(len(found.data), generator=torch.Generator().manual_seed(0))
    x, y = torch.tensor(found.data / 16, dtype=torch.float32)[order], torch.tensor(found.target)[order]
    turned = torch.pi / 2 * x
    x = torch.stack([torch.ones_like(x), x] if features == "(1, x)" else [turned.cos(), turned.sin()], -1)
    some = {f"x_{k}": x[:200, k].numpy() for k in range(64)}
    near = learned(
        tk.init.near_identity(data_chain(64, 10, batch=50, classes=10), arrays=some, dtype="float32"), x, y, 5
    )
    assert near > 0.9
    assert learned(None, x, y, 5) < near - 0.1
