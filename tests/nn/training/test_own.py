"""A loss and a metric of one's own: what is minimised, what is called best, what is put back, what is said of what cannot be."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tnkit_nn import Metric, Recipe, Task, train
from tnkit_nn.data import Split
from tnkit_nn.training import loop
from tnkit_nn.training.evaluation import Reading, evaluate, judged, trial, worse
from tnkit_nn.training.goal import ACCURACY, LOSS, Goal, goal_of

X = torch.randn(60, 8, generator=torch.Generator().manual_seed(3))
Y = X[:, :3].argmax(1)
RECIPE = Recipe(3, 2e-2, batch=20)


def net(out=3, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, out))


def parts(x, y):
    return {"train": (x[:40], y[:40]), "val": (x[40:50], y[40:50]), "test": (x[50:], y[50:])}


# -- F1: what is put back -------------------------------------------------------------------------------------------------
class Prototypes(nn.Module):
    """Distances to class prototypes: small is near, the opposite of logits."""

    def __init__(self):
        super().__init__()
        self.features, self.centres = nn.Linear(16, 8), nn.Parameter(torch.randn(4, 8))

    def forward(self, x):
        return torch.cdist(self.features(x), self.centres)


def near(model, batch):
    return F.cross_entropy(-model(batch[0]), batch[1])


def nearest_is_right(model, loader):
    right = [(model(x).argmin(1) == y).double().mean() for x, y in loader]
    return sum(right) / len(right)


def nearest_is_wrong(model, loader):
    return 1 - nearest_is_right(model, loader)


@pytest.mark.parametrize(
    "metric", [None, Metric(nearest_is_right, unit="%"), nearest_is_right, Metric(nearest_is_wrong, larger=False)]
)
def test_a_good_model_is_not_put_back(metric):  # a warning would be an error
    torch.manual_seed(1)
    x = torch.randn(600, 16)
    y = x[:, :4].argmax(1)
    data = Split("own", (x[:400], y[:400]), (x[400:500], y[400:500]), (x[500:], y[500:]))
    model, last = Prototypes(), []
    task = Task(data=data, loss=near, metric=metric)
    history = train(model, task, Recipe(8, 2e-2, batch=50), after=lambda e: last.append(model.centres.sum().item()))
    right = (model(x[500:]).argmin(1) == y[500:]).double().mean()
    assert right > 0.75 and model.centres.sum().item() == last[-1]
    assert history[-1].val_loss < 0.7 * history[0].val_loss


@pytest.mark.parametrize("larger", [True, False])
def test_the_metric_says_which_epoch_is_best(monkeypatch, larger):
    """Readings are given: the last epoch is far worse by loss and by metric, the second is the best by the metric."""
    sign = 1 if larger else -1
    given = iter([(1.0, 0.5), (0.5, 0.9), (0.6, 0.8), (9.0, 0.1)])

    def evaluated(model, goal):
        loss, metric = next(given)
        return Reading(loss, sign * metric, 0.01, 10)

    monkeypatch.setattr(loop, "evaluate", evaluated)
    model, kept = net(), {}
    task = Task(data=parts(X, Y), loss=cross, metric=Metric(lambda m, b: 0.0, "score", larger=larger))
    with pytest.warns(
        UserWarning, match=r"training diverged: score -?0.1 .* last epoch, -?0.9 after epoch 2: put back to that one"
    ):
        train(model, task, Recipe(4, 1e-2, batch=20), after=lambda e: kept.update({e.epoch: model[0].weight.clone()}))
    assert torch.equal(model[0].weight, kept[2]) and not torch.equal(model[0].weight, kept[4])


def test_a_last_epoch_without_a_metric_is_put_back(monkeypatch):
    given = iter([0.5, float("nan")])
    monkeypatch.setattr(loop, "evaluate", lambda model, goal: Reading(1.0, next(given), 0.01, 10))
    task = Task(data=parts(X, Y), loss=cross, metric=Metric(lambda m, b: 0.0, "score"))
    with pytest.warns(UserWarning, match="score nan .*, 0.5 after epoch 1: put back"):
        train(net(), task, Recipe(2, 1e-2, batch=20))


NAN = float("nan")


@pytest.mark.parametrize(
    ("larger", "now", "then", "is_worse"),
    [
        (True, (2.0, 0.1, 0.1), (1.0, 0.9, 0.1), True),
        (True, (1.2, 0.1, 0.1), (1.0, 0.9, 0.1), False),  # the loss is within its error
        (True, (2.0, 0.9, 0.1), (1.0, 0.1, 0.1), False),  # the metric is better
        (False, (2.0, 0.9, 0.1), (1.0, 0.1, 0.1), True),
        (False, (2.0, 0.1, 0.1), (1.0, 0.9, 0.1), False),
        (False, (1.9, 2.0, NAN), (1.0, 1.0, NAN), False),  # one batch: twice the loss
        (False, (2.1, 2.0, NAN), (1.0, 1.0, NAN), True),
        (True, (1.0, NAN, 0.1), (1.0, 0.9, 0.1), True),
        (True, (1.0, NAN, 0.1), (1.0, NAN, 0.1), False),
    ],
)
def test_worse_by_a_metric_of_ones_own(larger, now, then, is_worse):
    goal = Goal("x", {}, cross, Metric(nearest_is_right, larger=larger))
    readings = [Reading(loss, metric, spread, 50) for loss, metric, spread in (now, then)]
    assert worse(goal, *readings) is is_worse


# -- kinds of tasks -------------------------------------------------------------------------------------------------------
def cross(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1])


def squares(model, batch):
    return F.mse_loss(model(batch[0]), batch[1])


def each_of_several(model, batch):
    return F.binary_cross_entropy_with_logits(model(batch[0]), batch[1])


def each_of_a_sequence(model, batch):
    return F.cross_entropy(model(batch[0]).view(-1, 3, 5), batch[1])


def some_ignored(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1], ignore_index=-100)


class Answers(nn.Module):
    """As a language model gives it: a dict with its loss inside."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 3)

    def forward(self, x, labels=None):
        logits = self.layer(x)
        return {"logits": logits, "loss": F.cross_entropy(logits, labels)}


