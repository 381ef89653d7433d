import os
from pathlib import Path

import pytest
import torch
from torch import nn

from tnkit_nn import zoo
from tnkit_nn.storage import read_tensors, replacing, write_tensors

REAL = Path(os.environ.get("TNKIT_DATA", "/nowhere")) / "vgg16-cifar10" / "model.safetensors"

#: Model -> (shape of an input, number of parameters with ten classes, weights of its linear layers).
KNOWN = {
    "mlp": ((64,), 4810, [4096, 640]),
    "fc2": ((1, 28, 28), 407_050, [401_408, 5120]),
    "lenet5": ((1, 28, 28), 61_706, [48_000, 10_080, 840]),
    "alexnet": ((3, 32, 32), 23_471_946, [2**22, 2**24, 40_960]),
    "zfnet": ((3, 32, 32), 24_735_626, [2**22, 2**24, 40_960]),
    "vgg16": ((3, 32, 32), 33_642_442, [2**21, 2**24, 40_960]),
}


def shapes_only(name, classes=10):
    with torch.device("meta"):
        return zoo.build(name, classes)


@pytest.mark.parametrize("name", zoo.ZOO)
def test_shapes_and_counts(name):
    shape, count, linear = KNOWN[name]
    model = shapes_only(name)
    assert sum(p.numel() for p in model.parameters()) == count
    assert [m.weight.numel() for m in model.modules() if isinstance(m, nn.Linear)] == linear
    assert model(torch.empty(2, *shape, device="meta")).shape == (2, 10)
    assert shapes_only(name, 7)(torch.empty(2, *shape, device="meta")).shape == (2, 7)


@pytest.mark.parametrize("name", ["alexnet", "zfnet", "lenet5", "fc2"])
def test_docstrings_list_every_weight(name):
    text, model = zoo.ZOO[name].__doc__, shapes_only(name)
    for p in model.parameters():
        if p.dim() > 1:
            assert f"{p.numel():,}" in text, p.shape
    assert f"{sum(p.numel() for p in model.parameters()):,}" in text


def test_every_model_has_a_recipe():
    assert set(zoo.TRAIN) == set(zoo.ZOO) == set(KNOWN)


def test_start_values_keep_the_signal():
    torch.manual_seed(0)
    model = zoo.alexnet()
    logits = model(torch.randn(8, 3, 32, 32))
    assert 0.2 < logits.std() < 5


def test_unknown_model():
    with pytest.raises(ValueError, match=r"name of the model is one of mlp, fc2, .*, not 'resnet'"):
        zoo.build("resnet")


# -- layers left out ------------------------------------------------------------------------------------------------------
def test_without_joins_the_neighbours_and_keeps_the_rest():
    torch.manual_seed(0)
    model = zoo.lenet5()
    cut = zoo.without(model, "fc1")
    assert {n for n, _ in model.named_children()} - {n for n, _ in cut.named_children()} == {"fc1", "relu1"}
    assert cut.fc2.weight.shape == (84, 400) and model.fc2.weight.shape == (84, 120)
    assert torch.equal(cut.conv1.weight, model.conv1.weight) and cut.conv1.weight is not model.conv1.weight
    assert torch.equal(cut.fc3.weight, model.fc3.weight)
    assert cut(torch.randn(2, 1, 28, 28)).shape == (2, 10)
    both = zoo.without(model, "fc1", "fc2")
    assert both.fc3.weight.shape == (10, 400) and both(torch.randn(2, 1, 28, 28)).shape == (2, 10)


def test_vgg16_without_both_large_layers_is_one_linear_layer_on_the_features():
    cut = zoo.without(shapes_only("vgg16", 100), "classifier.0", "classifier.2")
    assert [n for n, _ in cut.classifier.named_children()] == ["4"]
    assert cut.classifier[0].weight.shape == (100, 512)


def test_what_cannot_be_left_out():
    model = zoo.lenet5()
    assert zoo.without(model, "fc3") is None  # no layer after it
    assert zoo.without(model, "conv1") is None  # no linear layer
    assert zoo.without(model, "relu1") is None
    assert zoo.without(nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)), "0") is None  # values between
    with pytest.raises(ValueError, match="no layer 'fc9'; its linear layers are fc1, fc2, fc3"):
        zoo.without(model, "fc9")


# -- files ----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name, classes", [("lenet5", 10), ("mlp", 3)])
def test_save_and_load(tmp_path, name, classes):
    torch.manual_seed(0)
    model, path = zoo.build(name, classes), tmp_path / "model.safetensors"
    zoo.save(model, path, {"note": "mine"})
    before = torch.random.get_rng_state()
    back = zoo.load(name, path)
    assert torch.equal(torch.random.get_rng_state(), before)  # nothing was drawn
    assert back.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(v, back.state_dict()[n]) for n, v in model.state_dict().items())
    assert read_tensors(path)[1] == {"note": "mine"}
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


def test_float16_comes_back_as_float32(tmp_path):
    model = zoo.mlp()
    write_tensors(tmp_path / "m", {n: v.half() for n, v in model.state_dict().items()})
    back = zoo.load("mlp", tmp_path / "m")
    assert all(p.dtype == torch.float32 for p in back.parameters())
    assert torch.equal(back.fc1.weight, model.fc1.weight.half().float())


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "m"
    with pytest.raises(FileNotFoundError, match="m: no such file"):
        zoo.load("mlp", path)
    path.write_bytes(b"not a model")
    with pytest.raises(ValueError, match="m: not a safetensors file, or a damaged one"):
        zoo.load("mlp", path)
    values = dict(zoo.mlp().state_dict())
    write_tensors(path, values | {"fc1.weight": torch.zeros(64, 63), "odd": torch.zeros(2)})
    with pytest.raises(
        ValueError,
        match=r"m: the file is not of a model mlp: odd is not the model's; fc1.weight is \(64, 63\), not \(64, 64\)",
    ):
        zoo.load("mlp", path)
    zoo.save(zoo.lenet5(), path)
    with pytest.raises(ValueError, match=r"fc3.weight is not the model's|and \d+ more"):
        zoo.load("mlp", path)
    zoo.save(zoo.mlp(), path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match="a damaged one"):
        zoo.load("mlp", path)


def test_tied_weights_are_written_each_in_full(tmp_path):
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    model[1].weight = model[0].weight
    zoo.save(model, tmp_path / "m")
    assert torch.equal(read_tensors(tmp_path / "m")[0]["1.weight"], model[0].weight)


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    (tmp_path / "m").write_text("old")
    with pytest.raises(RuntimeError), replacing(tmp_path / "m") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert (tmp_path / "m").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(not REAL.is_file(), reason="TNKIT_DATA names no folder with vgg16-cifar10")
def test_a_trained_vgg16_loads():
    model = zoo.load("vgg16", REAL)
    assert model.features[0].weight.dtype == torch.float32
    assert model.eval()(torch.randn(2, 3, 32, 32)).isfinite().all()
