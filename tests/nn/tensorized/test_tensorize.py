"""Weights of models of many kinds as networks: what is replaced, what stays, what is reported, what is refused."""

import copy
import html
import re
import warnings
from math import prod

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

import tnkit as tk
import tnkit_nn as tknn
from tnkit_nn.families import Family
from tnkit_nn.placing import networks_of, original
from tnkit_nn.tensorized.sharing import shared
from tnkit_nn.weights import weights_of

from ..models import MODELS, Gpt, Resnet, Tagger, transformer


def drawn(make, seed=0):
    torch.manual_seed(seed)
    return make().eval()


def by_hand(model, dense):
    """What the dense model computes with the weights of its networks, contracted by numpy from the arrays in the state dict."""
    state = model.state_dict()
    for placed in networks_of(model).values():
        arrays = {}
        owner, _, leaf = placed.names[0].rpartition(".")
        for array in placed.network.parameters:
            arrays[array] = state[f"{owner}.parametrizations.{leaf}.0.{array}"].double().numpy()
        target = dense.get_parameter(placed.names[0])
        with torch.no_grad():
            target.copy_(torch.from_numpy(tk.detensorize(tk.contract(placed.network, arrays), target.shape)))
    return dense


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_every_weight_of_a_model_at_a_tenth(name):
    make, example = MODELS[name]
    model = drawn(make)
    dense, before = copy.deepcopy(model), dict(model.named_parameters())
    report = tknn.tensorize_(model, {"*": "mpo"}, budget=0.1, fit=False)
    with torch.no_grad():
        x = example()
        close(model(x), by_hand(model, dense)(x))
    known = weights_of(dense)
    assert [row.names[0] for row in report.rows] == [n for n in known if n not in report.left] and not report.others
    for row in report.rows:
        assert row.shape == tuple(known[row.names[0]].shape) and row.params_before == known[row.names[0]].numel()
        assert row.within or row.names[0].removesuffix(".weight") in str(report)
        assert row.budget == round(0.1 * row.params_before) and abs(row.params_after - row.budget) <= max(
            3, 0.3 * row.budget
        )
    vectors = [n for n in before if n not in known]
    assert vectors and all(dict(model.named_parameters())[n] is before[n] for n in vectors)
    assert report.params_after == report.trained == sum(p.numel() for p in model.parameters())
    assert report.params_before == sum(p.numel() for p in before.values())
    model.train()
    model(x).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("total", [3000, 0.15])
@pytest.mark.parametrize("name", MODELS)
def test_a_total_is_met(name, total):
    model = drawn(MODELS[name][0])
    size = sum(p.numel() for p in weights_of(model).values())
    report = tknn.tensorize_(model, {"*": "tt"}, total=total, fit=False)
    asked = total if isinstance(total, int) else round(total * size)
    assert report.total == asked and not report.left
    assert abs(sum(row.params_after for row in report.rows) - asked) <= 0.05 * asked
    assert f"asked for: {asked:,})" in str(report)


class Count:
    def __init__(self, net):
        self.net = self
        self.num_params = net


def steps(*counts):
    """A family of these counts: the largest within the budget, else the smallest."""
    return lambda budget: Count(max((n for n in counts if n <= budget), default=min(counts)))


def counts(found):
    return {name: made.num_params for name, (_, made) in found.items()}


def test_a_total_is_shared_in_proportion_to_the_sizes():
    shapes = {"a": (10, 10), "b": (30, 10), "c": (2, 300)}
    makes = dict.fromkeys(shapes, Count)
    assert counts(shared(200, shapes, makes)) == {"a": 20, "b": 60, "c": 120}
    assert counts(shared(5000, shapes, makes)) == {"a": 100, "b": 300, "c": 600}
    # b needs 100 at least: the others share 100, one to six
    assert counts(shared(200, shapes, makes | {"b": steps(100, 250)})) == {"a": 14, "b": 100, "c": 86}
    # what c cannot use goes to those that can
    assert counts(shared(200, shapes, makes | {"c": steps(1, 50, 150)})) == {"a": 20, "b": 130, "c": 50}
    assert shared(200, {}, {}) == {}


