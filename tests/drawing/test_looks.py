"""What users choose: places, colours, marks, themes; what is refused; what large networks leave out; TikZ."""

import re
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest

import tnkit as tk
from tnkit.drawing.scene import Bezier, Circle, Words
from tnkit.drawing.sketch import Look, sketch
from tnkit.drawing.themes import DARK, LIGHT


def norm(net):
    """<psi|psi>."""
    bra = net.relabel(lambda i: i if i in net.output else i + "*", lambda n: n + "*", lambda a: a + "*")
    return tk.Network((*net.nodes, *bra.nodes), (), {**net.sizes, **bra.sizes})


NETS = {name: tk.BUILDERS[name](**tk.EXAMPLES[name]) for name in tk.BUILDERS} | {
    "chain of 40": tk.mps((2,) * 40, 3),
    "peps": tk.peps(4, 5, 2, 3),
    "long names": tk.tt((2, 3, 4), 2).relabel(
        lambda i: f"a_long_name_of_index_{i}", lambda n: f"an_even_longer_name_of_{n}"
    ),
    "norm": norm(tk.mps((2,) * 6, 3)),
}
LARGE = {
    "chain": tk.mps((2,) * 68, 3), "ring": tk.ring((2,) * 60, 2), "lattice": tk.peps(20, 20, 2, 2), "ladder": norm(tk.mps((2,) * 50, 2)),
    "tall": tk.peps(30, 2, 2, 2), "cp": tk.cp((2,) * 50, 3), "tree": tk.tree((2,) * 64, 2), "wall": tk.brick_wall(30, depth=2, activation="relu"),
    "mera": tk.mera((2,) * 64, 2), "tucker": tk.tucker((2,) * 45, 1),
}  # fmt: skip


def gids(scene, kind):
    return [item.gid.partition(":")[2] for item in scene.items if item.gid.startswith(kind + ":")]


@pytest.mark.parametrize("name", [*NETS, *(f"large {name}" for name in LARGE)])
def test_no_name_of_an_index_is_on_a_node(name):
    net = NETS[name] if name in NETS else LARGE[name.removeprefix("large ")]
    scene = sketch(net, Look())
    circles = [item for item in scene.items if isinstance(item, Circle) and item.gid.startswith("node:")]
    labels = [
        item for item in scene.items if isinstance(item, Words) and item.gid.partition(":")[0] in ("label", "more")
    ]
    assert labels or net.num_params < 100
    for label in labels:
        wide, high = label.reach
        for circle in circles:
            off = circle.at - label.centre
            apart = abs(complex(max(abs(off.real) - wide, 0), max(abs(off.imag) - high, 0)))
            assert apart > circle.radius, (label.text, circle.gid)


@pytest.mark.parametrize("name", NETS)
def test_no_name_of_an_index_is_under_the_number_of_a_contraction(name):
    """``i5:2`` under a number reads as ``5:2``."""
    words = [i for i in sketch(tk.plan(NETS[name], "greedy"), Look()).items if isinstance(i, Words)]
    labels, numbers = ([w for w in words if w.gid.startswith(kind)] for kind in ("label:", "order:"))
    assert labels and numbers
    for number in numbers:
        wide, high = number.cover
        assert wide > number.reach[0] and high > number.reach[1]  # its plate
        for label in labels:
            off = number.centre - label.centre
            under = abs(off.real) < wide + label.reach[0] and abs(off.imag) < high + 0.8 * label.reach[1]
            assert not under, (label.text, number.text)


@pytest.mark.parametrize("name", [*NETS, *(f"large {name}" for name in LARGE)])
def test_no_name_of_an_index_is_on_the_line_of_another(name):
    scene = sketch(NETS[name] if name in NETS else LARGE[name.removeprefix("large ")], Look())
    lines = [
        (item.gid, _along(item.points, np.linspace(0, 1, 100))) for item in scene.items if isinstance(item, Bezier)
    ]
    for label in (item for item in scene.items if isinstance(item, Words) and item.gid.startswith("label:")):
        wide, high = label.reach
        for gid, points in lines:
            off = points - label.centre
            crossed = ((abs(off.real) < wide) & (abs(off.imag) < 0.8 * high)).any()
            assert not crossed or gid.split(":")[1] == label.gid.partition(":")[2], (label.text, gid)


