"""The course: every tutorial runs from top to bottom in little time, is plain, and has three exercises with solutions that are checked."""

import ast
import os
import re
import resource
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from test_docs import sentences

ROOT = Path(__file__).parents[1]
TUTORIALS = sorted((ROOT / "tutorials").glob("*.py"))
#: Seconds of processor time that a tutorial may take: a minute on the machine where it was written, twice that elsewhere.
SECONDS = 120
SOLUTION = '# %% tags=["solution"]'
EXERCISE = re.compile(r"^### Exercise (\d)\. \S", re.MULTILINE)


def ids(path):
    return path.stem


def cells(path):
    """The cells of a percent script: the line each begins with, and its text, a markdown cell without its comment signs."""
    found = []
    for part in re.split(r"(?=^# %%)", path.read_text(), flags=re.MULTILINE)[1:]:
        head, _, text = part.partition("\n")
        if "[markdown]" in head:
            text = "\n".join(line.removeprefix("#").removeprefix(" ") for line in text.splitlines())
        found.append((head, text))
    return found


def prose(path):
    return "\n\n".join(text for head, text in cells(path) if "[markdown]" in head)


@pytest.mark.slow
@pytest.mark.parametrize("path", TUTORIALS, ids=ids)
def test_tutorial_runs(path, tmp_path):
    for module in ("torch", "matplotlib", "sklearn", "networkx"):
        pytest.importorskip(module)
    search = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, "MPLBACKEND": "Agg", "PYTHONPATH": search, "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run(
        [sys.executable, str(path)], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=800
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < SECONDS
    assert {entry.name for entry in tmp_path.iterdir()} <= {"out"}
    pictures = list((tmp_path / "out").rglob("*.png"))
    assert pictures and all(picture.stat().st_size > 1000 for picture in pictures)


@pytest.mark.parametrize("path", TUTORIALS, ids=ids)
def test_a_tutorial_is_a_percent_script_with_its_number_and_its_story_first(path):
    heads = [head for head, _ in cells(path)]
    assert set(heads) == {"# %%", "# %% [markdown]", SOLUTION}
    assert heads[0] == "# %% [markdown]" and path.read_text().startswith(heads[0])
    assert cells(path)[0][1].startswith(f"# {int(path.stem[:2])}. ")
    code = [text for head, text in cells(path) if head == "# %%"]
    assert statistics.median(len(text.strip().splitlines()) for text in code) <= 15, "one idea a cell"


@pytest.mark.parametrize("path", TUTORIALS, ids=ids)
def test_a_tutorial_ends_with_three_exercises_whose_solutions_are_checked(path):
    """What is hidden is used by nothing that is shown, and can fail: each solution asserts something that was computed."""
    assert EXERCISE.findall(prose(path)) == ["1", "2", "3"]
    found = cells(path)
    first = next(k for k, (_, text) in enumerate(found) if EXERCISE.search(text))
    for (head, text), (after, solution) in zip(found[first:], [*found[first + 1 :], ("", "")], strict=True):
        assert head in ("# %% [markdown]", SOLUTION)
        if EXERCISE.search(text):
            assert after == SOLUTION
            asserts = [node.test for node in ast.walk(ast.parse(solution)) if isinstance(node, ast.Assert)]
            assert any(isinstance(node, (ast.Name, ast.Call)) for test in asserts for node in ast.walk(test)), text
    assert not any(head == SOLUTION for head, _ in found[:first])


