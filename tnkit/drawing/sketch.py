"""A network, or a plan, as a scene: what is placed becomes circles, lines, boxes and names."""

from __future__ import annotations

import cmath
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import log2

from tnkit.core.network import Network
from tnkit.core.wording import count_text
from tnkit.drawing.boxes import Box, boxes_of
from tnkit.drawing.edges import Route, add_dots, legs_of, routes_of
from tnkit.drawing.elision import READABLE, Excerpt, view_of
from tnkit.drawing.labels import Room, beside, shortened
from tnkit.drawing.order import merges, step_places
from tnkit.drawing.pieces import Arrangement
from tnkit.drawing.placement import placed_by
from tnkit.drawing.scene import Bezier, Circle, Item, Plate, Scene, Words
from tnkit.drawing.springs import closest
from tnkit.drawing.themes import TIED
from tnkit.drawing.wires import DOWN, LEG, RADIUS, Spots, Vertex, Wire, wires_of
from tnkit.planning.plan import Plan

__all__ = ["Look", "sketch"]

NAMED, SIZED, FREE = (
    25,
    70,
    60,
)  #: lines up to which names, then sizes alone, are written; open ends up to which names are

Legs = Mapping[str, tuple[Vertex, complex]]


@dataclass(frozen=True)
class Look:
    """How a network is drawn, once what the user gave is checked."""

    labels: bool = True
    sizes: bool = True
    pos: Mapping[str, complex] = field(default_factory=dict)
    layout: str | None = None
    color: Mapping[str, str] = field(default_factory=dict)  #: leaf -> ``#rrggbb``
    marked: frozenset[str] = frozenset()  #: leaves and indices
    who: str = "draw"  #: the function that was called, for errors


@dataclass(frozen=True)
class _Sheet:
    """What is known of a picture before anything is written on it."""

    net: Network
    look: Look
    view: Excerpt
    spots: Spots
    routes: Sequence[Route]
    legs: Legs
    boxes: Sequence[Box]


def sketch(net_or_plan: Network | Plan, look: Look) -> Scene:
    """The scene of a network; of a plan, with its contractions numbered where all leaves are drawn."""
    net = net_or_plan.network if isinstance(net_or_plan, Plan) else net_or_plan
    sheet = _laid_out(net, look)
    room = _room(sheet)
    front = [*_legs(sheet, room), *_names(sheet)]
    title, order = "", list[Words]()
    if isinstance(net_or_plan, Plan):
        pairs = [] if sheet.view.hidden else merges(net_or_plan)
        title = f"{len(pairs) or 'many'} contractions, {count_text(net_or_plan.flops, ',')} FLOPs"
        for k, at in enumerate(step_places(pairs, sheet.spots, sheet.routes), 1):
            order.append(room.add(Words(at, str(k), 7, "stepink", f"order:{k}", bold=True, tag=("step", "stepline"))))
    lines = _lines(sheet)
    items = [*_plates(sheet), *lines, *(i for i in front if not isinstance(i, Words)), *_circles(sheet)]
    tags = [room.add(tag) for tag in _tags(sheet)]
    words = [
        *(i for i in front if isinstance(i, Words)),
        *_index_names(sheet, room, order),
        *_gap_words(sheet, room),
        *tags,
        *order,
    ]
    low, high = _corners(sheet, [*items, *words])
    return Scene((*items, *words), low, high, title, _about(net_or_plan, sheet))