SEQUENCES = X[:, :5].gt(0).long() + X[:, 1:6].gt(0).long()
KINDS = {
    "regression": (lambda: net(2), X[:, :2] * X[:, 2:4], squares),
    "multi-label": (lambda: net(4), (X[:, :4] > 0).float(), each_of_several),
    "sequence labels": (lambda: net(15), SEQUENCES, each_of_a_sequence),
    "ignore_index": (net, torch.where(Y == 0, -100, Y), some_ignored),
    "a dict with its loss": (Answers, Y, lambda model, batch: model(batch[0], labels=batch[1])["loss"]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_task_of_ones_own(kind):
    make, targets, loss = KINDS[kind]
    torch.manual_seed(0)
    model, data = make(), parts(X, targets)
    task = Task(data=data, loss=loss)
    assert task.goal.metric is LOSS and task.goal.classes == 0
    history = train(model, task, Recipe(20, 2e-2, batch=20))
    assert history[-1].loss < 0.7 * history[0].loss
    model.eval()
    plain = [loss(model, (x[None], y[None])).item() for x, y in zip(*data["val"], strict=True)]
    if kind == "ignore_index":  # the mean is over those that are not ignored
        assert evaluate(model, task.goal, batch=10).loss == pytest.approx(loss(model, data["val"]).item())
    else:
        assert history[-1].val_loss == history[-1].val_metric == pytest.approx(sum(plain) / 10, rel=1e-5)


def test_a_metric_of_ones_own_sees_the_whole_part():
    """In evaluation, without gradients, with ``len(loader.dataset)`` and ``len(loader)``."""
    seen = []

    def spread(model, loader):
        assert not model.training and not torch.is_grad_enabled()
        xs = [x for x, _ in loader]
        seen.append((len(torch.cat(xs)), len(loader), len(loader.dataset)))
        return torch.cat(xs).std()

    loader = DataLoader(TensorDataset(X[:30], Y[:30]), 8)
    for data, expected in ((parts(X, Y), (10, 1, 10)), ({"train": (X, Y), "val": loader}, (30, 4, 30))):
        seen.clear()
        history = train(net(), Task(data=data, loss=cross, metric=spread), Recipe(1, 1e-2))
        assert seen[-1] == expected
        assert history[0].val_metric == pytest.approx(float(X[40:50].std() if expected[0] == 10 else X[:30].std()))


def test_a_metric_that_one_batch_is_too_few_for():
    def needs_all(model, loader):
        labels = torch.cat([y for _, y in loader])
        if len(labels.unique()) < 2:
            raise ValueError("one class alone")
        return 0.5

    order = Y.argsort()
    loader = DataLoader(TensorDataset(X[order], Y[order]), 5)
    task = Task(data={"train": (X, Y), "val": loader}, loss=cross, metric=needs_all)
    assert train(net(), task, Recipe(1, 1e-2))[0].val_metric == 0.5


# -- what cannot be -------------------------------------------------------------------------------------------------------
def fails(model, batch):
    return model(batch[0]) @ batch[1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"loss": fails}, r"train: loss\(model, batch\) of the task fails on the first batch of 'train' of 'data', \(float32 20x8, int64 20\): "),
        ({"loss": lambda m, b: m(b[0])}, r"gives one floating number, the mean over the batch, not torch.float32 of shape \(20, 3\)"),
        ({"loss": lambda m, b: 1.0}, "gives one floating number, the mean over the batch, not float"),
        ({"loss": lambda m, b: cross(m, b) * NAN}, "is a finite number, not nan, on the first batch of 'train'"),
        ({"loss": lambda m, b: torch.ones(())}, "the loss depends on what is trained, but that of the first batch has no gradient for any"),
        ({"loss": lambda m, b: cross(m, b) if m.training else None}, "not NoneType, on the first batch of 'val'"),
        ({"loss": cross, "metric": lambda m, b: [1, 2]}, r"metric 'metric' of the first batch of 'val' of 'data', .* is one number, not \[1, 2\]"),
        ({"loss": cross, "metric": lambda m, b: m.nothing}, "metric 'metric' fails on the part 'val' of 'data': .*no attribute 'nothing'"),
        ({"metric": lambda m, b: X}, r"is one number, not a Tensor of shape \(60, 8\)"),
        ({"data": parts(X, X)}, "a task is for classifiers, whose batches are inputs and labels, .*'train' .*takes any others"),
        ({"data": parts(X, Y - 1)}, "needs labels from 0 up as torch.long, found torch.int64 in -1..1"),
        ({"data": parts(X, Y + 2)}, "train: a model of 3 classes; 'data' has 5"),
    ],
)  # fmt: skip
def test_said_before_the_first_step(change, said, tmp_path):
    model = net()
    with pytest.raises(ValueError, match=said) as told:
        train(model, Task(**{"data": parts(X, Y), **change}), RECIPE, checkpoint=tmp_path / "c")
    assert "\n" not in str(told.value) and not list(tmp_path.iterdir())
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), net().parameters(), strict=True))


