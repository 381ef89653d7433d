"""Where nodes stand follows from the graph: names, and the order of nodes, do not matter."""

import random
from itertools import pairwise

import numpy as np
import pytest

import tnkit as tk
from tnkit.drawing.placement import LAYOUTS, layout
from tnkit.drawing.sketch import Look, sketch
from tnkit.drawing.wires import wires_of


def copied(net, tag, keep=()):
    """A network whose names end in a tag, but for some indices."""
    return net.relabel(lambda i: i if i in keep else i + tag, lambda n: n + tag, lambda a: a + tag)


def joined(*nets):
    return tk.Network([n for net in nets for n in net.nodes], (), {i: s for net in nets for i, s in net.sizes.items()})


def norm(net):
    return joined(net, copied(net, "*", net.output))


def shuffled(net, seed):
    """The same network with random names, its nodes in a random order."""
    draw = random.Random(seed)
    names = [leaf.name for leaf in net.leaves]
    new = dict(zip(names, draw.sample([f"t{k}" for k in range(len(names))], len(names)), strict=True))
    ways = list(net.sizes)
    inds = dict(zip(ways, draw.sample([f"e{k}" for k in range(len(ways))], len(ways)), strict=True))
    renamed = net.relabel(inds, new)
    return tk.Network(draw.sample(renamed.nodes, len(renamed.nodes)), renamed.output, renamed.sizes), new


def expectation(n):
    psi = tk.mps((2,) * n, 3)
    bra = copied(psi, "*").relabel({f"i{k}*": f"o{k}" for k in range(n)})
    return joined(
        psi,
        tk.mpo((2,) * n, (2,) * n, 2).relabel(
            lambda i: i if i[0] in "io" else i + "H", lambda v: "H" + v[5:], lambda a: "H" + a
        ),
        bra,
    )


def local(n, *sites):
    """<psi|O|psi> with an operator on some sites."""
    psi = tk.mps((2,) * n, 3)
    bra = copied(psi, "*", [f"i{k}" for k in range(n) if k not in sites]).relabel({f"i{k}*": f"o{k}" for k in sites})
    inds = [f"{side}{k}" for side in "oi" for k in sites]
    return joined(psi, tk.Network([tk.Node("O", inds)], inds, dict.fromkeys(inds, 2)), bra)


def rows_of(places):
    """The places as rows from top to bottom, each from left to right."""
    found = {}
    for name, (x, y) in places.items():
        found.setdefault(round(-y, 6), []).append((x, name))
    return [[name for _, name in sorted(found[y])] for y in sorted(found)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("rows", "cols"), [(2, 3), (3, 4), (4, 4), (5, 3), (4, 7)])
def test_a_lattice_is_a_grid_whatever_its_names(rows, cols, seed):
    net, new = shuffled(tk.peps(rows, cols, 2, 2), seed)
    places = layout(net)
    xs, ys = ({round(at[k], 6) for at in places.values()} for k in (0, 1))
    assert {len(xs), len(ys)} == {rows, cols} and len(set(places.values())) == rows * cols
    step = min(abs(a - b) for a in xs for b in xs if a != b)
    for y in range(rows):
        for x in range(cols - 1):
            (a, b), (c, d) = places[new[f"peps_{y}_{x}"]], places[new[f"peps_{y}_{x + 1}"]]
            assert abs(a - c) + abs(b - d) == pytest.approx(step)


def test_rows_of_a_lattice_are_those_of_its_builder():
    assert rows_of(layout(tk.peps(4, 5, 2, 2))) == [[f"peps_{y}_{x}" for x in range(5)] for y in range(4)]


@pytest.mark.parametrize("seed", range(3))
def test_sandwiches_are_ladders(seed):
    net, new = shuffled(expectation(6), seed)
    assert sorted(map(len, rows_of(layout(net)))) == [6, 6, 6]
    middle = rows_of(layout(net))[1]
    assert middle in ([new[f"H{k}"] for k in range(6)], [new[f"H{k}"] for k in reversed(range(6))])
    two, new = shuffled(norm(tk.mps((2,) * 7, 3)), seed)
    top, bottom = rows_of(layout(two))
    assert {frozenset(pair) for pair in zip(top, bottom, strict=True)} == {
        frozenset((new[f"core_{k}"], new[f"core_{k}*"])) for k in range(7)
    }


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sites", [(0,), (2,), (2, 3), (1, 2, 3)])
def test_a_local_operator_stands_between_its_chains(sites, seed):
    net, new = shuffled(local(6, *sites), seed)
    rows = rows_of(layout(net))
    assert list(map(len, rows)) == [6, 1, 6] and rows[1] == [new["O"]]
    places = layout(net)
    over = [places[new[f"core_{k}"]][0] for k in sites]
    assert places[new["O"]][0] == pytest.approx(sum(over) / len(over))


