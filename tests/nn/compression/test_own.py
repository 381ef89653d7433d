"""Families and fine-tuning of one's own: taken, refused by name, kept in files, gone on with."""

import math
from functools import partial

import pytest
import torch
from torch import nn

import tnkit as tk
import tnkit_nn as tknn
from tnkit_nn.compression.own import written_family

from .test_compress import plain
from .test_tasks import SPLIT, X, Y, mlp, one

SHAPE = (32, 16)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def thin(shape, budget):
    """The low rank that a budget allows."""
    return tk.low_rank(shape, max(1, budget // sum(shape)))


def decomposed(model):
    return tk.tucker_svd(model[0].weight.detach().numpy().copy(), rank=2)


# -- families -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "family, label",
    [
        (thin, "thin"),
        (partial(thin), "thin"),
        (tknn.Family("mine", "my family", thin), "my family"),
        (tk.low_rank(SHAPE, 2), "own network"),
        (f"{__name__}:thin", "thin"),
    ],
    ids=["function", "partial", "Family", "Network", "place"],
)
def test_a_family_of_ones_own(family, label, tmp_path):
    model, recipe = mlp(), one("0", family, 100)
    done = tknn.compress_(model, recipe, SPLIT, out=tmp_path)
    (layer,) = done.layers
    assert (layer.family, layer.num_params) == (label, 96)
    assert plain(tknn.compress_(mlp(), recipe, SPLIT, out=tmp_path)) == plain(done)
    assert tknn.load_compressed_(mlp(seed=3), tmp_path / "model.safetensors")(X).equal(model(X))
    with pytest.raises(ValueError, match=r"holds another compression: its recipe.layers is \["):
        tknn.compress_(mlp(), one("0", lambda shape, budget: tk.low_rank(shape, 2), 100), SPLIT, out=tmp_path)


@pytest.mark.parametrize("as_plain", [False, True])
def test_arrays_that_are_given_are_taken(as_plain):
    model = mlp()
    found = decomposed(model)
    made = tuple(found) if as_plain else found
    weight = model[0].weight.detach().clone()
    done = tknn.compress_(model, one("0", made, stage2=None))
    assert torch.allclose(model[0].weight, torch.as_tensor(tk.contract(*made)), atol=1e-6)
    off = float((model[0].weight.detach() - weight).norm() / weight.norm())
    assert (done.layers[0].method, done.layers[0].error) == ("given", pytest.approx(off, rel=1e-5))
    assert off == pytest.approx(found.error, rel=1e-4)
    again = tknn.compress_(mlp(), one("0", lambda *_: made, 100, stage2=None))
    assert again.layers[0].method == "given"
    tensorized = mlp()
    tknn.tensorize_(tensorized, {"0": made})
    assert torch.allclose(tensorized[0].weight, model[0].weight, atol=1e-6)


@pytest.mark.parametrize(
    "family, error, message",
    [
        (lambda shape, budget: tk.low_rank(shape, 11), ValueError, r"layer '0': lambda for a budget of 80 has 528 parameters, its weight of shape \(32, 16\) only 512"),
        (tk.low_rank(SHAPE, 11), ValueError, "layer '0': own network has 528 parameters"),
        (tk.low_rank((5, 3), 2), ValueError, "layer '0': the network's sizes multiply to the weight's, in order, but"),
        (tk.Network((tk.Node("a.b", "ir"), tk.Node("c", "rj")), "ij", dict(i=32, j=16, r=2)), ValueError, "layer '0': .*'a.b'"),
        (lambda shape, budget: 1 / 0, ValueError, r"layer '0': family lambda fails for \(32, 16\) and 80: ZeroDivisionError"),
        (lambda shape: None, ValueError, "layer '0': family lambda fails .* takes 1 positional argument"),
        (lambda shape, budget: 3, TypeError, r"layer '0': family lambda is a function \(shape, budget\) -> Network; .* it gives 3"),
        (3, TypeError, r"family is a name, a Family, a Network, a pair of a Network and its arrays, or a function .*, not 3"),
        (tk.Network, TypeError, "family is a name, .*, not"),
        ("nowhere:thin", ValueError, "family: no module 'nowhere'"),
        ("nowhere.py:thin", FileNotFoundError, "family: no such file"),
        (f"{__name__}:thick", ValueError, "has no 'thick'; it has"),
        (f"{__name__}:SHAPE", TypeError, "family '.*:SHAPE': family is a name, .*, not"),
    ],
)  # fmt: skip
def test_families_that_are_none(family, error, message):
    model = mlp()
    with pytest.raises(error, match=message):
        tknn.compress_(model, one("0", family, stage2=None))
    assert isinstance(model[0].weight, nn.Parameter)


def test_a_function_that_no_file_can_hold_is_refused_before_anything_is_done():
    model, odd = mlp(), tk.low_rank(SHAPE, 2).activate(lambda xp, x: x, "f")
    for family in (odd, lambda shape, budget: odd):
        with pytest.raises(ValueError, match=r"layer '0': .*function"):
            tknn.compress_(model, one("0", family, 100, stage2=None))
    assert isinstance(model[0].weight, nn.Parameter)


@pytest.mark.slow
def test_families_in_recipes(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import tnkit as tk\n\ndef thin(shape, budget):\n    return tk.low_rank(shape, 2)\nnet = tk.low_rank((32, 16), 2)\n"
    )
    for name in ("thin", "net"):
        (tmp_path / "r.toml").write_text(f"[[layers]]\nselect = '0'\nfamily = 'mine.py:{name}'\nbudget = 100\n")
        recipe = tknn.Compression.load(tmp_path / "r.toml")
        assert tknn.compress_(mlp(), recipe).layers[0].num_params == 96
        assert tknn.Compression.from_toml(recipe.to_toml()) == recipe
    recipe = one("0", thin)
    assert f"{__name__}:thin" in recipe.to_toml()
    assert tknn.Compression.from_toml(recipe.to_toml()).settings() == recipe.settings()
    for family in (lambda shape, budget: None, tk.low_rank(SHAPE, 2), partial(thin)):
        with pytest.raises(
            ValueError, match=r'cannot be imported by a name; put it into a file, and give family="file.py:name"'
        ):
            one("0", family).to_toml()
    from tnkit_nn.imported import imported

    assert written_family(imported("mine.py:thin", "it", tmp_path)) == f"{tmp_path / 'mine.py'}:thin"


@pytest.mark.slow
def test_a_recipe_names_its_task(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from tests.nn.compression.test_tasks import SPLIT\nimport tnkit_nn as tknn\ntask = tknn.Task(data=SPLIT)\n"
    )
    (tmp_path / "r.toml").write_text("task = 'mine.py:task'\n[[layers]]\nselect = '0'\nfamily = 'mpo'\nbudget = 80\n")
    assert tknn.compress_(mlp(), tmp_path / "r.toml").metric_before == tknn.accuracy(mlp(), SPLIT.test)
    (tmp_path / "r.toml").write_text("task = 3\n[[layers]]\nselect = '0'\n")
    with pytest.raises(ValueError, match=r"recipe.task is a text, not 3"):
        tknn.Compression.load(tmp_path / "r.toml")


# -- fine-tuning --------------------------------------------------------------------------------------------------------
def loop(model, parameters, budget, rate=1e-2, calls=None):
    """Plain torch."""
    if calls is not None:
        calls.append((sorted(parameters), budget, {n for n, p in model.named_parameters() if p.requires_grad}))
    optimizer = torch.optim.SGD(parameters.values(), lr=rate)
    for _ in range(budget.steps or 6):
        batch = torch.randperm(240)[:40]
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(X[batch]), Y[batch]).backward()
        optimizer.step()


