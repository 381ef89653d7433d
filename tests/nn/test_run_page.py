"""The pages of a compression and of a training: the answer is the figures', the curves are the history, nothing comes from elsewhere."""

import json
import re
import sys
from dataclasses import asdict
from xml.etree import ElementTree

import pytest

import tnkit as tk
from tnkit_nn.cli.curves import NARROW, Curve, _span, chart
from tnkit_nn.cli.run_page import compression_page, training_page, write_page
from tnkit_nn.compression.result import LayerReport
from tnkit_nn.training.loop import Epoch

pytest.importorskip("jinja2")

PERCENT = {"name": "accuracy", "unit": "%", "larger": True}
LOSS = {"name": "mean squares", "unit": "", "larger": False}


def epochs(values, first=1):
    return [asdict(Epoch(first + k, 2.0 - v, 1.0, 0.5, 1.9 - v, v, None)) for k, v in enumerate(values)]


def compressed(before=0.918, fit=0.472, after=0.862, metric=PERCENT, **more):
    """As results.json has it."""
    layers = [
        LayerReport("fc2", (10, 64), "adtn depth 2", 640, 304, 0.6, 0.72, 4.4, 146.0, 2560, 1875, "gradient"),
        LayerReport("fc1", (64, 64), "mpo", 4096, 576, 0.81, 0.927, 8.6, 16.0, 16384, 2564, "svd, gradient"),
    ]
    steps = [
        {"layers": ["fc2"], "epochs": 3, "metric_fit": 0.82, "metric_after": 0.896, "rate_factor": 1.0, "seconds": 1.2, "history": epochs([0.81, 0.87, 0.872])},
        {"layers": ["fc1"], "epochs": 2, "metric_fit": 0.53, "metric_after": after, "rate_factor": 0.5, "seconds": 1.0, "history": epochs([0.79, 0.84])},
    ]  # fmt: skip
    return {
        "title": "mlp on <digits>", "model": "mlp", "data": "digits", "layers": [{**asdict(r), "ratio": r.ratio} for r in layers], "metric": metric,
        "metric_before": before, "metric_fit": fit, "metric_after": after, "part": "test", "examples": "images", "steps": steps,
        "params_before": 4810, "params_after": 954, "bytes_before": 19528, "bytes_after": 6872, "seconds": 167.0, "ratio": 4810 / 954,
        "error": 0.772, "chance": 0.902, "versions": {"tnkit": "0.1.0"}, **more,
    }  # fmt: skip


NETS = {"fc1": tk.mpo((8, 8), (8, 8), 3), "fc2": tk.adtn((16, 40), depth=2), "fc3": tk.mpo((8, 8), (8, 8), 3)}


def page_of(results=None, nets=NETS):
    return compression_page(results or compressed(), nets, 'order = "together" # <b>')


def trained(values=(0.63, 0.81, 0.93, 0.91), **more):
    return {
        "title": "mlp on digits", "model": "mlp", "data": "digits", "seed": 3, "metric": PERCENT, "value": 0.918, "part": "test", "parameters": 4810,
        "recipe": {"epochs": len(values), "lr": 0.003}, "history": epochs(values), "versions": {"tnkit": "0.1.0"}, **more,
    }  # fmt: skip


def said(page, tag, of=""):
    return re.search(rf"<{tag}{of}>(.*?)</{tag}>", page, re.DOTALL)[1].replace("\u00a0", " ")


# -- words by rule --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "change, headline",
    [
        ({}, "5.0 times fewer parameters, accuracy is worse: 91.80 % → 86.20 %"),
        ({"after": 0.925}, "5.0 times fewer parameters, accuracy is better: 91.80 % → 92.50 %"),
        ({"after": 0.918}, "5.0 times fewer parameters: 91.80 % → 91.80 %"),
        (
            {"metric": LOSS, "before": 0.5, "fit": 0.9, "after": 0.25},
            "5.0 times fewer parameters, mean squares is better: 0.5 → 0.25",
        ),
        ({"metric": None, "before": None, "fit": None, "after": None}, "5.0 times fewer parameters, error 0.772"),
        ({"ratio": 0.5}, "More parameters than before, accuracy is worse: 91.80 % → 86.20 %"),
    ],
)
def test_the_title_is_the_answer(change, headline):
    assert said(page_of(compressed(**change)), "h1") == headline


