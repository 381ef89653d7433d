"""What importing costs, the total order of modules, types, lint and format."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).parents[1]


def python(code):
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_import_loads_nothing_heavy():
    heavy = {
        "torch",
        "matplotlib",
        "networkx",
        "tensornetwork",
        "cotengra",
        "tensorflow",
        "jax",
        "scipy",
        "tnkit_nn",
        "array_api_compat",
    }
    loaded = set(python("import sys, tnkit; print(*sys.modules)"))
    assert not heavy & loaded and len(loaded) < 600  # 415: what is imported is what takes the time


def test_arrays_of_numpy_load_no_other_library():
    code = "import sys, tnkit as tk; n = tk.tt((2, 3), 2); a = tk.init.normal(n); x = tk.contract(n, a); tk.tt_svd(x)"
    code += "; tk.norm(n, a); tk.round(n, a, rank=1); tk.tensorize(x, (2, 3)); print(*sys.modules)"
    assert not {"torch", "tnkit_nn", "jax", "array_api_compat", "array_api_strict"} & set(python(code))


@pytest.mark.slow
def test_a_tensor_brings_the_engine_of_torch():
    code = "import sys, torch, tnkit as tk; tk.norm(tk.tt((2,), 1), {'core_0': torch.ones(2)}); print(*sys.modules)"
    loaded = set(python(code))
    assert "tnkit_nn.engine.backend" in loaded and not {"jax", "array_api_compat"} & loaded


def sources():
    """Module -> its file."""
    files = [f for root in ("tnkit", "tnkit_nn") for f in (ROOT / root).rglob("*.py")]
    names = {".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): f for f in files}
    assert len(names) > 100
    return names


@pytest.mark.slow
def test_no_module_is_hidden_behind_a_name():
    """``import tnkit.planning.plan`` gives the module: no package has another thing of that name."""
    code = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
hidden = [n for n in sys.argv[1:] if "." in n and getattr(sys.modules[n.rpartition(".")[0]], n.rpartition(".")[2]) is not sys.modules[n]]
print("hidden:", *hidden)
"""
    modules = [m for m in sources() if not m.endswith(("cuda_triton", "__main__"))]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *modules], capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout.split() == ["hidden:"], done.stdout + done.stderr


@pytest.mark.slow
def test_no_two_modules_import_each_other():
    """No circle, imports for type checkers alone included."""
    known, edges = sources(), nx.DiGraph()
    for module, file in known.items():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                targets = [f"{node.module}.{a.name}" for a in node.names]
                edges.add_edges_from(
                    (module, t if t in known else node.module) for t in targets if t in known or node.module in known
                )
            elif isinstance(node, ast.Import):
                edges.add_edges_from((module, a.name) for a in node.names if a.name in known)
    assert edges.number_of_edges() > 300
    assert not [sorted(c) for c in nx.strongly_connected_components(edges) if len(c) > 1]


def layers(package):
    """The rooms of a package, the highest first, as lint-imports has them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (found,) = [c["layers"] for c in contracts if c.get("containers") == [package]]
    return found


@pytest.mark.parametrize("package", ["tnkit", "tnkit_nn"])
def test_the_rooms_of_the_guide_are_those_of_the_linter(package):
    """All of them, and none above one that may import it; those of one row in any order."""
    table = (ROOT / "CONTRIBUTING.md").read_text().partition(f"| room of `{package}/`")[2].partition("\n\n")[0]
    rows = [row.split("|")[1] for row in table.splitlines()[2:]]
    rooms = [sorted(re.sub(r"\.py$|/$", "", name) for name in re.findall(r"`([^`]+)`", row)) for row in rows]
    wanted, told = layers(package), []
    for row in rooms:
        told += sorted(row, key=lambda room: wanted.index(room) if room in wanted else -1)
    assert told == wanted, f"CONTRIBUTING.md has the rooms of {package} as {told}, pyproject.toml as {wanted}"


@pytest.mark.parametrize("room", ["builders", "decompose"])
def test_what_registers_itself_is_public(room):
    """A module with a builder or a decomposition in it is in ``tnkit/__init__.py``; else nothing of it is ever registered."""
    register = re.compile(r"^(@builder\(|@registered$|@public$|\w+ = builder\()", re.MULTILINE)
    made = {module for module, file in sources().items() if register.search(file.read_text())}
    made = {module for module in made if module.startswith(f"tnkit.{room}.")}
    missing = [m for m in sorted(made) if f"from {m} import *\n" not in (ROOT / "tnkit/__init__.py").read_text()]
    assert made and not missing, f"tnkit/__init__.py lacks: {', '.join(f'from {m} import *' for m in missing)}"


#: Names that several modules define on purpose: the same call of siblings, or a namespace of its own (``zoo.load``).
SHARED_NAMES = {
    "forward", "backward", "configure", "load", "save", "add", "plan", "seed", "tensorize", "merge", "split", "multiply", "conj",
    "view",  # the function tk.view; a View of an array, of a picture
    "sweep",  # of a decomposition; a Sweep of learning rates
    "norm",  # of a network, tk.norm; of an array
}  # fmt: skip


@pytest.mark.slow
def test_text_is_utf_8_in_any_locale():
    """A file is read and written in an encoding that is said: that of the locale is ASCII, or Windows' cp1252."""
    files = [
        *ROOT.glob("tnkit*/**/*.py"),
        *ROOT.glob("docs/**/*.py"),
        *ROOT.glob("benchmarks/*.py"),
        ROOT / "examples/recorded.py",
    ]
    silent = []
    for file in files:
        where = file.relative_to(ROOT).as_posix()
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            named = isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
            if named and call.func.attr in ("read_text", "write_text"):
                silent += [f"{where}:{call.lineno}"] * ("encoding" not in [k.arg for k in call.keywords])
    assert len(files) > 300 and not silent


def test_a_public_name_has_one_home():
    """A function or class without an underscore is defined once in both packages; a class may have its function beside it."""
    homes = {}
    for module, file in sources().items():
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                homes.setdefault(node.name.strip("_").lower(), set()).add(module)
    assert not {name: sorted(found) for name, found in homes.items() if len(found) > 1 and name not in SHARED_NAMES}


def test_a_warning_finds_its_caller_by_itself():
    """A level that was counted is wrong as soon as one more function stands between, a decorator for example."""
    found = {module for module, file in sources().items() if "warnings.warn(" in file.read_text()}
    told = sorted(found - {"tnkit.core.caller"})
    assert not told, f"use warn_caller of tnkit/core/caller.py in place of warnings.warn: {', '.join(told)}"


@pytest.mark.parametrize(
    "command",
    [
        "lint-imports --no-cache",  # one total order of modules
        "ruff check --no-cache",
        "ruff format --check --no-cache",
        pytest.param(f"mypy --cache-dir={os.devnull}", marks=pytest.mark.slow),
    ],
)
def test_the_code_is_as_make_check_wants_it(command):
    name, *options = command.split()
    tool = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if tool is None:
        pytest.skip(f"{name} is not installed")
    done = subprocess.run([tool, *options], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
