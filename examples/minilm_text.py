"""Sentences of documentation that is installed, for minilm.py: Python's help topics, and the docstrings of six packages.

They are cut from prose alone (6 to 14 words, no code), each is taken once, and all that a document has goes to one part: a hash of
its name says to which.
"""

import hashlib
import importlib
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from pydoc_data.topics import topics

__all__ = ["PACKAGES", "sentences"]

PACKAGES = {
    "python": "asyncio collections itertools os pathlib re socket subprocess threading unittest email.message http.client logging datetime decimal "
    "json csv argparse zipfile",
    "numpy": "numpy numpy.linalg numpy.fft numpy.random numpy.ma numpy.polynomial",
    "scipy": "scipy.stats scipy.linalg scipy.optimize scipy.signal scipy.sparse scipy.ndimage scipy.interpolate scipy.integrate scipy.spatial",
    "sklearn": "sklearn.cluster sklearn.covariance sklearn.decomposition sklearn.ensemble sklearn.feature_extraction sklearn.feature_selection "
    "sklearn.linear_model sklearn.manifold sklearn.metrics sklearn.model_selection sklearn.neighbors sklearn.pipeline sklearn.preprocessing "
    "sklearn.svm sklearn.tree",
    "torch": "torch torch.nn torch.nn.functional torch.optim torch.distributions torch.linalg torch.utils.data torch.fft torch.autograd",
    "matplotlib": "matplotlib.axes matplotlib.figure matplotlib.pyplot matplotlib.colors matplotlib.patches",
}  # fmt: skip


def documents(packages: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Package, name and text: help topics, and what is documented in each module; a class comes with its methods."""
    seen = set()
    for package in packages:
        if package == "python":
            yield from (("python", f"topic {name}", text) for name, text in sorted(topics.items()))
        for place in PACKAGES[package].split():
            for name, thing in sorted(vars(importlib.import_module(place)).items()):
                text = thing.__doc__ if callable(thing) else None
                if name.startswith("_") or not isinstance(text, str) or text in seen:
                    continue
                seen.add(text)
                inner = vars(thing).items() if inspect.isclass(thing) else ()
                texts = [f.__doc__ for key, f in inner if not key.startswith("_") and isinstance(f.__doc__, str)]
                yield package, f"{place}.{name}", "\n\n".join(map(inspect.cleandoc, [text, *texts]))


def prose(text: str) -> Iterator[str]:
    """The sentences of a text that are prose."""
    for paragraph in re.split(r"\n\s*\n", text):
        if re.search(r"^\s*(>>>|\.\. )", paragraph, re.M):
            continue
        flat = " ".join(re.sub("[*`]", "", paragraph).split())
        for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z])", flat):
            plain = (
                sentence[:1].isupper()
                and sentence.endswith(".")
                and not re.search(r"[][<>={}\\|_@#$%:]|\.\.|--", sentence)
            )
            if plain and 6 <= len(sentence.split()) <= 14:
                yield sentence


def part_of(document: str) -> str:
    """Where a document's sentences go: 8 of 10 train, the others validate and test."""
    place = int(hashlib.sha256(document.encode()).hexdigest(), 16) % 20
    return "test" if place < 3 else "val" if place == 3 else "train"


def sentences(sizes: Mapping[str, int], packages: Iterable[str]) -> dict[str, dict[str, str]]:
    """Part -> so many sentences and their packages: of the packages in turn, in an order that a hash gives."""
    found: dict[str, dict[str, list[str]]] = {part: {} for part in sizes}
    seen = set()
    for package, name, text in documents(packages):
        for sentence in prose(text):
            if sentence.lower() not in seen:
                found[part_of(name)].setdefault(package, []).append(sentence)
                seen.add(sentence.lower())
    return {part: _in_turn(found[part], count) for part, count in sizes.items()}


def _in_turn(each: Mapping[str, list[str]], count: int) -> dict[str, str]:
    ordered = {p: sorted(some, key=lambda s: hashlib.sha256(s.encode()).digest()) for p, some in each.items()}
    places = [(k, p) for p, some in ordered.items() for k in range(len(some))]
    return {ordered[p][k]: p for k, p in sorted(places)[:count]}
