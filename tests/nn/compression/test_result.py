"""Files of compressed models: damaged ones are refused by name, and the model given stays as it was."""

import base64
import copy
import json
import zlib
from collections import OrderedDict

import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from torch import nn
from torch.nn.utils import parametrizations, parametrize

import tnkit as tk
from tnkit_nn.adapter.parametrize import parametrize_
from tnkit_nn.compression.result import dense, load_compressed_, networks, save_compressed


def model():
    torch.manual_seed(0)
    return nn.Sequential(OrderedDict(fc1=nn.Linear(12, 16), act=nn.ReLU(), fc2=nn.Linear(16, 8), fc3=nn.Linear(8, 3)))


@pytest.fixture
def parts(tmp_path):
    """A compressed model's file, without its seal: path, tensors, networks as plain data."""
    made, path = model(), tmp_path / "m.safetensors"
    parametrize_(made.fc1, "weight", tk.tt((16, 12), 3))
    parametrize_(made.fc2, "weight", tk.mpo((4, 2), (4, 4), 2))
    save_compressed(made, path)
    with safe_open(path, "pt") as file:
        tensors, texts = {k: file.get_tensor(k).clone() for k in file.keys()}, file.metadata()  # noqa: SIM118
    assert texts.keys() == {"tnkit.networks", "tnkit.weights", "tnkit.sha256"}
    return path, tensors, json.loads(zlib.decompress(base64.b85decode(texts["tnkit.networks"])))


def packed(x):
    text = x if isinstance(x, str) else json.dumps(x)
    return base64.b85encode(zlib.compress(text.encode())).decode()


def state(m):
    params = [(n, id(p), p.requires_grad) for n, p in m.named_parameters()]
    return params, [(n, id(x), type(x), list(x._forward_hooks)) for n, x in m.named_modules()]


def refused(path, message):
    given = model()
    given.fc3.requires_grad_(False)
    given.fc2.register_forward_hook(lambda *_: None)
    before, values = state(given), copy.deepcopy(given.state_dict())
    with pytest.raises(ValueError, match=message) as error:
        load_compressed_(given, path)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)
    assert state(given) == before
    assert all(torch.equal(v, values[n]) for n, v in given.state_dict().items())


CORE = "fc1.parametrizations.weight.0.core_0"

TENSORS = {
    "missing": (lambda t: {k: v for k, v in t.items() if k != CORE}, "the network of 'fc1.weight' has an array 'core_0', the file has none"),
    "a bias missing": (lambda t: {k: v for k, v in t.items() if k != "fc3.bias"}, "not of this model: fc3.bias is missing"),
    "extra": (lambda t: t | {"x": torch.zeros(3)}, "not of this model: x is not the model's"),
    "nan": (lambda t: t | {CORE: t[CORE] * float("nan")}, "core_0 has entries that are not a number"),
    "whole": (lambda t: t | {CORE: t[CORE].long()}, "core_0 is torch.int64, not torch.float32"),
    "complex": (lambda t: t | {CORE: t[CORE].cfloat()}, "core_0 is torch.complex64, not torch.float32"),
    "shape": (lambda t: t | {CORE: torch.zeros(3)}, r"array 'core_0' of the network of 'fc1.weight' is \(3,\), not \(16, 3\)"),
}  # fmt: skip


def sized(net, size):
    return net | {"sizes": dict.fromkeys(net["sizes"], size)}


NETWORKS = {
    "a list": (lambda n: [], r"its networks are \[\], not named ones"),
    "null": (lambda n: None, "its networks are None, not named ones"),
    "deep": (lambda n: "[" * 100_000 + "]" * 100_000, "nested too deep"),
    "no JSON": (lambda n: "{", "no JSON"),
    "a number": (lambda n: n | {"fc1.weight": 7}, "the network of 'fc1.weight': from_json: the document is 7, not dict"),
    "huge": (lambda n: n | {"fc1.weight": sized(n["fc1.weight"], 10**12)}, r"is \(16, 3\), not \(1000000000000, 1000000000000\)"),
    "of no module": (lambda n: n | {"__class__.weight": n["fc1.weight"]}, "'__class__.weight'"),
    "of no layer": (lambda n: n | {"fc9.weight": n["fc1.weight"]}, "the network of 'fc9.weight' has an array 'core_0', the file has none"),
    "no name": (lambda n: n | {"weight": n["fc1.weight"]}, "the network of 'weight'"),
    "one fewer": (lambda n: {k: v for k, v in n.items() if k != "fc1.weight"}, "not of this model: fc1.weight is missing"),
    "swapped": (lambda n: dict(zip(n, list(n.values())[::-1], strict=True)), "the network of 'fc1.weight'"),
}  # fmt: skip


@pytest.mark.parametrize("case", TENSORS)
def test_tensors_that_are_not_the_models(parts, case):
    path, tensors, nets = parts
    change, message = TENSORS[case]
    path.write_bytes(safetensors.torch.save(change(tensors), {"tnkit.networks": packed(nets)}))
    refused(path, message)


