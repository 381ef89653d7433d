"""Pictures: what is in the network is in the picture, once, and where it can be seen."""

import os
import subprocess
import sys
import warnings
from itertools import combinations
from xml.etree import ElementTree

import networkx as nx
import pytest

import tnkit as tk
from tnkit.core.network import Elementwise, Network
from tnkit.core.node import Node
from tnkit.drawing.draw import draw, to_svg
from tnkit.drawing.placement import layout
from tnkit.drawing.sketch import Look, sketch
from tnkit.planning.planner import plan
from tnkit.planning.steps import ContractStep

pytest.importorskip("matplotlib")


def net(terms, output, size=2, fixed=()):
    """A network from ``{name: inds}``; every index has one size."""
    nodes = [Node(name, tuple(inds.split()), fixed=name in fixed) for name, inds in terms.items()]
    return Network(tuple(nodes), tuple(output.split()), {i: size for n in nodes for i in n.inds})


def chain(n, legs=1):
    bonds = [[f"b{k}" for k in (k, k + 1) if 0 < k < n] for k in range(n)]
    opened = [[f"{leg}{k}" for leg in "oi"[:legs]] for k in range(n)]
    terms = {f"core_{k}": " ".join(bonds[k] + opened[k]) for k in range(n)}
    return net(terms, " ".join(i for o in opened for i in o))


def ring(n):
    return net({f"core_{k}": f"b{k} i{k} b{(k + 1) % n}" for k in range(n)}, " ".join(f"i{k}" for k in range(n)))


def tucker(n):
    terms = {"core": " ".join(f"r{k}" for k in range(n))} | {f"factor_{k}": f"i{k} r{k}" for k in range(n)}
    return net(terms, " ".join(f"i{k}" for k in range(n)))


def cp(n):
    return net({f"factor_{k}": f"i{k} r" for k in range(n)}, " ".join(f"i{k}" for k in range(n)))


def tree(levels):
    terms = {}
    for level in range(levels):
        for k in range(2 ** (levels - 1 - level)):
            below = [f"b{level}_{2 * k}", f"b{level}_{2 * k + 1}"]
            terms[f"node_{level}_{k}"] = " ".join(below + ([f"b{level + 1}_{k}"] if level < levels - 1 else []))
    return net(terms, " ".join(f"b0_{k}" for k in range(2**levels)))


def peps(rows, cols):
    def bonds(y, x):
        ends = {f"v{y}_{x}": y < rows - 1, f"v{y - 1}_{x}": y, f"h{y}_{x}": x < cols - 1, f"h{y}_{x - 1}": x}
        return " ".join([f"i{y}_{x}", *(i for i, there in ends.items() if there)])

    sites = [(y, x) for y in range(rows) for x in range(cols)]
    return net({f"peps_{y}_{x}": bonds(y, x) for y, x in sites}, " ".join(f"i{y}_{x}" for y, x in sites))


def wall(sites, blocks, fn="relu", prefix=""):
    """A brick wall of blocks with ``fn`` between them, on fixed starts."""
    now = [f"{prefix}x{s}" for s in range(sites)]
    nodes = [Node(f"{prefix}start_{s}", (now[s],), fixed="e0") for s in range(sites)]
    sizes = dict.fromkeys(now, 2)
    for column in range(2 * blocks):
        for a in range(column % 2, sites - 1, 2):
            outs = [f"{prefix}s{s}_{column}" for s in (a, a + 1)]
            sizes |= dict.fromkeys(outs, 2)
            nodes.append(Node(f"{prefix}brick_{column}_{a}", (*outs, now[a], now[a + 1])))
            now[a : a + 2] = outs
        if column % 2 and fn and column < 2 * blocks - 1:
            used = {i for node in nodes for i in node.inds}
            body = Network(tuple(nodes), tuple(now), {i: n for i, n in sizes.items() if i in used})
            nodes = [Elementwise(f"{prefix}act_{column}", fn, (body,))]
    used = {i for node in nodes for i in node.inds}
    return Network(tuple(nodes), tuple(now), {i: n for i, n in sizes.items() if i in used})


