"""The page answers first: few words before the figure, every record in it, one file, all that users name escaped."""

import html
import re
from xml.etree import ElementTree

import pytest

import tnkit as tk
from tnkit_nn.comparison.measure import measure_of
from tnkit_nn.comparison.report.files import write_report
from tnkit_nn.comparison.report.page import page, summary
from tnkit_nn.comparison.report.plots import plot
from tnkit_nn.comparison.report.tables import cells, rows
from tnkit_nn.comparison.sentences import answer, headline

from ..made import RMSE, record, runs

LABELS = [("adtn depth 3", 100), ("mpo", 100), ("adtn depth 3", 1000), ("mpo", 1000), ("hashed", 100), ("picked", None)]
EVIL = "<script>alert('x')</script>"


def made(seeds=3, **more):
    nets = {"adtn depth 3": tk.adtn((8, 8), depth=3), "mpo": tk.mpo((4, 4), (4, 4), 2)}
    return [
        record(
            label, budget, s, 0.8 + 0.01 * s + 0.02 * k,
            networks={"fc1": tk.to_json(nets[label])} if label in nets else {}, **more,
        )
        for k, (label, budget) in enumerate(LABELS) for s in range(seeds)
    ]  # fmt: skip


def plain(text):
    """What is read of a piece of a page."""
    text = re.sub(r"<(style|script|title)[ >].*?</\1>", "", text, flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]*>", " ", text))


def body(text):
    return text[text.index("<body>") :]


@pytest.fixture(scope="module")
def shown():
    return page(made(), "Deep or shallow? <a test>")


def test_the_page_is_one_file(shown):
    sources = re.findall(r"""(?:src|href)=["']([^"']*)""", shown)
    assert sources and all(source.startswith("data:") for source in sources)
    assert not re.findall(r"@import|url\(|://", shown) and "<title>Deep or shallow? &lt;a test&gt;</title>" in shown
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in shown


def test_further_rates_are_told_of_records_that_have_them(shown):
    """Records of earlier versions are of sweeps that did not go on."""
    said, tried = (
        "Where the best rate is the lowest or the highest",
        {"rate": 0.06, "start": "fit", "lowest": 0.015, "highest": 0.2},
    )
    assert said not in plain(shown)
    assert said in plain(page(made(chosen_frozen=tried), "with further rates"))


def test_the_answer_stands_before_the_first_figure_in_sixty_words(shown):
    before = plain(body(shown)[: body(shown).index("<figure")])
    assert answer(made()) in before and headline(made()) in before
    assert len(before.split()) <= 60


def test_under_900_words_before_the_details(shown):
    start = body(shown)[: body(shown).index('id="h-sure"')]
    assert len(plain(re.sub(r"<svg.*?</svg>", "", start, flags=re.DOTALL)).split()) < 900