def test_the_first_pattern_that_selects_a_weight_counts():
    model = drawn(transformer)
    families = {
        "layers.0.linear1": "low_rank",
        "*.in_proj_weight": Family("mine", "mine", lambda s, b: tk.low_rank(s, 1)),
        "layers.*": "tt",
    }
    report = tknn.tensorize_(model, families, budget=300, fit=False)
    labels = {row.names[0]: row.family for row in report.rows}
    assert labels.pop("layers.0.linear1.weight") == "low_rank"
    assert labels.pop("layers.0.self_attn.in_proj_weight") == labels.pop("layers.1.self_attn.in_proj_weight") == "mine"
    assert len(labels) == 5 and set(labels.values()) == {"tt"}


def test_arrays_are_approximations():
    model = drawn(lambda: nn.Sequential(nn.Linear(24, 16), nn.Linear(16, 12)))
    weight = model[0].weight.detach().clone()
    best = np.linalg.svd(weight.numpy())[1]
    report = tknn.tensorize_(model, {"0": "low_rank"}, budget=200, fit="svd")
    off = float((model[0].weight.detach() - weight).norm() / weight.norm())
    assert report.rows[0].error == pytest.approx(off) and report.rows[0].method == "svd"
    assert off == pytest.approx(np.sqrt((best[5:] ** 2).sum() / (best**2).sum()), rel=1e-4)  # Eckart and Young
    assert tknn.tensorize_(model, {"1": "low_rank"}, budget=28, fit=False).rows[0].error > 1


@pytest.mark.parametrize("family", ["adtn", "circuit", "cp", "ring", "tucker", "tree", "low_rank"])
def test_prime_sizes_are_padded_and_said(family):
    model = drawn(Resnet)
    weight = model.block.conv1.weight.detach().clone()
    report = tknn.tensorize_(model, {"block.*": family}, budget=0.1, fit=False)
    assert model.block.conv1.weight.shape == weight.shape
    for row in report.rows:
        net = networks_of(model)[row.names[0]].network
        assert bool(row.padding) == (prod(net.shape) > row.params_before)
        assert not row.padding or f"padded: {row.names[0].removesuffix('.weight')}: {row.padding}" in str(report)
    assert family == "low_rank" or all(row.padding for row in report.rows)
    assert model(torch.ones(1, 3, 8, 8)).isfinite().all()


class Halves(nn.Module):
    """Two tensors of the weight's shape: neither is the weight."""

    def forward(self, a, b):
        return a + b

    def right_inverse(self, weight):
        return weight / 2, weight / 2


def test_what_others_have_put_upon_a_weight_stays():
    model = drawn(lambda: nn.Sequential(*(nn.Linear(16, 16) for _ in range(4))))
    parametrizations.spectral_norm(model[0])
    parametrizations.weight_norm(model[1])
    parametrize.register_parametrization(model[2], "weight", Halves())
    theirs, lengths = model[0].parametrizations.weight[0], model[1].parametrizations.weight.original0.detach().clone()
    kept = model[0].parametrizations.weight.original.detach().clone()
    report = tknn.tensorize_(model, {"0": "low_rank", "1": "low_rank", "3": "tt"}, budget=0.5, fit="svd")
    assert model[0].parametrizations.weight[0] is theirs and len(report.rows) == 3
    inner = original(model, "0.weight").detach()
    assert (
        report.rows[0].error == pytest.approx(float((inner - kept).norm() / kept.norm())) and report.rows[0].error > 0.1
    )
    torch.testing.assert_close(model[0].weight.detach(), inner / (theirs._u @ inner @ theirs._v))
    torch.testing.assert_close(model[1].weight.detach().norm(dim=1, keepdim=True), lengths)
    assert np.linalg.matrix_rank(original(model, "1.weight").detach().numpy(), tol=1e-4) == 4
    for layer, maker in ((2, "Halves"), (3, "Generated")):
        with pytest.raises(
            ValueError, match=rf"^tensorize_: the weight '{layer}.weight' is made by {maker} already; merge_ it"
        ):
            tknn.tensorize_(model, {str(layer): "tt"}, budget=20)
    assert networks_of(model).keys() == {"0.weight", "1.weight", "3.weight"}
    tknn.merge_(model[3], "weight")
    assert not parametrize.is_parametrized(model[3])