def lora():
    """``x (W + A B)``: two bodies in one box, so its indices have three ends."""
    frozen, low = net({"W": "o i"}, "o i", fixed=("W",)), net({"A": "o r", "B": "r i"}, "o i")
    box, x = Elementwise("sum", "add", (frozen, low)), Node("x", ("b", "i"), fixed=True)
    return Network((box, x), ("b", "o"), dict.fromkeys("bio", 2))


def petersen():
    graph = nx.petersen_graph()
    terms = {f"n{v}": " ".join("e" + "".join(map(str, sorted(e))) for e in graph.edges(v)) for v in graph}
    return net({name: inds + (" out" if name == "n0" else "") for name, inds in terms.items()}, "out")


FAMILIES = {
    "one": net({"A": "i j"}, "i j"),
    "scalar": net({"A": ""}, ""),
    "chain": chain(5),
    "operator": chain(3, legs=2),
    "double bond": net({"A": "i r s", "B": "r s j"}, "i j"),
    "ring": ring(3),
    "ring 8": ring(8),
    "tucker": tucker(4),
    "cp": cp(5),
    "tree": tree(3),
    "peps": peps(3, 4),
    "wall": wall(6, 1, None),
    "relu wall": wall(8, 3),
    "vectors": Network((*wall(4, 2).nodes, Node("scale", ())), wall(4, 2).output, wall(4, 2).sizes),
    "lora": lora(),
    "petersen": petersen(),
    "k5": net({f"n{v}": " ".join(f"e{min(v, w)}{max(v, w)}" for w in range(5) if w != v) for v in range(5)}, ""),
    "data on a chain": net({"x": "b i0 i1 i2", "A": "o0 i0 r", "B": "o1 r i1 s", "C": "o2 s i2"}, "b o0 o1 o2"),
    "batch": net({"x": "b i", "y": "b j", "T": "i j o"}, "b o"),
    "traces": net({"A": "i i j k", "B": "k l m m", "C": "l p q r", "D": "p q r", "E": "z z", "s": "", "v": "w"}, "j z"),
    "two hyperedges": net({"A": "a r", "B": "b r s", "C": "c r s", "D": "d s"}, "a b c d"),
    "all share": net({"A": "a r", "B": "a b r", "C": "b c r", "D": "c r"}, "r"),
    "branches": wall(4, 2, "relu", "p").activate("tanh", "P").join(wall(4, 2, "relu", "q").activate("tanh", "Q")),
    "periodic": net(
        {
            f"peps_{y}_{x}": f"v{y}_{x} v{(y + 1) % 3}_{x} h{y}_{x} h{y}_{(x + 1) % 5}"
            for y in range(3)
            for x in range(5)
        },
        "",
    ),
}
every = pytest.mark.parametrize("name", FAMILIES)


def gids(ax, kind):
    """What is drawn of a kind, without the kind."""
    found = [a.get_gid() for a in (*ax.patches, *ax.texts) if a.get_gid()]
    return [gid.partition(":")[2] for gid in found if gid.partition(":")[0] == kind]


def texts(ax):
    return {text.get_gid(): text.get_text() for text in ax.texts}


def elementwise(network):
    for node in network.nodes:
        if isinstance(node, Elementwise):
            yield node
            for body in node.bodies:
                yield from elementwise(body)


@every
def test_every_leaf_has_its_own_place(name):
    places = layout(FAMILIES[name])
    assert sorted(places) == sorted(leaf.name for leaf in FAMILIES[name].leaves)
    for (x, y), (u, v) in combinations(places.values(), 2):
        assert (x - u) ** 2 + (y - v) ** 2 > 0.5**2  # two circles of radius 0.25 do not touch


