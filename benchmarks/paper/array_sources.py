"""The arrays of ``arrays.py``: 128 x 128 numbers each, out of packages, in a fixed list that is split into halves before anything is fitted.

A half is for choosing, the other for judging.  What earlier experiments had looked at is for choosing; the rest of a class is drawn.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 128
SEED = 22
Array = np.ndarray

#: Photographs and pictures of scikit-image (file names), those that were looked at before first.
SEEN_PHOTOGRAPHS = (
    "camera.png", "coins.png", "coffee.png", "astronaut.png", "motorcycle_left.png", "chelsea.png", "gravel.png", "brick.png",
    "hubble_deep_field.jpg", "moon.png",
)  # fmt: skip
PHOTOGRAPHS = (
    "cell.png",
    "clock_motion.png",
    "grass.png",
    "ihc.png",
    "page.png",
    "text.png",
    "retina.jpg",
    "rocket.jpg",
)
SETS = ("digits", "wine", "breast_cancer", "diabetes")
LAYERS = (14, 20, 27, 37)


@dataclass(frozen=True)
class Source:
    """An array before it is loaded.

    Attributes
    ----------
    name
        For tables.
    kind
        Its class.
    origin
        What it is made of: arrays of one origin are in one half.
    seen
        Whether earlier experiments looked at its origin.
    load
        Makes it.
    """

    name: str
    kind: str
    origin: str
    seen: bool
    load: Callable[[], Array]


# -- how pictures become arrays ------------------------------------------------------------------------------------------
def centred(x: Array) -> Array:
    """The middle of a picture, 128 x 128: of 256 x 256 pixels, four in one, where there are as many; stretched where there are fewer than 128."""
    x = np.asarray(x, np.float64)
    x = x[..., :3].mean(-1) if x.ndim == 3 else x
    if min(x.shape) < SIDE:
        places = [np.linspace(0, n - 1, SIDE) for n in x.shape]
        rows = np.stack([np.interp(places[1], np.arange(x.shape[1]), row) for row in x])
        return np.stack([np.interp(places[0], np.arange(x.shape[0]), col) for col in rows.T], 1)
    side = 2 * SIDE if min(x.shape) >= 2 * SIDE else SIDE
    top, left = ((n - side) // 2 for n in x.shape)
    x = x[top : top + side, left : left + side]
    return x.reshape(SIDE, side // SIDE, SIDE, side // SIDE).mean((1, 3))


def levelled(x: Array) -> Array:
    """An array less its mean: a network of few parameters spends none on the level of grey."""
    return x - x.mean()


def mask(x: Array) -> Array:
    """1 where a picture is on the rarer side of Otsu's threshold, else 0."""
    from skimage.filters import threshold_otsu

    above = x > threshold_otsu(x)
    return (above if above.mean() <= 0.5 else ~above).astype(np.float64)


@cache
def skimage_file(name: str) -> Array:
    """A picture that is part of scikit-image."""
    from skimage import data, io

    found: Array = io.imread(Path(data.__path__[0]) / name)
    return found


@cache
def matplotlib_file(name: str) -> Any:
    """A file of matplotlib's sample data."""
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "sample_data" / name
    if path.suffix == ".npz":
        return np.load(path)
    if path.suffix == ".gz":
        return np.frombuffer(gzip.open(path).read(), np.uint16).reshape(256, 256)
    from matplotlib.image import imread

    return imread(path)


@cache
def faces() -> Array:
    """The small faces of scikit-image, (200, 25, 25)."""
    from skimage import data

    found: Array = np.load(Path(data.__path__[0]) / "lfw_subset.npy")
    return found


def photograph(name: str) -> Array:
    return levelled(centred(skimage_file(name)))


def scene(k: int) -> Array:
    from sklearn.datasets import load_sample_images

    return levelled(centred(load_sample_images().images[k]))


def mosaic() -> Array:
    """25 faces, five by five, the edge repeated."""
    x = faces()[:100:4].reshape(5, 5, 25, 25).transpose(0, 2, 1, 3).reshape(125, 125)
    return levelled(np.pad(x, (1, 2), mode="edge"))


# -- graphs, fields, weights -----------------------------------------------------------------------------------------------
@cache
def samples(name: str) -> Array:
    """128 samples of a data set, each feature scaled, in the order of their labels and then of their first principal component."""
    from sklearn import datasets

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    x = (x - x.mean(0)) / np.where(x.std(0) > 0, x.std(0), 1)
    chosen = np.sort(np.random.default_rng(SEED).permutation(len(x))[:SIDE])
    x, y = x[chosen], y[chosen]
    first = np.linalg.svd(x, full_matrices=False)[0][:, 0]
    ordered: Array = x[np.lexsort((first, y))]
    return ordered


def distances(name: str) -> Array:
    x = samples(name)
    return np.sqrt(np.maximum(0, ((x[:, None] - x[None]) ** 2).sum(-1)))


def neighbours(name: str, k: int = 8) -> Array:
    """The graph of the 8 nearest neighbours, 1 where either is one of the other's."""
    d = distances(name)
    np.fill_diagonal(d, np.inf)
    nearest = np.argsort(d, 1)[:, :k]
    graph = np.zeros_like(d)
    np.put_along_axis(graph, nearest, 1.0, 1)
    return np.maximum(graph, graph.T)


def gram(name: str) -> Array:
    """Gaussian kernel, half the median distance wide."""
    d = distances(name)
    found: Array = np.exp(-((d / (0.5 * np.median(d[d > 0]))) ** 2) / 2)
    return found


def plane() -> tuple[Array, Array]:
    """Coordinates from 0 to 1."""
    y, x = np.meshgrid(*[np.arange(SIDE) / SIDE] * 2, indexing="ij")
    return y, x