def test_label_smoothing_is_of_the_cross_entropy():
    with pytest.raises(
        ValueError,
        match=r"label_smoothing is of the cross entropy, but the task has a loss of its own; it is 0.1, not 0",
    ):
        train(net(), Task(data=parts(X, Y), loss=cross), Recipe(1, 1e-2, label_smoothing=0.1))


# -- F6: entries that are not finite ----------------------------------------------------------------------------------------
def with_nan(x, k):
    x = x.clone()
    x[k, 2] = NAN
    return x


def loaders(x, y, size=4):
    return {n: DataLoader(TensorDataset(*part), size) for n, part in parts(x, y).items()}


@pytest.mark.parametrize(
    ("data", "loss", "said"),
    [
        (lambda: parts(with_nan(X, 47), Y), None, r"Task: data: val\[0\] is finite everywhere, but its entry \(7, 2\) is nan"),
        (lambda: Split("s", *parts(with_nan(X, 47), Y).values()), None, r"s: val inputs is finite everywhere, but its entry \(7, 2\) is nan"),
        (lambda: loaders(with_nan(X, 47), Y), None, r"batch 1 of 'val' of 'data'\[0\] is finite everywhere, but its entry \(3, 2\) is nan"),
        (lambda: loaders(with_nan(X, 31), Y), None, r"batch 7 of 'train' of 'data'\[0\] is finite everywhere, but its entry \(3, 2\) is nan"),
        (lambda: loaders(with_nan(X, 41), Y), cross, r"the first batch of 'val' .*\[0\] is finite everywhere, but its entry \(1, 2\) is nan"),
        (lambda: parts(X, with_nan(X[:, :3], 49)), squares, r"batch 0 of 'val' of 'data'\[1\] is finite everywhere, but its entry \(9, 2\) is nan"),
        (lambda: parts(X, with_nan(X[:, :3], 9)), squares, r"'train' .*\[1\] is finite everywhere, but its entry \(\d+, 2\) is nan"),
    ],
)  # fmt: skip
def test_an_entry_that_is_not_finite_is_named_at_once(data, loss, said):
    """No epoch is done again at half the rate for it: a warning would be an error."""
    seen = []
    with pytest.raises(ValueError, match=said) as told:
        train(net(), Task(data=data(), loss=loss), RECIPE, after=seen.append)
    assert not seen and "\n" not in str(told.value)


