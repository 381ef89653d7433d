"""What can be one's own, driven through ``train``, ``compress_`` and ``compare``: every cell of the table of docs/your-own.md."""

import math
import re
from functools import cache
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import tnkit_nn as tknn
from tnkit_nn.comparison import dense
from tnkit_nn.comparison.dense import with_dense_models
from tnkit_nn.comparison.experiment import opened
from tnkit_nn.comparison.protocol import Protocol
from tnkit_nn.comparison.replicas import REST_RATES
from tnkit_nn.task import task_named

PAGE = Path(__file__).parents[2] / "docs" / "your-own.md"
RECIPE = tknn.Recipe(epochs=1, lr=1e-2, batch=16)


def draws(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


X = draws(48, 8)
Y = (X[:, 0] > 0).long()


def parts(give):
    """The three parts, each made by ``give(rows)``."""
    return {name: give(slice(k, k + 16)) for k, name in ((0, "train"), (16, "val"), (32, "test"))}


def chain(inputs=8, outputs=2):
    return nn.Sequential(nn.Linear(inputs, 8), nn.Tanh(), nn.Linear(8, outputs))


def of(model, data, loss=None, metric=None):
    """A task of a model that is made from a seed."""
    return tknn.Task(lambda seed: model(), data, loss, metric)


PAIRS = parts(lambda rows: (X[rows], Y[rows]))


# -- models -----------------------------------------------------------------------------------------------------------
class Residual(nn.Module):
    """A forward of its own, no chain."""

    def __init__(self):
        super().__init__()
        self.inner, self.head = nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.head(x + self.inner(x).relu())


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.LSTM(2, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.rnn(x.view(-1, 4, 2))[1][0][-1])


class Attention(nn.Module):
    """Logits of the next of eight tokens."""

    def __init__(self):
        super().__init__()
        self.token, self.head = nn.Embedding(8, 8), nn.Linear(8, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, tokens):
        x = self.token(tokens)
        mask = torch.triu(torch.ones(x.shape[1], x.shape[1], dtype=torch.bool), 1)
        return self.head(x + self.attention(x, x, x, attn_mask=mask, need_weights=False)[0])


class Segmenter(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1)

    def forward(self, x):
        return self.last(self.first(x).relu())


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.head = nn.Linear(4, 8), nn.Linear(12, 2)

    def forward(self, left, right):
        return self.head(torch.cat([self.left(left).relu(), right], -1))


class WithLoss(nn.Module):
    """In the way of Hugging Face."""

    def __init__(self):
        super().__init__()
        self.body = chain()

    def forward(self, inputs, labels=None):
        logits = self.body(inputs)
        return {"logits": logits} if labels is None else {"loss": F.cross_entropy(logits, labels), "logits": logits}


# -- data -------------------------------------------------------------------------------------------------------------
class Squares(Dataset):
    """Examples made when they are asked for."""

    def __init__(self, rows):
        self.rows = range(48)[rows]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, k):
        return X[self.rows[k]], Y[self.rows[k]]


class Stream(IterableDataset):
    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        yield from zip(X[self.rows], Y[self.rows], strict=True)


IMAGES = draws(48, 1, 4, 4)
TOKENS = torch.randint(8, (48, 7), generator=torch.Generator().manual_seed(0))


# -- losses and metrics -----------------------------------------------------------------------------------------------
def squared(model, batch):
    return F.mse_loss(model(batch[0])[:, 0], batch[1])


def pixels(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1])


def next_token(model, tokens):
    return F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())


def right(model, loader):
    """One's own accuracy."""
    found = [model(x).argmax(-1) == y for x, y in loader]
    return torch.cat(found).float().mean()


