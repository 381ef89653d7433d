"""The explorer shows what the package computes: its tables, its calls and its pictures, and what Chromium makes of them."""

import importlib
import itertools
import random
import re
import sys
from pathlib import Path

import pytest

import tnkit as tk

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "explorer" / "index.html"


def module(name):
    before = sys.path[:]
    sys.path[:0] = [str(ROOT / "docs"), str(ROOT / "benchmarks" / "paper")]
    found = importlib.import_module(name)
    sys.path[:] = before
    return found


tables, page = module("rendering.explorer_tables"), module("rendering.explorer")


# -- tables, calls, pictures ------------------------------------------------------------------------------------------
def test_the_committed_index_is_what_the_registries_give():
    differ = {shown.builder for shown in tables.FAMILIES.values()} ^ set(tk.BUILDERS)
    assert not differ, f"not in both FAMILIES of docs/rendering/explorer_tables.py and tk.BUILDERS: {sorted(differ)}"
    differ = {path.stem for path in tables.OUT.glob("*.js")} ^ set(tables.FAMILIES)
    assert not differ, f"python docs/rendering/explorer_tables.py {' '.join(sorted(differ))}"
    assert page.INDEX.read_text() == page.index(), "run `make docs`"


@pytest.mark.parametrize("name", tables.FAMILIES)
def test_a_table_has_a_figure_for_every_point(name):
    shown, found = tables.FAMILIES[name], tables.read(name)
    points = list(shown.points())
    assert len(found) == 3 + len(tables.BATCHES) * shown.weight
    assert all(len(column) == len(points) and all(isinstance(n, int) for n in column) for column in found)
    assert all(n > 0 for column in found[:3] for n in column)
    formed = (
        [not shown.build(settings).multilinear for settings in points]
        if name == "adtn"
        else [name == "circuit"] * len(points)
    )
    assert all([n == 0 for n in column] == formed for column in found[3:])
    assert tables.path(name).stat().st_size < 30_000


@pytest.mark.slow
@pytest.mark.parametrize("name", tables.FAMILIES)
def test_figures_are_those_of_the_package(name):
    """Every count, and all figures of some points that are drawn anew for each family."""
    shown, found = tables.FAMILIES[name], tables.read(name)
    points = list(shown.points())
    assert [shown.build(settings).num_params for settings in points] == found[0]
    for k in random.Random(f"seed of {name}").sample(range(len(points)), 4):
        assert tables.figures(shown, points[k]) == [column[k] for column in found], points[k]


def test_data_through_a_network_costs_what_a_plan_by_hand_says():
    shown, settings = tables.FAMILIES["low_rank"], {"rows": 64, "cols": 256, "rank": 4}
    assert tables.figures(shown, settings)[3:] == [2 * batch * 4 * (64 + 256) for batch in tables.BATCHES]
    assert tables.dense(64, 256, 32) == 2 * 64 * 256 * 32


@pytest.mark.slow
@pytest.mark.parametrize("name", tables.FAMILIES)
def test_committed_pictures_are_what_is_drawn(name):
    for path, settings in page.drawings(name):
        drawn = tk.to_svg(tables.FAMILIES[name].build(settings), labels=False, sizes=False)
        assert path.read_text() == drawn, f"{path.name}: run `make docs`"


def test_no_picture_is_missing_or_left():
    wanted = {path for name in tables.FAMILIES for path, _ in page.drawings(name)}
    assert set(page.PICTURES.glob("*.svg")) == wanted


# -- in Chromium ------------------------------------------------------------------------------------------------------
@pytest.fixture
def opened(browser):
    """``opened(hash, width, scheme)``: the page, whose errors and outside requests fail the test."""
    views, wrong = [], []

    def at(hash_="", width=1280, scheme="light"):
        view = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        view.on("pageerror", lambda error: wrong.append(str(error)))
        view.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        view.on(
            "request", lambda request: None if request.url.startswith(("file:", "data:")) else wrong.append(request.url)
        )
        view.goto(PAGE.as_uri() + hash_)
        view.wait_for_selector("#along tbody tr")
        views.append(view)
        return view

    yield at
    for view in views:
        view.close()
    assert not wrong


def shown_figures(view):
    names, values = view.locator("#figures dt").all_inner_texts(), view.locator("#figures dd")
    return dict(zip(names, (values.nth(k).get_attribute("data-exact") for k in range(len(names))), strict=True))