@every
def test_the_picture_has_what_the_network_has(name):
    network = FAMILIES[name]
    ends = {}
    for leaf in network.leaves:
        for i in leaf.inds:
            ends.setdefault(i, []).append(leaf.name)
    ax = draw(network)
    assert sorted(gids(ax, "node")) == sorted(leaf.name for leaf in network.leaves)
    assert sorted(gids(ax, "open")) == sorted(network.output)
    dots = {i for i, names in ends.items() if len(names) + (i in network.output) > 2}
    assert sorted(gids(ax, "dot")) == sorted(dots)
    assert len(gids(ax, "line")) == sum(len(ends[i]) for i in dots)
    pairs = {i: names for i, names in ends.items() if len(names) == 2 and i not in dots}
    assert sorted(gids(ax, "edge")) == sorted(i for i, names in pairs.items() if names[0] != names[1])
    assert sorted(gids(ax, "trace")) == sorted(i for i, names in pairs.items() if names[0] == names[1])
    assert sorted(gids(ax, "sum")) == sorted(
        i for i, names in ends.items() if len(names) == 1 and i not in network.output
    )
    assert sorted(gids(ax, "box")) == sorted(node.name for node in elementwise(network))


@pytest.mark.slow
@every
def test_labels(name):
    network, written = FAMILIES[name], texts(draw(FAMILIES[name]))
    for leaf in network.leaves if len(network.leaves) <= 40 else ():
        assert written[f"name:{leaf.name}"].replace("\n", "_").replace(",", "_") == leaf.name
    for i in network.output:
        assert written[f"label:{i}"] == f"{i}:{network.sizes[i]}"
    for node in elementwise(network):
        assert written[f"fn:{node.name}"] == node.fn
    if len(network.leaves) < 8:
        assert {i for leaf in network.leaves for i in leaf.inds} == {g[6:] for g in written if g.startswith("label:")}
    assert set(texts(draw(network, labels=False))) == {f"fn:{node.name}" for node in elementwise(network)}


@every
def test_boxes_hold_their_leaves_and_no_others(name):
    network, ax = FAMILIES[name], draw(FAMILIES[name])
    places = layout(network)
    boxes = {p.get_gid(): p.get_bbox() for p in ax.patches if p.get_gid().startswith("box:")}
    for node in elementwise(network):
        box = boxes[f"box:{node.name}"]
        inside = {leaf for leaf, at in places.items() if box.contains(*at)}
        assert inside == {leaf.name for body in node.bodies for leaf in body.leaves}


@every
def test_edges_keep_clear_of_other_nodes(name):
    network, ax = FAMILIES[name], draw(FAMILIES[name])
    if name in ("k5", "all share"):
        pytest.skip("too dense to promise it")
    places = layout(network)
    for patch in ax.patches:
        kind, _, index = patch.get_gid().partition(":")
        if kind in ("edge", "open"):
            own = {leaf.name for leaf in network.leaves if index in leaf.inds}
            for x, y in patch.get_path().interpolated(1).to_polygons(closed_only=False)[0]:
                assert all((x - u) ** 2 + (y - v) ** 2 > 0.25**2 for n, (u, v) in places.items() if n not in own), index


@every
def test_plan_numbers(name):
    ordered = plan(FAMILIES[name])
    ax = draw(ordered)
    count = sum(isinstance(step, ContractStep) for step in ordered.steps)
    assert [texts(ax)[f"order:{k}"] for k in range(1, count + 1)] == [str(k) for k in range(1, count + 1)]
    assert len(gids(ax, "order")) == count
    places = [text.get_position() for text in ax.texts if text.get_gid().startswith("order:")]
    assert all((x - u) ** 2 + (y - v) ** 2 > 0.04 for (x, y), (u, v) in combinations(places, 2))
    assert f"{ordered.flops:,} FLOPs" in ax.get_title()


def test_plan_numbers_stand_on_the_bond_that_is_contracted():
    ax = draw(plan(chain(2)))
    at = {text.get_gid(): text.get_position() for text in ax.texts}
    (x0, y0), (x1, y1) = layout(chain(2)).values()
    assert at["order:1"] == pytest.approx(((x0 + x1) / 2, (y0 + y1) / 2))


