"""docs/benchmarks.md is rendered from measurements, and is as it was rendered."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {
    "python": "3.12.1",
    "processor": "Some CPU",
    "cores": 4,
    "threads": 1,
    "load": 0.3,
    "packages": {"torch": "2.9"},
}


@pytest.fixture(scope="module")
def docs():
    spec = importlib.util.spec_from_file_location("benchmark_docs", ROOT / "benchmarks/docs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measured(folder, name, **environment):
    table = f"| case | gain |\n|---|---|\n| of {name} | 1.2x |"
    text = json.dumps({"environment": ENVIRONMENT | environment, "table": table, "results": []})
    (folder / f"{name}.json").write_text(text)


def test_tables_and_conditions_are_shown(docs, tmp_path):
    measured(tmp_path, "layers-1")
    measured(tmp_path, "layers-2", threads=2)
    page = docs.render(tmp_path)
    assert page.index("| of layers-1 | 1.2x |") < page.index("| of layers-2 | 1.2x |")
    assert "Some CPU, 4 cores, 1 thread; Python 3.12.1; torch 2.9." in page and "2 threads" in page
    assert "busy" not in page


def test_what_was_not_run_says_so(docs, tmp_path):
    assert docs.render(tmp_path).count("Not run.") == len(docs.SECTIONS)
    measured(tmp_path, "overhead")
    assert docs.render(tmp_path).count("Not run.") == len(docs.SECTIONS) - 1


def test_a_busy_machine_is_named(docs, tmp_path):
    measured(tmp_path, "order", load=5.2)
    assert "busy machine** (load 5.2 on 4 cores)" in docs.render(tmp_path)


def test_an_edited_table_is_noticed(docs, tmp_path):
    measured(tmp_path, "overhead")
    page = docs.render(tmp_path)
    assert docs.intact(page)
    assert not docs.intact(page.replace("1.2x", "9.9x"))
    assert not docs.intact(page + "more\n")


def test_the_committed_page_is_as_it_was_rendered(docs):
    assert docs.intact(docs.TARGET.read_text()), "docs/benchmarks.md was edited: run `make bench` instead"


def test_every_script_has_a_section_and_is_run(docs):
    scripts = (ROOT / "Makefile").read_text().partition("SCRIPTS := ")[2].partition("\n")[0].split()
    assert set(scripts) == set(docs.SECTIONS)
    assert {p.stem for p in (ROOT / "benchmarks").glob("*.py")} <= {*scripts, "timing", "docs"}
