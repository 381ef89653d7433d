"""The gallery says something of every builder and every family, and what it shows is what the package makes.

What it says is run too: the Python of the page, by tests/test_docs.py.
"""

import importlib
import re
import sys
from pathlib import Path

import pytest

import tnkit as tk

pytest.importorskip("torch")
pytest.importorskip("matplotlib")
import tnkit_nn as tknn
from tnkit.builders.registry import PARAMETERS
from tnkit_nn.families import KINDS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "gallery.md"
TEXTS = {"title", "holds", "limits", "when", "source", "check"}


@pytest.fixture(scope="module")
def gallery():
    before = sys.path[:]
    sys.path[:0] = [str(ROOT / "docs"), str(ROOT / "benchmarks" / "paper")]
    module = importlib.import_module("rendering.gallery")
    sys.path[:] = before
    return module


def test_every_builder_has_an_entry_and_every_entry_a_builder(gallery):
    assert set(gallery.entries()) == set(tk.BUILDERS) == set(gallery.ordered()), (
        f"not in both docs/rendering/gallery.toml and tk.BUILDERS: {sorted(set(gallery.entries()) ^ set(tk.BUILDERS))}"
    )
    for name, entry in gallery.entries().items():
        assert set(entry) == TEXTS | {"decomposition", "families"}, name
        assert all(entry[text].strip() for text in TEXTS), name
        assert "assert " in entry["check"], f"{name}: nothing is checked"
        assert re.search(rf"tk\.{name}(_svd|_als)?\(", entry["check"]) or name == "mps", (
            f"{name}: the check is of another"
        )


def test_every_family_is_of_one_builder(gallery):
    named = [family for entry in gallery.entries().values() for family in entry["families"]]
    assert sorted(named) == sorted(KINDS), (
        f"of no builder, or of two, in docs/rendering/gallery.toml: {sorted(set(named) ^ set(KINDS))}"
    )


def test_every_decomposition_has_a_network(gallery):
    named = {d for entry in gallery.entries().values() for d in entry["decomposition"]}
    missing = (set(tk.DECOMPOSITIONS) | {"mpo_svd", "als"}) - named
    assert not missing, f"in no decomposition = [...] of docs/rendering/gallery.toml: {sorted(missing)}"
    assert all(hasattr(tknn if d.startswith("tknn.") else tk, d.removeprefix("tknn.")) for d in named)


@pytest.mark.parametrize("name", tk.BUILDERS)
def test_a_builder_is_shown_with_its_call_its_count_and_its_formula(gallery, name):
    section = PAGE.read_text().partition(f"### `{name}`: ")[2].partition("\n### ")[0]
    assert section, f"docs/gallery.md has no {name}: run `make docs`"
    call, count = re.search(r"\*\*Call:\*\* `(.*?)`\. It has ([\d,]+) parameters", section).groups()
    net = eval(call, {"tk": tk})
    assert net == tk.BUILDERS[name](**tk.EXAMPLES[name])
    assert int(count.replace(",", "")) == net.num_params == PARAMETERS[name](**tk.EXAMPLES[name])
    words = re.search(r"\*\*Parameters:\*\* (.*)", section)[1]
    assert words == gallery.formula(name) and ":func:" not in words and len(words.split()) >= 3


def test_headings_are_where_links_go(gallery):
    text = PAGE.read_text()
    anchors = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)", text, re.M)}
    links = set(re.findall(r"\]\(#([^)]*)\)", text))
    assert len(links) == len(tk.BUILDERS) and links <= anchors, "run `make docs`"
    assert not [anchor for anchor in links if "--" in anchor], "GitHub and mkdocs name such a heading differently"


@pytest.mark.slow
@pytest.mark.parametrize("name", tk.BUILDERS)
def test_the_committed_picture_is_what_is_drawn(gallery, name):
    committed = (gallery.PICTURES / f"{name}.svg").read_text()
    assert committed == gallery.picture(name), f"{name}: run `make docs`"
    for leaf in tk.BUILDERS[name](**tk.EXAMPLES[name]).leaves:
        assert f'id="node:{leaf.name}"' in committed
    assert "prefers-color-scheme:dark" in committed and "http" not in committed.replace("http://www.w3.org/", "")
    assert len(committed) < 40_000


def test_no_picture_is_left_of_a_builder_that_is_gone(gallery):
    drawn = {path.stem for path in gallery.PICTURES.glob("*.svg")}
    assert drawn == set(tk.BUILDERS), f"run `make docs`, or delete what is left: {sorted(drawn ^ set(tk.BUILDERS))}"
