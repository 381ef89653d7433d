"""What importing the adapter loads and needs: torch and tnkit alone; applications come when they are asked for."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tnkit_nn
from tnkit.core.extras import EXTRAS

ROOT = Path(__file__).parents[2]
OPTIONAL = sorted(set(EXTRAS) - {"torch"})
APPLICATIONS = (
    "approximation",
    "comparison",
    "compression",
    "data",
    "families",
    "generators",
    "storage",
    "training",
    "zoo",
)


def python(code, *blocked):
    """What a fresh process prints, some modules being as if they were not installed."""
    code = f"import sys\nsys.modules.update(dict.fromkeys({blocked!r}))\n{code}"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.slow
def test_the_adapter_works_with_torch_and_tnkit_alone():
    code = """
import torch, tnkit as tk
from tnkit_nn import TNLinear, TNEmbedding, TNModule, TORCH, fit, merge_, parametrize_
net = tk.mpo((2, 3), (3, 4), rank=2)
layer = TNLinear(12, 6, network=net)
layer(torch.ones(5, 12)).sum().backward()
plain = torch.nn.Linear(12, 6)
parametrize_(plain, "weight", net)
merge_(plain, "weight")
fit(net, plain.weight, steps=2)
TNModule(net)()
TNEmbedding(6, 12, network=net)(torch.tensor([1]))
print("works")
"""
    assert python(code, *OPTIONAL) == ["works"]


@pytest.mark.slow
def test_importing_loads_the_adapter_alone():
    code = "import torch; before = set(sys.modules); import tnkit_nn; print(*set(sys.modules) - before)"
    loaded = set(python(code))
    assert {name for name in loaded if name.startswith("tnkit_nn.")} <= {
        name for name in loaded if name.startswith(("tnkit_nn.adapter", "tnkit_nn.engine", "tnkit_nn.checks"))
    }
    assert not {f"tnkit_nn.{room}" for room in APPLICATIONS} & loaded
    assert not {name.partition(".")[0] for name in loaded} & {*OPTIONAL, "networkx", "tensornetwork", "tabulate"}
    ours = [name for name in loaded if name.partition(".")[0] in ("tnkit", "tnkit_nn")]
    print(f"import tnkit_nn: {len(loaded)} modules beside torch's, {len(ours)} of them ours")


@pytest.mark.slow
def test_without_torch():
    code = "try: import tnkit_nn\nexcept ImportError as error: print(error)"
    assert " ".join(python(code, "torch")) == "tnkit_nn needs torch: pip install 'tnkit[nn]'"


@pytest.mark.parametrize(
    "name, module", [("compare", "safetensors"), ("compare", "filelock"), ("compress_", "tomli_w")]
)
def test_an_application_without_its_extra_is_one_line(name, module, monkeypatch):
    monkeypatch.delitem(vars(tnkit_nn), name, raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"^tknn\.{name} needs {EXTRAS[module][0]}: pip install 'tnkit\[nn\]'$"):
        getattr(tnkit_nn, name)


def test_the_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"^the data set digits needs scikit-learn: pip install 'tnkit\[nn\]'$"):
        tnkit_nn.data.load("digits")


def test_names_are_found_where_type_checkers_see_them():
    tree = ast.parse(Path(tnkit_nn.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {}
    for node in block.body:
        where = node.module.removeprefix("tnkit_nn").lstrip(".")
        seen |= {alias.name: where or alias.name for alias in node.names}
    assert seen == tnkit_nn._WHERE
    assert set(seen) < set(tnkit_nn.__all__) <= set(dir(tnkit_nn))
    assert all(getattr(tnkit_nn, name) is not None for name in tnkit_nn.__all__)
    with pytest.raises(AttributeError, match="module 'tnkit_nn' has no attribute 'nonsense'"):
        _ = tnkit_nn.nonsense