#: Row of the table -> the task, and the weight that is compressed.
ROWS = {
    "model": lambda: (of(Residual, PAIRS), "inner"),
    "`Dataset`": lambda: (of(chain, parts(Squares)), "0"),
    "`DataLoader`": lambda: (of(chain, parts(lambda r: DataLoader(TensorDataset(X[r], Y[r]), 8, shuffle=True))), "0"),
    "dict batches": lambda: (
        of(chain, parts(lambda r: {"x": X[r], "y": Y[r]}), lambda m, b: F.cross_entropy(m(b["x"]), b["y"])), "0",
    ),
    "loss": lambda: (of(chain, PAIRS, lambda m, b: F.cross_entropy(m(b[0]), b[1], label_smoothing=0.1)), "0"),
    "metric": lambda: (of(chain, PAIRS, metric=tknn.Metric(right, "right", "%")), "0"),
    "regression": lambda: (of(lambda: chain(outputs=1), parts(lambda r: (X[r], X[r, 0])), squared), "0"),
    "segmentation": lambda: (of(Segmenter, parts(lambda r: (IMAGES[r], (IMAGES[r, 0] > 0).long())), pixels), "last"),
    "language model": lambda: (of(Attention, parts(lambda r: TOKENS[r]), next_token), "attention.in_proj_weight"),
    "recurrent model": lambda: (of(Recurrent, PAIRS), "rnn.weight_hh_l0"),
    "several inputs": lambda: (
        of(TwoInputs, parts(lambda r: (X[r, :4], X[r, 4:], Y[r])), lambda m, b: F.cross_entropy(m(*b[:2]), b[2])), "left",
    ),
    "dict output": lambda: (
        of(WithLoss, parts(lambda r: {"inputs": X[r], "labels": Y[r]}), lambda m, b: m(**b)["loss"]), "body.0",
    ),
    "streaming data": lambda: (of(chain, parts(lambda r: DataLoader(Stream(r), 8))), "0"),
}  # fmt: skip


@cache
def table():
    """Row -> its cells, as the page has them."""
    lines = re.search(r"^\| your own \|.*\n\|[-| ]+\n((?:\|.*\n)+)", PAGE.read_text(), re.MULTILINE)[1].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row: dict(zip(("train", "compress_", "compare", "replicas"), given, strict=True)) for row, *given in cells}


def values(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def test_the_table_has_these_rows():
    assert list(table()) == list(ROWS)


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_train(row):
    task, _ = ROWS[row]()
    model = task.build(0)
    before = values(model)
    (epoch,) = tknn.train(model, task, RECIPE)
    assert table()[row]["train"] == "yes"
    assert all(not torch.equal(p, before[name]) for name, p in values(model).items())
    assert epoch.val_metric is not None and 0 < epoch.loss < 10


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:the compressed model gives every input one class"
)  # none of these models is trained
@pytest.mark.parametrize("row", ROWS)
def test_compress(row):
    task, weight = ROWS[row]()
    model = task.build(0)
    dense = sum(p.numel() for p in model.parameters())
    done = tknn.compress_(model, tknn.Compression(tknn.Layers(weight, "low_rank", 40), stage2=RECIPE), task)
    assert table()[row]["compress_"] == "yes"
    (layer,) = done.layers
    assert sum(p.numel() for p in model.parameters()) == dense - layer.dense_params + layer.num_params < dense
    assert done.metric_after is not None and done.steps[0]["history"]


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_compare(row):
    task, weight = ROWS[row]()
    found = tknn.compare(task, ["low_rank"], [40], layer=weight, seeds=2, dense_steps=3, fit_steps=2, tune_steps=3)
    assert table()[row]["compare"] == "yes"
    assert {r["replicas"].partition(":")[0] for r in found} == {table()[row]["replicas"]}
    networks = [r for r in found if r["kind"] == "network"]
    assert [r["seed"] for r in networks] == [0, 1]
    assert all(r["test_frozen"] is not None and r["test_trained"] is not None for r in networks)


# -- what a run that goes on notices ----------------------------------------------------------------------------------
EDITED = """
import torch
from torch import nn
import tnkit_nn as tknn

class Mine(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.head = nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.head(self.inner(x).relu())

x = torch.linspace(-1, 1, 48 * 8).view(48, 8).sin()
rows = {"train": slice(16), "val": slice(16, 32), "test": slice(32, 48)}
task = tknn.Task(lambda seed: Mine(), {name: (x[r], (x[r, 0] > 0).long()) for name, r in rows.items()})
"""


