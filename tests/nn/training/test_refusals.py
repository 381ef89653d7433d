"""What training is given wrongly: refused before the first step and the first file, by the names of the model and of the data."""

import numpy as np
import pytest
import torch
from torch import nn

from tnkit_nn import Group, Recipe, Task, accuracy, train, zoo
from tnkit_nn.data import Split

X = torch.linspace(-1, 1, 12 * 6).reshape(12, 6)
Y = torch.tensor([0, 1, 2] * 4)
PART = (X, Y)
SPLIT = Split("small", PART, PART, PART)
RECIPE = Recipe(1, 0.1, batch=4)


def model(classes=3, inputs=6, dtype=None):
    torch.manual_seed(0)
    return zoo.MLP((inputs, 4, classes)).to(dtype)


class Bare(nn.Module):
    def forward(self, x):
        return x.sum()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda out: train(model(inputs=5), SPLIT, RECIPE, checkpoint=out), r"the model does not take inputs of the shape \(6,\) and torch.float32 of 'small'"),
        (lambda out: train(model(dtype=torch.float64), SPLIT, RECIPE, checkpoint=out), "does not take inputs of the shape .*'small'"),
        (lambda out: train(model(classes=2), SPLIT, RECIPE, checkpoint=out), "train: a model of 2 classes; 'small' has 3"),
        (lambda out: train(model().to("meta"), SPLIT, RECIPE, checkpoint=out), "parameters with values, but they are on the meta device"),
        (lambda out: train(model(), SPLIT, Recipe(1, 0.1, augment="crop_flip"), checkpoint=out), r"augment 'crop_flip' does not take the inputs of 'small': .*not \(12, 6\)"),
        (lambda out: train(model(), SPLIT, RECIPE, groups=[dict(model().named_parameters())], checkpoint=out), "each of groups is a Group, not"),
        (lambda out: train(model(), Task(data=SPLIT, loss=3), RECIPE, checkpoint=out), "Task: loss is a function, not 3"),
        (lambda out: train(model(), X.numpy(), RECIPE, checkpoint=out), "train: data: train is a DataLoader, a Dataset, .*, not a ndarray.*torch.as_tensor"),
        (lambda out: train(model(), "digits", RECIPE, checkpoint=out), r"train: data is a Split, .*, not 'digits'; Task\(data=...\) takes the names"),
        (lambda out: train(nn.Linear, SPLIT, RECIPE, checkpoint=out), "train: model is an nn.Module, not .*; make one of the class first"),
        (lambda out: accuracy(model(), (X, Y + 1)), "accuracy: a model of 3 classes; 'the part' has 4"),
        (lambda out: accuracy(model(), (X.numpy(), Y)), "accuracy: part inputs is a tensor, not a ndarray .*torch.as_tensor"),
        (lambda out: accuracy(Bare(), PART), r"gives logits of shape \(count, classes\), not torch.float32 of shape \(\), for 'the part'"),
    ],
)  # fmt: skip
def test_said_before_anything_is_written(call, said, tmp_path):
    with pytest.raises((TypeError, ValueError), match=said) as told:
        call(tmp_path / "out")
    assert "\n" not in str(told.value) and not list(tmp_path.iterdir())


def test_a_look_at_the_model_changes_nothing():
    """Modes, running statistics and the global generator are as before."""
    net = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2)).train()
    before = {n: v.clone() for n, v in net.state_dict().items()}
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with pytest.raises(ValueError, match="a model of 2 classes; 'small' has 3"):
        train(net, SPLIT, RECIPE)
    assert torch.equal(torch.rand(3), expected) and all(m.training for m in net.modules())
    assert all(torch.equal(v, before[n]) for n, v in net.state_dict().items())


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"val": (X.index_fill(0, torch.tensor([7]), float("nan")), Y)}, r"small: val inputs is finite everywhere, but its entry \(7, 0\) is nan"),
        ({"test": (X.clone().fill_(float("inf")), Y)}, r"small: test inputs is finite everywhere, but its entry \(0, 0\) is inf"),
        ({"train": (X[:0], Y[:0])}, "small: train needs one label an input and at least one"),
        ({"train": X}, "small: train is a pair of tensors, inputs and labels, not a Tensor of shape"),
        ({"val": (X, Y.int())}, r"needs labels from 0 up .*found torch.int32 in 0..2; y.long\(\) gives them"),
        ({"val": (X, Y - 1)}, "needs labels from 0 up .*found torch.int64 in -1..1"),
        ({"val": (X, Y), "classes": ("a", "b")}, r"needs labels in 0..1 as torch.long, found torch.int64 in 0..2; classes names 2"),
        ({"val": (X.double(), Y)}, "val has torch.float64 of 2 axes, train torch.float32 of 2"),
        ({"test": (X[:, None], Y)}, "test has torch.float32 of 3 axes, train torch.float32 of 2"),
        ({"test": (X.to_sparse(), Y)}, "test inputs is dense, not torch.sparse_coo"),
        ({"classes": "abc"}, "classes is a sequence, a tuple or a list, not 'abc'"),
        ({"name": ""}, "Split: name is a non-empty string"),
    ],
)  # fmt: skip
def test_splits_that_cannot_be(parts, said):
    with pytest.raises((TypeError, ValueError), match=said):
        Split(**{"name": "small", "train": PART, "val": PART, "test": PART} | parts)


def test_inputs_of_half_precision_and_whole_numbers_are_data_too():
    for x in (X.half() * 6e4, torch.full((12, 6), 1e308, dtype=torch.float64), (X * 9).long(), X > 0):
        assert Split("small", (x, Y), (x, Y), (x, Y)).num_classes == 3


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Group([("w", 3)]), "Group: params are names and tensors, .*, not \\('w', 3\\)"),
        (lambda: Group(model()), "Group: params are names and tensors, .*, not Flatten"),
        (lambda: Group(model().parameters()), "Group: params are names and tensors"),
        (lambda: Group({"w": X}, lr=0), "Group: lr is a positive number, not 0"),
        (lambda: Recipe(1, "0.1"), "lr is a positive number, not '0.1'"),
        (lambda: Recipe(1, np.array([0.1])), "lr is a positive number, not a ndarray"),
        (lambda: Task(data=SPLIT, weights=3), "Task: weights is a path"),
        (lambda: Task(model), "Task: data is a Split, a name, or .*, not None"),
        (lambda: Task(zoo.MLP, SPLIT), r"Task: model is a function of a seed, .*; lambda seed: MyModel\(\) makes one"),
    ],
)
def test_values_that_cannot_be(make, said):
    with pytest.raises((TypeError, ValueError), match=said):
        make()


def test_a_parameter_without_a_gradient_is_named():
    net = model()
    net.register_parameter("count", nn.Parameter(torch.ones(2, dtype=torch.int64), requires_grad=False))
    with pytest.raises(ValueError, match=r"parameter 'count' is floating or complex, not torch.int64"):
        train(net, SPLIT, RECIPE, groups=[Group(net.named_parameters())])