def test_what_is_frozen_stays_frozen_and_padding_rows_stay_zero():
    model = drawn(Tagger)
    model.rnn.requires_grad_(False)
    report = tknn.tensorize_(model, {"rnn": "tt", "embedding": "tt"}, budget=0.2, fit=False)
    assert not any(p.requires_grad for n, p in model.named_parameters() if n.startswith("rnn"))
    assert report.trained == sum(p.numel() for p in model.parameters() if p.requires_grad) < report.params_after
    assert not model.embedding.weight[0].any() and model.embedding.weight[1:].any(1).all()


def test_a_network_a_decomposition_and_a_function_of_a_file(tmp_path):
    model = drawn(lambda: nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 8)))
    given = tk.low_rank_svd(model[1].weight.detach().numpy(), rank=2)
    path = tmp_path / "mine.py"
    path.write_text(
        "import tnkit as tk\ndef one(shape, budget):\n    return tk.low_rank(shape, budget // sum(shape))\n"
    )
    net = tk.low_rank((16, 16), 3)
    report = tknn.tensorize_(model, {"0": net, "1": given, "2": f"{path}:one"}, budget=50, fit="svd")
    assert [row.family for row in report.rows] == ["own network", "own network", "one"]
    assert [row.method for row in report.rows] == ["svd", "given", "svd"]
    assert [row.params_after for row in report.rows] == [96, 64, 48] and [r.budget for r in report.rows] == [
        None,
        None,
        50,
    ]
    np.testing.assert_allclose(
        model[1].weight.detach().numpy(), tk.contract(given.network, given.arrays), rtol=1e-5, atol=1e-6
    )
    assert networks_of(model)["0.weight"].network == net


def test_weights_smaller_than_their_networks_are_left_and_said():
    model = drawn(lambda: nn.Sequential(nn.Linear(16, 16), nn.Linear(3, 2), nn.Linear(16, 8)))
    with pytest.warns(UserWarning, match=r"^tensorize_: more parameters than the budget: 0 \(tt: .* of 9\)$"):
        report = tknn.tensorize_(model, {"0": "tt", "1": "mpo"}, budget=9, fit=False)
    assert list(report.left) == ["1.weight"] and type(model[1]) is nn.Linear and report.others == ("2.weight",)
    assert "left as it is: 1 (mpo has no network for its shape (2, 3))" in str(report) and "not selected: 2" in str(
        report
    )
    with pytest.raises(ValueError, match=r"^tensorize_: every weight selected is smaller than its network: mpo has no"):
        tknn.tensorize_(model, {"1": "mpo"}, budget=9)


@pytest.mark.parametrize("pattern", ["wte", "head", "*"])
@pytest.mark.parametrize("padding", [None, 3])
def test_a_tied_weight_is_one_network_for_all_its_owners(pattern, padding):
    model = drawn(lambda: Gpt(padding=padding))
    size = model.wte.weight.numel()
    report = tknn.tensorize_(model, {pattern: "tt"}, budget=0.2, fit=False)
    (row,) = [row for row in report.rows if "wte.weight" in row.names]
    assert row.names == ("wte.weight", "head.weight") and row.params_before == size and "wte = head" in str(report)
    assert model.wte.parametrizations.weight[0].core_0 is model.head.parametrizations.weight[0].core_0
    assert torch.equal(model.wte.weight, model.head.weight)
    saved = sum(r.params_before - r.params_after for r in report.rows)
    assert report.params_before - report.params_after == saved
    tokens = torch.randint(67, (2, 9))
    model.train()(tokens).square().mean().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("name", MODELS)
def test_networks_added_to_the_weights_change_nothing_at_first(name):
    make, example = MODELS[name]
    model = drawn(make)
    dense = copy.deepcopy(model)
    report = tknn.tensorize_(model, {"*": "low_rank"}, budget=0.3, base=True)
    x = example()
    assert torch.equal(model(x), dense(x))  # with gradients: without, a dense Transformer has kernels of its own
    assert all(row.error == 0 and row.method == "zero" for row in report.rows)
    added = sum(row.params_after for row in report.rows)
    assert report.params_after == report.params_before + added
    assert report.trained == report.params_after - sum(row.params_before for row in report.rows)
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    torch.optim.SGD(trained.values(), lr=0.1)
    model.train()(x).square().mean().backward()
    arrays = [p for n, p in trained.items() if ".parametrizations." in n]
    assert any(p.grad.any() for p in arrays) and not any(n.endswith(".original") for n in trained)


