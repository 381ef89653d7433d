"""Every public function, every argument, every wrong value: refused by name, or taken for a reason that a table gives."""

import builtins
import inspect
import re
from pathlib import Path

import pytest
from doors.calls import CALLS, SKIPPED, public, with_tensors
from doors.driver import counts, drive, right_call, workplace

import tnkit as tk

#: Arguments whose faults are known and not yet mended, "function argument" a line.
OPEN = {tuple(line.split()) for line in (Path(__file__).parent / "doors" / "open.txt").read_text().splitlines()}


@pytest.fixture(autouse=True)
def place():
    with workplace():
        yield


def test_every_public_function_has_a_right_call():
    names = public()
    assert not [n for n in names if n not in CALLS and n not in SKIPPED], (
        "write their right calls in tests/doors/calls.py"
    )
    assert not [n for n in (*CALLS, *SKIPPED) if n not in names], "no longer public"


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_argument_is_refused_by_name(name):
    refused(name, False)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in CALLS if n.startswith("tk.")])
def test_a_wrong_argument_beside_tensors_is_refused_by_name(name):
    if with_tensors(name):
        refused(name, True)


def documented(function):
    """The errors that a docstring speaks of beneath Raises, those of the functions that it refers to among them."""
    text = (inspect.getdoc(function) or "").partition("Raises\n------\n")[2]
    text = re.split(r"\n\w+\n-+\n", text)[0]
    found = {getattr(builtins, name) for name in re.findall(r"\b[A-Z]\w+Error\b", text) if hasattr(builtins, name)}
    for other in re.findall(r":func:`(?:tnkit\.)?(\w+)`", text):
        found |= documented(getattr(tk, other))
    return found


FUNCTIONS = [n for n in CALLS if re.fullmatch(r"tk\.[a-z]\w*", n) and documented(getattr(tk, n[3:]))]


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_error_is_of_a_kind_that_the_docstring_names(name):
    known = tuple(documented(getattr(tk, name[3:])))
    right_call(name)
    other = {
        f"{o.argument}={o.value}: {o.words}"
        for o in drive(name, labels=("None", "3", "{}", "10**30"))
        if o.end == "refused" and not issubclass(getattr(builtins, o.words.partition(":")[0], ValueError), known)
    }
    assert not other, "\n".join(sorted(other))


def refused(name, tensors):
    right_call(name, tensors)
    outcomes = list(drive(name, tensors))
    print(f"{name}: {counts(outcomes)}")
    faults = [o for o in outcomes if not o.right]
    unknown = [str(o) for o in faults if (name, o.argument) not in OPEN]
    assert not unknown, "\n".join([f"python -m tests.doors {name}", *unknown[:20]])
    mended = set() if tensors else {a for f, a in OPEN if f == name} - {o.argument for o in faults}
    assert not mended, f"mended: take {name} {', '.join(sorted(mended))} from tests/doors/open.txt"
