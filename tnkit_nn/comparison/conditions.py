"""How a comparison was made, in sentences: of which model, data and metric, with which controls left out, how, where and by which command."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from tnkit_nn.comparison.measure import measure_of
from tnkit_nn.comparison.records import Records
from tnkit_nn.pages.render import hardware

__all__ = ["conditions"]


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
    missing = {name: why for r in records for name, why in r["left_out"].items()}
    if missing:
        out.append("Controls left out: " + "; ".join(f"{n} ({why.rstrip('.')})" for n, why in missing.items()) + ".")
    machines = dict.fromkeys(_machine(r["machine"]) for r in records if r["machine"])
    if machines:
        out.append(f"Made on {'; '.join(machines)}.")
    if first["command"]:
        out.append(f"Command: {shlex.join(first['command'])}")
    return out


def _machine(machine: Mapping[str, Any]) -> str:
    """What is known of a machine."""
    parts = hardware(machine)
    for key, word in (("python", "Python"), ("torch", "torch")):
        if machine.get(key):
            parts.append(f"{word} {machine[key]}")
    return ", ".join(parts)
