"""Every public name shows how it is used: an example that stands first in its docstring, runs, and checks what it says."""

import ast
import doctest
import functools
import importlib
import importlib.util
import inspect
import itertools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: What a reader calls a namespace -> the module that it is.
SPACES = {
    "tk": "tnkit", "tk.init": "tnkit.init", "tk.testing": "tnkit.testing",
    "tknn": "tnkit_nn", "tknn.data": "tnkit_nn.data", "tknn.zoo": "tnkit_nn.zoo",
}  # fmt: skip
#: What an example may use without importing it: name -> module.
IMPORTED = {"np": "numpy", "tk": "tnkit"}
IMPORTED_NN = {**IMPORTED, "torch": "torch", "nn": "torch.nn", "tknn": "tnkit_nn"}
#: Examples that take more than two seconds.
SLOW = {"tknn.Comparison", "tknn.compare", "tknn.compress_", "tknn.Compressed", "tknn.Group"}
#: Methods that torch asks its modules for.
TORCHS = {"forward", "extra_repr", "reset_parameters"}

#: What the library keeps for itself, though the name has no underscore.
INTERNAL = {"tk.Network.inside"}

HAS_TORCH = importlib.util.find_spec("torch") is not None
WANTED = {space: module for space, module in SPACES.items() if HAS_TORCH or space.startswith("tk.") or space == "tk"}


def values():
    """Public name -> its value, each once: ``"tk.contract"``, ``"tknn.data.load"``."""
    spaces = {space: importlib.import_module(module) for space, module in WANTED.items()}
    return {f"{space}.{name}": getattr(module, name) for space, module in spaces.items() for name in module.__all__}


VALUES = values()
NAMES = {full.rpartition(".")[2] for full in VALUES}


def explained_by_itself(value):
    """Whether Python keeps the docstring with the value: a function, a class, a module."""
    return inspect.isroutine(value) or isinstance(value, type) or inspect.ismodule(value)


@functools.cache
def tree(file):
    return ast.parse(Path(file).read_text())


def beneath(name, file):
    """The text beneath the line ``NAME = ...`` at the top of a file, as editors and mkdocstrings read it."""
    body = tree(file).body
    for line, text in itertools.pairwise(body):
        targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
        if not any(isinstance(t, ast.Name) and t.id == name for t in targets):
            continue
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str):
            return inspect.cleandoc(text.value.value)
    return ""


def docstring(full):
    value = VALUES[full]
    if explained_by_itself(value) and type(value).__name__ != "GenericAlias":
        return inspect.getdoc(value) or ""
    name = full.rpartition(".")[2]
    package = "tnkit_nn" if full.startswith("tknn") else "tnkit"
    texts = [beneath(name, file) for file in sorted((ROOT / package).rglob("*.py"))]
    return next((t for t in texts if t), "")


def methods(cls):
    """The public methods and properties of a class, its own and those of bases without a public name: name -> function."""
    found, fields = {}, getattr(cls, "__dataclass_fields__", ())  # a field's default may be a function
    private = [c for c in cls.__mro__ if c.__module__.startswith("tnkit") and c.__name__ not in NAMES]
    for name, value in [item for c in (*private, cls) for item in vars(c).items()]:
        function = getattr(value, "fget", None) or getattr(value, "func", None) or value
        function = getattr(function, "__func__", function)
        if not name.startswith("_") and inspect.isfunction(function) and name not in {*TORCHS, *fields}:
            found[name] = function
    return found


def own_methods():
    """``"tk.Network.join"`` -> (the class's full name, the function)."""
    return {
        f"{full}.{name}": (full, function)
        for full, value in VALUES.items()
        if isinstance(value, type)
        for name, function in methods(value).items()
    }


METHODS = own_methods()


def examples(text):
    return doctest.DocTestParser().get_examples(text)


def source(text):
    return "".join(example.source for example in examples(text))


def blocks(text):
    """The paragraphs of a docstring after its summary, without a picture drawn in letters."""
    found = [b for b in re.split(r"\n\s*\n", text.strip())[1:] if b.strip()]
    while found and (found[0].strip() == "::" or found[0].startswith("    ")):
        found.pop(0)
    return found


