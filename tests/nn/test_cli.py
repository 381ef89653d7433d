import json
import os
import re
import signal
import subprocess
import sys
import time
from xml.etree import ElementTree

import pytest
import torch

import tnkit as tk
from tnkit.cli import main
from tnkit_nn import zoo
from tnkit_nn.comparison.report.files import write_report
from tnkit_nn.comparison.report.tables import rows, table
from tnkit_nn.comparison.sentences import answer
from tnkit_nn.data.sources import DATA
from tnkit_nn.families import CONTROLS, KINDS
from tnkit_nn.zoo.registry import ZOO

from .test_cli_compress import RECIPE
from .test_data import write_mnist

TINY = ["compare", "--shapes", "adtn,mpo", "--depths", "1,2", "--budgets", "100,300", "--seeds", "2", "--steps", "3"]


def record(label, budget, seed, accuracy, **more):
    base = dict(
        family=label.split()[0], label=label, depth=None, budget=budget, num_params=budget or 0, seed=seed, error=0.9,
        chance=0.95, accuracy_fit=0.1, accuracy_frozen=accuracy, accuracy_trained=accuracy, seconds=1.0, networks={},
        layer="fc1", layer_params=4096, trained_elsewhere=10, versions={"tnkit": "x"}, test_images=500, rest="all",
        val_frozen=accuracy, val_trained=accuracy, full_params=budget or 0, model_params=714 + (budget or 0), model_dense=4810,
        flops=1000, model="mlp", data="digits", dense_steps=4, fit_steps=2, tune_steps=2,
        frozen_from={}, trained_from={},
    )  # fmt: skip
    if label.startswith("adtn"):
        base["depth"] = int(label.split()[-1])
    return base | more