@pytest.mark.slow
def test_a_loop_of_ones_own(tmp_path):
    calls, model = [], mlp()
    recipe = one(("0", "2"), rest="head", stage2=tknn.Recipe(epochs=5, lr=1e-2, batch=40), seed=4)
    done = tknn.compress_(model, recipe, SPLIT, tune=partial(loop, calls=calls))
    assert [(c[1].epochs, c[1].steps, c[1].recipe.epochs, c[1].seed) for c in calls] == [
        (2, 12, 2, 4000),
        (3, 18, 3, 4001),
    ]
    assert all(set(names) == trained for names, _, trained in calls)
    assert "2.bias" in calls[0][0] and all(n.startswith("2.") for n in calls[0][0]) and "0.bias" in calls[1][0]
    assert done.metric_after == tknn.accuracy(model, SPLIT.test) and done.steps[0]["rate_factor"] == 1

    by_hand = mlp()  # the oracle: the same steps with nothing of compress_
    for k, (names, budget, _) in enumerate(calls):
        place = (2, 0)[k]
        net = done.model[place].parametrizations.weight[0].network
        found = tknn.approximate(net, by_hand[place].weight, steps=5, seed=4)
        tknn.parametrize_(by_hand[place], "weight", net, found.arrays)
        torch.manual_seed(budget.seed)
        loop(by_hand, {n: p for n, p in by_hand.named_parameters() if n in names}, budget)
    assert all(torch.equal(v, by_hand.state_dict()[n]) for n, v in model.state_dict().items())


