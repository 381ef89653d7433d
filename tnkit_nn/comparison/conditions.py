"""How a comparison was made, in sentences: of which model, data and metric, with which controls left out, how, where and by which command."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from tnkit.core.wording import plural
from tnkit_nn.comparison.measure import measure_of
from tnkit_nn.comparison.records import Records
from tnkit_nn.comparison.statistics import READINGS, deep_against_shallow
from tnkit_nn.pages.render import hardware

__all__ = ["conditions", "edges"]

#: So many rows are named; the records tell of the others.
_NAMED = 5


def conditions(records: Records) -> list[str]:
    """A sentence each for what the records know: those of earlier versions know little."""
    first, out = records[0], []
    if first["title"]:
        of = f", {'layers' if ', ' in first['layer'] else 'layer'} {first['layer']}" if first["layer"] else ""
        out.append(f"Model and data: {first['title']}{of}.")
    out += filter(None, [measure_of(records).said])
    for how in dict.fromkeys(r["replicas"] for r in records if r["replicas"]):
        out.append(f"Replicas (seeds, learning rates and starts) were trained {how.rstrip('.')}.")
    if first["rates"] != "equal":
        out.append(
            "Learning rates: each array of a network has its own, by structure; their mean is the rate that was swept."
        )
    out += filter(None, [edges(records)])
    missing = {name: why for r in records for name, why in r["left_out"].items()}
    if missing:
        out.append("Controls left out: " + "; ".join(f"{n} ({why.rstrip('.')})" for n, why in missing.items()) + ".")
    machines = dict.fromkeys(_machine(r["machine"]) for r in records if r["machine"])
    if machines:
        out.append(f"Made on {'; '.join(machines)}.")
    if first["command"]:
        out.append(f"Command: {shlex.join(first['command'])}")
    return out


def edges(records: Records) -> str:
    """How many sweeps of learning rates ended at an edge; empty of records whose sweeps did not go on beyond one."""
    sweeps = {
        (r["label"], r["budget"], reading): chosen
        for r in records
        for reading in READINGS
        if "lowest" in (chosen := r[f"chosen_{reading}"] or {})
    }
    if not sweeps:
        return ""
    said = "Learning rates: where the lowest or the highest was the best, further ones were tried."
    ended = [k for k, c in sweeps.items() if c.get("rate", c.get("rest_rate")) in (c["lowest"], c["highest"])]
    judged = {(x, d.budget, d.reading) for d in deep_against_shallow(records) for x in (d.one, d.other)}
    ended.sort(key=lambda k: k not in judged)  # those that the answer rests on are named first
    if not ended:
        return f"{said} No sweep ended at an edge."
    rows = list(dict.fromkeys(label if budget is None else f"{label} at {budget}" for label, budget, _ in ended))
    named = ", ".join(rows[:_NAMED]) + (f" and {plural(len(rows) - _NAMED, 'other')}" if len(rows) > _NAMED else "")
    return f"{said} {len(ended)} of {plural(len(sweeps), 'sweep')} ended at an edge all the same, and a better rate may lie beyond: {named}."


def _machine(machine: Mapping[str, Any]) -> str:
    """What is known of a machine."""
    parts = hardware(machine)
    for key, word in (("python", "Python"), ("torch", "torch")):
        if machine.get(key):
            parts.append(f"{word} {machine[key]}")
    return ", ".join(parts)
