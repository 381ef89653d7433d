"""The pages are true and plain: their Python runs, their links are there, their figures are those of the results, their sentences short."""

import importlib
import importlib.util
import re
import statistics
import sys
import tomllib
from pathlib import Path

import pytest
from scipy import stats

import tnkit as tk

ROOT = Path(__file__).parents[1]
#: Tables of measurements, rendered whole by scripts of their own (see test_benchmarks.py).
MEASURED = {"benchmarks.md", "paper.md"}
PAGES = sorted(p for p in (ROOT / "docs").rglob("*.md") if p.name not in MEASURED)
#: Pages that are made when the site is built, which checks links to them.
MADE = ("reference/", "course/")
DOORS = [ROOT / "README.md", *PAGES]
BLOCK = re.compile(r"<!-- rendered: ([\w-]+) -->\n.*?<!-- end -->", re.DOTALL)


def ids(path):
    return str(path.relative_to(ROOT))


def without_code(text):
    return re.sub(r"^```.*?^```\n", "", text, flags=re.MULTILINE | re.DOTALL)


def sentences(text):
    """The sentences of a page: no code, tables, headings, pictures, comments."""
    kept = []
    for line in without_code(text).splitlines():
        if line.startswith(("|", "#", "!", "<!--")):
            line = ""
        kept.append("\n" + line.lstrip("- ") if line.startswith("- ") else line)
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)|`([^`]*)`", r"\1\2", "\n".join(kept)).replace("**", "")
    for paragraph in re.split(r"\n\s*\n", plain):
        yield from (s for s in re.split(r"(?<=[.!?])\s+", paragraph.strip()) if s)


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES, ids=ids)
def test_python_blocks_of_a_page_run_in_order(path, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    text, namespace = path.read_text(), {"__name__": path.stem}
    for found in re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        line = text[: found.start()].count("\n") + 1
        exec(compile("\n" * line + found[1], str(path), "exec"), namespace)


@pytest.mark.slow
def test_the_commands_of_a_task_run(tmp_path, monkeypatch):
    """As a reader would do it: the page's task in a file, its recipe in another, and the two commands."""
    pytest.importorskip("torch")
    from tnkit.cli import main

    text = (ROOT / "docs" / "command.md").read_text()
    monkeypatch.chdir(tmp_path)
    for kind, name in (("python", "mine.py"), ("toml", "products.toml")):
        (block,) = re.findall(rf"^```{kind}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        Path(name).write_text(block)
    commands = re.findall(r"^tnkit (.* --task mine.py:task .*)$", text, re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["train", "compress"]
    assert all(main(command.split()) == 0 for command in commands)
    assert Path("out/small/model.safetensors").exists()


def test_most_pages_have_python():
    assert sum("```python" in path.read_text() for path in PAGES) >= 5


@pytest.mark.parametrize("path", [*DOORS, *((ROOT / "docs" / name) for name in sorted(MEASURED))], ids=ids)
def test_links_are_there(path):
    for link in re.findall(r"\]\(([^)#\s]+)", path.read_text()):
        if "://" not in link and not link.startswith(MADE):
            assert (path.parent / link).exists(), f"{path.name} links to {link}, which is not there"


def linked(path):
    """The pages that a page links to."""
    found = re.findall(r"\]\(([^)#\s:]+\.md)(?:#[^)]*)?\)", without_code(path.read_text()))
    return {(path.parent / link).resolve() for link in found}


def test_every_page_can_be_reached_from_the_readme():
    """By links alone, as a reader of the repository goes."""
    reached, waiting = set(), {ROOT / "README.md"}
    while waiting:
        page = waiting.pop()
        reached.add(page)
        waiting |= {p for p in linked(page) if p.exists()} - reached
    assert not set(PAGES) - reached


def test_the_readme_leads_to_the_start_and_to_the_course():
    assert {ROOT / "docs/index.md", ROOT / "docs/cheat-sheet.md"} <= linked(ROOT / "README.md")


@pytest.mark.parametrize("path", DOORS, ids=ids)
def test_sentences_are_short(path):
    words = [len(s.split()) for s in sentences(path.read_text())]
    longest = max(sentences(path.read_text()), key=lambda s: len(s.split()))
    assert len(words) > 5 and statistics.median(words) <= 15
    assert max(words) <= 30, longest


def test_sentences_are_found():
    page = "# A head.\n\nOne is `a.b`. Two\ngoes on.\n\n- three.\n- four\n\n| a | b. |\n\n```\nno. code.\n```\n<!-- x -->\n"
    assert list(sentences(page)) == ["One is a.b.", "Two\ngoes on.", "three.", "four"]


def test_the_readme_is_a_door():
    text = (ROOT / "README.md").read_text()
    assert len(text.encode()) < 6000
    assert text.index("make demo") < text.index("pip install") < text.index("```python")
    pictures = [
        path for path in re.findall(r"!\[[^\]]*\]\(([^)]*)\)", text) if not path.startswith("docs/assets/")
    ]  # no badges
    assert pictures == ["docs/brick_wall.svg"] and "TNModule" in text


@pytest.mark.parametrize("path", DOORS, ids=ids)
def test_the_fields_words(path):
    """Words of STYLE: parameters, fine-tune, approximation, backend, no significant difference."""
    text = re.sub(r"`[^`\n]*`", "", without_code(path.read_text()))
    found = re.findall(r"\b(?:stage [12]|told apart|the rest|(?:of|in|as many|no) numbers|by chance|ops)\b", text)
    assert not found


def test_commands_and_options_that_are_shown_exist(capsys):
    """Every option of every ``tnkit COMMAND`` in a block is in that command's help."""
    pytest.importorskip("torch")
    module, _, name = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["tnkit"].partition(":")
    main = getattr(importlib.import_module(module), name)
    fenced = [b for path in DOORS for b in re.findall(r"^```(\w*)\n(.*?)^```", path.read_text(), re.M | re.S)]
    blocks = "".join(block for language, block in fenced if not language)
    lines = re.findall(r"^tnkit (\w+) (.*)$", blocks.replace("\\\n", " "), re.MULTILINE)
    assert {"show", "train", "compress", "compare"} <= {command for command, _ in lines}
    for command, rest in lines:
        with pytest.raises(SystemExit) as stop:
            main([command, "--help"])
        if command != "plan" or stop.value.code == 0:
            assert stop.value.code == 0, command
            missing = set(re.findall(r"--[\w-]+", rest)) - set(re.findall(r"--[\w-]+", capsys.readouterr().out))
            assert not missing, (command, missing)


def test_extras_that_are_named_exist():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    text = (ROOT / "README.md").read_text()
    named = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) | set(re.findall(r"\.\[(\w+)\]", text))
    assert named and named <= set(extras)