def test_the_report_prints_itself():
    model = drawn(transformer)
    report = tknn.tensorize_(model, {"layers.0.linear*": "tt"}, budget=0.1, fit=False)
    lines = str(report).splitlines()
    assert lines[0].split() == ["weight", "shape", "family", "parameters", "compression", "error", "network"]
    row = next(line for line in lines if "layers.0.linear1" in line)
    assert re.search(r"layers.0.linear1 +64x32 +tt +2,048 -> \d+ +\d+\.\dx +\d\.\d{3} +Network", row)
    assert f"whole model: {report.params_before:,} -> {report.params_after:,} parameters" in str(report)
    assert lines[-1].startswith("not selected: layers.0.self_attn.in_proj_weight, ")
    assert html.escape(lines[-1]) in report._repr_html_() and "<table>" in report._repr_html_()


def test_equal_seeds_are_equal_models():
    def made(seed):
        model = drawn(transformer)
        tknn.tensorize_(model, {"*": "ring"}, budget=0.1, fit=False, seed=seed)
        return model.state_dict()

    a, b, c = made(0), made(0), made(1)
    assert all(torch.equal(a[n], b[n]) for n in a) and any(not torch.equal(a[n], c[n]) for n in a)
    twins = [a[f"layers.{k}.linear1.parametrizations.weight.0.core_0"] for k in (0, 1)]
    assert not torch.allclose(twins[0] / twins[0].norm(), twins[1] / twins[1].norm())  # layers alike begin apart


# -- what is refused -----------------------------------------------------------------------------------------------------
def two():
    return nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 8))


REFUSED = {
    "no pattern": (({},), {"budget": 9}, ValueError, "families are one pattern of names or more, each with a family, not none"),
    "a list": ((["0"],), {"budget": 9}, TypeError, r"families map names to values, as a dict does"),
    "no budget": (({"0": "tt"},), {}, ValueError, "budget or total is needed"),
    "both": (({"0": "tt"},), {"budget": 9, "total": 9}, ValueError, "give one of them, not both"),
    "not needed": (({"0": tk.low_rank((16, 16), 1)},), {"total": 9}, ValueError, "total is for families"),
    "a part": (({"0": "tt"},), {"budget": 1.5}, ValueError, r"budget is a whole number of parameters, or a part between 0 and 1, not 1.5"),
    "no layer": (({"0": "tt", "fc": "tt"},), {"budget": 9}, ValueError, "families: no layer 'fc' with a weight; there are 0, 1"),
    "no family": (({"0": "xx"},), {"budget": 9}, ValueError, "family of '0' is one of adtn, .*, not 'xx'"),
    "a class": (({"0": nn.Linear},), {"budget": 9}, TypeError, "family of '0' is a name, a Family, a Network"),
    "no fill": (({"1": tk.low_rank((4, 16), 1)},), {}, ValueError, "layer '1': the network's sizes multiply to the weight's, in order, but"),
    "too large": (({"1": tk.low_rank((8, 16), 8)},), {}, ValueError, r"layer '1': the network given has 192 parameters, its weight of shape \(8, 16\) only 128"),
    "no method": (({"1": "adtn"},), {"budget": 60, "fit": "svd"}, ValueError, "layer .*1"),
    "a method": (({"1": "tt"},), {"budget": 60, "fit": "best"}, ValueError, "fit, unless it is True or False, is one of auto"),
    "a failure": (({"1": lambda shape, budget: 1 / 0},), {"budget": 60}, ValueError, r"family lambda fails for \(8, 16\) and 60: ZeroDivisionError"),
    "an array is missing": (({"0": tk.low_rank((16, 16), 1), "1": (tk.low_rank((8, 16), 1), {"left": np.ones((8, 1))})},), {"fit": False}, ValueError, "tensorize_: layer '1': trained array 'right' is missing"),
    "no array": (({"1": (tk.low_rank((8, 16), 1), {"left": "a", "right": "b"})},), {}, TypeError, "tensorize_: layer '1': array 'left' is a numpy array or a tensor, not 'a'"),
    "no network": (({"1": lambda shape, budget: 3},), {"budget": 60}, TypeError, r"layer '1': family lambda is a function \(shape, budget\) -> Network; .* gives 3"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case):
    args, options, error, message = REFUSED[case]
    model = drawn(two)
    before, values = dict(model.named_parameters()), copy.deepcopy(model.state_dict())
    with pytest.raises(error, match=message) as told:
        tknn.tensorize_(model, *args, **options)
    assert "tensorize_" in str(told.value) and "\n" not in str(told.value)
    assert all(p is before[n] and torch.equal(p, values[n]) for n, p in model.named_parameters())


def test_a_weight_that_is_not_finite_is_named():
    model = drawn(two)
    with torch.no_grad():
        model[1].weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"^tensorize_: layer '1': the approximation: .* entries that are not finite"):
        tknn.tensorize_(model, {"*": "low_rank"}, budget=40, fit="svd")
    assert type(model[0]) is nn.Linear


