"""The pages of the API reference: one a room, every public name of every door on one of them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from docstrings import readable
from homes import DOORS, Home, homes
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

#: Page -> its title and what is on it.
TITLES = {
    "tnkit/core": ("Networks", "Nodes, networks and what holds them."),
    "tnkit/builders": ("Builders", "Networks of known shapes. The gallery shows each of them."),
    "tnkit/init": ("Initial arrays", "Arrays for any network."),
    "tnkit/paths": ("Contraction orders", "The optimisers that search for an order."),
    "tnkit/planning": ("Plans", "An order, lowered to a list of array operations."),
    "tnkit/execution": ("Contraction", "Runs a plan on any array library."),
    "tnkit/approx": ("Approximate contraction", "Networks that are too large to be contracted exactly."),
    "tnkit/algebra": ("Algebra", "Networks with their arrays beside others: inner products, sums, operators, samples."),
    "tnkit/moves": ("Moves", "Networks with their arrays, changed where they are touched."),
    "tnkit/decompose": ("Decompositions", "Any array into any network."),
    "tnkit/interop": ("Other formats", "Einsum equations, graphs, files and other libraries."),
    "tnkit/drawing": ("Pictures", "Drawings of networks and plans."),
    "tnkit/testing": ("Testing", "Random networks and the oracle of the tests."),
    "tnkit_nn/adapter": ("Modules and weights", "Networks as modules, layers and weights of torch."),
    "tnkit_nn/training": ("Training", "A task, a recipe and one training loop."),
    "tnkit_nn/compression": ("Compression", "Weights of a model replaced by networks."),
    "tnkit_nn/comparison": ("Comparison", "Deep and shallow networks at equal counts."),
    "tnkit_nn/data": ("Data", "Data sets with a fixed split."),
    "tnkit_nn/zoo": ("Models", "Small models and their recipes."),
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for uri, text in pages().items():
        files.append(File.generated(config, uri, content=text))
    return files


def pages() -> dict[str, str]:
    """Address -> Markdown, the table of all names included."""
    by_page: dict[str, list[Home]] = {f"reference/{page}.md": [] for page in TITLES}
    for home in homes().values():
        if home.page not in by_page:
            room = home.page.removeprefix("reference/").removesuffix(".md")
            raise LookupError(f"{home.shown}: the room {room} has no title in TITLES of docs/hooks/reference.py")
        by_page[home.page].append(home)
    found = {page: _page(page, names) for page, names in by_page.items() if names}
    return {"reference/index.md": _index(), **found}


def _page(page: str, names: list[Home]) -> str:
    title, words = TITLES[page.removeprefix("reference/").removesuffix(".md")]
    return "\n\n".join([f"# {title}", words, *map(_entry, names)]) + "\n"


def _entry(home: Home) -> str:
    if inspect.ismodule(home.value):
        return f"[](){{ #{home.path} }}\n\n## {home.shown}\n\n{readable(inspect.getdoc(home.value) or '')}"
    if other := home.same_as:
        door = home.shown.rpartition(".")[0]
        to = homes()[f"{door}.{other}"]
        return f"[](){{ #{home.path} }}\n\n## {home.shown}\n\nThe same function as [`{to.shown}`][{to.path}]."
    return f'::: {home.path}\n    options:\n      heading: "{home.shown}"\n      toc_label: "{home.shown}"'


def _index() -> str:
    lines = ["# API reference", "", "Every public name. `import tnkit as tk`, `import tnkit_nn as tknn`.", ""]
    for door, short in DOORS.items():
        lines += ["", f"## {short} {{ #{door}-names }}", "", "| name | what it is |", "|---|---|"]
        lines += _rows(short)
    return "\n".join(lines) + "\n"


def _rows(short: str) -> Iterator[str]:
    for home in homes().values():
        if home.shown.rpartition(".")[0] == short:
            yield f"| [`{home.shown}`][{home.path}] | {_summary(home)} |"


def _summary(home: Home) -> str:
    if home.same_as:
        return f"The same as `{home.same_as}`."
    value = home.value
    documented = inspect.ismodule(value) or inspect.isroutine(value) or isinstance(value, type)
    first = (inspect.getdoc(value) or "").partition("\n\n")[0] if documented else CONSTANTS.get(home.shown, "")
    return readable(" ".join(first.split())).replace("|", "\\|")


#: Constants have no docstring to read when the program runs.
CONSTANTS = {
    "tk.ACTIVATIONS": "Activations by name.", "tk.BUILDERS": "Builders by name.", "tk.DECOMPOSITIONS": "Decompositions by name.",
    "tk.EXAMPLES": "Arguments to try for each builder.", "tk.NUMPY": "The backend of numpy.", "tk.OPTIMIZERS": "Path optimisers by name.",
    "tknn.TORCH": "The backend of torch.", "tknn.data.AUGMENT": "Augmentations by name.", "tknn.data.DATA": "Data sets by name.",
    "tknn.zoo.TRAIN": "The recipe of each model.", "tknn.zoo.ZOO": "Models by name.",
}  # fmt: skip
