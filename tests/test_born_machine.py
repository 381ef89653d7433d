"""examples/born_machine.py: its data, its bound, a short run, and what its committed result says."""

import importlib.util
import json
from math import isfinite, log
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

import tnkit as tk  # noqa: E402

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("example_born_machine", ROOT / "examples/born_machine.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_bars_and_stripes_are_all_there_once(example):
    images = example.bars_and_stripes(4)
    assert len(images) == 2**4 + 2**4 - 2 == len({tuple(x) for x in images})
    for image in images.reshape(-1, 4, 4):
        assert (image == image[:1]).all() or (image == image[:, :1]).all()


def test_independent_pixels_are_those_of_a_product_state(example):
    train, test = example.digits()
    assert train.shape == (1400, 64) and test.shape == (397, 64) and set(np.unique(train)) == {0, 1}
    p = (train.sum(0) + 1) / (len(train) + 2)
    net = tk.mps((2,) * 64, 1)
    arrays = {n: np.sqrt([1 - p[k], p[k]]).reshape(net.array_shapes[n]) for k, n in enumerate(net.array_shapes)}
    assert example.nll(net, {n: torch.tensor(a) for n, a in arrays.items()}, test) == pytest.approx(
        example.independent(train, test)
    )


@pytest.mark.slow
def test_the_likelihood_is_trained_towards_the_entropy(example):
    """2 x 2: six images, which rank 4 holds exactly."""
    torch.set_num_threads(1)
    images = example.bars_and_stripes(2)
    net, arrays = example.trained(images, 4, 150, 5e-2)
    assert log(6) <= example.nll(net, arrays, images) < log(6) + 0.05
    values, _ = tk.sample(net, arrays, 500, seed=1)
    known = {tuple(x) for x in images.tolist()}
    assert np.mean([tuple(x) in known for x in values.tolist()]) > 0.95


@pytest.mark.slow
def test_the_example_runs(example, capsys):
    torch.set_num_threads(1)
    found = example.main(small=True)
    json.dumps(found)
    assert all(isfinite(x) for part in ("bars", "digits") for x in found[part].values())
    assert "bars or stripes" in capsys.readouterr().out


def test_the_committed_result(example):
    """No likelihood beyond the entropy, most samples are right ones, and new images are likelier than by independent pixels."""
    found = json.loads((ROOT / "examples/results/born_machine.json").read_text())
    assert found["size"] == example.FULL
    bars, digits = found["bars"], found["digits"]
    assert bars["entropy"] == pytest.approx(log(30)) and bars["entropy"] <= bars["nll"] < bars["entropy"] + 0.3
    assert bars["valid"] > 0.75 and bars["kinds"] == 30
    assert digits["train"] < digits["test"] < digits["independent"] - 2
    assert digits["marginals_off"] < 5 * 0.5 / found["size"]["samples"] ** 0.5
