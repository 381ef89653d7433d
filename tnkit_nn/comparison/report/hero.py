"""A view as inline SVG with names at the lines' ends. Colours are the page's classes; a wide and a narrow form, as text does not scale.

Deep networks are diamonds and orange, shallow ones circles and blue, controls squares and grey.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape
from math import isfinite
from typing import NamedTuple

from tnkit_nn.comparison.report.figures import Line, PlotView, Point
from tnkit_nn.comparison.report.scale import Scale, counts_scale, scale_of

__all__ = ["NARROW", "WIDE", "Form", "hero"]


@dataclass(frozen=True)
class Form:
    """The size of a figure and of what is around it, in pixels; ``apart``: between two names."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int
    apart: float
    text: float
    room: int
    short: bool


WIDE = Form(1072, 520, 44, 230, 28, 46, 16.5, 12.5, 28, False)
NARROW = Form(360, 440, 34, 130, 28, 44, 15.0, 12.0, 15, True)
#: From so many families on, seeds and intervals are left out: they would be a cloud.
CROWD = 40


class _Frame(NamedTuple):
    """Where values stand, in pixels."""

    form: Form
    x: Scale
    y: Scale

    def at_x(self, value: float) -> float:
        """Of a value of the horizontal axis."""
        return self.form.left + (self.form.width - self.form.left - self.form.right) * self.x.at(value)

    def at_y(self, value: float) -> float:
        """Of a value of the vertical axis."""
        return self.form.height - self.form.bottom - self.tall * self.y.at(value)

    @property
    def tall(self) -> float:
        """Of the area where values stand."""
        return self.form.height - self.form.top - self.form.bottom

    @property
    def end(self) -> float:
        """Where the area ends to the right."""
        return self.form.width - self.form.right


@dataclass
class _Name:
    """A line's name: where its line ends, and where the name stands."""

    line: Line
    end: float
    at: float
    quiet: bool
    y: float = 0.0


def hero(view: PlotView, form: Form = WIDE, budgets: Sequence[int] = ()) -> str:
    """The figure of a view. Every family is a group of class ``fam``; each of ``budgets`` has a column behind its points."""
    shown = [line for line in view.lines if line.kind != "control"]
    values = [v for line in shown for p in line.points for v in (*p.seeds, p.mean)]
    values += _near(values, [p.mean for line in view.lines if line.kind == "control" for p in line.points], view)
    form = replace(
        form,
        right=min(
            form.right,
            34 + round(0.56 * form.text * max((len(_short(line.label, form.room)) for line in view.lines), default=1)),
        ),
    )
    frame = _Frame(form, counts_scale(p.x for line in shown for p in line.points), scale_of(values, view.measure))
    crowd = len(view.lines) > CROWD
    names = _names(view, frame)
    order = {"control": 0, "shared": 1, "shallow": 2, "deep": 3}
    families = [_family(name, frame, crowd) for name in sorted(names, key=lambda n: (order[n.line.kind], n.y))]
    title = f"{view.y_label} against {view.x_label}"
    parts = [_columns(view, frame, budgets), _axes(view, frame), _band(view, frame), *families, _best(view, frame)]
    return (
        f'<svg viewBox="0 0 {form.width} {form.height}" role="group" aria-label="{escape(title)}" font-size="{form.text:g}">'
        f"{''.join(parts)}</svg>"
    )


def _near(values: Sequence[float], controls: Iterable[float], view: PlotView) -> list[float]:
    """Controls that belong into the figure: one far from all else would press the rest together, and is shown at the edge."""
    if not any(map(isfinite, values)):
        return [v for v in controls if isfinite(v)]
    scale = scale_of(values, view.measure)
    return [v for v in controls if isfinite(v) and -0.6 <= scale.place(v) <= 1.6]


