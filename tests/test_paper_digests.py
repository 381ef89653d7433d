"""Results carry the digest of the code that made them, and a table says when that code has changed."""

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def digests(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "paper"))
    found = importlib.import_module("digests")
    cached = found._tree, found._bound, found._modules
    for each in cached:
        each.cache_clear()
    yield found
    for each in cached:
        each.cache_clear()


STUDY = '''"""About."""
import helper
from helper import rate as of
from math import prod

STEPS = 3
TABLE = {"a": lambda n: n + STEPS}

def one(x):
    """What it is."""
    return TABLE["a"](x) * helper.twice(x)  # so

def other():
    return prod([of()])
'''
HELPER = "def twice(x):\n    return 2 * x\n\ndef rate():\n    return 1\n"


@pytest.fixture
def digest(digests, tmp_path, monkeypatch):
    """A study's digest after some text is replaced by another, in either file."""
    monkeypatch.setattr(digests, "ROOT", tmp_path)

    def made(place="study.py:one", old="", new=""):
        for each in (digests._tree, digests._bound, digests._modules):
            each.cache_clear()
        assert old in STUDY + HELPER
        for name, text in (("study", STUDY), ("helper", HELPER)):
            (tmp_path / f"{name}.py").write_text(text.replace(old, new) if old else text)
        return digests.digest_of(place)

    return made


@pytest.mark.parametrize(("old", "new"), [
    ('"""What it is."""', '"""Another\n    word."""'), ("  # so", ""), ("def other", "\n\n\ndef other"), ('"""About."""', ""),
    ('TABLE["a"](x) * helper', "(\n        TABLE['a'](x)\n    ) * helper"),
])  # fmt: skip
def test_words_and_lines_are_no_part_of_a_digest(digest, old, new):
    assert digest() == digest(old=old, new=new)
    assert digest("study.py") == digest("study.py", old, new)


@pytest.mark.parametrize(("old", "new", "others"), [
    ("n + STEPS", "n - STEPS", False), ("STEPS = 3", "STEPS = 4", False), ("return 2 * x", "return 3 * x", False),
    ("helper.twice(x)", "helper.twice(-x)", False), ("return 1", "return 7", True), ("[of()]", "[of(), 2]", True),
])  # fmt: skip
def test_what_a_name_uses_is_part_of_its_digest_and_nothing_else(digest, old, new, others):
    changed = {place: digest(place) != digest(place, old, new) for place in ("study.py:one", "study.py:other")}
    assert changed == {"study.py:one": not others, "study.py:other": others}


def test_a_folder_is_all_its_files_and_a_name_that_is_not_there_is_said(digests, digest, tmp_path):
    whole = digest(".")
    assert whole != digest(".", "return 1", "return 7") and whole == digest(".")
    for place, words in (("study.py:three", "study.py has no three"), ("none.py", "no file or folder none.py")):
        with pytest.raises(FileNotFoundError, match=words):
            digest(place)


def test_a_table_says_what_of_the_code_has_changed(digests, digest):
    digest()
    kept = digests.digests_of("study.py:one", "study.py:other")
    assert digests.older(None) == "before digests" and digests.older(kept) == ""
    for old, new, words in (
        ("return 2 * x", "return 4 * x", "study.py:one"), ("return 1", "return 7", "study.py:other"), ("def one", "def three", "study.py:one"),
    ):  # fmt: skip
        digest("study.py", old, new)
        assert digests.older(kept) == f"made with older code ({words})"


@pytest.mark.slow
def test_the_parts_of_the_code_are_there(digests):
    found = digests.digests_of(*digests.PARTS, "benchmarks/paper/deep.py:kinds")
    assert len(set(found.values())) == len(found) > 4 and digests.older(found) == ""
    assert found["families"] == digests.digest_of(*digests.PARTS["families"])


