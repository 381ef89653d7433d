"""The blocks and the figure of docs/arrays.md, out of ``arrays.json`` and ``expressivity.json``; only what is measured whole is shown.

``python benchmarks/paper/array_tables.py`` writes the figure; ``docs/render.py`` fills the blocks in.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from math import comb, exp, inf, log
from pathlib import Path
from statistics import median
from typing import Any

import arrays
from digests import older
from table_parts import table

from tnkit_nn.comparison.paired import holm

HERE = Path(__file__).parent
FIGURE = HERE.parents[1] / "docs" / "arrays.svg"
#: Shallow families that an array is compared with.
FAMILIES = ("TT", "TT-matrix", "CP", "Tucker", "block term", "ring", "tree", "low rank", "sum of Kronecker products")
SEEN = (
    "camera",
    "coins",
    "coffee",
    "astronaut",
    "motorcycle_left",
    "chelsea",
    "gravel",
    "brick",
    "hubble_deep_field",
    "moon",
)
COLOURS = {"photographs": "#1f77b4", "masks": "#d62728", "fields": "#2ca02c", "graphs": "#9467bd", "weights": "#7f7f7f"}


@cache
def found(name: str = "arrays") -> dict[str, Any]:
    """A committed result."""
    result: dict[str, Any] = json.loads((HERE / f"{name}.json").read_text())
    return result


@dataclass(frozen=True)
class Pairing:
    """A deep network beside the best shallow one, on one array.

    Attributes
    ----------
    array, kind
        The array and its class.
    deep, deep_parameters, deep_error
        The deep network.
    shallow, shallow_parameters, shallow_error
        The best of the shallow ones.
    """

    array: str
    kind: str
    deep: str
    deep_parameters: int
    deep_error: float
    shallow: str
    shallow_parameters: int
    shallow_error: float

    @property
    def ratio(self) -> float:
        """Below 1, the deep network is better."""
        return self.deep_error / self.shallow_error


def rival(state: dict[str, Any], budget: int, name: str, most: float = inf) -> tuple[str, int, float] | None:
    """The best shallow network of at most so many times the budget: label, parameters, error; none where a family is missing."""
    fits = {
        label: its[name]
        for label, its in state["fits"].get(str(budget), {}).items()
        if label.split(", ")[0] in FAMILIES and "depth" not in label and name in its
    }
    if {label.split(", ")[0] for label in fits} != set(FAMILIES):
        return None
    label = min((k for k in fits if fits[k][0] <= most * budget), key=lambda label: fits[label][2])
    return label, fits[label][0], fits[label][2]


def pairing(state: dict[str, Any], budget: int, name: str, label: str, most: float = inf) -> Pairing | None:
    """A network beside the best shallow one of an array; none where one of them is missing."""
    best, deep = rival(state, budget, name, most), state["fits"].get(str(budget), {}).get(label, {}).get(name)
    if best is None or deep is None:
        return None
    if deep[0] > best[1]:
        raise ValueError(f"{name}: {label} has {deep[0]} parameters, {best[0]} has {best[1]}")
    return Pairing(name, state["arrays"][name][0], label, deep[0], deep[2], *best)


def pairings(
    state: dict[str, Any], half: str, label_of: dict[str, str], budget: int = 750, most: float = inf
) -> list[Pairing]:  # fmt: skip
    """The arrays of a half, each beside its class's network; a class that is not measured whole is left out."""
    pairs = []
    for kind, label in label_of.items():
        names = [n for n, (k, side, _) in state["arrays"].items() if (k, side) == (kind, half)]
        here = [pairing(state, budget, n, label, most) for n in names]
        pairs += [p for p in here if p] if all(here) else []
    return pairs


def sign_test(wins: int, of: int) -> float:
    """Exact two-sided p-value of so many wins among fair tosses."""
    tail = sum(comb(of, k) for k in range(max(wins, of - wins), of + 1))
    return min(1.0, 2 * tail / 2**of)


def chosen(state: dict[str, Any], role: str = "") -> dict[str, str]:
    """Class -> the network that the choosing half chose, of all or of circuits alone."""
    kinds = list(dict.fromkeys(kind for kind, _, _ in state["arrays"].values()))
    kinds = [k for k in kinds if all(arrays.best_score(state, k, arrays.best(state, k, r)) < 0 for r in ("deep", "one activation"))]  # fmt: skip
    return {k: arrays.best(state, k, role) for k in kinds} if role else arrays.judged(state, kinds)