def loaded(folder, text):
    """The task of a file with this text, as another process would have it."""
    path = folder / f"mine{len(list(folder.glob('mine*.py')))}.py"
    path.write_text(text)
    return task_named(f"{path}:task")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the compressed model gives every input one class")
@pytest.mark.parametrize("what", ["train", "compress_", "compare"])
def test_a_model_whose_forward_was_edited_is_another_one(what, tmp_path):
    """Its structure and values are the same, so that a run would go on with results of the model as it was."""

    def run(task):
        model = task.build(0)
        if what == "train":
            return tknn.train(model, task, RECIPE, checkpoint=tmp_path / "state")
        if what == "compress_":
            plan = tknn.Compression(tknn.Layers("inner", "low_rank", 40), stage2=RECIPE)
            done = tknn.compress_(model, plan, task, out=tmp_path / "out")
            return done.error, done.metric_fit, done.metric_after
        found = tknn.compare(
            task, ["low_rank"], [40], layer="inner", seeds=1, dense_steps=1, fit_steps=1, tune_steps=1, rest="none",
            out=tmp_path / "out",
        )  # fmt: skip
        return [{k: v for k, v in r.items() if k != "title"} for r in found]  # the file's name is in it

    first = run(loaded(tmp_path, EDITED))
    assert run(loaded(tmp_path, EDITED.replace("(x).relu()", "( x ).relu()"))) == first
    with pytest.raises(ValueError, match="structure"):
        run(loaded(tmp_path, EDITED.replace("relu", "tanh")))


@pytest.mark.slow
def test_controls_made_in_another_way_are_made_anew(tmp_path):
    """A kept row is of the function that made its model."""
    options = {"layer": "inner", "seeds": 1, "dense_steps": 1, "fit_steps": 1, "tune_steps": 1, "out": tmp_path}

    def sizes(**made):
        task = tknn.Task(lambda seed: Residual(), PAIRS, **made)
        found = tknn.compare(task, ["low_rank"], [40], **options)
        return {r["label"]: r["model_params"] for r in found if r["label"] in ("removed", "small_dense")}, found[0][
            "left_out"
        ]

    first, left_out = sizes()
    assert set(first) == {"removed"} and set(left_out) == {"removed, other layers fine-tuned", "small_dense"}
    widths = [sizes(smaller=lambda count, seed, w=w: nn.Sequential(nn.Linear(8, w), nn.Linear(w, 2))) for w in (2, 3)]
    assert [found["small_dense"] for found, _ in widths] == [8 * w + w + 2 * w + 2 for w in (2, 3)]
    without, left_out = sizes(without=lambda model, *weights: nn.Linear(8, 2))
    assert without["removed"] == 18 != first["removed"] and set(left_out) == {"small_dense"}


# -- controls of the task's -------------------------------------------------------------------------------------------
SHORT = {"seeds": 1, "dense_steps": 1, "fit_steps": 1, "tune_steps": 1}


