"""The viewer at its edges: titles and paths that cannot be written, figures of more digits than a browser counts with."""

import pytest

import tnkit as tk

NET = tk.tt((2, 2), 2)
PAIR = tk.Network([tk.Node("A", "ij"), tk.Node("B", "jk")], "ik", {"i": 10**12, "j": 10**12, "k": 1})


def test_a_title_that_utf8_cannot_hold(tmp_path):
    """As that of a file whose name is no text."""
    page = tk.view(tk.tt((2, 2), 2), title="net\udcff\x00.json").save(tmp_path / "page.html")
    assert "<title>net\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}.json</title>" in page.read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize("save", [tk.view(NET).save, lambda path: tk.save(path, NET, tk.init.normal(NET, seed=0))])
def test_a_folder_in_the_way_is_named_and_nothing_else(save, tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(OSError, match=r"there'$") as caught:
        save(tmp_path / "there")
    assert caught.value.filename2 is None
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


@pytest.mark.slow
def test_figures_beyond_what_a_browser_counts_exactly(browser, tmp_path):
    page = browser.new_page()
    page.goto(tk.view(PAIR).save(tmp_path / "page.html").as_uri())
    assert page.evaluate("[1e21, 2e24, 5e18, 999].map(short)") == ["1.00e+21", "2.00e+24", "5\xa0E", "999"]
    assert page.evaluate("[2 ** 53 - 1, 2e24].map(whole)") == ["9,007,199,254,740,991", "about 2.00e+24"]
    assert "about 2.00e+24 FLOPs" in page.inner_text("#live")
    page.close()


def test_a_name_that_no_file_can_have(tmp_path):
    with pytest.raises(ValueError, match=r"^view: save: path .* has a character that no file's name can have$"):
        tk.view(tk.tt((2, 3), 2)).save(f"{tmp_path}/a\0b")


@pytest.mark.slow
def test_any_name_of_an_order_is_not_the_readers_own(browser, tmp_path):
    net = tk.tt((2, 3, 2), 2)
    path = tk.view(tk.plan(net), tk.plan(net, [(1, 2), (0, 1)]), names=["one", "@own"]).save(tmp_path / "page.html")
    page = browser.new_page()
    page.goto(f"{path.as_uri()}#net/@own/1")
    assert page.evaluate("[shown.mode, shown.order, shown.step]") == ["watch", "@own", 1]
    page.goto(f"{path.as_uri()}#net//0-1")
    assert page.evaluate("shown.mode") == "play"
    page.close()
