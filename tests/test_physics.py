"""examples/physics: each runs on a small scale, agrees with what is known, and its committed result is what the page shows."""

import importlib
import json
import sys
from math import asinh
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import tnkit as tk

ROOT = Path(__file__).parents[1]
NAMES = ["tebd", "dmrg", "ising"]

for module in ("scipy", "matplotlib"):
    pytest.importorskip(module)


@pytest.fixture(autouse=True)
def _path(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "physics"))


def example(name):
    return importlib.import_module(name)


def committed(name):
    return json.loads((ROOT / "examples/results/physics" / f"{name}.json").read_text())


def test_all_examples_are_run_and_tested():
    files = {path.stem for path in (ROOT / "examples/physics").glob("*.py")} - {"run_all"}
    results = {path.stem for path in (ROOT / "examples/results/physics").glob("*.json")}
    spec = importlib.util.spec_from_file_location("physics_run_all", ROOT / "examples/physics/run_all.py")
    runner = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(runner)
    assert files == results == set(NAMES) == set(runner.NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_runs_small(name, capsys):
    found = example(name).main(small=True)
    assert found["size"] == example(name).SMALL and capsys.readouterr().out
    json.dumps(found)


def test_a_result_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    recorded = importlib.import_module("recorded")
    monkeypatch.setitem(sys.modules, "of_a_test", SimpleNamespace(main=lambda: {"rows": [1, 2]}))
    found, path = recorded.measured("of_a_test"), tmp_path / "of_a_test.json"
    assert set(found) == {"rows", "seconds", "load"} and set(found["seconds"]) == {"elapsed", "processor"}
    recorded.write(path, found)
    first = path.read_text()
    assert json.loads(first)["rows"] == [1, 2] and "\n" not in first[:-1]
    with pytest.raises(TypeError):
        recorded.write(path, {"rows": [3], "left": object()})
    assert path.read_text() == first and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", NAMES)
def test_a_committed_result_is_of_the_full_size(name):
    full = {k: list(v) if isinstance(v, tuple) else v for k, v in example(name).FULL.items()}
    assert committed(name)["size"] == full


# -- time evolution ---------------------------------------------------------------------------------------------------
def test_trotter_steps_are_of_second_order():
    tebd = example("tebd")
    right, errors = np.array(tebd.exact(6, 0.4)), []
    for steps in (2, 4, 8):
        state, lost = tebd.evolved(tebd.domain_wall(6), 0.4 / steps, steps, 8, 0.0)
        assert lost < 1e-20 and float(tk.norm(*state)) == pytest.approx(1, abs=1e-10)
        errors.append(np.abs(tebd.magnetisation(state) - right).max())
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.15) and errors[1] / errors[2] == pytest.approx(4, rel=0.15)


def test_what_is_lost_is_told():
    tebd = example("tebd")
    exact, _ = tebd.evolved(tebd.domain_wall(8), 0.1, 10, 16, 0.0)
    state, lost = tebd.evolved(tebd.domain_wall(8), 0.1, 10, 3, 0.0)
    assert max(state.network.sizes.values()) == 3 and lost > 1e-6
    assert 0.2 * lost**0.5 < float(tk.distance(*exact, *state)) < 10 * lost**0.5


def test_the_committed_evolution_is_good():
    found = committed("tebd")
    assert found["off_exact"] < 2e-4 and found["truncated"] < 1e-8 and found["norm"] == pytest.approx(1, abs=1e-6)
    profile = np.array(found["magnetisation"])
    assert profile.sum() == pytest.approx(0, abs=1e-5)  # conserved
    assert profile + profile[::-1] == pytest.approx(0, abs=1e-4)
    assert profile[0] == pytest.approx(0.5, abs=1e-4) and abs(profile[len(profile) // 2]) < 0.2


# -- ground states ----------------------------------------------------------------------------------------------------
def test_the_ground_state_is_that_of_the_whole_matrix():
    dmrg = example("dmrg")
    h, arrays = dmrg.heisenberg(8)
    matrix = tk.contract(h, arrays).reshape(256, 256)
    values, vectors = np.linalg.eigh(matrix)
    energies, state = dmrg.solved(8, (4, 8, 16), 1e-12)
    assert energies[-1] == pytest.approx(values[0], abs=1e-10)
    assert abs(vectors[:, 0] @ tk.contract(*state).reshape(-1)) == pytest.approx(1, abs=1e-8)
    assert float(tk.expect(h, arrays, *state)) == pytest.approx(energies[-1], abs=1e-10)


def test_the_committed_ground_state_is_good():
    found = committed("dmrg")
    assert abs(found["off_exact"]) < 1e-9 and abs(found["variance"]) < 1e-6
    assert all(b <= a + 1e-9 for a, b in zip(found["energies"], found["energies"][1:], strict=False))
    sites = found["size"]["sites"]
    assert found["energy"] / (sites - 1) > 0.25 - np.log(2) - 0.01  # about Hulthen's 1/4 - log 2 a bond
    assert found["energy"] == pytest.approx(found["energies"][-1], abs=1e-7)


# -- Ising ------------------------------------------------------------------------------------------------------------
def test_the_sum_over_all_spins():
    ising = example("ising")
    beta, total, up = 0.4, 0.0, 0.0
    for code in range(2**9):
        s = 1 - 2 * np.array([code >> k & 1 for k in range(9)]).reshape(3, 3)
        around = np.pad(s, 1, constant_values=1)
        energy = (around[1:, 1:-1] * around[:-1, 1:-1]).sum() + (around[1:-1, 1:] * around[1:-1, :-1]).sum()
        total, up = total + np.exp(beta * energy), up + np.exp(beta * energy) * (s[1, 1] == 1)
    assert ising.log_z(ising.lattice(3, 3), beta, 16) == pytest.approx(np.log(total), abs=1e-10)
    assert ising.magnetisation(3, beta, 16) == pytest.approx(2 * up / total - 1, abs=1e-10)


def test_onsager_and_yang_at_known_temperatures():
    ising = example("ising")
    critical = asinh(1) / 2
    assert ising.onsager(critical) == pytest.approx(
        np.log(2) / 2 + 2 * 0.915965594177219 / np.pi, abs=1e-9
    )  # Catalan's constant
    assert ising.onsager(1e-6) == pytest.approx(np.log(2), abs=1e-9) and ising.onsager(3) == pytest.approx(6, abs=1e-4)
    assert ising.yang(critical) == pytest.approx(0, abs=0.02) and ising.yang(2) == pytest.approx(1, abs=1e-5)


def test_the_committed_lattice_is_onsagers():
    found = committed("ising")
    assert found["critical"] == pytest.approx(2.269185314213022)
    for row in found["rows"]:
        far = abs(row["temperature"] - found["critical"])
        off = abs(row["free_energy"] - row["onsager"])
        assert off < (1e-8 if row["temperature"] <= 2.0 else 1e-7 if far > 0.7 else 1e-3)
        if row["temperature"] <= 2.0:
            assert row["magnetisation"] == pytest.approx(row["yang"], abs=1e-4)
    assert found["rows"][-1]["magnetisation"] < 0.01
