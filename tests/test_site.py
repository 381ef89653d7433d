"""The site: it builds strictly, has every public name, asks no network for anything, and can be read on a phone."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import tnkit as tk

pytest.importorskip("mkdocs")
ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow
DOORS = {"tk": "tnkit", "tk.init": "tnkit.init", "tk.testing": "tnkit.testing",
         "tknn": "tnkit_nn", "tknn.data": "tnkit_nn.data", "tknn.zoo": "tnkit_nn.zoo"}  # fmt: skip
PAGES = [
    "index", "cheat-sheet", "concepts/reading-rule", "how-to/graph", "networks", "findings", "paper", "course/index", "reference/index",
    "reference/tnkit/algebra", "reference/tnkit_nn/adapter",
]  # fmt: skip


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """Built strictly, once for all workers: about 17 s of processor time."""
    pytest.importorskip("torch")
    filelock = pytest.importorskip("filelock")
    base = tmp_path_factory.getbasetemp()
    out = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "site"
    with filelock.FileLock(f"{out}.lock"):
        if not (out / "sitemap.xml").exists():
            env = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
            command = [sys.executable, "-W", "ignore", "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir"]
            done = subprocess.run([*command, str(out)], capture_output=True, text=True, cwd=ROOT, env=env)
            assert done.returncode == 0, done.stdout + done.stderr
    return out


class Read(HTMLParser):
    """The ids of a page, its words, and what it loads or links to."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.tags, self.loads, self.links, self.words = set(), [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids.add(found.get("id"))
        self.tags.append(tag)
        if tag in ("script", "img", "iframe") and found.get("src"):
            self.loads.append(found["src"])
        if tag == "link" and found.get("rel") != "canonical":
            self.loads.append(found["href"])
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="session")
def read(site):
    return {path: Read(path.read_text()) for path in sorted(site.rglob("*.html"))}


def test_every_public_name_is_in_the_reference(site, read):
    """The packages are read again here, by another way than the hook's."""
    import importlib

    index = read[site / "reference/index.html"]
    words = "".join(index.words)
    for short, door in DOORS.items():
        for name in importlib.import_module(door).__all__:
            assert f"{short}.{name}" in words
    to = {link for link in index.links if ".html#tnkit" in link}
    assert len(to) >= len(set(tk.__all__)) + 60
    for link in to:
        page, _, anchor = link.partition("#")
        assert anchor in read[(site / "reference" / page).resolve()].ids, link


def test_entries_have_no_markup_of_another_system(read):
    pages = [page for path, page in read.items() if "reference" in path.parts]
    assert len(pages) > 15
    for page in pages:
        words = "".join(page.words)
        assert not re.findall(r":(?:func|class|mod|meth|attr|data):", words)
        assert "blockquote" not in page.tags, "a prompt that was taken for a quotation"


def test_a_parameter_has_its_own_type(read, site):
    """``steps, lr`` share their words in the docstring of fit, and nothing else."""
    words = " ".join("".join(read[site / "reference/tnkit_nn/adapter.html"].words).split())
    assert "steps (int, default: 1000" in words and "lr (float, default: 0.02" in words


def test_solutions_are_folded(read):
    pages = [page for path, page in read.items() if path.parent.name == "course" and path.name[0].isdigit()]
    assert pages and all(page.tags.count("details") >= 3 for page in pages)


def test_the_index_of_the_course_has_whole_sentences(site):
    """A paragraph of a script runs over several lines, and the list has all of them."""
    page = (site / "course/index.html").read_text()
    entries = re.findall(r"<li>(?:<p>)?<a href=[^>]*>([^<]+)</a>\. (.*?)(?:</p>\s*)?</li>", page, re.DOTALL)
    assert len(entries) == len(list((ROOT / "tutorials").glob("*.py")))
    assert all(re.search(r"[.?!]$", text.strip()) for _, text in entries), entries


def test_links_lead_to_pages_and_anchors(read):
    """All of them, those of the theme and of the reference too."""
    for path, page in read.items():
        for link in page.links:
            target, _, anchor = link.partition("#")
            if path.name == "404.html" or re.match(r"[a-z]+:", link):
                continue
            file = (path.parent / target).resolve() if target else path
            assert file.exists(), (path, link)
            if anchor and file in read:
                assert anchor in read[file].ids or anchor.startswith("__"), (path, link)


def test_pages_load_nothing_from_elsewhere(read):
    for path, page in read.items():
        assert not [x for x in page.loads if re.match(r"(?:[a-z]+:)?//", x)], path


@pytest.mark.parametrize("width", [320, 1280])
def test_pages_fit_the_screen_and_ask_for_nothing(site, browser, width):
    page = browser.new_page(viewport={"width": width, "height": 800})
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    for name in PAGES:
        page.goto((site / f"{name}.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
    page.close()
    assert asked and all(url.startswith(("file:", "data:", "about:")) for url in asked)
    assert not errors


def test_the_search_finds_a_name_without_a_server(site, browser):
    page = browser.new_page()
    page.goto((site / "index.html").as_uri())
    page.click("[name=query]")
    page.keyboard.type("canonicalize")
    page.wait_for_selector(".md-search-result__link[href*='reference']", timeout=20000)
    page.close()


def test_the_cheat_sheet_is_one_page_of_paper(site, browser):
    page = browser.new_page()
    page.goto((site / "cheat-sheet.html").as_uri())
    printed = page.pdf(prefer_css_page_size=True)
    page.close()
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 1


def test_names_of_the_cheat_sheet_exist():
    """Whatever is called there is public."""
    tknn = pytest.importorskip("tnkit_nn")
    text = (ROOT / "docs/cheat-sheet.md").read_text()
    called = re.findall(r"\b(tk|tknn)\.(\w+)", text)
    assert len(called) > 50
    for short, name in called:
        assert name in {"tk": tk, "tknn": tknn}[short].__all__, name