def test_every_row_is_in_the_table_with_the_table_s_own_cells(shown):
    table = re.search(r'<table class="cards sorts" id="rows">.*?</table>', shown, re.DOTALL)[0]
    on_page = [
        tuple(plain(c).strip() for c in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", tr, re.DOTALL))
        for tr in re.findall(r'<tr class="(?:deep|shallow|shared|control)">(.*?)</tr>', table, re.DOTALL)
    ]
    measure = measure_of(made())
    assert sorted(on_page) == sorted(cells(r, measure) for r in rows(made()))


def test_every_seed_is_in_the_figure(shown):
    """The dots of a family: as many as its records, at both readings, in the wide and in the narrow form."""
    for view in ("frozen-params", "trained-params", "error-params"):
        part = shown[shown.index(f'class="view v-{view}"') :]
        for form in re.findall(r"<svg.*?</svg>", part, re.DOTALL)[:2]:
            for label, points in (("adtn depth 3", 2), ("mpo", 2), ("hashed", 1)):
                family = re.search(rf'<g class="fam[^>]*data-name="{label}".*?</text></g>', form, re.DOTALL)[0]
                dots = re.findall(r'class="seed" d="([^"]*)"', family)
                assert [d.count("h0") for d in dots] == [3] * points
                assert family.count('class="mean"') == points


def test_each_family_is_drawn_once(shown):
    drawn = re.findall(
        r'<figure class="(?:deep|shallow)"><div class="art">(.*?)</div><b>(.*?)</b><small>(\d+) tensors', shown
    )
    assert [(label, art.count('class="n"') + art.count('class="c"')) for art, label, _ in drawn] == [
        ("adtn depth 3", len(tk.adtn((8, 8), depth=3).leaves)),
        ("mpo", 2),
    ]
    assert all(art.count('class="n"') + art.count('class="c"') == int(count) for art, _, count in drawn)
    assert "relu" in drawn[0][0] and drawn[0][0].count('class="b"') == 2  # nonlinearities are boxes
    nets = {"fc1": tk.to_json(tk.mpo((4, 4), (4, 4), 2)), "fc2": tk.to_json(tk.mpo((2, 4), (4, 4), 2))}
    both = page([record("mpo", 200, 0, 0.8, networks=nets, layer="fc1, fc2")], "both")
    assert both.count('<figure class="') == 1 and "in fc1: 2 tensors" in both and "layers <b>fc1, fc2</b>" in both


def test_what_users_name_is_escaped():
    metric = {"name": f"score {EVIL}", "unit": "<i>u</i>", "larger": True}
    nets = {f"<b>layer</b>{EVIL}": tk.to_json(tk.mpo((4, 4), (4, 4), 2))}
    records = [
        record(label, budget, s, 0.5 + 0.1 * s, metric=metric, description=f"what {EVIL}", title=EVIL, layer=EVIL, model=EVIL, data=EVIL,
               examples=f"rows {EVIL}", networks=nets if budget else {}, left_out={"removed": EVIL}, command=["tnkit", EVIL],
               machine={"processor": EVIL}, versions={"tnkit": EVIL})
        for label, budget in ((f"mine {EVIL}", 100), ("adtn depth 3", 100), (f'ctl" onload="{EVIL}', None)) for s in range(2)
    ]  # fmt: skip
    for r in records:
        r["kind"] = "control" if r["budget"] is None else "network"
    for text in (page(records, EVIL), summary(records)):
        assert "alert(&#39;x&#39;)" in text or "alert(&#x27;x&#x27;)" in text
        assert "<script>alert" not in text and "<i>u</i>" not in text and 'onload="<' not in text
        for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
            ElementTree.fromstring(svg)  # nothing of a name breaks out of a drawing


def test_a_row_that_is_no_number_is_told_not_drawn():
    records = runs(adtn3=(0.9, float("nan")), mpo=(0.8, 0.81), cp=(0.7, 0.75), picked=(0.5, 0.6))
    text = page(records, "t")
    assert "Not drawn, as not finite: adtn depth 3 at 100." in text
    assert not re.findall(r'(?:d|cx|cy|x|y)="[^"]*(?:nan|inf)', text)
    view = text[text.index('class="view v-frozen-params"') : text.index('class="view v-trained-params"')]
    assert 'data-name="adtn depth 3"' not in view and 'data-name="mpo"' in view and '<tr class="deep">' in text


def test_a_metric_without_a_best_value_has_a_plain_axis():
    text = page(runs(metric=RMSE, examples="days", mpo=(0.2, 0.3), adtn3=(0.25, 0.26), picked=(25.0, 26.0)), "t")
    assert "stretched" not in text and "test RMSE, kWh (smaller is better)" in text
    assert "↑ picked" in text  # far from all else: its name at the edge says where it is


@pytest.mark.parametrize("seeds", [1, 2])
def test_one_family_alone(seeds):
    records = [record("mpo", 100, s, 0.8 + 0.01 * s) for s in range(seeds)]
    text = page(records, "t")
    assert "No verdict." in text and 'data-name="mpo"' in text and 'name="budget"' not in text


@pytest.mark.slow
def test_a_large_comparison_stays_usable():
    records = [
        record(f"net {k} depth {k % 3 + 1}", 100 * (b + 1), s, 0.5 + 0.004 * k + 0.001 * s,
               depth=k % 3 + 1, curves={})
        for k in range(100) for b in range(10) for s in range(3)
    ]  # fmt: skip
    text = page(records, "t")
    assert len(text.encode()) < 1_500_000
    assert text.count('<tr class="shallow">') + text.count('<tr class="deep">') == 1000
    assert "stand in starts.md" not in text  # nothing was asked of starts


@pytest.mark.slow
def test_what_is_too_long_for_the_page_stands_beside_it(tmp_path):
    records = [
        record(f"net {k}", 100 * (b + 1), s, 0.5 + 0.001 * k + 0.01 * s)
        for k in range(40) for b in range(4) for s in range(2)
    ] + [record(name, None, s, 0.4 + 0.01 * s) for name in ("picked", "pooled") for s in range(2)]  # fmt: skip
    records += [
        record(name, 100 * (b + 1), s, 0.4 + 0.01 * s)
        for name in ("hashed", "subspace")
        for b in range(4)
        for s in range(2)
    ]
    files = write_report(records, tmp_path, "many")
    assert f"{40 * 4 * 3 * 2:,} rows: they stand in paired.md beside this page." in files["index.html"].read_text()
    assert files["paired.md"].read_text().count("\n") == 2 + 40 * 4 * 3 * 2


def test_curves_are_the_tables_figures():
    """Every family's curve: counts, means over seeds and their spread; the controls as lines at their means."""
    records = [
        record(label, budget, s, accuracy + 0.01 * s)
        for label, budget, accuracy in (
            ("mpo", 100, 0.7),
            ("mpo", 1000, 0.9),
            ("hashed", 100, 0.6),
            ("picked", None, 0.5),
        )
        for s in range(3)
    ]
    (frozen, trained) = plot(records).axes
    for axis in (frozen, trained):
        curves = {c.get_label(): c for c in axis.containers}
        assert set(curves) == {"mpo", "hashed"}
        line, _, (bars,) = curves["mpo"]
        assert line.get_xdata().tolist() == [100, 1000] and line.get_ydata() == pytest.approx([71, 91])
        assert [s[:, 1].tolist() for s in bars.get_segments()] == [pytest.approx([70, 72]), pytest.approx([90, 92])]
        (control,) = [x for x in axis.lines if x.get_label() == "picked (control)"]
        assert set(control.get_ydata()) == {51}
        assert axis.get_xscale() == "log"
    (errors,) = plot(records, "error").axes
    (baseline,) = [x for x in errors.lines if x.get_label().startswith("baseline")]
    assert set(baseline.get_ydata()) == {0.95}


def test_learning_curves_of_one_budget_are_means_over_the_seeds_step_by_step():
    """Seeds that stopped at other steps too: a line never goes back."""
    rows = [[[0, 2.0, 0.5], [50, 1.0, 0.75]], [[0, 4.0, 0.25], [25, 3.0, None], [50, 2.0, 0.25]]]
    records = [record("mpo", 100, s, 0.8, curves={"trained": curve}) for s, curve in enumerate(rows)]
    figure = plot(records, "curves")
    (loss,), (score,) = (axis.get_lines() for axis in figure.axes)
    assert loss.get_xydata().tolist() == [[0, 3], [25, 3], [50, 1.5]]
    assert score.get_xydata().tolist() == [[0, 37.5], [50, 50]]
