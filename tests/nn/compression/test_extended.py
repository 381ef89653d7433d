"""A compression that is gone on with: more epochs, fewer, another loss."""

import copy
import shutil
from dataclasses import replace

import pytest
import torch

import tnkit_nn as tknn
from tnkit_nn.compression import tuning

from .test_compress import RECIPE, plain, small, values
from .test_own import loop
from .test_tasks import SPLIT, mlp, one, regression, squares


def epochs(count):
    return replace(RECIPE, stage2=replace(RECIPE.stage2, epochs=count))


@pytest.mark.slow
def test_more_epochs_go_to_the_last_step(tmp_path):
    model, split = small()
    first = tknn.compress_(copy.deepcopy(model), epochs(4), split, out=tmp_path / "a")
    more = tknn.compress_(copy.deepcopy(model), epochs(7), split, out=tmp_path / "a")
    assert [step["epochs"] for step in more.steps] == [2, 5]
    assert plain(more)["steps"][0] == plain(first)["steps"][0]
    assert plain(more)["steps"][1]["history"][:2] == plain(first)["steps"][1]["history"]
    assert more.metric_after == tknn.accuracy(more.model, split.test) and more.metric_fit == first.metric_fit
    again = tknn.compress_(copy.deepcopy(model), epochs(7), split, out=tmp_path / "a")  # nothing is left to do
    assert plain(again) == plain(more)
    most = tknn.compress_(copy.deepcopy(model), epochs(8), split, out=tmp_path / "a")
    assert [step["epochs"] for step in most.steps] == [2, 6] and len(most.steps[1]["history"]) == 6
    for fewer in (4, 7):
        with pytest.raises(
            ValueError, match=f"holds a compression of 8 epochs, and stage2 has {fewer}; ask for as many or more"
        ):
            tknn.compress_(copy.deepcopy(model), epochs(fewer), split, out=tmp_path / "a")


@pytest.mark.slow
def test_more_epochs_before_the_first_are_done_end_the_same(tmp_path):
    model, split = small()
    tknn.compress_(copy.deepcopy(model), epochs(4), split, out=tmp_path / "a")
    whole = tknn.compress_(copy.deepcopy(model), epochs(6), split, out=tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    for name in ("step-1-tuned-4.json", "step-0-tuned.json", "stage1.json"):
        (tmp_path / "b" / name).unlink()
    again = tknn.compress_(copy.deepcopy(model), epochs(6), split, out=tmp_path / "b")
    assert plain(again) == plain(whole)


@pytest.mark.slow
def test_what_took_a_smaller_rate_goes_on_at_it(tmp_path, monkeypatch):
    model, split = small()
    rates, original = [], tuning.train

    def harmful(model, data, recipe, **options):
        rates.append((recipe.lr, recipe.epochs))
        history = original(model, data, recipe, **options)
        if recipe.lr == 2e-2:
            for p in model.fc2.parameters():
                p.data.zero_()
            return (*history[:-1], replace(history[-1], val_metric=0.0))
        return history

    monkeypatch.setattr(tuning, "train", harmful)
    with pytest.warns(UserWarning, match="undone, and again at 0.5"):
        tknn.compress_(copy.deepcopy(model), epochs(4), split, select="fc2", out=tmp_path)
    more = tknn.compress_(copy.deepcopy(model), epochs(6), split, select="fc2", out=tmp_path)
    assert rates == [(2e-2, 4), (1e-2, 4), (1e-2, 6)] and more.steps[0]["rate_factor"] == 0.5


@pytest.mark.slow
def test_a_loop_of_ones_own_gets_what_is_added(tmp_path):
    calls = []

    def noted(model, parameters, budget):
        calls.append(budget.epochs)
        loop(model, parameters, budget)

    recipe = one(("0", "2"), stage2=tknn.Recipe(epochs=4, lr=1e-2, batch=40))
    first = tknn.compress_(mlp(), recipe, SPLIT, tune=noted, out=tmp_path)
    before = values(first.model)
    more = tknn.compress_(mlp(), recipe, SPLIT, tune=noted, out=tmp_path, stage2=replace(recipe.stage2, epochs=7))
    assert calls == [2, 2, 3] and [s["epochs"] for s in more.steps] == [2, 5]
    assert any(not torch.equal(v, before[n]) for n, v in more.model.state_dict().items())
    again = tknn.compress_(mlp(), recipe, SPLIT, tune=noted, out=tmp_path, stage2=replace(recipe.stage2, epochs=7))
    assert calls == [2, 2, 3] and all(torch.equal(v, values(more.model)[n]) for n, v in values(again.model).items())
    with pytest.raises(ValueError, match=r"holds another compression: its tune is"):
        tknn.compress_(mlp(), recipe, SPLIT, tune=loop, out=tmp_path, stage2=replace(recipe.stage2, epochs=7))


@pytest.mark.slow
def test_another_loss_is_noticed(tmp_path):
    tknn.compress_(mlp(2), one(), regression(), out=tmp_path)
    other = replace(regression(), loss=lambda model, batch: 2 * squares(model, batch))
    with pytest.raises(
        ValueError, match=r"holds another compression: its task.loss is 'squares .*', not '.*lambda.*'; give an empty"
    ):
        tknn.compress_(mlp(2), one(), other, out=tmp_path)
    with pytest.raises(ValueError, match=r"its recipe.rest is 'none', not 'all'; give"):
        tknn.compress_(mlp(2), one(rest="all"), regression(), out=tmp_path)
    with pytest.raises(ValueError, match=r"its recipe.stage2 is {.*, here there is none; give"):
        tknn.compress_(mlp(2), one(stage2=None), regression(), out=tmp_path)
    tknn.compress_(mlp(2), one(), regression(), out=tmp_path)


@pytest.mark.parametrize("content", ['{"epochs": []}', '{"epochs": [0]}', '{"epochs": ["4"]}', "null"])
def test_a_damaged_record_of_epochs(tmp_path, content):
    tknn.compress_(mlp(2), one(), regression(), out=tmp_path)
    (tmp_path / "asked.json").write_text(content)
    with pytest.raises(ValueError, match=r"asked.json: damaged, "):
        tknn.compress_(mlp(2), one(), regression(), out=tmp_path)
