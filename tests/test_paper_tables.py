"""Tables of the paper's studies on made-up results, and what the CIFAR-100 study is made of."""

import importlib
import math
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def paper(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "paper"))
    return lambda name: importlib.import_module(name)


def test_a_vgg_cut_at_a_pool_is_the_same_model(paper):
    torch = pytest.importorskip("torch")
    from tnkit_nn import zoo

    transfer = paper("transfer")
    torch.manual_seed(0)
    model, x = zoo.vgg16(scale=0.05).eval(), torch.randn(2, 3, 32, 32)
    first, last = transfer.at_pool(model)
    with torch.no_grad():
        assert first(x).shape == (2, 26, 2, 2) and torch.equal(model.classifier(last(first(x)).flatten(1)), model(x))
    assert sum(isinstance(m, torch.nn.Conv2d) for m in last) == 3


def test_what_is_computed_once_is_read_again(paper, tmp_path):
    torch = pytest.importorskip("torch")
    from tnkit_nn.data.splits import Split

    draw, made = torch.Generator().manual_seed(0), []
    parts = [(torch.randn(n, 4, generator=draw), torch.arange(n)) for n in (300, 20, 10)]
    layer = torch.nn.Linear(4, 3)

    def make():
        made.append(1)
        return Split("x", *parts), layer

    for _ in range(2):
        found = paper("transfer").once(tmp_path / "deep" / "x.safetensors", make)
        with torch.no_grad():
            for (x, y), (before, labels) in zip((found.train, found.val, found.test), parts, strict=True):
                torch.testing.assert_close(x, layer(before))
                assert torch.equal(y, labels)
    assert made == [1]


def test_tables_of_cifar_100_show_what_was_measured(paper):
    pytest.importorskip("scipy")
    tables = paper("tables")
    values = {"dense": [0.6], "adtn 424": [0.5, 0.52, 0.54], "left out": [0.55, 0.56, 0.57]}
    cells = [
        {
            "model": "alexnet",
            "head": head,
            "seed": s,
            "result": {"accuracy": x, "numbers": 424 if head[0] == "a" else 0},
        }
        for head, each in values.items()
        for s, x in enumerate(each)
    ]
    options = {"epochs": 3, "dense_epochs": 8, "limit": None, "device": "cpu"}
    found = {"cells": cells, "versions": {"tnkit": "1"}, "options": options, "digests": {"tnkit_nn/no_such.py": "0"}}
    page = tables.section("cifar100-head", found)
    assert (
        "`python benchmarks/paper/studies.py cifar100-head --data-dir DIR --vgg16 FILE --epochs 3 --dense-epochs 8`"
        in page
    )
    assert re.search(r"adtn 424 +\| 424 +\| 52.00 \(50.00 to 54.00\) +\| -4.00 \(", page)
    assert page.endswith("tnkit 1; *made with older code (tnkit_nn/no_such.py)*.")
    found["options"]["data"] = "cifar100"
    page = tables.section("cifar-whole-cifar100", found)
    assert (
        "AlexNet and ZFNet on CIFAR-100\n" in page
        and "studies.py cifar-whole --data-dir DIR --data cifar100 --epochs 3" in page
    )
    assert "### alexnet" in page and "### zfnet" not in page


def test_a_table_says_how_many_rows_chose_a_rate_at_the_edge(paper):
    rows = [("a", 0.2), ("a", 0.2), ("b", 0.015), ("c", 0.06), ("dense", 0.015)]
    records = [
        {"label": n, "budget": None if n == "dense" else 400, "chosen_frozen": {"rate": r, "start": "fit"}}
        for n, r in rows
    ]
    edges = paper("tables").edges
    assert (
        edges({"rates": [0.015, 0.06, 0.2], "records": records})
        == "1 of 3 rows chose the lowest rate of those tried (0.015), 1 the highest (0.2); "
    )
    assert edges({"records": records}) == edges({"rates": [0.1], "records": [{**records[-1]}]}) == ""


def test_the_halves_of_a_model_are_its_convolutions_and_its_linear_layers(paper):
    torch = pytest.importorskip("torch")
    from tnkit_nn import zoo

    torch.manual_seed(0)
    model, x = zoo.alexnet(100).eval(), torch.randn(2, 3, 32, 32)
    body, head = paper("scratch").halves(model)
    with torch.no_grad():
        assert body(x).shape == (2, 1024) and torch.equal(head(body(x)), model(x))
    assert [tuple(head[k].weight.shape) for k in (0, 2)] == [(4096, 1024), (4096, 4096)]
    assert {cell["head"] for cell in paper("scratch").cells("zfnet")} >= {
        "dense",
        "adtn 424",
        "left out",
        "small dense",
    }