def run(text, full, beside=()):
    """Run the examples of a docstring in a namespace of their own; what differs is the failure's text."""
    given = IMPORTED_NN if full.startswith(("tknn", "tnkit_nn")) else IMPORTED
    names = {**{a: importlib.import_module(m) for a, m in given.items()}, **dict(beside)}
    test = doctest.DocTestParser().get_doctest(text, names, full, full, 0)
    told = []
    failed = doctest.DocTestRunner(verbose=False).run(test, out=told.append).failed
    assert not failed, "".join(told)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Files that an example writes are in a folder of its own, the cache of :func:`tnkit.calibrate` too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    core = importlib.import_module("tnkit")
    registries = {name: dict(getattr(core, name)) for name in ("BUILDERS", "EXAMPLES", "ACTIVATIONS", "DECOMPOSITIONS")}
    yield from _as_torch_was()
    changed = {name for name, kept in registries.items() if getattr(core, name) != kept}
    for name in changed:
        getattr(core, name).clear()
        getattr(core, name).update(registries[name])
    assert not changed, (
        f"the example registers something in {', '.join(changed)}: write it as a block that does not run"
    )


def _as_torch_was():
    if not HAS_TORCH:
        yield
        return
    import torch

    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.random.set_rng_state(state)


@pytest.mark.parametrize("full", VALUES)
def test_the_example_stands_first_and_shows_the_name(full):
    text = docstring(full)
    assert examples(text), f"{full} has no example"
    assert blocks(text)[0].startswith(">>>"), f"{full}: the example comes after {blocks(text)[0][:60]!r}"
    name = full.rpartition(".")[2]
    assert re.search(rf"\b{name}\b", source(text)), f"{full}: its example does not use it"


@pytest.mark.parametrize("full", [*VALUES, *METHODS])
def test_an_example_shows_results_and_hides_none(full):
    text = docstring(full) if full in VALUES else inspect.getdoc(METHODS[full][1])
    found = examples(text)
    if found:
        assert any(example.want for example in found), f"{full}: an example without a result cannot fail"
        assert not any("np.True_" in e.want or "np.False_" in e.want or "np.float" in e.want for e in found), (
            f"{full}: numpy 1 prints it otherwise"
        )
        assert not any(example.options for example in found), f"{full}: a flag hides what comes out"


def texts():
    """Name -> docstring with examples; what several names share is there once."""
    found = {
        **{full: docstring(full) for full in VALUES},
        **{full: inspect.getdoc(function) or "" for full, (_, function) in METHODS.items()},
    }
    first = {text: full for full, text in reversed(found.items())}
    return {full: text for full, text in found.items() if first[text] == full and examples(text)}


TEXTS = texts()


@pytest.mark.parametrize("full", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in TEXTS])
def test_the_examples_run(full, place):
    run(TEXTS[full], full)


@pytest.mark.parametrize("full", [m for m in METHODS if m not in INTERNAL])
def test_a_method_is_shown_by_itself_or_by_its_class(full):
    of, function = METHODS[full]
    name = full.rpartition(".")[2]
    shown = source(docstring(of)) + source(inspect.getdoc(function) or "")
    assert re.search(rf"\.{name}\b", shown), f"{full} is in no example, neither its own nor that of {of}"


@pytest.mark.parametrize(
    "full", [n for n, v in VALUES.items() if inspect.isfunction(v) and inspect.signature(v).parameters]
)
def test_a_function_says_what_it_refuses(full):
    assert "\nRaises\n------\n" in docstring(full), f"{full} checks its arguments, and does not say so"


def other_examples():
    """``"tnkit_nn.fingerprint.class_print"`` -> docstring: functions that are not public and have examples too."""
    found = {}
    for package in ("tnkit", "tnkit_nn") if HAS_TORCH else ("tnkit",):
        for file in sorted((ROOT / package).rglob("*.py")):
            if ">>>" not in file.read_text():
                continue
            module = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            for node in ast.walk(tree(file)):
                if isinstance(node, ast.FunctionDef | ast.ClassDef) and ">>>" in (ast.get_docstring(node) or ""):
                    found[f"{module}:{node.name}"] = ast.get_docstring(node)
    shown = {docstring(full) for full in VALUES} | {inspect.getdoc(f) for _, f in METHODS.values()}
    return {name: text for name, text in found.items() if text not in shown}


OTHERS = other_examples()


@pytest.mark.parametrize("full", OTHERS)
def test_examples_of_other_functions_run_too(full, place):
    run(OTHERS[full], full, vars(importlib.import_module(full.partition(":")[0])))
