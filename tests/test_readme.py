"""What the README says is true: its Python runs, its make targets exist; and every public name has a docstring."""

import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language):
    """(line number, source) of every fenced block of a language."""
    found = re.finditer(rf"^```{language}[^\n]*\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    return [(README[: match.start()].count("\n") + 2, match[1]) for match in found]


@pytest.mark.slow
def test_python_blocks_run_in_order(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("matplotlib").use("Agg")
    monkeypatch.chdir(tmp_path)
    found = blocks("python")
    assert found, "README.md has no python block"
    namespace = {"__name__": "readme"}
    for line, source in found:
        # Blank lines in front make the line numbers of a traceback those of the README.
        exec(compile("\n" * (line - 1) + source, "README.md", "exec"), namespace)


@pytest.mark.slow
def test_the_first_example_passes_a_strict_type_check(tmp_path):
    tool = shutil.which("mypy", path=str(Path(sys.executable).parent)) or shutil.which("mypy")
    if tool is None:
        pytest.skip("mypy is not installed")
    (tmp_path / "first.py").write_text(blocks("python")[0][1])
    command = [tool, "--strict", f"--cache-dir={os.devnull}", "--follow-imports=silent", "first.py"]
    env = {**os.environ, "MYPYPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stdout + done.stderr


def test_make_targets_exist():
    targets = re.findall(r"^([\w-]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    commands = re.findall(r"`([^`\n]+)`", README) + [
        line for _, block in blocks("(?:sh|bash|console)?") for line in block.splitlines()
    ]
    named = {name for command in commands for name in re.findall(r"\bmake ([a-z][\w-]*)", command)}
    assert named, "README.md names no make target"
    assert named <= set(targets), f"not in the Makefile: {sorted(named - set(targets))}"


def test_files_that_are_linked_exist():
    for link in re.findall(r"\]\(([^)#\s]+)", README):
        if "://" not in link and not link.startswith("mailto:"):
            assert (ROOT / link).exists(), f"README.md links to {link}, which is not there"


@pytest.mark.parametrize("package", ["tnkit", "tnkit_nn"])
def test_public_names_exist_and_have_docstrings(package):
    if package == "tnkit_nn":
        pytest.importorskip("torch")
    module = importlib.import_module(package)
    assert inspect.getdoc(module)
    assert sorted(module.__all__) == sorted(set(module.__all__))
    for name in module.__all__:
        value = getattr(module, name)
        if isinstance(value, (type, types.FunctionType, types.ModuleType)):
            assert value.__doc__ and value.__doc__.strip(), f"{package}.{name} has no docstring"


@pytest.mark.parametrize("package", ["tnkit", "tnkit_nn"])
def test_public_methods_have_docstrings(package):
    if package == "tnkit_nn":
        pytest.importorskip("torch")
    module = importlib.import_module(package)
    for name in module.__all__:
        cls = getattr(module, name)
        if not isinstance(cls, type):
            continue
        for attribute, value in vars(cls).items():
            function = getattr(value, "fget", None) or getattr(value, "func", None) or value
            function = getattr(function, "__func__", function)
            if not attribute.startswith("_") and isinstance(function, types.FunctionType):
                assert function.__doc__, f"{package}.{name}.{attribute} has no docstring"


def test_badges_are_true():
    """They are pictures of the repository, and say what the project file says: no address of the project is known."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    said = {f"licence: {project['license']}", f"Python: {project['requires-python'].removeprefix('>=')} or later"}
    found = dict(re.findall(r"!\[(\w+: [^\]]*)\]\((\S+\.svg)\)", README))
    assert set(found) == said
    for words, picture in found.items():
        left, right = words.split(": ")
        text = (ROOT / picture).read_text()
        assert f'aria-label="{words}"' in text and f">{left}</text>" in text and f">{right}</text>" in text


def test_the_citation_file_has_what_its_format_asks_for():
    """Required keys, types that are known, and the licence and title of the project file (schema 1.2.0)."""
    yaml = pytest.importorskip("yaml")
    found = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"cff-version", "message", "title", "authors"} <= set(found) and found["cff-version"] == "1.2.0"
    assert (found["title"], found["license"], found["type"]) == (project["name"], project["license"], "software")
    assert found["version"] == project["version"]
    for entry in (found, *found["references"]):
        assert entry["title"] and all(
            "name" in a or {"family-names", "given-names"} <= set(a) for a in entry["authors"]
        )
    assert all(entry["type"] == "article" and isinstance(entry["year"], int) for entry in found["references"])