def test_the_answer_of_a_compression_has_counts_and_the_metric():
    assert said(page_of(), "p", ' class="answer"') == (
        "The model has 954 parameters instead of 4,810. On the test images, accuracy goes from 91.80 % to 86.20 % (-5.60 points); "
        "without any fine-tuning it is 47.20 %."
    )


@pytest.mark.parametrize(
    "values, end",
    [
        ((0.63, 0.81, 0.93, 0.91), "validation was best after epoch 3 (93.00 %) and ends at 91.00 %."),
        ((0.63, 0.93), "validation ends at its best, 93.00 %."),
        ((None, None), "there is no validation part."),
    ],
)
def test_the_answer_of_a_training(values, end):
    history = [{**e, "val_metric": v} for e, v in zip(epochs([0.5] * len(values)), values, strict=True)]
    page = training_page(trained(values=(0.5,) * len(values), history=history), "images")
    assert said(page, "h1") == "Test accuracy 91.80 %"
    answer = said(page, "p", ' class="answer"')
    assert (
        answer
        == f"After {len(values)} epochs the model of 4,810 parameters has accuracy 91.80 % on the test images; {end}"
    )


def test_a_metric_of_which_less_is_better_is_best_at_its_least():
    page = training_page(trained(values=(0.3, 0.1, 0.2), metric=LOSS, value=0.15))
    assert "validation was best after epoch 2 (0.1) and ends at 0.2." in page


# -- what is in them ------------------------------------------------------------------------------------------------------
def test_a_compression_has_its_layers_networks_steps_and_recipe():
    page = page_of()
    cells = re.findall(r'<td data-label="([^"]*)">([^<]*)</td>', page)
    assert (
        ("parameters", "304 of 640") in cells
        and ("parameters", "576 of 4,096") in cells
        and ("error", "0.810") in cells
    )
    assert ("after the approximation", "82.00 %") in cells and ("rates", "× 0.5") in cells
    assert page.count('<img src="data:image/svg+xml;base64,') == 2  # that of fc1 and fc3 is one network
    assert "<b>fc1, fc3</b>" in page and "order = &#34;together&#34; # &lt;b&gt;" in page
    assert "mlp on &lt;digits&gt;" in page and "<digits>" not in page


def test_a_network_too_large_to_be_read_is_told_and_not_drawn():
    page = page_of(nets={"fc1": tk.tt((2,) * 70, 2)})
    assert "70 tensors" in page and "(not drawn)" in page and "<img" not in page


@pytest.mark.parametrize("page", [page_of, lambda: training_page(trained())], ids=["compress", "train"])
def test_a_page_asks_for_nothing_from_elsewhere(page):
    page = page()
    assert all(link.startswith("data:") for link in re.findall(r"""(?:src|href)=["']([^"']*)""", page))
    assert "://" not in page and "@import" not in page and "url(" not in page and page.count("<h1>") == 1


def test_without_a_task_there_is_no_figure():
    page = page_of(compressed(metric=None, before=None, fit=None, after=None, steps=[]))
    assert "<figure><div" not in page and "Steps, in their order" not in page