@pytest.mark.parametrize("case", NETWORKS)
def test_networks_that_are_none(parts, case):
    path, tensors, nets = parts
    change, message = NETWORKS[case]
    path.write_bytes(safetensors.torch.save(tensors, {"tnkit.networks": packed(change(nets))}))
    refused(path, message)


@pytest.mark.parametrize("layer", ["__class__", "fc9", "fc1.bias"])
def test_a_layer_that_is_not_there(parts, layer):
    path, tensors, nets = parts
    more = {k.replace("fc1", layer, 1): v.clone() for k, v in tensors.items() if "fc1.par" in k}
    text = packed(nets | {f"{layer}.weight": nets["fc1.weight"]})
    path.write_bytes(safetensors.torch.save(tensors | more, {"tnkit.networks": text}))
    refused(path, f"not of this model: it has no dense weight '{layer}.weight'")


def test_a_weight_of_another_size_that_the_network_would_fill_too(tmp_path):
    made = nn.Sequential(OrderedDict(fc=nn.Linear(97, 8)))
    parametrize_(made.fc, "weight", tk.tt((8, 10, 10), 3))
    save_compressed(made, tmp_path / "m")
    other = nn.Sequential(OrderedDict(fc=nn.Linear(98, 8)))
    with pytest.raises(
        ValueError, match=r"not of this model: fc.weight is \(8, 97\) in the file, \(8, 98\) in the model"
    ):
        load_compressed_(other, tmp_path / "m")
    assert type(other.fc) is nn.Linear


@pytest.mark.parametrize(
    "text", ["3", "[]", '{"fc1.weight": 3}', '{"fc1.weight": {"shape": 3}}', '{"fc1.weight": {"others": 3}}']
)
def test_what_a_file_says_of_its_weights(parts, text):
    path, tensors, nets = parts
    path.write_bytes(safetensors.torch.save(tensors, {"tnkit.networks": packed(nets), "tnkit.weights": text}))
    refused(path, "damaged, what it says of ('fc1.weight'|its weights) is ")


@pytest.mark.slow
def test_a_text_that_unpacks_without_end_is_not_unpacked(parts):
    path, tensors, _ = parts
    path.write_bytes(safetensors.torch.save(tensors, {"tnkit.networks": packed(" " * 300_000_000 + "{}")}))
    refused(path, "larger than 134,217,728 bytes of text")


def test_a_file_of_an_older_version_has_no_digest_and_loads(parts):
    path, tensors, nets = parts
    path.write_bytes(safetensors.torch.save(tensors, {"tnkit.networks": packed(nets)}))
    made = load_compressed_(model(), path)
    assert (
        all(torch.equal(v, tensors[n]) for n, v in made.state_dict().items()) and networks(path).keys() == nets.keys()
    )


@pytest.mark.parametrize("at", [-1, -200, 3])
def test_one_bit(parts, at):
    path, *_ = parts
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    refused(path, "damaged")
    with pytest.raises(ValueError, match="damaged"):
        networks(path)


def test_equal_models_are_equal_files(parts, tmp_path):
    path, *_ = parts
    made = load_compressed_(model(), path)
    for k in range(8):  # the library has an order of its own each time
        save_compressed(made, tmp_path / str(k))
        assert (tmp_path / str(k)).read_bytes() == path.read_bytes()


def test_parametrizations_of_others_stay(tmp_path):
    made, path = model(), tmp_path / "m"
    parametrizations.weight_norm(made.fc3)
    original = copy.deepcopy(made)
    parametrize_(made.fc1, "weight", tk.tt((16, 12), 3))
    x = torch.ones(2, 12)
    save_compressed(made, path)
    assert torch.equal(load_compressed_(original, path)(x), made(x)) and list(networks(path)) == ["fc1.weight"]
    plain = dense(made)
    assert parametrize.is_parametrized(plain.fc3) and not parametrize.is_parametrized(plain.fc1)
    assert torch.equal(plain(x), made(x))
    parametrize.register_parametrization(made.fc1, "weight", nn.Identity())
    save_compressed(made, path)
    with pytest.raises(ValueError, match=r"upon 'fc1.weight' stands Identity in the file, nothing in the model"):
        load_compressed_(parametrizations_of_theirs(model()), path)
    given = parametrizations_of_theirs(model())
    parametrize.register_parametrization(given.fc1, "weight", nn.Identity())
    assert torch.equal(load_compressed_(given, path)(x), made(x))


def parametrizations_of_theirs(made):
    parametrizations.weight_norm(made.fc3)
    return made


def test_a_change_that_fails_half_way_is_undone(parts, monkeypatch):
    path, *_ = parts
    given = model()
    before, values, calls = state(given), copy.deepcopy(given.state_dict()), []

    def fails(*args, **options):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return parametrize_(*args, **options)

    monkeypatch.setattr("tnkit_nn.placing.parametrize_", fails)
    with pytest.raises(KeyboardInterrupt):
        load_compressed_(given, path)
    assert state(given) == before and all(torch.equal(v, values[n]) for n, v in given.state_dict().items())
