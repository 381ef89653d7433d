"""The metric against what a forward costs: the Pareto front by hand, the table, the figure, records without costs."""

import random

import pytest

from tnkit_nn.comparison.measure import measure_of
from tnkit_nn.comparison.report.compute import compute_cells, compute_headers, compute_table, front
from tnkit_nn.comparison.report.files import write_report
from tnkit_nn.comparison.report.plots import drawn, plot
from tnkit_nn.comparison.result import Comparison

from ..made import PERPLEXITY, RMSE, forward, record


def costing(label, budget, score, flops, ms, way="factorised", **more):
    cost = {"way": way, "batch": 128, "flops": flops, "flops_if_built": 9000, "ms": ms, "step_ms": 3 * ms}
    return record(label, budget, 0, score, forward=forward(budget) | cost, **more)


def made():
    return [
        costing("mpo", 100, 0.80, 1000, 0.08), costing("mpo", 300, 0.90, 3000, 0.16), costing("cp", 100, 0.70, 2000, 0.04),
        costing("adtn depth 3", 100, 0.85, 9000, 0.40, "built"), costing("hashed", 100, 0.75, 8200, 0.08, "built"),
        costing("dense", None, 0.95, 8192, 0.04, "dense"), record("removed", None, 0, 0.5, forward={}),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("points", "sign", "want"),
    [
        ([], 1, []),
        ([(2, 0.4), (1, 0.5), (3, 0.7)], 1, [(1, 0.5), (3, 0.7)]),
        ([(1, 0.5), (1, 0.6), (2, 0.6)], 1, [(1, 0.6)]),  # as good at a higher cost is not on it
        ([(1, 9.0), (2, 7.0), (3, 8.0)], -1, [(1, 9.0), (2, 7.0)]),
    ],
)
def test_the_front(points, sign, want):
    assert front(points, sign) == want


def test_no_point_is_better_and_cheaper_than_one_of_the_front():
    draw = random.Random(3)
    points = [(draw.randint(1, 20), draw.random()) for _ in range(200)]
    found = front(points)
    assert len(found) > 2
    for x, y in points:
        dominated = any(a <= x and b >= y for a, b in found)
        assert dominated
    for x, y in found:
        assert not any((a <= x and b > y) or (a < x and b == y) for a, b in points)


def lines(axis):
    return {line.get_label(): line for line in axis.get_lines()}


def test_the_figure_s_points_are_the_records():
    figure = plot(made(), "compute")
    flops, time, *_ = figure.axes
    assert (flops.get_xscale(), len(figure.axes)) == ("log", 4)
    shown = {
        (x, y)
        for line in flops.get_lines()
        if line.get_lw() < 5
        for x, y in line.get_xydata()
        if len(line.get_xdata()) < 3
    }
    assert {(1000.0, 80.0), (3000.0, 90.0), (8192.0, 95.0)} <= {(float(x), round(float(y), 6)) for x, y in shown}
    (best,) = (line for line in flops.get_lines() if line.get_lw() == 5)
    assert best.get_xydata().round(6).tolist() == [[1000, 80], [3000, 90], [8192, 95]]
    (best,) = (line for line in time.get_lines() if line.get_lw() == 5)
    assert best.get_xydata().round(6).tolist() == [[1, 95]]  # of the dense layer's time
    entries = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "mpo" in entries and "dense (control)" in entries and "removed (control): not measured" in entries


def test_smaller_is_better_on_the_front_of_such_a_metric():
    records = [r | {"metric": RMSE, "examples": "days"} for r in made()]
    figure = plot(records, "compute")
    (best,) = (line for line in figure.axes[0].get_lines() if line.get_lw() == 5)
    assert best.get_xydata().round(6).tolist() == [[1000, 0.8], [2000, 0.7]]


def test_the_table_says_how_and_how_much():
    cells = {(c[0], c[1]): c for c in compute_cells(made())}
    assert {len(c) for c in cells.values()} == {len(compute_headers(measure_of(made())))} == {12}
    assert ("removed", "") not in cells
    assert cells["mpo", "100"][2:10] == ("factorised", "1k", "0.122", "9k", "0.08", "2", "0.24", "1.2")
    assert cells["adtn depth 3", "100"][2] == "built"
    first = compute_table(made(), "github").splitlines()[0]
    assert [cell.strip() for cell in first.strip("|").split("|")][2:5] == ["forward", "FLOPs", "FLOPs / dense"]


@pytest.mark.slow
def test_records_without_costs_have_no_such_figure(tmp_path):
    old = [{k: v for k, v in r.items() if k != "forward"} for r in made()]
    assert "compute" not in drawn(Comparison(old)) and "compute" in drawn(made())
    with pytest.raises(ValueError, match="these have no times of a forward"):
        plot(old, "compute")
    files = write_report(old, tmp_path / "old")
    assert "compute.md" not in files and "compute.png" not in files and "Compute" not in files["index.html"].read_text()
    files = write_report(made(), tmp_path / "new")
    page = files["index.html"].read_text()
    assert "<summary>Compute</summary>" in page and "a batch of 128" in page
    assert files["compute.md"].read_text().count("\n") == 2 + 6


def test_a_row_that_could_not_be_measured_says_why():
    why = "not measured: first is not called as a module"
    records = [*made(), record("tt", 100, 0, 0.6, forward={"way": why})]
    (row,) = (c for c in compute_cells(records) if c[0] == "tt")
    assert row[2] == why and set(row[3:10]) == {"–"}
    assert "tt: not measured" in [text.get_text() for text in plot(records, "compute").legends[0].get_texts()]
    assert Comparison([r | {"metric": PERPLEXITY, "examples": "words"} for r in records]).plot("compute")
