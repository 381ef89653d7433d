"""docs/coming-from.md is true: both columns run, and what has one name in both is equal.

The left column needs a library of the ``bench`` extra, and is skipped by its name where that is not installed.
"""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

PAGE = Path(__file__).parents[1] / "docs" / "coming-from.md"
#: Heading -> what is imported, and names that have to be compared.
LIBRARIES = {
    "quimb": ("quimb", {"x", "operations", "norm", "bits", "state"}),
    "cotengra and opt_einsum": ("cotengra", {"x", "operations", "width"}),
    "TensorKrowch": ("tensorkrowch", {"x"}),
    "TensorLy": ("tensorly", {"error", "shapes"}),
    "TensorNetwork": ("tensornetwork", {"x", "product"}),
}


def columns(heading):
    """The snippets of a library and those of tnkit, each in order."""
    section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S)[1]
    found = {kind: re.findall(rf"^```{kind}\n(.*?)^```", section, re.M | re.S) for kind in ("py", "julia", "python")}
    return found["py"] or found["julia"], found["python"]


def ran(snippets):
    namespace = {}
    for snippet in snippets:
        exec(compile(snippet, str(PAGE), "exec"), namespace)
    return namespace


def compared(theirs, ours):
    """Names of figures and arrays that both have, each equal."""
    found = set()
    for name in theirs.keys() & ours.keys():
        one, other = theirs[name], ours[name]
        if isinstance(one, int | float | list | np.generic) or hasattr(one, "__array__"):
            one, other = np.asarray(one), np.asarray(other)
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9, err_msg=name)
            found.add(name)
    return found


@pytest.mark.parametrize("heading", [*LIBRARIES, "ITensor (Julia)"])
def test_every_snippet_has_one_beside_it(heading):
    theirs, ours = columns(heading)
    assert len(theirs) == len(ours) > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("heading", LIBRARIES)
def test_both_columns_give_the_same(heading):
    library, names = LIBRARIES[heading]
    pytest.importorskip("torch")
    pytest.importorskip(library, reason=f"{library} is not installed (the extra bench has it)")
    theirs, ours = columns(heading)
    assert compared(ran(theirs), ran(ours)) >= names


def test_what_the_page_names_for_round_truncates():
    """A canonical form alone cuts nothing: the table names what takes a bond size or an error."""
    mps = pytest.importorskip("tensornetwork").FiniteMPS
    heads, names = (re.split(r" *\| *", row) for row in re.findall(r"^\| (?:here|`round`) .*$", PAGE.read_text(), re.M))
    theirs = dict(zip(heads, names, strict=True))
    taken = inspect.signature(getattr(mps, theirs["TensorNetwork"].strip("`"))).parameters
    assert {"D", "max_truncation_err"} <= taken.keys()


def test_a_difference_is_noticed():
    with pytest.raises(AssertionError):
        compared({"x": np.ones(2)}, {"x": np.array([1, 1 + 1e-6])})