# -- places -----------------------------------------------------------------------------------------------------------
def _laid_out(net: Network, look: Look) -> _Sheet:
    wires = wires_of(net)
    names = {leaf.name for leaf in net.leaves}
    if names <= look.pos.keys():
        view = Excerpt(Arrangement(_own_places(look.pos)), wires)
    elif look.layout is not None:
        placed = placed_by(look.layout, net, wires)
        if placed is None:
            raise ValueError(
                f"{look.who}: layout {look.layout!r} does not fit {net!r}; layout=None takes the first that fits, 'springs' fits all"
            )
        view = Excerpt(placed, wires)
    else:
        marked = {*look.marked, *look.pos}
        view = view_of(
            net, wires, [leaf.name for leaf in net.leaves if leaf.name in marked or not marked.isdisjoint(leaf.inds)]
        )
    spots = dict(view.placed.spots)
    if look.pos and not names <= look.pos.keys():
        spots |= {v: (at, spots[v][1]) for v, at in look.pos.items()}
        _check_apart(spots, look)
        spots = {v: spot for v, spot in spots.items() if isinstance(v, str)}  # dots go where the nodes are now
    add_dots(spots, view.wires)
    routes = routes_of(spots, view.wires, view.placed.around)
    cut_off = {ind for _, ind, _ in view.stumps}
    legs = legs_of(spots, [wire for wire in view.wires if wire.ind not in cut_off], routes)
    return _Sheet(net, look, view, spots, routes, legs, boxes_of(net, spots))


def _check_apart(spots: Spots, look: Look) -> None:
    """ValueError where a user's place for some nodes puts one on another."""
    for v in look.pos:
        at = spots[v][0]
        near = next((u for u in spots if isinstance(u, str) and u != v and abs(spots[u][0] - at) < 2 * RADIUS), None)
        if near is not None:
            raise ValueError(
                f"{look.who}: pos keeps nodes {2 * RADIUS} apart or more; {v!r} at ({at.real:g}, {at.imag:g}) is on {near!r} at "
                f"({spots[near][0].real:g}, {spots[near][0].imag:g}): place that node too, or this one elsewhere"
            )


def _own_places(pos: Mapping[str, complex]) -> Spots:
    """A user's places, drawn out where nodes would touch; legs point away from the middle."""
    gap = min(1.0, closest(list(pos.values()))) if len(pos) > 1 else 1.0
    middle = sum(pos.values()) / len(pos)
    return {
        v: (at / gap, (at - middle) / abs(at - middle) if abs(at - middle) > 1e-9 * abs(gap) else DOWN)
        for v, at in pos.items()
    }


def _room(sheet: _Sheet) -> Room:
    nodes = [at for v, (at, _) in sheet.spots.items() if isinstance(v, str)]
    dots = [at for v, (at, _) in sheet.spots.items() if isinstance(v, tuple)]
    lines = [z for route in sheet.routes for z in route.points(0.06)]
    lines += [sheet.spots[v][0] + t * LEG * way for v, way in sheet.legs.values() for t in (0.4, 0.6, 0.8, 1.0)]
    return Room(nodes, lines, dots)


# -- what is drawn ----------------------------------------------------------------------------------------------------
def _plates(sheet: _Sheet) -> list[Item]:
    plates: list[Item] = []
    for name, _, (left, bottom, right, top), height in sorted(sheet.boxes, key=lambda box: -box[3]):
        fill = "box1" if height % 2 else "box0"
        plates.append(Plate(complex(left, bottom), complex(right, top), fill, "boxline", f"box:{name}"))
    return plates


def _tags(sheet: _Sheet) -> list[Words]:
    return [
        Words(complex(right - 0.12, top), shortened(fn, 24), 8, "boxink", f"fn:{name}", 1, tag=("box1", "boxline"))
        for name, fn, (_, _, right, top), _ in sheet.boxes
    ]


def _stroke(sheet: _Sheet, wire: Wire) -> tuple[float, str]:
    """Width and colour of an index: the wider the larger, marked ones wider still."""
    width = min(6.0, 0.7 + 0.65 * log2(wire.size))
    return (width + 1.6, "mark") if wire.ind in sheet.look.marked else (width, "line")


def _lines(sheet: _Sheet) -> list[Item]:
    """Edges, the lines and dots of hyperedges, and the stumps of bonds whose other end is left out."""
    items: list[Item] = []
    for k, route in enumerate(sheet.routes):
        ind, dot = route.wire.ind, route.wire.kind == "dot"
        gids = (f"line:{ind}:{k}" if dot else f"edge:{ind}", f"cut:{ind}")
        for points, gid in zip(route.pieces, gids, strict=False):
            items.append(Bezier(tuple(points), *_stroke(sheet, route.wire), gid))
    by_name = {wire.ind: wire for wire in sheet.view.wires}
    for leaf, ind, way in sheet.view.stumps:
        at = sheet.spots[leaf][0]
        width, color = _stroke(sheet, by_name[ind])
        items.append(Bezier((at, at + 0.6 * way), width, color, f"hidden:{ind}"))
    for wire in {route.wire.ind: route.wire for route in sheet.routes if route.wire.kind == "dot"}.values():
        color = "mark" if wire.ind in sheet.look.marked else "dot"
        items.append(Circle(sheet.spots[(wire.ind,)][0], 0.07, color, f"dot:{wire.ind}", color))
    return items