@pytest.mark.slow
def test_compare_writes_everything(tmp_path, capsys):
    tiny = [*TINY, "--limit", "100", "--workers", "1"]  # workers are seen in the test of Ctrl-C
    assert main([*tiny, "--out", str(tmp_path), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    kept = json.loads((tmp_path / "results.json").read_text())
    assert printed == kept
    assert {r["family"] for r in kept} == {"adtn", "mpo", *CONTROLS} - {"small_dense"}
    assert {r["seed"] for r in kept} == {0, 1}
    for r in kept:
        if r["networks"]:
            assert tk.from_json(r["networks"]["fc1"]).num_params == r["num_params"]
    page = (tmp_path / "index.html").read_text()
    drawn = {r["label"] for r in kept if r["networks"]}
    assert page.count("<figure class=") == len(drawn) and "http://" not in page and 'src="http' not in page
    for name in ("test.png", "error.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "table.md").read_text().count("\n|") == len({(r["label"], r["budget"]) for r in kept}) + 1
    before = (tmp_path / "results.json").read_bytes()
    assert main([*tiny, "--out", str(tmp_path)]) == 0  # nothing is left to do
    assert capsys.readouterr().out.splitlines()[-2:] == [answer(kept), str(tmp_path / "index.html")]
    assert (tmp_path / "results.json").read_bytes() == before
    with pytest.raises(SystemExit) as stop:
        main([*tiny, "--steps", "4", "--out", str(tmp_path)])
    assert stop.value.code == 2
    assert "holds another study: its protocol.fit_steps is 3, not 4" in capsys.readouterr().err


@pytest.mark.slow
def test_compare_a_convolutional_model_on_files(tmp_path, capsys):
    write_mnist(tmp_path / "data", train=300, test=40)
    run = [
        "compare", "--model", "lenet5", "--data", "mnist", "--data-dir", str(tmp_path / "data"), "--limit", "100", "--layer", "fc1",
        "--shapes", "cp", "--budgets", "400", "--seeds", "2", "--first-seed", "3", "--dense-steps", "2", "--steps", "2", "--rest", "head",
        "--workers", "1", "--out", str(tmp_path / "out"), "--json",
    ]  # fmt: skip
    assert main(run) == 0
    records = json.loads(capsys.readouterr().out)
    assert {r["label"] for r in records} == {"cp", *CONTROLS} - {"small_dense"} and {r["seed"] for r in records} == {
        3,
        4,
    }
    assert "over 2 seeds (3 to 4)" in (tmp_path / "out/index.html").read_text()
    assert {r["test_examples"] for r in records} == {40}
    assert {(r["data"], r["rest"], r["layer_params"]) for r in records} == {
        ("mnist (at most 100 a part)", "head", 48000)
    }
    moved = tmp_path / "data2"  # where the files lie is no part of the study, what is in them is
    (tmp_path / "data").rename(moved)
    again = [str(moved) if a == str(tmp_path / "data") else a for a in run]
    assert main(again) == 0 and json.loads(capsys.readouterr().out) == records
    write_mnist(tmp_path / "other", train=310, test=40)
    with pytest.raises(SystemExit) as stop:
        main([str(tmp_path / "other") if a == str(moved) else a for a in again])
    assert stop.value.code == 2 and "holds another study: its task.data is" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv, message",
    [
        ([], "required"),
        (["compare", "--shapes", "adtn,nonsense"], "argument --shapes: unknown shape 'nonsense'; known: adtn, "),
        (["compare", "--shapes", "mpo", "--at-least"], "at_least needs a deep network, of depth 2 or more"),
        (["compare", "--budgets", "ten"], "'ten' is not a list of whole numbers"),
        (["compare", "--budgets", "0"], "'0' is not a list of whole numbers"),
        (["compare", "--seeds", "0"], "'0' is not"),
        (["compare", "--first-seed", "-1"], "'-1' is not"),
        (["compare", "--model", "resnet"], "unknown name 'resnet'; known: mlp"),
        (["compare", "--data", "imagenet"], "unknown name 'imagenet'; known: digits"),
        (["compare", "--layer", "conv9"], "no layer 'conv9'"),
        (["compare", "--nonsense"], "unrecognized arguments"),
        (
            ["compare", "--model", "lenet5", "--data", "mnist"],
            "no folder is given (root=, or --data-dir): the one with train-images-idx3-ubyte",
        ),
        (["compare", "--model", "vgg16"], "compare: vgg16: the model does not take inputs of the shape (64,)"),
        (["compare", "--rest", "some"], "invalid choice: 'some'"),
        (["train", "--model", "resnet"], "unknown name 'resnet'; known: mlp, fc2, lenet5"),
        (["train", "--data", "imagenet"], "unknown name 'imagenet'; known: digits, mnist"),
        (
            ["train", "--data", "mnist"],
            "no folder is given (root=, or --data-dir): the one with train-images-idx3-ubyte",
        ),
        (
            ["train", "--data", "cifar10", "--data-dir", "/nowhere"],
            "/nowhere: no such folder; root should hold data_batch_1.bin",
        ),
        (["train", "--data-dir", "/nowhere"], "read from no folder"),
        (
            ["train", "--model", "lenet5"],
            "the model does not take inputs of the shape (64,) and torch.float32 of 'digits'",
        ),
        (["train", "--lr", "0"], "'0' is not a number above 0"),
        (["train", "--task", "/nowhere.py:task"], "--task: no such file /nowhere.py"),
        (["train", "--task", "task"], '--task is "file.py:name" or "module:name", not \'task\''),
        (
            ["train", "--task", "math:pi"],
            "--task: math:pi is a Task, or a function of no arguments that makes one, not 3.14",
        ),
        (
            ["train", "--task", "m.py:t", "--model", "mlp"],
            "--task 'm.py:t' has its own model and data; leave out --model mlp",
        ),
        (
            ["compare", "--task", "m.py:t", "--data", "digits"],
            "--task 'm.py:t' has its own model and data; leave out --data digits",
        ),
        (["train", "--epochs", "0"], "'0' is not"),
        (["train", "--limit", "0"], "'0' is not"),
        (["train", "--seed", "-1"], "'-1' is not a whole number in 0..2^63 - 1"),
        (["show", "/nowhere.json"], "tnkit show: /nowhere.json: No such file or directory (see tnkit show --help)"),
        (["show", "tests"], "tests: a folder without the model.safetensors of tnkit compress; give a file"),
        (["show", "ij,jk->ik"], "'ij,jk->ik' is no file; tnkit plan 'ij,jk->ik' --sizes 8 shows an equation's plan"),
        (["plan", "ij,jk->ik", "--sizes", "8", "--memory-limit", "1"], "memory_limit=1B cannot be planned"),
        (["plan", "ij,jk->ik", "--sizes", "8", "--memory-limit", "1e400"], "too large for one"),
        (["show", "pyproject.toml"], "'pyproject.toml' is not a whole file of tnkit.save"),
        (
            ["compress", "--weights", "/nowhere", "--recipe", "/nowhere"],
            "path is that of a recipe's TOML file, but there is no file /nowhere",
        ),
    ],
)
def test_bad_use_exits_2_with_one_line(argv, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize(
    "command, listed", [("train", (ZOO, DATA)), ("compress", (ZOO, DATA, KINDS)), ("compare", (ZOO, DATA, KINDS, CONTROLS))]
)  # fmt: skip
def test_help_lists_what_there_is(command, listed, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0
    for names in listed:
        assert ", ".join(names) in text or all(f"\n  {name} " in text for name in names)


@pytest.mark.parametrize(
    "command, module, wanted",
    [
        ("train", "tqdm", "tqdm: pip install 'tnkit[nn]'"),
        ("train", "filelock", "filelock: pip install 'tnkit[nn]'"),
        ("compress", "tomli_w", "tomli-w: pip install 'tnkit[nn]'"),
        ("compress", "safetensors", "safetensors: pip install 'tnkit[nn]'"),
        ("compare", "matplotlib", "matplotlib: pip install 'tnkit[compare]'"),
        ("compare", "scipy", "scipy: pip install 'tnkit[compare]'"),
        ("compare", "jinja2", "jinja2: pip install 'tnkit[compare]'"),
    ],
)
def test_a_missing_extra_is_one_line_before_anything_begins(command, module, wanted, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 1 and capsys.readouterr().err == f"tnkit {command} needs {wanted}\n"


def test_a_missing_extra_of_the_data(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(SystemExit) as stop:
        main(["train", "--out", str(tmp_path)])
    said = capsys.readouterr().err
    assert (
        stop.value.code == 1
        and said == "tnkit train: the data set digits needs scikit-learn: pip install 'tnkit[nn]'\n"
    )


@pytest.mark.parametrize("command, what", [("train", "train"), ("compress", "compress_"), ("compare", "compare")])
def test_ctrl_c_says_that_the_same_command_goes_on(command, what, tmp_path, monkeypatch, capsys):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    zoo.save(zoo.build("mlp"), tmp_path / "m")
    monkeypatch.setattr(f"tnkit_nn.cli.{command}.{what}", interrupted)
    (tmp_path / "r").write_text(RECIPE)
    given = ["--weights", str(tmp_path / "m"), "--recipe", str(tmp_path / "r")] if command == "compress" else []
    with pytest.raises(SystemExit) as stop:
        main([command, *given, "--out", str(tmp_path / "out")])
    said = "interrupted; the same command goes on from what it has kept in --out"
    assert stop.value.code == 130 and capsys.readouterr().err == f"tnkit {command}: {said}\n"


def limited(size, words):
    """Status and lines of a command that can write no file of more bytes: 'file too large' stands for 'no space left'.

    A fork of this process, which has imported everything; a new one spends most of its time on that.
    """
    resource = pytest.importorskip("resource")
    said, write = os.pipe()
    child = os.fork()
    if not child:
        status = 99
        try:
            os.dup2(write, 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115  pytest has its own
            torch.set_num_threads(1)  # threads do not survive a fork
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            status = main(words)
        except SystemExit as stop:
            status = stop.code
        finally:
            sys.stderr.flush()
            os._exit(status)
    os.close(write)
    with open(said) as stream:
        text = stream.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, [line for line in text.replace("\r", "\n").splitlines() if line.strip()]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train", "compress", "compare"])
def test_a_file_that_cannot_be_written_is_one_line_and_the_run_goes_on(command, tmp_path):
    """With no room for the first files, and room for these but not for the last."""
    zoo.save(zoo.build("mlp"), tmp_path / "m")
    (tmp_path / "r").write_text(RECIPE)
    words, sizes = {
        "train": (["--epochs", "2", "--limit", "100"], (3000,)),
        "compress": (["--weights", str(tmp_path / "m"), "--recipe", str(tmp_path / "r"), "--limit", "100"], (500, 15000)),
        "compare": (["--limit", "60", "--shapes", "cp", "--budgets", "100", "--seeds", "1", "--steps", "2", "--dense-steps", "2", "--workers", "1"], (500, 22000)),
    }[command]  # fmt: skip
    run = [command, *words, "--out", str(tmp_path / "out")]
    named = []
    for size in sizes:
        status, lines = limited(size, run)
        assert status == 1 and not any("Traceback" in line for line in lines), lines
        end = r": File too large; the same command goes on from what it has kept in --out"
        found = re.fullmatch(rf"tnkit {command}: {tmp_path}/out/(\S+){end}", lines[-1])
        assert found, lines
        named.append(found[1])
    assert len(set(named)) == len(sizes)
    assert limited(10**9, run)[0] == 0 and not list((tmp_path / "out").rglob("*.part"))


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("words", [["show", "net.json"], ["plan", "ij,jk->ik", "--sizes", "4"]])
def test_standard_output_that_takes_nothing(words, tmp_path):
    net = tk.tt((4, 4, 4), rank=2)
    (tmp_path / "net.json").write_text(tk.to_json(net))
    run = [sys.executable, "-m", "tnkit", *words]
    with open("/dev/full", "w") as full:
        environment = {**os.environ, "PYTHONPATH": os.getcwd()}
        done = subprocess.run(run, stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment)
    assert (done.returncode, done.stderr) == (1, f"tnkit {words[0]}: standard output: No space left on device\n")


@pytest.mark.slow
def test_ctrl_c_stops_a_comparison_and_its_workers_and_it_goes_on(tmp_path):
    words = [*TINY, "--seeds", "1", "--limit", "60", "--out", str(tmp_path)]
    run = [sys.executable, "-m", "tnkit", *words]
    first = subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while first.poll() is None and len(list((tmp_path / "jobs").glob("*.json"))) < 3:
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGINT)  # as a terminal does: to the workers too
    _, said = first.communicate()
    assert first.returncode == 130 and "Traceback" not in said
    assert said.endswith("tnkit compare: interrupted; the same command goes on from what it has kept in --out\n")
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path / "jobs").iterdir() if not p.name.startswith(".")}
    assert main([*words, "--workers", "1"]) == 0  # here: another process would spend its time on imports
    assert (
        (tmp_path / "results.json").exists()
        and len(kept) >= 3
        and all(p.stat().st_mtime_ns == at for p, at in kept.items())
    )


def test_show(tmp_path, capsys):
    net = tk.tt((4, 4, 4), rank=2)
    (tmp_path / "net.json").write_text(tk.to_json(net))
    tk.save(tmp_path / "net.tn", net, tk.init.normal(net))
    assert main(["show", str(tmp_path / "net.json"), "--out", str(tmp_path / "net.svg")]) == 0
    assert "core_1" in capsys.readouterr().out
    ElementTree.parse(tmp_path / "net.svg")
    with pytest.raises(SystemExit):
        main(["show", str(tmp_path / "net.tn"), "--out", str(tmp_path / "none" / "net.svg")])
    assert "net.svg: No such file or directory" in capsys.readouterr().err
    assert main(["show", str(tmp_path / "net.tn"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_params"] == net.num_params == 32


def test_rows_are_means_and_sample_deviations():
    (row,) = rows([record("mpo", 100, s, a) for s, a in enumerate((0.7, 0.8, 0.9))])
    assert row.test_frozen == pytest.approx((0.8, 0.1)) and row.gain_frozen is None
    assert "80.0 ± 10.0" in table([record("mpo", 100, s, a) for s, a in enumerate((0.7, 0.8, 0.9))])


@pytest.mark.slow
def test_report_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    records = [record("mpo", 100, s, 0.9) for s in range(2)]
    write_report(records, tmp_path, "t")
    before = (tmp_path / "results.json").read_bytes()
    monkeypatch.setattr("os.replace", lambda *a: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        write_report(records[:1], tmp_path, "t")
    assert (tmp_path / "results.json").read_bytes() == before
    assert not [p for p in tmp_path.iterdir() if p.name.startswith("tmp")]