def test_the_citation_is_of_this_version():
    assert f"\nversion: {tk.__version__}\n" in (ROOT / "CITATION.cff").read_text()


# -- figures --------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def render():
    pytest.importorskip("scipy")
    pytest.importorskip("torch")
    spec = importlib.util.spec_from_file_location("docs_render", ROOT / "docs" / "render.py")
    module = importlib.util.module_from_spec(spec)
    before = sys.path[:]
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


@pytest.mark.slow
def test_rendered_blocks_are_what_the_results_give(render):
    used = set()
    for path in render.pages():
        text = path.read_text()
        assert render.rendered(text) == text, f"{path.name} differs from the results: run `make docs`"
        used |= set(BLOCK.findall(text))
        assert text.count("<!-- rendered: ") == text.count("<!-- end -->") == len(BLOCK.findall(text)), path.name
    assert used == set(render.BLOCKS)


def test_an_edited_figure_is_noticed(render):
    page = (ROOT / "README.md").read_text()
    row = next(line for line in page.splitlines() if "`fc1`, 48,000" in line)
    figure = re.search(r"\d\d\.\d", row)[0]
    assert render.rendered(page.replace(figure, "99.9")) == page
    with pytest.raises(KeyError):
        render.rendered("<!-- rendered: nothing -->\n<!-- end -->")


@pytest.mark.parametrize("path", [ROOT / "README.md", ROOT / "docs/findings.md", ROOT / "docs/compare.md"], ids=ids)
def test_no_measured_figure_is_typed(path):
    """Accuracies, p-values and seconds stand in rendered blocks alone."""
    typed = re.sub(r"\[[^\]]*\]\([^)]*\)", "", without_code(BLOCK.sub("", path.read_text())))
    assert not re.findall(
        r"\b\d\d\.\d+\b(?! million)|\bp [<=]? ?0?\.\d+|\d+(?:\.\d+)? (?:seconds|points|s\b)|\d\d %",
        typed.replace("95 % interval", ""),
    )


