"""The HTML page in a real browser: as wide as a phone, sorted by a click, everything in one file."""

import html
import json
import os
import re
import shutil
import subprocess

import pytest

import tnkit as tk
from tnkit_nn.comparison.report.files import write_report
from tnkit_nn.comparison.report.plots import plot

from ..made import record

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--virtual-time-budget=10000",
]
SCRIPT = """
<pre id="found"></pre><script>
const frame = document.querySelector("iframe"), found = {};
frame.addEventListener("load", () => {
  const page = frame.contentDocument;
  found.width = page.documentElement.scrollWidth;
  found.images = [...page.images].map(i => i.complete && i.naturalWidth > 0);
  found.tables = [...page.querySelectorAll("table")].map(t => t.tBodies[0].rows.length);
  const table = page.querySelector("table"), head = [...table.tHead.rows[0].cells];
  const column = k => [...table.tBodies[0].rows].map(r => r.cells[k].textContent);
  found.heads = head.map(h => h.textContent);
  found.before = head.map((_, k) => column(k));
  found.up = head.map((h, k) => { h.querySelector("button").click(); return column(k); });
  found.down = head.map((h, k) => { h.click(); if (h.ariaSort !== "descending") h.click(); return column(k); });
  found.sorted = head.map(h => h.getAttribute("aria-sort"));
  found.font = parseFloat(getComputedStyle(page.body).fontSize);
  document.querySelector("#found").textContent = JSON.stringify(found);
});
frame.srcdoc = document.querySelector("#page").value;
</script>"""


def report(folder):
    labels = [
        ("adtn depth 3", 100),
        ("mpo", 100),
        ("adtn depth 3", 1000),
        ("mpo", 1000),
        ("hashed", 100),
        ("picked", None),
    ]
    nets = {"adtn depth 3": tk.adtn((8, 8), depth=3), "mpo": tk.mpo((4, 4), (4, 4), 2)}
    records = [
        record(
            label,
            budget,
            s,
            0.8 + 0.01 * s + 0.02 * k,
            networks={"fc1": tk.to_json(nets[label])} if label in nets else {},
        )
        for k, (label, budget) in enumerate(labels)
        for s in range(3)
    ]
    return write_report(records, folder, "Deep or shallow? <a test>")["index.html"].read_text()


def test_the_page_is_one_file(tmp_path):
    page = report(tmp_path)
    sources = re.findall(r"""(?:src|href)=["']([^"']*)""", page)
    assert sources and all(source.startswith("data:") for source in sources)
    assert not re.findall(r"@import|url\(", page) and "&lt;a test&gt;" in page
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    assert page.count("<figure>") == 4  # every network, at every budget


def test_each_layer_of_a_row_is_drawn(tmp_path):
    nets = {"fc1": tk.to_json(tk.mpo((4, 4), (4, 4), 2)), "fc2": tk.to_json(tk.mpo((2, 4), (4, 4), 2))}
    records = [record("mpo", 200, 0, 0.8, networks=nets, layer="fc1, fc2")]
    page = write_report(records, tmp_path, "both")["index.html"].read_text()
    assert (
        page.count("<figure>") == 2 and "mpo, fc1" in page and "mpo, fc2" in page and "layers <b>fc1, fc2</b>" in page
    )


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium (apt-get install chromium)")
@pytest.mark.parametrize("width", [390, 1200])
def test_in_a_browser(tmp_path, width):
    page = report(tmp_path)
    shell = tmp_path / "shell.html"
    held = f'<meta charset="utf-8"><textarea id="page" hidden>{html.escape(page)}</textarea>'
    shell.write_text(f'<!doctype html>{held}<iframe width="{width}" height="800" style="border: 0"></iframe>{SCRIPT}')
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", shell.as_uri()]
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    (text,) = re.findall(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert text, done.stderr[-2000:]
    found = json.loads(html.unescape(text))
    assert found["width"] <= width and found["font"] >= 15  # the page does not scroll sideways, the text can be read
    assert len(found["images"]) == 2 + 4 and all(found["images"])  # two plots and four networks
    # 100: against hashed and picked; 1000: against picked; two readings
    assert found["tables"] == [6, 2 * (2 * 2 + 2), 0]

    def key(cell):
        number = re.match(r"[+-]?[\d.]+", cell)
        return (0, float(number[0]), "") if number else (1, 0.0, cell)

    for before, up, down in zip(found["before"], found["up"], found["down"], strict=True):
        assert up == sorted(before, key=key) and down == sorted(before, key=key, reverse=True)
    assert found["heads"][2] == "parameters" and found["before"][2] != found["up"][2] == [
        "0",
        "100",
        "100",
        "100",
        "1000",
        "1000",
    ]
    assert found["sorted"].count("descending") == 1  # one column at a time


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