# -- words ---------------------------------------------------------------------------------------------------------------
def name_of(label: str) -> str:
    """A network's name, as a reader says it."""
    for short, long in {"sin,": "sine,", "under relu": "under a ReLU", "under tanh": "under a tanh"}.items():
        label = label.replace(short, long)
    return label


def p_text(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"


def measured(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table, the first column to the left; what to say where nothing is measured whole."""
    lines = list(lines)
    if not lines:
        return "Not measured yet."
    return table(heads, lines)


def counted(pairs: Sequence[Pairing]) -> tuple[int, float, float]:
    """Wins, median ratio, p-value."""
    wins = sum(p.ratio < 1 for p in pairs)
    return wins, median(p.ratio for p in pairs), sign_test(wins, len(pairs))


# -- blocks ----------------------------------------------------------------------------------------------------------------
def answer() -> str:
    """What was found at every count, corrected for asking at several, and what changes it."""
    state = found()
    picked, of = chosen(state), dict[int, list[Pairing]]()
    for budget in arrays.BUDGETS:
        pairs = pairings(state, "judging", picked, budget)
        of |= {budget: pairs} if pairs else {}
    parts = "\n".join(
        f"- {budget:,} parameters: {wins} of {len(pairs)} arrays, median ratio {middle:.3f}, p = {p_text(p)}"
        for budget, pairs in sorted(of.items())
        for wins, middle, p in [counted(pairs)]
    )
    corrected = holm([counted(pairs)[2] for pairs in of.values()])
    least = min(corrected)
    verdict = f"the least p is {p_text(least)}: {'no lead is' if least >= 0.05 else 'a difference is'} significant"
    near, close, p_near = counted(pairings(state, "judging", picked, most=arrays.CLOSE))
    most = max(q.shallow_parameters for q in of[arrays.BUDGETS[0]])
    return (
        f"Where the chosen deep network has less error than the best of nine shallow families:\n\n{parts}\n\n"
        f"Corrected for the {len(of)} questions (Holm), {verdict}.\n\n"
        f"At {arrays.BUDGETS[0]} parameters the best rivals have up to {most}. Against those of at most {arrays.CLOSE * arrays.BUDGETS[0]:.0f} it is "
        f"{near} of {len(pairings(state, 'judging', picked))} (median {close:.3f}, p = {p_text(p_near)}). "
        f"This second reading was added after a part of the judging had been seen. So were readings of two families that are nearer to the budget."
    )


def classes() -> str:
    """A row a class and kind of network: what was chosen and how it was judged."""
    state, lines = found(), []
    for kind, label in chosen(state).items():
        for one in dict.fromkeys((label, chosen(state, "deep")[kind])):
            if pairs := pairings(state, "judging", {kind: one}):
                wins, middle, p = counted(pairs)
                close, less, _ = counted(pairings(state, "judging", {kind: one}, most=arrays.CLOSE))
                worse = "; ".join(q.array for q in pairs if q.ratio >= 1) or "none"
                lines.append(
                    [
                        kind,
                        name_of(one),
                        f"{wins} of {len(pairs)}",
                        f"{middle:.3f}",
                        p_text(p),
                        f"{close} ({less:.3f})",
                        worse,
                    ]
                )
    heads = [
        "class",
        "network",
        "less error",
        "median ratio",
        "p",
        f"rivals of at most {arrays.CLOSE * 750:.0f} (median)",
        "more error",
    ]
    return measured(heads, lines)


def each() -> str:
    """Every array that judges."""
    state, lines = found(), []
    for p in sorted(pairings(state, "judging", chosen(state)), key=lambda p: p.ratio):
        lines.append([p.array, name_of(p.deep), str(p.deep_parameters), f"{p.deep_error:.3f}", name_of(p.shallow), str(p.shallow_parameters), f"{p.shallow_error:.3f}", f"{p.ratio:.3f}"])  # fmt: skip
    heads = ["array", "deep", "parameters", "error", "best shallow", "parameters", "error", "ratio"]
    return measured(heads, lines)


def before() -> str:
    """The ten photographs of the first experiments."""
    state, lines, wins = found(), [], {2: 0, 3: 0}
    names = [n for n in SEEN if rival(state, 750, n)]
    for n in names:
        both = {d: pairing(state, 750, n, f"TT, tanh, depth {d}") for d in (2, 3)}
        assert both[2] and both[3]
        for d, p in both.items():
            wins[d] += bool(p and p.ratio < 1)
        lines.append([n, f"{name_of(both[2].shallow)}: {both[2].shallow_error:.3f}", *(f"{p.deep_error:.3f}" for p in both.values() if p)])  # fmt: skip
    text = measured(["photograph", "best shallow", "depth 2", "depth 3"], lines)
    if len(names) < len(SEEN):
        return "Not measured yet."
    return f"{text}\n\nLess error than the best shallow one: {wins[2]} of {len(names)} at depth 2, {wins[3]} of {len(names)} at depth 3."


def depths() -> str:
    """The median ratio in every depth, of classes that are measured in all of them."""
    state, lines = found(), []
    for kind, label in chosen(state, "deep").items():
        of = {d: pairings(state, "judging", {kind: f"{label[:-1]}{d}"}) for d in (2, 3, 4)}
        if all(of.values()):
            lines.append([kind, name_of(label[: -len(", depth 2")]), *(f"{counted(p)[1]:.3f} ({counted(p)[0]} of {len(p)})" for p in of.values())])  # fmt: skip
    return measured(["class", "circuit", "depth 2", "depth 3", "depth 4"], lines)


CONTROLS = {
    "TT, tanh, depth 2": "lifted",
    "TT, linear, depth 2": "lifted, without its activation",
    "TT, tanh, depth 2, random start": "from random starts",
}


def controls() -> str:
    """The same circuit with and without what makes it deep, and from elsewhere: arrays that have all of them."""
    state = found()
    fits = {label: state["fits"]["750"].get(label, {}) for label in CONTROLS}
    names = [n for n in state["arrays"] if all(n in f for f in fits.values()) and rival(state, 750, n)]
    lines = []
    for label, words in CONTROLS.items():
        pairs = [p for n in names if (p := pairing(state, 750, n, label))]
        if not pairs:
            continue
        wins, middle, _ = counted(pairs)
        lines.append([words, str(len(pairs)), str(wins), f"{middle:.3f}"])
    return measured(["TT under one tanh and a column of gates", "arrays", "less error than the best shallow", "median ratio to it"], lines)  # fmt: skip


def readings() -> str:
    """How much the reading matters: the error of each beside the best of all closed forms, as a geometric mean over a class."""
    state = found()
    closed, kinds = state["closed"]["750"], ("photographs", "masks", "fields", "graphs")
    lines = []
    for label in next(iter(closed.values())):
        line = [label]
        for kind in kinds:
            of = [its for n, its in closed.items() if state["arrays"][n][0] == kind and min(e for _, e in its.values()) > 0]  # fmt: skip
            line.append(f"{exp(sum(log(its[label][1] / min(e for _, e in its.values())) for its in of) / len(of)):.2f}" if of else "")  # fmt: skip
        lines.append(line)
    return measured(["family, reading", *kinds], lines)


def counts() -> str:
    """The other counts, of the classes that are measured whole."""
    state, lines = found(), []
    for budget in sorted(int(b) for b in state["fits"] if b != "750"):
        for kind, label in chosen(state).items():
            for one in dict.fromkeys((label, chosen(state, "deep")[kind])):
                if pairs := pairings(state, "judging", {kind: one}, budget):
                    wins, middle, p = counted(pairs)
                    lines.append(
                        [f"{budget:,}", kind, name_of(one), f"{wins} of {len(pairs)}", f"{middle:.3f}", p_text(p)]
                    )
    return measured(["parameters", "class", "network", "less error", "median ratio", "p"], lines)


def how() -> str:
    """What was run and how long it took."""
    state = found()
    sides = [side for _, side, _ in state["arrays"].values()]
    note, missing = older(state["code"]), missing_parts(state)
    return (
        f"{len(sides)} arrays: {sides.count('choosing')} for choosing, {sides.count('judging')} for judging. "
        f"{state['seconds'] / 60:.0f} minutes of one core. {', '.join(f'{k} {v}' for k, v in state['versions'].items())}."
        + (f" Not measured yet: {', '.join(missing)}." if missing else "")
        + (f" *{note}*" if note else "")
    )


def missing_parts(state: dict[str, Any]) -> list[str]:
    """Classes and counts that the interrupted run has not judged."""
    picked = chosen(state)
    kinds = [k for k in dict.fromkeys(kind for kind, _, _ in state["arrays"].values()) if k not in picked or not pairings(state, "judging", {k: picked[k]})]  # fmt: skip
    few = {k: picked[k] for k in arrays.FEW if k in picked}
    return kinds + [f"{b:,} parameters" for b in arrays.BUDGETS[1:] if not pairings(state, "judging", few, b)]


def walls() -> str:
    """Walls that fit their own kind, and the basins around the truth."""
    result = found("expressivity")
    near = {(r["depth"], r["activation"]): r["errors"] for r in result["basin"]["found"]}
    lines = []
    for r in result["walls"]["found"]:
        basin = near.get((r["depth"], r["activation"]), {})
        lines.append([
            f"depth {r['depth']}, {r['activation'] or 'linear'}", str(r["parameters"]), f"{r['tt']:,}", f"{r['errors'][0]:.2f} to {r['errors'][-1]:.2f}",
            *(f"{sum(e < 0.1 for e in basin[off])} of {len(basin[off])}" if off in basin else "" for off in ("0.1", "0.4")),
        ])  # fmt: skip
    heads = ["wall", "parameters", "TT for 10 % error", "error from random starts", "back from 10 % off", "back from 40 % off"]  # fmt: skip
    return measured(heads, lines)


def chirp() -> str:
    """What one sine holds."""
    r = found("expressivity")["chirp"]["found"]
    note = older(found("expressivity")["code"])
    return (
        f"- The sine of a TT of {r['parameters']} parameters holds it exactly (error {r['error']:.0e}).\n"
        f"- A TT of the array itself needs {r['tt']['0.1']:,} parameters for an error of 0.1, and {r['tt']['0.001']:,} for 0.001.\n"
        f"- From {len(r['errors'])} random starts Adam ends at {r['errors'][0]:.2f} to {r['errors'][-1]:.2f}. From the lifted closed form it ends at {r['lifted']:.2f}."
        + (f"\n- *{note}*" if note else "")
    )


# -- the figure ------------------------------------------------------------------------------------------------------------
def figure() -> str:
    """A dot an array that judges, sorted: error of the chosen deep network over that of the best shallow one."""
    state = found()
    pairs = sorted(pairings(state, "judging", chosen(state)), key=lambda p: p.ratio)
    low, high = min(0.5, *(p.ratio for p in pairs)), max(1.1, *(p.ratio for p in pairs))
    step, left, right = 17, 190, 620

    def across(ratio: float) -> float:
        return left + (right - left) * (log(ratio) - log(low)) / (log(high) - log(low))

    bottom = 30 + step * len(pairs)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="{bottom + 40}" font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<line x1="{across(1):.1f}" y1="24" x2="{across(1):.1f}" y2="{bottom}" stroke="black"/>',
    ]
    for tick in (t / 10 for t in range(1, 21)):
        if low <= tick <= high:
            parts.append(f'<text x="{across(tick):.1f}" y="{bottom + 14}" text-anchor="middle">{tick:g}</text>')
    for k, p in enumerate(pairs):
        y = 32 + step * k
        parts.append(f'<text x="{left - 12}" y="{y + 4}" text-anchor="end">{escape(p.array)}</text>')
        parts.append(f'<circle cx="{across(p.ratio):.1f}" cy="{y}" r="4.5" fill="{COLOURS[p.kind]}"/>')
    for k, kind in enumerate(dict.fromkeys(p.kind for p in pairs)):
        parts.append(f'<circle cx="640" cy="{32 + 16 * k}" r="4.5" fill="{COLOURS[kind]}"/><text x="650" y="{36 + 16 * k}">{kind}</text>')  # fmt: skip
    words = "error of the deep network / error of the best shallow one (left of 1: deep is better)"
    parts.append(f'<text x="{(left + right) / 2:.0f}" y="{bottom + 32}" text-anchor="middle">{words}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


#: Block of docs/arrays.md -> what fills it.
BLOCKS: dict[str, Callable[[], str]] = {
    f"arrays-{f.__name__}": f for f in (answer, classes, each, before, depths, controls, readings, counts, how, walls, chirp)
}  # fmt: skip


if __name__ == "__main__":
    FIGURE.write_text(figure())
    print(f"wrote {FIGURE}")
