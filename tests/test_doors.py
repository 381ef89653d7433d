"""Every public function, every argument, every wrong value: refused by name, or taken for a reason that a table gives."""

from pathlib import Path

import pytest
from doors.calls import CALLS, SKIPPED, public, with_tensors
from doors.driver import counts, drive, right_call, workplace

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


def refused(name, tensors):
    right_call(name, tensors)
    outcomes = list(drive(name, tensors))
    print(f"{name}: {counts(outcomes)}")
    faults = [o for o in outcomes if not o.right]
    unknown = [str(o) for o in faults if (name, o.argument) not in OPEN]
    assert not unknown, "\n".join([f"python -m tests.doors {name}", *unknown[:20]])
    mended = set() if tensors else {a for f, a in OPEN if f == name} - {o.argument for o in faults}
    assert not mended, f"mended: take {name} {', '.join(sorted(mended))} from tests/doors/open.txt"