def test_a_tree_and_its_image():
    places = layout(norm(tk.tree((2,) * 8, 2)))
    for name, (x, y) in places.items():
        if not name.endswith("*"):
            assert places[name + "*"] == pytest.approx((x, -y)) and y > 0


@pytest.mark.parametrize("seed", range(2))
def test_a_wall_is_in_layers_whatever_its_names(seed):
    net, new = shuffled(tk.brick_wall(8, depth=2), seed)
    places = layout(net)
    for column in range(4):
        layer = [places[new[f"brick_{column}_{a}"]] for a in range(column % 2, 7, 2)]
        assert len({y for _, y in layer}) == 1
        assert [x for x, _ in layer] == sorted(x for x, _ in layer)
        assert {round(b[0] - a[0], 6) for a, b in pairwise(layer)} == {2.0}


def test_an_interleaved_wall_is_even():
    places = layout(tk.adtn((10, 12), depth=2, order="interleaved"))
    xs = [places[f"brick_0_{a}"][0] for a in (0, 2, 4, 6)]
    assert {round(b - a, 6) for a, b in pairwise(xs)} == {2.0}


def test_operators_have_their_inputs_below():
    ax = sketch(tk.brick_wall(6, depth=2, start="open"), Look())
    legs = {item.gid[5:]: item.points for item in ax.items if item.gid.startswith("open:")}
    assert all((stop.imag > start.imag) == i.startswith("i") for i, (start, stop) in legs.items()) and len(legs) == 12


def test_periodic_bonds_go_around_the_back():
    for net, count in (
        (tk.mera((2,) * 8, 2, periodic=True), 3),
        (tk.brick_wall(6, depth=2, periodic=True, start="vectors"), 3),
    ):
        scene = sketch(net, Look())
        cut = [item for item in scene.items if item.gid.startswith("cut:")]
        assert len(cut) == count
        longest = max(abs(item.points[0] - item.points[-1]) for item in scene.items if item.gid.startswith("edge:"))
        assert longest < 4.5  # none runs across the picture


def test_a_caterpillar_hangs_from_its_chain():
    nodes = [
        tk.Node(f"c{k}", [*([f"b{k}"] if k else []), *([f"b{k + 1}"] if k < 6 else []), f"r{k}"]) for k in range(7)
    ]
    nodes += [tk.Node(f"u{k}", [f"r{k}", f"i{k}"]) for k in range(7)]
    net = tk.Network(nodes, [f"i{k}" for k in range(7)], {i: 2 for n in nodes for i in n.inds})
    places = layout(net)
    assert len({places[f"c{k}"][1] for k in range(1, 6)}) == 1
    assert all(places[f"u{k}"][0] == pytest.approx(places[f"c{k}"][0]) for k in range(1, 6))


@pytest.mark.parametrize("name", tk.BUILDERS)
def test_places_do_not_depend_on_names(name):
    net = tk.BUILDERS[name](**tk.EXAMPLES[name])
    inds = {wire.ind: f"x{k}q" for k, wire in enumerate(wires_of(net))}
    nodes = {leaf.name: f"m{k}m" for k, leaf in enumerate(net.leaves)}
    renamed = net.relabel(inds, lambda n: nodes.get(n, n))
    assert np.array(list(layout(renamed).values())) == pytest.approx(np.array(list(layout(net).values())))


def test_layouts_by_name():
    net = tk.ring((2,) * 5, 2)
    for name in LAYOUTS:
        if name in ("ring", "springs"):
            assert tk.to_svg(net, layout=name).startswith("<svg")
        else:
            with pytest.raises(ValueError, match=f"layout '{name}' does not fit"):
                tk.to_svg(net, layout=name)
    with pytest.raises(ValueError, match="layout is one of row, line, ring"):
        tk.to_svg(net, layout="circle")


@pytest.mark.parametrize("shape", [(2,) * 6, (2, 3) * 4, (2,) * 12])
def test_the_root_of_a_binary_tree_is_on_top(shape):
    """It has two neighbours, where the nodes below it have three: their parent and two children, or legs."""
    net = tk.tree(shape, 2)
    places = layout(net)
    top = max(net.leaves, key=lambda n: places[n.name][1])
    assert len(top.inds) == 2 and all(len(n.inds) == 3 for n in net.leaves if n is not top)