@every
def test_svg_is_xml_and_the_same_each_time(name):
    text = to_svg(FAMILIES[name])
    root = ElementTree.fromstring(text)
    assert root.tag.endswith("svg")
    ids = {element.get("id") for element in root.iter()}
    assert {f"node:{leaf.name}" for leaf in FAMILIES[name].leaves} <= ids
    assert text == to_svg(FAMILIES[name])
    assert "<dc:date>" not in text


def test_svg_escapes_names():
    odd = net({'<a&"b>': "$i$ j", "B": "j"}, "$i$")
    words = {element.text for element in ElementTree.fromstring(to_svg(odd)).iter()}
    assert {"$i$:2", '<a&"b>'} <= words


@pytest.mark.slow
def test_layout_does_not_depend_on_the_hash_seed():
    code = "import test_draw as t; print([t.layout(n) for n in t.FAMILIES.values()])"
    here = os.path.dirname(__file__)
    outs = [
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": here},
            capture_output=True, text=True, check=True, cwd=os.path.dirname(here),
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert outs[0] == outs[1]


def test_shapes():
    line = layout(chain(5))
    assert len({round(y, 9) for _, y in line.values()}) == 1
    assert list(line) == sorted(line, key=lambda n: line[n][0])
    circle = layout(ring(8))
    assert len({round(x * x + y * y, 9) for x, y in circle.values()}) == 1
    hub = layout(tucker(4))
    assert len({round(abs(complex(*hub[n]) - complex(*hub["core"])), 9) for n in hub if n != "core"}) == 1
    assert len({y for _, y in layout(cp(5)).values()}) == 1
    rows = layout(tree(3))
    assert rows["node_2_0"][1] > rows["node_1_0"][1] == rows["node_1_1"][1] > rows["node_0_3"][1]
    grid = layout(peps(3, 4))
    assert grid["peps_2_1"][0] == grid["peps_0_1"][0] and grid["peps_2_1"][1] == grid["peps_2_3"][1]
    bricks = layout(wall(8, 3))
    assert bricks["brick_4_2"][1] > bricks["brick_3_1"][1] > bricks["start_0"][1]


def ends(ax, kind):
    """Index -> (start, stop) of the legs of a kind."""
    found = {}
    for patch in ax.patches:
        if patch.get_gid().startswith(kind + ":"):
            found[patch.get_gid().partition(":")[2]] = patch.get_path().vertices[[0, -1]]
    return found


def test_legs_point_where_the_field_draws_them():
    assert all(stop[1] < start[1] for start, stop in ends(draw(chain(4)), "open").values())
    operator = ends(draw(chain(4, legs=2)), "open")
    assert all((stop[1] > start[1]) == i.startswith("o") for i, (start, stop) in operator.items())
    assert all(stop[1] > start[1] for start, stop in ends(draw(wall(8, 3)), "open").values())
    assert all(stop @ stop > start @ start for start, stop in ends(draw(ring(6)), "open").values())


def test_colours_and_widths():
    nodes = (
        Node("A", ("i", "j"), "w"),
        Node("B", ("j", "k"), "w"),
        Node("C", ("k", "l")),
        Node("D", ("l",), fixed=True),
    )
    ax = draw(Network(nodes, ("i",), dict.fromkeys("ijk", 2) | {"l": 64}))
    color = {p.get_gid(): p.get_facecolor() for p in ax.patches}
    width = {p.get_gid(): p.get_linewidth() for p in ax.patches}
    assert color["node:A"] == color["node:B"]
    assert len({color["node:A"], color["node:C"], color["node:D"]}) == 3
    assert color["node:D"][0] == color["node:D"][1] == color["node:D"][2]  # grey
    assert width["edge:l"] > width["edge:k"] == width["edge:j"]


def test_tied_nodes_are_numbered_apart():
    nodes = tuple(Node(f"core_{k}", (f"b{k}", f"i{k}", f"b{k + 1}"), "core") for k in range(4))
    sizes = {f"b{k}": 2 for k in range(5)} | {f"i{k}": 2 for k in range(4)}
    ax = draw(plan(Network(nodes, ("b0", "i0", "i1", "i2", "i3", "b4"), sizes)))
    assert sorted(gids(ax, "order")) == ["1", "2", "3"]


def test_draws_on_a_given_axes():
    from matplotlib.figure import Figure

    figure = Figure()
    first, second = figure.subplots(1, 2)
    assert draw(chain(3), second) is second
    assert not first.patches and second.patches


@pytest.mark.slow
def test_pyplot_is_not_loaded():
    code = "import sys, tnkit as tk; from tnkit.drawing.draw import to_svg; n = tk.Network((tk.Node('A', 'i'),), 'i', {'i': 2}); "
    code += "assert 'matplotlib' not in sys.modules; to_svg(n); assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delattr("matplotlib.figure", raising=False)
    with pytest.raises(ImportError, match=r"drawing needs matplotlib: pip install 'tnkit\[plot\]'"):
        draw(chain(2))
    assert layout(chain(2))  # needs none


@pytest.mark.parametrize(
    ("inds", "output"), [("iij", "ij"), ("ijkk", "ij"), ("ijkkll", "ij"), ("ii", "i"), ("iijj", "ij")]
)
def test_diagonals_and_traces_beside_open_legs(inds, output):
    """Of two open legs, one may end in a dot: the other has a side to itself."""
    drawn = to_svg(tk.Network([Node("A", inds)], output, dict.fromkeys(inds, 2)))
    assert all(f'id="open:{i}"' in drawn for i in output)


@pytest.mark.parametrize("name", ["springs", "tree", "line"])
def test_layouts_of_lone_nodes(name):
    network = tk.Network([Node("s", ""), Node("A", "ij"), Node("v", "k")], "ij", dict.fromkeys("ijk", 2))
    assert to_svg(network, layout=name).count('id="node:') == 3


@pytest.mark.parametrize("count", [10, 30, 60])
def test_many_hyperedges_of_the_same_nodes_have_dots_of_their_own(count):
    inds = [f"i{k}" for k in range(count)]
    scene = sketch(tk.Network([Node("A", inds), Node("B", inds)], inds, dict.fromkeys(inds, 1)), Look())
    dots = [item.at for item in scene.items if item.gid.startswith("dot:")]
    assert len(dots) == count and min(abs(a - b) for a, b in combinations(dots, 2)) > 0.3


def test_ids_of_names_that_differ_in_what_xml_cannot_hold():
    names = ["a\n", "a\t", "a\r", "a ", "a\x00", "a\x01"]
    root = ElementTree.fromstring(to_svg(tk.Network([Node(name, "i") for name in names], "", {"i": 2})))
    ids = [element.get("id") for element in root.iter() if (element.get("id") or "").startswith("node:")]
    assert ids == [f"node:{name}" for name in names[:4]] + ["node:a\N{REPLACEMENT CHARACTER}"]


def test_names_that_xml_cannot_hold():
    net = tk.Network([tk.Node("\n", ("a\x1b", "b")), tk.Node("x\x00y", ("b",))], ("a\x1b",), {"a\x1b": 2, "b": 3})
    drawn = tk.to_svg(net)
    ElementTree.fromstring(drawn)
    assert "x\N{REPLACEMENT CHARACTER}y" in drawn


def test_characters_that_no_font_has_are_spelled(tmp_path):
    """Chinese, an emoji, a tab: matplotlib would warn, and draw an empty box."""
    net = tk.Network(
        [tk.Node("\u6728", ("i\U0001f600", "\u03b1")), tk.Node("a\tb", ("\u03b1",))],
        ("i\U0001f600",),
        {"i\U0001f600": 2, "\u03b1": 3},
    )
    ax = tk.draw(net)
    assert {r"\u6728", r"a\tb", "\u03b1:3"} <= set(texts(ax).values())
    with warnings.catch_warnings(action="error"):
        for kind in ("png", "pdf"):
            ax.figure.savefig(tmp_path / f"x.{kind}")