@pytest.mark.parametrize(
    ("made", "kind", "said"),
    [
        ({"smaller": lambda count, seed: None}, TypeError, r"smaller\(parameters, seed\) of the task gives an nn.Module, not None"),
        ({"smaller": lambda count, seed: 1 / 0}, ValueError, r"smaller\(.*\) of the task fails: ZeroDivisionError: division by zero"),
        ({"smaller": lambda count, seed: nn.Linear(3, 2)}, ValueError, "the small dense model: the model does not take"),
        ({"without": lambda model, *weights: "none"}, TypeError, r"without\(.*\) of the task gives an nn.Module or None, not 'none'"),
        ({"without": lambda model: model}, ValueError, r"without\(.*\) of the task fails: TypeError: "),
        ({"without": lambda model, *weights: nn.Linear(3, 2)}, ValueError, "the model without the layers: "),
        ({"loss": lambda model, batch: model(batch[0]).argmax(-1).float().mean()}, ValueError, "the loss of the first batch does not depend on 'inner'"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_said_before_anything_is_trained(made, kind, said, monkeypatch):
    monkeypatch.setattr(dense, "dense_models", lambda *_: pytest.fail("a model is trained"))
    with pytest.raises(kind, match="^compare: .*" + said) as told:
        tknn.compare(tknn.Task(lambda seed: Residual(), PAIRS, **made), ["low_rank"], [40], layer="inner", **SHORT)
    assert "\n" not in str(told.value)


def test_without_may_change_the_model_that_it_is_given():
    """It is a copy: a trained model is the dense model of every row."""
    model = chain()

    def without(given, *weights):
        given[0] = nn.Identity()
        return given

    task = tknn.Task(model, PAIRS, without=without)
    before = values(model)
    found = tknn.compare(task, ["low_rank"], [40], layer="0", **SHORT)
    assert values(model).keys() == before.keys() and all(torch.equal(p, before[n]) for n, p in values(model).items())
    errors = {r["label"]: r["error"] for r in found}
    assert errors["dense"] == 0 and {r["model_params"] for r in found if r["label"] == "removed"} == {18}


def test_a_model_that_is_itself_the_layer_has_no_other():
    found = tknn.compare(tknn.Task(lambda seed: nn.Linear(8, 2), PAIRS), ["low_rank"], [10], **SHORT)
    assert set(found[0]["left_out"]) == {"removed, other layers fine-tuned", "small_dense"}


@pytest.mark.slow
def test_a_frozen_model_is_compared():
    """Its weight is replaced by what is trained."""
    model = chain().requires_grad_(False)
    found = tknn.compare(tknn.Task(model, PAIRS), ["low_rank"], [40], layer="0", **SHORT)
    assert {r["test_frozen"] is None for r in found} == {False} and not any(p.requires_grad for p in model.parameters())


# -- the dense models of a comparison ---------------------------------------------------------------------------------
@pytest.mark.slow
def test_dense_models_choose_their_rate_as_the_other_dense_controls_do(monkeypatch):
    """Each seed's is the best on validation of those trained at one rate alone: a fixed rate may be far too low for a task.

    Further rates, where the best is at an edge, are tried too.
    """
    task, _ = ROWS["regression"]()
    experiment = opened(task, Protocol("0", seeds=3, dense_steps=12))

    def losses(rates):
        monkeypatch.setattr(dense, "REST_RATES", rates)
        models = []
        for seed in range(3):
            model = task.build(seed)
            model.load_state_dict({n: p[seed] for n, p in with_dense_models(experiment).dense.items()})
            models.append(squared(model, (X[16:32], X[16:32, 0])).item())
        return torch.tensor(models)

    alone = torch.stack([losses((rate,)) for rate in REST_RATES])
    further = losses(REST_RATES)
    monkeypatch.setattr("tnkit_nn.comparison.sweep.FURTHER", 0)
    three = losses(REST_RATES)
    assert three == pytest.approx(alone.amin(0), rel=1e-4)
    assert (further <= 1.0001 * three).all() and (further < 0.99 * three).any()
    assert (alone.amin(0) < 0.9 * alone[0]).any()  # so that a choice is made


# -- a metric that fails late -----------------------------------------------------------------------------------------
def test_a_metric_that_fails_of_a_model_far_off_is_told():
    """``exp`` of a mean loss overflows where a model is far off: that comes after the first batch was tried."""
    scale = [1.0]

    def perplexity(model, loader):
        return math.exp(sum(float(squared(model, batch)) for batch in loader) / scale[0])

    def late(jobs, total):
        for job in jobs:
            scale[0] = 1e-9
            yield job

    data, steps = parts(lambda r: (X[r], X[r, 0])), {"seeds": 1, "dense_steps": 1, "fit_steps": 1, "tune_steps": 1}
    task = of(lambda: chain(outputs=1), data, squared, tknn.Metric(perplexity, larger=False))
    said = "^metric 'perplexity' fails on the part 'val' of 'data': math range error"
    with pytest.raises(ValueError, match=said):
        tknn.train(task.build(0), task, tknn.Recipe(epochs=3, lr=1e-3), after=lambda epoch: scale.insert(0, 1e-9))
    scale[0] = 1.0
    with pytest.raises(ValueError, match=said):
        tknn.compare(task, ["low_rank"], [40], layer="0", **steps, progress=late)
