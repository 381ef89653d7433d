"""What all pages share: values are escaped, nothing comes from elsewhere, data cannot end its script."""

import json
import re
import sys

import pytest

from tnkit.core.extras import MissingExtra
from tnkit_nn.pages.render import _json, as_data_uri, footer, render

GIVEN = dict(title="<b>t</b>", kicker="k", headline="h", answer="</p><script>alert(1)</script>")


def shown(**more):
    return render("base.html.j2", **{**GIVEN, "footer": footer(), **more})


def test_a_page_is_one_file_and_escapes_what_it_is_given():
    page = shown()
    assert page.lstrip().startswith("<!doctype html>") and page.count("<h1>") == 1
    assert "<title>&lt;b&gt;t&lt;/b&gt;</title>" in page and "alert(1)</script>" not in page
    assert all(link.startswith("data:") for link in re.findall(r"""(?:src|href)=["']([^"']*)""", page))
    assert "://" not in page and "@import" not in page and "url(" not in page
    assert "default-src 'none'" in page  # a browser that is asked for anything from elsewhere refuses


def test_the_footer_says_where_and_how_it_was_made():
    made = footer({"processor": "Xeon", "cores": 2, "threads": 1}, {"tnkit": "1", "torch": "2"}, ["tnkit", "a b"])
    assert made == {"machine": "Xeon, 2 cores, 1 thread", "versions": "tnkit 1, torch 2", "command": "tnkit 'a b'"}
    page = shown(footer=made)
    assert "Made on Xeon, 2 cores, 1 thread." in page and "<code>tnkit &#39;a b&#39;</code>" in page
    assert footer() == dict.fromkeys(("machine", "versions", "command"), "") and "Made on" not in shown()


def test_data_ends_no_script_and_has_finite_numbers_only():
    value = {"a": "</script><!--&", "b": [1.5, float("nan"), float("-inf")], "c": (True, None)}
    text = _json(value)
    assert "<" not in text and "&" not in text
    assert json.loads(text) == {"a": "</script><!--&", "b": [1.5, None, None], "c": [True, None]}


def test_a_picture_within_a_page():
    assert as_data_uri(b"\x00\x01") == "data:image/png;base64,AAE="


def test_what_is_needed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtra, match="a page needs jinja2"):
        shown()
