"""Every kind of module with every tool: it works, or is refused with a message, or is torch's own limit.  Nothing fails raw."""

import pytest

from .tools.kinds import KINDS
from .tools.table import TOOLS, expected, outcome


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize(
    "tool", [pytest.param(t, marks=[pytest.mark.slow] * t.slow) for t in TOOLS.values()], ids=TOOLS
)
def test_a_cell(tool, kind):
    for package in tool.needs:
        pytest.importorskip(package)
    rule = expected(tool, kind)
    verdict, message = outcome(tool, kind)
    assert verdict == rule.verdict, message
