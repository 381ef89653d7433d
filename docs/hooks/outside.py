"""Pages link to files of the repository that are no pages: each becomes a page of the site, and the link leads there."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"(\]\()([^)#\s:]+)((?:#[^)\s]*)?\))")  # [words](path#anchor): no address of the web
#: Files of the repository that are pages of their own in the menu.
ALWAYS = ("CHANGELOG.md", "CONTRIBUTING.md")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for every file that a page links to, and for those that these link to."""
    waiting = [
        (f"docs/{file.src_uri}", file.content_string) for file in files.documentation_pages() if file.abs_src_path
    ]
    waiting += [(name, (ROOT / name).read_text(encoding="utf-8")) for name in ALWAYS]
    seen: set[str] = set()
    while waiting:
        path, text = waiting.pop()
        for target in [
            *(t for t in _targets(path, text) if not t.startswith("docs/")),
            *([path] if path in ALWAYS else []),
        ]:
            if target in seen or not (ROOT / target).is_file() or target.startswith("tutorials/"):
                continue
            seen.add(target)
            source = (ROOT / target).read_text(encoding="utf-8")
            files.append(File.generated(config, address(target), content=_content(target, source)))
            if target.endswith(".md"):
                waiting.append((target, source))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between files of the repository into links between pages."""
    here = page.file.src_uri
    if not page.file.abs_src_path and not here.startswith("source/"):
        return markdown  # the reference, written for the site
    origin = here.removeprefix("source/") if here.startswith("source/") else f"docs/{here}"
    return relinked(markdown, origin, here)


def relinked(text: str, origin: str, here: str) -> str:
    """The text of the file ``origin`` as it stands at ``here``."""

    def to(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(origin), found[2]))
        if target.startswith("docs/") and origin.startswith("docs/"):
            return found[0]
        return f"{found[1]}{posixpath.relpath(address(target), posixpath.dirname(here) or '.')}{found[3]}"

    return _outside_code(text, lambda part: _LINK.sub(to, part))


def address(path: str) -> str:
    """Where a file of the repository stands in the site."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path.startswith("tutorials/") and path.endswith(".py"):
        return path.replace("tutorials/", "course/").removesuffix(".py") + ".md"
    return f"source/{path}" if path.endswith(".md") else f"source/{path}.md"


def _targets(path: str, text: str) -> list[str]:
    found: list[str] = []
    _outside_code(text, lambda part: found.extend(m[2] for m in _LINK.finditer(part)) or part)
    return [posixpath.normpath(posixpath.join(posixpath.dirname(path), link)) for link in found]


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    parts = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if k % 2 else change(part) for k, part in enumerate(parts))


def _content(path: str, source: str) -> str:
    if path.endswith(".md"):
        return source
    language = {"py": "python", "toml": "toml", "json": "json"}.get(path.rpartition(".")[2], "text")
    return f"---\nsearch:\n  exclude: true\n---\n\n# {path}\n\n````{language}\n{source.rstrip()}\n````\n"