def test_what_fails_half_way_changes_nothing(monkeypatch):
    model = drawn(lambda: nn.Sequential(parametrizations.spectral_norm(nn.Linear(16, 16)), nn.Linear(16, 8)))
    names = [(n, id(p)) for n, p in model.named_parameters()]
    place, calls = tknn.parametrize_, []

    def fails(*args, **options):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return place(*args, **options)

    monkeypatch.setattr("tnkit_nn.placing.parametrize_", fails)
    with pytest.raises(KeyboardInterrupt):
        tknn.tensorize_(model, {"*": "tt"}, budget=40, fit=False)
    assert len(calls) == 2 and [(n, id(p)) for n, p in model.named_parameters()] == names
    assert model(torch.ones(1, 16)).shape == (1, 8) and len(model[0].parametrizations.weight) == 1


def test_arrays_of_networks_are_no_weights():
    model = drawn(lambda: nn.Sequential(tknn.TNLinear(16, 16, tk.low_rank((16, 16), 2)), nn.Linear(16, 8)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = tknn.tensorize_(model, {"*": "low_rank"}, budget=30, fit=False)
    assert [row.names for row in report.rows] == [("1.weight",)] and list(weights_of(model)) == []


@pytest.mark.parametrize("size", [1e-30, 1e-10, 1.0, 1e30])
@pytest.mark.parametrize(("family", "fit"), [("low_rank", "svd"), ("mpo", False)])
def test_the_error_of_weights_whose_squares_are_no_numbers(size, family, fit):
    model = drawn(lambda: nn.Sequential(nn.Linear(16, 16)))
    with torch.no_grad():
        weight = model[0].weight.mul_(size).double()
    row = tknn.tensorize_(model, {"0": family}, budget=0.5, fit=fit).rows[0]
    off = (model[0].weight.detach().double() - weight).norm() / weight.norm()
    assert row.error == pytest.approx(float(off), rel=1e-4) and row.error > 0.3


@pytest.mark.parametrize("value", [0.0, torch.inf])
def test_drawn_arrays_of_a_weight_without_a_size(value):
    model = nn.Sequential(nn.Linear(8, 8))
    with torch.no_grad():
        model[0].weight.fill_(value)
    rule = r"^tensorize_: layer '0': drawn arrays have the weight's root mean square, but that of this one, \(8, 8\), is (0|inf);"
    with pytest.raises(ValueError, match=rule):
        tknn.tensorize_(model, {"0": "mpo"}, budget=0.5, fit=False)
    assert type(model[0]) is nn.Linear


def test_a_warning_of_the_approximation_names_the_layer():
    """A softplus is nowhere small: nothing of a layer's weight is found, in one layer of several."""
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    net = tk.low_rank((8, 8), 2).activate("softplus", "f")
    said = r"tensorize_: layer '2': the approximation: relative error .* no random start has its size either"
    with torch.no_grad():
        model[2].weight.mul_(0.01)
    with pytest.warns(UserWarning, match=said) as told:
        tknn.tensorize_(model, {"2": net}, steps=20)
    assert told[0].filename == __file__
    recipe = tknn.Compression(tknn.Layers("0", net), stage1=tknn.Stage1(steps=20), stage2=None)
    with torch.no_grad():
        model[0].weight.mul_(0.01)
    with pytest.warns(UserWarning, match="^layer '0': the approximation: relative error") as told:
        tknn.compress_(model, recipe)
    assert told[0].filename == __file__
