"""The wheel holds both packages, all that they read at run time, and nothing else; it works where there is no clone."""

import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import tnkit as tk

pytest.importorskip("hatchling")  # without it pip would ask a package index for it

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
README = (ROOT / "README.md").read_text()
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The folder in which the wheel is unpacked, and the names of what it holds."""
    made = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    done = subprocess.run([*pip, "--wheel-dir", str(made), str(ROOT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (file,) = made.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        archive.extractall(made / "site")
        return made / "site", set(archive.namelist())


def test_it_holds_both_packages_and_nothing_else(wheel):
    """Templates, scripts of pages and results that are read at run time too: every file of the packages' folders."""
    _, names = wheel
    mine = {
        file.relative_to(ROOT).as_posix()
        for package in ("tnkit", "tnkit_nn")
        for file in (ROOT / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert {"tnkit/py.typed", "tnkit_nn/py.typed", "tnkit_nn/comparison/report/page.html.j2"} <= mine
    described = {name for name in names if name.startswith(f"tnkit-{tk.__version__}.dist-info/")}
    assert {Path(name).name for name in described} == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "LICENSE"}
    assert names - described == mine


def test_it_says_what_the_project_says(wheel):
    site, _ = wheel
    (folder,) = site.glob("*.dist-info")
    said = Parser().parsestr((folder / "METADATA").read_text())
    assert (said["Name"], said["Version"]) == ("tnkit", tk.__version__)
    assert said["License-Expression"] == PROJECT["license"] and said["Requires-Python"] == PROJECT["requires-python"]
    assert set(said.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])
    assert (folder / "entry_points.txt").read_text().split() == ["[console_scripts]", "tnkit", "=", "tnkit.cli:main"]


def outside(site, folder, code):
    """What a process prints that has the wheel alone of us, and to which a warning is an error."""
    begin = f"import sys; sys.path.insert(0, {str(site)!r})\n"
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", begin + code], capture_output=True, text=True, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_works_where_there_is_no_clone(wheel, tmp_path):
    site, _ = wheel
    quick_start = README.split("```python\n")[1].split("```")[0]
    commands = "\n".join(
        f"tnkit.cli.main({words!r})"
        for words in (["show", "network.tn"], ["plan", "ij,jk->ik", "--sizes", "8"], ["plan", "network.tn"])
    )
    said = outside(site, tmp_path, f"{quick_start}\nimport tnkit.cli\nprint(tnkit.__file__)\n{commands}")
    assert str(site / "tnkit" / "__init__.py") in said
    assert (tmp_path / "network.tn").exists() and "3 nodes" in said.replace("nodes: 3", "3 nodes")


def test_every_module_of_it_is_imported_alone(wheel, tmp_path):
    """By its name, from the wheel: no module needs a file of the clone."""
    for package in ("torch", "matplotlib", "jinja2", "scipy", "sklearn"):
        pytest.importorskip(package)
    site, names = wheel
    modules = [
        name.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for name in names if name.endswith(".py")
    ]
    ours = sorted(m for m in modules if not m.endswith(("__main__", "cuda_triton")))
    assert len(ours) > 100
    code = f"from importlib import import_module\nfor name in {ours!r}:\n    assert import_module(name).__file__.startswith({str(site)!r}), name"
    begin = f"import sys; sys.path.insert(0, {str(site)!r})\n"
    done = subprocess.run([sys.executable, "-I", "-c", begin + code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
