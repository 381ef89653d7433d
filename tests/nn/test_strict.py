"""Files that strict readers of JSON read: numbers that are not finite are null, and come back."""

import json
import math
from random import Random

import pytest

from tnkit_nn.comparison.records import upgraded
from tnkit_nn.comparison.report.files import write_report
from tnkit_nn.comparison.result import Comparison
from tnkit_nn.strict import loosened, nulled, strict
from tnkit_nn.training.journal import Journal

from .comparison.made import runs

NUMBERS = [math.nan, math.inf, -math.inf, 0.5, -0.0, 1e308, 3]


def strictly(text):
    """What a reader that keeps to the standard finds."""

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def drawn(draw, depth):
    """Plain data of random shape, names of all kinds among it."""
    kind = draw.randrange(5) if depth else 0
    if kind < 2:
        return draw.choice([*NUMBERS, "nan", "", None, True])
    inner = [drawn(draw, depth - 1) for _ in range(draw.randrange(4))]
    names = draw.sample(["a", "a/b", "a~1b", "", "0", "~", "features.0", "not_finite"], len(inner))
    return inner if kind == 2 else dict(zip(names, inner, strict=True))


def test_every_number_comes_back():
    draw, lost = Random(0), 0
    for _ in range(300):
        record = {"x": drawn(draw, 4), "y": drawn(draw, 2)}
        there = strict(record)
        text = json.dumps(there, allow_nan=False)
        assert repr(loosened(strictly(text))) == repr(record)
        assert ("not_finite" in there) == (nulled(record) != record)
        lost += "not_finite" in there
    assert 50 < lost < 250


@pytest.mark.parametrize(
    "told, message",
    [
        ("nan", "not_finite is a place -> a number, not 'nan'"),
        ({"/loss": "1.5"}, r"""not_finite has "nan", "inf" or "-inf", not '1.5' at '/loss'"""),
        ({"loss": "nan"}, "not_finite names places as \"/curves/loss/3\", not 'loss'"),
        ({"/loss/1": "nan"}, "not_finite names '/loss/1', which the record has not"),
        ({"/lost": "nan"}, "not_finite names '/lost', which the record has not"),
        ({"/loss/0": "nan"}, r"not_finite names '/loss/0', where the record has 0.5, not null"),
    ],
)
def test_a_place_that_is_none_is_refused(told, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        loosened({"loss": [0.5], "not_finite": told})


@pytest.mark.slow
def test_records_of_a_comparison(tmp_path):
    records = runs(adtn3=(0.5, 0.6, 0.7), mpo=(0.1, math.nan, 0.3), cp=(0.5, 0.55, 0.65), hashed=(math.inf, 0.2, 0.3))
    files = write_report(records, tmp_path)
    read = Comparison(strictly(files["results.json"].read_text()))
    assert read.verdict() == Comparison(records).verdict()
    assert [repr(r["test_frozen"]) for r in read] == [repr(r["test_frozen"]) for r in records]
    assert all("not_finite" not in r for r in read)
    assert (
        upgraded({"label": "mpo", "accuracy_frozen": None, "not_finite": {"/accuracy_frozen": "inf"}})["test_frozen"]
        == math.inf
    )


def test_the_log_of_a_training(tmp_path):
    journal = Journal(tmp_path / "log.jsonl")
    journal.append([{"epoch": 0, "step": 1, "loss": math.nan}], 1)
    assert strictly((tmp_path / "log.jsonl").read_text()) == {
        "epoch": 0,
        "step": 1,
        "loss": None,
        "not_finite": {"/loss": "nan"},
    }
