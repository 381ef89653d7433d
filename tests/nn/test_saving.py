"""Models with networks in them as folders: the same outputs in a new process; other models and damaged files are refused by name."""

import copy
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import tnkit as tk
import tnkit_nn as tknn
from tnkit_nn.placing import networks_of
from tnkit_nn.storage import write_record

from .models import MODELS, Resnet

ROOT = Path(__file__).parents[2]


def drawn(make, seed=0):
    torch.manual_seed(seed)
    return make().eval()


def mixed():
    """A layer of ours, one beneath a spectral norm, one that keeps statistics, and plain ones."""
    return nn.Sequential(
        nn.Linear(97, 24), tknn.TNLinear(24, 16, tk.mpo((4, 4), (6, 4), 2)), parametrizations.spectral_norm(nn.Linear(16, 12)),
        nn.BatchNorm1d(12), nn.Linear(12, 8), nn.Linear(8, 5),
    )  # fmt: skip


def saved(folder):
    model = drawn(mixed)
    tknn.tensorize_(
        model, {"0": "mpo", "2": "tt", "4": tk.adtn((8, 12), depth=2, dim=2, share=1)}, budget=0.4, fit=False
    )
    model[5].requires_grad_(False)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.01)
    model[3].running_mean.fill_(0.5)
    tknn.save(model, folder)
    return model


@pytest.fixture
def folder(tmp_path):
    saved(tmp_path / "m")
    return tmp_path / "m"


def state(model):
    params = [(n, id(p), p.requires_grad) for n, p in model.named_parameters()]
    return params, [(n, id(m), type(m), m.training) for n, m in model.named_modules()]


def refused(folder, message, given=None):
    """The model given stays as it was."""
    given = drawn(mixed, 1) if given is None else given
    before, values = state(given), copy.deepcopy(given.state_dict())
    with pytest.raises(ValueError, match=message) as error:
        tknn.load(folder, given)
    assert str(folder) in str(error.value) and "\n" not in str(error.value)
    assert state(given) == before and all(torch.equal(v, values[n]) for n, v in given.state_dict().items())


@pytest.mark.parametrize("name", MODELS)
def test_outputs_are_equal_bit_by_bit(name, tmp_path):
    make, example = MODELS[name]
    model = drawn(make)
    tknn.tensorize_(model, {"*": "tt"}, budget=0.2, fit=False)
    tknn.save(model, tmp_path)
    made = tknn.load(tmp_path, lambda: drawn(make, 1))
    with torch.no_grad():
        x = example()
        assert torch.equal(made(x), model(x))
    assert {n: p.network for n, p in networks_of(made).items()} == {n: p.network for n, p in networks_of(model).items()}
    assert made.state_dict().keys() == model.state_dict().keys()


@pytest.mark.slow
def test_a_new_process_computes_the_same(tmp_path):
    model = drawn(Resnet)
    tknn.tensorize_(model, {"block.*": "adtn", "stem": "cp"}, budget=0.2, fit=False)
    tknn.save(model, tmp_path / "m")
    x = torch.randn(2, 3, 8, 8)
    script = (
        "import sys, torch, tnkit_nn as tknn\n"
        "from tests.nn.models import Resnet\n"
        "model = tknn.load(sys.argv[1], Resnet).eval()\n"
        "torch.save(model(torch.load(sys.argv[2])).detach(), sys.argv[3])\n"
    )
    torch.save(x, tmp_path / "x")
    search = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    paths = [str(tmp_path / n) for n in ("m", "x", "y")]
    subprocess.run(
        [sys.executable, "-c", script, *paths],
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": search},
        timeout=300,
    )
    with torch.no_grad():
        assert torch.equal(torch.load(tmp_path / "y"), model(x))


def test_everything_of_a_model_comes_back(tmp_path):
    model = saved(tmp_path / "m")
    made = tknn.load(tmp_path / "m", lambda: drawn(mixed, 1))
    x = torch.randn(4, 97)
    assert torch.equal(made(x), model(x))
    assert all(torch.equal(v, made.state_dict()[n]) for n, v in model.state_dict().items())
    assert [(n, p.requires_grad) for n, p in made.named_parameters()] == [
        (n, p.requires_grad) for n, p in model.named_parameters()
    ]
    assert list(networks_of(made)["2.weight"].others) == ["_SpectralNorm"]
    made.train()(x).square().mean().backward()
    assert all(p.grad is not None for p in made.parameters() if p.requires_grad)
    again = tknn.load(tmp_path / "m", made.eval())  # a model that has these networks already
    assert again is made and torch.equal(made(x), model(x))