def chirp(k: float, at: tuple[float, float], across: float) -> Array:
    """The sine of a quadratic form, with a product of both coordinates: without one it is a matrix of rank 2."""
    y, x = plane()
    y, x = y - at[0], x - at[1]
    found: Array = np.sin(k * (y**2 + x**2 + across * x * y))
    return found


def rough(power: float = 2.0) -> Array:
    """A random Gaussian field whose amplitudes fall as frequency to a power."""
    f = np.fft.fftfreq(SIDE)
    size = np.hypot(f[:, None], f[None])
    size[0, 0] = np.inf
    noise = np.random.default_rng(SEED).standard_normal((2, SIDE, SIDE))
    return levelled(np.fft.ifft2((noise[0] + 1j * noise[1]) / size**power).real)


def mandelbrot(steps: int = 60) -> Array:
    """Steps until the iteration leaves the circle of radius 2."""
    y, x = plane()
    c = (-2.1 + 2.8 * x) + 1j * (-1.4 + 2.8 * y)
    z, count = np.zeros_like(c), np.zeros(c.shape)
    for _ in range(steps):
        inside = np.abs(z) <= 2
        z = np.where(inside, z * z + c, z)
        count += inside
    return levelled(count)


def disparity() -> Array:
    x = skimage_disparity()
    return levelled(centred(np.where(np.isfinite(x), x, x[np.isfinite(x)].min())))


def skimage_disparity() -> Array:
    from skimage import data

    found: Array = np.load(Path(data.__path__[0]) / "motorcycle_disp.npz")["arr_0"].astype(np.float64)
    return found


def taps(layer: int, file: Path) -> Array:
    """The middle tap of a trained convolution, of its first 128 channels."""
    from safetensors.numpy import load_file

    return np.asarray(load_file(file)[f"features.{layer}.weight"][:SIDE, :SIDE, 1, 1], np.float64)


# -- the list ----------------------------------------------------------------------------------------------------------
def _photographs() -> list[Source]:
    names = [(n, True) for n in SEEN_PHOTOGRAPHS] + [(n, False) for n in PHOTOGRAPHS]
    found = [Source(n.split(".")[0], "photographs", n, seen, partial(photograph, n)) for n, seen in names]
    hopper = Source("grace_hopper", "photographs", "grace_hopper", True, lambda: levelled(centred(matplotlib_file("grace_hopper.jpg"))))  # fmt: skip
    scenes = [Source(n, "photographs", n, False, partial(scene, k)) for k, n in enumerate(("china", "flower"))]
    portraits = Source("faces", "photographs", "faces", False, mosaic)
    return [*found, hopper, *scenes, portraits]


def _masks() -> list[Source]:
    def of(name: str, origin: str, load: Callable[[], Array], seen: bool = False) -> Source:
        return Source(f"{name}, mask", "masks", origin, seen, lambda: mask(centred(load())))

    logos = {"logo": lambda: skimage_file("logo.png")[..., 0], "logo2": lambda: matplotlib_file("logo2.png")[..., 3]}
    pictures = [of(n.split(".")[0], n, partial(skimage_file, n), n == "coins.png") for n in ("coins.png", "page.png", "text.png", "clock_motion.png", "horse.png", "phantom.png")]  # fmt: skip
    return [*pictures, *(of(n, n, load) for n, load in logos.items())]


def _graphs() -> list[Source]:
    ways = (("neighbours", neighbours), ("Gram", gram))
    return [Source(f"{n}, {what}", "graphs", n, False, partial(make, n)) for n in SETS for what, make in ways]


def _fields() -> list[Source]:
    elevation = {"topobathy": ("topobathy.npz", "topo"), "jacksboro": ("jacksboro_fault_dem.npz", "elevation")}
    found = [
        Source(n, "fields", n, True, lambda f=f, k=k: levelled(centred(matplotlib_file(f)[k]))) for n, (f, k) in elevation.items()  # type: ignore[misc]
    ]  # fmt: skip
    found.append(
        Source("MRI slice", "fields", "s1045", True, lambda: levelled(centred(matplotlib_file("s1045.ima.gz"))))
    )
    found.append(Source("chirp, corner", "fields", "chirp", True, partial(chirp, 40.0, (0.0, 0.0), 0.5)))
    off = partial(chirp, 80.0, (0.3, 0.55), 1.0)
    more = {"chirp, off centre": off, "disparity": disparity, "rough field": rough, "Mandelbrot": mandelbrot}
    return [*found, *(Source(n, "fields", n, False, load) for n, load in more.items())]


def sources(vgg16: Path | None = None) -> list[Source]:
    """All arrays; those of a trained VGG-16 where its file is given."""
    weights = [] if vgg16 is None else [Source(f"VGG-16 features.{n}", "weights", str(n), False, partial(taps, n, vgg16)) for n in LAYERS]  # fmt: skip
    return [*_photographs(), *_masks(), *_graphs(), *_fields(), *weights]


def halves(every: list[Source], seed: int = SEED) -> dict[str, str]:
    """Name -> ``choosing`` or ``judging``: of each class a half each, whole origins; seen ones are for choosing, origins keep their side."""
    rng, side = np.random.default_rng(seed), dict[str, str]()
    for kind in dict.fromkeys(s.kind for s in every):
        here = [s for s in every if s.kind == kind]
        side |= {s.origin: "choosing" for s in here if s.seen}
        free = sorted({s.origin for s in here} - set(side))
        for origin in [free[k] for k in rng.permutation(len(free))]:
            left = sum(side.get(s.origin) == "choosing" for s in here)
            side[origin] = "choosing" if 2 * left < len(here) - 1 else "judging"
    return {s.name: side[s.origin] for s in every}
