"""docs/benchmarks.md is rendered from measurements, and is as it was rendered."""

import importlib.util
import json
import time
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


def script(name):
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", ROOT / f"benchmarks/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def docs():
    return script("docs")


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


def test_what_is_not_measured_again_stays(docs, tmp_path):
    measured(tmp_path, "layers-1")
    measured(tmp_path, "layers-cuda", device="Some GPU")
    measured(tmp_path, "memory")
    page = docs.render(tmp_path)
    for old in tmp_path.glob("*.json"):
        old.unlink()
    assert docs.render(tmp_path, page) == page
    measured(tmp_path, "layers-1", note="Anew.")
    again = docs.render(tmp_path, page)
    assert again.count("Anew.") == 1 and again.count("| of layers-1 ") == 1
    assert again.index("Anew.") < again.index("| of layers-cuda ") < again.index("| of memory ")
    edited = page.replace("1.2x", "9.9x")
    assert "9.9x" not in docs.render(tmp_path, edited)


def test_a_busy_machine_and_a_note_are_named(docs, tmp_path):
    measured(tmp_path, "order", load=5.2, note="Half a run.")
    assert "Half a run. **Measured" in docs.render(tmp_path)
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


@pytest.mark.parametrize("device", [False, True])
def test_calls_are_timed_in_turn_and_a_device_is_waited_for(device):
    seen, waits = [], []
    calls = {"a": lambda: seen.append("a"), "b": lambda: seen.append("b")}
    wait = (lambda: waits.append(len(seen))) if device else None
    took = script("timing").medians(calls, seconds=0.0, least=3, wait=wait)
    assert set(took) == {"a", "b"} and min(took.values()) >= 0
    timed = "".join(seen)[4:]  # after the two runs of each that warm up
    assert [part[0] for part in timed.replace("ab", "a b").replace("ba", "b a").split()] == list("ababab")
    assert len(waits) == (2 * (2 + 2 * 3) if device else 0)


@pytest.mark.parametrize("settle", [False, True])
def test_a_timed_call_can_follow_one_of_its_own(settle):
    seen = []
    calls = {n: lambda n=n: (seen.append(n), time.sleep(1e-3)) for n in "ab"}
    script("timing").medians(calls, threads=2, seconds=0.0, least=3, settle=settle)
    assert "".join(seen) == "aabb" + (3 * "aabb" if settle else 3 * "ab")


def test_some_cases_alone_are_not_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    timing = script("timing")
    timing.report("part", ["case"], [["one"]], [], whole=False)
    assert not list(tmp_path.iterdir()) and "one" in capsys.readouterr().out
    timing.report("whole", ["case"], [["one"]], [])
    assert "one" in json.loads((tmp_path / "out/bench/whole.json").read_text())["table"]


def test_the_papers_systems_are_shown_as_they_were_measured():
    pytest.importorskip("scipy")
    page = script("paper/tables").page()
    assert page == (ROOT / "docs/paper.md").read_text()
    assert "+" in page and "no difference shown" in page