# -- names ----------------------------------------------------------------------------------------------------------
def _names(view: PlotView, frame: _Frame) -> list[_Name]:
    """The lines' names, one under another, as near as can be to where their lines end; those without room are quiet."""
    made = [
        _Name(line, frame.end if line.kind == "control" else frame.at_x(line.points[-1].x), frame.at_y(line.points[-1].mean), False)
        for line in view.lines
    ]  # fmt: skip
    room = int((frame.form.height - frame.form.bottom - frame.form.top + 20) // frame.form.apart) + 1
    rank = {label: k for k, label in enumerate(view.first)}
    for name in sorted(made, key=lambda n: rank.get(n.line.label, -1))[room:]:
        name.quiet, name.y = True, name.at
    _spread(
        [n for n in made if not n.quiet],
        frame.form.top - 6,
        frame.form.height - frame.form.bottom + 8,
        frame.form.apart,
    )
    return made


def _spread(names: list[_Name], top: float, bottom: float, apart: float) -> None:
    """Heights at least ``apart`` from one another that are nearest to the lines' ends in the mean square.

    Names that touch are one block, which stands at the mean of what its names want.
    """
    names.sort(key=lambda n: n.at)
    if not names:
        return
    apart = min(apart, (bottom - top) / max(len(names) - 1, 1))
    blocks: list[tuple[float, int]] = []  # the mean of what is wanted for its first name, its names
    for k, name in enumerate(names):
        wanted, count = name.at - apart * k, 1
        while blocks and blocks[-1][0] >= wanted:
            before, many = blocks.pop()
            wanted, count = (before * many + wanted * count) / (many + count), many + count
        blocks.append((wanted, count))
    heights = [wanted for wanted, count in blocks for _ in range(count)]
    last = bottom - apart * (len(names) - 1)
    for k, (name, height) in enumerate(zip(names, heights, strict=True)):
        name.y = min(max(height, top), last) + apart * k


# -- parts ----------------------------------------------------------------------------------------------------------
def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _path(points: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in points)


def _axes(view: PlotView, frame: _Frame) -> str:
    """Both axes: marks as lines from left to right, and ticks below."""
    form, base, out = frame.form, frame.form.height - frame.form.bottom, []
    for value, text in frame.y.marks(19 / frame.tall):
        y = _n(frame.at_y(value))
        out.append(f'<path class="grid" d="M{form.left} {y}H{_n(frame.end)}"/>')
        out.append(f'<text x="{form.left - 7}" y="{_n(frame.at_y(value) + 4)}" text-anchor="end">{escape(text)}</text>')
    for value, text in frame.x.marks((70 if not form.short else 44) / (frame.end - form.left)):
        x = _n(frame.at_x(value))
        out.append(
            f'<path class="axis" d="M{x} {base}v5"/><text x="{x}" y="{base + 19}" text-anchor="middle">{escape(text)}</text>'
        )
    out.append(f'<path class="axis" d="M{form.left} {base}H{_n(frame.end)}"/>')
    out.append(f'<text x="0" y="11">{escape(view.y_label)}</text>')
    end = f'x="{_n((form.left + frame.end) / 2)}" text-anchor="middle"' if not form.short else 'x="0"'
    out.append(f'<text {end} y="{form.height - 5}">{escape(view.x_label)}</text>')
    return "".join(out)


def _columns(view: PlotView, frame: _Frame, budgets: Sequence[int]) -> str:
    """Behind the points of each budget, a column that is seen where the budget is chosen."""
    out = []
    for k, budget in enumerate(budgets):
        at = [frame.at_x(p.x) for line in view.lines for p in line.points if p.budget == budget]
        if at:
            left, right = max(min(at) - 10, frame.form.left), min(max(at) + 10, frame.end)
            out.append(
                f'<path class="col b{k}" d="M{_n(left)} {frame.form.top}H{_n(right)}v{_n(frame.tall)}H{_n(left)}z"/>'
            )
    return "".join(out)


def _band(view: PlotView, frame: _Frame) -> str:
    """The range of the controls with a budget."""
    if not view.band:
        return ""
    found = [(frame.at_x(x), frame.at_y(low), frame.at_y(high)) for x, low, high in view.band]
    if len(found) == 1:
        x, low, high = found[0]
        found = [(max(x - 14, frame.form.left), low, high), (min(x + 14, frame.end), low, high)]
    edge = [(x, high) for x, _, high in found] + [(x, low) for x, low, _ in reversed(found)]
    return f'<path class="band" d="{_path(edge)}Z"/>'


def _mark(kind: str, x: float, y: float, size: float, cls: str) -> str:
    return f'<path class="{cls}" d="{_outline(kind, x, y, size)}"/>'


def _outline(kind: str, x: float, y: float, size: float) -> str:
    """The form that tells the kind."""
    if kind == "deep":
        r = _n(size * 1.35)
        return f"M{_n(x)} {_n(y - size * 1.35)}l{r} {r}l-{r} {r}l-{r}-{r}z"
    if kind == "shallow":
        r, d = _n(size), _n(2 * size)
        return f"M{_n(x - size)} {_n(y)}a{r} {r} 0 1 0 {d} 0a{r} {r} 0 1 0-{d} 0z"
    side = _n(size * 1.8)
    return f"M{_n(x - size * 0.9)} {_n(y - size * 0.9)}h{side}v{side}h-{side}z"


def _family(name: _Name, frame: _Frame, crowd: bool) -> str:
    """A line, its points with seeds and intervals, and its name, tied to the line's end."""
    line = name.line
    points = [(frame.at_x(p.x), frame.at_y(p.mean)) for p in line.points]
    if line.kind == "control":
        points = [(frame.form.left, points[0][1]), (frame.end, points[0][1])]
    out = [f"<title>{escape(line.said)}</title>"]
    if not crowd:
        out.append(f'<path class="hit" d="{_path(points if len(points) > 1 else points * 2)}"/>')
    if len(points) > 1:
        out.append(f'<path class="line" d="{_path(points)}"/>')
    if line.kind != "control" and crowd:
        out.append(f'<path class="mean" d="{"".join(_outline(line.kind, x, y, 2.6) for x, y in points)}"/>')
    elif line.kind != "control":
        out += [_dot(line.kind, p, x, y, frame) for p, (x, y) in zip(line.points, points, strict=True)]
    out.append(_label(name, frame))
    quiet = " quiet" if name.quiet else ""
    return f'<g class="fam {line.kind}{quiet}" data-name="{escape(line.label)}" tabindex="0" role="button">{"".join(out)}</g>'


def _label(name: _Name, frame: _Frame) -> str:
    x, start = frame.end + 22, min(name.end + 6, frame.end)
    arrow = {0: "", -1: "↓ ", 1: "↑ "}[frame.y.beyond(name.line.points[-1].mean)]
    text = arrow + _short(name.line.label, frame.form.room)
    tie = (
        ""
        if name.quiet
        else f'<path class="tie" d="M{_n(start)} {_n(name.at)}H{_n(frame.end + 4)}L{x - 4:g} {_n(name.y)}"/>'
    )
    return f'{tie}<text x="{x:g}" y="{_n(name.y + 4)}">{escape(text)}</text>'


def _short(label: str, room: int) -> str:
    """A name that has room: "depth" is left out first, then what is too long is cut."""
    if len(label) > room:
        label = label.replace(" depth ", " ")
    return label if len(label) <= room else label[: room - 1].rstrip() + "…"


def _dot(kind: str, p: Point, x: float, y: float, frame: _Frame) -> str:
    """A point: its interval, its seeds, its mean."""
    out = []
    if isfinite(p.low) and p.high > p.low:
        low, high = _n(frame.at_y(p.low)), _n(frame.at_y(p.high))
        out.append(f'<path class="ci" d="M{_n(x)} {low}V{high}M{_n(x - 4)} {low}h8M{_n(x - 4)} {high}h8"/>')
    middle = (len(p.seeds) - 1) / 2
    step = min(3.2, 14 / max(len(p.seeds), 1))
    seeds = "".join(f"M{_n(x + (k - middle) * step)} {_n(frame.at_y(v))}h0" for k, v in enumerate(p.seeds))
    out.append(f'<path class="seed" d="{seeds}"/>{_mark(kind, x, y, 3.7, "mean")}')
    return "".join(out)


def _best(view: PlotView, frame: _Frame) -> str:
    """The best deep and the best shallow networks, joined by thick lines."""
    out = []
    for kind, points in view.best.items():
        at = [(frame.at_x(p.x), frame.at_y(p.mean)) for p in points]
        if len(at) > 1:
            out.append(f'<path class="best {kind}" d="{_path(at)}"/>')
        out += [_mark(kind, x, y, 5.4, f"pick {kind}") for x, y in at]
    if len(view.best) > 1 and not frame.form.short:
        out.append(_best_names(view, frame))
    return f'<g class="bests" aria-hidden="true">{"".join(out)}</g>'


def _best_names(view: PlotView, frame: _Frame) -> str:
    """The two thick lines' names, at their beginnings, the higher one above."""
    at = {kind: (frame.at_x(points[0].x), frame.at_y(points[0].mean)) for kind, points in view.best.items()}
    higher = min(at, key=lambda kind: at[kind][1])
    return "".join(
        f'<text class="halo {kind}" x="{_n(max(x - 8, frame.form.left + 4))}" y="{_n(y - 13 if kind == higher else y + 23)}">best {kind}</text>'
        for kind, (x, y) in at.items()
    )