def test_a_rival_with_no_fewer_parameters_is_tested_past_the_budget(paper):
    pytest.importorskip("scipy")
    rows = paper("table_rows")

    def row(label, numbers, depth, values):
        common = {"label": label, "num_params": numbers, "depth": depth, "budget": 400}
        return [{**common, "seed": s, "test_frozen": v, "val_frozen": v} for s, v in enumerate(values)]

    deep = row("circuit", 397, 2, [0.97, 0.971, 0.969])
    for label, tested in (("mpo, no fewer", True), ("mpo on its digits", True), ("mpo", False)):
        shallow = row(label, 440, None, [0.95, 0.952, 0.949])
        groups = rows.grouped([*deep, *shallow])
        found = rows.against_best(groups, "frozen")
        assert (found[label].p is not None) == tested and found[label].points == pytest.approx(-1.967, abs=1e-3)
        assert found[label].unequal == tested and rows.preferred(groups, "frozen") == (
            "circuit",
            label if tested else None,
        )


def test_rates_of_the_small_vgg_go_on_until_the_best_is_at_no_edge(paper):
    """A made-up training whose best rate lies outside of those that all kinds begin with, or nowhere."""
    vgg = paper("small_vgg")

    def run(best):
        found, seen = [], -1
        while len(found) > seen:
            seen = len(found)
            for cell in vgg.next_cells(found):
                key = cell["convs"], cell["rate"], cell["seed"]
                if key not in [(c["convs"], c["rate"], c["seed"]) for c in found]:
                    off = abs(math.log(cell["rate"] / best))
                    found.append({**cell, "result": {"val": 1 - off / 20, "accuracy": 0.5, "numbers": 9, "epochs": 3}})
        return [c for c in found if c["convs"] == "mpo"]

    for best, rate, tried in ((0.02, 0.02, 3), (0.3, 0.32, 5), (1.2e-3, 1.25e-3, 5), (1e9, 1.28, 5)):
        cells = run(best)
        assert sorted(c["seed"] for c in cells if c["rate"] == pytest.approx(rate)) == list(range(5)), best
        assert len({c["rate"] for c in cells}) == tried, best
        if best < 1:  # a rate on either side was tried
            assert min(c["rate"] for c in cells) < rate < max(c["rate"] for c in cells)


@pytest.mark.slow
def test_no_shallow_convolution_of_the_small_vgg_has_fewer_numbers_than_a_deep_one(paper):
    vgg = paper("small_vgg")
    for shape in ((16, 16, 3, 3), (64, 32, 3, 3), (128, 128, 3, 3)):
        deep = [vgg.network(what, shape).num_params for what in vgg.DEEP]
        shallow = [vgg.network(what, shape).num_params for what in vgg.SHALLOW]
        assert max(deep) <= min(shallow) and max(deep) <= 1.05 * vgg.BUDGET, (shape, deep, shallow)


def test_a_training_ends_at_its_best_epoch(paper):
    torch = pytest.importorskip("torch")
    from tnkit_nn.training.loop import Epoch

    model, values = torch.nn.Linear(1, 1), [0.1, 0.5, 0.4, 0.6, 0.5, 0.5, 0.5, 0.9]
    ran = []

    def run(after):
        for k, value in enumerate(values, 1):
            ran.append(k)
            torch.nn.init.constant_(model.weight, k)
            after(Epoch(k, 0.0, 1.0, 0.0, 0.0, value))

    vgg = paper("small_vgg")
    assert (
        vgg.until_no_better(model, run, patience=3) == 4 and model.weight.item() == 4 and ran == [1, 2, 3, 4, 5, 6, 7]
    )
    assert vgg.until_no_better(model, run, patience=4) == 8 and model.weight.item() == 8


def test_the_table_of_the_small_vgg_shows_each_kind_at_its_rate(paper):
    pytest.importorskip("scipy")
    rates = {
        "adtn": {0.02: [0.7, 0.71], 0.08: [0.6], 0.32: [0.5]},
        "mpo": {0.02: [0.6], 0.08: [0.8, 0.81], 0.32: [0.5]},
    }
    cells = [
        {"convs": what, "rate": rate, "seed": s, "result": {"accuracy": x, "val": x, "numbers": 9000, "epochs": 12 + s}}
        for what, each in rates.items()
        for rate, values in each.items()
        for s, x in enumerate(values)
    ]
    table = paper("table_cells").small_vgg_convs({"cells": cells, "options": {"epochs": 100}})
    assert re.search(
        r"\| adtn +\| 9,000 +\| 0.02 +\| 2 +\| 70.50 \(70.00 to 71.00\) +\| -10.00 .* 0.08: 60.00; 0.32: 50.00", table
    )
    assert re.search(r"\| mpo +\| 9,000 +\| 0.08 +\| 2 +\| 80.50 \(80.00 to 81.00\) ", table)
    assert "the best epochs were 12 to\n13." in table and "difference to *mpo*" in table


