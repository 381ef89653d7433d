"""The page in Chromium: no sideways scrolling, no request, switches, keyboard, without JavaScript, light and dark."""

import pytest

from tnkit_nn.comparison.report.page import page

from ..made import record
from .test_page import made, plain

WIDTHS = (320, 390, 760, 901, 1280, 1600)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    more = [
        record(f"a family with a name that is rather long, number {k}", 300, s, 0.7 + 0.02 * k + 0.01 * s)
        for k in range(3)
        for s in range(3)
    ]
    more += [record("dense", None, s, 0.93, description="the trained layer as it is") for s in range(3)]
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(page(made() + more, "Deep or shallow?"))
    return path.as_uri()


@pytest.fixture()
def opened(browser, address):
    """A page at a width, with what went wrong on it."""
    pages = []

    def at(width, hash_="", **options):
        found = browser.new_page(viewport={"width": width, "height": 800}, **options)
        found.set_default_timeout(120_000)
        found.wrong = []
        found.on("console", lambda m: found.wrong.append(m.text) if m.type in ("error", "warning") else None)
        found.on("pageerror", lambda e: found.wrong.append(str(e)))
        found.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else found.wrong.append(r.url))
        found.goto(address + hash_)
        pages.append(found)
        return found

    yield at
    for found in pages:
        assert found.wrong == []
        found.close()


def shown(found, selector):
    return found.locator(selector).locator("visible=true").count()


@pytest.mark.slow
def test_it_never_scrolls_sideways(opened):
    found = opened(320)
    for width in WIDTHS:
        found.set_viewport_size({"width": width, "height": 800})
        assert found.evaluate("document.documentElement.scrollWidth") <= width, width
        assert shown(found, ".plot svg") == 1 and shown(found, ".narrow svg") == (width <= 900)
        assert shown(found, "#rows thead") == 1
    found.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    for width in (320, 1280):
        found.set_viewport_size({"width": width, "height": 800})
        assert found.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.slow
def test_the_switches(opened):
    found = opened(1280)
    assert shown(found, ".v-frozen-params") == 1 and shown(found, ".view") == 1
    for shown_, against, view in (
        ("trained", "flops", "trained-flops"),
        ("frozen", "time", "frozen-time"),
        ("error", None, "error-params"),
    ):
        found.check(f"#s-{shown_}", force=True)
        if against:
            found.check(f"#a-{against}", force=True)
        assert shown(found, f".v-{view}") == 1 and shown(found, ".view") == 1
    found.check("#b-100", force=True)
    assert shown(found, 'tbody[data-budget="100"]') == 1 and shown(found, 'tbody[data-budget="1000"]') == 0
    assert shown(found, "#rows tbody:not([data-budget])") == 1  # controls without a budget always
    columns = shown(found, "#rows thead th")
    assert columns == 6
    found.check("#c-4")
    assert shown(found, "#rows thead th") == columns + 1
    assert "budget=100" in found.url and "shown=error" in found.url
    again = opened(1280, "#shown=trained&budget=1000&family=mpo")
    assert shown(again, ".v-trained-params") == 1 and again.locator("#family").input_value() == "mpo"
    assert shown(again, 'tbody[data-budget="100"]') == 0 and again.locator("#readout b").inner_text() == "mpo"


@pytest.mark.slow
def test_keyboard_and_touch(opened):
    found = opened(1280)
    family = found.locator('.v-frozen-params .wide .fam[data-name="mpo"]')
    family.focus()
    assert found.locator("#readout").inner_text().startswith("mpo: budget 100:")
    family.press("Enter")
    assert family.get_attribute("aria-pressed") == "true" and found.locator("#rows tr.on").count() == 2
    family.press("Escape")
    assert family.get_attribute("aria-pressed") == "false"
    found.locator("#rows thead .i").first.press("Enter")
    assert "a network, or a control" in found.locator("[popover]:popover-open").inner_text()
    found.keyboard.press("Escape")
    head = found.locator("#rows thead th").nth(2)
    head.locator(".sort").press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    touched = opened(390, has_touch=True, is_mobile=True)
    touched.locator("#rows button.is").first.tap()
    assert touched.locator("[popover]:popover-open").count() == 1


@pytest.mark.slow
def test_without_javascript_the_answer_a_figure_and_the_table_are_there(opened):
    found = opened(1280, java_script_enabled=False)
    assert found.locator(".answer").inner_text() and shown(found, ".plot svg") == 1
    assert found.locator("#rows tbody tr:not(.group)").count() == 6 + 3 + 1
    assert shown(found, "#families") == 0  # what would do nothing is not there


@pytest.mark.slow
def test_a_phone_shows_cards_and_the_colours_follow_the_reader(opened):
    phone = opened(390, color_scheme="dark", reduced_motion="reduce")
    card = phone.locator("#rows tbody tr.deep, #rows tbody tr.shallow").locator("visible=true").first
    assert card.evaluate("e => getComputedStyle(e).display") == "block"
    box = phone.locator(".plot svg").locator("visible=true").bounding_box()
    assert box["y"] < 500  # the figure begins on the first screen
    colours = [
        opened(390, color_scheme=s).evaluate("getComputedStyle(document.body).backgroundColor")
        for s in ("light", "dark")
    ]
    assert colours[0] != colours[1]
    assert phone.evaluate("parseFloat(getComputedStyle(document.body).fontSize)") >= 15


@pytest.mark.slow
def test_before_the_details_there_are_few_words(opened):
    found = opened(1280)
    assert len(found.locator("main").inner_text().split()) < 900
    assert len(plain(found.locator("header").inner_html()).split()) <= 60