#: Wrong answers that look right: the number of a tutorial, what is right in one of its solutions, and what a student may write.
WRONG = [
    ("02", "min(choices, key=lambda c: c[:4])", "choices[0]"),  # any pair, not the one with the smallest result
    ("04", "for _ in range(300):", "for _ in range(20):"),  # a mixture of the two lowest states
    ("06", "node.name: solved.", "node.name: 0.5 * solved."),  # smaller than before, not the smallest
    ("09", "(len(raw) - k)", "len(raw)"),  # Bonferroni's method, not Holm's
]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "right", "wrong"), WRONG, ids=[number for number, *_ in WRONG])
def test_the_check_of_an_exercise_refuses_a_wrong_answer(number, right, wrong, tmp_path):
    """The shown cells and the one solution run, as a student has them; the assert at its end must fail."""
    for module in ("torch", "matplotlib", "networkx", "scipy", "sklearn"):
        pytest.importorskip(module)
    (path,) = (path for path in TUTORIALS if path.stem.startswith(number))
    found = cells(path)
    (solution,) = (text for head, text in found if head == SOLUTION and right in text)
    assert solution.count(right) == 1
    shown = [text for head, text in found if head == "# %%"]
    script = "\n".join([*shown, "print('THE ANSWER')", solution.replace(right, wrong)])
    env = {**os.environ, "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=800
    )
    assert "THE ANSWER" in done.stdout, done.stderr[-3000:]
    assert done.returncode and done.stderr.rstrip().endswith("AssertionError"), done.stderr[-3000:]


@pytest.mark.parametrize("path", TUTORIALS, ids=ids)
def test_the_text_is_plain(path):
    text = prose(path)
    words = [len(s.split()) for s in sentences(text)]
    assert len(words) > 20 and statistics.median(words) <= 15
    assert max(words) <= 30, max(sentences(text), key=lambda s: len(s.split()))
    bare = re.sub(r"`[^`\n]*`", "", text)
    assert not re.findall(
        r"\b(?:stage [12]|told apart|the rest|(?:of|in|as many|no) numbers|by chance|ops)\b", bare, re.IGNORECASE
    )


@pytest.mark.parametrize("path", TUTORIALS, ids=ids)
def test_no_measured_figure_is_typed(path):
    """Accuracies, errors, p-values and seconds are printed by the run, or read from a committed result."""
    bare = re.sub(r"`[^`\n]*`|\]\([^)]*\)", "", prose(path))
    typed = re.findall(
        r"\b\d+\.\d{2,}\b(?!\.\d)|\b\d\d\.\d\b(?! million)|\bp [<=] ?0?\.\d+|\d+(?:\.\d+)? (?:seconds|points)\b", bare
    )
    assert not [t for t in typed if t != "2305.06058"]
    assert not re.findall(r"\d\d ?%", bare.replace("95 % interval", ""))


@pytest.mark.parametrize("path", TUTORIALS, ids=ids)
def test_a_tutorial_is_a_notebook(path):
    """For jupytext and for the site: solutions keep their tag, and nothing is lost on the way there and back."""
    jupytext = pytest.importorskip("jupytext")
    nbformat = pytest.importorskip("nbformat")
    book = jupytext.reads(path.read_text(), fmt="py:percent")
    nbformat.validate(book)
    assert sum(cell.metadata.get("tags") == ["solution"] for cell in book.cells) >= 3
    assert [cell.cell_type for cell in book.cells][:2] == ["markdown", "code"]
    again = jupytext.reads(jupytext.writes(book, fmt="ipynb"), fmt="ipynb")
    assert [cell.source for cell in again.cells] == [cell.source for cell in book.cells]


def test_links_of_the_course_are_there():
    for path in TUTORIALS:
        for link in re.findall(r"\]\(([^)#\s]+)", prose(path)):
            assert "://" in link or (path.parent / link).exists(), f"{path.name} links to {link}, which is not there"


def test_the_course_is_whole_and_can_be_reached_from_the_readme():
    assert [int(path.stem[:2]) for path in TUTORIALS] == list(range(1, len(TUTORIALS) + 1))
    assert f"](tutorials/{TUTORIALS[0].name})" in (ROOT / "README.md").read_text()


def test_nothing_links_to_a_tutorial_that_is_not_there():
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *TUTORIALS]
    named = {
        n for page in pages if page.exists() for n in re.findall(r"\b(\d\d_[a-z_]+)\.(?:py|md)\b", page.read_text())
    }
    assert named and named <= {path.stem for path in TUTORIALS}