def test_a_control_of_a_head_has_the_classes_of_the_head(paper):
    torch = pytest.importorskip("torch")
    nn, heads = torch.nn, paper("heads")
    for what, numbers in (("small dense", 512), ("left out", 0), ("picked", 0), ("hashed 424", 424)):
        head = nn.Sequential(nn.Linear(512, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 100))
        model, count = heads.controlled(head, {"head": what, "seed": 0}, ("0", "2"))
        assert model(torch.ones(2, 512)).shape == (2, 100) and count == numbers, what


# -- learning rates by structure ----------------------------------------------------------------------------------------
def test_the_best_rate_is_that_of_a_parabola(paper):
    best = paper("table_rates").best_rate
    rates = [1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0]
    for top in (-2.3, -1.9, -1.0, -0.61):
        curve = [0.9 - 0.2 * (math.log10(r) - top) ** 2 for r in rates]
        assert best(rates, curve) == pytest.approx(top, abs=1e-9)
    assert best(rates, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]) == 0  # at an edge, the edge
    assert best(rates, [0.5, 0.7, 0.7, 0.7, 0.5, 0.4, 0.3]) == pytest.approx(math.log10(3e-3) + 0.25, abs=0.3)
    assert best([0.01, 0.1, 1.0], [0.5, 0.5, 0.5]) == -2  # flat: the lowest


def test_one_rate_for_all_costs_what_each_loses_at_it(paper):
    common = paper("table_rates").common
    grid = [-3.0, -2.0, -1.0]
    rate, lost = common([grid, grid], [[0.5, 0.9, 0.8], [0.2, 0.6, 0.9]])
    assert rate == -1 and lost == pytest.approx([0.1, 0.0])
    shifted = [x + 1 for x in grid]  # the same two curves, each in units of its own: nothing is lost
    rate, lost = common([grid, shifted], [[0.5, 0.9, 0.8], [0.5, 0.9, 0.8]])
    assert lost == pytest.approx([0.1, 0.0]) or lost == pytest.approx([0.0, 0.4])
    rate, lost = common([grid, shifted], [[0.5, 0.9, 0.8], [0.9, 0.8, 0.5]])
    assert rate == -2 and lost == pytest.approx([0.0, 0.0])


def test_starts_as_in_the_paper_keep_the_weight(paper):
    """Every array as large as sqrt(min(ins, outs)) / ins, times one factor; their product is what it was."""
    pytest.importorskip("torch")
    import numpy as np

    import tnkit as tk

    rates = paper("rates")
    net = tk.low_rank((120, 400), 4)
    arrays = tk.init.orthogonal(net, seed=3, dtype="float64")
    rms = {n: float(np.sqrt(np.mean(a**2))) for n, a in arrays.items()}
    by = rates.paper_sizes(net, (120, 400), rms)
    sized = {n: a * by[n] for n, a in arrays.items()}
    np.testing.assert_allclose(tk.contract(net, sized), tk.contract(net, arrays), rtol=1e-9, atol=1e-12)
    want = {"left": math.sqrt(4) / 4, "right": math.sqrt(4) / 400}  # 4 -> 120, and 400 -> 4
    sizes = {n: rms[n] * by[n] for n in rms}
    assert sizes["left"] / sizes["right"] == pytest.approx(want["left"] / want["right"])


def test_the_table_of_rates(paper):
    rates, log10 = [1e-3, 1e-2, 1e-1, 1.0], math.log10
    tops = {"low_rank": -2.0, "mpo": -1.0}

    def cell(family, rule):
        top = tops[family] if rule == "equal" else -1.5  # the rule brings both together
        score = [[[0.9 - 0.1 * (log10(r) - top) ** 2] * 3] for r in rates]
        return {
            "place": "digits, 64 x 64", "budget": 300, "family": family, "rule": rule, "num_params": 256, "mean_factor": 10.0,
            "starts": ["random"], "score": score,
        }  # fmt: skip

    rules = ("equal", "structured", "structured, with its starts")
    found = {
        "rates": rates,
        "seeds": 3,
        "steps": [300, 100, 150],
        "cells": [cell(f, rule) for f in tops for rule in rules],
    }
    lines = [
        [c.strip() for c in line.split("|")[1:-1]]
        for line in paper("table_rates").rates(found).splitlines()
        if line.startswith("|")
    ]
    equal, structured, scaled, *_ = lines[2:]
    assert equal[2:5] == ["0.032", "0.71", "1.00"] and structured[2:5] == ["0.032", "0.00", "0.00"]
    assert scaled[2] == "0.0032" and float(equal[7]) > float(structured[7]) == 0