def _circles(sheet: _Sheet) -> list[Item]:
    arrays = Counter(leaf.array for leaf in sheet.net.leaves if not leaf.fixed)
    tied = {array: f"tied{k % TIED}" for k, array in enumerate(a for a, count in arrays.items() if count > 1)}
    circles: list[Item] = []
    for leaf in sheet.net.leaves:
        if leaf.name in sheet.spots:
            fill = sheet.look.color.get(leaf.name) or ("fixed" if leaf.fixed else tied.get(leaf.array, "node"))
            rim = ("mark", 2.6) if leaf.name in sheet.look.marked else ("rim", 0.9)
            circles.append(Circle(sheet.spots[leaf.name][0], RADIUS, fill, f"node:{leaf.name}", *rim))
    return circles


# -- what is written --------------------------------------------------------------------------------------------------
def _names(sheet: _Sheet) -> list[Words]:
    """Names in the circles, in two rows where that helps; long ones are cut."""
    leaves = [leaf for leaf in sheet.net.leaves if leaf.name in sheet.spots]
    if not sheet.look.labels or len(leaves) > READABLE:
        return []
    names = []
    for leaf in leaves:
        head, _, tail = leaf.name.partition("_")
        rows = [head, tail.replace("_", ",")] if head and tail and len(leaf.name) > 4 else [leaf.name]
        text = "\n".join(shortened(part, 9) for part in rows)
        longest = max(1, *map(len, text.split("\n")))
        own = sheet.look.color.get(leaf.name)
        ink = "ink" if own is None else "#ffffff" if _dark(own) else "#15181d"
        names.append(Words(sheet.spots[leaf.name][0], text, max(4.8, min(9.0, 46 / longest)), ink, f"name:{leaf.name}"))
    return names


def _dark(color: str) -> bool:
    red, green, blue = (int(color[k : k + 2], 16) for k in (1, 3, 5))
    return 0.3 * red + 0.59 * green + 0.11 * blue < 128


def _legs(sheet: _Sheet, room: Room) -> list[Item]:
    """Open ends, sums over a lone index, traces, and bonds to what is left out."""
    items: list[Item] = []
    named = sheet.look.labels and len(sheet.legs) <= FREE
    for wire in (wire for wire in sheet.view.wires if wire.ind in sheet.legs):
        v, way = sheet.legs[wire.ind]
        at, (width, color) = sheet.spots[v][0], _stroke(sheet, wire)
        end = at + (LEG if isinstance(v, str) else 0.42) * way
        ink, text = "dim", shortened(wire.ind, 14)
        if sheet.look.sizes or wire.open:
            text += f":{wire.size}"
        if wire.kind == "trace":
            ears = [at + 0.95 * way * cmath.rect(1, side) for side in (0.6, -0.6)]
            items.append(Bezier((at, *ears, at), width, color, f"trace:{wire.ind}"))
        elif wire.open:
            items.append(Bezier((at, end), width, color, f"open:{wire.ind}"))
            ink = "leg"
        elif wire.hidden:
            items.append(Bezier((at, end), width, color, f"hidden:{wire.ind}", dotted=True))
            continue
        else:  # the leg ends in a dot: a vector of ones
            items.append(Bezier((at, end), width, color, f"sum:{wire.ind}"))
            items.append(Circle(end, 0.05, "dot", f"ones:{wire.ind}", "dot"))
        if named:
            items += _at_end(Words(end, text, 7, ink, f"label:{wire.ind}"), way, room, must=wire.open)
    return items


