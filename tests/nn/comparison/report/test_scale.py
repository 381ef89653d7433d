"""Axes and names of the page's figure: order is kept, ends are told, marks and names stand apart."""

import random
from itertools import pairwise

import pytest

from tnkit_nn.comparison.measure import Measure
from tnkit_nn.comparison.report.figures import Line
from tnkit_nn.comparison.report.hero import _Name, _spread
from tnkit_nn.comparison.report.scale import counts_scale, scale_of

ACCURACY, LOSS = Measure("accuracy", "%"), Measure("perplexity", larger=False)


@pytest.mark.parametrize(
    "values, measure, kind",
    [([80, 90, 99], ACCURACY, "missing"), ([2, 3, 5], LOSS, "linear"), ([2, 3, 5000], LOSS, "log"), ([0.5, 0.9], None, "linear"), ([7.0], LOSS, "linear"), ([], None, "linear")],
)  # fmt: skip
def test_a_scale_keeps_the_order_within_its_ends(values, measure, kind):
    scale = scale_of([*values, float("nan")], measure)
    places = [scale.at(v) for v in values]
    assert scale.kind == kind and places == sorted(places) and all(0 < p < 1 for p in places)
    marks = [scale.at(v) for v, _ in scale.marks(0.05)]
    assert all(b - a >= 0.05 - 1e-9 for a, b in pairwise(marks))
    if values:
        assert (scale.beyond(max(values) * 1e3 + 1), scale.beyond(max(values))) == (1, 0)


def test_counts_that_are_close_have_marks():
    assert [text for _, text in counts_scale([397, 440]).marks(0.1)] == ["400", "410", "420", "430", "440"]


def test_names_stand_apart_within_the_figure_near_their_lines():
    draw = random.Random(4)
    line = Line("a", "deep", (), "")
    names = [_Name(line, 0, draw.uniform(200, 300), False) for _ in range(20)]
    _spread(names, 0, 500, 16)
    gaps = [b.y - a.y for a, b in pairwise(names)]
    assert min(gaps) >= 16 - 1e-9 and names[0].y >= 0 and names[-1].y <= 500
    assert abs(sum(n.y - n.at for n in names)) < 1e-6  # a block stands where its lines end, in the mean
    alone = [_Name(line, 0, 50.0, False), _Name(line, 0, 300.0, False)]
    _spread(alone, 0, 500, 16)
    assert [n.y for n in alone] == [50, 300]
