"""The machine's rates: measured on demand, kept in a file, an argument of plans."""

import json
import os
import subprocess
import sys

import pytest

import tnkit as tk
from tnkit.planning.calibration import Rates, calibrate, rates, rates_file, spelled_seconds
from tnkit.planning.planner import plan

NET = tk.mpo((4, 4), (4, 4), 3)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of its own, and nothing remembered of others."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("tnkit.planning.calibration._known", [])
    return tmp_path


def fresh(monkeypatch):
    """As in a new process."""
    monkeypatch.setattr("tnkit.planning.calibration._known", [])


def test_defaults_until_calibrated(cache, monkeypatch):
    assert rates() == Rates() and plan(NET).rates == Rates()
    assert not list(cache.iterdir())  # nothing is measured or written unasked
    found = calibrate()
    assert all(getattr(found, name) != getattr(Rates(), name) for name in ("flops", "bytes", "call"))
    assert rates() == found and plan(NET).rates == found and tk.plan(NET).rates == found
    assert rates_file().is_file() and [p.name for p in rates_file().parent.iterdir()] == [rates_file().name]
    fresh(monkeypatch)
    assert rates() == found


def test_the_file_is_read_once(cache, monkeypatch):
    rates_file().parent.mkdir()
    rates_file().write_text(json.dumps({"flops": 1e9, "bytes": 2e9}))
    assert rates() == Rates(1e9, 2e9)
    rates_file().write_text("{}")
    assert rates() == Rates(1e9, 2e9)


def test_a_file_without_the_time_of_a_call_is_read(cache, monkeypatch):
    """As versions before wrote it: the default stands in."""
    rates_file().parent.mkdir()
    rates_file().write_text(json.dumps({"flops": 1e9, "bytes": 2e9}))
    assert rates() == Rates(1e9, 2e9, Rates().call)
    fresh(monkeypatch)
    rates_file().write_text(json.dumps({"flops": 1e9, "bytes": 2e9, "call": 3e-6}))
    assert rates() == Rates(1e9, 2e9, 3e-6)


def test_orders_do_not_depend_on_the_time_of_a_call(cache, monkeypatch):
    made = []
    for call in (1e-9, 1.0):
        fresh(monkeypatch)
        rates_file().parent.mkdir(exist_ok=True)
        rates_file().write_text(json.dumps({"call": call}))
        assert rates() == Rates(call=call)
        made.append(plan(tk.adtn((64, 64), depth=3, dim=2)))
    assert made[0].steps == made[1].steps and made[0].seconds == made[1].seconds


BROKEN = ["", "{", "[]", "null", "3", "{}", '{"flops": "x", "bytes": 1}', '{"flops": -1, "bytes": 1}',
          '{"flops": NaN, "bytes": 1}', '{"flops": 1, "bytes": 1, "more": 1}', '{"flops": true, "bytes": 1}', "\xff"]  # fmt: skip


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_file_is_no_error(cache, text):
    rates_file().parent.mkdir()
    rates_file().write_text(text, encoding="latin-1")
    assert rates() == Rates()


def test_a_cache_that_cannot_be_written_is_no_error(cache):
    (cache / "tnkit").write_text("a file where the folder should be")
    assert rates() == Rates()
    found = calibrate()
    assert rates() == found and (cache / "tnkit").is_file()


def test_without_a_cache_of_ones_own(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert rates_file().parent == tmp_path / ".cache" / "tnkit"


@pytest.mark.parametrize("given", [None, "", "relative/cache"])
def test_without_a_home_nothing_is_kept(given, cache, monkeypatch, tmp_path):
    """A container's user may have none; a relative folder is no cache, as the standard of XDG_CACHE_HOME says."""
    monkeypatch.delenv("XDG_CACHE_HOME")
    if given is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", given)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.chdir(tmp_path)
    assert rates_file() is None and rates() == Rates()
    assert calibrate() == rates() != Rates() and not list(tmp_path.iterdir())


def test_plans_are_cached_by_their_rates(cache, monkeypatch):
    first = plan(NET)
    assert plan(NET) is first
    rates_file().parent.mkdir()
    rates_file().write_text(json.dumps({"flops": 1e9, "bytes": 1e9}))
    fresh(monkeypatch)
    assert plan(NET).rates == Rates(1e9, 1e9) and first.rates == Rates()
    rates_file().unlink()
    fresh(monkeypatch)
    assert plan(NET) is first


def test_predicted_seconds_and_text():
    p = plan(NET)
    compute, memory = p.seconds
    assert compute == p.flops / p.rates.flops and memory == p.bytes_moved / p.rates.bytes
    assert (
        f"predicted {spelled_seconds(compute + memory)}: compute {spelled_seconds(compute)}, memory {spelled_seconds(memory)}"
        in str(p)
    )
    assert str(p.rates) in str(p) and [spelled_seconds(t) for t in (2.0, 2.1e-3, 4e-6)] == ["2 s", "2.1 ms", "4 us"]


@pytest.mark.parametrize("bad", [0, -1.0, float("inf"), float("nan"), "1", None, True])
def test_rates_are_positive_numbers(bad):
    for name in ("flops", "bytes", "call"):
        with pytest.raises((TypeError, ValueError), match=f"Rates: {name} is a positive number"):
            Rates(**{name: bad})


@pytest.mark.slow
def test_import_measures_and_reads_nothing(tmp_path):
    code = "import tnkit, tnkit.planning.calibration as r; assert not r._known"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)})
    assert not list(tmp_path.iterdir())