def _along(points, t):
    while len(points) > 1:
        points = [(1 - t) * a + t * b for a, b in pairwise(points)]
    return points[0]


@pytest.mark.parametrize("name", ["mps", "mera", "adtn", "peps", "btt", "norm", "long names"])
def test_names_keep_off_nodes_as_matplotlib_measures_them(name):
    pytest.importorskip("matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    ax = tk.draw(NETS[name])
    renderer = FigureCanvasAgg(ax.figure).get_renderer()
    circles = {p.get_gid(): p.get_window_extent(renderer) for p in ax.patches if p.get_gid().startswith("node:")}
    names = [t for t in ax.texts if t.get_gid().startswith("label:")]
    for text in names:
        box = text.get_window_extent(renderer)
        for gid, circle in circles.items():
            x, y = (circle.x0 + circle.x1) / 2, (circle.y0 + circle.y1) / 2
            off = np.hypot(max(box.x0 - x, 0, x - box.x1), max(box.y0 - y, 0, y - box.y1))
            assert off > circle.width / 2 - 1, (text.get_text(), gid)


@pytest.mark.parametrize("name", LARGE)
def test_large_networks_are_elided(name):
    net = LARGE[name]
    scene = sketch(net, Look())
    drawn = gids(scene, "node")
    assert 10 <= len(drawn) <= 40 and set(drawn) <= {leaf.name for leaf in net.leaves}
    said = [item.text for item in scene.items if item.gid.startswith("more:")]
    assert f"... {len(net.leaves) - len(drawn):,} more ..." in said
    assert len(gids(scene, "edge")) == sum(
        len(ends) == 2 and set(ends) <= set(drawn) and i not in net.output for i, ends in _ends(net).items()
    )
    assert f"{len(net.leaves) - len(drawn):,} nodes not drawn" in scene.about


def _ends(net):
    found = {}
    for leaf in net.leaves:
        for i in leaf.inds:
            found.setdefault(i, []).append(leaf.name)
    return found


@pytest.mark.parametrize("sites", [32, 50, 64])
def test_of_a_large_mera_whole_rows_are_drawn_from_the_top(sites):
    net = tk.mera((2,) * sites, 2)
    at = {i.gid[5:]: i.at for i in sketch(net, Look()).items if isinstance(i, Circle) and i.gid.startswith("node:")}
    rows = {}
    for name, z in at.items():
        rows.setdefault(round(z.imag, 6), []).append(name)
    for names in rows.values():  # a row is of one kind and level, as the network lists them
        assert len({name.rpartition("_")[0] for name in names}) == 1
        assert len(names) == sum(leaf.name.startswith(names[0].rpartition("_")[0] + "_") for leaf in net.leaves)
    for i, ends in _ends(net).items():  # and bonds run from row to row
        if len(set(ends) & set(at)) == 2 and i not in net.output:
            assert at[ends[0]].imag != at[ends[1]].imag


def test_forty_nodes_are_drawn_and_of_more_both_ends():
    assert len(gids(sketch(tk.mps((2,) * 40, 3), Look()), "node")) == 40
    drawn = gids(sketch(LARGE["chain"], Look()), "node")
    assert {"core_0", "core_1", "core_66", "core_67"} <= set(drawn)


def test_what_is_marked_is_drawn():
    net = tk.mps((2,) * 100, 3)
    svg = tk.to_svg(net, highlight=["core_50", "b2"])
    assert 'id="node:core_50"' in svg and svg.count("... more") == 0
    marked = [e.get("id") for e in ElementTree.fromstring(svg).iter() if "s-mark" in (e.get("class") or "")]
    assert {"node:core_50", "edge:b2"} <= set(marked) and len(marked) == 2


def test_both_themes_are_in_one_file():
    net = tk.tt((2, 2), 2)
    auto, light, dark = (tk.to_svg(net, theme=theme) for theme in ("auto", "light", "dark"))
    assert "@media(prefers-color-scheme:dark)" in auto and "@media" not in light + dark
    assert all(LIGHT["leg"] in text for text in (auto, light)) and all(DARK["leg"] in text for text in (auto, dark))
    assert DARK["leg"] not in light and LIGHT["leg"] not in dark
    assert set(LIGHT) == set(DARK)


@pytest.mark.parametrize("name", [*NETS])
def test_ids_are_unique_and_numbers_finite(name):
    root = ElementTree.fromstring(tk.to_svg(NETS[name]))
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    width, height = (float(x) for x in root.get("viewBox").split()[2:])
    for circle in root.iter("{http://www.w3.org/2000/svg}circle"):
        assert 0 < float(circle.get("cx")) < width and 0 < float(circle.get("cy")) < height


def test_places_colours_and_sizes():
    net = tk.tt((2, 3, 2), 4)
    scene = sketch(net, Look(pos={"core_0": 0, "core_1": 3 + 1j, "core_2": 6}))
    at = {item.gid: item.at for item in scene.items if isinstance(item, Circle)}
    assert at["node:core_1"] - at["node:core_0"] == 3 + 1j
    near = sketch(net, Look(pos={"core_0": 0, "core_1": 0.01, "core_2": 0.02}))  # in units of their own
    assert (
        min(
            abs(a.at - b.at)
            for a in near.items
            for b in near.items
            if isinstance(a, Circle) and isinstance(b, Circle) and a != b
        )
        >= 0.99
    )
    svg = tk.to_svg(net, color={"core_1": "#FA0"}, sizes=False)
    assert '<circle id="node:core_1" class="s-rim" fill="#ffaa00"' in svg and ">b1<" in svg
    assert ">b1:2<" in tk.to_svg(net) and 'fill="#ffd700"' in tk.to_svg(net, color="gold")


WRONG = [
    ({"pos": {"core_9": (0, 0)}}, ValueError, "pos: no node 'core_9'; there are core_0, core_1"),
    (
        {"pos": {"core_0": (0, float("nan"))}},
        ValueError,
        r"pos of node 'core_0' is two finite numbers, \(x, y\), not \(0, nan\)",
    ),
    ({"pos": {"core_0": (0,)}}, TypeError, "two finite numbers"),
    ({"pos": {"core_0": (0, 10**400)}}, ValueError, "two finite numbers"),
    ({"pos": {"core_0": (0, 0), "core_1": (1e-320, 0)}}, ValueError, "a place of its own; 'core_0' and 'core_1'"),
    (
        {"pos": {"core_0": (0.55, 0)}},
        ValueError,
        r"pos keeps nodes 0.5 apart or more; 'core_0' at \(0.55, 0\) is on 'core_1' at",
    ),
    ({"layout": "ring"}, ValueError, r"(draw|to_svg|to_tikz): layout 'ring' does not fit Network\(2 nodes"),
    ({"pos": {"core_0": "ab"}}, TypeError, "two finite numbers"),
    (
        {"pos": {"core_0": (0, 1), "core_1": (0, 1)}},
        ValueError,
        "a place of its own; 'core_0' and 'core_1' have the same",
    ),
    ({"pos": 3}, TypeError, "pos map names to values"),
    ({"pos": {3: (0, 0)}}, TypeError, "pos names nodes by strings, not 3"),
    ({"color": "blurple"}, ValueError, "color is '#rrggbb', '#rgb' or a name .*not 'blurple'"),
    ({"color": {"core_0": 3}}, TypeError, "color of node 'core_0' is"),
    ({"color": {"nobody": "red"}}, ValueError, "color: no node 'nobody'"),
    ({"color": ["red"]}, TypeError, "color is one colour, or a mapping"),
    ({"highlight": ["nobody"]}, ValueError, "highlight has names of nodes and indices; 'nobody' is neither"),
    ({"highlight": 3}, TypeError, "highlight is a sequence"),
    ({"highlight": [3]}, TypeError, "highlight has names of nodes and indices, not 3"),
    ({"sizes": 1}, TypeError, "sizes is True or False"),
    ({"layout": 3}, TypeError, "layout is one of"),
]


@pytest.mark.parametrize(("options", "error", "message"), WRONG)
@pytest.mark.parametrize("draws", [tk.draw, tk.to_svg, tk.to_tikz])
def test_what_is_wrong_is_named(draws, options, error, message):
    with pytest.raises(error, match=message):
        draws(tk.tt((2, 2), 2), **options)
    with pytest.raises(error, match=f"^{draws.__name__}: "):
        draws(tk.tt((2, 2), 2), **options)


def test_places_for_some_nodes_move_the_dots_of_hyperedges():
    net = tk.cp((2, 3, 4), 2)
    dot = next(item.at for item in sketch(net, Look()).items if item.gid == "dot:r")
    scene = sketch(net, Look(pos={"factor_1": dot}))  # a node where the dot stood
    places = {item.gid: item.at for item in scene.items if isinstance(item, Circle)}
    assert places["node:factor_1"] == dot and abs(places["dot:r"] - dot) > 0.3


@pytest.mark.parametrize("projection", ["3d", "polar"])
def test_axes_that_are_not_flat(projection):
    figure = pytest.importorskip("matplotlib.figure").Figure()
    with pytest.raises(
        TypeError, match="draw: ax is an Axes of matplotlib with straight axes in a plane, or None, not "
    ):
        tk.draw(tk.tt((2, 2), 2), figure.add_subplot(projection=projection))


def test_themes_that_are_not():
    with pytest.raises(ValueError, match="draw: theme is one of light, dark, not 'auto'"):
        tk.draw(tk.tt((2, 2), 2), theme="auto")
    with pytest.raises(ValueError, match="to_svg: theme is one of auto, light, dark, not 'blue'"):
        tk.to_svg(tk.tt((2, 2), 2), theme="blue")


# -- TikZ: a grammar of the few statements that are written
POINT = r"\(-?\d+\.\d{3},-?\d+\.\d{3}\)"
OPTIONS = r"\[[^\[\]]*\]"
STATEMENTS = [
    rf"\\filldraw{OPTIONS} {POINT} circle \[radius=\d+\.\d{{3}}\];",
    rf"\\filldraw{OPTIONS} {POINT} rectangle {POINT};",
    rf"\\draw{OPTIONS} {POINT} -- {POINT};",
    rf"\\draw{OPTIONS} {POINT} \.\. controls {POINT} and {POINT} \.\. {POINT};",
    rf"\\node{OPTIONS} at {POINT} \{{(?:[^\\{{}}$&#%_^~]|\\\\\{{\}}|\\[{{}}$&#%_]|\\text\w+\{{\}}|\\dots\{{\}})*\}};",
    r"\\definecolor\{tn\w+\}\{HTML\}\{[0-9A-F]{6}\}",
]


@pytest.mark.parametrize("name", [*NETS])
def test_tikz_keeps_to_its_grammar(name):
    first, *body, last = tk.to_tikz(NETS[name]).split("\n")
    assert first == r"\begin{tikzpicture}[x=1in, y=1in, line cap=round]" and last == r"\end{tikzpicture}"
    for line in body:
        assert any(re.fullmatch(statement, line.strip()) for statement in STATEMENTS), line
    text = "\n".join(body)
    assert set(re.findall(r"(?:fill|draw|text)=(\w+)", text)) == set(re.findall(r"definecolor\{(\w+)\}", text))


def test_tikz_stands_where_the_drawing_stands_and_escapes():
    net = tk.Network([tk.Node("50%_#1", "ij"), tk.Node(r"a\b{c}", "jk")], "ik", {"i": 2, "j": 3, "k": 2})
    text = tk.to_tikz(net)
    assert r"50\%\\{}\#1" in text and r"a\textbackslash{}b\{c\}" in text
    at = [complex(*map(float, xy)) for xy in re.findall(r"\((\S+),(\S+)\) circle", text)]
    scene = sketch(net, Look())
    assert at == pytest.approx([item.at for item in scene.items if isinstance(item, Circle)])


def test_tikz_has_nothing_that_latex_cannot_read():
    """A bracket after a line break is no length; a straight quote is in no font of OT1; controls are no text."""
    text = tk.to_tikz(
        tk.Network([tk.Node('core_["0"]', ["i\r\x7f", "j\x85"])], ["i\r\x7f", "j\x85"], {"i\r\x7f": 2, "j\x85": 3})
    )
    assert r"core\\{}[\textquotedblright{}0\textquotedblright{}]" in text and "{i ?:2}" in text and "{j :3}" in text
    assert text.isprintable() or set(re.findall(r"[\x00-\x1f\x7f-\x9f]", text)) == {"\n"}


@pytest.mark.slow
def test_a_plan_is_numbered_where_all_is_drawn():
    text = tk.to_svg(tk.plan(tk.mps((2,) * 5, 2)))
    assert all(f'id="order:{k}"' in text for k in range(1, 5)) and "4 contractions" in text
    large = tk.plan(tk.mps((2,) * 60, 2))
    assert "order:" not in tk.to_svg(large) and f"{large.flops:,} FLOPs" in tk.to_svg(large)
