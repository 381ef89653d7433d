"""examples/adapters.py: what is trained in each way, where it starts, and that its committed result is of the full size."""

import importlib.util
import json
from math import isfinite
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("example_adapters", ROOT / "examples/adapters.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def ways(module):
    return (*module.CONTROLS, *module.FAMILIES)


@pytest.mark.slow
def test_every_way_starts_at_the_trained_model_with_a_head_of_zeros(example):
    torch.manual_seed(0)
    model, x = example.Digits(), torch.rand(5, 64)
    want = model.second(model.first(x).relu())
    for way in ways(example):
        mine = example.prepared(model, way, 512, 0)
        torch.testing.assert_close(mine.second(mine.first(x).relu()), want, rtol=0, atol=1e-6)
        assert not mine(x).any()
        trained = {n for n, p in mine.named_parameters() if p.requires_grad}
        kept = {n for n in trained if n.startswith(("first.", "second.")) and ".0." not in n}
        assert {"head.weight", "head.bias"} <= trained or way == "nothing"
        assert bool(kept) == (way == "all weights")
        assert any(".0." in n for n in trained) == (way in example.FAMILIES)


def test_adapters_have_the_count_that_is_asked(example):
    for way in example.FAMILIES:
        mine = example.prepared(example.Digits(), way, 512, 0)
        for name in example.HIDDEN:
            net = mine.get_submodule(name).parametrizations.weight[0]
            assert 0.7 * 512 < sum(p.numel() for p in net.parameters()) <= 1.05 * 512, (way, name)


def test_no_image_is_in_two_parts(example):
    before, after = example.parts()
    images = [x for parts in (before, after) for x, _ in parts.values()]
    assert sum(map(len, images)) == 1797
    assert {int(k) for _, y in (*before.values(), *after.values()) for k in y} == set(range(5))


@pytest.mark.slow
def test_the_example_runs(example, capsys):
    torch.set_num_threads(1)
    found = example.main(small=True)
    assert len(found["records"]) == example.SMALL["seeds"] * len(ways(example))
    assert all(isfinite(r["test"]) and 0 <= r["test"] <= 1 for r in found["records"])
    text = capsys.readouterr().out
    assert all(way in text for way in ways(example))
    json.dumps(found)


def test_the_committed_result_is_of_the_full_size(example):
    records = json.loads((ROOT / "examples/results/adapters.json").read_text())["records"]
    assert example.FULL["seeds"] >= 3
    assert [(r["seed"], r["way"]) for r in records] == [
        (seed, way) for seed in range(example.FULL["seeds"]) for way in ways(example)
    ]
    assert {r["rate"] for r in records if r["way"] != "nothing"} <= set(example.FULL["rates"])
    for way in example.FAMILIES:
        mine = example.prepared(example.Digits(), way, example.FULL["budget"], 0)
        counts = [p.numel() for n, p in mine.named_parameters() if p.requires_grad and not n.startswith("head.")]
        assert {r["parameters"] for r in records if r["way"] == way} == {sum(counts)}