def test_layers_that_are_read_off_one_weight_are_those_of_the_model(paper):
    torch = pytest.importorskip("torch")
    from tnkit_nn import zoo

    joint = paper("joint")
    made = joint.joint_lenet5(3)
    torch.manual_seed(3)
    model, x = zoo.lenet5(), torch.randn(4, 1, 28, 28)
    torch.testing.assert_close(made(x), model(x))
    for name, weight in made.weights().items():
        torch.testing.assert_close(weight, model.get_parameter(f"{name}.weight"))
    assert sum(p.numel() for p in made.parameters()) == sum(p.numel() for p in model.parameters())
    spread = [float((w.detach() / joint.UNITS[n]).std()) for n, w in made.weights().items()]
    assert max(spread) < 1.1 * min(spread)


@pytest.mark.slow
def test_no_shallow_row_of_three_layers_has_fewer_numbers_than_a_deep_one(paper):
    from tnkit_nn.budgets import shares

    deep, joint = paper("deep"), paper("joint")
    rows, sizes = deep.three_layers(), [math.prod(shape) for shape in joint.SHAPES.values()]
    for shape, budget in [(joint.MATRIX, 1000), *zip(joint.SHAPES.values(), shares(1000, sizes), strict=True)]:
        counts = {f.label: f.build(shape, budget).num_params for f in rows}
        most = max(counts[f.label] for f in rows if f.depth)
        assert all(n >= most for label, n in counts.items() if label.endswith("no fewer"))


def test_differences_of_a_table_are_corrected_for_their_number(paper):
    stats = pytest.importorskip("scipy.stats")
    base = {0: 0.90, 1: 0.91, 2: 0.92}
    rows = {
        "far": {2: 0.70, 0: 0.69, 1: 0.71},  # by seed, not by place
        "near": {0: 0.912, 1: 0.915, 2: 0.934},
        "two seeds": {0: 0.95, 2: 0.96},
    }
    parts = paper("table_parts")
    found = parts.gaps({label: (row, base) for label, row in rows.items()})
    alone = {
        label: stats.ttest_rel([row[s] for s in sorted(row)], [base[s] for s in sorted(row)]).pvalue
        for label, row in rows.items()
    }
    least, *others = sorted(alone, key=alone.get)
    assert found[least].p == pytest.approx(3 * alone[least])
    corrected = 3 * alone[least]
    for times, label in zip((2, 1), others, strict=True):
        corrected = max(corrected, min(1, times * alone[label]))
        assert found[label].p == pytest.approx(corrected)
    assert found["far"].words == "less" and alone["two seeds"] > 0.05
    assert re.fullmatch(r"-21.00 \(-2\d.\d\d to -1\d.\d\d\), p 0.0\d\d: less", str(found["far"]))
    (one,) = parts.gaps({"x": ({0: 0.5}, {0: 0.4})}).values()
    assert str(one) == "+10.00, one seed" and one.words == "no significant difference"


def test_nothing_is_said_of_a_row_that_is_ahead_with_more_parameters(paper):
    pytest.importorskip("scipy")
    gaps, rows = paper("table_parts").gaps, ({0: 0.9, 1: 0.91, 2: 0.92}, {0: 0.7, 1: 0.71, 2: 0.72})
    for counts, forth, back in (((5, 4), "no statement", "less"), ((4, 5), "more", "no statement")):
        assert gaps({"x": rows}, {"x": counts})["x"].words == forth
        assert gaps({"x": rows[::-1]}, {"x": counts})["x"].words == back
    assert gaps({"x": rows})["x"].words == "more"


def test_rows_of_a_table_are_paired_by_their_seeds(paper):
    pytest.importorskip("scipy")
    rows = paper("table_rows")

    def row(label, depth, seeds, values):
        return [
            {
                "label": label,
                "depth": depth,
                "budget": 100,
                "num_params": 100,
                "seed": s,
                "test_frozen": x,
                "val_frozen": x,
            }
            for s, x in zip(seeds, values, strict=True)
        ]

    deep = row("circuit", 2, (0, 1, 2), (0.80, 0.85, 0.90))
    turned = row("mpo", None, (2, 0, 1), (0.89, 0.79, 0.84))
    gap = rows.against_best({"circuit": deep, "mpo": turned}, "frozen")["circuit"]
    assert gap.points == pytest.approx(1) and gap.p < 0.01
    with pytest.raises(ValueError, match=r"the same seeds, not \[0, 1, 2\] and \[0, 1, 3\]"):
        rows.against_best({"circuit": deep, "mpo": row("mpo", None, (0, 1, 3), (0.1, 0.2, 0.3))}, "frozen")
    lost = row("ring", None, (0, 1, 2), (math.nan,) * 3)
    assert rows.preferred({"ring": lost, "mpo": turned, "circuit": deep}, "frozen") == ("circuit", "mpo")
