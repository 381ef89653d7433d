"""The command with the base install: a process in which no package of an extra can be imported."""

import errno
import io
import json
import os
import subprocess
import sys
from xml.etree import ElementTree

import pytest

import tnkit as tk
from tnkit.cli import main
from tnkit.core.extras import EXTRAS, MissingExtra, need

BARE = """
import sys
sys.modules.update(dict.fromkeys({blocked!r}))
from tnkit.cli import main
status = main(sys.argv[1:])
assert not {{"torch", "tnkit_nn", "networkx", "tensornetwork"}} & {{name for name, m in sys.modules.items() if m}}
sys.exit(status)
"""


def bare(*words):
    """Exit status, stdout and stderr of the command without any extra."""
    code = BARE.format(blocked=sorted(EXTRAS))
    done = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def file(tmp_path):
    net = tk.mpo((4, 4), (4, 4), rank=3)
    (tmp_path / "net.json").write_text(tk.to_json(net))
    tk.save(tmp_path / "net.tn", net, tk.init.normal(net))
    return tmp_path / "net.json"


def refused(words, capsys):
    """Exit status, and the one line that is said, of the command in this process."""
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return stop.value.code, error


# -- the base install -------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_module_version_and_help():
    done = subprocess.run([sys.executable, "-m", "tnkit", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"tnkit {tk.__version__}\n"
    status, out, error = bare("--help")
    assert (status, error) == (0, "")
    assert all(f"\n    {name}" in out for name in ("show", "plan", "train", "compress", "compare", "completion"))
    assert "tnkit compare --help lists the models, data sets, families and controls" in out


@pytest.mark.slow
def test_show_and_plan_need_no_extra(file):
    status, out, error = bare("show", file)
    assert (status, error) == (0, "") and "core_1" in out and "matmul" in out
    assert bare("show", file.with_name("net.tn"))[:2] == (0, out)
    status, out, error = bare("plan", file)
    assert (status, error) == (0, "") and out.startswith("Plan(1 step,") and "peak" in out


@pytest.mark.slow
@pytest.mark.parametrize("command, extra", [("train", "nn"), ("compress", "nn"), ("compare", "compare")])
def test_a_command_without_torch_is_one_line(command, extra):
    for words in ([command], [command, "--help"]):
        assert bare(*words) == (1, "", f"tnkit {command} needs torch: pip install 'tnkit[{extra}]'\n")


@pytest.mark.slow
def test_what_else_needs_an_extra_is_one_line(file):
    wanted = "tnkit show: drawing needs matplotlib: pip install 'tnkit[plot]'\n"
    status, _, error = bare("show", file, "--out", file.with_suffix(".png"))
    assert (status, error) == (1, wanted) and not file.with_suffix(".png").exists()
    status, _, error = bare("show", file, "--out", file.with_suffix(".svg"))  # needs nothing
    assert (status, error) == (0, "") and file.with_suffix(".svg").read_text().startswith("<svg")
    status, _, error = bare("plan", file.with_suffix(".safetensors"))
    assert (status, error) == (1, "tnkit plan: a compressed model needs torch: pip install 'tnkit[nn]'\n")
    status, _, error = bare("completion", "bash")
    assert (status, error) == (1, "tnkit completion needs shtab: pip install 'tnkit[cli]'\n")


# -- extras -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("module", EXTRAS)
def test_a_missing_package_is_one_line(module, monkeypatch):
    package, extra = EXTRAS[module]
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra) as missing:
        need("it", module)
    assert str(missing.value) == f"it needs {package}: pip install 'tnkit[{extra}]'" and isinstance(
        missing.value, ImportError
    )


@pytest.mark.parametrize(
    "source, said",
    [
        ("raise ImportError('libx.so: no such\\nfile')", "libx.so: no such file"),
        ("import its_own", "No module named 'its_own'"),
    ],
)
def test_a_package_that_is_installed_but_broken_says_why(source, said, tmp_path, monkeypatch):
    (tmp_path / "shtab.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "shtab", raising=False)
    with pytest.raises(MissingExtra, match=rf"it needs shtab: pip install 'tnkit\[cli\]' \({said}\)$"):
        need("it", "shtab")


def test_every_extra_is_in_pyproject():
    tomllib = pytest.importorskip("tomllib")
    with open(f"{__file__.rpartition('/tests/')[0]}/pyproject.toml", "rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    for package, extra in EXTRAS.values():
        assert any(entry.startswith(f"{package}>=") for entry in extras[extra]), (package, extra)


# -- plan and show ----------------------------------------------------------------------------------------------------
def test_plan_of_an_equation(capsys):
    words = ["plan", "ij,jk,kl->il", "--sizes", "i=8,j=64,k=64,l=8"]
    plan = tk.plan(tk.from_einsum("ij,jk,kl->il", dict(i=8, j=64, k=64, l=8)))
    assert main(words) == 0 and capsys.readouterr().out == f"{plan}\n"
    assert main([*words, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["flops"] == plan.flops and figures["peak"] == plan.peak
    assert [tuple(map(tuple, path)) for path in figures["paths"]] == list(plan.paths)
    assert main(["plan", "ab,bc", "--sizes", "4", "--optimizer", "greedy", "--itemsize", "4"]) == 0
    net = tk.from_einsum("ab,bc", dict(a=4, b=4, c=4))
    assert capsys.readouterr().out == f"{tk.plan(net, 'greedy', itemsize=4)}\n"


def test_plan_bounds_memory(file, capsys):
    net = tk.from_einsum("ij,jk,kl,lm->im", dict.fromkeys("ijklm", 64))
    words = ["plan", "ij,jk,kl,lm->im", "--sizes", "64", "--json"]
    for options, given in (
        (["--slices", "4"], dict(slices=4)),
        (["--memory-limit", "220kB"], dict(memory_limit=220e3)),
        (["--memory-limit", "0.25MiB", "--checkpoint"], dict(memory_limit=2**18, checkpoint=True)),
        (["--checkpoint", "1e6"], dict(checkpoint=1e6)),
    ):
        assert main([*words, *options]) == 0
        figures, plan = json.loads(capsys.readouterr().out), tk.plan(net, **given)
        assert (figures["peak"], figures["flops"], figures["recomputed"]) == (plan.peak, plan.flops, plan.recomputed)


def test_show_draws(file, capsys):
    pytest.importorskip("matplotlib")
    drawn = {kind: file.with_suffix(f".{kind}") for kind in ("svg", "tex", "png", "pdf")}
    for path in drawn.values():
        assert main(["show", str(file), "--out", str(path)]) == 0
    ElementTree.parse(drawn["svg"])
    assert drawn["tex"].read_text() == tk.to_tikz(tk.from_json(file.read_text()))
    assert drawn["png"].read_bytes().startswith(b"\x89PNG") and drawn["pdf"].read_bytes().startswith(b"%PDF")
    assert sorted(file.parent.iterdir()) == sorted(
        {file, file.with_suffix(".tn"), *drawn.values()}
    )  # no temporary file is left
    assert refused(["show", file, "--out", "net.gif"], capsys) == (
        2, "tnkit show: argument --out: a drawing is a .svg, .tex, .png or .pdf file, not 'net.gif' (see tnkit show --help)\n",
    )  # fmt: skip


@pytest.mark.parametrize(
    "words, message",
    [
        (["plan"], "the following arguments are required: network"),
        (["plan", "ij,jk->ik"], "'ij,jk->ik' is no file; an equation needs its sizes, such as --sizes i=8,j=16"),
        (["plan", "ij,jk->ik", "--sizes", "i=2"], "no size for 'j', 'k'"),
        (["plan", "ij,jk->ik", "--sizes", "i=0"], "'i=0' is not a size for each index"),
        (["plan", "ij,j.->ik", "--sizes", "2"], "ellipsis"),
        (["plan", "/nowhere.json"], "/nowhere.json: No such file or directory"),
        (["plan", "i,i->", "--sizes", "2", "--optimizer", "best"], "unknown name 'best'; known: auto, greedy"),
        (["plan", "i,i->", "--sizes", "2", "--memory-limit", "much"], "'much' is not a number of bytes, such as 2e9"),
        (["plan", "i,i->", "--sizes", "2", "--memory-limit", "1B"], "cannot be planned"),
        (["plan", "i,i->", "--sizes", "2", "--slices", "0"], "'0' is not a whole number from 1 up"),
        (["grow"], "invalid choice: 'grow'"),
        (["completion", "fish"], "invalid choice: 'fish'"),
    ],
)
def test_bad_use_exits_2_with_one_line(words, message, capsys):
    status, error = refused(words, capsys)
    assert status == 2 and message in error


def stopped(error):
    def stops(*args, **options):
        raise error

    return stops


@pytest.mark.parametrize(
    "error, status, line",
    [
        (KeyboardInterrupt(), 130, "tnkit show: interrupted\n"),
        (MemoryError("a peak of 9 EB"), 1, "tnkit show: a peak of 9 EB\n"),
        (FloatingPointError("not finite"), 1, "tnkit show: not finite\n"),
        (OSError(errno.ENOSPC, "No space left on device", "x.svg"), 1, "tnkit show: x.svg: No space left on device\n"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 2, "tnkit show: x: Permission denied (see tnkit show --help)\n"),
    ],
)  # fmt: skip
def test_how_it_ends(error, status, line, file, monkeypatch, capsys):
    monkeypatch.setattr("tnkit.plan", stopped(error))
    assert refused(["show", file], capsys) == (status, line)


@pytest.mark.slow
def test_a_reader_that_has_enough(file):
    command = f"{sys.executable} -m tnkit plan {file} | true"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert done.stderr == ""


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["plan", "--help"], ["completion", "zsh"], ["show"]])
@pytest.mark.parametrize("gone", ["stdout", "stderr"])
def test_a_stream_that_is_not_there(words, gone, file, monkeypatch, capsys):
    """Closed by the shell (``>&-``), or never there: Windows' ``pythonw``."""
    monkeypatch.setattr(sys, gone, None)
    try:
        assert main([*words, str(file)] if words == ["show"] else words) == 0
    except SystemExit as done:  # argparse's way
        assert done.code == 0
    said = capsys.readouterr()
    assert (said.out == "") == (gone == "stdout") and said.err == "" and getattr(sys, gone) is None


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("buffered", ["", "1"])
def test_help_that_cannot_be_printed(buffered):
    run = [sys.executable, "-m", "tnkit", "--help"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            run, stdout=full, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": buffered}
        )
    assert (done.returncode, done.stderr) == (1, "tnkit: standard output: No space left on device\n")


def test_completion(capsys):
    pytest.importorskip("shtab")
    for shell, start in (("bash", "# AUTOMATICALLY GENERATED"), ("zsh", "#compdef tnkit")):
        assert main(["completion", shell]) == 0
        script = capsys.readouterr().out
        assert script.startswith(start) and "--memory-limit" in script and "random-greedy" in script


# -- odd files, names and numbers -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "words, message",
    [
        (["view", "net.json", "--path", "[[Infinity,1]]"], "argument --path: '[[Infinity,1]]' is not a path"),
        (["view", "net.json", "--path", "[" * 100_000], "is not a path, such as"),
        (["view", "net.json", "--path", "[[0.5,1]]"], "argument --path: '[[0.5,1]]' is not a path"),
        (["view", "net.json", "--path", '["01"]'], "is not a path, such as"),
        (["view", "net.json", "--optimizer", "auto,auto"], "argument --optimizer: 'auto' is given twice"),
        (["plan", "ij->i", "--sizes", "9" * 5000], "is not a size for each index"),
        (["plan", "ij->i", "--sizes", "8", "--slices", "9" * 5000], "is not a whole number from 1 up"),
        (["plan", "net.json", "--sizes", "8"], "argument --sizes: of an equation alone; net.json is a file"),
        (["plan", ",".join(["ab"] * 300)], "is no file; an equation needs its sizes"),
        (["show", "a\0b.json"], "argument network: path 'a\\x00b.json' has a character that no file's name can have"),
        (["show", "net.json", "--out", "a\0b.svg"], "argument --out: path 'a\\x00b.svg' has a character"),
        (["view", "net.json", "--out", "a\0b"], "view: save: path 'a\\x00b' has a character"),
        (["show", "latin.json"], "latin.json: no text in UTF-8, as tnkit.to_json gives it"),
        (["show", "net.json", "two\nlines"], "unrecognized arguments: two lines"),
        (["view", "net.json", "--out", "pipe"], "pipe: A device or a pipe, no file that can be replaced"),
    ],
)
def test_odd_words_end_with_one_short_line(words, message, file, monkeypatch, capsys):
    monkeypatch.chdir(file.parent)
    file.with_name("latin.json").write_bytes('"\xe9"'.encode("latin-1"))
    os.mkfifo("pipe")
    before = sorted(file.parent.iterdir())
    status, error = refused(words, capsys)
    assert status == 2 and message in error and (len(error) < 300 or "ab,ab" in error)
    assert sorted(file.parent.iterdir()) == before


def test_a_wrong_kind_of_drawing_is_refused_before_anything_is_printed(file, capsys):
    with pytest.raises(SystemExit):
        main(["show", str(file), "--out", "x.jpg"])
    assert capsys.readouterr().out == ""


def test_letters_that_the_terminal_has_not_are_escaped(tmp_path, monkeypatch):
    (tmp_path / "net.json").write_text(tk.to_json(tk.tt((2, 3), 2).relabel(nodes="{}\ud800é".format)))
    for code in ("utf-8", "ascii"):
        out = io.TextIOWrapper(io.BytesIO(), encoding=code)
        monkeypatch.setattr(sys, "stdout", out)
        assert main(["show", str(tmp_path / "net.json")]) == 0
        text = out.buffer.getvalue().decode(code)
        assert "core_0\\ud800" in text and ("é" in text) == (code == "utf-8")


def test_figures_of_thousands_of_digits(capsys):
    words = ["plan", "abcdefghijklmnop,abcdefghijklmnopq->q", "--sizes", str(10**300)]
    assert main(words) == 0 and "e+" in capsys.readouterr().out
    assert refused([*words, "--json"], capsys)[1].startswith("tnkit plan: argument --json: a figure has thousands of")