def test_without_jinja2_there_is_no_page(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert page_of() is None and training_page(trained()) is None
    assert write_page(tmp_path / "index.html", None) == [] and not list(tmp_path.iterdir())


# -- curves ---------------------------------------------------------------------------------------------------------------
def test_a_curve_is_where_its_values_are():
    """Places and heights are affine in what is drawn; what is not finite is left out."""
    points = [(1, 0.2), (2, 0.4), (3, float("nan")), (4, None), (5, 1.0)]
    root = ElementTree.fromstring(chart([Curve("a & b", points, "read")], "value", "epoch"))
    dots = [(float(c.get("cx")), float(c.get("cy"))) for c in root.iter("circle")]
    assert len(dots) == 3 and dots[0][0] < dots[1][0] < dots[2][0]
    (x0, y0), (x1, y1), (x2, y2) = dots
    assert (x2 - x0) / (x1 - x0) == pytest.approx(4, rel=0.01) and (y0 - y2) / (y0 - y1) == pytest.approx(4, rel=0.02)
    texts = ["".join(t.itertext()) for t in root.iter("text")]
    assert "a & b" in texts and "1" in texts and "epoch" in texts and root.get("aria-label") == "value: a & b ends at 1"


@pytest.mark.parametrize("values", [[0.5], [0.0, 0.0], [1.0, 1.0], [1e-12, 3e-12], [-5.0, 1e9], [0.1 + 0.2, 0.3]])
@pytest.mark.parametrize("percent", [True, False])
def test_any_values_have_an_axis(values, percent):
    root = ElementTree.fromstring(
        chart([Curve("a", list(enumerate(values)), "read")], "v", "x", percent=percent, size=NARROW)
    )
    width, height = map(float, root.get("viewBox").split()[2:])
    dots = [(float(c.get("cx")), float(c.get("cy"))) for c in root.iter("circle")]
    assert len(dots) == len(values) and all(0 <= x <= width and 0 <= y <= height for x, y in dots)
    assert 1 <= len([p for p in root.iter("path") if p.get("class") == "grid"]) <= 9


@pytest.mark.parametrize("low, high", [(0.0, 1.0), (0.5, 0.5), (0.98, 1.0), (0.4, 0.6)])
def test_the_axis_of_fractions_ends_at_0_and_1(low, high):
    begin, end = _span(low, high, True)
    assert 0 <= begin <= low <= high <= end <= 1 and begin < end
    begin, end = _span(low, high, False)
    assert begin < low <= high < end


def test_nothing_to_draw_is_no_picture():
    assert chart([Curve("a", [(0, None), (1, float("inf"))], "read")], "v", "x") == "" == chart([], "v", "x")


# -- in a browser ---------------------------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("width", [320, 390, 760, 1280, 1600])
@pytest.mark.parametrize("kind", ["compress", "train"])
def test_it_fits_every_width(kind, width, browser, tmp_path):
    """No sideways scrolling, no message, nothing asked for; on a phone each row of the table is a card, and the answer is in sight."""
    (tmp_path / "p.html").write_text(page_of() if kind == "compress" else training_page(trained()), encoding="utf-8")
    page = browser.new_page(viewport={"width": width, "height": 850}, color_scheme="dark")
    messages, asked = [], []
    page.on("console", lambda m: messages.append(m.text))
    page.on("pageerror", lambda e: messages.append(str(e)))
    page.on("request", lambda r: asked.append(r.url))
    try:
        page.goto((tmp_path / "p.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert not messages and [url for url in asked if not url.startswith(("data:", "file:"))] == []
        assert page.locator(".answer").bounding_box()["y"] < 400
        assert page.locator(".plot .wide").is_visible() == (width > 760) and page.locator(
            ".plot .narrow"
        ).is_visible() == (width <= 760)
        if kind == "compress":
            assert (page.locator("table.cards td").first.evaluate("e => getComputedStyle(e).display") == "flex") == (
                width <= 760
            )
    finally:
        page.close()


@pytest.mark.slow
def test_results_of_the_commands_are_what_the_pages_take(tmp_path, capsys):
    """Both commands write their page beside their results, and name it."""
    from tnkit.cli import main

    words = ["train", "--epochs", "1", "--limit", "60", "--out", str(tmp_path / "a")]
    assert main(words) == 0 and f"wrote {tmp_path / 'a' / 'index.html'}" in capsys.readouterr().out
    value = json.loads((tmp_path / "a/results.json").read_text())["value"]
    assert f"accuracy {100 * value:.2f}" in (tmp_path / "a/index.html").read_text().replace("\u00a0", " ")
    (tmp_path / "r.toml").write_text(
        '[[layers]]\nselect = "fc1"\nfamily = "low_rank"\nbudget = 300\n[stage2]\nepochs = 1\nlr = 0.01\n'
    )
    given = ["--weights", str(tmp_path / "a/model.safetensors"), "--recipe", str(tmp_path / "r.toml"), "--limit", "60"]
    assert main(["compress", *given, "--out", str(tmp_path / "b")]) == 0
    assert f"wrote {tmp_path / 'b' / 'index.html'}" in capsys.readouterr().out
    results, page = json.loads((tmp_path / "b/results.json").read_text()), (tmp_path / "b/index.html").read_text()
    assert (
        f"{results['params_after']:,} parameters instead of {results['params_before']:,}" in page and "low_rank" in page
    )