@pytest.mark.parametrize("path", DOORS, ids=ids)
def test_no_count_is_typed_beside_a_print(path):
    """What a snippet prints is shown when it runs; a count that the page states is asserted there."""
    blocks = re.findall(r"^```py(?:thon)?\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)
    assert not re.findall(r"^\s*print\(.*\)  # ~?\d.*$", "".join(blocks), re.MULTILINE)


def test_the_finding_is_that_of_the_results(render):
    """The rows, computed again in another way."""
    import json

    rows = render.BLOCKS["finding"]().splitlines()[2:7]
    small = json.loads((ROOT / "benchmarks/paper/lenet5-conv2-question.json").read_text())["records"]
    circuit, shallow = (
        [r["test_frozen"] for r in small if r["label"] == label] for label in ("circuit depth 3", "mpo, no fewer")
    )
    assert len(circuit) == len(shallow) == 20 and f"circuit {100 * statistics.mean(circuit):.1f}" in rows[1]
    assert f"TT-matrix {100 * statistics.mean(shallow):.1f}" in rows[1]
    assert ("deep is better" in rows[1]) == (
        stats.ttest_rel(circuit, shallow).pvalue < 0.05
    )  # one deep network, which leads
    found = json.loads((ROOT / "benchmarks/paper/lenet5-fc1-confirm.json").read_text())["records"]

    def accuracy(label):
        values = [r["test_frozen"] for r in found if r["label"] == label]
        assert len(values) == 15
        return f"{100 * statistics.mean(values):.1f}"

    assert f"circuit {accuracy('circuit of 3 digits depth 2')}" in rows[0]
    assert f"ring {accuracy('ring on its digits')}" in rows[0] and f"hash {accuracy('hashed')}" in rows[0]
    wide = json.loads((ROOT / "benchmarks/paper/wide-conv.json").read_text())["records"]
    by_validation = {}
    for kind in ("circuit", "ring", "hashed"):  # of each the row that validation prefers
        mean = {}
        for r in wide:
            if r["label"].startswith(kind):
                mean.setdefault(r["label"], []).append((r["val_frozen"], r["test_frozen"]))
        best = max(mean.values(), key=lambda seen: statistics.mean(v for v, _ in seen))
        by_validation[kind] = [test for _, test in best]
    assert all(len(values) == 5 for values in by_validation.values())
    for kind, shown in (("circuit", "circuit"), ("ring", "ring"), ("hashed", "hash")):
        assert f"{shown} {100 * statistics.mean(by_validation[kind]):.1f}" in rows[2]
    same = stats.ttest_rel(by_validation["circuit"], by_validation["ring"]).pvalue > 0.05
    assert same and rows[2].endswith("deep and shallow: no significant difference |")
    cells = json.loads((ROOT / "benchmarks/paper/cifar-whole.json").read_text())["cells"]
    for head, shown in (("adtn 424", "ADTN"), ("left out", "left out"), ("frozen random", "frozen random")):
        values = [c["result"]["accuracy"] for c in cells if c["model"] == "vgg16" and c["head"] == head]
        assert f"{shown} {100 * statistics.mean(values):.1f}" in rows[3]
    cells = json.loads((ROOT / "benchmarks/paper/vgg16-convs.json").read_text())["cells"]
    page = (ROOT / "docs/paper.md").read_text()
    for kind, shown in (("circuit", "circuit"), ("adtn", "ADTN"), ("mpo", "TT-matrix"), ("hashed", "hash")):
        rate = re.search(rf"^\| {kind} +\| [\d,]+ +\| ([\d.]+) +\|", page, re.MULTILINE)[1]
        values = [c["result"]["accuracy"] for c in cells if c["convs"] == kind and f"{c['rate']:g}" == rate]
        assert f"{shown} {100 * statistics.mean(values):.1f}" in rows[4]


def test_p_values_are_those_of_the_page_of_all_results(render):
    page = (ROOT / "docs/paper.md").read_text()
    shown = [p for name in ("fc1-long", "fc1-small") for p in re.findall(r"p = (0\.\d+)", render.BLOCKS[name]())]
    assert len(shown) >= 6 and all(f"(p {p}" in page for p in shown)
