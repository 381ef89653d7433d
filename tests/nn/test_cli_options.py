"""Every option of the commands that train arrives where it acts."""

import argparse
from importlib import import_module

import pytest
import torch

from tnkit.cli import main
from tnkit_nn import zoo

RECIPE = '[[layers]]\nselect = "fc1"\nfamily = "mpo"\nbudget = 300\n'
#: Command -> the function that does the work, and an option's other value.
COMMANDS = {
    "compare": (
        "compare",
        {
            "--model": "lenet5", "--limit": "90", "--layer": "fc2", "--shapes": "tt", "--budgets": "50",
            "--at-least": None, "--depths": "4", "--seeds": "7", "--first-seed": "5", "--steps": "3", "--dense-steps": "11",
            "--rest": "head", "--rates": "structured", "--workers": "1",
        },
    ),
    "train": ("train", {"--model": "lenet5", "--limit": "90", "--epochs": "2", "--lr": "0.5", "--batch": "7", "--seed": "4"}),
    "compress": ("compress_", {"--limit": "90", "--order": "forward", "--seed": "4"}),
}  # fmt: skip
#: Options that are tested where they act: files and folders, what is printed, a task that stands instead of model and data.
ELSEWHERE = {"--help", "--out", "--json", "--task", "--data", "--data-dir", "--weights", "--recipe"}


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """The arguments that a command calls its library with."""
    zoo.save(zoo.build("mlp"), tmp_path / "model")
    (tmp_path / "recipe").write_text(RECIPE)

    def of(command, *words):
        found = []

        def spy(*args, **options):
            found.append(repr([[plain(x) for x in args], {name: plain(x) for name, x in options.items()}]))
            raise KeyboardInterrupt

        monkeypatch.setattr(f"tnkit_nn.cli.{command}.{COMMANDS[command][0]}", spy)
        files = ["--weights", tmp_path / "model", "--recipe", tmp_path / "recipe"] if command == "compress" else []
        with pytest.raises(SystemExit):
            main([command, *map(str, files), "--out", str(tmp_path / "out"), *words])
        return found

    return of


def plain(x):
    """What can be compared of an argument: of a model its values, of a pool that it is one."""
    if isinstance(x, torch.nn.Module):
        return [(name, tuple(p.shape), p.sum().item()) for name, p in x.named_parameters()]
    if hasattr(x, "model_name"):
        return x.title, x.model_name, x.limit
    return type(x).__name__ if callable(x) or hasattr(x, "submit") else x


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_arrives(command, asked):
    parser = argparse.ArgumentParser()
    import_module(f"tnkit_nn.cli.{command}").configure(parser)
    flags = {action.option_strings[-1] for action in parser._actions}
    others = COMMANDS[command][1]
    assert flags - ELSEWHERE - {"--model"} <= set(others) <= flags
    (usual,) = asked(command)
    for flag, value in others.items():
        (found,) = asked(command, flag, *([] if value is None else [value]))
        assert found != usual, flag