def _at_end(words: Words, way: complex, room: Room, must: bool) -> list[Item]:
    """A name at the free end of a leg, or beside it."""
    high = words.reach[1]
    tries = []
    for turn in (0.0, 0.5, -0.5, 1.1, -1.1):
        aim = way * cmath.rect(1, turn)
        across = 0 if abs(aim.real) <= 0.4 else -1 if aim.real > 0 else 1
        offset = 0.04 * aim.real + 1j * aim.imag * (high + 0.04) if across else aim * (high + 0.05)
        tries.append(replace(words, at=words.at + offset, across=across))
    found = room.best(tries, must=must)
    return [found] if found else []


def _index_names(sheet: _Sheet, room: Room, order: Sequence[Words]) -> list[Words]:
    """Names and sizes of bonds; only the sizes where there are many; stumps say where they go on; beside the numbers of a plan."""
    look, found = sheet.look, list[Words | None]()
    if not look.labels:
        return []
    whole = len(sheet.routes) <= NAMED
    for route in sheet.routes:
        wire = route.wire
        if route.cut:
            for points in route.pieces:
                out = points[1] - points[0]
                across = 0 if abs(out.imag) > abs(out.real) else -1 if out.real > 0 else 1
                tip = points[1] + (0.06 + (0 if across else 0.1)) * out / abs(out)
                found.append(room.add(Words(tip, shortened(wire.ind, 14), 7, "dim", f"label:{wire.ind}", across)))
        elif wire.kind != "dot" and len(sheet.routes) <= SIZED and not route.cut:
            text = _index_text(wire, whole, look)
            if text:
                words = Words(0j, text, 7 if whole else 6, "dim", f"label:{wire.ind}", halo=True)
                found.append(room.best(beside(route, words, order), [route.at(t) for t in (0.4, 0.5, 0.6)]))
    for wire in {route.wire.ind: route.wire for route in sheet.routes if route.wire.kind == "dot"}.values():
        if not wire.open and (text := _index_text(wire, whole, look)):  # an open one is named at its free end
            at = sheet.spots[(wire.ind,)][0]
            words = Words(at, text, 7 if whole else 6, "dim", f"label:{wire.ind}", -1, halo=True)
            tries = [
                replace(words, at=at + complex(x, y), across=-1 if x > 0 else 1)
                for y in (0.13, -0.13, 0.0)
                for x in (0.1, -0.1)
            ]
            found.append(room.best(tries))
    return [words for words in found if words]


def _index_text(wire: Wire, whole: bool, look: Look) -> str:
    size = str(wire.size) if look.sizes else ""
    return ":".join(part for part in (shortened(wire.ind, 14) if whole else "", size) if part)


def _gap_words(sheet: _Sheet, room: Room) -> list[Words]:
    return [room.add(Words(gap.at, gap.text, 11, "dim", f"more:{k}")) for k, gap in enumerate(sheet.view.gaps)]


# -- around it --------------------------------------------------------------------------------------------------------
def _corners(sheet: _Sheet, items: Sequence[Item]) -> tuple[complex, complex]:
    """The lower left and the upper right of all that is drawn, and a margin."""
    points = [at + turn * RADIUS for at, _ in sheet.spots.values() for turn in (1, -1, 1j, -1j)]
    points += [route.at(t) for route in sheet.routes for t in (0.25, 0.49, 0.5, 0.75)]
    points += [sheet.spots[v][0] + 0.7 * way for v, way in sheet.legs.values()]
    for item in items:
        if isinstance(item, Plate):
            points += [item.low, item.high]
        elif isinstance(item, Words):
            points += [item.centre + complex(x, y) for x, y in [item.reach, tuple(-r for r in item.reach)]]
    xs, ys = [z.real for z in points], [z.imag for z in points]
    margin = complex(0.18, 0.15)
    return complex(min(xs), min(ys)) - margin, complex(max(xs), max(ys)) + margin


def _about(net_or_plan: Network | Plan, sheet: _Sheet) -> str:
    text = repr(sheet.net)
    text += f", contracted in {count_text(net_or_plan.flops, ',')} FLOPs" if isinstance(net_or_plan, Plan) else ""
    return text + (f", {sheet.view.hidden:,} nodes not drawn" if sheet.view.hidden else "")