@pytest.mark.slow
def test_the_page_looks_up_every_point_as_python_does(opened):
    """All points of all tables: the call and the figures, as the page's own functions find them."""
    view, seen = opened(), 0
    for name, shown in tables.FAMILIES.items():
        view.evaluate("(name) => choose(name)", name)
        view.wait_for_function("(name) => explorer.tables[name] !== undefined", arg=name)
        points = list(shown.points())
        found = view.evaluate("(points) => points.map((p) => [spelled(p), figuresAt(p), entriesOf(p)])", points)
        columns = list(zip(*tables.read(name), strict=True))
        for settings, expected, (call, figures, entries) in zip(points, columns, found, strict=True):
            assert call == shown.spelled(settings)
            assert [figures["parameters"], figures["flops"], figures["largest"], *figures["through"]] == list(expected)
            sides = ("rows", "cols") if shown.weight else ("dim",) * settings["sites"]
            assert entries == eval("*".join(str(settings[side]) for side in sides))
        seen += len(points)
    assert seen > 3000


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mpo", "adtn", "peps"])
def test_what_is_read_on_the_page_is_what_python_computes(opened, name):
    shown = tables.FAMILIES[name]
    settings = random.Random(name).choice(list(shown.points()))
    view = opened(f"#family={name}&" + "&".join(f"{k}={v}" for k, v in settings.items()) + "&batch=32")
    net = eval(view.inner_text("#call"), {"tk": tk})
    made, found = tk.plan(net), shown_figures(view)
    what = "weight" if shown.weight else "state"
    assert int(found["Parameters"]) == net.num_params
    assert int(found[f"FLOPs that form the {what}"]) == made.flops
    assert int(found["Largest tensor on the way (entries)"]) == made.largest
    if shown.weight:
        data = 2 * 32 * settings["rows"] * settings["cols"]
        assert int(found["FLOPs of 32 rows: dense layer"]) == data
        assert int(found["FLOPs of 32 rows: formed first"]) == made.flops + data
        assert (found["FLOPs of 32 rows: through the network"] == "none") == (not net.multilinear)
    assert view.evaluate("document.getElementById('picture').naturalWidth") > 50
    assert f"{net.num_params:,} parameters" in view.inner_text("#said")


@pytest.mark.slow
def test_keys_move_a_slider_and_the_address_keeps_the_choice(opened):
    view = opened("#family=tt&rows=64&cols=64&digits=3&rank=4&batch=1")
    view.focus("#rank")
    view.keyboard.press("ArrowRight")
    assert view.inner_text("output[for=rank]") == "8" and "rank=8" in view.url
    assert view.get_attribute("#rank", "aria-valuetext") == "8"
    assert view.evaluate("document.activeElement.id") == "rank"
    before = shown_figures(view)
    view.reload()
    view.wait_for_selector("#along tbody tr")
    assert shown_figures(view) == before and view.inner_text("output[for=rank]") == "8"
    assert view.inner_text("#along [aria-current] th") == "8"


@pytest.mark.slow
def test_a_wrong_address_is_read_as_what_is_nearest(opened):
    view = opened("#family=nothing&rank=5&rows=300&cols=-3&batch=x")
    assert "family=mpo&rows=256&cols=256" in view.url and "rank=4" in view.url and "batch=32" in view.url


@pytest.mark.slow
def test_every_control_has_a_name(opened):
    view = opened("#family=circuit")
    for control in view.locator("input, select").all():
        assert view.locator(f"label[for={control.get_attribute('id')}]").count() == 1
    assert view.get_attribute("#said", "aria-live") == "polite"
    assert view.locator("img:not([alt]), img[alt='']").count() == 0
    assert not opened("#family=mps").is_visible("#batch")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_width_scrolls_sideways_and_text_stands_out(opened, scheme):
    view = opened("#family=circuit&digits=4", scheme=scheme)
    for width in (320, 390, 768, 1280, 1600):
        view.set_viewport_size({"width": width, "height": 900})
        assert view.evaluate("document.documentElement.scrollWidth") <= width
        assert view.evaluate(
            "[...document.querySelectorAll('main > *')].every((e) => e.scrollWidth <= e.clientWidth)"
        ), width
    for one in ("#said", "dt", "#caption", "#along td"):
        assert contrast(*view.evaluate("(q) => [getComputedStyle(document.querySelector(q)).color, getComputedStyle(document.querySelector('section')).backgroundColor]", one)) >= 4.5  # fmt: skip


def contrast(*colours):
    """The ratio of WCAG between two colours ``rgb(r, g, b)``."""

    def light(colour):
        parts = [int(n) / 255 for n in re.findall(r"\d+", colour)[:3]]
        return sum(w * (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4) for w, c in zip((0.2126, 0.7152, 0.0722), parts, strict=True))  # fmt: skip

    low, high = sorted(map(light, colours))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_wcag():
    assert contrast("rgb(0, 0, 0)", "rgb(255, 255, 255)") == pytest.approx(21)
    assert all(contrast(a, a) == 1 for a in itertools.repeat("rgb(9, 9, 9)", 1))