def test_no_validation_part():
    history = train(net(), (X, Y), RECIPE)
    assert [e.val_metric for e in history] == [None] * 3 and len({e.loss for e in history}) == 3
    with pytest.raises(ValueError, match="evaluation needs the part 'val' of the data; 'data' has train"):
        evaluate(net(), goal_of((X, Y), "test"))


# -- what a Split takes, and what a Task does ---------------------------------------------------------------------------------
def split(y):
    return Split("own", (X, y), (X, y), (X, y))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: train(net(), DataLoader(TensorDataset(X, Y)), RECIPE), None),
        (lambda: train(net(), Task(data=split(Y), metric=None), RECIPE), None),
        (lambda: train(net(), split(Y), RECIPE, metric=None), "unexpected keyword argument 'metric'"),
        (lambda: split(X[:, 0]), "own: train needs labels from 0 up as torch.long, found torch.float32"),
        (lambda: split((X > 0).float()), "own: train needs one label an input and at least one"),
        (lambda: split(Y[:, None].expand(-1, 5)), "own: train needs one label an input and at least one"),
        (lambda: split(torch.where(Y == 0, -100, Y)), "own: train needs labels from 0 up as torch.long, found torch.int64 in -100..2"),
    ],
)  # fmt: skip
def test_what_is_taken_without_a_loss_of_ones_own(make, said):
    """What is refused here goes through a Task with tensors and a loss: ``test_a_task_of_ones_own``."""
    if said is None:
        assert len(make()) == 3
    else:
        with pytest.raises((TypeError, ValueError), match=said) as told:
            make()
        assert told.type is TypeError or "other targets go as tensors to tknn.Task(data=" in str(told.value)


# -- goals ------------------------------------------------------------------------------------------------------------------
def test_what_a_goal_is_by_default():
    assert goal_of(split(Y), "t").metric is ACCURACY and goal_of(split(Y), "t").classes == 3
    assert goal_of((X, Y), "t").classes == 3 and goal_of({"train": [(X, Y)]}, "t").classes == 0
    for data in ((X, Y), split(Y)):
        assert goal_of(data, "t", loss=cross).metric is LOSS and goal_of(data, "t", loss=cross).classes == 0
    assert goal_of((X, Y), "t", metric=nearest_is_right).metric == Metric(nearest_is_right, "nearest is right")


def test_the_accuracy_beside_a_loss_of_ones_own():
    model = nn.Linear(8, 3)
    x, y = parts(X, Y)["val"]
    right = (model(x).argmax(-1) == y).double().mean().item()
    for goal in (goal_of(parts(X, Y), "t", loss=cross, metric=ACCURACY), goal_of(parts(X, Y), "t")):
        assert evaluate(model, goal).metric == judged(model, goal, "val") == pytest.approx(right)


def test_values_of_metrics_as_text():
    assert (
        Metric(nearest_is_right, unit="%").shown(0.9174) == "91.74 %"
        and Metric(cross, "loss").shown(1.23456) == "1.235"
    )
    assert Metric(cross, "error", "K").shown(2.0) == "2 K" and Metric(lambda m, b: 0.0).name == "metric"


def test_a_trial_changes_nothing():
    model = nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 3)).train()
    before = {n: v.clone() for n, v in model.state_dict().items()}
    state = torch.get_rng_state()
    trial(model, goal_of(parts(X, Y), "t", loss=cross, metric=nearest_is_right), "t")
    assert torch.equal(torch.get_rng_state(), state) and all(m.training for m in model.modules())
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