def test_a_study_that_goes_on_with_newer_code_keeps_the_digest_it_began_with(digests, digest, tmp_path):
    digest()
    begun = digests.kept_in(tmp_path / "out", "study.py:one")
    digest("study.py", "return 2 * x", "return 4 * x")
    assert digests.kept_in(tmp_path / "out", "study.py:one") == begun and digests.older(begun)
    assert digests.older(digests.kept_in(tmp_path / "new", "study.py:one")) == ""


def test_a_study_is_named_by_its_function(digests):
    assert digests.place(digests.digest_of) == "benchmarks/paper/digests.py:digest_of"
    assert digests.place(lambda: 1) == "tests/test_paper_digests.py"


# -- code that gives the same numbers ----------------------------------------------------------------------------------
def test_code_that_gives_the_same_numbers_makes_no_table_older(digests, digest, tmp_path, monkeypatch):
    monkeypatch.setattr(digests, "SAME", tmp_path / "same.json")
    made = {"study.py:one": digest()}
    later = digest("study.py:one", "return 2 * x", "return x + x")
    assert digests.older(made) == "made with older code (study.py:one)"
    for told, words in (
        ({"study.py:other": {made["study.py:one"]: later}}, "made with older code (study.py:one)"),
        ({"study.py:one": {later: made["study.py:one"]}}, "made with older code (study.py:one)"),
        ({"study.py:one": {made["study.py:one"]: later}}, ""),
        ({"study.py:one": {made["study.py:one"]: "between", "between": later}}, ""),
        ({"study.py:one": {made["study.py:one"]: "between", "between": made["study.py:one"]}}, "made with older code (study.py:one)"),
    ):  # fmt: skip
        (tmp_path / "same.json").write_text(json.dumps(told))
        assert digests.older(made) == words, told


@pytest.fixture
def reference(digests):
    return importlib.import_module("reference")


def test_numbers_are_found_wherever_a_record_stands(reference):
    one = {"label": "tt", "budget": 9, "seed": 0, "test": 0.1 + 0.2, "seconds": 5.0, "chosen": {"rate": [0.5, None]}}
    other = {**one, "label": "cp", "test": float("nan")}
    before = dict(reference.numbers([[one, other]]))
    assert before["/0/tt/9/0/test"] == "0.30000000000000004" and before["/0/cp/9/0/test"] == "nan"
    assert before["/0/tt/9/0/chosen/rate/0"] == "0.5" and not any("seconds" in place for place in before)
    now = dict(reference.numbers([[{**other, "seconds": 7.0}, {**one, "new": 1}]]))
    assert reference.differing(before, now) == []
    assert reference.differing(before, dict(reference.numbers([[other, {**one, "test": 0.3}]]))) == ["/0/tt/9/0/test"]
    assert "/0/tt/9/0/test" in reference.differing(before, dict(reference.numbers([[other]])))


def test_only_parts_with_the_same_numbers_are_vouched_for(reference, monkeypatch):
    """Of what changed between the two trees; the comparison speaks for three parts."""
    old, new = (
        {"families": "a", "training": "b", "compression": "c"},
        {"families": "A", "training": "B", "compression": "c"},
    )
    monkeypatch.setattr(reference.subprocess, "run", lambda *args, **options: None)
    monkeypatch.setattr(reference, "digests_in", lambda tree: new if tree == reference.ROOT else old)
    for unlike, found in (
        ("", {"families": {"a": "A"}, "training": {"b": "B"}}), ("comparison", {"training": {"b": "B"}}), ("training", {"families": {"a": "A"}}),
        ("compression", {}),
    ):  # fmt: skip
        monkeypatch.setattr(
            reference, "run", lambda name, tree, unlike=unlike: {"x": repr(tree == reference.ROOT and name == unlike)}
        )
        assert reference.vouched("HEAD") == found


def test_what_is_vouched_for_is_of_today(digests):
    """Every chain of ``same.json`` is of parts that there are; none goes in a circle."""
    for part, pairs in json.loads(digests.SAME.read_text()).items():
        assert part in digests.PARTS
        for old in pairs:
            assert len(digests._as_good_as(part, old)) > 1