def test_what_is_written(folder):
    names = sorted(path.name for path in folder.iterdir())
    assert [name.partition("-")[0] for name in names] == ["manifest.json", "model", "networks"]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["versions"].keys() == {"tnkit", "torch", "numpy", "python"} and set(
        manifest["files"].values()
    ) == set(names[1:])
    assert not any(b"torch" in path.read_bytes()[:2] or path.read_bytes()[:1] == b"\x80" for path in folder.iterdir())
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for again in (
        folder,
        folder / "a" / "b",
    ):  # equal models are equal folders, one that is made with those above it too
        saved(again)
        assert {path.name: path.read_bytes() for path in again.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("stop", ["model-", "networks-", "manifest"])
@pytest.mark.parametrize("there", [True, False])
def test_an_interrupted_save_leaves_what_was_there(tmp_path, stop, there, monkeypatch):
    folder, other = tmp_path / "m", drawn(mixed, 1)
    model = saved(folder) if there else None
    before = {path.name: path.read_bytes() for path in folder.iterdir()} if there else {}
    replace = os.replace

    def fails(source, target):
        if Path(target).name.startswith(stop):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr("os.replace", fails)
    with pytest.raises(OSError, match="No space left on device"):
        tknn.save(other, folder)
    monkeypatch.undo()
    assert folder.exists() == there
    if there:
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
        tknn.save(other, folder)
        assert len(list(folder.iterdir())) == 3
        x = torch.ones(2, 97)
        assert torch.equal(tknn.load(folder, lambda: drawn(mixed, 2))(x), other(x)) and not torch.equal(
            model(x), other(x)
        )


# -- what is refused -----------------------------------------------------------------------------------------------------
def files(folder):
    return {path.name.partition("-")[0].removesuffix(".json"): path for path in folder.iterdir()}


@pytest.mark.parametrize("file", ["manifest", "model", "networks"])
@pytest.mark.parametrize("change", ["bit", "cut", "gone"])
def test_damaged_files(folder, file, change):
    path = files(folder)[file]
    content = path.read_bytes()
    if change == "gone":
        path.unlink()
        if file == "manifest":
            with pytest.raises(FileNotFoundError, match=r"no saved model: it has no manifest.json"):
                tknn.load(folder, drawn(mixed))
            return
    else:
        at = len(content) // 2
        path.write_bytes(
            content[:at] if change == "cut" else content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        )
    refused(folder, rf"{path.name}: .*damaged")


def test_files_of_two_models_are_no_model(folder, tmp_path):
    other = drawn(mixed, 5)
    tknn.tensorize_(other, {"0": "tt"}, budget=0.4, fit=False)
    tknn.save(other, tmp_path / "other")
    ours, theirs = files(folder), files(tmp_path / "other")
    ours["model"].write_bytes(theirs["model"].read_bytes())
    refused(folder, "model-.*damaged, its content is not what was written")


def resealed(folder, change, networks=None):
    """The manifest with something changed, and with a seal that is right."""
    path = folder / "manifest.json"
    manifest = {k: v for k, v in json.loads(path.read_text()).items() if k != "seal"}
    if networks is not None:
        text = json.dumps(networks).encode()
        name = f"networks-{hashlib.sha256(text).hexdigest()[:16]}.json"
        (folder / name).write_bytes(text)
        change = {**change, "files": {**manifest["files"], "networks": name}}
    write_record(path, "a saved model", manifest | change)


@pytest.mark.parametrize("change", [{"ties": ["ab"]}, {"ties": [7]}, {"ties": [["a", 1]]}, {"frozen": [0]}], ids=str)
def test_a_manifest_whose_names_are_none(folder, change):
    resealed(folder, change)
    refused(folder, "manifest.json: damaged, it has .* where names of parameters stand")


def test_a_manifest_that_names_other_files(folder):
    resealed(folder, {"files": {"tensors": "../../secret", "networks": "x"}})
    refused(folder, "manifest.json: damaged, its file of tensors is '../../secret'")
    resealed(folder, {"format": 2})
    refused(folder, "manifest.json: of format 2, which a later version of tnkit writes; this one reads 1")
    resealed(folder, {"format": 1, "files": {}, "ties": [3]})
    refused(folder, "manifest.json: damaged, its file of tensors is None")


@pytest.mark.parametrize(
    "networks, message",
    [
        ([], r"damaged, it is \[\], without networks, weights, modules"),
        ({"networks": {}, "weights": {"0.weight": 3}, "modules": {}}, "damaged, what it says of '0.weight' is 3"),
        ({"networks": {}, "weights": {}, "modules": {"1.tn": "7"}}, "damaged, the network of '1.tn' is '7', which is none of its networks"),
        ({"networks": {"0": 3}, "weights": {}, "modules": {"1.tn": "0"}}, "damaged, the network of '1.tn': from_json: the document is 3"),
        ({"networks": {}, "weights": {}, "modules": {}}, "not of this model: 0.weight is missing; 2.parametrizations.weight.original is missing"),
    ],
)  # fmt: skip
def test_networks_that_are_none(folder, networks, message):
    resealed(folder, {}, networks)
    refused(folder, message)


def changed(k, layer):
    def make():
        model = drawn(mixed, 1)
        model[k] = layer() if layer is not None else nn.Identity()
        return model.eval()

    return make


WRONG = {
    "another size": (changed(0, lambda: nn.Linear(64, 24)), r"0.weight is \(24, 97\) in the file, \(24, 64\) in the model"),
    "no layer": (changed(4, None), "it has no dense weight '4.weight'"),
    "no norm": (changed(2, lambda: nn.Linear(16, 12)), "upon '2.weight' stands _SpectralNorm in the file, nothing in the model"),
    "another norm": (changed(2, lambda: parametrizations.orthogonal(nn.Linear(16, 12))), "stands _SpectralNorm in the file, _Orthogonal in the model"),
    "another network": (changed(1, lambda: tknn.TNLinear(24, 16, tk.mpo((4, 4), (6, 4), 3))), r"the network of '1' is Network\(.*, 80 params\) in the file, Network\(.*, 120 params\)"),
    "a dense layer": (changed(1, lambda: nn.Linear(24, 16)), "'1' has the network .* in the file, and none in the model"),
    "another plain layer": (changed(5, lambda: nn.Linear(8, 6)), r"5.weight is \(5, 8\), not \(6, 8\)"),
    "no bias": (changed(5, lambda: nn.Linear(8, 5, bias=False)), "5.bias is not the model's"),
    "another dtype": (lambda: drawn(mixed).double(), r"0.bias is torch.float32 in the file, torch.float64 in the model; .* and \d+ more"),
    "ties": (lambda: tie(drawn(mixed)), "2.bias, 3.bias are tied in the model alone"),
}  # fmt: skip


def tie(model):
    model[3].bias = model[2].bias
    return model


@pytest.mark.parametrize("case", WRONG)
def test_another_model(folder, case):
    make, message = WRONG[case]
    refused(folder, f"^load: {folder}: not of this model: .*{message}", make())


def test_what_is_no_factory(folder):
    for factory, error, message in (
        (lambda: 1 / 0, ValueError, r"load: factory\(\), without arguments, fails: ZeroDivisionError: division"),
        (nn.Linear, ValueError, r"load: factory\(\), without arguments, fails: TypeError: .*missing 2"),
        (lambda: 3, TypeError, "load: what factory gives is an nn.Module, not 3"),
        (
            3,
            TypeError,
            "load: factory is a function without arguments that gives the dense model, or that model, not 3",
        ),
        (lambda: mixed().to("meta"), ValueError, "load: '0.weight' of the factory's model is on the meta device"),
        (lambda: nn.LazyLinear(3), ValueError, "load: 'weight' of the factory's model has no shape yet"),
    ):
        with pytest.raises(error, match=message):
            tknn.load(folder, factory)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        tknn.load(folder / "no", mixed)
    with pytest.raises(FileNotFoundError, match="is a file, no folder"):
        tknn.load(next(folder.glob("*.safetensors")), mixed)


def test_what_cannot_be_saved(tmp_path):
    class Counting(nn.Linear):
        def get_extra_state(self):
            return {"steps": 3}

    def own(xp, x):
        return x

    layer = nn.Linear(4, 4)
    tknn.parametrize_(layer, "weight", tk.low_rank((4, 4), 1).activate(own, "f"))
    for model, message in (
        (Counting(2, 2), "save: a file holds tensors, but '_extra_state' of the model's state is {'steps': 3}"),
        (nn.LazyLinear(3), "save: 'weight' of the model has no shape yet"),
        (nn.Linear(2, 2, device="meta"), "save: 'weight' of the model's state has values, not a shape alone"),
        (layer, "save: the network of 'weight': "),
    ):
        with pytest.raises(ValueError, match=message) as told:
            tknn.save(model, tmp_path / "m")
        assert "\n" not in str(told.value) and not (tmp_path / "m").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x.txt").write_text("mine")
    with pytest.raises(
        ValueError, match=r"save: folder is new, empty, or that of a model saved before, but .*mine holds 'x.txt'"
    ):
        tknn.save(nn.Linear(2, 2), tmp_path / "mine")
    with pytest.raises(NotADirectoryError, match="save: folder is a folder"):
        tknn.save(nn.Linear(2, 2), tmp_path / "mine" / "x.txt")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64, torch.complex64])
def test_dtypes_stay(dtype, tmp_path):
    model = drawn(lambda: nn.Sequential(nn.Linear(8, 8, dtype=dtype), nn.Linear(8, 4, dtype=dtype)))
    tknn.tensorize_(model, {"0": "low_rank"}, budget=32, fit=False)
    tknn.save(model, tmp_path)
    made = tknn.load(
        tmp_path, lambda: drawn(lambda: nn.Sequential(nn.Linear(8, 8, dtype=dtype), nn.Linear(8, 4, dtype=dtype)), 1)
    )
    x = torch.randn(3, 8, dtype=dtype)
    assert torch.equal(made(x), model(x)) and made[0].weight.dtype == dtype