@pytest.mark.slow
def test_a_loop_needs_no_task():
    calls, model = [], mlp()
    done = tknn.compress_(model, tknn.Compression(tknn.Layers("0", "mpo", 80)), tune=partial(loop, calls=calls))
    assert done.metric is None and [(c[1].epochs, c[1].steps) for c in calls] == [(6, None)]
    other = tknn.compress_(mlp(), tknn.Compression(tknn.Layers("0", "mpo", 80))).model
    assert not torch.equal(other[0].weight, model[0].weight) and torch.equal(other[2].weight, model[2].weight)


@pytest.mark.slow
@pytest.mark.parametrize(
    "value, said", [(math.nan, "parameters that are not finite; undone"), (0.0, "accuracy .* after it; undone")]
)
def test_a_loop_that_does_harm_is_undone(value, said):
    def harmful(model, parameters, budget):
        for p in parameters.values():
            p.data.fill_(value)

    model = mlp()
    tknn.train(model, SPLIT, tknn.Recipe(epochs=10, lr=1e-2, batch=40))
    with pytest.warns(UserWarning, match=said):
        done = tknn.compress_(model, one(budget=400, stage1=tknn.Stage1(steps=100)), SPLIT, tune=harmful)
    assert done.steps[0]["rate_factor"] == 0 and done.metric_after == done.metric_fit


@pytest.mark.filterwarnings("ignore:the compressed model gives")  # hardly trained
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("task", [SPLIT, None], ids=["task", "no task"])
def test_a_loop_leaves_what_is_frozen(task, affine):
    def careless(model, parameters, budget):
        model.train()  # running statistics move
        loop(model, parameters, budget)
        with torch.no_grad():
            model[3].bias += 1

    model = nn.Sequential(nn.Linear(16, 16), nn.BatchNorm1d(16, affine=affine), nn.Linear(16, 32), nn.Linear(32, 4))
    before = {n: v.clone() for n, v in model.state_dict().items()}
    with pytest.warns(UserWarning, match=r"step 0 \(2\): tune has changed .*, which is frozen; put back"):
        tknn.compress_(model, one("2", stage2=tknn.Recipe(epochs=1, lr=0.1, batch=40)), task, tune=careless)
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items() if n in before)


@pytest.mark.parametrize(
    "tune, error, message",
    [
        (3, TypeError, "compress_: tune is a function, not 3"),
        (
            lambda model: None,
            ValueError,
            r"compress_: tune fails in step 0 \(0\): TypeError: .*takes 1 positional argument",
        ),
        (
            lambda model, parameters, budget: model.append(nn.Linear(4, 4)),
            ValueError,
            r"after step 0 \(0\) '3.weight' is another",
        ),
    ],
)
def test_loops_that_are_none(tune, error, message):
    model = mlp()
    before = {n: v.clone() for n, v in model.state_dict().items()}
    with pytest.raises(error, match=message):
        tknn.compress_(model, one(), SPLIT, tune=tune)
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items()) and len(model) == 3


@pytest.mark.slow
def test_a_loop_goes_on_behind_the_steps_that_are_done(tmp_path):
    recipe = one(("0", "2"), stage2=tknn.Recipe(epochs=4, lr=1e-2, batch=40))
    whole = tknn.compress_(mlp(), recipe, SPLIT, tune=loop)
    calls = []

    def interrupted(model, parameters, budget):
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append(1)
        loop(model, parameters, budget)

    named = partial(_named, tune=interrupted)
    with pytest.raises(KeyboardInterrupt):
        tknn.compress_(mlp(), recipe, SPLIT, tune=named, out=tmp_path)
    calls[:] = []
    done = tknn.compress_(mlp(), recipe, SPLIT, tune=named, out=tmp_path)
    assert calls == [1] and all(torch.equal(v, done.model.state_dict()[n]) for n, v in whole.model.state_dict().items())


def _named(model, parameters, budget, tune):
    tune(model, parameters, budget)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_sizes_of_weights_whose_squares_are_no_numbers(size):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16))
    with torch.no_grad():
        weights = [layer.weight.mul_(size).double() for layer in model]
    done = tknn.compress_(model, tknn.Compression(layers=(tknn.Layers("*", tk.low_rank((16, 16), 2), budget=64),)))
    found = {r.layer: r.norm for r in done.layers}
    assert found == pytest.approx({str(k): float(w.norm()) for k, w in enumerate(weights)}, rel=1e-4)
    off = [layer.weight.detach().double() - w for layer, w in zip(model, weights, strict=True)]
    want = torch.stack(off).norm() / torch.stack(weights).norm()
    assert done.error == pytest.approx(float(want), rel=1e-4) and done.error > 0.3
