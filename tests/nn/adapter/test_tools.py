"""Every kind of module with every tool: it works, or is refused with a message, or is the tool's own limit.  Nothing fails raw.

``python -m tests.nn.adapter.test_tools`` runs all and writes the record of docs/tools.md; with parts of names, those tools.
"""

import re
import sys

import pytest

from .tools import record
from .tools.kinds import KINDS, pair
from .tools.table import LIMIT, NONE, REFUSED, RULES, TOOLS, WORKS, expected, outcome, tried

#: Kinds that `make quick` tries; the others take minutes.
_QUICK = ("Linear", "language model, tied")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The tensor attributes .* were assigned during export")  # of torch's recurrent ones
@pytest.mark.parametrize(
    ("tool", "kind"),
    [
        pytest.param(t, k, id=f"{tool}-{kind}", marks=[pytest.mark.slow] * (t.slow or kind not in _QUICK))
        for tool, t in TOOLS.items()
        for kind, k in KINDS.items()
    ],
)
def test_a_cell(tool, kind):
    for package in (*tool.needs, *kind.needs):
        pytest.importorskip(package)
    rule = expected(tool, kind)
    verdict, message = outcome(tool, kind)
    assert verdict == rule.verdict or (rule.of_processor and verdict == WORKS), message
    assert verdict == WORKS or re.search(rule.says, message), message


@pytest.mark.slow
@pytest.mark.parametrize(
    "tool", [t for t in TOOLS.values() if not t.slow], ids=[n for n, t in TOOLS.items() if not t.slow]
)
def test_a_check_passes_for_a_dense_layer(tool):
    """What a check asks of a network is what a dense layer gives."""
    for package in tool.needs:
        pytest.importorskip(package)
    found = tried(tool, KINDS["Linear"].standing_in("dense"))
    assert not isinstance(found, Exception), found


@pytest.mark.slow
def test_a_check_notices_a_wrong_weight(monkeypatch):
    """Were the weight of the twin another, every check that compares would fail."""
    kind = KINDS["Linear"]
    twin = type(kind).twin

    def off(self, module):
        dense = twin(self, module)
        self.weight(dense).data.mul_(1.1)
        return dense

    monkeypatch.setattr(type(kind), "twin", off)
    blind = {"gradcheck, gradgradcheck"}  # which has differences to compare with
    for name, tool in TOOLS.items():
        if not tool.slow and not tool.needs and expected(tool, kind).verdict == WORKS and name not in blind:
            assert isinstance(tried(tool, kind), AssertionError), name


def test_the_table_is_large_enough_and_its_rules_are_of_it():
    assert len(KINDS) >= 20 and len(TOOLS) >= 30
    for rule in RULES:
        assert rule.tool in TOOLS and set(rule.kinds) <= set(KINDS), rule
        assert rule.verdict in (REFUSED, LIMIT, NONE) and rule.says, rule


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_kind_has_fewer_parameters_than_its_twin_and_its_inputs_matter(kind):
    for package in kind.needs:
        pytest.importorskip(package)
    module, dense, inputs = pair(kind)
    assert set(dict(module.named_parameters())) != set(dict(dense.named_parameters()))
    assert (module(*inputs) - module(*kind.data(seed=1))).abs().max() > 1e-3


def test_the_record_is_of_this_table():
    """What docs/tools.md shows is what the tests of cells ask."""
    found = record.read()
    assert found["kinds"] == list(KINDS) and [row["tool"] for row in found["rows"]] == list(TOOLS)
    for row in found["rows"]:
        told = {kind: other for other in row["others"] for kind in other["kinds"]}
        for name, kind in KINDS.items():
            rule = expected(TOOLS[row["tool"]], kind)
            assert told.get(name, {"verdict": WORKS})["verdict"] == rule.verdict, (row["tool"], name)
            said = told.get(name, {"message": rule.why})["message"]
            assert said == rule.why or re.search(rule.says, said), (row["tool"], name, said)


if __name__ == "__main__":
    record.write(sys.argv[1:])
