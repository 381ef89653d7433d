"""The browser that pages are tested in: it opens pages, and leaves other tests as they were."""

import asyncio

import pytest


def with_a_page(browser, width):
    page = browser.new_page(viewport={"width": width, "height": 600})
    page.set_content("<p>a page</p>")
    assert page.evaluate("document.documentElement.clientWidth") == width
    assert page.inner_text("p") == "a page"
    page.close()


@pytest.mark.slow
@pytest.mark.parametrize("width", [320, 1280])
def test_a_page_has_the_width_that_is_asked_for(browser, width):
    with_a_page(browser, width)


def test_other_tests_run_event_loops_of_their_own():
    async def three():
        return 3

    assert asyncio.run(three()) == 3


@pytest.mark.slow
def test_and_pages_open_after_them(browser):
    with_a_page(browser, 600)
